"""A model put on a base that the registry has: promoter, curl, crane and docker against one registry in the same run.

`curl` is the limit: one PUT of a tar that is ready, under a digest that is known. The others start from the model's folder and
end with an image that can be pulled; docker's base is pulled already, and nothing is installed in its build.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import requests

from benchmarks import peers
from benchmarks.figures import Figure, Section
from benchmarks.promotion import write_path
from promoter.image.base import BaseImage
from promoter.image.oci import CONFIG, LAYER_GZIP, MANIFEST, Descriptor, canonical
from promoter.image.publish import Publisher
from promoter.image.reference import ImageReference
from promoter.image.registry import RegistryRepository
from promoter.models import ModelFile, ModelVersion
from tests.support.registry_server import RegistryServer, running

MIB = 1 << 20
SIZES = (10, 100, 1000)
ROUNDS = 5

LIMIT, OURS, CRANE, DOCKER = (
    "curl PUT of the ready tar",
    "promoter, in this process after imports",
    "tar and crane append",
    "docker build and push",
)
COMMAND = "promoter promote, the whole command, files from MLflow"
_BASE_LAYERS = 3
# Peak memory of a process that does nothing else, above what it has when everything is imported and nothing sent.
_MEMORY = """
import sys
from pathlib import Path
from benchmarks.append import Bench, Model
from benchmarks.memory import peak
from tests.support.registry_server import RegistryServer
bench, model = Bench(RegistryServer(sys.argv[1], Path("/")), "base", Path("/")), Model(Path(sys.argv[2]))
bench.publisher("warm").find(model.version())  # the connection is open, too
print(*peak(lambda: bench.promoter(model)))
"""


@dataclass(frozen=True)
class Model:
    """A model's folder with one large file."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, size: int) -> Model:
        """With that many MiB of weights."""
        folder.mkdir(parents=True)
        (folder / "MLmodel").write_text("flavors: {}\n")
        with (folder / "weights.bin").open("wb") as file:
            for _ in range(size):
                file.write(os.urandom(MIB))
        return cls(folder)

    def change(self) -> None:
        """Another content of the same size, so that nobody has any of it already."""
        with (self.folder / "weights.bin").open("r+b") as file:
            file.write(os.urandom(64))

    def version(self, etag: str | None = None) -> ModelVersion:
        files = tuple(
            ModelFile(path.name, path.stat().st_size, etag and f'"{etag}-{path.name}"') for path in self.folder.iterdir()
        )
        return ModelVersion("fraud-detector", "7", datetime(2026, 11, 22, tzinfo=UTC), self.folder.as_uri(), files)

    def open(self, file: ModelFile) -> io.BufferedReader:
        return (self.folder / file.path).open("rb")

    def tar(self, folder: Path) -> Path:
        """The folder as a layer."""
        layer = folder / "layer.tar"
        moved = f"s,^,opt/model/{self.folder.name}/,"
        subprocess.run(["tar", "--transform", moved, "-cf", str(layer), "-C", str(self.folder), "."], check=True)
        return layer


