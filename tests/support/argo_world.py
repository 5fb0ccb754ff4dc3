"""A small world to watch, restore and reconcile in: Git remote, sandbox, a proxy for faults, and a clock that tests move."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from promoter import config
from promoter.argocd.client import ArgoCD
from promoter.demo.sandbox import Application, Behaviour, Measurement, Pod, PodStatus, Sandbox, ScriptedRuntime
from promoter.models import Environment
from promoter.promotion import releases, watch
from promoter.promotion.clients import Clients
from promoter.promotion.ending import Ending
from promoter.promotion.follow import Follower
from promoter.promotion.observe import Observer
from promoter.promotion.releases import Committed
from promoter.promotion.watch import OnVerdict, Timing, Watcher
from promoter.transport.credential import Credential, origins
from promoter.transport.session import Authorization, Http, Limits
from promoter.verdict import Verdict
from tests.support import sandbox
from tests.support.faults import Faults, in_front_of
from tests.support.sandbox import BASE, git

MODEL, REPOSITORY = "fraud-detector", "127.0.0.1:5000/models/fraud-detector"
FAILS = Behaviour(measurement=Measurement("Failed", "0.4"))
MISSING = Behaviour(ready_after=None, waiting=PodStatus("ErrImagePull", message="rpc error: code = NotFound desc = not found"))
STUCK = Behaviour(ready_after=None)
TIMING = Timing(observe=60, sync=100, roll=120)
_STEP = 0.2
_REGION = """\
patches:
- target: {{kind: Rollout, name: fraud-detector}}
  patch: |-
    - op: add
      path: /spec/template/spec/containers/0/env/-
      value: {{name: REGION, value: {name}}}
"""


def digest(version: int) -> str:
    return "sha256:" + f"{version:02x}" * 32


def overlay(version: int, environment: str = "staging", model: str = MODEL) -> dict[str, str]:
    """The two files of an overlay that deploys a model version, with a comment and a neighbour of somebody else's."""
    return {
        f"overlays/{environment}/kustomization.yaml": f"""\
# ours
resources:
- ../../base
- release.yaml
images:
- name: fraud-detector
  newName: {REPOSITORY}
  newTag: v{version}-20261101T090000Z
  digest: {digest(version)}
- name: envoy
  newTag: "1.10"
replacements:
- source: {{kind: ConfigMap, name: release, fieldPath: data.modelVersion}}
  targets:
  - select: {{kind: Rollout, name: fraud-detector}}
    fieldPaths:
    - spec.template.spec.containers.[name=model].env.[name=MODEL_VERSION].value
""",
        f"overlays/{environment}/release.yaml": f"""\
apiVersion: v1
kind: ConfigMap
metadata:
  name: release
  annotations:
    config.kubernetes.io/local-config: "true"
data:
  modelName: {model}
  modelVersion: "{version}"
  modelDigest: "sha256:{version:064x}"
""",
    }


def before_it_was_registered(model: str) -> dict[str, str]:
    """The overlay of version 1 of a model that was deleted before the one that now has its name was registered."""
    return {path: text.replace("v1-20261101T090000Z", "v1-20200101090000") for path, text in overlay(1, model=model).items()}


class Remote(sandbox.Remote):
    """A remote that others write to as well: what they did is taken over before each commit."""

    def commit(self, files: Mapping[str, str], message: str = "Change") -> str:
        if git("-C", self.url, "for-each-ref").strip():
            git("-C", str(self._work), "fetch", "--quiet", self.url, "main")
            git("-C", str(self._work), "reset", "--quiet", "--hard", "FETCH_HEAD")
        return super().commit(files, message)

    def force(self, commit: str) -> None:
        """The branch goes back to an earlier commit, by force."""
        git("-C", self.url, "update-ref", "refs/heads/main", commit)

    def log(self, format: str = "%s") -> list[str]:
        return git("-C", self.url, "log", f"--format={format}", "main").splitlines()

    def message(self, commit: str = "main") -> str:
        return git("-C", self.url, "show", "--no-patch", "--format=%B", commit)

    def show(self, path: str, commit: str = "main") -> str:
        return git("-C", self.url, "show", f"{commit}:{path}")

    def tip(self) -> str:
        return git("-C", self.url, "rev-parse", "main").strip()


