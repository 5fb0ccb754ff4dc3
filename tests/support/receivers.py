"""Receivers of webhooks as processes of their own, with a real MLflow server, a Git remote and a sandbox with many models."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import requests

from promoter.demo.sandbox import Application, Behaviour, Pod, Sandbox, ScriptedRuntime
from promoter.demo.sandbox.sandbox import fast_clock
from tests.support.argo_world import Remote, overlay
from tests.support.deliveries import SECRET, Delivery
from tests.support.mlflow_server import MlflowServer
from tests.support.sandbox import BASE
from tests.support.write_path import FILES

T = TypeVar("T")

ALIAS = "champion"
_SPEED = 10.0  # the sandbox's seconds in a real one


def eventually(what: str, look: Callable[[], T | None], seconds: float = 90.0) -> T:
    """The first answer that is neither None nor False."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError(f"after {seconds:.0f} s still not: {what}")


@dataclass
class Receiver:
    """`promoter webhook serve` on a loopback port; `lines` is what it has logged so far."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def lines(self, event: str = "") -> list[dict[str, Any]]:
        told = [json.loads(line) for line in self.log.read_text().splitlines() if line.endswith("}")]
        return [line for line in told if event in ("", line["event"])]

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        try:
            return requests.get(f"{self.url}/ready", timeout=5).ok
        except requests.exceptions.RequestException:
            return False

    def post(self, one: Delivery, session: requests.Session | None = None) -> int:
        send = session.post if session else requests.post
        return send(f"{self.url}/mlflow", data=one.body, headers=one.headers, timeout=20).status_code

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


@dataclass
class Rig:
    """One environment for each model: version 1 of it is live, and the alias is at version 1."""

    folder: Path
    models: Sequence[str]
    server: MlflowServer
    remote: Remote
    sandbox: Sandbox
    behaviours: dict[tuple[str, str], Behaviour]
    receivers: list[Receiver] = field(default_factory=list)

    def start(self, *options: str, name: str = "receiver", port: int | None = None, **environ: str) -> Receiver:
        """A receiver that reads promoter.yaml from Git; those of different names share nothing on this machine."""
        home, port = self.folder / name, port or free_port()
        home.mkdir(exist_ok=True)
        (home / "secret").write_text(f"{SECRET.decode()}\n")
        known = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "GIT_CONFIG_NOSYSTEM": "1",
            "MLFLOW_TRACKING_URI": self.server.url,
            "ARGOCD_SERVER": self.sandbox.url,
            "ARGOCD_AUTH_TOKEN": self.sandbox.token,
            **environ,
        }
        command = [sys.executable, "-m", "promoter", "webhook", "serve", "--repo", self.remote.url, "--port", str(port)]
        command += ["--secret-file", str(home / "secret"), "--output", "json", *options]
        log = home / f"log-{len(self.receivers)}"
        with log.open("wb") as output:
            process = subprocess.Popen(command, env=known, stdout=output, stderr=output)
        self.receivers.append(Receiver(port, process, log))
        return self.receivers[-1]

    def ready(self, *options: str, name: str = "receiver", port: int | None = None, **environ: str) -> Receiver:
        receiver = self.start(*options, name=name, port=port, **environ)
        eventually("the receiver is ready", receiver.is_ready)
        return receiver

    def register(self, model: str, count: int) -> list[str]:
        """More versions of a model; their numbers."""
        source = f"models:/{self.server.log_model(FILES)}"
        return [self.server.register(model, source) for _ in range(count)]

    def deployed(self, model: str) -> str:
        """The version in the model's overlay."""
        text = self.remote.show(f"overlays/{model}/release.yaml")
        return text.partition('modelVersion: "')[2].partition('"')[0]

    def history(self, model: str) -> list[str]:
        """The versions that promoter committed for the model, oldest first."""
        lines = self.remote.log("%(trailers:key=Model,valueonly,separator=)/%(trailers:key=Model-Version,valueonly,separator=)")
        return [version for found, _, version in (line.partition("/") for line in reversed(lines)) if found == model]

    def live(self, model: str) -> str | None:
        """The version whose Rollout is healthy and stable in the sandbox."""
        rollout = self.sandbox.world.resource(model, "Rollout", "fraud-detector")
        status = rollout["status"] if rollout else {}
        if rollout is None or status.get("phase") != "Healthy" or status.get("stableRS") != status.get("currentPodHash"):
            return None
        (container,) = rollout["spec"]["template"]["spec"]["containers"]
        return str({one["name"]: one.get("value") for one in container["env"]}["MODEL_VERSION"])

    def close(self) -> None:
        for receiver in self.receivers:
            if receiver.process.poll() is None:
                receiver.kill()
        self.sandbox.close()


@contextmanager
def rig(folder: Path, server: MlflowServer, models: Sequence[str], *, speed: float = _SPEED) -> Iterator[Rig]:
    """`behaviours` of the Rig sets how pods of a (model, version) fare."""
    remote, behaviours, clock = Remote(folder), dict[tuple[str, str], Behaviour](), fast_clock(speed)
    files = {**BASE, "promoter.yaml": _promoter_yaml(folder, models)}
    for model in models:
        files |= overlay(1, model, model) | {f"environments/{model}.yaml": _manifest(model, remote.url)}
        source = f"models:/{server.log_model(FILES)}"
        server.register(model, source, alias=ALIAS)
    remote.commit(files, "Begin")

    def script(pod: Pod) -> Behaviour:
        model = pod.image.rpartition("/")[2].partition(":")[0]
        return behaviours.get((model, pod.env["MODEL_VERSION"]), Behaviour())

    applications = [Application(model, "default", remote.url, f"overlays/{model}", model) for model in models]
    sandbox = Sandbox(applications, folder=folder / "argocd", runtime=ScriptedRuntime(script, clock), clock=clock)
    made = Rig(folder, models, server, remote, sandbox, behaviours)
    try:
        with sandbox:
            eventually("version 1 is live", lambda: all(made.live(model) == "1" for model in models))
            yield made
    finally:
        made.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def _promoter_yaml(folder: Path, models: Sequence[str]) -> str:
    named = {model: {"image": f"127.0.0.1:5000/models/{model}", "kustomize-image": "fraud-detector"} for model in models}
    environments = [
        {"name": "staging", "model": model, "application": f"environments/{model}.yaml", "alias": ALIAS, "on-alias": "promote"}
        for model in models
    ]
    image: Mapping[str, str] = {"runtime": "scratch", "layout": f"oci:{folder / 'images'}"}
    # JSON is YAML.
    return json.dumps({"models": named, "environments": environments, "image": image, "watch": {"stable-for": 0.5}}, indent=1)


def _manifest(model: str, url: str) -> str:
    return f"""\
kind: Application
metadata: {{name: {model}, namespace: argocd}}
spec:
  project: default
  source: {{repoURL: {url}, path: overlays/{model}, targetRevision: main}}
"""
