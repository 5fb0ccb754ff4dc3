"""The answer to one press of the Tab key: never an error, and nothing that takes longer than a person notices."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

from promoter.completion import names as yaml
from promoter.completion import shells
from promoter.completion.names import Names
from promoter.completion.store import Store
from promoter.completion.words import Cursor, options_of, walk

TYPE_CHECKING = False  # as in words.py
if TYPE_CHECKING:
    from typing import Any

    Offer = tuple[str, str]
    """A word, and what it means."""

TREE = "tree"
_PLAIN = re.compile(r"[\w.@:/+=,-]+")
"""What a shell takes as it stands: a name with anything else is not offered, as a shell would read more into it."""
_ASKED_FOR = 3
"""Models whose aliases are looked up before their `@` is typed."""


def answer(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Prints what `promoter __complete SHELL WORDS` asks for; always 0."""
    try:
        shell, *words = arguments
        before, current, replaced = shells.typed(shell, words, environ)
        kind, offers = offered(Store.of(environ), before, current, environ)
        lines = shells.lines(shell, kind, offers, replaced)
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        sys.stdout.flush()
    except Exception:
        return 0
    return 0


def stamp() -> str:
    """Changes when commands do."""
    from promoter import __version__

    folder = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120
    with os.scandir(f"{folder}/cli") as entries:
        return f"{__version__} {max(entry.stat().st_mtime_ns for entry in entries)}"


def offered(store: Store, before: Sequence[str], current: str, environ: Mapping[str, str]) -> tuple[str, list[Offer]]:
    """The kind of word that is wanted, and the words of that kind which begin as `current` does."""
    tree = store.read(TREE, [TREE], stamp())
    at = walk(tree, before, current) if tree else None
    if at is None:
        return "", []
    begun = current.removeprefix(at.prefix)
    found = ((f"{at.prefix}{word}", meaning) for word, meaning in _of_kind(store, at, tree, begun, environ))
    return at.kind, [(word, meaning) for word, meaning in found if word.startswith(current) and _PLAIN.fullmatch(word)]


def _of_kind(store: Store, at: Cursor, tree: Mapping[str, Any], begun: str, environ: Mapping[str, str]) -> Iterable[Offer]:
    if at.kind == "command":
        return ((name, node["help"]) for name, node in at.node["commands"].items())
    if at.kind == "option":
        return _options(at, tree)
    if at.kind == "choice":
        return ((choice, "") for choice in at.choices)
    if at.kind == "help":
        return _commands_below(tree, at.arguments)
    if at.kind in {"environment", "model", "reference", "version"}:
        return _names(store, at, begun, environ)
    return ()


def _options(at: Cursor, tree: Mapping[str, Any]) -> Iterator[Offer]:
    for option in options_of(at.node, tree):
        if not option.get("many") and option["names"][0] in at.options:
            continue
        yield from ((name, option["help"]) for name in option["names"] if name.startswith("--"))


def _commands_below(tree: Mapping[str, Any], path: Sequence[str]) -> Iterator[Offer]:
    node = tree
    for word in path:
        node = node.get("commands", {}).get(word, {})
    yield from ((name, one["help"]) for name, one in node.get("commands", {}).items())


def _names(store: Store, at: Cursor, begun: str, environ: Mapping[str, str]) -> Iterable[Offer]:
    file = _file(at, environ)
    known = yaml.read(file) if file else Names()
    if at.kind == "environment":
        return _environments(known, at)
    if at.kind == "model":
        return ((name, "") for name in known.models)
    if at.kind == "reference":
        return _references(store, known, file, begun)
    model = next(iter(at.options.get("--model") or known.of_environment(at.arguments[0] if at.arguments else "")), "")
    return ((version, "") for version in _versions(store, file, model))


def _file(at: Cursor, environ: Mapping[str, str]) -> str:
    folder = os.path.join(os.getcwd(), *at.options.get("-C", ()))  # noqa: PTH109, PTH118 - pathlib takes long
    named = next(iter(at.options.get("--config", ())), "") or environ.get("PROMOTER_CONFIG", "")
    return yaml.file_of(folder, os.path.expanduser(named))  # noqa: PTH111


def _environments(known: Names, at: Cursor) -> Iterator[Offer]:
    """Those of the model that was named, each once."""
    reference = at.arguments[0] if at.arguments else ""
    named = set(at.options.get("--model", ())) | {re.split("[@:]", reference)[0]}
    models: dict[str, list[str]] = {}
    for name, model, _ in [one for one in known.environments if one[1] in named] or known.environments:
        models.setdefault(name, []).append(model)
    yield from ((name, ", ".join(dict.fromkeys(of))[:60]) for name, of in models.items())


def _references(store: Store, known: Names, file: str, begun: str) -> Iterator[Offer]:
    """`NAME`, and behind `@` or `:` its aliases and versions, which are looked up as soon as the name is nearly typed."""
    name, separator, _ = re.split("([@:])", f"{begun}@", maxsplit=1)
    if name == begun:
        fitting = [model for model in known.models if model.startswith(name)]
        yield from ((model, "") for model in fitting)
        found = {model: _aliases(store, known, file, model) for model in fitting[:_ASKED_FOR]}
        if len(fitting) == 1:
            yield from found[fitting[0]]
    elif separator == "@":
        yield from _aliases(store, known, file, name)
    else:
        yield from ((f"{name}:{version}", "") for version in _versions(store, file, name))


def _aliases(store: Store, known: Names, file: str, model: str) -> list[Offer]:
    """Those that environments follow, and those that MLflow has."""
    followed = {alias: "" for _, of, alias in known.environments if of == model and alias and "/" not in alias}
    registered = {name: f"version {version}" for name, version in _registered(store, file, model).get("aliases", {}).items()}
    return [(f"{model}@{alias}", meaning) for alias, meaning in {**followed, **registered}.items()]


def _versions(store: Store, file: str, model: str) -> Iterable[str]:
    return _registered(store, file, model).get("versions", ()) if model else ()


def _registered(store: Store, file: str, model: str) -> Mapping[str, Any]:
    """What MLflow has of a model: its aliases with their versions, and its newest versions."""
    return store.read(registered_key(file, model), ["model", file, model]) or {}


def registered_key(file: str, model: str) -> str:
    """Where that is kept."""
    return f"model {model} {file}"
