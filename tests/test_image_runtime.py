"""What decides a runtime's key, what is put next to a Dockerfile, and what people see when the engine refuses."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from promoter.config import ImageConfig
from promoter.errors import AuthError, PromoterError, RefusedError, UnreachableError, UsageError
from promoter.image.base import Platform
from promoter.image.oci import CONFIG, LAYER, MANIFEST, Descriptor, canonical, sha256
from promoter.image.reference import ImageReference
from promoter.image.registry import RegistryRepository
from promoter.image.runtime.build import RuntimeBuilder
from promoter.image.runtime.context import BuildContext
from promoter.image.runtime.engine import Build, Engine
from promoter.image.runtime.recipe import Recipe
from promoter.models import Builder, Compress, Embed, Format, Strategy
from tests.support.fake_engine import FakeEngine, fake_engine
from tests.support.models import listing, model_version, store
from tests.support.registry_server import RegistryServer, registry_server

__all__ = ["registry_server"]

AMD64 = Platform("linux", "amd64")
FILES = {"requirements.txt": b"mlflow==3.17.2\n", "python_env.yaml": b"python: 3.11.7\n", "MLmodel": b"{}"}
IMAGE = ImageReference.parse("registry.example.com/models/fraud:runtime")


# -- the Dockerfile and its folder ------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's Dockerfile with files next to it."""
    context = tmp_path / "context"
    (context / "src").mkdir(parents=True)
    (context / "Dockerfile").write_text("FROM base:1\nCOPY src /src\n")
    (context / "src/run.py").write_text("print()")
    (context / "src/run.log").write_text("noise")
    (context / ".dockerignore").write_text("# noise\n\n**/*.log\n")
    return context


def test_context_is_what_docker_would_send_and_what_promoter_offers(folder: Path, tmp_path: Path) -> None:
    (folder / "src/link.py").symlink_to("run.py")
    target = tmp_path / "target"
    target.mkdir()
    dockerfile = BuildContext.load(folder / "Dockerfile").write(target)
    assert dockerfile.read_text() == (folder / "Dockerfile").read_text()
    found = {path.relative_to(target).as_posix() for path in target.rglob("*") if not path.is_dir()}
    assert {name for name in found if not name.startswith(".promoter/")} == {"Dockerfile", "src/run.py", "src/link.py"}
    assert (target / "src/link.py").is_symlink()
    assert {
        ".promoter/install.py",
        ".promoter/server/promoter/__init__.py",
        ".promoter/server/promoter/serving/__main__.py",
    } <= found
    assert not any("__pycache__" in name for name in found)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (lambda folder: (folder / "src/run.log").write_text("more noise"), True),
        (lambda folder: os.utime(folder / "src/run.py", (0, 0)), True),
        (lambda folder: (folder / "src/run.py").write_text("print(1)"), False),
        (lambda folder: (folder / "src/run.py").chmod(0o755), False),
        (lambda folder: (folder / "src/run.py").rename(folder / "src/ran.py"), False),
        (lambda folder: (folder / "src/link").symlink_to("run.py"), False),
        (lambda folder: (folder / "Dockerfile").write_text("FROM base:2\nCOPY src /src\n"), False),
        (lambda folder: (folder / ".dockerignore").unlink(), False),
    ],
)
def test_what_changes_a_context(change: Callable[[Path], object], same: bool, folder: Path) -> None:
    before = BuildContext.load(folder / "Dockerfile").digest()
    change(folder)
    assert (BuildContext.load(folder / "Dockerfile").digest() == before) is same


def test_a_folder_where_promoter_has_its_own_is_not_mixed_with_it(folder: Path, tmp_path: Path) -> None:
    (folder / ".promoter").mkdir()
    with pytest.raises(UsageError, match="is reserved for promoter's own files"):
        BuildContext.load(folder / "Dockerfile").write(tmp_path)


def test_dockerfile_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"image\.dockerfile .* can't be read: No such file"):
        BuildContext.load(tmp_path / "Dockerfile")


