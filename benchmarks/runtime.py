"""The first runtime of a set of requirements: unpacked, and built by a Docker engine from the same lock, in one run.

Wheels are at hand for both, the base is in the registry, and an engine has it already. Each time the repository is empty.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import peers
from benchmarks.figures import Figure, Section
from promoter import config
from promoter.image.reference import ImageReference
from promoter.image.registry import RegistryRepository
from promoter.image.runtime.build import RuntimeBuilder
from promoter.models import Builder
from tests.support.docker_engine import debian, machine_environ
from tests.support.models import listing, model_version, store
from tests.support.registry_server import RegistryServer, running

_ROUNDS = 3
_REQUIREMENTS = ("mlflow", "scikit-learn")
_OLDER = "joblib<1.5"  # what changes when one pin does
_MEMORY = """
import sys
from benchmarks.memory import peak
from benchmarks.runtime import Bench
bench = Bench.from_json(sys.argv[1])
bench.make("unpack")  # whatever is imported on the way is imported, and connections are open
print(*peak(lambda: bench.make("unpack")))
"""


# What a worker imports before it loads a model of scikit-learn.
_IMPORTS = """
import time
started = time.perf_counter()
import promoter.serving.server, mlflow.pyfunc, sklearn.ensemble
print(time.perf_counter() - started)
"""


@dataclass(frozen=True)
class Made:
    """How long it took until the runtime was in its repository, and its reference there."""

    seconds: float
    reference: str


@dataclass(frozen=True)
class Bench:
    """A registry with a base in it, whose Python is `python`; `environ` is what promoter has of this machine."""

    host: str
    python: str
    environ: Mapping[str, str]

    @classmethod
    def from_json(cls, text: str) -> Bench:
        return cls(**json.loads(text))

    @property
    def json(self) -> str:
        return json.dumps({"host": self.host, "python": self.python, "environ": dict(self.environ)})

    def make(self, builder: str, *more: str, repository: str = "") -> Made:
        """The runtime in its repository, a new one unless named."""
        files = {
            "MLmodel": b"flavors: {}\n",
            "requirements.txt": "\n".join([*_REQUIREMENTS, *more]).encode(),
            "python_env.yaml": f"python: {self.python}.1\n".encode(),
        }
        target = RegistryRepository(ImageReference.parse(f"{self.host}/{repository or uuid.uuid4().hex}"), env=self.environ)
        with tempfile.TemporaryDirectory() as folder:
            image = config.load(_settings(Path(folder), f"{self.host}/base:1", builder)).image
            maker = RuntimeBuilder(target, image, self.environ, lambda _: None)
            started = time.perf_counter()
            found = maker(model_version(listing(files)), store(files).open)
            return Made(time.perf_counter() - started, f"{target.name}:{found.reference}")


def _settings(folder: Path, base: str, builder: str) -> Path:
    file = folder / config.FILE
    image = {"base": base, "runtime-builder": builder, "trial": False}
    environments = [{"name": "staging", "application": {"name": "x", "project": "x"}}]
    file.write_text(json.dumps({"models": {"m": {"image": "r.example.com/m"}}, "environments": environments, "image": image}))
    return file


def measure() -> Section:
    with tempfile.TemporaryDirectory() as name, peers.docker_engine() as docker:
        folder = Path(name)
        (folder / "registry").mkdir()
        with running(folder / "registry") as server, _bench(server, folder, docker) as bench:
            return _section(bench, server, docker)


@contextmanager
def _bench(server: RegistryServer, folder: Path, docker: Mapping[str, str] | None) -> Iterator[Bench]:
    """The base is this Debian's Python, alone."""
    tar, base = debian("extract"), f"{server.host}/base:1"
    python = _python(tar)
    if docker is None:
        raise SystemExit("no Docker engine: the base of this measurement is made with one")
    for command in (["import", str(tar), base], ["push", "--quiet", base]):
        subprocess.run(["docker", *command], env=docker, capture_output=True, check=True)
    kept = {key: value for key, value in machine_environ().items() if key.startswith(("PIP_", "UV_", "SSL_", "PATH", "HOME"))}
    environ = {**kept, "DOCKER_HOST": docker.get("DOCKER_HOST", ""), "XDG_CACHE_HOME": str(folder / "cache")}
    environ |= {"UV_CACHE_DIR": str(folder / "uv"), "PIP_CACHE_DIR": str(folder / "pip")}
    yield Bench(server.host, python, environ)


