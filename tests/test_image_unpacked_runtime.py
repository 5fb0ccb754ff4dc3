"""A runtime from an index and a registry alone: no engine is there, and none is asked for."""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from promoter import config
from promoter.errors import RefusedError
from promoter.image.base import BaseImage, Platform, read_base
from promoter.image.oci import CONFIG, LAYER, LAYER_GZIP, MANIFEST, Descriptor, Repository, canonical, section, sha256
from promoter.image.reference import ImageReference
from promoter.image.registry import RegistryRepository
from promoter.image.runtime.build import RuntimeBuilder
from promoter.image.runtime.unpacked import make
from promoter.image.runtime.unpacked.base_files import BaseFiles, read_files
from promoter.models import Builder
from promoter.promotion.clients import Clients
from tests.support.models import listing, model_version, store
from tests.support.package_index import serving_wheels, write_wheel
from tests.support.registry_server import RegistryServer, registry_server
from tests.test_image_runtime import settings

__all__ = ["registry_server"]

AMD64 = Platform("linux", "amd64")
PYTHON: dict[str, bytes | str] = {"usr/bin/python3": "python3.11", "usr/bin/python3.11": b"#!"}
# What the server and MLflow ask for, each as an empty package.
PACKAGES = [
    "mlflow_skinny",
    "numpy",
    "pandas",
    "pip",
    "httptools",
    "orjson",
    "prometheus_client",
    "starlette",
    "uvicorn",
    "shop",
]
FILES = {"requirements.txt": b"mlflow==3.17.2\nshop\n", "python_env.yaml": b"python: 3.11.7\n", "MLmodel": b"{}"}