def test_the_shipped_dockerfile_takes_everything_and_stops_before_the_model() -> None:
    shipped = BuildContext.load(None)
    assert all(shipped.names(name) for name in ("wheels", "requirements.lock", "install.py", "server", "model"))
    assert all(shipped.takes(name) for name in ("BASE_IMAGE", "MODEL_PYTHON"))
    assert shipped.runtime_stage == "runtime"
    assert BuildContext("FROM x AS builder\nFROM builder\n").runtime_stage is None


# -- the key ----------------------------------------------------------------------------------------------------------


def base(server: RegistryServer, name: str, *, architecture: str = "amd64", env: str = "A=1") -> str:
    """Pushes an image of one empty layer; gives its reference."""
    repository = RegistryRepository(ImageReference.parse(f"{server.host}/{name}"))
    layer = bytes(1024)
    config = canonical(
        {
            "os": "linux",
            "architecture": architecture,
            "config": {"Env": [env]},
            "rootfs": {"type": "layers", "diff_ids": [sha256(layer)]},
        }
    )
    for blob in (layer, config):
        repository.write_blob([blob], len(blob))
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": Descriptor(CONFIG, sha256(config), len(config)).as_json(),
        "layers": [Descriptor(LAYER, sha256(layer), len(layer)).as_json()],
    }
    repository.create_manifest("1", canonical(manifest))
    return f"{server.host}/{name}:1"


def settings(**changes: Any) -> ImageConfig:
    plain = ImageConfig(
        runtime=None,
        runtime_repository=None,
        platform="linux/amd64",
        layout=None,
        insecure_registries=(),
        compress=Compress.NONE,
        format=Format.OCI,
        model=Embed.EMBED,
        embed_limit=None,
        base="python:{python}-slim",
        runtime_builder=Builder.ENGINE,
        packages=(),
        packages_mirror=None,
        ignore_conda=(),
        trial=True,
        constraints=None,
        dockerfile=None,
        build_args={},
        strategy=Strategy.LAYER,
        max_files=10_000,
        sources=(),
    )
    return replace(plain, **changes)


def builder(server: RegistryServer, image: ImageConfig, **environ: str) -> RuntimeBuilder:
    target = RegistryRepository(ImageReference.parse(f"{server.host}/models/keys"), env=environ)
    return RuntimeBuilder(target, image, environ, lambda _: None)


def recipe(server: RegistryServer, image: ImageConfig, files: Mapping[str, bytes] = FILES, *, whole: bool = False) -> Recipe:
    return builder(server, image).recipe(model_version(listing(files)), store(files).open, whole=whole)


DECLARES = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nARG MODEL_PYTHON\nARG MODEL_URI\nCOPY .promoter/requirements.in /\n"


def test_key_is_made_of_what_the_dockerfile_takes(registry_server: RegistryServer, folder: Path) -> None:
    dockerfile = folder / "Dockerfile"
    dockerfile.write_text(DECLARES)
    plain = settings(dockerfile=dockerfile, base=base(registry_server, "key-base"))
    key = recipe(registry_server, plain).key
    same = [recipe(registry_server, plain), recipe(registry_server, plain, whole=True)]
    same.append(recipe(registry_server, plain, {**FILES, "MLmodel": b"another"}))
    assert {made.key for made in same} == {key}
    others = [
        recipe(registry_server, replace(plain, base=base(registry_server, "patched-base", env="A=2"))),
        recipe(registry_server, replace(plain, build_args={"TEAM": "fraud"})),
        recipe(registry_server, plain, {**FILES, "python_env.yaml": b"python: 3.12.1"}),
        recipe(registry_server, plain, {**FILES, "requirements.txt": b"mlflow==3.18.0"}),
        recipe(
            registry_server,
            replace(plain, platform="linux/arm64", base=base(registry_server, "arm-base", architecture="arm64")),
        ),
    ]
    assert len({key, *(other.key for other in others)}) == 1 + len(others)
    dockerfile.write_text("FROM base:1\n")  # takes nothing of the model's
    another = {"requirements.txt": b"mlflow==3.18.0", "python_env.yaml": b"python: 3.12.1"}
    assert recipe(registry_server, plain, another).key == recipe(registry_server, plain).key


