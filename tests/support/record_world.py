"""An environment with a past: promotions, aborts, rollbacks, rejections and merges, made by a script that keeps its own book.

Git, MLflow and the container registry are real; what Argo Rollouts reports of an abort is handed in.
"""

from __future__ import annotations

import random
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from promoter.argocd.client import ArgoCD
from promoter.commands.freeze import Freezing, freeze
from promoter.commands.reject import Rejection, plan_rejection
from promoter.commands.reject import apply as reject
from promoter.commands.rollback import plan_rollback, rollback
from promoter.models import Environment
from promoter.promotion import releases
from promoter.promotion.clients import Clients
from promoter.promotion.outcome import Act, End
from promoter.promotion.record import Close, Record
from promoter.promotion.recorder import Recorder
from promoter.promotion.releases import Committed
from promoter.promotion.restore import Restoration, restore
from promoter.transport.session import Http, Limits
from promoter.verdict import Kind, Reason, Verdict
from tests.support.registry_server import RegistryServer
from tests.support.write_path import WritePath

MEASURED = "metric accuracy Failed, measured 0.4"
LIVE = Close("live", exit_code=0)
PERSON, WHY = "ann", "the labels are mixed up"


@dataclass
class Line:
    """One release of the book: how it came, and how it ended."""

    version: str
    act: Act
    commit: str
    end: End = End.DEPLOYED
    reason: str = ""
    by: str = ""
    next: str = ""
    quarantined: bool = False


@dataclass
class RecordWorld:
    """`book` has the releases of each environment, the oldest first; `against` what was decided about versions."""

    path: WritePath
    chance: random.Random
    book: dict[str, list[Line]] = field(default_factory=lambda: {"staging": [], "production": []})
    against: dict[tuple[str, str], str] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)
    frozen: set[str] = field(default_factory=set)
    promotions: int = 0

    def environment(self, name: str) -> Environment:
        return self.clients.environment(name)

    @property
    def clients(self) -> Clients:
        return self.path.clients(GITHUB_ACTOR=PERSON)

    def now(self, name: str) -> Line:
        return self.book[name][-1]

    def _came(self, name: str, version: str, act: Act, commit: str, end: End = End.REPLACED, **ended: str | bool) -> None:
        """The next release of the environment; `end` is that of the one before."""
        lines = self.book[name]
        if lines:
            before = lines[-1]
            before.end, before.next = end, commit
            before.reason, before.by = str(ended.get("reason", "")), str(ended.get("by", ""))
            before.quarantined = bool(ended.get("quarantined"))
        lines.append(Line(version, act, commit))

    def _record(self, name: str, commit: str, close: Close = LIVE) -> None:
        """What whoever watched attached to the image."""
        env, refused = self.environment(name), list[str]()
        committed = releases.current(self.clients.repository(env.application), env, commit)
        Recorder(self.clients, env, refused.append).write(Record(env, committed, close))
        assert not refused

    def freeze(self, name: str) -> None:
        """Nothing is promoted there any more."""
        done = freeze(self.clients, Freezing(self.environment(name), PERSON, WHY))
        assert done.commit
        self.frozen.add(name)

    def _committed(self, name: str) -> tuple[Committed, Committed]:
        """What is deployed, and the release before it that may come back."""
        env = self.environment(name)
        repository = self.clients.repository(env.application)
        planned = plan_rollback(repository, env, None)
        return planned.current, planned.target

    # -- what happens ---------------------------------------------------------------------------------------------------

    def register(self) -> None:
        version = self.path.register()
        found = self.path.server.api("GET", "model-versions/get", name=self.path.model, version=version)
        self.runs[version] = found["model_version"]["run_id"]

    def candidates(self, name: str) -> list[str]:
        """Versions that nothing stands against, there and in the environment before."""
        before = {name, "staging"}
        blocked = {version for (where, version), state in self.against.items() if where in before and state in _BLOCKED}
        deployed = {self.now(name).version} if self.book[name] else set()
        return sorted(set(self.runs) - blocked - deployed)

    def promote(self, name: str, *, live: bool = True) -> None:
        version = self.chance.choice(self.candidates(name))
        outcome = self.path.promote(f"{self.path.model}:{version}", to=name)
        assert outcome.commit
        self.promotions += 1
        self.against.pop((name, version), None)
        self._came(name, version, Act.PROMOTED, outcome.commit)
        if live:
            self._record(name, outcome.commit)

    def abort(self, name: str) -> None:
        self.register()
        self.promote(name, live=False)
        bad, stable = self._committed(name)
        metric = f"analysis fraud-detector-7d9-2-1: {MEASURED}"
        verdict = Verdict(Kind.ABORTED, "Argo Rollouts aborted the update: analysis failed", Reason.ANALYSIS_FAILED, (metric,))
        env = self.environment(name)
        nobody = ArgoCD(Http("Argo CD", "http://127.0.0.1:9", limits=Limits(total=0)))
        done = restore(self.clients.repository(env.application), nobody, Restoration(env, bad, stable, verdict, ()))
        self.against[name, bad.release.version] = "quarantined"
        reason, version = f"analysis failed: {MEASURED}", stable.release.version
        self._came(name, version, Act.RESTORED, done.commit.sha, End.ABORTED, reason=reason, quarantined=True)
        self._record(name, bad.commit.sha, Close("aborted", exit_code=10, restored=done.commit.sha, stable=version))
        self._record(name, done.commit.sha)

    def roll_back(self, name: str) -> None:
        env = self.environment(name)
        repository = self.clients.repository(env.application)
        planned = plan_rollback(repository, env, None, by=PERSON)
        done = rollback(repository, planned)
        self.against[name, planned.current.release.version] = "rolled-back"
        if self.against.get((name, planned.target.release.version)) == "rolled-back":
            del self.against[name, planned.target.release.version]
        self._came(name, planned.target.release.version, Act.ROLLED_BACK, done.commit.sha, End.ROLLED_BACK, by=PERSON)
        self._record(name, done.commit.sha)

    def reject(self, name: str) -> None:
        """What is deployed: the release before it comes back."""
        env = self.environment(name)
        repository = self.clients.repository(env.application)
        planned = plan_rejection(repository, Rejection(env, self.now(name).version, None, WHY, PERSON))
        assert planned.target
        commit = reject(repository, planned)
        assert commit
        self.against[name, planned.version] = "rejected"
        self._came(name, planned.target.release.version, Act.REJECTED, commit, End.REJECTED, reason=WHY, by=PERSON)
        self._record(name, commit)

    def reject_another(self, name: str) -> None:
        """One that is not deployed."""
        version = self.chance.choice(self.candidates(name))
        env = self.environment(name)
        repository = self.clients.repository(env.application)
        assert reject(repository, plan_rejection(repository, Rejection(env, version, None, WHY, PERSON)))
        self.against[name, version] = "rejected"

    def deploy_by_hand(self, name: str) -> None:
        """Somebody commits an earlier release's files without a reason."""
        other = self.chance.choice([line for line in self.book[name] if line.version in self.candidates(name)])
        files = {file: self.path.git("show", f"{other.commit}:{file}").encode() for file in _files(name)}
        commit = self.path.commit(files, "Use the other one for the demonstration")
        self._came(name, other.version, Act.BY_HAND, commit)
        self._record(name, commit)

    def merge(self) -> None:
        """A developer who was behind commits notes, and merges."""
        parent = self.path.git("rev-parse", "main~1").strip()
        tree = self.path.git("rev-parse", f"{parent}^{{tree}}").strip()
        side = self._commit_tree(tree, "Take notes", parent)
        merged = self._commit_tree(self.path.git("rev-parse", "main^{tree}").strip(), "Merge main", side, self.path.tip)
        self.path.git("update-ref", "refs/heads/main", merged)

    def merge_without_its_release(self, name: str) -> Line:
        """A release that somebody committed on a branch, which is merged with the files of main: it was never deployed."""
        other = next(line for line in self.book[name] if line.version != self.now(name).version)
        main = self.path.tip
        files = {file: self.path.git("show", f"{other.commit}:{file}").encode() for file in _files(name)}
        side = self.path.commit(files, "Try another one")
        tree = self.path.git("rev-parse", f"{main}^{{tree}}").strip()
        note = self._commit_tree(tree, "Take notes", main)
        merged = self._commit_tree(tree, "Merge branch 'try'", note, side)
        self.path.git("update-ref", "refs/heads/main", merged)
        return Line(other.version, Act.BY_HAND, side, End.UNKNOWN)

    def _commit_tree(self, tree: str, message: str, *parents: str) -> str:
        links = [part for parent in parents for part in ("-p", parent)]
        who = ["-c", "user.name=Else", "-c", "user.email=else@example.com"]
        command = ["git", "-C", str(self.path.remote), *who, "commit-tree", tree, *links, "-m", message]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


