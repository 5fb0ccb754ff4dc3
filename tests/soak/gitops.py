"""`make soak`: ten promoters, five environments, one branch, a line that is slow and cut, and somebody else who commits too.

Nothing may fail, no release may be lost, and none may be replaced that its promoter had not seen when it planned.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from benchmarks.writer import files
from promoter import config
from promoter.commands.plan import Plan, release_of
from promoter.commands.promote import promote
from promoter.errors import SupersededError
from promoter.kustomize import release as kustomize
from promoter.kustomize.overlay import read_overlay
from promoter.model_registry import ModelReference
from promoter.models import Environment, Image, Model, ModelVersion
from promoter.promotion.clients import Clients
from promoter.promotion.steps import Steps
from tests.support.git_server import BareRepository, bare_repository, isolated_environ, served_apart
from tests.support.relay import Line, relaying

_WORKERS, _ENVIRONMENTS, _MACHINES = 10, 5, 3
_COMPETITOR = 2.0  # seconds between the commits of somebody else
_CUT, _LATENCY = 0.03, 0.02  # of all connections; seconds at most for each piece of data
_MANIFEST = """\
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {{name: {name}, namespace: argocd}}
spec:
  project: default
  source: {{repoURL: "{url}", targetRevision: main, path: overlays/{name}}}
  destination: {{namespace: models, server: "https://kubernetes.default.svc"}}