def test_build_arguments_and_labels_contain_nothing_of_one_version_in_a_runtime(
    registry_server: RegistryServer, folder: Path
) -> None:
    (folder / "Dockerfile").write_text(DECLARES)
    reference = base(registry_server, "key-base")
    wanted = settings(dockerfile=folder / "Dockerfile", base=reference, build_args={"TEAM": "fraud"})
    made, whole = recipe(registry_server, wanted), recipe(registry_server, wanted, whole=True)
    name, digest = reference.removesuffix(":1"), made.base.digest
    assert made.arguments == {"TEAM": "fraud", "BASE_IMAGE": f"{name}@{digest}", "MODEL_PYTHON": "3.11"}
    assert whole.arguments == {**made.arguments, "MODEL_URI": "models:/fraud-detector/7"}
    labels = {
        "io.github.model-promoter.runtime-key": made.key,
        "io.github.model-promoter.runtime-base": f"{reference}@{digest}",
    }
    assert made.labels == whole.labels == labels


@pytest.mark.parametrize(
    ("changes", "kind", "told"),
    [
        ({"base": "python"}, UsageError, "image.base python has neither tag nor digest"),
        ({"base": "Python:{python}"}, UsageError, "not an image reference"),
        ({"base": "{server}/missing:1"}, RefusedError, "missing has no 1"),
        (
            {"platform": "linux/arm64", "base": "{server}/key-base:1"},
            RefusedError,
            "key-base 1 is for linux/amd64, not for linux/arm64",
        ),
    ],
)
def test_bases_that_cannot_be_built_on(
    changes: dict[str, str], kind: type[PromoterError], told: str, registry_server: RegistryServer, folder: Path
) -> None:
    base(registry_server, "key-base")
    (folder / "Dockerfile").write_text(DECLARES)
    changes = {key: value.replace("{server}", registry_server.host) for key, value in changes.items()}
    with pytest.raises(kind) as refused:
        _ = recipe(registry_server, settings(dockerfile=folder / "Dockerfile", **changes)).key
    assert told in refused.value.message
    assert refused.value.hint


@pytest.mark.parametrize("host", ["unix:///nowhere/docker.sock", "tcp://127.0.0.1:9"])
def test_no_engine(host: str, registry_server: RegistryServer, folder: Path) -> None:
    (folder / "Dockerfile").write_text("FROM base:1\n")
    making = builder(registry_server, settings(dockerfile=folder / "Dockerfile"), DOCKER_HOST=host)
    with pytest.raises(UnreachableError, match=f"no Docker engine answers at {host}") as refused:
        making(model_version(listing(FILES)), store(FILES).open)
    assert "DOCKER_HOST" in refused.value.hint
    assert "image.runtime" in refused.value.hint


# -- what the engine answers ------------------------------------------------------------------------------------------


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with fake_engine() as faulty:
        yield faulty


def asking(engine: FakeEngine, kind: str, folder: Path, said: list[str] | None = None) -> object:
    with Engine({"DOCKER_HOST": engine.host, "DOCKER_CONFIG": "/nowhere"}, (said if said is not None else []).append) as asked:
        if kind == "pull":
            asked.pull(IMAGE)
            return None
        if kind == "push":
            return asked.push("sha256:abc", IMAGE)
        return asked.build(Build(folder, folder / "Dockerfile", AMD64))


