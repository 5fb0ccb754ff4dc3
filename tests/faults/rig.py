"""The small world of one cell: a Git remote, Argo CD, MLflow and a forge, with a release under way or not."""

from __future__ import annotations

import os
import subprocess
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from promoter.models import ForgeKind
from tests.faults.zygote import Zygote
from tests.support.argo_world import FAILS, World, world
from tests.support.forge_repository import ForgeRepository
from tests.support.forge_server import ForgeServer
from tests.support.mlflow_server import MlflowServer
from tests.support.pull_requests import settings, variables

_FILES = {"MLmodel": b"flavors:\n  python_function:\n    loader_module: model\n", "requirements.txt": b"numpy==2.4.0\n"}
_VERSIONS = 3
_LINES = "  alias: champion\n  on-alias: promote\n"
_WATCH = "watch: {stable-for: 0, timeout: 300}\n"
_SECONDS = 60.0


@dataclass(frozen=True)
class Row:
    """A command. `code`: how it ends unharmed, `again`: how a repetition may, too; `version`: what is deployed in the end.

    `begins`: the version that is live at first, and `on_its_way` the one that was committed and nobody watched. `bad`: the
    cluster aborts it. `lines`: more keys of the environment. `merges`: somebody merges the pull request.
    """

    name: str
    arguments: tuple[str, ...]
    version: str
    code: int = 0
    again: frozenset[int] = frozenset()
    begins: int = 1
    on_its_way: int | None = None
    bad: bool = False
    alias: str = "1"
    lines: str = ""
    merges: bool = False
    pulls: int = 0


@dataclass
class Machine:
    """What promoter's processes have of their own: a cache, a temporary folder and a clock, on a small disk."""

    zygote: Zygote
    folder: Path
    name: str
    clock: Path

    @property
    def disk(self) -> Path:
        return self.zygote.disk / self.name


@dataclass
class Run:
    """How one process ended."""

    code: int | str
    out: str
    err: str
    gaps: list[str]
    orphans: list[str]


@dataclass
class Rig:
    """`start` is the tip before the command, `theirs` the commits of people that nothing may lose."""

    row: Row
    it: World
    forge: ForgeServer
    environ: dict[str, str]
    start: str
    theirs: list[str] = field(default_factory=list)

    def run(self, machine: Machine, at: str = "", fault: str = "", meet: Path | None = None) -> Run:
        """promoter, with a fault in one gap; Argo CD's time passes meanwhile, and people merge."""
        files = {name: machine.folder / f"{machine.name}.{name}" for name in ("out", "err", "log")}
        files["log"].write_text("")
        home, temporary = machine.disk / "home", machine.disk / "tmp"
        environ = {**self.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache"), "TMPDIR": str(temporary)}
        arguments = [word.format(model=self.it.model) for word in self.row.arguments]
        ended = threading.Event()
        passing = threading.Thread(target=self._pass_time, args=(ended,))
        passing.start()
        try:
            answer = machine.zygote.ask(
                do="run",
                arguments=[*arguments, "-o", "json", "--config", str(self.it.folder / "promoter.yaml")],
                environ=environ,
                fresh=[str(home), str(temporary)],
                at=at,
                fault=fault,
                seconds=_SECONDS,
                given={"disk": str(machine.zygote.disk), "clock": str(machine.clock), "meet": str(meet)},
                **{name: str(file) for name, file in files.items()},
            )
        finally:
            ended.set()
            passing.join()
        out, err, log = (files[name].read_text() for name in ("out", "err", "log"))
        return Run(answer["code"], out, err, log.splitlines(), answer["orphans"])

    def _pass_time(self, ended: threading.Event) -> None:
        asked = self.forge.asked("POST", "/graphql")
        while not ended.wait(0.003):
            self.it.clock.wait(0.2, threading.Event())
            if self.row.merges and self.forge.asked("POST", "/graphql") > asked:
                self.merge()

    def merge(self) -> None:
        with self.forge.lock:
            for pull in [one for one in self.forge.pulls if one.state == "open"]:
                self.forge.repository.merge(pull, "squash", f"{pull.title}\n\n{pull.body}")

    def person_commits(self) -> None:
        self.theirs.append(self.it.remote.commit({f"apps/{uuid.uuid4().hex}": "theirs\n"}, "Add an app"))


@contextmanager
def rig(folder: Path, row: Row, mlflow: MlflowServer, logged: Sequence[str]) -> Iterator[Rig]:
    """A world as the row begins."""
    model = f"model-{uuid.uuid4().hex[:8]}"
    for one in logged:
        mlflow.register(model, f"models:/{one}")
    mlflow.set_alias(model, "champion", row.alias)
    home = folder / "people"
    home.mkdir()
    (home / ".gitconfig").write_text("[user]\n\tname = Tester\n\temail = tester@example.com\n")
    known = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "GITHUB_", "AZURE_", "SYSTEM_"))}
    identity = {
        f"GIT_{who}_{what}": f"{what.lower()}@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    known |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache"), "MLFLOW_TRACKING_URI": mlflow.url, **identity}
    with ForgeServer(ForgeRepository(folder / "remote.git")) as forge:
        known |= variables(forge)
        more = settings(forge, ForgeKind.GITHUB) + _WATCH
        with world(folder, known, model=model, settings=more, lines=_LINES + row.lines) as it:
            it.behaviours |= {"2": FAILS} if row.bad else {}
            for version in range(2, row.begins + 1):
                it.promote(version)
                it.settle(60)
            if row.on_its_way is not None:
                it.promote(row.on_its_way)
            if row.arguments == ("reconcile",):
                it.settle(60)
            yield Rig(row, it, forge, dict(it.clients.environ), it.remote.tip())
        assert not forge.wrong, forge.wrong


def log_models(mlflow: MlflowServer) -> list[str]:
    """The files of the versions, which every cell registers as its own."""
    return [mlflow.log_model({**_FILES, "weights.bin": uuid.uuid4().bytes}) for _ in range(_VERSIONS)]


def preload(folder: Path) -> Path | None:
    """The library that makes a clock wrong; None without a C compiler."""
    library, source = folder / "clock.so", Path(__file__).with_name("clock.c")
    try:
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return library


def git_with_that_clock(folder: Path, library: Path | None, clock: Path) -> dict[str, str]:
    """A PATH whose git has the wrong clock, too: it gets no variables that promoter does not hand down."""
    if library is None:
        return {}
    import shutil

    program = folder / "bin" / "git"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nLD_PRELOAD={library} FAULT_CLOCK={clock} exec {shutil.which("git")} "$@"\n')
    program.chmod(0o755)
    return {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
