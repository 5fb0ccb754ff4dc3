"""The past of 1,000 releases in four environments: `history --all` as a command, a new process each time."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figure, Section
from benchmarks.history import content, generated_from
from promoter.kustomize import promotion_file
from promoter.kustomize.promotion_file import Decision, State
from promoter.models import Application, Environment, Model
from promoter.promotion import journal
from tests.support.argo_world import MODEL, REPOSITORY, digest, overlay
from tests.support.git_server import isolated_environ, served_apart
from tests.support.histories import release

RECORDS = 1_000
_NAMES = ("dev", "test", "staging", "production")
_RESTORED = 10  # every so many releases of an environment failed
_ROUNDS = 5
_START = 1_700_000_000


def measure(records: int = RECORDS) -> Section:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        origin = generated_from(folder / "records.git", _stream(records))
        with served_apart(folder, origin) as remote:
            _configure(folder, remote.url)
            cold = _timed(folder, records)
            warm = statistics.median(_timed(folder, records) for _ in range(_ROUNDS))
            start = statistics.median(_started(folder) for _ in range(_ROUNDS))
    return Section(
        title=f"{records:,} releases in {len(_NAMES)} environments",
        rows=(
            ("promoter history --all, no cache", f"{cold:.2f} s"),
            ("promoter history --all, warm cache", f"{warm:.2f} s"),
            ("promoter --version", f"{start:.2f} s"),
        ),
        figures=(Figure("history --all, warm", warm, at_most=2, unit="s"),),
        notes=(f"As a process, over HTTP from a server on this machine. Every {_RESTORED}th release failed and was restored.",),
    )


def _timed(folder: Path, records: int) -> float:
    command = ("history", "--all", "-n", str(10 * records), "-o", "json")
    seconds, out = _run(folder, *command)
    assert len(json.loads(out)) == records
    return seconds


def _started(folder: Path) -> float:
    return _run(folder, "--version")[0]


def _run(folder: Path, *arguments: str) -> tuple[float, bytes]:
    environ = {**os.environ, **isolated_environ(folder / "home"), "XDG_CACHE_HOME": str(folder / "cache")}
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "promoter", *arguments], cwd=folder, env=environ, capture_output=True, check=True
    )
    return time.perf_counter() - began, done.stdout


def _configure(folder: Path, url: str) -> None:
    lines = [f"models:\n  {MODEL}:\n    image: {REPOSITORY}\n    kustomize-image: fraud-detector\nenvironments:"]
    for name in _NAMES:
        lines.append(f"- {{name: {name}, application: {name}.yaml}}")
        source = {"repoURL": url, "path": f"overlays/{name}", "targetRevision": "main"}
        about = {"name": f"fraud-{name}", "namespace": "argocd"}
        manifest = {"kind": "Application", "metadata": about, "spec": {"project": "default", "source": source}}
        (folder / f"{name}.yaml").write_text(json.dumps(manifest))
    (folder / "promoter.yaml").write_text("\n".join(lines) + "\n")


def _stream(records: int) -> Iterator[bytes]:
    """Each environment in turn; versions start over after 250, as the digests of the tests do."""
    model = Model(MODEL, REPOSITORY, "fraud-detector", "release.yaml")
    deployed = dict.fromkeys(_NAMES, 0)
    files: dict[str, bytes | None] = dict.fromkeys(_NAMES)
    for count in range(records):
        name = _NAMES[count % len(_NAMES)]
        place = Application("fraud", "default", "argocd", "https://git.example.com/x.git", f"overlays/{name}", "main")
        environment, turn, now = Environment(name, model, place), count // len(_NAMES), deployed[name]
        version = now % 250 + 1
        if turn % _RESTORED == _RESTORED - 1:
            version = now - 1 or 250
            entry = journal.restore(environment, release(version), "f" * 40, release(now), "analysis failed", quarantine=False)
            decision = Decision(str(now), State.FAILED, "analysis failed", failures=1, restored=digest(version))
            files[name] = promotion_file.write("promotion.yaml", files[name], environment, [decision])
        else:
            entry = journal.promotion(environment, release(version), f"{count:016x}")
        deployed[name] = version
        subject = f"Deploy {MODEL} version {version} in {name}"
        trailers = "\n".join(f"{key}: {value}" for key, value in entry.trailers())
        message = f"{subject}\n\nanalysis x: metric accuracy Failed, measured 0.4\n\n{trailers}\n".encode()
        who = f"committer Ada <ada@example.org> {_START + 60 * count} +0000"
        parent = f"from :{count}\n" if count else ""
        yield f"commit refs/heads/main\nmark :{count + 1}\n{who}\ndata {len(message)}\n".encode() + message + parent.encode()
        written = {path: text.encode() for path, text in overlay(version, name).items()}
        written[f"overlays/{name}/promotion.yaml"] = files[name] or b"versions:\n"
        yield from (content(path, body) for path, body in written.items())


if __name__ == "__main__":
    print(measure().markdown())