def test_a_build_gets_the_logins_that_helpers_have(engine: FakeEngine, tmp_path: Path) -> None:
    """Run by promoter, with what they need: the SDK would hand them every token."""
    helper = tmp_path / "docker-credential-test"
    helper.write_text(
        f"""#!/bin/sh
/usr/bin/env >> {tmp_path}/seen
read host
[ "$host" != broken.example ] || exit 1
echo '{{"Username": "robot", "Secret": "hunter2-of-'$host'"}}'
"""
    )
    helper.chmod(0o755)
    auths = {"plain.example": {"auth": base64.b64encode(b"ada:secret-of-ada").decode()}, "https://index.docker.io/v1/": {}}
    helpers = {"helped.example": "test", "broken.example": "test"}
    (tmp_path / "config.json").write_text(json.dumps({"auths": auths, "credHelpers": helpers, "credsStore": "test"}))
    (tmp_path / "Dockerfile").write_text("FROM scratch")
    environ = {"DOCKER_HOST": engine.host, "DOCKER_CONFIG": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin"}
    engine.says["build"] = failed("no such base")
    with Engine(environ | {"ARGOCD_AUTH_TOKEN": "made-up"}, lambda _: None) as asked, pytest.raises(PromoterError):
        asked.build(Build(tmp_path, tmp_path / "Dockerfile", AMD64))
    (logins,) = engine.logins
    assert {name: login["password"] for name, login in logins.items()} == {
        "plain.example": "hunter2-of-plain.example",
        "https://index.docker.io/v1/": "hunter2-of-https://index.docker.io/v1/",
        "helped.example": "hunter2-of-helped.example",
    }
    assert "ARGOCD_AUTH_TOKEN" not in (tmp_path / "seen").read_text()


def failed(message: str, *lines: str) -> list[Mapping[str, Any]]:
    return [*({"stream": line + "\n"} for line in lines), {"errorDetail": {"message": message}, "error": message}]


@pytest.mark.parametrize(
    ("kind", "answer", "error", "told", "hint"),
    [
        ("pull", failed("manifest for x:1 not found: manifest unknown"), RefusedError, "manifest unknown", "exists"),
        ("pull", (404, "pull access denied for x, repository does not exist"), RefusedError, "does not exist", "name"),
        ("pull", (500, "Get https://x/v2/: dial tcp: lookup x: no such host"), UnreachableError, "no such host", "reach"),
        ("pull", (500, "http: server gave HTTP response to HTTPS client"), UsageError, "HTTP response", "insecure-registries"),
        ("push", failed("denied: requested access to the resource is denied"), AuthError, "can't push registry.example", "login"),
        ("push", failed("unauthorized: authentication required"), AuthError, "authentication required", "login"),
        ("push", failed("write /var/lib/x: no space left on device"), UnreachableError, "no space left", "docker system prune"),
        ("push", failed("received unexpected HTTP status: 500"), RefusedError, "HTTP status: 500", "log"),
        ("build", failed("returned a non-zero code: 1", "Step 1/2 : FROM x", "line", "\x1b[91mboom\x1b[0m"), RefusedError, "\n  boom", "last"),
        ("build", failed("returned a non-zero code: 1", "OSError: [Errno 28] No space left on device"), UnreachableError, "non-zero", "prune"),
        ("build", failed("returned a non-zero code: 1", "promoter: the base is wrong"), RefusedError, "the base is wrong", "image.base"),
        ("build", (500, "dockerfile parse error line 1: unknown instruction"), RefusedError, "parse error line 1", "log"),
    ],
)  # fmt: skip
def test_what_an_engine_reports_is_distinguished(
    kind: str, answer: Any, error: type[PromoterError], told: str, hint: str, engine: FakeEngine, folder: Path
) -> None:
    engine.says[kind] = answer
    with pytest.raises(error) as refused:
        asking(engine, kind, folder)
    assert told in refused.value.message
    assert hint in refused.value.hint
    assert engine.asked == [kind]


def test_result_for_another_platform_is_refused_by_name(engine: FakeEngine, folder: Path) -> None:
    engine.says["build"] = [{"stream": "Step 1/1 : FROM x\n"}, {"aux": {"ID": "sha256:abc"}}]
    engine.says["inspect"] = [{"Os": "linux", "Architecture": "arm64", "Variant": "v8"}]
    said: list[str] = []
    with pytest.raises(RefusedError, match="built an image for linux/arm64/v8, not for linux/amd64"):
        asking(engine, "build", folder, said)
    assert said == ["Step 1/1 : FROM x"]


def test_push_answers_the_digest_that_the_engine_reports(engine: FakeEngine, folder: Path) -> None:
    engine.says["push"] = [{"status": "Pushed"}, {"aux": {"Tag": "runtime", "Digest": "sha256:def", "Size": 1}}]
    assert asking(engine, "push", folder) == "sha256:def"
