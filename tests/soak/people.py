"""`make soak`: people who merge, rebase, move folders and keep wrong clocks, next to promoters, a receiver and reconciles.

No version that was quarantined or rejected may be committed again, no rollback undone, nobody's commit lost. `python -m
tests.soak.people [SECONDS [SEED]]`.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from promoter.kustomize import freeze_file, promotion_file
from promoter.kustomize import overlay as overlays
from promoter.kustomize.freeze_file import Freeze
from promoter.kustomize.promotion_file import Decision, State
from tests.faults.rig import Machine, Rig, Row, log_models, rig
from tests.faults.table import pairs, runnable
from tests.faults.zygote import Zygote
from tests.support.argo_world import FAILS
from tests.support.invariants import violations
from tests.support.mlflow_server import MlflowServer, running
from tests.support.receivers import free_port

_ROW = Row("people", (), "1")
_VERSIONS = 30
_BAD = 3  # every third version is aborted
_CLOCKS = (0, 2 * 86400, -2 * 86400)
_ANSWERS = frozenset({0, 4, 10, 11, 12, 13, 20, 21})


@dataclass
class Person:
    """Somebody with a clone, whose clock is wrong by `off` seconds; every commit that was pushed is in `made`."""

    name: str
    rig: Rig
    folder: Path
    chance: random.Random
    off: int
    made: list[str] = field(default_factory=list)
    count: int = 0

    def git(self, *arguments: str) -> str:
        date = f"{int(time.time()) + self.off} +0000"
        known = {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date, "HOME": str(self.folder), "GIT_CONFIG_NOSYSTEM": "1"}
        who = {f"GIT_{role}_{part}": self.name for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
        command = ["git", "-C", str(self.folder / "clone"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **known, **who}, check=False)
        if done.returncode:
            raise RuntimeError(f"git {' '.join(arguments)}: {done.stderr}")
        return done.stdout.strip()

    def begin(self) -> None:
        self.folder.mkdir()
        (self.folder / "clone").mkdir()
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("remote", "add", "origin", self.rig.it.remote.url)

    def work(self) -> None:
        """One piece of work, pushed when it lands: a commit, a merge, a rebase, a folder that moves, a rejection, a freeze or its end."""
        self.git("fetch", "--quiet", "origin", "main")
        self.git("checkout", "--quiet", "-B", "work", "origin/main")
        kind = self.chance.choice(("commit", "merge", "rebase", "move", "reject", "freeze", "thaw", "thaw"))
        getattr(self, f"_{kind}")()
        for _ in range(20):
            try:
                self.git("push", "--quiet", "origin", "HEAD:main")
            except RuntimeError:
                self._again(kind)
            else:
                self.made.append(self.git("rev-parse", "HEAD"))
                return

    def _again(self, kind: str) -> None:
        """Somebody was faster: their work is merged, or this is put on top of it."""
        self.git("fetch", "--quiet", "origin", "main")
        if kind in ("reject", "freeze", "thaw"):
            self.git("reset", "--quiet", "--hard", "origin/main")
            getattr(self, f"_{kind}")()
        elif kind == "rebase":
            self.git("rebase", "--quiet", "origin/main")
        else:
            self.git("merge", "--quiet", "--no-edit", "origin/main")

    def _file(self) -> str:
        self.count += 1
        path = f"apps/{self.name}/{self.name}-{self.count}.txt"
        (self.folder / "clone" / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / "clone" / path).write_text(f"{self.count}\n")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", f"Write {path}")
        return path

    def _commit(self) -> None:
        self._file()

    def _rebase(self) -> None:
        """Work that began several commits ago."""
        self.git("reset", "--quiet", "--hard", self._earlier())
        self._file()
        self.git("rebase", "--quiet", "origin/main")

    def _merge(self) -> None:
        self.git("reset", "--quiet", "--hard", self._earlier())
        self._file()
        side = self.git("rev-parse", "HEAD")
        self.git("reset", "--quiet", "--hard", "origin/main")
        self.git("merge", "--quiet", "--no-ff", "--no-edit", side)

    def _move(self) -> None:
        """The folder of this person's files gets another name, and another one back."""
        self._file()
        self.git("mv", f"apps/{self.name}", f"apps/{self.name}.moved")
        self.git("commit", "--quiet", "--message", "Move a folder")
        self.git("mv", f"apps/{self.name}.moved", f"apps/{self.name}")
        self.git("commit", "--quiet", "--message", "Move it back")

    def _reject(self) -> None:
        environment = self.rig.it.environment
        path = overlays.promotion_path(environment)
        file = self.folder / "clone" / path
        before = file.read_bytes() if file.exists() else None
        version = str(self.chance.randrange(2, _VERSIONS))
        now = promotion_file.read(path, before, environment) if before is not None else {}
        entries = [*(one for one in now.values() if one.version != version)]
        when = datetime.now(UTC)
        entries.append(Decision(version, State.REJECTED, "no", when, self.name))
        file.write_bytes(promotion_file.write(path, before, environment, entries))
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", f"Reject version {version}")

    def _freeze(self, state: freeze_file.State = freeze_file.State.FROZEN) -> None:
        environment = self.rig.it.environment
        path = overlays.promotion_path(environment)
        file = self.folder / "clone" / path
        before = file.read_bytes() if file.exists() else None
        file.write_bytes(freeze_file.write(path, before, environment, [Freeze(state, by=self.name)]))
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", f"It is {state}")

    def _thaw(self) -> None:
        self._freeze(freeze_file.State.THAWED)

    def _earlier(self) -> str:
        commits = self.git("rev-list", "--max-count=6", "origin/main").split()
        return self.chance.choice(commits)


