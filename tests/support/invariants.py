"""What no order of events and no fault may lead to, written once: of each commit and its parent."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from promoter.kustomize.promotion_file import Decision, State
from promoter.models import Release


@dataclass(frozen=True)
class Link:
    """One commit of a branch: what it deploys, what is decided at it, and the files of people (`theirs`) that it holds.

    `attended`: it was not reconcile's. `frozen`: nothing is to be promoted on top of it.
    """

    sha: str
    subject: str
    by: str
    release: Release | None
    decisions: Mapping[str, Decision]
    theirs: Collection[str] = ()
    attended: bool = True
    frozen: bool = False


def violations(pairs: Iterable[tuple[Link, Link]], bad: Collection[str]) -> Iterator[str]:
    """Every sentence that a commit contradicts, each with its parent before it; the cluster aborts the versions that are `bad`."""
    restored: set[tuple[str, str]] = set()
    for before, now in pairs:
        was, release = before.release, now.release
        standing = before.decisions.get(release.version) if release else None
        if release and release != was and standing is not None and standing.blocks:
            yield f"{now.by} deployed version {release.version}, which is {standing.state}: {now.subject}"
        if release and release != was and not now.attended and standing is not None and standing.state is State.ROLLED_BACK:
            yield f"{now.by} undid a rollback: {now.subject}"
        if before.frozen and now.subject.startswith("Promote "):
            yield f"{now.by} promoted to a frozen environment: {now.subject}"
        if now.subject.startswith("Restore ") and was:
            if was.version not in bad:
                yield f"{now.by} restored after version {was.version}, which did not fail"
            if (was.version, before.sha) in restored:
                yield f"version {was.version} was restored twice"
            restored.add((was.version, before.sha))
        if lost := set(before.theirs) - set(now.theirs):
            yield f"{now.by} lost {sorted(lost)}"
