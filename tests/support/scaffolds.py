"""Repositories as init writes them, and a first release in them."""

from __future__ import annotations

from pathlib import Path

from promoter import config
from promoter.commands.check_files import WorkTree
from promoter.commands.init import init, plan_init
from promoter.commands.scaffold import Wanted
from promoter.kustomize.overlay import read_overlay
from promoter.kustomize.release import write_release
from promoter.models import Environment, Release

URL = "https://git.example.com/team/gitops.git"
_DIGEST = "sha256:" + "a" * 64


def wanted(model: str = "churn", **more: object) -> Wanted:
    values = {
        "registry": "registry.team.example/ml",
        "repo": URL,
        "mlflow": "https://mlflow.team.example",
        "named": True,
        **more,
    }
    return Wanted(model, **values)  # type: ignore[arg-type]


def scaffold(folder: Path, value: Wanted) -> config.Config:
    init(plan_init(folder, value))
    return config.load(folder / config.FILE)


def release_into(root: Path, environment: Environment) -> set[str]:
    """Writes a first release; gives the lines of the kustomization that it took out."""
    found = read_overlay(WorkTree(root), environment)
    release = Release(environment.model.name, "1", _DIGEST, environment.model.repository, "v1-abc", _DIGEST)
    changed = write_release(found, environment.model, release).files
    for path, content in changed.items():
        (root / path).write_bytes(content)
    written = changed.get(found.kustomization_file, found.kustomization)
    return {*found.kustomization.decode().splitlines()} - {*written.decode().splitlines()}