def layer(files: dict[str, bytes | str]) -> bytes:
    """A tar of files and, for text, links; folders are not in it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            if isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
                archive.addfile(entry)
            else:
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def push_base(server: RegistryServer, name: str, *layers: bytes, media_type: str = LAYER_GZIP, **config: Any) -> str:
    """An image of these tars; returns its reference."""
    repository = RegistryRepository(ImageReference.parse(f"{server.host}/{name}"))
    packed = [gzip.compress(data, mtime=0) if media_type == LAYER_GZIP else data for data in layers]
    described = []
    for blob in packed:
        repository.write_blob([blob], len(blob))
        described.append(Descriptor(media_type, sha256(blob), len(blob)).as_json())
    document = canonical(
        {
            "os": "linux",
            "architecture": "amd64",
            "config": {"Env": ["PATH=/usr/bin"], "Cmd": ["python3"]},
            "rootfs": {"type": "layers", "diff_ids": [sha256(data) for data in layers]},
            **config,
        }
    )
    repository.write_blob([document], len(document))
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": Descriptor(CONFIG, sha256(document), len(document)).as_json(),
        "layers": described,
    }
    repository.create_manifest("1", canonical(manifest))
    return f"{server.host}/{name}:1"


def read(server: RegistryServer, reference: str, folder: Path) -> BaseFiles:
    repository = RegistryRepository(ImageReference.parse(reference))
    base = read_base(BaseImage(repository, "1"), AMD64)
    return read_files(base, repository, reference, {"XDG_CACHE_HOME": str(folder)})


@dataclass(frozen=True)
class World:
    registry: RegistryServer
    base: str
    environ: dict[str, str]
    said: list[str]
    wheels: Path

    def builder(self, repository: str, **changes: Any) -> RuntimeBuilder:
        target = RegistryRepository(ImageReference.parse(f"{self.registry.host}/{repository}"))
        image = settings(runtime_builder=Builder.UNPACK, base=self.base, **changes)
        return RuntimeBuilder(target, image, self.environ, self.said.append)


@pytest.fixture
def world(registry_server: RegistryServer, tmp_path: Path) -> Iterator[World]:
    wheels = tmp_path / "wheels"
    for name in PACKAGES:
        write_wheel(wheels, name, {"mlflow_skinny": "3.17.2", "shop": "1.0"}.get(name, "99.0"))
    base = push_base(registry_server, "unpacked-base", layer(PYTHON))
    with serving_wheels(wheels) as index:
        environ = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "PIP_INDEX_URL": index.url,
            "UV_CACHE_DIR": str(tmp_path / "uv"),
            "PIP_NO_CACHE_DIR": "1",
            "DOCKER_HOST": "unix:///nowhere.sock",
        }
        yield World(registry_server, base, environ, [], wheels)


def test_a_runtime_is_made_where_no_engine_is_and_found_ever_after(world: World) -> None:
    version, opened = model_version(listing(FILES)), store(FILES).open
    image = world.builder("unpacked/first")(version, opened)
    made = read_base(image, AMD64)
    assert image.reference.startswith("runtime-")
    config = section(made.config, "config")
    assert config["Entrypoint"] == ["/opt/runtime/bin/python", "-m", "promoter.serving"]
    assert config["Env"][0] == "PATH=/opt/runtime/bin:/usr/bin"
    assert config["Labels"]["io.github.model-promoter.runtime-key"] == image.reference.removeprefix("runtime-")
    names = contents(image.repository, made.layers[1:])
    assert {name.partition("/site-packages/")[2] for name in names if name.endswith(".py")} >= {"shop.py", "uvicorn.py"}
    assert not [name for name in names if "/pip" in name]
    assert names["opt/runtime/bin/python3"].linkname == "/usr/bin/python3"
    assert "opt/promoter/promoter/serving/__main__.py" in names
    world.said.clear()
    again = world.builder("unpacked/first")(version, opened)
    assert (again.reference, world.said) == (image.reference, [])
    # Another repository has the very same manifest: nothing in it depends on when or where.
    other = world.builder("unpacked/second")(version, opened)
    assert other.repository.read_manifest(other.reference) == image.repository.read_manifest(image.reference)
    world.builder("unpacked/second").attempt(other, version, opened)
    assert world.said[-1] == f"fraud-detector:7 is not loaded before it is published: nothing here can run {image.reference}"


def test_models_with_the_same_requirements_share_a_runtime_in_a_repository_of_its_own(world: World, tmp_path: Path) -> None:
    file = tmp_path / config.FILE
    host = world.registry.host
    document = {
        "models": {name: {"image": f"{host}/shared/{name}"} for name in ("fraud", "churn")},
        "environments": [{"name": "staging", "model": name, "application": {"name": name}} for name in ("fraud", "churn")],
        "image": {"base": world.base, "runtime-repository": f"{host}/shared/runtimes"},
    }
    file.write_text(json.dumps(document))
    clients = Clients(config.load(file), world.environ, world.said.append)
    version, opened = model_version(listing(FILES)), store(FILES).open
    first, second = (clients.publisher(clients.config.models[name]) for name in ("fraud", "churn"))
    image = first.ensure(version, opened)
    assert [line for line in world.said if line.startswith("unpacking")] == ["unpacking 9 packages"]
    world.said.clear()
    other = second.ensure(version, opened)
    assert not [line for line in world.said if line.startswith(("unpacking", "fetching"))]
    assert other.digest == image.digest
    runtimes = RegistryRepository(ImageReference.parse(f"{host}/shared/runtimes"))
    assert runtimes.read_manifest(f"runtime-{world.builder('shared/runtimes').recipe(version, opened).key}") is not None
    own = RegistryRepository(ImageReference.parse(f"{host}/shared/churn"))
    assert own.read_manifest(f"runtime-{world.builder('shared/churn').recipe(version, opened).key}") is None


def test_a_new_pin_sends_one_layer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make, "_OWN_LAYER", 1)  # every package is large
    before = read_base(world.builder("unpacked/pins")(model_version(listing(FILES)), store(FILES).open), AMD64)
    write_wheel(world.wheels, "shop", "1.1")
    files = {**FILES, "requirements.txt": b"mlflow==3.17.2\nshop==1.1\n"}
    after = read_base(world.builder("unpacked/pins")(model_version(listing(files)), store(files).open), AMD64)
    changed = [digest for digest in after.layers if digest not in before.layers]
    assert len(after.layers) == len(before.layers)
    assert len(changed) == 2  # the package's, and promoter's own, which has the lock
    assert "opt/runtime/requirements.lock" in contents(world.builder("unpacked/pins").target, (changed[-1],))


def contents(repository: Repository, layers: tuple[Descriptor, ...]) -> dict[str, tarfile.TarInfo]:
    found: dict[str, tarfile.TarInfo] = {}
    for blob in layers:
        data = gzip.decompress(b"".join(repository.read_blob(blob)))
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            found |= {entry.name: entry for entry in archive}
    return found


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"usr/bin/python3": "python3.12", "usr/bin/python3.12": b"#!"}, r"has Python 3\.12, the model needs Python 3\.11"),
        ({"usr/bin/sh": b"#!"}, "has no python3 in /usr/bin"),
    ],
)
def test_a_base_that_does_not_fit_is_refused_before_anything_is_fetched_or_sent(
    world: World, files: dict[str, bytes | str], told: str
) -> None:
    unfit = replace(world, base=push_base(world.registry, f"unpacked-odd-{len(files)}-{len(told)}", layer(files)))
    with pytest.raises(RefusedError, match=told) as refused:
        unfit.builder("unpacked/odd")(model_version(listing(FILES)), store(FILES).open)
    assert refused.value.hint
    assert not [line for line in world.said if "wheels" in line]


MUSL: dict[str, bytes | str] = {**PYTHON, "lib/ld-musl-x86_64.so.1": b""}
APK = b"C:Q1abc=\nP:busybox\nV:1.37.0-r12\n\nC:Q1def=\nP:musl\nV:1.2.5-r9\nA:x86_64\n\n"
GLIBC_WHEEL, MUSL_WHEEL = "cp311-cp311-manylinux_2_17_x86_64", "cp311-cp311-musllinux_1_2_x86_64"


def compiled_wheels(world: World, *tags: str) -> None:
    """The package `shop` for these platforms only."""
    (world.wheels / "shop-1.0-py3-none-any.whl").unlink()
    for tag in tags:
        write_wheel(world.wheels, "shop", "1.0", tag=tag)


def installed_tag(world: World, base: str, repository: str) -> str:
    image = replace(world, base=base).builder(repository)(model_version(listing(FILES)), store(FILES).open)
    data = b"".join(gzip.decompress(b"".join(image.repository.read_blob(blob))) for blob in read_base(image, AMD64).layers[1:])
    return data.partition(b"shop-1.0.dist-info/WHEEL")[2].partition(b"Tag: ")[2].partition(b"\n")[0].decode()


def test_a_base_with_musl_gets_wheels_for_musl_from_the_same_lock(world: World) -> None:
    compiled_wheels(world, GLIBC_WHEEL, MUSL_WHEEL)
    base = push_base(world.registry, "unpacked-musl", layer({**MUSL, "lib/apk/db/installed": APK}))
    assert installed_tag(world, base, "unpacked/musl") == MUSL_WHEEL
    assert installed_tag(world, world.base, "unpacked/musl") == GLIBC_WHEEL
    assert sum(line.startswith("resolving") for line in world.said) == 1


@pytest.mark.parametrize(
    ("files", "version"),
    [
        ({**MUSL, "lib/apk/db/installed": APK}, "1.2"),  # no such wheel is there at all
        (MUSL, "1.1"),  # what the base shows of its musl does not suffice for a wheel of 1.2
    ],
)
def test_a_package_without_a_wheel_for_the_musl_of_a_base_is_refused(
    world: World, files: dict[str, bytes | str], version: str
) -> None:
    compiled_wheels(world, GLIBC_WHEEL, *([MUSL_WHEEL] if version == "1.1" else []))
    unfit = replace(world, base=push_base(world.registry, f"unpacked-musl-{version}", layer(files)))
    told = f"with musl {version}: the index shows no such wheel of shop==1.0, which is in the lock"
    with pytest.raises(RefusedError, match=re.escape(told)) as refused:
        unfit.builder(f"unpacked/no-musl-{version}")(model_version(listing(FILES)), store(FILES).open)
    assert "image.constraints" in refused.value.hint


# -- what a base contains ---------------------------------------------------------------------------------------------


def test_layers_hide_and_replace_what_is_below_them(registry_server: RegistryServer, tmp_path: Path) -> None:
    below: dict[str, bytes | str] = {
        "a/gone": b"",
        "a/stays": b"",
        "b/one": b"",
        "b/two": b"",
        "c/x": b"",
        "d": "a",
        "etc/os-release": b"ID=debian\n",
    }
    above: dict[str, bytes | str] = {"a/.wh.gone": b"", "b/.wh..wh..opq": b"", "b/three": b"", "c": "/a", ".wh.d": b""}
    reference = push_base(registry_server, "layered", layer(below), layer(above))
    for _ in range(2):  # the second time from the cache
        files = read(registry_server, reference, tmp_path)
        assert sorted(files.nodes) == ["a/stays", "b/three", "c", "etc/os-release"]
        assert files.resolve("c/stays") == "a/stays"
        assert files.text("etc/os-release") == "ID=debian\n"
        assert files.path == "/usr/bin"
    kept = sorted((tmp_path / "promoter/bases").iterdir())
    assert len(kept) == 2
    for path in kept:
        path.write_text("no JSON")
    assert sorted(read(registry_server, reference, tmp_path).nodes) == ["a/stays", "b/three", "c", "etc/os-release"]


def test_a_listing_that_others_could_write_is_not_believed(registry_server: RegistryServer, tmp_path: Path) -> None:
    reference = push_base(registry_server, "listed", layer({"a": b""}))
    read(registry_server, reference, tmp_path)
    (kept,) = (tmp_path / "promoter/bases").iterdir()
    kept.write_text('{"b": {"kind": "file"}}')
    assert list(read(registry_server, reference, tmp_path).nodes) == ["b"]
    kept.parent.chmod(0o777)
    assert list(read(registry_server, reference, tmp_path).nodes) == ["a"]


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (b"no tar at all" * 100, LAYER_GZIP),
        (b"no gzip" * 100, LAYER_GZIP + "!"),
        (b"", LAYER + "+zstd"),
        (layer({"a": b"x"})[:300], LAYER),
    ],
)
def test_a_layer_that_can_not_be_read_is_refused(
    registry_server: RegistryServer, tmp_path: Path, data: bytes, media_type: str
) -> None:
    raw = media_type.endswith("!")
    name = f"broken-{len(data)}"
    reference = push_base(registry_server, name, data, media_type=LAYER if raw else media_type)
    repository = RegistryRepository(ImageReference.parse(reference))
    base = read_base(BaseImage(repository, "1"), AMD64)
    if raw:
        base = replace(base, layers=tuple(replace(blob, media_type=LAYER_GZIP) for blob in base.layers))
    with pytest.raises(RefusedError, match="can't be read"):
        read_files(base, repository, reference, {"XDG_CACHE_HOME": str(tmp_path)})
