"""The Git part of a promotion in a repository of 100,000 files and 50,000 commits, compared with git itself and GitPython."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import git as gitpython

from benchmarks.figures import Figure, Section
from benchmarks.generated import COMMITS, EDITED, FILES, MODELS, TEAMS, generate
from promoter.gitops import Proposal, Repository, Snapshot
from tests.support.git_server import BareRepository, ServedRepository, isolated_environ, served_apart

_ROUNDS = 5
_PROMOTION = """
import sys
from pathlib import Path
from benchmarks.huge_repository import promote
promote(*sys.argv[1:])
"""


def measure(teams: int = TEAMS, commits: int = COMMITS) -> Section:
    """Best of some rounds taken in turn; each round on a tip that has moved on."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        origin = BareRepository(folder / "huge.git", isolated_environ(folder / "home"))
        generate(origin.path, commits=commits, teams=teams)
        with served_apart(folder, origin) as remote:
            clone = _timed(lambda: _git(folder, "clone", "--quiet", "--depth=1", remote.url, str(folder / "clone")))
            peer = _timed(lambda: _gitpython(remote.url, folder / "gitpython"))
            caches = [str(folder / f"cold{number}") for number in range(3)]
            cold = min(_timed(partial(promote, remote.url, cache)) for cache in caches)
            warm, moved, floor, received = _in_turn(folder, remote)
            memory = _peak_memory(folder, remote)
    files = teams * MODELS * FILES
    rows = {
        "git ls-remote + push of a ready commit": floor,
        "promoter, warm cache": warm,
        "promoter, warm cache, after a commit of another team": moved,
        "promoter, no cache": cold,
        "git clone --depth 1 alone": clone,
        "GitPython: clone --depth 1, edit, commit, push": peer,
    }
    return Section(
        title=f"Git part of a promotion among {files:,} files and {commits:,} commits",
        rows=tuple((name, f"{seconds:.2f} s") for name, seconds in rows.items()),
        figures=(
            Figure("promoter, warm / (ls-remote + push)", warm / floor, at_most=1.6),
            Figure("promoter, no cache / git clone --depth 1", cold / clone, at_most=0.35),
            Figure("promoter, no cache / GitPython", cold / peer, at_most=0.1),
            Figure("received, warm, after a commit of another team", received / 1024, at_most=64, unit="KB"),
            Figure("peak memory of promoter and git together, no cache", memory, at_most=120, unit="MB"),
        ),
        notes=("Over HTTP from a server on this machine. Memory is the sum of what each process has resident at one moment.",),
    )


def promote(url: str, cache: str) -> None:
    """One edit of one overlay, fetched, committed and pushed."""
    Repository(url, "main", cache=Path(cache), environ=_environ(Path(cache).parent)).apply(_edit)


def _edit(snapshot: Snapshot) -> Proposal:
    text = snapshot.read(EDITED)
    assert text
    return Proposal({EDITED: text.rstrip() + b" # %d\n" % time.time_ns()}, "Promote")


def _in_turn(folder: Path, remote: ServedRepository) -> tuple[float, float, float, int]:
    """Seconds warm, warm after somebody else's commit, and of git's least; the most bytes received of the second."""
    warm, moved, floor, received = [], [], [], []
    cache, ready = str(folder / "warm"), BareRepository(folder / "ready.git", _environ(folder))
    _git(folder, "clone", "--quiet", "--bare", "--depth=1", remote.url, str(ready.path))
    promote(remote.url, cache)
    for number in range(_ROUNDS):
        warm.append(_timed(lambda: promote(remote.url, cache)))
        floor.append(_ls_remote_and_push(ready, remote.url, number))
        promote(remote.url, cache)
        remote.origin.commit({EDITED.replace("t042", f"t{number:03d}"): b"theirs: %d\n" % number})
        before = remote.sent
        moved.append(_timed(lambda: promote(remote.url, cache)))
        received.append(remote.sent - before)
    return min(warm), min(moved), min(floor), max(received)


def _ls_remote_and_push(ready: BareRepository, url: str, number: int) -> float:
    """The commit is made in a shallow clone before the clock starts."""
    _git(ready.path, "fetch", "--quiet", "--depth=1", url, "+main:main")
    ready.commit({EDITED: b"ready: %d\n" % number})

    def least() -> None:
        _git(ready.path, "ls-remote", url, "refs/heads/main")
        _git(ready.path, "push", "--quiet", url, "main")

    return _timed(least)


def _gitpython(url: str, clone: Path) -> None:
    repository = gitpython.Repo.clone_from(url, clone, depth=1, env=_environ(clone.parent))
    file = clone / EDITED
    file.write_text("edited: true\n")
    repository.index.add([str(file)])
    repository.index.commit("Promote")
    with repository.git.custom_environment(**_environ(clone.parent)):
        repository.remote().push().raise_if_error()


def _peak_memory(folder: Path, remote: ServedRepository) -> float:
    """Megabytes that a process with an empty cache and all its children have resident, at most, looked at all the time."""
    environ = _environ(folder) | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", _PROMOTION, remote.url, str(folder / "memory")], env=environ)
    most = 0
    while process.poll() is None:
        most = max(most, _resident(process.pid))
    assert process.returncode == 0
    return most / 1e6


def _resident(process: int) -> int:
    try:
        own = int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return own + sum(_resident(int(child)) for child in children)


def _git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, env=_environ(folder), check=True, capture_output=True)


def _environ(folder: Path) -> dict[str, str]:
    return isolated_environ(folder / "home")


def _timed(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


if __name__ == "__main__":
    print(measure().markdown())
