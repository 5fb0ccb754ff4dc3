"""A real Docker engine, and a base image made from Debian packages, since no public container registry need be reachable.

The engine is the one that DOCKER_HOST names, where it answers; else a dockerd of our own, which ends with the tests. What takes
long to make (base image, wheels) is kept in the user's cache folder under a name that shows how it was made.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest
from docker.errors import DockerException

# The machine's own, before a test gets an environment and a home that are not.
_ENVIRON = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
_CACHE = Path(_ENVIRON.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "promoter-tests"
_START_SECONDS = 60
# The C++ library is what every manylinux wheel may expect of a system.
_PACKAGES = "python3,libstdc++6"


@dataclass(frozen=True)
class DockerEngine:
    """`log` is what dockerd wrote, if the tests started it."""

    host: str
    client: docker.APIClient
    log: Path | None = None


@dataclass(frozen=True)
class PythonBase:
    """A root file system with Debian's Python in a tar, and nothing else: no shell, no pip. `python` is its minor version."""

    tar: Path
    python: str


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[DockerEngine]:
    """The engine that all tests of the session share; name images by a registry of your own, they are removed with it."""
    named = _ENVIRON.get("DOCKER_HOST", "")
    # Only an engine on this machine reaches a registry on its loopback interface.
    client = _client(named) if named.startswith("unix://") else None
    if client is not None:
        with closing(client):
            yield DockerEngine(named, client)
        return
    missing = [program for program in ("dockerd", "containerd", "runc") if not shutil.which(program, path=_ENVIRON["PATH"])]
    if missing or os.geteuid() != 0:
        why = f"{', '.join(missing)} (package docker.io) missing" if missing else "only root can start dockerd"
        pytest.skip(f"no Docker engine on this machine: DOCKER_HOST names none on a unix socket, and {why}")
    folder = Path(tempfile.mkdtemp(prefix="dockerd-"))  # short: the path of a socket has 108 bytes at most
    with _dockerd(folder) as engine:
        yield engine


@contextmanager
def _dockerd(folder: Path) -> Iterator[DockerEngine]:
    socket = folder / "socket"
    command = ["dockerd", f"--data-root={folder}/data", f"--exec-root={folder}/exec", f"--pidfile={folder}/pid"]
    command += [f"--host=unix://{socket}", "--bridge=none", "--iptables=false"]
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=_ENVIRON, stdout=output, stderr=output)
    try:
        with closing(_wait(f"unix://{socket}", process, log)) as client:
            yield DockerEngine(f"unix://{socket}", client, log)
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait(host: str, process: subprocess.Popen[bytes], log: Path) -> docker.APIClient:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        client = _client(host)
        if client is not None:
            return client
        time.sleep(0.1)
    last = "\n".join(log.read_text().splitlines()[-3:])
    pytest.skip(f"dockerd does not start on this machine: {last}")


def _client(host: str) -> docker.APIClient | None:
    if not Path(host.removeprefix("unix://")).exists():
        return None
    try:
        return docker.APIClient(base_url=host, version="auto", timeout=600)
    except DockerException:
        return None


@pytest.fixture(scope="session")
def python_base() -> PythonBase:
    """Made once by mmdebstrap, from the suite and the mirror that this machine's own packages come from."""
    tar = debian("extract")
    with tarfile.open(tar) as listing:
        found = [match[1] for name in listing.getnames() if (match := re.fullmatch(r"\./usr/bin/python(3\.\d+)", name))]
    return PythonBase(tar, found[0])


def debian(variant: str, architecture: str = "") -> Path:
    """A root file system with Python in a tar, made by mmdebstrap once: variant `extract` has nothing else, `apt` a shell too.

    It is for this machine's architecture unless another is named (arm64), of which it can only be the variant `extract`.
    """
    suite, mirror = _suite(), _mirror()
    if not shutil.which("mmdebstrap") or suite is None or mirror is None:
        pytest.skip("no base image can be made here: mmdebstrap (package mmdebstrap) is missing, or this is no Debian")
    recipe = ["mmdebstrap", "--quiet", f"--variant={variant}", "--format=tar", f"--include={_PACKAGES}", suite]
    if architecture:
        recipe.insert(1, f"--architectures={architecture}")

    def make(tar: Path) -> None:
        done = subprocess.run([*recipe, str(tar), mirror], env=_ENVIRON, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"no base image can be made here: mmdebstrap failed: {done.stderr[-300:]}")

    return cached("base", " ".join(recipe), make)


def cached(name: str, recipe: str, make: Callable[[Path], None]) -> Path:
    """What `make` puts at the path it gets, made once for each recipe on this machine; processes wait for one another."""
    path = _CACHE / f"{name}-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"
    _CACHE.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            arriving = path.with_suffix(".new")
            shutil.rmtree(arriving, ignore_errors=True)
            arriving.unlink(missing_ok=True)
            make(arriving)
            arriving.rename(path)
    return path


def machine_environ() -> dict[str, str]:
    """The environment that the tests were started in: for what a test needs of the machine's own settings."""
    return dict(_ENVIRON)


def _suite() -> str | None:
    release = Path("/etc/os-release")
    match = re.search(r"^VERSION_CODENAME=(\S+)", release.read_text(), re.MULTILINE) if release.is_file() else None
    return match[1] if match else None


def _mirror() -> str | None:
    """The first address of the machine's package sources, in either of their formats."""
    files = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*.*"))]
    for file in files:
        if file.suffix in (".list", ".sources") and file.is_file():
            match = re.search(r"^(?:URIs:|deb\b(?:\s+\[[^\]]*\])?)\s*(https?://\S+)", file.read_text(), re.MULTILINE)
            if match:
                return match[1]
    return None
