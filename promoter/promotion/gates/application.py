"""Whether Argo CD will take the commit: the Application follows the branch and path, and nothing masks the image."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from promoter.config.yaml import plain_values
from promoter.errors import RefusedError
from promoter.kustomize.render import Tree
from promoter.models import Environment
from promoter.verdict.application import elsewhere
from promoter.verdict.masked import image_override, overriding

if TYPE_CHECKING:
    from promoter.argocd.state import ApplicationState, SyncWindows

# A field at, above or below the pod template's image, as a JSON pointer or a jq path.
_TEMPLATE = re.compile(r"[./]spec(?:[./]template(?:[./\[].*)?)?\Z")
# One that is neither the image nor the variables nor the labels, nor contains them: annotations, resources, other pod fields.
_CONTAINER = r"spec[./]containers(?:\[[^\]]*\]|/\d+)[./](?!(?:image|env)\b)\w+"
_ELSEWHERE = re.compile(
    rf"[./]spec[./]template[./](?:metadata[./]annotations|spec[./](?!containers\b)\w+|{_CONTAINER})[^,|]*\Z"
)
_APPLY = "kubectl apply -f environments/"
CREATE_IT = f"create it ({_APPLY}), or promote the first version with --no-watch"


def followed(application: ApplicationState | None, environment: Environment) -> None:
    """Refuses what would make the commit have no effect, or another one than meant.

    Raises:
        RefusedError: no such Application, another branch or path, a source hydrator, or an image override.
    """
    wanted = environment.application
    if application is None or application.deleting:
        state = "is being deleted" if application else "does not exist in Argo CD"
        raise RefusedError(f"Application {wanted.name!r} (project {wanted.project}) {state}", hint=_APPLY)
    if application.hydrated:
        raise RefusedError(f"Application {wanted.name!r} uses the source hydrator", hint="give it a plain source with a path")
    if problems := elsewhere(application, wanted):
        raise RefusedError(f"Application {wanted.name!r} follows {'; '.join(problems)}", hint=_APPLY)
    if application.skips_reconcile:
        raise RefusedError(
            f"Application {wanted.name!r} is not reconciled (argocd.argoproj.io/skip-reconcile): nothing would be synced",
            hint=f"kubectl annotate application {wanted.name} argocd.argoproj.io/skip-reconcile-",
        )
    if ignored := [one for one in application.ignored_fields if _TEMPLATE.match(one) and not _ELSEWHERE.match(one)]:
        raise RefusedError(
            f"Application {wanted.name!r} ignores differences in {ignored[0]}: a new image would never be applied",
            hint="take it out of ignoreDifferences",
        )
    if override := image_override(application, environment.model.repository, environment.model.image_name):
        raise RefusedError(
            f"Application {wanted.name!r} overrides the image (spec.source.kustomize.images): {override}",
            hint=f"it would mask the commit: argocd app unset {wanted.name} --kustomize-image IMAGE",
        )


def not_created(environment: Environment) -> str:
    """What to say of an Application that does not exist while its overlay has no release."""
    return f"Application {environment.application.name!r} does not exist yet"


def rendered_by_argocd(application: ApplicationState, environment: Environment, paths: Iterable[str]) -> None:
    """Refuses an Application that renders only commits which touch some folders, when these are not all that it renders from.

    `paths` are the files that the overlay renders from, and those that promoter writes.

    Raises:
        RefusedError: a file lies in none of the folders of argocd.argoproj.io/manifest-generate-paths.
    """
    folders = [one for one in application.generate_paths.split(";") if one]
    missing = sorted(path for path in paths if folders and not any(_covers(one, environment, path) for one in folders))
    if missing:
        raise RefusedError(
            f"Application {environment.application.name!r} renders only commits that touch {application.generate_paths}, and "
            f"{missing[0]} is not there",
            hint="add its folder to the annotation argocd.argoproj.io/manifest-generate-paths",
        )


def _covers(folder: str, environment: Environment, path: str) -> bool:
    """As Argo CD reads the annotation: from the root with a slash, else from the Application's path; a folder or a pattern."""
    own = environment.application.path
    place = posixpath.normpath(folder.lstrip("/") if folder.startswith("/") else posixpath.join(own, folder))
    return place == "." or path == place or path.startswith(f"{place}/") or fnmatch.fnmatchcase(path, place)


def not_overridden(environment: Environment) -> None:
    """Refuses an Application whose own manifest sets our image: it would mask what is committed.

    Raises:
        RefusedError: spec.source.kustomize.images has an entry for it.
    """
    application, model = environment.application, environment.model
    if override := overriding(application.image_overrides, model.repository, model.image_name):
        raise RefusedError(
            f"the manifest of Application {application.name!r} overrides the image (spec.source.kustomize.images): {override}",
            hint="take it out of the manifest: Argo CD applies it after the overlay",
        )


def no_parameter_files(tree: Tree, environment: Environment) -> None:
    """Refuses an overlay next to which a file of Argo CD's own sets our image: it would mask what is committed.

    Raises:
        RefusedError: .argocd-source.yaml or .argocd-source-<application>.yaml has an entry for it.
    """
    application = environment.application
    names = (".argocd-source.yaml", f".argocd-source-{application.name}.yaml")
    files = tree.export([posixpath.join(application.path, name) for name in names])
    for path, content in files.items():
        for document in plain_values(content.decode(errors="replace"), path):
            kustomize = document.get("kustomize") if isinstance(document, dict) else None
            images = kustomize.get("images") if isinstance(kustomize, dict) else None
            entries = tuple(map(str, images)) if isinstance(images, list) else ()
            if override := overriding(entries, environment.model.repository, environment.model.image_name):
                raise RefusedError(
                    f"{path} overrides the image: {override}",
                    hint="remove the file, or its `images`: Argo CD applies it after the overlay",
                )


def warnings(application: ApplicationState, windows: SyncWindows | None, *, released: bool) -> tuple[str, ...]:
    """What may keep the release from going live, and does not make it wrong. Without a release an overlay has no workload."""
    warnings = []
    if not application.auto_sync:
        warnings.append("auto-sync is off: somebody must sync")
    if windows is not None and windows.blocks_auto_sync:
        warnings.append("a sync window keeps Argo CD from syncing now")
    if application.health != "Healthy":
        warnings.append(f"the Application is {application.health} already")
    if released and not application.workloads:
        warnings.append("the Application has no Rollout or Deployment yet")
    return tuple(warnings)
