"""The release that is live in an environment, to be promoted to another one: `promote --from`."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from promoter.errors import RefusedError, SupersededError, UsageError
from promoter.image.reference import image_tag
from promoter.models import ModelVersion, Release
from promoter.promotion import decisions, releases
from promoter.promotion.observe import Observer
from promoter.verdict import Kind, judge

if TYPE_CHECKING:
    from promoter.commands.plan import Plan
    from promoter.model_registry import ModelReference
    from promoter.promotion.clients import Clients


@dataclass(frozen=True, slots=True)
class Live:
    """The release, where it is live, and its version as MLflow has it. `tag` names the image if it is not the version's own."""

    environment: str
    release: Release
    reference: ModelReference
    version: ModelVersion
    tag: str = ""

    def require_same(self, plan: Plan) -> None:
        """The plan is of this very version and image.

        Raises:
            RefusedError: the image there has another digest, or its version's files are others.
        """
        there, here = self.release, plan.after
        if plan.image is None or (there.digest, there.model_digest) != (here.digest, here.model_digest):
            found = here.image if plan.image else "no image yet"
            raise RefusedError(
                f"{there.image} is live in {self.environment!r}, and {plan.environment.name!r} would get {found}",
                hint=f"promote the version by its number to promote another image of it: {self.reference}",
            )


def live_in(clients: Clients, name: str, wanted: ModelReference) -> Live:
    """The release of this model that Git deploys in the environment and that Argo CD shows as live there.

    Raises:
        UsageError: a version is named as well; Argo CD is not configured.
        RefusedError: no release is deployed there, or it is not live.
        SupersededError: MLflow's version of that number is another one by now.
        PromoterError: as Git, Argo CD and MLflow answer.
    """
    if wanted.version or wanted.alias or wanted.stage:
        raise UsageError(f"{str(wanted)!r} names a version, and --from {name} another one", hint=f"write {wanted.name} alone")
    environment = clients.environment(name, wanted.name)
    repository = clients.repository(environment.application)
    committed = releases.current(repository, environment)
    release = committed.release
    observer = Observer(clients.argocd(), repository, environment, committed.expectation(environment))
    verdict = judge(observer.first_look(time.sleep), observer.expected)
    if verdict.kind is not Kind.LIVE:
        raise RefusedError(
            f"version {release.version} is not live in {name!r}: {verdict.kind}: {verdict.summary}",
            hint=f"see what becomes of it: promoter watch {name}",
        )
    reference = replace(wanted, version=release.version)
    version = clients.model_registry.resolve(reference)
    if not decisions.is_of(release, version.version, version.created.replace(microsecond=0)):
        raise SupersededError(
            f"version {release.version} that is live in {name!r} is of a model that was registered again since",
            hint=f"promote a version that MLflow has: promoter promote {wanted.name}@ALIAS",
        )
    return Live(name, release, reference, version, "" if release.tag == image_tag(version) else release.tag)
