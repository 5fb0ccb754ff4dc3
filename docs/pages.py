"""Puts the pages of the site together: docs/, those at the root, and two made from the code. Usage: pages.py FOLDER."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
AT_ROOT = {
    "README.md": "readme.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security-promises.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
}
"""Pages at the root, and what they are called on the site."""
LINK = re.compile(r"\[([^\[\]]+)\]\(([^)\s]+)\)")


def pages() -> dict[str, str]:
    """The text of each page by its name on the site."""
    found = {file.name: moved(file) for file in sorted((ROOT / "docs").glob("*.md"))}
    found |= {name: moved(ROOT / source) for source, name in AT_ROOT.items()}
    return {**found, "reference-commands.md": commands(), "reference-configuration.md": configuration()}


def moved(file: Path) -> str:
    """The page with its links as they are on the site; a link to a file that is not on the site becomes its name."""

    def link(match: re.Match[str]) -> str:
        text, target = match.groups()
        path, mark, anchor = target.partition("#")
        if "://" in target or not path:
            return match[0]
        there = Path(os.path.normpath(file.parent / path)).relative_to(ROOT)
        name = AT_ROOT.get(str(there)) or (
            there.name if there.parent == Path("docs") and there.suffix in (".md", ".png", ".svg") else ""
        )
        if name:
            return f"[{text}]({name}{mark}{anchor})"
        return text if text.strip("`") == str(there) else f"{text} (`{there}`)"

    return LINK.sub(link, file.read_text())


# -- commands ---------------------------------------------------------------------------------------------------------


def commands() -> str:
    """Every command with its arguments, options and examples."""
    import typer.main

    from promoter.cli import app

    root: Any = typer.main.get_command(app)
    made = "Made from the program itself: what `promoter help COMMAND` prints. [commands](commands.md) explains them."
    parts = [f"# Reference of commands\n\n{made}\n"]
    parts += [_command(path, command) for path, command in _walk("", root)]
    return "\n".join(parts)


def _walk(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from _walk(f"{path} {name}".strip(), below)


def _command(path: str, command: Any) -> str:
    from promoter.cli.examples import EXAMPLES

    rows = [_row(param) for param in command.params if not getattr(param, "hidden", False)]
    table = ["| takes | meaning | default |", "|---|---|---|", *rows, ""] if rows else []
    examples = ["```sh", *EXAMPLES.get(path, ()), "```", ""]
    below = ", ".join(f"`{name}`" for name in getattr(command, "commands", {}))
    lines = [f"## promoter {path}".rstrip(), "", _text(command.help or ""), "", *([f"Commands: {below}", ""] if below else [])]
    return "\n".join([*lines, *table, *examples])


def _row(param: Any) -> str:
    names = [*param.opts, *param.secondary_opts] if param.opts[0].startswith("-") else [param.metavar or param.name.upper()]
    value = f" {param.metavar}" if param.metavar and param.opts[0].startswith("-") else ""
    default = "" if param.default in (None, "", False) or callable(param.default) else f"`{_plain(param.default)}`"
    return f"| `{', '.join(names)}{value}` | {_text(getattr(param, 'help', '') or '')} | {default} |"


def _plain(value: Any) -> str:
    return shlex.join(map(str, value)) if isinstance(value, (list, tuple)) else str(getattr(value, "value", value))


def _text(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


# -- configuration ----------------------------------------------------------------------------------------------------


def configuration() -> str:
    """Every key of promoter.yaml, from its JSON Schema."""
    import json

    from promoter import config

    schema = json.loads(config.schema())
    rows = ["| key | type | default | meaning |", "|---|---|---|---|", *_keys("", schema, schema.get("$defs", {}))]
    made = "Made from the schema (`promoter schema`). [configuration](configuration.md) explains the keys."
    return "\n".join(["# Reference of promoter.yaml", "", made, "", *rows, ""])


def _keys(prefix: str, node: Mapping[str, Any], known: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    for name, one in node.get("properties", {}).items():
        path = f"{prefix}{name}"
        kinds = list(_kinds(one, known))
        default = json_text(one["default"]) if one.get("default") not in (None, "", [], {}) else ""
        meaning = _text(one.get("description") or next((kind["description"] for kind in kinds if "description" in kind), ""))
        shown = " or ".join(dict.fromkeys(filter(None, (_kind(kind, known) for kind in kinds))))
        yield f"| `{path}` | {shown} | {f'`{default}`' if default else ''} | {meaning} |"
        for kind in kinds if depth < 4 else ():
            values = kind.get("additionalProperties")
            inside = values if isinstance(values, Mapping) else kind
            mark = "[]." if "items" in kind else ("." if inside is kind else ".NAME.")
            for inner in _kinds(kind.get("items") or inside, known):
                yield from _keys(f"{path}{mark}", inner, known, depth + 1)


def _kinds(node: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What a value may be, each by itself."""
    found = _resolved(node, known)
    if several := found.get("anyOf") or found.get("oneOf"):
        for one in several:
            yield from _kinds(one, known)
    else:
        yield found


def _resolved(node: Any, known: Mapping[str, Any]) -> Any:
    """The definition that a `$ref` names."""
    if isinstance(node, Mapping) and "$ref" in node:
        return {**known[node["$ref"].rpartition("/")[2]], **{key: value for key, value in node.items() if key != "$ref"}}
    return node


def _kind(node: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    if "enum" in node:
        return ", ".join(f"`{value}`" for value in node["enum"])
    if node.get("type") == "array":
        return f"list of {_kind(_resolved(node.get('items', {}), known), known) or 'values'}"
    return "" if node.get("type") == "null" else str(node.get("type", ""))


def json_text(value: Any) -> str:
    import json

    return json.dumps(value)


def main() -> int:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.md"):
        old.unlink()
    for name, text in pages().items():
        (folder / name).write_text(text)
    for picture in chain((ROOT / "docs").glob("*.png"), (ROOT / "docs").glob("*.svg")):
        shutil.copy(picture, folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