@dataclass(frozen=True)
class Bench:
    """One registry with a base in it; each way gives its seconds."""

    server: RegistryServer
    base: str
    folder: Path
    crane: str | None = None
    docker: Mapping[str, str] | None = None

    def repository(self, name: str) -> RegistryRepository:
        return RegistryRepository(ImageReference.parse(f"{self.server.host}/{name}"), env={"DOCKER_CONFIG": "/nowhere"})

    def publisher(self, name: str, elsewhere: Sequence[RegistryRepository] = ()) -> Publisher:
        base = BaseImage(self.repository(self.base), "1")
        return Publisher(self.repository(name), f"{self.server.host}/{name}", lambda *_: base, elsewhere=elsewhere)

    def curl(self, model: Model) -> float:
        layer = model.tar(self.folder)
        with layer.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        opened = requests.post(f"{self.server.url}/v2/curl/blobs/uploads/", timeout=30)
        where = f"{opened.headers['Location']}&digest=sha256:{digest}"
        command = ["curl", "--silent", "--fail", "-X", "PUT", "-T", str(layer), "-H", "Content-Type: application/octet-stream"]
        return _seconds(lambda: subprocess.run([*command, where], check=True))

    def promoter(self, model: Model) -> float:
        publisher = self.publisher(f"promoter-{uuid.uuid4().hex}")
        return _seconds(lambda: publisher.ensure(model.version(), model.open))

    def crane_append(self, model: Model) -> float:
        target = f"{self.server.host}/crane:{uuid.uuid4().hex}"

        def append() -> None:
            layer = model.tar(self.folder)
            options = ["-b", f"{self.server.host}/{self.base}:1", "-f", str(layer), "-t", target]
            subprocess.run([str(self.crane), "append", "--insecure", *options], capture_output=True, check=True)

        return _seconds(append)

    def docker_build(self, model: Model) -> float:
        target = f"{self.server.host}/docker:{uuid.uuid4().hex}"
        (model.folder / "Dockerfile").write_text(f"FROM {self.server.host}/{self.base}:1\nCOPY . /opt/model\n")

        def build() -> None:
            for command in (["build", "--quiet", "--no-cache", "-t", target, str(model.folder)], ["push", "--quiet", target]):
                subprocess.run(["docker", *command], env=self.docker, capture_output=True, check=True)

        try:
            return _seconds(build)
        finally:
            (model.folder / "Dockerfile").unlink()
            subprocess.run(["docker", "rmi", "--force", target], env=self.docker, capture_output=True, check=True)

    @property
    def ways(self) -> dict[str, Callable[[Model], float]]:
        """Those that this machine has."""
        ways: dict[str, Callable[[Model], float]] = {LIMIT: self.curl, OURS: self.promoter}
        if self.crane:
            ways[CRANE] = self.crane_append
        if self.docker:
            ways[DOCKER] = self.docker_build
        return ways

    @contextmanager
    def clean(self) -> Iterator[None]:
        """What is written in between is removed, so that the next one has to write it again."""
        blobs = self.server.root / "data/docker/registry/v2/blobs/sha256"
        before = set(blobs.glob("*/*"))
        yield
        for blob in set(blobs.glob("*/*")) - before:
            shutil.rmtree(blob)
        os.sync()


def measure(sizes: Sequence[int] = SIZES, rounds: int = ROUNDS) -> Section:
    """Best of `rounds`, the ways in turn; `sizes` in MiB."""
    with tempfile.TemporaryDirectory() as name, peers.docker_engine() as docker:
        folder = Path(name)
        (folder / "registry").mkdir()
        with running(folder / "registry") as server:
            bench = Bench(server, "base", folder, peers.crane(), docker)
            _push_base(bench.repository(bench.base))
            if docker:
                subprocess.run(["docker", "pull", "--quiet", f"{server.host}/base:1"], env=docker, check=True)
            return _section({size: _of_size(bench, size, rounds) for size in sizes}, bench)


@dataclass(frozen=True)
class Measured:
    """Seconds of each way, of the whole command, of a promotion by mount; MiB of memory above the process and in all."""

    best: Mapping[str, float]
    command: float
    mounted: float
    above: float
    peak: float


def _of_size(bench: Bench, size: int, rounds: int) -> Measured:
    model = Model.make(bench.folder / f"{size}-mib", size)
    best = dict.fromkeys(bench.ways, float("inf"))
    for number in range(rounds):
        for name, way in bench.ways.items():
            model.change()
            with bench.clean():
                best[name] = min(best[name], way(model))
            print(f"  {size} MiB, round {number + 1}, {name}: best {best[name]:.3f} s", file=sys.stderr)
    with bench.clean():
        memory = subprocess.run(
            [sys.executable, "-c", _MEMORY, bench.server.host, str(model.folder)], capture_output=True, text=True, check=True
        )
    above, peak = (int(kib) / 1024 for kib in memory.stdout.split())
    with bench.clean():
        mounted = _promotion(bench, model, rounds)
    shutil.rmtree(model.folder)
    (bench.folder / "layer.tar").unlink()
    return Measured(best, _command(bench, size, rounds), mounted, above, peak)


def _command(bench: Bench, size: int, rounds: int) -> float:
    """For versions that were never published."""
    best = float("inf")
    with write_path() as path:
        path.edit("promoter.yaml", "runtime: scratch", f"runtime: {bench.server.host}/{bench.base}:1")
        path.edit("promoter.yaml", "  layout: oci:images\n", "")
        path.edit("promoter.yaml", f"registry.example.com/models/{path.model}", f"{bench.server.host}/command-{size}")
        for _ in range(rounds):
            version = path.register(os.urandom(64) + bytes(size * MIB))
            command = path.command("promote", f"{path.model}:{version}", "--to", "staging", "--no-watch", "--no-render")
            with bench.clean():
                run = partial(subprocess.run, command, env=path.environ, capture_output=True, check=True)
                best = min(best, _seconds(run))
    return best


