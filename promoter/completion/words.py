"""Which kind of word the cursor is at: the tree of commands walked along the words before it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

TYPE_CHECKING = False  # typing and dataclasses take longer to import than all of this takes to run
if TYPE_CHECKING:
    from typing import Any

    Node = Mapping[str, Any]
    """A command as the tree has it: its `help`, `options`, `arguments` and, of a group, `commands`."""


class Cursor:
    """Where the walk has arrived: `kind` of the word wanted, `prefix` that stands before it in the same word.

    `options` and `arguments` are what was typed before: the values of each option by its first name.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self.kind = self.prefix = ""
        self.choices: Sequence[str] = ()
        self.options: dict[str, list[str]] = {}
        self.arguments: list[str] = []
        self.literal = False  # behind `--` nothing is an option


def walk(tree: Node, before: Sequence[str], current: str) -> Cursor | None:
    """The cursor behind `before`, at the word that begins with `current`; None behind a command that does not exist."""
    at = Cursor(tree)
    waiting: Node | None = None
    for word in before:
        if waiting is not None:
            at.options.setdefault(waiting["names"][0], []).append(word)
            waiting = None
        elif word == "--" and not at.literal:
            at.literal = True
        elif word.startswith("-") and word != "-" and not at.literal:
            waiting = _option(at, tree, word)
        elif not _goes_on(at, word):
            return None
    if waiting is not None:
        at.kind, at.choices = waiting["kind"], waiting.get("choices", ())
    else:
        _at_word(at, tree, current)
    return at


def options_of(node: Node, tree: Node) -> Iterator[Node]:
    """The options of a command, and those that stand behind any."""
    yield from node["options"]
    if node is not tree:
        yield from (one for one in tree["options"] if one.get("anywhere"))


def _option(at: Cursor, tree: Node, word: str) -> Node | None:
    """The option of this word if its value is the next word; remembers one whose value is in the word."""
    name, equals, value = word.partition("=")
    found = next((one for one in options_of(at.node, tree) if name in one["names"]), None)
    if found is None:
        return None
    if found["flag"] or equals:
        at.options.setdefault(found["names"][0], []).append(value)
        return None
    return found


def _goes_on(at: Cursor, word: str) -> bool:
    if not at.node.get("commands"):
        at.arguments.append(word)
        return True
    if word not in at.node["commands"]:
        return False
    at.node = at.node["commands"][word]
    return True


def _at_word(at: Cursor, tree: Node, current: str) -> None:
    name, equals, _ = current.partition("=")
    if current.startswith("--") and equals and not at.literal:
        found = next((one for one in options_of(at.node, tree) if name in one["names"]), None)
        at.prefix = f"{name}="
        at.kind, at.choices = (found["kind"], found.get("choices", ())) if found else ("", ())
    elif current.startswith("-") and not at.literal:
        at.kind = "option"
    elif at.node.get("commands"):
        at.kind = "command"
    elif at.node["arguments"]:
        index = min(len(at.arguments), len(at.node["arguments"]) - 1)
        argument = at.node["arguments"][index]
        if index == len(at.arguments) or argument.get("many"):
            at.kind, at.choices = argument["kind"], argument.get("choices", ())
