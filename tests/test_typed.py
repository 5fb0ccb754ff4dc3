"""Values made from JSON have the types of their annotations, or are an error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from promoter.transport.typed import require_typed


@dataclass(frozen=True)
class Inner:
    name: str


@dataclass(frozen=True)
class Outer:
    text: str = ""
    number: int = 0
    share: float = 0.0
    flag: bool = False
    maybe: int | None = None
    inner: Inner | None = None
    many: tuple[Inner, ...] = ()
    pair: tuple[str, int] = ("", 0)
    known: Mapping[str, str] = field(default_factory=dict)
    any: Any = None


@pytest.mark.parametrize(
    "value",
    [
        Outer(),
        Outer(share=1, maybe=2, inner=Inner("a"), many=(Inner("a"), Inner("b")), known={"a": "b"}, any=[1], flag=True),
    ],
)
def test_a_value_of_its_types_is_returned(value: Outer) -> None:
    assert require_typed(value) is value


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        ({"text": None}, "Outer.text is None, not str"),
        ({"text": 5}, "Outer.text is 5, not str"),
        ({"number": True}, "Outer.number is True, not int"),
        ({"number": 1.5}, "Outer.number is 1.5, not int"),
        ({"share": "1"}, "Outer.share is '1', not float"),
        ({"flag": 1}, "Outer.flag is 1, not bool"),
        ({"maybe": "1"}, "Outer.maybe is '1'"),
        ({"inner": Inner(None)}, "Inner.name is None, not str"),  # type: ignore[arg-type]
        ({"many": (Inner("a"), Inner(5))}, "Inner.name is 5"),  # type: ignore[arg-type]
        ({"many": "ab"}, "Outer.many is 'ab'"),
        ({"pair": ("a",)}, "Outer.pair"),
        ({"known": {"a": 1}}, "Outer.known"),
    ],
)
def test_a_field_of_another_type_is_an_error(odd: dict[str, Any], said: str) -> None:
    with pytest.raises(TypeError) as error:
        require_typed(Outer(**odd))
    assert said in str(error.value)


def test_a_value_may_have_a_type_named() -> None:
    assert require_typed({"a": ["b"]}, dict[str, list[str]]) == {"a": ["b"]}
    with pytest.raises(TypeError):
        require_typed([("a", "b")], list[tuple[str, int]])