def _promotion(bench: Bench, model: Model, rounds: int) -> float:
    """To another repository of the same registry, by mount."""
    version = model.version("etag")
    bench.publisher("staging").ensure(version, model.open)
    best = float("inf")
    for number in range(rounds):
        publisher = bench.publisher(f"production-{number}", [bench.repository("staging")])
        started = time.perf_counter()
        copied = publisher.ensure(version, model.open)
        best = min(best, time.perf_counter() - started)
        assert copied.sent == 0
        assert copied.copied_from
    return best


def _seconds(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def _push_base(repository: RegistryRepository) -> None:
    """Three layers of 16 MiB that do not compress: a base's size is not what is measured."""
    layers, diff_ids = [], []
    for number in range(_BASE_LAYERS):
        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode="w") as files:
            member = tarfile.TarInfo(f"usr/lib/{number}")
            member.size = 16 * MIB
            files.addfile(member, io.BytesIO(os.urandom(member.size)))
        packed = gzip.compress(tar.getvalue(), 1)
        diff_ids.append("sha256:" + hashlib.sha256(tar.getvalue()).hexdigest())
        layers.append(Descriptor(LAYER_GZIP, repository.write_blob([packed], len(packed)), len(packed)).as_json())
    rootfs = {"type": "layers", "diff_ids": diff_ids}
    config = canonical({"os": "linux", "architecture": "amd64", "config": {"Cmd": ["/serve"]}, "rootfs": rootfs})
    described = Descriptor(CONFIG, repository.write_blob([config], len(config)), len(config)).as_json()
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": layers}
    repository.create_manifest("1", canonical(manifest))


# -- what it shows ----------------------------------------------------------------------------------------------------


def _section(measured: Mapping[int, Measured], bench: Bench) -> Section:
    sizes = sorted(measured)
    first, last = measured[sizes[0]], measured[sizes[-1]]
    rows = {name: {size: f"{measured[size].best[name]:.3f} s" for size in sizes} for name in bench.ways} | {
        COMMAND: {size: f"{measured[size].command:.2f} s" for size in sizes},
        "promotion to another repository, by mount": {size: f"{measured[size].mounted * 1000:.0f} ms" for size in sizes},
        "memory above the process before its first byte": {size: f"{measured[size].above:.1f} MiB" for size in sizes},
        "peak memory of that process": {size: f"{measured[size].peak:.1f} MiB" for size in sizes},
    }
    figures = [figure for size in sizes if size in _BARS for figure in _ratios(size, measured[size].best)]
    figures += [
        Figure(f"memory above the process, {sizes[-1]} MiB", last.above, at_most=40, unit="MiB"),
        Figure(f"peak memory, {sizes[-1]} MiB / {sizes[0]} MiB", last.peak / first.peak, at_most=1.1),
        Figure(f"promotion by mount, {sizes[-1]} MiB", last.mounted * 1000, at_most=100, unit="ms"),
    ]
    missing = (f"{name}: not on this machine, not measured." for name in (CRANE, DOCKER) if name not in bench.ways)
    return Section(
        title="A model appended to a base in a registry (best of runs in turn)",
        rows=tuple((name, ", ".join(f"{size} MiB: {value}" for size, value in row.items())) for name, row in rows.items()),
        figures=tuple(figures),
        notes=(
            "Everything is on one machine, over loopback: no TLS, no distance.",
            "curl's PUT sends what is ready, and most of its time is the registry's own: a bar for crane or docker above",
            "their ratio to curl can't be met on this machine by anybody who sends the same bytes.",
            f"{', '.join(_versions(bench))}.",
            *missing,
        ),
    )


# By size: at most so many times the limit, at least so many times faster than crane and docker.
_BARS = {100: (1.5, 1.8, 10.0), 1000: (1.15, 1.8, 15.0)}


def _ratios(size: int, best: Mapping[str, float]) -> Iterator[Figure]:
    limit, crane, docker = _BARS[size]
    yield Figure(f"promoter / curl, {size} MiB", best[OURS] / best[LIMIT], at_most=limit)
    if CRANE in best:
        yield Figure(f"{CRANE} / promoter, {size} MiB", best[CRANE] / best[OURS], at_least=crane)
    if DOCKER in best:
        yield Figure(f"{DOCKER} / promoter, {size} MiB", best[DOCKER] / best[OURS], at_least=docker)


def _versions(bench: Bench) -> Iterator[str]:
    yield peers.printed(["docker-registry", "--version"], os.environ)
    yield " ".join(peers.printed(["curl", "--version"], os.environ).split()[:2])
    if bench.crane:
        yield peers.crane_version(bench.crane)
    if bench.docker:
        yield "Docker Engine " + peers.printed(["docker", "version", "--format", "{{.Server.Version}}"], bench.docker)
