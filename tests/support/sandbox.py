"""A sandbox to test with: a Git remote with a base and an overlay, scripted pods, and a clock that the test moves."""

from __future__ import annotations

import functools
import gzip
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from promoter.demo.sandbox import Application, Behaviour, Pod, Sandbox, ScriptedRuntime

NAME, NAMESPACE, ROLLOUT = "fraud-detector-staging", "fraud-staging", "fraud-detector"
RECORDINGS = Path(__file__).parents[1] / "data" / "argocd"

BASE = {
    "base/kustomization.yaml": "resources:\n- rollout.yaml\n",
    # What the recorded Rollout was.
    "base/rollout.yaml": """\
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata:
  name: fraud-detector
spec:
  replicas: 3
  revisionHistoryLimit: 5
  progressDeadlineSeconds: 40
  progressDeadlineAbort: true
  selector:
    matchLabels:
      app.kubernetes.io/name: fraud-detector
  strategy:
    canary:
      maxSurge: 1
      maxUnavailable: 0
      canaryService: fraud-detector-canary
      stableService: fraud-detector
      steps:
      - setWeight: 34
      - pause: {duration: 5s}
      - analysis:
          templates:
          - templateName: success-rate
      - setWeight: 67
      - pause: {duration: 5s}
  template:
    metadata:
      labels:
        app.kubernetes.io/name: fraud-detector
    spec:
      containers:
      - name: model
        image: fraud-detector
        env:
        - name: MODEL_NAME
          value: fraud-detector
        - name: MODEL_VERSION
          value: ""
---
apiVersion: v1
kind: Service
metadata:
  name: fraud-detector
spec:
  ports: [{name: http, port: 80}]
---
apiVersion: v1
kind: Service
metadata:
  name: fraud-detector-canary
spec:
  ports: [{name: http, port: 80}]
---
apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata:
  name: success-rate
spec:
  metrics:
  - name: success-rate
    interval: 2s
    count: 3
    failureLimit: 1
    successCondition: result >= 0.95
    failureCondition: result < 0.95
    provider:
      web:
        url: http://127.0.0.1:9900/canary
        jsonPath: "{$.success_rate}"
""",
}


def overlay(version: int) -> dict[str, str]:
    """overlays/staging with the release of a model version."""
    digest = "sha256:" + f"{version:02x}" * 32
    return {
        "overlays/staging/kustomization.yaml": f"""\
resources:
- ../../base
- release.yaml
images:
- name: fraud-detector
  newName: 127.0.0.1:5000/models/fraud-detector
  newTag: v{version}-20261101T090000Z
  digest: {digest}
replacements:
- source: {{kind: ConfigMap, name: release, fieldPath: data.modelVersion}}
  targets:
  - select: {{kind: Rollout, name: fraud-detector}}
    fieldPaths:
    - spec.template.spec.containers.[name=model].env.[name=MODEL_VERSION].value
""",
        "overlays/staging/release.yaml": f"""\
apiVersion: v1
kind: ConfigMap
metadata:
  name: release
  annotations:
    config.kubernetes.io/local-config: "true"
data:
  modelName: fraud-detector
  modelVersion: "{version}"
""",
    }


@dataclass
class Remote:
    """A Git remote in a folder, written through a clone of it."""

    folder: Path

    def __post_init__(self) -> None:
        self.url, self._work = str(self.folder / "remote.git"), self.folder / "work"
        git("init", "--quiet", "--bare", "--initial-branch=main", self.url)
        git("init", "--quiet", "--initial-branch=main", str(self._work))

    def read(self, name: str) -> str:
        return (self._work / name).read_text()

    def commit(self, files: Mapping[str, str], message: str = "Change") -> str:
        for name, content in files.items():
            path = self._work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        git("-C", str(self._work), "add", "--all")
        git("-C", str(self._work), "commit", "--quiet", "--message", message)
        git("-C", str(self._work), "push", "--quiet", self.url, "HEAD:main")
        return git("-C", str(self._work), "rev-parse", "HEAD").strip()


