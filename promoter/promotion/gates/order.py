"""earlier: what became of a version in the environments that it passes before this one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from promoter.models import Ruling
from promoter.promotion.gates.table import passed, refused, warned


@dataclass(frozen=True, slots=True)
class Before:
    """What was decided about the version in an earlier environment: `against` is "" if nothing stands against it there.

    `unknown` is why that can't be read.
    """

    environment: str
    against: str = ""
    unknown: str = ""


def earlier(known: Iterable[Before], *, force: bool) -> Iterator[Ruling]:
    """A version that is quarantined or rejected there does not come further. Where that can't be read, that is a warning."""
    for one in known:
        if one.against and not force:
            hint = f"register a better version, or lift the decision in {one.environment}"
            yield refused("earlier", one.environment, one.against, hint)
        elif one.against:
            yield warned("earlier", one.environment, f"{one.against}; --force lets it pass")
        elif one.unknown:
            yield warned("earlier", one.environment, f"not known: {one.unknown}")
        else:
            yield passed("earlier", one.environment, "nothing stands against it there")