def _python(tar: Path) -> str:
    listed = subprocess.run(["tar", "-tf", str(tar)], capture_output=True, text=True, check=True).stdout.split()
    return next(name.rpartition("python")[2] for name in listed if name.startswith("./usr/bin/python3."))


def _section(bench: Bench, server: RegistryServer, docker: Mapping[str, str] | None) -> Section:
    bench.make(Builder.UNPACK)  # wheels are fetched, and the base is read
    ours = statistics.median(_told("unpacked", bench.make(Builder.UNPACK).seconds) for _ in range(_ROUNDS))
    kept = _images(docker)
    engine = statistics.median(_told("built", _built(bench, docker, kept)) for _ in range(_ROUNDS))
    bench.make(Builder.UNPACK, repository="pins")
    before = _blobs(server)
    pin = bench.make(Builder.UNPACK, _OLDER, repository="pins").seconds
    sent = sum(size for name, size in _blobs(server).items() if name not in before)
    done = subprocess.run([sys.executable, "-c", _MEMORY, bench.json], capture_output=True, text=True, check=True)
    imports = _imports({builder: bench.make(builder).reference for builder in (Builder.UNPACK, Builder.ENGINE)}, docker)
    above, peak = (int(kib) / 1024 for kib in done.stdout.split())
    return Section(
        title=f"The first runtime of {' and '.join(_REQUIREMENTS)} (median of {_ROUNDS})",
        rows=(
            ("unpacked, into an empty repository", f"{ours:.1f} s"),
            ("built by a Docker engine from the same lock, and pushed", f"{engine:.1f} s"),
            (f"unpacked again after a pin changed ({_OLDER}): sent", f"{sent / 2**20:.1f} MiB in {pin:.1f} s"),
            ("its imports, unpacked", f"{imports[Builder.UNPACK]:.2f} s"),
            ("its imports, built", f"{imports[Builder.ENGINE]:.2f} s"),
            ("peak memory of the process", f"{peak:.0f} MiB"),
        ),
        figures=(
            Figure("built / unpacked", engine / ours, at_least=5),
            Figure("imports, unpacked / built", imports[Builder.UNPACK] / imports[Builder.ENGINE], at_most=1.1),
            Figure("memory above the process", above, at_most=40, unit="MiB"),
        ),
        notes=(
            "Both resolve the lock again and read the same wheels.",
            "`mlflow models build-docker` needs Docker Hub, which is not reached here: not measured.",
        ),
    )


def _imports(images: Mapping[Builder, str], docker: Mapping[str, str] | None) -> dict[Builder, float]:
    """Seconds that the imports take in a container of each, the best of rounds in turn."""
    taken: dict[Builder, list[float]] = {builder: [] for builder in images}
    for _ in range(2 * _ROUNDS):
        for builder, image in images.items():
            command = ["docker", "run", "--rm", "--network=none", "--read-only", "--entrypoint=/opt/runtime/bin/python", image]
            done = subprocess.run([*command, "-c", _IMPORTS], env=docker, capture_output=True, text=True, check=True)
            taken[builder].append(float(done.stdout))
    return {builder: min(times) for builder, times in taken.items()}


def _built(bench: Bench, docker: Mapping[str, str] | None, kept: frozenset[str]) -> float:
    """Without what the engine has of an earlier round: it may be somebody's own engine, and what it had before is `kept`."""
    if others := sorted(_images(docker) - kept):
        subprocess.run(["docker", "rmi", "--force", *others], env=docker, capture_output=True, check=False)
    return bench.make(Builder.ENGINE).seconds


def _images(docker: Mapping[str, str] | None) -> frozenset[str]:
    command = ["docker", "images", "--quiet", "--all", "--no-trunc"]
    return frozenset(subprocess.run(command, env=docker, capture_output=True, text=True, check=True).stdout.split())


def _blobs(server: RegistryServer) -> dict[str, int]:
    return {str(path): path.stat().st_size for path in (server.root / "data").rglob("data")}


def _told(way: str, seconds: float) -> float:
    print(f"  {way}: {seconds:.1f} s", file=sys.stderr)
    return seconds