def git(*arguments: str) -> str:
    identity = {f"GIT_{who}_{what}": "test@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **identity, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True, env=environment).stdout


@dataclass
class Clock:
    """Stands still until it is moved."""

    now: float = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Client:
    """Asks the sandbox over HTTP, moves its clock, and keeps what it saw each time, as the recordings do."""

    sandbox: Sandbox
    clock: Clock
    remote: Remote
    session: requests.Session
    seen: list[dict[str, Any]] = field(default_factory=list)

    def request(self, method: str, path: str, *, token: str | None = None, **kwargs: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {token or self.sandbox.token}", **kwargs.pop("headers", {})}
        return self.session.request(method, self.sandbox.url + path, headers=headers, timeout=10, **kwargs)

    def get(self, path: str = "", **query: str) -> Any:
        answer = self.request("GET", f"/api/v1/applications/{NAME}{path}", params={"project": "default", **query})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def resource(self, kind: str, name: str) -> Any:
        group = "apps" if kind == "ReplicaSet" else "argoproj.io"
        return json.loads(self.get("/resource", kind=kind, group=group, resourceName=name, namespace=NAMESPACE)["manifest"])

    def rollout(self) -> Any:
        return self.resource("Rollout", ROLLOUT)

    def act(self, action: str) -> None:
        target = {"namespace": NAMESPACE, "resourceName": ROLLOUT, "group": "argoproj.io", "kind": "Rollout"}
        path = f"/api/v1/applications/{NAME}/resource/actions/v2?project=default"
        answer = self.request("POST", path, json={**target, "action": action})
        assert answer.status_code == 200, answer.text

    def commit(self, files: Mapping[str, str]) -> str:
        """Commits and refreshes, as promoter does."""
        sha = self.remote.commit(files)
        self._see("refresh", self.get(refresh="normal"))
        return sha

    def promote(self, version: int) -> str:
        return self.commit(overlay(version))

    def wait(self, seconds: float, step: float = 0.2) -> None:
        """Lets time pass and looks at everything every `step` seconds."""
        end = self.clock.now + seconds
        while self.clock.now < end - 1e-9:
            self.clock.now += step
            self.sandbox.world.tick()
            self.look()

    def look(self) -> None:
        self._see("application", self.get())
        tree = self.get("/resource-tree")
        self._see("rollout", {"manifest": self.rollout()})
        self._see("resource-tree", tree)
        for node in tree["nodes"]:
            if node["kind"] == "AnalysisRun":
                self._see("analysis-run", {"manifest": self.resource("AnalysisRun", node["name"])})

    def _see(self, call: str, body: Any) -> None:
        self.seen.append({"call": call, "status": 200, "body": body})


@contextmanager
def client(
    folder: Path, behaviours: Mapping[str, Behaviour] | None = None, *, reconcile_every: float = 1e9
) -> Iterator[Client]:
    """A sandbox with one application at v1, settled. `behaviours` maps a model version to how its pods fare."""
    remote, clock, known = Remote(folder), Clock(), dict(behaviours or {})
    remote.commit({**BASE, **overlay(1)}, "Begin")

    def script(pod: Pod) -> Behaviour:
        return known.get(pod.env["MODEL_VERSION"], Behaviour())

    application = Application(NAME, "default", remote.url, "overlays/staging", NAMESPACE)
    runtime = ScriptedRuntime(script, clock)
    sandbox = Sandbox(
        [application],
        folder=folder / "cache",
        runtime=runtime,
        clock=clock,
        reconcile_every=reconcile_every,
        other_tokens={"a.b.c": "nobody"},
    )
    try:
        for _ in range(30):
            clock.now += 0.2
            sandbox.world.tick()
        with requests.Session() as session:
            yield Client(sandbox, clock, remote, session)
    finally:
        sandbox.close()


@functools.cache
def recording(scenario: str) -> list[dict[str, Any]]:
    """The lines of a recording of a live Argo CD."""
    with gzip.open(RECORDINGS / f"{scenario}.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]
