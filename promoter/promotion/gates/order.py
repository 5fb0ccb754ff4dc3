"""earlier and after: what became of a version in the environments that it passes before this one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from promoter.config.duration import spoken
from promoter.config.gates import AfterSection
from promoter.models import Release, Ruling
from promoter.promotion.gates.table import passed, refused, warned


@dataclass(frozen=True, slots=True)
class Before:
    """What was decided about the version in an earlier environment: `against` is "" if nothing stands against it there.

    `unknown` is why that can't be read.
    """

    environment: str
    against: str = ""
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """What an earlier environment deploys, and whether it is live there: `since` when, by Git and Argo CD, None if it is not.

    `state` is that in a few words.
    """

    release: Release | None
    state: str = ""
    since: datetime | None = None


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


def after(rule: AfterSection, digest: str, standing: Standing, now: datetime) -> Ruling:
    """This very image must be live there for `soak`; `digest` is "" if it is not built yet."""
    where, soak = rule.environment, rule.soak
    hint = f"promote it to {where} first, and wait until it is live there{f' for {spoken(soak)}' if soak else ''}"
    if not digest:
        return refused("after", where, "its image is not built yet, so it was never live there", hint)
    if standing.release is None:
        return refused("after", where, "no version is deployed there", hint)
    if standing.release.digest != digest:
        other = f"version {standing.release.version} ({standing.release.digest[:19]})"
        return refused("after", where, f"{other} is deployed there, not this image ({digest[:19]})", hint)
    if standing.since is None:
        return refused("after", where, f"it is deployed there, and not known to be live: {standing.state}", hint)
    seconds = max(0.0, (now - standing.since).total_seconds())
    live = f"live there for {spoken(seconds)}, since {standing.since:%Y-%m-%d %H:%M:%S} UTC"
    if seconds < soak:
        return refused("after", where, f"{live}, and must be for {spoken(soak)}", f"wait {spoken(soak - seconds)}")
    return passed("after", where, live)
