"""The rule for a cluster that Argo CD reports as Synced and Healthy although it runs another image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from promoter.argocd.state import ContainerImage
from promoter.verdict.live import application_of, settled
from promoter.verdict.result import Kind, Verdict

if TYPE_CHECKING:
    from promoter.argocd.state import ApplicationState, Workload
    from promoter.verdict.observation import Expectation, Observation


def masked(seen: Observation, expected: Expectation) -> Verdict | None:
    """Argo CD is content with our commit and another image runs. Reported only if something proves it: an image override
    on the Application, what the sync applied, or what was last applied to the object; else it may have been read too early.
    """
    workload = seen.workload
    if workload is None or seen.by_version or workload.template.runs(expected.release) or not settled(seen, expected):
        return None
    release = expected.release
    override = image_override(application_of(seen), release.repository, expected.image_name, release.digest)
    if not (override or _applied_another(seen, workload, expected) or _changed_after_apply(workload, expected)):
        return None
    runs = workload.template.release(expected.release.repository)
    evidence = [f"the live {workload.ref.kind} runs {runs.image if runs else 'no image'}, not {expected.release.image}"]
    if override:
        evidence.append(f"the Application overrides the image (spec.source.kustomize.images): {override}")
    return Verdict(Kind.MASKED, "Synced at our commit, and another image runs", evidence=tuple(evidence), override=override)


def image_override(application: ApplicationState, repository: str, image_name: str, digest: str = "") -> str:
    """The Application's entry that replaces our image by one of another digest."""
    return overriding(application.image_overrides, repository, image_name, digest)


def overriding(entries: Sequence[str], repository: str, image_name: str, digest: str = "") -> str:
    """The entry (`[name=]image`, as `kustomize edit set image` takes it) that replaces our image by one of another digest."""
    for entry in entries:
        name, equals, text = entry.rpartition("=")
        image = ContainerImage.parse(text)
        concerns = {name if equals else image.repository, image.repository} & {repository, image_name}
        if concerns and (not digest or image.digest != digest):
            return entry
    return ""


def _applied_another(seen: Observation, workload: Workload, expected: Expectation) -> bool:
    operation = application_of(seen).operation
    if operation is None or seen.git.operation_ancestor is not True:
        return False
    images = [
        image
        for one in operation.resources
        if (one.kind, one.name) == (workload.ref.kind, workload.ref.name)
        for image in one.images
    ]
    return bool(images) and all(image.digest != expected.release.digest for image in images)


def _changed_after_apply(workload: Workload, expected: Expectation) -> bool:
    return workload.applied is not None and workload.applied.runs(expected.release)
