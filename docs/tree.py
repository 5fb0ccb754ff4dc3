"""Writes the tree of promoter/ into ARCHITECTURE.md, from the first docstring line of each module; --check only compares."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "ARCHITECTURE.md"
BEGIN, END = "<!-- tree: written by `make format` -->\n```\n", "```\n<!-- end of tree -->\n"


def rows(folder: Path, depth: int = 1) -> Iterator[tuple[str, str]]:
    """Name and purpose of what a package contains: its modules first, then the packages inside it."""
    for file in sorted(folder.glob("*.py")):
        if file.name not in {"__init__.py", "__main__.py"}:
            yield "  " * depth + file.name, purpose(file)
    for package in sorted(folder.glob("*/__init__.py")):
        yield from package_rows(package.parent, depth)


def package_rows(folder: Path, depth: int = 1) -> Iterator[tuple[str, str]]:
    yield "  " * depth + f"{folder.name}/", purpose(folder / "__init__.py")
    yield from rows(folder, depth + 1)


def purpose(file: Path) -> str:
    return (ast.get_docstring(ast.parse(file.read_text())) or "").partition("\n")[0]


def top_level() -> list[str]:
    """What stands in promoter/, in the order of the import layers; what they leave out stands last."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    layered = [name.strip() for layer in layers for name in layer.split("|")]
    found = {file.stem for file in (ROOT / "promoter").glob("*.py") if not file.stem.startswith("__")}
    found |= {file.parent.name for file in (ROOT / "promoter").glob("*/__init__.py")}
    return [*(name for name in layered if name in found), *sorted(found - set(layered))]


def tree() -> str:
    package = ROOT / "promoter"
    lines: list[tuple[str, str]] = []
    for name in top_level():
        if (package / name).is_dir():
            lines += package_rows(package / name)
        else:
            lines.append((f"  {name}.py", purpose(package / f"{name}.py")))
    width = max(len(name) for name, _ in lines) + 2
    return "promoter/\n" + "".join(f"{name:<{width}}{text}\n" for name, text in lines)


def main() -> int:
    before = PAGE.read_text()
    head, _, rest = before.partition(BEGIN)
    after = head + BEGIN + tree() + END + rest.partition(END)[2]
    if "--check" in sys.argv[1:]:
        if after != before:
            print("ARCHITECTURE.md does not show the modules as they are now: run `make format`", file=sys.stderr)
        return int(after != before)
    PAGE.write_text(after)
    return 0


if __name__ == "__main__":
    sys.exit(main())