_BLOCKED = ("quarantined", "rejected")


def _files(name: str) -> list[str]:
    return [f"overlays/{name}/kustomization.yaml", f"overlays/{name}/release.yaml"]


def with_registry(path: WritePath, registry: RegistryServer) -> WritePath:
    """The write path with a container registry in place of a folder."""
    text = path.config.read_text().replace("  layout: oci:images\n", f"  insecure-registries: [{registry.host}]\n")
    path.config.write_text(re.sub(r"registry\.example\.com", registry.host, text))
    return path


def lived(path: WritePath, seed: int, promotions: int) -> RecordWorld:
    """The world after so many promotions, with everything else that happens in between."""
    it = RecordWorld(path, random.Random(seed))
    for _ in range(5):
        it.register()
    for name in it.book:
        it.promote(name)
        it.promote(name)
    others = [it.abort, it.roll_back, it.reject, it.reject_another, it.deploy_by_hand]
    turn = 0
    while it.promotions < promotions:
        name = it.chance.choice(sorted(it.book))
        if it.chance.random() < 0.6 or len(it.candidates(name)) < 3:
            it.register()
        it.promote(name)
        if it.chance.random() < 0.5:
            others[turn % len(others)](name)
            turn += 1
        if it.chance.random() < 0.2:
            it.merge()
    for missing in others[turn:]:
        it.register()
        it.promote("staging")
        missing("staging")
    it.merge()
    it.freeze("production")
    return it


def promoter_cache(folder: Path) -> dict[str, str]:
    """The variable that gives promoter a cache of this folder's own."""
    return {"XDG_CACHE_HOME": str(folder)}
