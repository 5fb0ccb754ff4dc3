"""The table: every command that writes, every gap of it, and every fault; and what must be so afterwards."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from promoter.kustomize import freeze_file, promotion_file
from promoter.kustomize import overlay as overlays
from promoter.kustomize.entries import opened
from tests.faults.rig import Machine, Rig, Row, Run, git_with_that_clock, log_models, preload, rig
from tests.faults.zygote import Zygote
from tests.support.argo_world import World
from tests.support.invariants import Link, violations
from tests.support.mlflow_server import MlflowServer
from tests.support.sandbox import git

PROMOTE = ("promote", "{model}:2", "--to", "staging")
PULL_REQUEST = "  write: pull-request\n"
ROWS = (
    Row("promote", PROMOTE, "2"),
    Row("promote, aborted", PROMOTE, "1", 10, frozenset({20}), bad=True),
    Row("promote by pull request", PROMOTE, "1", lines=PULL_REQUEST, pulls=1),
    Row("promote by pull request, merged", (*PROMOTE, "--wait"), "2", lines=PULL_REQUEST, merges=True, pulls=1),
    Row("rollback", ("rollback", "staging", "--yes"), "1", begins=2, alias="2"),
    Row(
        "rollback by pull request, merged",
        ("rollback", "staging", "--yes", "--wait"),
        "1",
        begins=2,
        alias="2",
        lines=PULL_REQUEST,
        merges=True,
        pulls=1,
    ),
    Row("reject", ("reject", "{model}:2", "--reason", "wrong answers", "--yes"), "1", begins=2, alias="2"),
    Row("freeze", ("freeze", "staging", "--reason", "the shop is full"), "2", begins=2, alias="1"),
    Row("reconcile, alias moved", ("reconcile",), "2", alias="2"),
    Row("reconcile, aborted", ("reconcile",), "1", 10, frozenset({0}), on_its_way=2, bad=True, alias="2"),
    Row("watch", ("watch", "staging"), "2", on_its_way=2),
    Row("watch, aborted", ("watch", "staging"), "1", 10, frozenset({0}), on_its_way=2, bad=True),
    Row(
        "watch, restored by pull request",
        ("watch", "staging", "--wait"),
        "1",
        10,
        frozenset({0}),
        on_its_way=2,
        bad=True,
        lines="  on-failure: pull-request\n",
        merges=True,
        pulls=1,
    ),
    Row("image", ("image", "{model}:2"), "1"),
)
TOLD = frozenset({4, 11, 13})
FAULTS: dict[str, frozenset[int]] = {
    "kill -9": frozenset({-9}),
    "SIGTERM": frozenset({143}),
    "disk full": TOLD,
    "stdout gone": frozenset(),
    "lost answer": frozenset({4, 11}),
    "clock ahead": frozenset(),
    "clock behind": frozenset(),
    "second promoter": frozenset({0, 20, 21}),
    "person's commit": frozenset(),
    "force-push": frozenset({11, 12, 21}),
}
"""The exit codes with which a command may end after each fault, in addition to its usual one."""

_ACTED = ("second promoter", "person's commit", "force-push")
_CLOCKS = ("clock ahead", "clock behind")
_WRITES = ("git push", "git commit-tree", "git index-pack", "POST ", "PATCH ", "PUT ", "DELETE ")
_LOCAL = (
    "git cat-file",
    "git check-ref-format",
    "git rev-parse",
    "git version",
    "git merge-base",
    "git ls-tree",
    "git config",
    "syncwindows",
)
_STALE = (".lock", ".new")


@dataclass(frozen=True, order=True)
class Cell:
    row: str
    gap: str
    fault: str

    def __str__(self) -> str:
        return f"{self.row} | {self.gap} | {self.fault}"


def chosen(gaps: Sequence[str]) -> list[str]:
    """Both sides of each step that writes, and while it runs, the first two times; of what reads only when it is done."""
    kept = []
    for gap in dict.fromkeys(gaps):
        writes = any(one in gap for one in _WRITES)
        if (
            gap.endswith((" 1", " 2") if writes else " 1")
            and (writes or not gap.startswith("before "))
            and not any(one in gap for one in _LOCAL)
        ):
            kept.append(gap)
    assert kept, "no gap was passed"
    return kept


class Table:
    """Runs cells one after the other."""

    def __init__(self, folder: Path, mlflow: MlflowServer, machines: Sequence[Machine], path: dict[str, str]) -> None:
        self._folder, self._mlflow, self._machines, self._path = folder, mlflow, machines, path
        self._logged = log_models(mlflow)
        self.has_clock = bool(path)

    def gaps(self, row: Row) -> list[str]:
        """Those of a run without a fault, which ends as it should."""
        with self._rig(row) as it:
            run = it.run(self._machines[0])
            wrong = [*self._ended(it, run, frozenset({row.code})), *self._state(it)]
            assert not wrong, f"{row.name}, unharmed: {wrong}\n{run.out}\n{run.err}"
        return chosen(run.gaps)

    def cells(self, row: Row) -> list[Cell]:
        faults = [fault for fault in FAULTS if fault not in _CLOCKS or self.has_clock]
        return [
            Cell(row.name, gap, fault)
            for gap in self.gaps(row)
            for fault in faults
            if fault != "lost answer" or gap.startswith("answer of ")
        ]

    def problems(self, cell: Cell, *, passing: bool = False) -> list[str]:
        """What is wrong after the fault, and after the command was repeated where it did not come to its end.

        `passing`: the gap has to be passed. Otherwise polls may differ from run to run.
        """
        row = next(one for one in ROWS if one.name == cell.row)
        machine = self._machines[0]
        with self._rig(row) as it:
            run = self._harmed(it, cell)
            found = [*self._ended(it, run, FAULTS[cell.fault] | {row.code}, quiet=cell.fault in ("kill -9", "stdout gone"))]
            if cell.gap not in run.gaps:
                missed = [f"the gap was not passed, only {run.gaps}"] if passing else []
                return [*missed, *found, *self._state(it)]
            machine.zygote.ask(do="free", file=str(machine.zygote.disk / "filler"))
            if run.code != row.code or cell.fault == "force-push":
                if cell.fault == "force-push":
                    it.it.settle(60)  # what the branch was taken back to is what the cluster runs, as long as it will
                machine.zygote.ask(do="age", root=str(machine.disk / "tmp"))
                again = it.run(machine)
                found += [f"repeated: {one}" for one in self._ended(it, again, row.again | {row.code})]
            found += self._state(it, forced=cell.fault == "force-push")
            if found:
                found += [f"gaps {run.gaps[-3:]}", run.err[-1500:], it.it.remote.log("%h %an %s")[:6].__repr__()]
        return found

    def _harmed(self, it: Rig, cell: Cell) -> Run:
        if cell.fault not in _ACTED:
            return it.run(self._machines[0], cell.gap, cell.fault)
        place = Path(tempfile.mkdtemp(dir=self._folder)) / "meet"
        with socket.socket(socket.AF_UNIX) as meeting:
            meeting.bind(str(place))
            meeting.listen()
            other = threading.Thread(target=self._act, args=(meeting, it, cell.fault), daemon=True)
            other.start()
            run = it.run(self._machines[0], cell.gap, cell.fault, place)
            with socket.socket(socket.AF_UNIX) as done:
                done.connect(str(place))
            other.join()
        return run

    def _act(self, meeting: socket.socket, it: Rig, fault: str) -> None:
        came, _ = meeting.accept()
        with came:
            if came.getsockname() and fault == "second promoter":
                it.run(self._machines[1])
            elif fault == "person's commit":
                it.person_commits()
            elif fault == "force-push":
                it.it.remote.force(it.start)

    # -- what must be so ----------------------------------------------------------------------------------------------

    def _ended(self, it: Rig, run: Run, codes: frozenset[int], *, quiet: bool = False) -> Iterator[str]:
        if run.code not in codes:
            yield f"exit code {run.code}, and not one of {sorted(codes)}"
        if "Traceback" in run.err or "Exception ignored" in run.err:
            yield "a traceback"
        if run.orphans:
            yield f"it left processes: {run.orphans}"
        if not quiet:
            last = (
                json.loads((run.out.splitlines() or ["{}"])[-1])
                if it.row.name != "image" or run.code
                else {"exit_code": run.code}
            )
            if last.get("exit_code") != run.code:
                yield f"its last line has exit code {last.get('exit_code')}, and it ended with {run.code}"

    def _state(self, it: Rig, *, forced: bool = False) -> list[str]:
        found = []
        remote, environment = it.it.remote, it.it.environment
        repository = it.it.clients.repository(environment.application)
        tip = repository.fetch()
        deployed = overlays.deployed(tip, environment)
        if deployed is None or deployed.version != it.row.version:
            found.append(f"version {deployed and deployed.version} is deployed, and not {it.row.version}")
        subjects = Counter(
            subject for subject in remote.log("%s") if subject.startswith(("Promote", "Restore", "Roll", "Freeze"))
        )
        found += [f"made {times} times: {subject}" for subject, times in subjects.items() if times > 1]
        lost = [one for one in it.theirs if not repository.is_ancestor(one, tip.commit)]
        found += [f"a commit of somebody is lost: {lost}"] if lost and not forced else []
        found += violations(pairs(it.it, attended=it.row.arguments[0] != "reconcile"), {"2"} if it.row.bad else ())
        open_ = [one for one in it.forge.pulls if one.state == "open"]
        if len(open_) != (it.row.pulls if not it.row.merges else 0):
            found.append(f"{len(open_)} pull requests are open")
        if len(it.forge.pulls) > it.row.pulls and not forced:
            found.append(f"{len(it.forge.pulls)} pull requests were made")
        found += self._leftovers(it)
        return found

    def _leftovers(self, it: Rig) -> Iterator[str]:
        for machine in self._machines:
            for name in machine.zygote.ask(do="list", root=str(machine.disk)):
                place = Path(name)
                if place.suffix in _STALE or ".old" in place.name or (place.parts[0] == "tmp" and len(place.parts) > 1):
                    yield f"left: {name}"
        yield from (f"left: {path.name}" for path in (it.it.folder / "images").glob(".upload-*"))
        yield from (f"left: {path}" for path in (it.it.folder / "remote.git").rglob("*.lock"))
        heads = [one for one in it.forge.repository.branches() if one.endswith(".new")]
        yield from (f"left: branch {one}" for one in heads)

    @contextmanager
    def _rig(self, row: Row) -> Iterator[Rig]:
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        try:
            with rig(folder, row, self._mlflow, self._logged) as it:
                it.environ |= self._path
                yield it
        finally:
            for machine in self._machines:
                machine.zygote.ask(do="free", file=str(machine.zygote.disk / "filler"))
                machine.zygote.ask(do="clear", root=str(machine.disk))
                machine.clock.write_text("0")
            shutil.rmtree(folder, ignore_errors=True)


def pairs(it: World, *, attended: bool = True) -> list[tuple[Link, Link]]:
    """Each commit of the branch that merges nothing, with its parent, as the invariants see them. Whoever is called reconcile or
    receiver is not attended."""
    environment = it.environment
    repository, path = it.clients.repository(environment.application), overlays.promotion_path(environment)
    links: dict[str, Link] = {}
    found = []
    log = git("-C", it.remote.url, "log", "--topo-order", "--reverse", "--format=%H%x09%P%x09%an%x09%s", "main")
    for written in log.splitlines():
        commit, parents, by, subject = written.split("\t")
        snapshot = repository.at(commit)
        text = snapshot.read(path)
        standing = promotion_file.read(path, text, environment) if text is not None else {}
        freezes = freeze_file.of(opened(path, text), environment) if text is not None else ()
        decisions = {one.version: one for one in standing.values()}
        theirs = {Path(name).name for name in git("-C", it.remote.url, "ls-tree", "-r", "--name-only", commit, "apps/").split()}
        alone = not attended or by.startswith(("reconcile", "receiver"))
        links[commit] = Link(
            commit,
            subject,
            by,
            overlays.deployed(snapshot, environment),
            decisions,
            theirs,
            attended=not alone,
            frozen=any(one.stands(datetime.now(UTC)) for one in freezes),
        )
        if len(parents.split()) == 1:
            found.append((links[parents], links[commit]))
    return found


@contextmanager
def table(folder: Path, mlflow: MlflowServer) -> Iterator[Table]:
    """The table with its two machines."""
    library, machines = preload(folder), []
    clock = folder / "clock"
    clock.write_text("0")
    path = git_with_that_clock(folder, library, clock)
    with Zygote(folder / "a", library, clock) as one, Zygote(folder / "b", None, clock) as two:
        machines = [Machine(one, folder, "one", clock), Machine(two, folder, "two", clock)]
        yield Table(folder, mlflow, machines, path)


def runnable() -> bool:
    """Whether a small disk can be mounted here."""
    done = subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
    return done.returncode == 0
