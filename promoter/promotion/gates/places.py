"""What became of a version in other environments of its model, read from Git."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from promoter.errors import ConfigError, PromoterError, RefusedError, UnreachableError
from promoter.kustomize.overlay import read_overlay
from promoter.models import Environment, ModelVersion
from promoter.promotion import decisions
from promoter.promotion.gates import decided
from promoter.promotion.gates.order import Before

if TYPE_CHECKING:
    from promoter.gitops import Snapshot
    from promoter.promotion.clients import Clients


def decided_before(
    clients: Clients, before: Iterable[Environment], environment: Environment, snapshot: Snapshot, version: ModelVersion
) -> Iterator[Before]:
    """What stands against the version in each of them; `snapshot` is the tip of this environment's branch.

    Raises:
        UnreachableError: a Git server does not answer.
    """
    for one in before:
        try:
            other = clients.with_source(one)
            tip = _tip(clients, other, environment, snapshot)
            overlay = read_overlay(tip, other)
        except UnreachableError:
            raise
        except PromoterError as error:
            yield Before(one.name, unknown=error.message)
            continue
        try:
            known = decisions.at(clients.repository(other.application), tip.commit, overlay, other)
            decided.not_undone(known, version, force=False, unattended=False)
            yield Before(one.name)
        except ConfigError as error:
            yield Before(one.name, against=f"what was decided there can't be read: {error.message}")
        except RefusedError as error:
            yield Before(one.name, against=error.message)


def _tip(clients: Clients, other: Environment, environment: Environment, snapshot: Snapshot) -> Snapshot:
    """Of another environment: on the same branch it is the same commit."""
    theirs, application = other.application, environment.application
    same = (theirs.repo_url, theirs.target_revision) == (application.repo_url, application.target_revision)
    return snapshot if same else clients.repository(theirs).fetch()
