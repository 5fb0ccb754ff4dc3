"""A published image is started on a real engine as a pod would start it, and what would not work there is refused by its reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from promoter.errors import RefusedError, UnreachableError
from promoter.image.runtime.engine import Engine
from promoter.image.smoke import Smoked, smoke
from promoter.models import Container, Image
from promoter.promotion.smoke import can_smoke, smoke_test
from tests.support.docker_engine import docker_engine, python_base
from tests.support.registry_server import private_registry_server, registry_server
from tests.test_image_runtime_engine import World, index, model_files, world
from tests.test_serving_smoke import made

__all__ = ["docker_engine", "index", "model_files", "private_registry_server", "python_base", "registry_server", "world"]

pytestmark = [pytest.mark.xdist_group("docker-engine"), pytest.mark.filterwarnings("ignore::DeprecationWarning")]

# Only in the server: the same model was loaded by the trial before it was published.
_SERVED = "self.served and "
_UNPACKED = {"runtime-builder": "unpack"}
_MIB = 1 << 20


def published(world: World, folder: Path, model_files: dict[str, bytes], predict: str, load: str = "pass") -> Image:
    """A version of this model, in an image on a runtime that all of them share."""
    model = made(folder, predict, load)
    for name in ("requirements.txt", "python_env.yaml"):
        (model / name).write_bytes(model_files[name])
    files = {file.relative_to(model).as_posix(): file.read_bytes() for file in model.rglob("*") if file.is_file()}
    number = world.mlflow.register("runtime-of-fraud", f"models:/{world.mlflow.log_model(files)}")
    return world.ensure(world.clients(_UNPACKED, "models/smoked"), world.version(number))


def smoked(world: World, image: Image, container: Container | None = None, seconds: int = 300) -> Smoked:
    with Engine(world.environ, world.said.append) as engine:
        return smoke(engine, image, container or Container(), world.said.append, seconds)


def test_an_image_that_works_is_measured(world: World, model_files: dict[str, bytes], tmp_path: Path) -> None:
    image = published(world, tmp_path, model_files, "return [1.0]")
    container = Container(2048 * _MIB, {"WORKERS": "2", "MODEL_DIGEST": "what an overlay has before the image is built"})
    found = smoked(world, image, container)
    assert found.skipped == ""
    assert found.memory is not None
    assert 50 * _MIB < found.memory < 2048 * _MIB
    assert str(found).startswith(f"ready in {found.seconds:g} s, {found.memory // _MIB} of 2048 MiB")
    tight = replace(found, limit=found.memory)
    assert tight.warning in str(tight)
    assert tight.warning
    assert not found.warning
    with Engine(world.environ, world.said.append) as engine:
        assert not engine.has(f"{image.repository}@{image.digest}"), "what was pulled for it is removed"


@pytest.mark.parametrize(
    ("predict", "load", "memory", "reason"),
    [
        ("return [1.0]", f"{_SERVED}__import__('socket').create_connection(('192.0.2.1', 80))", None, "Network is unreachable"),
        ("return [1.0]", f"{_SERVED}open('/opt/model/cache', 'w')", None, "Read-only file system"),
        ("return [2.0 if self.served else 1.0]", "pass", None, "otherwise than the model does"),
        ("return [1.0]", f"{_SERVED}bytearray(600 << 20)", 400 * _MIB, "needs more memory than 400 MiB, the limit of its pods"),
        ("return [1.0]", f"{_SERVED}time.sleep(3600)", None, "is not ready after 20 s"),
    ],
    ids=["network", "root", "answers otherwise", "memory", "never ready"],
)
def test_an_image_that_would_not_work_is_refused_by_its_reason(
    world: World, model_files: dict[str, bytes], tmp_path: Path, predict: str, load: str, memory: int | None, reason: str
) -> None:
    image = published(world, tmp_path, model_files, predict, load)
    with pytest.raises(RefusedError) as refused:
        smoked(world, image, Container(memory), 20 if "sleep" in load else 300)
    assert reason in refused.value.message
    assert image.reference in refused.value.message
    assert "smoke: false" in refused.value.hint


def test_what_is_started_depends_on_the_model_and_the_engine(
    world: World, model_files: dict[str, bytes], tmp_path: Path
) -> None:
    image = published(world, tmp_path, model_files, "return [1.0]")
    here = world.clients(_UNPACKED, "models/smoked")
    nowhere = world.clients(_UNPACKED, "models/smoked", DOCKER_HOST="unix:///nowhere.sock")
    [model] = here.config.models.values()
    assert can_smoke(here, model, image)
    assert not can_smoke(here, replace(model, smoke=False), image)
    assert not can_smoke(here, model, replace(image, size=0)), "the model is not in it"
    assert not can_smoke(nowhere, model, image)
    with pytest.raises(UnreachableError, match="no Docker engine answers"):
        can_smoke(nowhere, replace(model, smoke=True), image)
    assert not smoke_test(here, image, Container()).skipped
