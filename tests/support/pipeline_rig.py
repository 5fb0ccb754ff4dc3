"""What a pipeline of CI reaches: a GitOps repository with its checkout, a real MLflow server, and a sandbox that is quick."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from promoter.demo.sandbox import Application, Behaviour, Pod, Sandbox, ScriptedRuntime
from promoter.demo.sandbox.sandbox import fast_clock
from tests.support.argo_world import Remote, overlay
from tests.support.mlflow_server import MlflowServer
from tests.support.sandbox import BASE
from tests.support.write_path import FILES

_SPEED = 10.0  # the sandbox's seconds in a real one
ENVIRONMENTS = ("staging", "production")


@dataclass
class Rig:
    """Version 1 of `model` is live everywhere. `checkout` holds promoter.yaml; production takes pull requests only."""

    checkout: Path
    remote: Remote
    sandbox: Sandbox
    server: MlflowServer
    model: str
    behaviours: dict[str, Behaviour] = field(default_factory=dict)

    def register(self, alias: str) -> str:
        """One more version, which the alias names; its number."""
        return self.server.register(self.model, f"models:/{self.server.log_model(FILES)}", alias=alias)

    def deployed(self, environment: str) -> str:
        text = self.remote.show(f"overlays/{environment}/release.yaml")
        return text.partition('modelVersion: "')[2].partition('"')[0]

    def merge(self, version: str, environment: str, *, trailers: str = "") -> tuple[str, str]:
        """A release that came by somebody's commit: the branch's tip before and after it."""
        before = self.remote.tip()
        message = f"Merge pull request #7\n\n{trailers}".rstrip()
        return before, self.remote.commit(overlay(int(version), environment, self.model), message)

    def settle_aborted(self, environment: str) -> None:
        """Until the Rollout is aborted, and nobody has looked."""
        deadline = time.monotonic() + 60
        self.sandbox.world.refresh(environment)
        while time.monotonic() < deadline:
            rollout = self.sandbox.world.resource(environment, "Rollout", "fraud-detector")
            if rollout and rollout["status"].get("abort"):
                return
            time.sleep(0.05)
        raise AssertionError("the release was not aborted")

    @property
    def credentials(self) -> dict[str, str]:
        return {"MLFLOW_TRACKING_URI": self.server.url, "ARGOCD_AUTH_TOKEN": self.sandbox.token}


@contextmanager
def rig(folder: Path, server: MlflowServer) -> Iterator[Rig]:
    remote, model, clock, checkout = Remote(folder), f"detector-{uuid.uuid4().hex[:8]}", fast_clock(_SPEED), folder / "checkout"
    files = dict(BASE)
    for name in ENVIRONMENTS:
        files |= overlay(1, name, model)
    remote.commit(files, "Begin")
    behaviours: dict[str, Behaviour] = {}

    def script(pod: Pod) -> Behaviour:
        return behaviours.get(pod.env["MODEL_VERSION"], Behaviour())

    checkout.mkdir()
    (checkout / "promoter.yaml").write_text(_promoter_yaml(folder, model))
    for name in ENVIRONMENTS:
        (checkout / f"{name}.yaml").write_text(_manifest(name, remote.url))
    applications = [Application(name, "default", remote.url, f"overlays/{name}", name) for name in ENVIRONMENTS]
    with Sandbox(applications, folder=folder / "argocd", runtime=ScriptedRuntime(script, clock), clock=clock) as sandbox:
        made = Rig(checkout, remote, sandbox, server, model, behaviours)
        server.register(model, f"models:/{server.log_model(FILES)}", alias="champion")
        _wait_for_the_first_release(sandbox)
        yield made


def _wait_for_the_first_release(sandbox: Sandbox) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        rollouts = [sandbox.world.resource(name, "Rollout", "fraud-detector") for name in ENVIRONMENTS]
        if all(rollout and rollout["status"].get("phase") == "Healthy" for rollout in rollouts):
            return
        time.sleep(0.05)
    raise AssertionError("version 1 never was live")


def _promoter_yaml(folder: Path, model: str) -> str:
    named = {model: {"image": "127.0.0.1:5000/models/fraud-detector", "kustomize-image": "fraud-detector"}}
    staging = {"name": "staging", "application": "staging.yaml", "alias": "champion", "on-alias": "promote"}
    production = {"name": "production", "application": "production.yaml", "write": "pull-request"}
    image = {"runtime": "scratch", "layout": f"oci:{folder / 'images'}"}
    # JSON is YAML.
    sections = {"models": named, "environments": [staging, production], "image": image, "watch": {"stable-for": 0.5}}
    return json.dumps(sections, indent=1)


def _manifest(name: str, url: str) -> str:
    return f"""\
kind: Application
metadata: {{name: {name}, namespace: argocd}}
spec:
  project: default
  source: {{repoURL: {url}, path: overlays/{name}, targetRevision: main}}
"""
