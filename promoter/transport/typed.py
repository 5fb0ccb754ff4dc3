"""Values made from JSON: one of another type than its annotation is an error, before anything is concluded from it."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints, overload

T = TypeVar("T")
Check = Callable[[Any], bool]


@overload
def require_typed(value: T) -> T: ...
@overload
def require_typed(value: Any, kind: type[T]) -> T: ...
def require_typed(value: Any, kind: Any = None) -> Any:
    """The value, if it is of this type: for a dataclass its own, with the types of all its fields.

    Raises:
        TypeError: it is not.
    """
    wanted: Any = type(value) if kind is None else kind
    if not _check(wanted)(value):
        raise TypeError(f"{value!r:.100} is not {getattr(kind, '__name__', kind)}")
    return value


@cache
def _check(kind: Any) -> Check:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind in (Any, object):
        return lambda _: True
    if origin in (Union, types.UnionType):
        checks = [_check(one) for one in arguments]
        return lambda value: any(check(value) for check in checks)
    if origin is tuple and arguments[-1] is not Ellipsis:
        each = [_check(one) for one in arguments]
        return lambda value: (
            type(value) is tuple and len(value) == len(each) and all(map(lambda check, one: check(one), each, value))
        )
    if origin is not None and issubclass(origin, Mapping):
        return _mapping(origin, *map(_check, arguments))
    if origin is not None and issubclass(origin, Iterable):
        return _collection(origin, _check(arguments[0]))
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind)
    return _plain(kind)


def _mapping(origin: Any, key: Check, value: Check) -> Check:
    return lambda found: isinstance(found, origin) and all(key(one) and value(of) for one, of in found.items())


def _collection(origin: Any, each: Check) -> Check:
    return lambda found: isinstance(found, origin) and not isinstance(found, str) and all(map(each, found))


def _dataclass(kind: Any) -> Check:
    hints = get_type_hints(kind)
    fields = [(field.name, hints[field.name], _check(hints[field.name])) for field in dataclasses.fields(kind)]

    def check(value: Any) -> bool:
        if not isinstance(value, kind):
            return False
        for name, wanted, fits in fields:
            if not fits(found := getattr(value, name)):
                raise TypeError(f"{kind.__name__}.{name} is {found!r:.100}, not {getattr(wanted, '__name__', wanted)}")
        return True

    return check


def _plain(kind: Any) -> Check:
    """A boolean does not count as a number, an integer does."""
    wanted = {int: (int,), float: (int, float)}.get(kind, (kind,))
    return lambda value: isinstance(value, wanted) and (kind is bool or not isinstance(value, bool))