"""
_TAG = re.compile(r"- name: (m\d+)\n\s+newName: \S+\n\s+newTag: (\S+)\n")


# -- one promoter -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Built:
    """Every image is there already: images are not what is tried here."""

    model: Model

    def ensure(self, version: ModelVersion, _open: object, _tag: str = "", _known: Image | None = None) -> Image:
        digest = f"sha256:{int(version.version):064x}"
        return Image(self.model.repository, f"v{version.version}", digest, digest, reused=True)


class _Clients(Clients):
    def publisher(self, model: Model) -> _Built:  # type: ignore[override]  # all that promote() asks of it
        return _Built(model)


def work(folder: str, model: str, seconds: str) -> None:
    """Promotes one version after another to every environment in turn; a line of JSON for each."""
    clients = _Clients(config.load(Path(folder) / "promoter.yaml"), os.environ)
    until = time.monotonic() + float(seconds)
    for number in itertools.count(2):
        if time.monotonic() > until:
            return
        environment = clients.config.environment(f"env{number % _ENVIRONMENTS}", model)
        print(json.dumps(_promote(clients, environment, str(number))), flush=True)


def _promote(clients: Clients, environment: Environment, number: str) -> dict[str, object]:
    started = time.monotonic()
    version = ModelVersion(environment.model.name, number, datetime.now(UTC), "", ())
    snapshot = clients.repository(environment.application).fetch()
    before = kustomize.deployed(read_overlay(snapshot, environment), environment.model)
    time.sleep(random.uniform(0, 0.5))  # what lies between plan and commit: an image, somebody's consent
    image = _Built(environment.model).ensure(version, None)
    after = release_of(environment, version, image)
    reference = ModelReference(version.name, version=number)
    plan = Plan(environment, reference, version, image, before, after, (), "", None, snapshot.commit)
    told: dict[str, object] = {"environment": environment.name, "model": version.name, "version": number}
    try:
        told["commit"] = promote(clients, plan, Steps()).commit
        told["replaced"] = before.tag if before else ""
    except SupersededError:
        told["superseded"] = True
    return {**told, "seconds": time.monotonic() - started}


# -- everything around them -------------------------------------------------------------------------------------------


def main(seconds: float) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        origin = bare_repository(folder)
        seeded: dict[str, bytes] = {}
        for number in range(_ENVIRONMENTS):
            seeded |= files(_WORKERS, f"overlays/env{number}")
        first = origin.commit(seeded)
        line = Line(latency=lambda: random.uniform(0, _LATENCY), lasts=_lasts)
        with served_apart(folder, origin) as remote:
            host, _, port = remote.url.split("/")[2].partition(":")
            with relaying((host, int(port)), line):
                _configure(folder, f"{line.url}/{origin.path.name}")
                hotfixes, promotions = _run(folder, origin, seconds)
        _report(promotions, hotfixes, line)
        _judge(origin, first, promotions, hotfixes)
        left = [str(path) for path in folder.rglob("*.lock")]
        assert not left, f"locks were left: {left}"
    print("0 failed, 0 lost, 0 overwritten, no lock left")


def _lasts() -> int | None:
    return random.randrange(1, 4000) if random.random() < _CUT else None


def _configure(folder: Path, url: str) -> None:
    """promoter.yaml and an Application for each environment, for workers that reach the remote over the bad line."""
    (folder / "environments").mkdir()
    models = "".join(
        f"  m{n}: {{image: registry.example.com/m{n}, release-file: release-m{n}.yaml}}\n" for n in range(_WORKERS)
    )
    environments = ""
    for number in range(_ENVIRONMENTS):
        (folder / f"environments/env{number}.yaml").write_text(_MANIFEST.format(name=f"env{number}", url=url))
        for model in range(_WORKERS):
            environments += f"- {{name: env{number}, model: m{model}, application: environments/env{number}.yaml}}\n"
    (folder / "promoter.yaml").write_text(f"models:\n{models}environments:\n{environments}")


def _run(folder: Path, origin: BareRepository, seconds: float) -> tuple[list[str], list[dict[str, object]]]:
    """The competitor's releases by commit, and what the workers reported; every worker must end well."""
    environ = isolated_environ(folder / "home") | {"PYTHONPATH": os.pathsep.join(sys.path)}
    workers = []
    for number in range(_WORKERS):
        cache = str(folder / f"machine{number % _MACHINES}")  # workers of one machine take turns, machines race
        command = [sys.executable, "-m", "tests.soak.gitops", "work", str(folder), f"m{number}", str(seconds)]
        workers.append(
            subprocess.Popen(
                command, env=environ | {"XDG_CACHE_HOME": cache}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        )
    hotfixes: list[str] = []
    stop = threading.Event()
    competitor = threading.Thread(target=_compete, args=(origin, stop, hotfixes))
    competitor.start()
    outputs = [worker.communicate() for worker in workers]
    stop.set()
    competitor.join()
    failed = [error for worker, (_, error) in zip(workers, outputs, strict=True) if worker.returncode]
    assert not failed, f"{len(failed)} workers failed:\n" + "\n".join(failed)
    return hotfixes, [json.loads(told) for output, _ in outputs for told in output.splitlines()]


def _compete(origin: BareRepository, stop: threading.Event, hotfixes: list[str]) -> None:
    """Every two seconds a commit: a file of its own, or a release that somebody sets by hand."""
    number = 0
    while not stop.wait(_COMPETITOR):
        number += 1
        if number % 2:
            _insist(partial(origin.commit, {"notes.md": b"%d\n" % number}, "Write notes"))
        else:
            environment, model = f"env{random.randrange(_ENVIRONMENTS)}", f"m{random.randrange(_WORKERS)}"
            hotfixes.append(_insist(partial(_hotfix, origin, environment, model, number)))


def _hotfix(origin: BareRepository, environment: str, model: str, number: int) -> str:
    path = f"overlays/{environment}/kustomization.yaml"
    text = origin.show(path).decode()
    changed = re.sub(rf"(- name: {model}\n\s+newName: \S+\n\s+newTag: )\S+", rf"\g<1>hotfix{number}", text)
    return origin.commit({path: changed.encode()}, f"Set {model} in {environment} by hand\n\nEnvironment: {environment}\n")


def _insist(commit: Callable[[], str]) -> str:
    """Whoever commits by hand loses races too."""
    while True:
        try:
            return commit()
        except AssertionError:
            time.sleep(0.05)


# -- what came of it --------------------------------------------------------------------------------------------------


def _judge(origin: BareRepository, first: str, promotions: list[dict[str, object]], hotfixes: list[str]) -> None:
    """Goes through every commit: it may change its own model's tag alone, and only from the tag that its promoter saw."""
    landed = {str(told["commit"]): told for told in promotions if told.get("commit")}
    known = {*landed, *hotfixes}
    tags = {f"env{number}": _tags(origin, first, f"env{number}") for number in range(_ENVIRONMENTS)}
    on_branch = origin.git("rev-list", "--reverse", f"{first}..main").split()
    lost = landed.keys() - set(on_branch)
    assert not lost, f"told as committed, and not on the branch: {lost}"
    for commit in on_branch:
        environment = origin.git("log", "-1", "--format=%(trailers:key=Environment,valueonly)", commit).strip()
        assert not environment or commit in known, f"{commit} was committed, and nobody told so"
        if not environment:
            continue
        before, after = tags[environment], _tags(origin, commit, environment)
        changed = {model for model in before if before[model] != after[model]}
        if told := landed.get(commit):
            assert changed == {told["model"]}, f"{commit} of {told['model']} changed {changed}"
            replaced = before[str(told["model"])]
            assert replaced == told["replaced"], f"{commit} replaced {replaced}, and had seen {told['replaced']}"
            assert after[str(told["model"])] == f"v{told['version']}"
        else:
            assert len(changed) == 1
        tags[environment] = after


def _tags(origin: BareRepository, commit: str, environment: str) -> dict[str, str]:
    tags = dict(_TAG.findall(origin.show(f"overlays/{environment}/kustomization.yaml", commit).decode()))
    assert len(tags) == _WORKERS, f"{environment} at {commit} lost entries"
    return tags


def _report(promotions: list[dict[str, object]], hotfixes: list[str], line: Line) -> None:
    seconds = sorted(float(str(told["seconds"])) for told in promotions)
    superseded = sum("superseded" in told for told in promotions)
    print(
        f"{len(promotions) - superseded} releases committed, {superseded} superseded by one of {len(hotfixes)} set by hand; "
        f"{line.cut} of {len(line.reached)} connections cut; a promotion took {statistics.median(seconds):.1f} s, "
        f"at most {seconds[-1]:.1f} s"
    )


if __name__ == "__main__":
    if sys.argv[1] == "work":
        work(*sys.argv[2:])
    else:
        main(float(sys.argv[1]))
