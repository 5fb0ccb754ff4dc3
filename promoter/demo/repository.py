"""The demo's GitOps repository: what every new one starts from, with the addresses of here and a canary of seconds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from promoter.commands.scaffold import template
from promoter.demo.place import Place, git
from promoter.errors import PromoterError

MODEL = "fraud-detector"
ALIAS = "challenger"
ENVIRONMENT = "staging"
REPOSITORY = "registry.example.com/models/fraud-detector"
"""The image repository, as shipped."""

_PAGE = "https://github.com/your-org/your-gitops-repository"
_IMAGE = "base: python:{python}-slim"

Edits = Mapping[str, Mapping[str, str]]
"""By file: what is replaced by what; each must be there."""

BRISK: Edits = {
    "base/rollout.yaml": {
        "minReadySeconds: 5": "minReadySeconds: 1",
        "progressDeadlineSeconds: 600": "progressDeadlineSeconds: 180",
        "duration: 10s": "duration: 2s",
    },
    f"overlays/{ENVIRONMENT}/kustomization.yaml": {'value: "10"': 'value: "3"'},
    "base/health.yaml": {'value: "3"': 'value: "1"'},
}
"""The shipped canary takes minutes, this one seconds."""


def settings_edits(place: Place, image: str | None) -> dict[str, str]:
    """Of promoter.yaml: the demo's model store, the folder of its files, and `image` for the image section's only line."""
    store = f"mlflow:\n  tracking-uri: {place.tracking_uri}\n\n"
    sources = f"sources: ['{place.artifacts.as_uri()}']"
    return {_IMAGE: f"{sources}\n  {image or _IMAGE}", "\nenvironments:": f"\n{store}environments:"}


def seed(place: Place, edits: Edits) -> None:
    """The first commit of the branch: all that is shipped for a new repository, with its own address and these edits.

    Raises:
        PromoterError: git failed, or an edit does not fit what is shipped.
    """
    git("init", "--quiet", f"--initial-branch={place.branch}", str(place.checkout))
    place.git("remote", "add", "origin", place.git_url)
    for path, content in template.files():
        text = content.decode().replace(f"{_PAGE}.git", place.git_url).replace(_PAGE, place.git_url)
        _write(place.checkout / path, _edited(path, text, edits.get(path, {})))
    place.git("add", "--all")
    author = ("-c", "user.name=promoter demo", "-c", "user.email=demo@example.com", "-c", "commit.gpgSign=false")
    place.git(*author, "commit", "--quiet", "--message=Start the GitOps repository")
    place.git("push", "--quiet", "--set-upstream", "origin", place.branch)


def _write(target: Path, text: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(text.encode())


def _edited(path: str, text: str, edits: Mapping[str, str]) -> str:
    for old, new in edits.items():
        if (count := text.count(old)) != 1:
            raise PromoterError(f"{path} as shipped has {old!r} {count} times, the demo expects it once")
        text = text.replace(old, new)
    return text