# -- everything at once ------------------------------------------------------------------------------------------------


@dataclass
class _Crowd:
    """Whoever acts until `until`; `codes` counts how promoter's processes ended, `wrong` has what must not happen."""

    rig: Rig
    mlflow: MlflowServer
    folder: Path
    chance: random.Random
    until: float
    codes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def promoter(self, machine: Machine, name: str, *ways: tuple[str, ...]) -> Callable[[], None]:
        identity = {f"GIT_{role}_NAME": name for role in ("AUTHOR", "COMMITTER")}
        chance = random.Random(self.chance.random())

        def act() -> None:
            while time.monotonic() < self.until:
                words = tuple(
                    word.format(version=chance.randrange(2, _VERSIONS), model="{model}") for word in chance.choice(ways)
                )
                mine = replace(self.rig, row=replace(_ROW, arguments=words), environ={**self.rig.environ, **identity})
                run = mine.run(machine)
                self.codes[f"{words[0]} {run.code}"] += 1
                if run.code not in _ANSWERS or "Traceback" in run.err:
                    self.wrong.append(f"{name}: {' '.join(words)} ended with {run.code}\n{run.err[-2000:]}")
                time.sleep(chance.uniform(0, 2))

        return act

    def person(self, one: Person) -> Callable[[], None]:
        def act() -> None:
            one.begin()
            while time.monotonic() < self.until:
                one.work()
                time.sleep(one.chance.uniform(0, 2))

        return act

    def alias(self) -> None:
        chance = random.Random(self.chance.random())
        while time.monotonic() < self.until:
            self.mlflow.set_alias(self.rig.it.model, "champion", str(chance.randrange(2, _VERSIONS)))
            time.sleep(chance.uniform(2, 8))


