"""The programs that images are appended to and built with elsewhere: found on this machine, or brought for the measurement."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "model-promoter" / "benchmarks"
_SUITE = "sid"
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_ENGINE_SECONDS = 60


def crane() -> str | None:
    """crane on PATH, or that of Debian's newest suite: from the mirror that apt uses here, unpacked and not installed."""
    if found := shutil.which("crane"):
        return found
    folder = _CACHE / "crane"
    if not folder.exists() and shutil.which("apt-get") and shutil.which("dpkg-deb"):
        try:
            _unpack("crane", folder)
        except subprocess.CalledProcessError as error:
            print(f"no crane: {' '.join(error.cmd)} failed", file=sys.stderr)
    return next(map(str, folder.glob("*/usr/bin/crane")), None)


def crane_version(program: str) -> str:
    """Debian's does not know its own; the folder that it was unpacked to does."""
    path = Path(program)
    if path.is_relative_to(_CACHE):
        return f"crane {path.relative_to(_CACHE / 'crane').parts[0]}"
    return "crane " + printed([program, "version"], os.environ)


def printed(command: Sequence[str], environ: Mapping[str, str]) -> str:
    """The first line that a program prints."""
    done = subprocess.run(command, env=dict(environ), capture_output=True, text=True, check=True)
    return done.stdout.strip().partition("\n")[0]


@contextmanager
def docker_engine() -> Iterator[Mapping[str, str] | None]:
    """The environment in which `docker` reaches an engine: the one that answers here, or one of our own; None without."""
    if shutil.which("docker") is None:
        yield None
    elif _answers(os.environ):
        yield {**os.environ, "DOCKER_BUILDKIT": "0"}
    elif shutil.which("dockerd") is None or os.geteuid() != 0:
        yield None
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield from _own_engine(Path(folder))


def _own_engine(folder: Path) -> Iterator[Mapping[str, str] | None]:
    """Without any network of its own: nothing is built that needs one."""
    environ = {**os.environ, "DOCKER_BUILDKIT": "0", "DOCKER_HOST": f"unix://{folder}/docker.sock"}
    places = [f"--data-root={folder}/data", f"--exec-root={folder}/exec", f"--pidfile={folder}/pid"]
    command = ["dockerd", *places, "-H", environ["DOCKER_HOST"], "--bridge=none", "--iptables=false"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + _ENGINE_SECONDS
        while process.poll() is None and time.monotonic() < deadline and not _answers(environ):
            time.sleep(0.2)
        yield environ if _answers(environ) else None
    finally:
        process.terminate()
        process.wait()


def _answers(environ: Mapping[str, str]) -> bool:
    return subprocess.run(["docker", "info"], env=dict(environ), capture_output=True, check=False).returncode == 0


def _unpack(package: str, folder: Path) -> None:
    """The newest package of that name, from the repository that apt uses first."""
    targets = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    repository = subprocess.run(targets, capture_output=True, text=True, check=True).stdout.split()[0]
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        for part in ("lists/partial", "cache/archives/partial"):
            (work / part).mkdir(parents=True)
        (work / "sources.list").write_text(f"deb [signed-by={_KEYRING}] {repository} {_SUITE} main\n")
        settings = {
            "Dir::Etc::sourcelist": f"{work}/sources.list",
            "Dir::Etc::sourceparts": "-",
            "Dir::State::lists": f"{work}/lists",
            "Dir::Cache": f"{work}/cache",
            "APT::Sandbox::User": "root",
        }
        options = [option for key, value in settings.items() for option in ("-o", f"{key}={value}")]
        for command in (["update"], ["download", package]):
            subprocess.run(["apt-get", *options, *command], cwd=work, capture_output=True, check=True)
        [archive] = work.glob(f"{package}_*.deb")
        unpacked = folder / printed(["dpkg-deb", "--field", str(archive), "Version"], os.environ)
        unpacked.mkdir(parents=True)
        subprocess.run(["dpkg-deb", "-x", str(archive), str(unpacked)], check=True)
