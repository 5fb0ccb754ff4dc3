"""The releases of one overlay, and what is decided about it, below 50,000 commits of others, every tenth of them merged."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.figures import Figure, Section
from promoter.gitops import Repository
from promoter.kustomize.overlay import read_overlay
from promoter.models import Application, Environment, Model
from promoter.promotion import decisions, release_index, releases
from tests.support.argo_world import MODEL, REPOSITORY, overlay
from tests.support.git_server import BareRepository, isolated_environ, served_apart

COMMITS = 50_000
_RELEASES = 3
_SERVICES = 1_000
_START = 1_700_000_000
_ROUNDS = 5
_ENVIRONMENT = Environment(
    name="staging",
    model=Model(MODEL, REPOSITORY, "fraud-detector", "release.yaml"),
    application=Application("fraud", "default", "argocd", "https://git.example.com/x.git", "overlays/staging", "main"),
)


def measure(commits: int = COMMITS) -> Section:
    """Each in a Repository of its own, as a command opens it; warm is the median of some rounds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        few, many = (_generated(folder / f"{count}.git", count) for count in (0, commits))
        with served_apart(folder, many) as remote:
            opened = partial(_opened, folder, remote.url)
            short = partial(_opened, folder, remote.url.replace(many.path.name, few.path.name))
            cold = _timed(lambda: _found(opened()))
            walk = _warm(lambda: _walked(opened()))
            warm = _warm(lambda: _found(opened()))
            moved = statistics.median(_moved(many, lambda: _found(opened())) for _ in range(_ROUNDS))
            decided, decided_few = _warm(lambda: _decided(opened())), _warm(lambda: _decided(short()))
    rows = {
        "history, no cache": cold,
        "history, warm cache, walked without the index": walk,
        "history, warm cache": warm,
        "history, warm cache, after a commit of another team": moved,
        "decisions at the tip": decided,
        "decisions at the tip of a repository without these commits": decided_few,
    }
    return Section(
        title=f"History below {commits:,} commits of others",
        rows=tuple((name, f"{seconds:.3f} s") for name, seconds in rows.items()),
        figures=(
            Figure("history, warm", warm, at_most=0.2, unit="s"),
            Figure("decisions, with the commits / without", decided / decided_few, at_most=1.5),
        ),
        notes=("Over HTTP from a server on this machine, in a process that has its imports.",),
    )


def _found(repository: Repository) -> None:
    assert len(release_index.newest(repository, _ENVIRONMENT, 20, _unexpected, repository.fetch())) == _RELEASES


def _walked(repository: Repository) -> None:
    assert len(list(releases.changes(repository, _ENVIRONMENT, repository.fetch().commit))) == _RELEASES


def _decided(repository: Repository) -> None:
    tip = repository.fetch()
    assert not decisions.at(repository, tip.commit, read_overlay(tip, _ENVIRONMENT), _ENVIRONMENT).entries


def _unexpected(text: str) -> None:
    raise AssertionError(text)


def _moved(origin: BareRepository, action: Callable[[], None]) -> float:
    origin.commit({"services/s0/values.yaml": b"theirs: %d\n" % time.time_ns()})
    return _timed(action)


def _opened(folder: Path, url: str) -> Repository:
    return Repository(url, "main", cache=folder / "cache", environ=isolated_environ(folder / "home"))


def _warm(action: Callable[[], None]) -> float:
    action()
    return statistics.median(_timed(action) for _ in range(_ROUNDS))


def _timed(action: Callable[[], None]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def _generated(path: Path, commits: int) -> BareRepository:
    return generated_from(path, _stream(commits))


def generated_from(path: Path, stream: Iterator[bytes]) -> BareRepository:
    """A packed repository of what git-fast-import(1) reads."""
    repository = BareRepository(path, isolated_environ(path.parent / "home"))
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(path)], check=True)
    for key in ("uploadpack.allowFilter", "http.receivepack"):
        repository.git("config", key, "true")
    command = ["git", "-C", str(path), "fast-import", "--quiet", "--max-pack-size=2g"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.stdin
        process.stdin.writelines(stream)
        process.stdin.close()
        assert process.wait() == 0
    repository.git("repack", "-adq", "--write-bitmap-index")
    return repository


def _stream(commits: int) -> Iterator[bytes]:
    """Some releases with promotion.yaml, then `commits` of others to one file each; every tenth is merged."""
    yield _commit(1, "Begin")
    yield from (_file(number, 0) for number in range(_SERVICES))
    for version in range(1, _RELEASES + 1):
        yield _commit(version + 1, f"Promote version {version}", version)
        files = {**overlay(version), "overlays/staging/promotion.yaml": "versions:\n"}
        yield from (content(path, text.encode()) for path, text in files.items())
    tip = mark = _RELEASES + 1
    for change in range(1, commits + 1):
        mark += 1
        yield _commit(mark, f"Change {change}", tip) + _file(change * 7919 % _SERVICES, change)
        if change % 10 == 0:
            mark += 1
            yield _commit(mark, f"Merge change {change}", tip, mark - 1) + _file(change * 7919 % _SERVICES, change)
        tip = mark


def _commit(mark: int, subject: str, *parents: int) -> bytes:
    head = f"commit refs/heads/main\nmark :{mark}\ncommitter Ada <ada@example.org> {_START + 60 * mark} +0000\n"
    links = "".join(f"{'merge' if number else 'from'} :{parent}\n" for number, parent in enumerate(parents))
    return f"{head}data {len(subject)}\n{subject}\n{links}".encode()


def _file(service: int, change: int) -> bytes:
    return content(f"services/s{service}/values.yaml", b"change: %d\n" % change)


def content(path: str, content: bytes) -> bytes:
    return b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(content), content)


if __name__ == "__main__":
    print(measure().markdown())