class Clock(watch.Clock):
    """Passes as fast as the machine can tick the sandbox; what is due happens at its second. Several threads take turns."""

    def __init__(self, step: float) -> None:
        self.seconds, self._step = time.time(), step
        self.tick: Callable[[], None] = lambda: None
        self._due: list[tuple[float, Callable[[], object]]] = []
        self._turn = threading.RLock()

    def now(self) -> float:
        return self.seconds

    def time(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def after(self, seconds: float, act: Callable[[], object]) -> None:
        self._due.append((self.seconds + seconds, act))

    def wait(self, seconds: float, wake: threading.Event) -> None:
        """At least one tick: a wake-up takes its time, too."""
        end = self.seconds + seconds
        while True:
            with self._turn:
                self._pass()
            if wake.is_set() or self.seconds >= end - 1e-6:
                return

    def _pass(self) -> None:
        self.seconds += self._step
        for one in [one for one in self._due if one[0] <= self.seconds]:
            self._due.remove(one)
            one[1]()
        self.tick()


@dataclass(frozen=True)
class WorldClients(Clients):
    """The composition root, with an Argo CD that is asked once: trying again in one request takes real seconds."""

    def argocd(self) -> ArgoCD:
        auth = Authorization(Credential(self.environ["ARGOCD_AUTH_TOKEN"], origins([self.environ["ARGOCD_SERVER"]])))
        return ArgoCD(Http("Argo CD", self.environ["ARGOCD_SERVER"], auth=auth, limits=Limits(read=10, total=0)))


@dataclass
class World:
    """Everything of one test. `behaviours` has by model version how pods fare, everywhere or in one environment ("staging 2").

    `told` and `said` is what was reported.
    """

    folder: Path
    remote: Remote
    clock: Clock
    sandbox: Sandbox
    argocd: Faults
    clients: WorldClients
    behaviours: dict[str, Behaviour]
    model: str
    told: list[Verdict] = field(default_factory=list)
    told_at: list[float] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    @property
    def environment(self) -> Environment:
        return self.clients.with_source(self.clients.config.environments[0])

    def hear(self, verdict: Verdict) -> None:
        self.told.append(verdict)
        self.told_at.append(self.clock.now())

    def name(self, environment: Environment | None = None) -> str:
        return (environment or self.environment).application.name

    def promote(self, version: int, environment: str = "staging", details: str = "", **trailers: str) -> Committed:
        """A commit as `promoter promote` makes it; the cluster has not seen it yet."""
        written = {"Model": self.model, "Model-Version": str(version), "Environment": environment, **trailers}
        lines = "\n".join(f"{key.replace('_', '-')}: {value}" for key, value in written.items())
        text = f"{details}\n\n{lines}" if details else lines
        message = f"Promote {self.model} version {version} to {environment}\n\n{text}"
        return self.committed(self.remote.commit(overlay(version, environment, self.model), message), environment)

    def committed(self, commit: str | None = None, environment: str = "staging") -> Committed:
        env = self.clients.environment(environment)
        return releases.current(self.clients.repository(env.application), env, commit)

    def follower(
        self, *, timing: Timing = TIMING, tell: OnVerdict | None = None, say: Callable[[str], None] | None = None
    ) -> Follower:
        heard = tell or self.hear, say or self.said.append
        return Follower(self.clients, self.environment, *heard, timing, self.clock)

    def follow(self, committed: Committed, **options: bool) -> Ending:
        return self.follower().follow(committed, **options)

    def watcher(self, committed: Committed, timing: Timing = TIMING, wake: threading.Event | None = None) -> Watcher:
        """A watcher without an event stream: it looks when its clock is due, or `wake`."""
        client, repository = self.clients.argocd(), self.clients.repository(self.environment.application)
        observer = Observer(client, repository, self.environment, committed.expectation(self.environment))
        return Watcher(observer, client, self.hear, timing, self.clock, wake or threading.Event())

    def settle(self, seconds: float = 30.0) -> None:
        """Argo CD looks at the branch, and everything has time to get where it is going."""
        for application in self.clients.config.environments:
            self.sandbox.world.refresh(application.application.name)
        self.clock.wait(seconds, threading.Event())

    def act(self, action: str) -> None:
        """What a person does to the Rollout: abort, retry, resume."""
        assert self.sandbox.world.act(self.name(), action)


@contextmanager
def world(
    folder: Path,
    environ: Mapping[str, str],
    *,
    environments: Sequence[str] = ("staging",),
    model: str = MODEL,
    settings: str = "",
    lines: str = "",
    own: Mapping[str, str] | None = None,
    step: float = _STEP,
    by_name: bool = False,
) -> Iterator[World]:
    """Every environment deploys version 1, live. `lines` are more keys of each environment, `settings` more of promoter.yaml.

    `own`: keys of an environment alone, by its name, which is the variable REGION of its pods then.
    `step`: seconds from tick to tick. `by_name`: promoter.yaml names the Applications and no manifests.
    """
    remote, clock, behaviours = Remote(folder), Clock(step), dict[str, Behaviour]()
    files = dict(BASE)
    for name in environments:
        files |= overlay(1, name, model)
        if own:
            files[f"overlays/{name}/kustomization.yaml"] += _REGION.format(name=name)
    remote.commit(files, "Begin")

    def script(pod: Pod) -> Behaviour:
        version = pod.env["MODEL_VERSION"]
        return behaviours.get(f"{pod.env.get('REGION')} {version}") or behaviours.get(version) or Behaviour()

    applications = [Application(f"{MODEL}-{name}", "default", remote.url, f"overlays/{name}", name) for name in environments]
    argo = Sandbox(
        applications, folder=folder / "argocd", runtime=ScriptedRuntime(script, clock.now), clock=clock.now, reconcile_every=1e9
    )
    clock.tick = argo.world.tick
    try:
        with in_front_of(argo.url, clock.now) as faults:
            clock.wait(30 * step, threading.Event())
            keys = {name: lines + (own or {}).get(name, "") for name in environments}
            file = _configure(folder, remote, keys, model, by_name=by_name)
            file.write_text(file.read_text() + settings)
            known = {**environ, "ARGOCD_SERVER": faults.url, "ARGOCD_AUTH_TOKEN": argo.token}
            clients = WorldClients(config.load(file), known)
            yield World(folder, remote, clock, argo, faults, clients, behaviours, model)
    finally:
        argo.close()


def _configure(folder: Path, remote: Remote, environments: Mapping[str, str], model: str, *, by_name: bool) -> Path:
    """promoter.yaml and the manifests that it names, as people keep them; `environments` by name have more of their keys."""
    text = f"models:\n  {model}:\n    image: {REPOSITORY}\n    kustomize-image: fraud-detector\nenvironments:\n"
    for name, lines in environments.items():
        application = f"{{name: {MODEL}-{name}, project: default}}" if by_name else f"{name}.yaml"
        text += f"- name: {name}\n  application: {application}\n{lines}"
        (folder / f"{name}.yaml").write_text(f"""\
kind: Application
metadata: {{name: {MODEL}-{name}, namespace: argocd}}
spec:
  project: default
  source: {{repoURL: {remote.url}, path: overlays/{name}, targetRevision: main}}
""")
    file = folder / "promoter.yaml"
    file.write_text(f"{text}image:\n  runtime: scratch\n  layout: oci:images\n")
    return file
