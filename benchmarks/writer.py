"""One promoter's Git part as a process: started by a line on its input, it writes one release after another."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import git  # noqa: F401 - what every run imports anyway is not what is measured

from promoter.gitops import Proposal, Repository, Snapshot
from promoter.kustomize import release as kustomize
from promoter.kustomize.overlay import read_overlay
from promoter.models import Application, Environment, Model, Release

OVERLAY = "overlays/production"
_DIGEST = "sha256:" + "b" * 64


def files(models: int, overlay: str = OVERLAY) -> dict[str, bytes]:
    """An overlay that deploys so many models: an entry under `images:` and a release file for each."""
    kustomization = "resources:\n- ../../base\n" + "".join(f"- release-m{n}.yaml\n" for n in range(models)) + "images:\n"
    kustomization += "".join(
        f"- name: m{n}\n  newName: registry.example.com/m{n}\n  newTag: v1\n  digest: sha256:{'a' * 64}\n"
        for n in range(models)
    )
    release = (
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: release-{0}\n  annotations:\n"
        '    config.kubernetes.io/local-config: "true"\ndata:\n'
        '  modelName: {0}\n  modelVersion: "1"\n  modelDigest: sha256:{1}\n'
    )
    releases = {f"{overlay}/release-m{n}.yaml": release.format(f"m{n}", "a" * 64).encode() for n in range(models)}
    return {f"{overlay}/kustomization.yaml": kustomization.encode(), **releases}


def main(url: str, cache: str, *models: str) -> None:
    """Prints `ready`, waits for a line, writes version 2 of each model; then prints the tries that each one took."""
    print("ready", flush=True)
    sys.stdin.readline()
    tries = [_write(url, Path(cache), model) for model in models]
    print(*tries)


def _write(url: str, cache: Path, name: str) -> int:
    repository = Repository(url, "main", cache=cache, environ=os.environ)
    model = Model(name, f"registry.example.com/{name}", name, f"release-{name}.yaml")
    application = Application(name, "default", "argocd", url, OVERLAY, "main")
    environment = Environment("production", model, application)
    release = Release(name, "2", _DIGEST, model.repository, "v2", _DIGEST)

    def edit(snapshot: Snapshot) -> Proposal:
        edited = kustomize.write_release(read_overlay(snapshot, environment), model, release)
        return Proposal(edited.files, f"Promote {name} version 2")

    return repository.apply(edit).attempts


if __name__ == "__main__":
    main(*sys.argv[1:])