def main(seconds: float, seed: int) -> int:
    """The seed is printed; threads and processes still take turns as they like."""
    if not runnable():
        print("nobody at work: a small file system can't be mounted here")
        return 0
    print(f"people, receiver and reconciles for {seconds:.0f} s, seed {seed}", flush=True)
    chance = random.Random(seed)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "mlflow").mkdir()
        mlflow = stack.enter_context(running(folder / "mlflow"))
        (folder / "world").mkdir()
        it = stack.enter_context(rig(folder / "world", _ROW, mlflow, log_models(mlflow)))
        files = mlflow.log_model({"MLmodel": b"flavors: {}\n", "weights.bin": b"w"})
        for _ in range(_VERSIONS):
            mlflow.register(it.it.model, f"models:/{files}")
        it.it.behaviours |= {str(version): FAILS for version in range(2, _VERSIONS + 4) if version % _BAD == 0}
        clock = folder / "clock"
        clock.write_text("0")
        machines = [
            Machine(stack.enter_context(Zygote(folder / f"machine{number}", None, clock)), folder, f"machine{number}", clock)
            for number in range(4)
        ]
        crowd = _Crowd(it, mlflow, folder, chance, time.monotonic() + seconds)
        promote, back = ("promote", "{model}:{version}", "--to", "staging"), ("rollback", "staging", "--yes")
        people = [
            Person(f"person{off // 86400}", it, folder / f"person{off // 86400}", random.Random(chance.random()), off)
            for off in _CLOCKS
        ]
        acts = [
            crowd.promoter(machines[0], "promoter 1", promote, promote, ("promote", "{model}@champion", "--to", "staging")),
            crowd.promoter(machines[1], "promoter 2", promote, back),
            crowd.promoter(machines[2], "reconcile 1", ("reconcile",)),
            crowd.promoter(machines[3], "reconcile 2", ("reconcile",)),
            crowd.alias,
            *(crowd.person(one) for one in people),
        ]
        receiver = _receiver(it, folder)
        threads = [threading.Thread(target=_guarded(act, crowd)) for act in acts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        receiver.terminate()
        if receiver.wait() != 0:
            crowd.wrong.append(
                f"the receiver ended with {receiver.returncode}: {(folder / 'receiver.log').read_text()[-2000:]}"
            )
        wrong = [*crowd.wrong, *_judged(it, people)]
        print(
            f"{sum(len(one.made) for one in people)} pushes of people, {dict(crowd.codes)}, {len(it.it.remote.log())} commits"
        )
    print("\n".join(wrong) or "no decision violated, no rollback undone, nobody's commit lost")
    return int(bool(wrong))


def _guarded(act: Callable[[], None], crowd: _Crowd) -> Callable[[], None]:
    def run() -> None:
        try:
            act()
        except Exception as error:
            crowd.wrong.append(repr(error))

    return run


def _receiver(it: Rig, folder: Path) -> subprocess.Popen[bytes]:
    """It compares every few seconds by itself: MLflow's events only wake it earlier."""
    identity = {f"GIT_{role}_NAME": "receiver" for role in ("AUTHOR", "COMMITTER")}
    words = (
        "webhook",
        "serve",
        "--insecure",
        "--interval",
        "5",
        "--port",
        str(free_port()),
        "--config",
        str(it.it.folder / "promoter.yaml"),
    )
    environ = {**it.environ, **identity, "XDG_CACHE_HOME": str(folder / "receiver-cache")}
    with (folder / "receiver.log").open("wb") as log:
        return subprocess.Popen([sys.executable, "-m", "promoter", *words], env=environ, stdout=log, stderr=log)


def _judged(it: Rig, people: list[Person]) -> list[str]:
    """What is wrong with the branch in the end."""
    bad = {version for version, behaviour in it.it.behaviours.items() if behaviour is FAILS}
    links = pairs(it.it)
    wrong = list(violations(links, bad))
    repository = it.it.clients.repository(it.it.environment.application)
    tip = repository.fetch().commit
    last = next(now for _, now in reversed(links) if now.sha == tip) if any(now.sha == tip for _, now in links) else None
    lost = [commit for one in people for commit in one.made if not repository.is_ancestor(commit, tip)]
    wrong += [f"commits of people were lost: {lost}"] if lost else []
    blocked = {version for _, now in links for version, decision in now.decisions.items() if decision.blocks}
    forgotten = {version for version in blocked if last and version not in last.decisions}
    return wrong + ([f"decisions were forgotten: {sorted(forgotten)}"] if forgotten else [])


if __name__ == "__main__":
    seconds_given, *seed_given = sys.argv[1:] or ["600"]
    sys.exit(main(float(seconds_given), int(seed_given[0]) if seed_given else int(time.time()) % 1_000_000))
