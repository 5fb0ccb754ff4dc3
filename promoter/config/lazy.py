"""What promoter.yaml has many of: everything is named at once, and made when somebody asks for it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar, overload

from promoter.models import Environment

if TYPE_CHECKING:
    from promoter.config.expand import Named

K = TypeVar("K")
V = TypeVar("V")


class Lazy(Mapping[K, V]):
    """A mapping whose values are made by `make`, each once."""

    def __init__(self, names: Collection[K], make: Callable[[K], V]) -> None:
        self._names, self._make = names, make
        self._made: dict[K, V] = {}

    def __getitem__(self, name: K) -> V:
        if name not in self._made:
            if name not in self._names:
                raise KeyError(name)
            self._made[name] = self._make(name)
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[K]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class Environments(Sequence[Environment]):
    """All environments, in the order of promoter.yaml; their names are known before one is made.

    `make` gives those of one model by `Environment.key`, in that order. It raises what is wrong with one of them.
    """

    def __init__(self, named: Sequence[Named], make: Callable[[str], Mapping[tuple[str, str], Environment]]) -> None:
        self.named = named
        self._make = make

    def of(self, model: str) -> tuple[Environment, ...]:
        """Those of one model; no other is made for it."""
        return tuple(self._make(model).values())

    def made(self, named: Named) -> Environment:
        return self._make(named.model)[named.key]

    @overload
    def __getitem__(self, index: int) -> Environment: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Environment, ...]: ...
    def __getitem__(self, index: int | slice) -> Environment | tuple[Environment, ...]:
        if isinstance(index, slice):
            return tuple(map(self.made, self.named[index]))
        return self.made(self.named[index])

    def __iter__(self) -> Iterator[Environment]:
        return map(self.made, self.named)

    def __len__(self) -> int:
        return len(self.named)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Environments | tuple) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]
