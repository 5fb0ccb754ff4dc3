"""changed: which environments carry a release that came with these commits and that nobody watches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promoter.errors import RefusedError
from promoter.kustomize.overlay import deployed
from promoter.models import Environment, Release, Write
from promoter.promotion import journal, releases
from promoter.promotion.survey import Survey

if TYPE_CHECKING:
    from promoter.promotion.clients import Clients


@dataclass(frozen=True, slots=True)
class Changed:
    """An environment to watch, and the commit that brought its release."""

    environment: str
    model: str
    commit: str


def changed(
    clients: Clients, environments: Sequence[Environment], *, since: str | None = None, commit: str | None = None
) -> tuple[Changed, ...]:
    """Those of the environments whose release at `commit` (default: the branch's tip) is another one than at `since`.

    Without `since`, or if the branch does not contain that commit (any more), all that have a release. Left out is what
    promoter committed itself in an environment that takes direct commits: whoever made such a commit watches it. A merged
    pull request is watched by nobody yet.

    Raises:
        RefusedError: the branch does not have `commit`.
        PromoterError: as Git, Argo CD and the files of an overlay answer.
    """
    survey = Survey(clients, with_argocd=False)
    if any(not one.application.repo_url for one in environments):
        survey.list()
    found = (_changed(survey, survey.with_source(environment), since, commit) for environment in environments)
    return tuple(one for one in found if one is not None)


def _changed(survey: Survey, environment: Environment, since: str | None, commit: str | None) -> Changed | None:
    application = environment.application
    start = commit or survey.branch(application).tip
    release = deployed(survey.at(application, commit), environment) if commit else survey.deployed(environment)
    if release is None or release == _before(survey, environment, since):
        return None
    brought = releases.current(survey.clients.repository(application), environment, start).commit
    if environment.write is Write.PUSH and journal.of(brought).by_promoter:
        return None
    return Changed(environment.name, environment.model.name, brought.sha)


def _before(survey: Survey, environment: Environment, since: str | None) -> Release | None:
    if since is None or not since.strip("0"):  # a branch that is new was at 000… before
        return None
    try:
        return deployed(survey.at(environment.application, since), environment)
    except RefusedError:
        return None
