"""What was decided about a version in the environment: quarantined, rejected, rolled back, failed too often."""

from __future__ import annotations

from typing import TYPE_CHECKING

from promoter.errors import RefusedError
from promoter.kustomize.promotion_file import Decision, State
from promoter.models import Environment, ModelVersion

if TYPE_CHECKING:
    from promoter.promotion.decisions import Decisions

MOST_FAILURES = 3
"""A failure that was not the model's own is tried again; after so many somebody has to look."""


def not_undone(decisions: Decisions, version: ModelVersion, *, force: bool, unattended: bool) -> None:
    """Refuses a version that was quarantined or rejected, by the file of decisions or by MLflow's tag; `force` lets it pass.

    `unattended`: nobody named the version, an alias only points to it. Then one that a person rolled back, or that failed
    `MOST_FAILURES` times, is refused too.

    Raises:
        RefusedError: the version is quarantined or rejected; the error names the record.
    """
    environment, found = decisions.environment, decisions.of(version.version, version.created.replace(microsecond=0))
    if not force:
        _not_blocked(decisions, found, version)
    if found is None or not unattended:
        return
    if found.state is State.ROLLED_BACK:
        by = f" by {found.by}" if found.by else ""
        raise RefusedError(
            f"{environment.name!r} was rolled back from version {version.version}{by} ({decisions.path})",
            hint=f"move the alias to another version, or run: promoter promote {version.reference} --to {environment.name}",
        )
    if given_up(found):
        raise RefusedError(
            f"{version.reference} failed {found.failures} times in {environment.name!r} ({decisions.path}): {found.reason}",
            hint=f"fix the cause, then run: promoter promote {version.reference} --to {environment.name}",
        )


def _not_blocked(decisions: Decisions, found: Decision | None, version: ModelVersion) -> None:
    environment, tag = decisions.environment.name, quarantine_tag(decisions.environment)
    tagged = version.tags.get(tag)
    if found is not None and found.blocks:
        where = f"commit {found.commit}" if found.commit else decisions.path
        why = f": {found.reason}" if found.reason else ""
        witness = "" if tagged is not None or found.state is State.REJECTED else f"; MLflow has no tag {tag}"
        raise RefusedError(
            f"{version.reference} is {found.state} in {environment!r}{why}; see {where}{witness}",
            hint=f"register a better version, override with --force, or remove the entry from {decisions.path}",
        )
    if tagged is not None and (found is None or found.state is not State.ALLOWED):
        raise RefusedError(
            f"MLflow's tag {tag} quarantines {version.reference}, and {decisions.path} does not",
            hint="remove the tag if it is wrong, or override with --force",
        )


def given_up(decision: Decision) -> bool:
    """The version failed too often for another try that nobody asked for."""
    return decision.state is State.FAILED and decision.failures >= MOST_FAILURES


def quarantine_tag(environment: Environment) -> str:
    """The tag of a model version in MLflow that repeats its quarantine."""
    return f"promoter.quarantined.{environment.name}"
