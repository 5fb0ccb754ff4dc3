"""Every test can fail: what it asserts is reached in each run, not only in a loop over what may be empty."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ASSERTING = ("assert_", "check_", "eventually")
"""How the name of a function begins that asserts for its caller; each of them is held to the same rule."""
Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(path: Path) -> Iterator[Function]:
    """The tests of a file, and the functions that assert for them."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, Function) and node.name.startswith(("test_", *ASSERTING)):
            yield node


def proves(body: Sequence[ast.stmt], filled: frozenset[str] = frozenset()) -> bool:
    """Whether a run through these statements always comes to an assertion; `filled`: names of what is not empty."""
    for statement in body:
        if _proves(statement, filled):
            return True
        if isinstance(statement, (ast.Assign, ast.AnnAssign)) and statement.value and _is_filled(statement.value, filled):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            filled |= {target.id for target in targets if isinstance(target, ast.Name)}
    return False


def _proves(statement: ast.stmt, filled: frozenset[str]) -> bool:
    match statement:
        case ast.Assert() | ast.Raise():
            return True
        case ast.With() | ast.AsyncWith():
            return any(_asserts(item.context_expr) for item in statement.items) or proves(statement.body, filled)
        case ast.For() | ast.AsyncFor():
            return _is_filled(statement.iter, filled) and proves(statement.body, filled)
        case ast.If():
            return proves(statement.body, filled) and proves(statement.orelse, filled)
        case ast.Try():
            return proves(statement.body, filled) or proves(statement.finalbody, filled)
        case ast.FunctionDef() | ast.AsyncFunctionDef():  # it is handed to what runs it
            return proves(statement.body, filled)
        case ast.While() | ast.Match() | ast.ClassDef():
            return False
    return any(_asserts(node) for node in ast.walk(statement) if isinstance(node, ast.expr))


def _asserts(node: ast.expr) -> bool:
    name = _called(node)
    return name in {"pytest.raises", "pytest.warns", "pytest.fail"} or name.rpartition(".")[2].startswith(ASSERTING)


def _called(node: ast.expr) -> str:
    """The dotted name of the function that a call names."""
    return ast.unparse(node.func) if isinstance(node, ast.Call) and isinstance(node.func, (ast.Name, ast.Attribute)) else ""


def _is_filled(node: ast.expr, filled: frozenset[str]) -> bool:
    """Whether a loop over this has a first round: it is written out, or made from what is."""
    match node:
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
            return any(not isinstance(part, ast.Starred) for part in parts)
        case ast.Dict(keys=keys):
            return any(keys)
        case ast.Constant(value=value):
            return bool(value)
        case ast.Name(id=name):
            return name in filled
        case ast.Call(func=ast.Name(id="zip" | "enumerate" | "sorted" | "reversed" | "range"), args=[*arguments]):
            return all(_is_filled(argument, filled) for argument in arguments)
        case ast.Call(func=ast.Attribute(value=value, attr="items" | "values" | "keys" | "split")):
            return _is_filled(value, filled)
        case ast.GeneratorExp(generators=[one]) | ast.ListComp(generators=[one]):
            return not one.ifs and _is_filled(one.iter, filled)
    return False


@pytest.mark.parametrize("path", sorted(TESTS.rglob("*.py")), ids=lambda path: str(path.relative_to(TESTS)))
def test_every_test_can_fail(path: Path) -> None:
    idle = [f"{path.name}:{one.lineno} {one.name}" for one in functions(path) if not proves(one.body)]
    assert idle == [], "its assertions may never be reached: assert first that there is something to look at"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("assert x", True),
        ("for one in found(): assert one", False),
        ("for one in (1, 2): assert one", True),
        ("for one in (*found(),): assert one", False),
        ("cases = [1]\nfor one in cases: assert one", True),
        ("for one in {'a': 1}.items(): assert one", True),
        ("for one in range(5): assert one", True),
        ("for one in (one for one in (1, 2) if one > 2): assert one", False),
        ("if x: assert x", False),
        ("if x: assert x\nelse: assert y", True),
        ("with pytest.raises(ValueError): run()", True),
        ("with opened() as it: it.run()", False),
        ("while x: assert x", False),
        ("run()", False),
        ("there.assert_live()", True),
    ],
)
def test_what_counts_as_an_assertion(body: str, expected: bool) -> None:
    assert proves(ast.parse(body).body) is expected
