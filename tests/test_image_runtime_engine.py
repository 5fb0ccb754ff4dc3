"""A registered version becomes an image that a real engine builds, pulls and runs; whatever is secret stays outside of it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import logging
import os
import socket
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import requests

from promoter import config
from promoter.errors import RefusedError, UnreachableError
from promoter.image.base import BaseImage, Platform, read_base
from promoter.image.layer import Open
from promoter.image.manifest import CONTENT_DIGEST, TITLE
from promoter.image.oci import CONFIG, LAYER, Descriptor, canonical, decode, objects, section, sha256
from promoter.image.reference import ImageReference, image_tag
from promoter.image.registry import RegistryRepository
from promoter.image.runtime.lock import resolve
from promoter.image.runtime.requirements import read_requirements
from promoter.image.runtime.wheels import download_wheels
from promoter.model_registry import ModelReference
from promoter.models import Image, ModelVersion
from promoter.promotion.clients import Clients
from tests.support.docker_engine import DockerEngine, PythonBase, cached, debian, docker_engine, machine_environ, python_base
from tests.support.full import few
from tests.support.mlflow_server import MlflowServer, sklearn_files
from tests.support.models import listing, model_version, store
from tests.support.package_index import TOKEN, PackageIndex, serving_wheels
from tests.support.registry_server import (
    PASSWORD,
    USERNAME,
    RegistryServer,
    private_registry_server,
    registry_server,
)
from tests.support.serving import orders_model, pixels_model, scaled_model, sklearn_model

__all__ = ["docker_engine", "private_registry_server", "python_base", "registry_server"]

pytestmark = [
    pytest.mark.xdist_group("docker-engine"),
    # What MLflow and pandas think of each other's newest release is not what is tested here.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

MODEL = "runtime-of-fraud"
TRACKING_TOKEN = "tracking-token-9b41d2"
AMD64 = Platform("linux", "amd64")


@pytest.fixture(scope="module")
def model_files(python_base: PythonBase) -> dict[str, bytes]:
    """A scikit-learn model, which claims that it was made with the Python that the base image has."""
    files = sklearn_files()
    files["requirements.txt"] += b"\nskops\n"
    files["python_env.yaml"] = f"python: {python_base.python}.1\n".encode()
    return files


@pytest.fixture(scope="module")
def index(model_files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Iterator[PackageIndex]:
    """An index of exactly the wheels that this model needs, fetched once with the settings of this machine."""
    requirements = read_requirements(model_version(listing(model_files)), store(model_files).open)
    environ = machine_environ()

    def make(folder: Path) -> None:
        lock = tmp_path_factory.mktemp("lock") / "requirements.lock"
        try:
            lock.write_text(resolve(requirements, AMD64, "", environ))
            download_wheels(lock, requirements.python, AMD64, folder, environ)
        except UnreachableError as error:
            pytest.skip(f"no package index is reachable from here: {error}")

    wheels = cached("wheels", json.dumps([requirements.python, *requirements.lines]), make)
    with serving_wheels(wheels) as served:
        yield served


@dataclass(frozen=True)
class World:
    """Registry with a password, index with a token, engine; `environ` is all that promoter knows of them."""

    folder: Path
    environ: dict[str, str]
    registry: RegistryServer
    base: str
    mlflow: MlflowServer
    said: list[str]

    def clients(self, image: Mapping[str, Any] | None = None, repository: str = "models/fraud", **environ: str) -> Clients:
        """As a command would have them, with this image section in promoter.yaml."""
        file = self.folder / config.FILE
        settings = {
            "models": {MODEL: {"image": f"{self.registry.host}/{repository}"}},
            "environments": [{"name": "staging", "application": {"name": "x"}}],
            "image": {"base": self.base, "runtime-builder": "engine", **(image or {})},
        }
        file.write_text(json.dumps(settings))
        return Clients(config.load(file), self.environ | environ, self.said.append)

    def version(self, number: str) -> ModelVersion:
        return self.clients().model_registry.resolve(ModelReference.parse(f"{MODEL}:{number}"))

    def ensure(self, clients: Clients, version: ModelVersion) -> Image:
        publisher = clients.publisher(clients.config.models[MODEL])
        return publisher.ensure(version, lambda file: clients.model_registry.open(version, file))

    def repository(self, name: str = "models/fraud") -> RegistryRepository:
        return RegistryRepository(ImageReference.parse(f"{self.registry.host}/{name}"), env=self.environ)


@pytest.fixture(scope="module")
def world(
    docker_engine: DockerEngine,
    python_base: PythonBase,
    index: PackageIndex,
    registry_server: RegistryServer,
    private_registry_server: RegistryServer,
    mlflow_server: MlflowServer,
    model_files: dict[str, bytes],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("runtime")
    login = base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
    (folder / "docker").mkdir()
    (folder / "docker/config.json").write_text(json.dumps({"auths": {private_registry_server.host: {"auth": login}}}))
    for _ in range(2):
        mlflow_server.register(MODEL, f"models:/{mlflow_server.log_model(model_files)}")
    base = f"{registry_server.host}/debian-python"
    docker_engine.client.import_image_from_file(str(python_base.tar), repository=base, tag=python_base.python)
    list(docker_engine.client.push(base, tag=python_base.python, stream=True, decode=True))
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "DOCKER_HOST": docker_engine.host,
        "DOCKER_CONFIG": str(folder / "docker"),
        "PIP_INDEX_URL": index.url,
        "MLFLOW_TRACKING_URI": mlflow_server.url.replace("://", f"://ci:{TRACKING_TOKEN}@"),
    }
    yield World(folder, environ, private_registry_server, base + ":{python}", mlflow_server, [])
    for image in docker_engine.client.images() if docker_engine.log is None else ():  # the tests' one goes with all it has
        for tag in image["RepoTags"] or ():
            if tag.startswith((f"{private_registry_server.host}/", f"{registry_server.host}/")):
                docker_engine.client.remove_image(tag, force=True)


@pytest.fixture(scope="module")
def first(world: World) -> Image:
    """The first version, published; the one time that a runtime with wheels is built."""
    records = logging.getLogger()
    handler = _Kept(world.said)
    level = records.level
    records.addHandler(handler)
    records.setLevel(logging.DEBUG)
    try:
        return world.ensure(world.clients(), world.version("1"))
    finally:
        records.removeHandler(handler)
        records.setLevel(level)


class _Kept(logging.Handler):
    """Every log record of every library, with what promoter prints."""

    def __init__(self, said: list[str]) -> None:
        super().__init__(logging.DEBUG)
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append(record.getMessage())


def test_image_is_pulled_and_serves_what_the_model_predicts(
    world: World, first: Image, docker_engine: DockerEngine, model_files: dict[str, bytes], tmp_path: Path
) -> None:
    assert not first.reused
    request = model_files["serving_input_example.json"]
    with running(docker_engine, world, first) as (url, container):
        answer = requests.post(f"{url}/predict", data=request, headers={"Content-Type": "application/json"}, timeout=60)
        assert answer.status_code == 200, answer.text
        assert answer.json() == {"predictions": predictions(model_files, request, tmp_path)}
        told = docker_engine.client.inspect_container(container)
    assert told["Config"]["User"] == "10001:10001"
    assert told["HostConfig"]["ReadonlyRootfs"] is True
    environment = dict(entry.split("=", 1) for entry in told["Config"]["Env"])
    assert environment["MODEL_DIGEST"] == first.content_digest
    assert "MLFLOW_TRACKING_URI" not in environment


KINDS: dict[str, tuple[Callable[[Path], Path], dict[str, Any]]] = {
    "scikit-learn": (sklearn_model, {"dataframe_split": {"columns": ["age", "amount"], "data": [[1, 0.5], [2, 1.5]]}}),
    "python function with params": (scaled_model, {"dataframe_records": [{"x": 1.5}, {"x": 2}], "params": {"factor": 3}}),
    "strings, dates and missing values": (
        orders_model,
        {
            "dataframe_split": {
                "columns": ["amount", "ordered", "customer"],
                "data": [[1.5, "2026-03-07", "bob"], [None, "2026-03-08", None]],
            }
        },
    ),
    "tensor": (pixels_model, {"inputs": [[1.0, 2.5], [3.0, 4.0]]}),
}
_ASK = """
import http.client, sys, time
def ask(*request):
    connection = http.client.HTTPConnection("127.0.0.1", 8000, timeout=60)
    connection.request(*request)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()
def ready():
    try:
        return ask("GET", "/ready")[0] == 200
    except OSError:
        return False
while not ready():  # it ends with the container
    time.sleep(0.1)
for _ in range(5):
    print(ask("POST", "/predict", sys.argv[1], {"Content-Type": "application/json"})[1])
"""


@pytest.mark.parametrize("builder", ["engine", "unpack"])
@pytest.mark.parametrize("kind", few(KINDS, "scikit-learn"))
def test_image_answers_as_the_model_does_with_no_network_and_no_rights(
    world: World,
    first: Image,
    docker_engine: DockerEngine,
    model_files: dict[str, bytes],
    tmp_path: Path,
    builder: str,
    kind: str,
) -> None:
    """With one model process and with two. The requirements are those of `first`, so that one runtime serves all kinds."""
    make, body = KINDS[kind]
    folder = make(tmp_path / "model")
    for name in ("requirements.txt", "python_env.yaml"):
        (folder / name).write_bytes(model_files[name])
    files = {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    number = world.mlflow.register(MODEL, f"models:/{world.mlflow.log_model(files)}")
    clients = world.clients({"runtime-builder": builder}, "models/fraud" if builder == "engine" else "models/unpacked")
    image = pull(docker_engine, world, world.ensure(clients, world.version(number)))
    expected = scoring_server_answer(folder, json.dumps(body))
    for workers in ("1", "2"):
        with isolated(docker_engine, image, {"WORKERS": workers}) as container:
            command = ["/opt/runtime/bin/python", "-c", _ASK, json.dumps(body)]
            asked = docker_engine.client.exec_create(container, command)["Id"]
            told = docker_engine.client.exec_start(asked).decode()
            assert [json.loads(line) for line in told.splitlines()] == [expected] * 5, workers


def test_an_unpacked_runtime_compiles_nothing_that_it_imports(world: World, docker_engine: DockerEngine) -> None:
    """Its bytecode may be another patch version's than the base's: all of a minor version read it."""
    clients = world.clients({"runtime-builder": "unpack"}, "models/unpacked")
    image = pull(docker_engine, world, world.ensure(clients, world.version("1")))
    told = run(docker_engine, image, ["-v", "-c", "import promoter.serving.server, mlflow.pyfunc, sklearn.ensemble"])
    read = [line for line in told.splitlines() if line.startswith("# code object from '/opt/")]
    assert len(read) > 500
    assert [line for line in read if not line.endswith(".pyc'")] == []


def test_what_is_in_a_runtime(world: World, first: Image, docker_engine: DockerEngine) -> None:
    """Neither pip nor wheels nor the build's folder; the lock, bytecode, the server, and labels that say where it came from."""
    look = """
import json, pathlib, importlib.util as u
site = pathlib.Path(next(pathlib.Path('/opt/runtime/lib').glob('python3*')), 'site-packages')
print(json.dumps({
    'pip': u.find_spec('pip') is not None,
    'wheels': [str(p) for p in pathlib.Path('/opt').rglob('*.whl')],
    'opt': sorted(p.name for p in pathlib.Path('/opt').iterdir()),
    'compiled': (site / 'uvicorn/__pycache__').is_dir(),
    'promoter': sorted(p.name for p in pathlib.Path('/opt/promoter/promoter').iterdir() if p.suffix == '.py' or p.name == 'serving'),
    'lock': '--hash=sha256:' in pathlib.Path('/opt/runtime/requirements.lock').read_text(),
    'bill': 'pkg:pypi/mlflow-skinny@' in pathlib.Path('/opt/runtime/sbom.cdx.json').read_text(),
}))
"""
    repository = world.repository()
    runtime = read_base(BaseImage(repository, "runtime"), AMD64)
    labels = section(section(runtime.config, "config"), "Labels")
    key = labels["io.github.model-promoter.runtime-key"]
    assert repository.read_manifest(f"runtime-{key}") == repository.read_manifest("runtime")
    assert "debian-python" in labels["io.github.model-promoter.runtime-base"]
    pulled = pull(docker_engine, world, first)
    assert json.loads(run(docker_engine, pulled, ["-c", look])) == {
        "pip": False,
        "wheels": [],
        "opt": ["model", "promoter", "runtime"],
        "compiled": True,
        "promoter": ["__init__.py", "serving"],
        "lock": True,
        "bill": True,
    }


def test_next_version_adds_one_layer_and_asks_no_engine(world: World, first: Image) -> None:
    blobs = blobs_of(world.registry)
    clients = world.clients(DOCKER_HOST="unix:///nowhere.sock", PIP_INDEX_URL="http://127.0.0.1:9/simple")
    second = world.ensure(clients, replace(world.version("2"), version="2"))
    assert not second.reused
    repository = world.repository()
    layers = [
        [
            layer["digest"]
            for layer in objects(decode(repository.read_manifest(image.tag) or b"", image.tag), "layers", image.tag)
        ]
        for image in (first, second)
    ]
    assert layers[0][:-1] == layers[1][:-1]
    new = {digest: size for digest, size in blobs_of(world.registry).items() if digest not in blobs}
    # The layer (unless both versions hold the same files), the config and the manifest.
    assert len(new) <= 3
    assert set(layers[1]) - set(blobs) <= set(new)


def test_no_secret_is_in_the_registry_or_in_any_log(
    world: World, first: Image, docker_engine: DockerEngine, index: PackageIndex
) -> None:
    """Every blob: layers unpacked, configs with their history, manifests with their annotations, the lock."""
    secrets = [TOKEN, TRACKING_TOKEN, PASSWORD, base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()]
    assert any(asked.startswith("/files/") for asked in index.asked)  # the index was used, with its token
    searched = 0
    for path in (world.registry.root / "data").rglob("data"):
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            stream = gzip.GzipFile(fileobj=raw) if packed else raw
            rest = b""
            while chunk := stream.read(1 << 22):
                assert not [secret for secret in secrets if secret.encode() in rest + chunk], path
                rest = chunk[-100:]
                searched += len(chunk)
    assert searched > first.size + 100_000_000
    talk = "\n".join(world.said) + (docker_engine.log.read_text() if docker_engine.log else "")
    assert "Step 1/" in talk
    assert not [secret for secret in secrets if secret in talk]


def test_build_of_the_whole_image_is_found_like_any_other(
    world: World, first: Image, docker_engine: DockerEngine, model_files: dict[str, bytes], tmp_path: Path
) -> None:
    """After `first` the engine has every step but the last."""
    clients, version = world.clients({"strategy": "build"}, "models/whole"), world.version("1")
    image = world.ensure(clients, version)
    assert (image.tag, image.content_digest, image.reused) == (first.tag, first.content_digest, False)
    manifest = decode(world.repository("models/whole").read_manifest(image.tag) or b"", image.tag)
    assert manifest["annotations"][TITLE] == MODEL
    assert manifest["annotations"][CONTENT_DIGEST] == first.content_digest
    without_engine = world.clients({"strategy": "build"}, "models/whole", DOCKER_HOST="unix:///nowhere.sock")
    found = without_engine.publisher(without_engine.config.models[MODEL]).find(version)
    assert found is not None
    assert found.digest == image.digest
    pulled = pull(docker_engine, world, image)
    assert run(docker_engine, pulled, ["-c", "print(open('/opt/model/MLmodel').read())"]) == model_files["MLmodel"].decode()
    # With it the server would download what is in the image.
    assert not [
        entry for entry in docker_engine.client.inspect_image(pulled)["Config"]["Env"] if entry.startswith("MODEL_URI=")
    ]
    history = docker_engine.client.history(pulled)
    assert history[0]["Comment"] == f"model {MODEL}:1"


BROKEN = {
    "raises": ("raise KeyError('feature_table_v2')", r"KeyError: 'feature_table_v2' \(at .*code\.py:\d+ "),
    "writes next to itself": ("open('/opt/cache', 'w')", "OSError: .*Read-only file system: '/opt/cache'"),
    "needs the network": ("import socket; socket.create_connection(('192.0.2.1', 80), 5)", "OSError: .*Network is unreachable"),
    "crashes": ("import os; os.kill(os.getpid(), 11)", r"its process was ended by SIGSEGV: File .*code\.py"),
    "ends the process": ("import os; os._exit(7)", "its process was ended with 7"),
}


@pytest.mark.parametrize("how", few(BROKEN, "raises", "needs the network"))
def test_a_model_that_can_not_be_loaded_is_refused_with_its_reason_and_nothing_is_published(
    world: World, first: Image, model_files: dict[str, bytes], tmp_path: Path, how: str
) -> None:
    """In a runtime that is built for it, whose steps the engine has from `first`, and in one that is there already."""
    line, reason = BROKEN[how]
    version, opened = broken(world, model_files, tmp_path, line)
    for repository in (f"models/broken-{list(BROKEN).index(how)}", "models/fraud"):
        clients = world.clients(repository=repository)
        before = blobs_of(world.registry)
        with pytest.raises(RefusedError, match=f"nothing is published: .*{reason}") as refused:
            clients.publisher(clients.config.models[MODEL]).ensure(version, opened)
        assert "image.trial: false" in refused.value.hint
        assert world.repository(repository).read_manifest(image_tag(version)) is None
        new = {digest for digest in blobs_of(world.registry) if digest not in before}
        assert len(new) <= 3, "more than the lock of its requirements"
    assert world.repository("models/broken-0").read_manifest("runtime") is None


def test_a_model_is_loaded_in_a_runtime_that_was_unpacked_before_its_image_is_published(
    world: World, first: Image, model_files: dict[str, bytes], tmp_path: Path
) -> None:
    """The engine pulls what was made without it."""
    line, reason = BROKEN["raises"]
    version, opened = broken(world, model_files, tmp_path, line)
    clients = world.clients({"runtime-builder": "unpack"}, "models/unpacked-broken")
    with pytest.raises(RefusedError, match=f"nothing is published: .*{reason}"):
        clients.publisher(clients.config.models[MODEL]).ensure(version, opened)
    assert world.repository("models/unpacked-broken").read_manifest(image_tag(version)) is None


def test_a_model_is_tried_once_for_an_image_and_never_for_one_that_is_there(
    world: World, first: Image, model_files: dict[str, bytes], tmp_path: Path
) -> None:
    version, opened = broken(world, model_files, tmp_path, "pass")
    for expected in (1, 0):
        world.said.clear()
        clients = world.clients(repository="models/tried")
        clients.publisher(clients.config.models[MODEL]).ensure(version, opened)
        assert len([line for line in world.said if line.startswith(f"loading {version.reference} in the image")]) == expected
    version, opened = broken(world, model_files, tmp_path, BROKEN["raises"][0])
    untried = world.clients({"trial": False}, "models/untried")
    assert not untried.publisher(untried.config.models[MODEL]).ensure(version, opened).reused
    assert f"{version.reference} is not tried: image.trial is false" in world.said


def broken(world: World, model_files: Mapping[str, bytes], folder: Path, line: str) -> tuple[ModelVersion, Open]:
    """A version whose code runs this line when it is loaded."""
    code = f"""\
import mlflow
class Model(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        {line}
    def predict(self, context, model_input, params=None):
        return [1.0]
mlflow.models.set_model(Model())
"""
    import mlflow.pyfunc

    (folder / "code.py").write_text(code)
    target = folder / f"model-{len(list(folder.iterdir()))}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.pyfunc.save_model(str(target), python_model=str(folder / "code.py"), pip_requirements=[])
    for name in ("requirements.txt", "python_env.yaml"):
        (target / name).write_bytes(model_files[name])
    files = {file.relative_to(target).as_posix(): file.read_bytes() for file in target.rglob("*") if file.is_file()}
    return model_version(listing(files), name=MODEL), store(files).open


BOOSTER = """\
import lightgbm, numpy
        rows = numpy.array([[1.0], [2.0]] * 20)
        self.booster = lightgbm.train({"verbose": -1}, lightgbm.Dataset(rows, rows[:, 0]), 1)
"""


def test_library_that_the_base_lacks_is_named_and_installed_by_image_packages(
    world: World,
    docker_engine: DockerEngine,
    python_base: PythonBase,
    registry_server: RegistryServer,
    model_files: dict[str, bytes],
    tmp_path: Path,
) -> None:
    """LightGBM on a base without libgomp.so.1; then on one with apt-get, which has a repository of its own."""
    wanted = {**model_files, "requirements.txt": model_files["requirements.txt"] + b"lightgbm\n"}
    version, opened = broken(world, wanted, tmp_path, BOOSTER)
    index = read_requirements(version, opened)
    wheels = cached("wheels", json.dumps([index.python, *index.lines]), lambda folder: fetched(version, opened, folder))
    with serving_wheels(wheels) as served:
        clients = world.clients(repository="models/booster", PIP_INDEX_URL=served.url)
        with pytest.raises(RefusedError) as refused:
            clients.publisher(clients.config.models[MODEL]).ensure(version, opened)
        assert "needs libgomp.so.1, which the base image does not have (Debian: libgomp1)" in refused.value.message
        assert refused.value.hint == "set image.packages: [libgomp1], or image.base to an image that has it"
        assert world.repository("models/booster").read_manifest("runtime") is None
        base = apt_base(docker_engine, python_base, registry_server, tmp_path / "apt")
        clients = world.clients({"base": base, "packages": ["libgomp1"]}, "models/booster", PIP_INDEX_URL=served.url)
        image = clients.publisher(clients.config.models[MODEL]).ensure(version, opened)
    look = "import lightgbm, pathlib; print(sorted(p.name for p in pathlib.Path('/var/lib/apt/lists').iterdir()))"
    assert run(docker_engine, pull(docker_engine, world, image), ["-c", look]) == "[]"


def test_packages_of_debian_are_unpacked_on_a_base_that_lacks_them(
    world: World, docker_engine: DockerEngine, registry_server: RegistryServer, model_files: dict[str, bytes], tmp_path: Path
) -> None:
    """LightGBM with libgomp1 from the mirror that this machine has, checked with the base's own keys; its trial loads it too."""
    wanted = {**model_files, "requirements.txt": model_files["requirements.txt"] + b"lightgbm\n"}
    version, opened = broken(world, wanted, tmp_path, BOOSTER)
    index = read_requirements(version, opened)
    wheels = cached("wheels", json.dumps([index.python, *index.lines]), lambda folder: fetched(version, opened, folder))
    base = f"{registry_server.host}/debian-with-sources"
    docker_engine.client.import_image_from_file(str(debian("apt")), repository=base, tag="1")
    list(docker_engine.client.push(base, tag="1", stream=True, decode=True))
    image = {"base": f"{base}:1", "packages": ["libgomp1"], "runtime-builder": "unpack"}
    with serving_wheels(wheels) as served:
        clients = world.clients(image, "models/booster-unpacked", PIP_INDEX_URL=served.url)
        try:
            made = clients.publisher(clients.config.models[MODEL]).ensure(version, opened)
        except UnreachableError as error:
            pytest.skip(f"no Debian archive is reachable from here: {error}")
        except RefusedError as error:
            if "needs gcc-" not in error.message:
                raise
            pytest.skip(f"the base that is kept on this machine is older than its archive: {error}")
    assert f"loading {version.reference} in the image, without network" in world.said
    look = """
import json, lightgbm, pathlib
bill = json.loads(pathlib.Path('/opt/runtime/sbom.cdx.json').read_text())
print([one['name'] for one in bill['components'] if one['purl'].startswith('pkg:deb')])
print('libgomp.so.1' in pathlib.Path('/proc/self/maps').read_text(), pathlib.Path('/lib').is_symlink())
"""
    pulled = pull(docker_engine, world, made)
    assert run(docker_engine, pulled, ["-c", look]).splitlines()[:2] == ["['libgomp1']", "True True"]


def fetched(version: ModelVersion, opened: Open, folder: Path) -> None:
    requirements = read_requirements(version, opened)
    lock = folder.with_suffix(".txt")
    try:
        lock.write_text(resolve(requirements, AMD64, "", machine_environ()))
        download_wheels(lock, requirements.python, AMD64, folder, machine_environ())
    except UnreachableError as error:
        pytest.skip(f"no package index is reachable from here: {error}")
    finally:
        lock.unlink(missing_ok=True)


def apt_base(engine: DockerEngine, base: PythonBase, registry: RegistryServer, folder: Path) -> str:
    """Debian's Python and apt-get, with libgomp1 and what it needs in a repository below /repository; its reference."""
    tar = debian("apt")
    (folder / "repository").mkdir(parents=True)
    environ = machine_environ()
    done = subprocess.run(
        ["apt-get", "download", "libgomp1", "gcc-12-base"],
        cwd=folder / "repository",
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"no Debian package can be fetched here: {done.stderr[-300:]}")
    listed = []
    for package in sorted((folder / "repository").glob("*.deb")):
        fields = subprocess.run(["dpkg-deb", "-f", str(package)], capture_output=True, text=True, check=True).stdout
        content = package.read_bytes()
        listed.append(
            f"{fields}Filename: ./{package.name}\nSize: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\n"
        )
    (folder / "repository" / "Packages").write_text("\n".join(listed))
    (folder / "Dockerfile").write_text(
        "FROM debian-with-apt:1\nCOPY repository /repository\n"
        'RUN rm -rf /etc/apt/sources.list* && echo "deb [trusted=yes] file:/repository ./" > /etc/apt/sources.list\n'
    )
    engine.client.import_image_from_file(str(tar), repository="debian-with-apt", tag="1")
    name = f"{registry.host}/debian-apt"
    said = list(engine.client.build(path=str(folder), tag=f"{name}:1", network_mode="none", rm=True, decode=True))
    assert not [line for line in said if "error" in line], said
    list(engine.client.push(name, tag="1", stream=True, decode=True))
    return f"{name}:1"


DOCKERFILE = """\
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
ARG MODEL_PYTHON
ARG TEAM
ARG MODEL_URI=none
ENV TEAM=${TEAM} URI=${MODEL_URI}
COPY .promoter/install.py notes/ /opt/notes/
COPY .promoter/server /opt/promoter
RUN ["python3", "-c", "import os, pathlib; pathlib.Path('/opt/made-for').write_text(os.environ['MODEL_PYTHON'])"]
"""


@pytest.fixture
def own(world: World) -> Path:
    """A user's own Dockerfile, which takes no wheels, with files next to it."""
    folder = world.folder / "own"
    (folder / "notes").mkdir(parents=True, exist_ok=True)
    (folder / "notes/kept.txt").write_text("kept")
    (folder / "notes/left.log").write_text("left")
    (folder / ".dockerignore").write_text("# logs\n**/*.log\n")
    (folder / "serving.Dockerfile").write_text(DOCKERFILE)
    return folder


def test_own_dockerfile_builds_the_runtime_and_its_context_is_in_the_key(
    world: World, own: Path, docker_engine: DockerEngine, python_base: PythonBase
) -> None:
    settings = {"dockerfile": "own/serving.Dockerfile", "build-args": {"TEAM": "fraud"}}
    clients, version = world.clients(settings, "models/own"), world.version("1")
    # An index that is not there: nothing is locked, for the Dockerfile takes neither lock nor wheels.
    clients = replace(clients, environ={**clients.environ, "PIP_INDEX_URL": "http://127.0.0.1:9/simple"})
    image = world.ensure(clients, version)
    pulled = pull(docker_engine, world, image)
    look = "import os, json; print(json.dumps([os.environ['TEAM'], os.environ['URI'], sorted(os.listdir('/opt/notes')), open('/opt/made-for').read()]))"
    told = json.loads(run(docker_engine, pulled, ["-c", look], python="/usr/bin/python3"))
    assert told == ["fraud", "none", ["install.py", "kept.txt"], python_base.python]
    asleep = replace(clients, environ={**clients.environ, "DOCKER_HOST": "unix:///nowhere.sock"})
    assert not world.ensure(asleep, world.version("2")).reused
    (own / "notes/left.log").write_text("ignored")
    runtime = asleep.publisher(asleep.config.models[MODEL])
    assert runtime.find(version) == replace(image, reused=True)
    (own / "notes/kept.txt").write_text("changed")
    with pytest.raises(UnreachableError, match=r"no Docker engine answers at unix:///nowhere\.sock"):
        world.ensure(asleep, replace(version, version="3"))


def test_whole_image_that_does_not_take_the_model_reports_where_it_is(
    world: World, own: Path, docker_engine: DockerEngine
) -> None:
    (own / "serving.Dockerfile").write_text(DOCKERFILE)
    settings = {"dockerfile": "own/serving.Dockerfile", "strategy": "build"}
    image = world.ensure(world.clients(settings, "models/own-whole"), world.version("1"))
    told = docker_engine.client.inspect_image(pull(docker_engine, world, image))["Config"]["Env"]
    assert {f"MODEL_URI=models:/{MODEL}/1", f"URI=models:/{MODEL}/1", f"MODEL_DIGEST={image.content_digest}"} <= set(told)
    assert image.size == 0


def test_base_with_another_python_is_refused_with_both_named(world: World, own: Path, python_base: PythonBase) -> None:
    text = 'ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nARG MODEL_PYTHON\nCOPY .promoter/install.py /\nRUN ["python3", "/install.py"]\n'
    (own / "serving.Dockerfile").write_text(text)
    clients = world.clients(
        {"dockerfile": "own/serving.Dockerfile", "base": world.base.format(python=python_base.python)}, "models/py"
    )
    files = {"requirements.txt": b"", "python_env.yaml": b"python: 3.9.2\n"}
    publisher = clients.publisher(clients.config.models[MODEL])
    with pytest.raises(RefusedError) as refused:
        publisher.ensure(model_version(listing(files), name=MODEL), store(files).open)
    assert refused.value.message == f"the base image has Python {python_base.python}, the model needs Python 3.9"
    assert "image.base" in refused.value.hint


def test_failing_step_is_reported_with_its_last_lines(world: World, own: Path) -> None:
    text = 'ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nRUN ["python3", "-c", "raise SystemExit(\'the vendor library is missing\')"]\n'
    (own / "serving.Dockerfile").write_text(text)
    with pytest.raises(RefusedError) as refused:
        world.ensure(world.clients({"dockerfile": "own/serving.Dockerfile"}, "models/failing"), world.version("1"))
    assert "returned a non-zero code: 1" in refused.value.message
    assert "  the vendor library is missing" in refused.value.message


def test_base_for_another_platform_is_refused_by_name(world: World, registry_server: RegistryServer) -> None:
    repository = RegistryRepository(ImageReference.parse(f"{registry_server.host}/arm-python"))
    layer = bytes(1024)
    repository.write_blob([layer], len(layer))
    image = canonical(
        {"os": "linux", "architecture": "arm64", "rootfs": {"type": "layers", "diff_ids": [sha256(layer)]}, "config": {}}
    )
    repository.write_blob([image], len(image))
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": Descriptor(CONFIG, sha256(image), len(image)).as_json(),
        "layers": [Descriptor(LAYER, sha256(layer), len(layer)).as_json()],
    }
    repository.create_manifest("3", canonical(manifest))
    clients = world.clients({"base": f"{registry_server.host}/arm-python:3"}, "models/arm")
    with pytest.raises(RefusedError, match=r"arm-python 3 is for linux/arm64, not for linux/amd64"):
        world.ensure(clients, world.version("1"))


def test_what_was_built_for_another_platform_is_refused_by_name(
    world: World, own: Path, docker_engine: DockerEngine, registry_server: RegistryServer
) -> None:
    """A Dockerfile that names its own base: only the engine knows what that is for."""
    name = f"{registry_server.host}/foreign"
    docker_engine.client.import_image_from_data(_tar(), repository=name, tag="1")
    image = docker_engine.client.inspect_image(f"{name}:1")
    assert image["Architecture"] == "amd64"
    (own / "serving.Dockerfile").write_text(f"FROM {name}:1\nENV A=1\n")
    clients = world.clients({"dockerfile": "own/serving.Dockerfile", "platform": "linux/arm64"}, "models/foreign")
    with pytest.raises(RefusedError, match="linux/arm64"):
        world.ensure(clients, world.version("1"))


def _tar() -> bytes:
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("empty"))
    return buffer.getvalue()


def blobs_of(registry: RegistryServer) -> dict[str, int]:
    return {
        f"sha256:{path.parent.name}": path.stat().st_size for path in (registry.root / "data").rglob("blobs/sha256/*/*/data")
    }


def pull(engine: DockerEngine, world: World, image: Image) -> str:
    """The image as a node gets it: by digest, from the registry, whatever the engine had of it."""
    auth = {"username": USERNAME, "password": PASSWORD}
    told = list(engine.client.pull(image.repository, tag=image.digest, stream=True, decode=True, auth_config=auth))
    assert not [line for line in told if "error" in line], told
    return f"{image.repository}@{image.digest}"


def run(engine: DockerEngine, image: str, arguments: list[str], python: str = "/opt/runtime/bin/python") -> str:
    settings = engine.client.create_host_config(network_mode="none", read_only=True)
    container = engine.client.create_container(image, arguments, entrypoint=[python], host_config=settings)["Id"]
    try:
        engine.client.start(container)
        code = engine.client.wait(container)["StatusCode"]
        output = engine.client.logs(container).decode()
        assert code == 0, output
        return output.removesuffix("\n")
    finally:
        engine.client.remove_container(container, force=True)


@contextmanager
def running(engine: DockerEngine, world: World, image: Image) -> Iterator[tuple[str, str]]:
    """The image's server as a pod runs it: nothing can be written but /tmp."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = engine.client.create_host_config(network_mode="host", read_only=True, tmpfs={"/tmp": ""})
    environment = {"PORT": str(port), "HOST": "127.0.0.1"}
    pulled = pull(engine, world, image)
    container = engine.client.create_container(pulled, environment=environment, host_config=settings)["Id"]
    try:
        engine.client.start(container)
        for _ in range(1200):
            assert engine.client.inspect_container(container)["State"]["Running"], engine.client.logs(container).decode()
            try:
                if requests.get(f"http://127.0.0.1:{port}/ready", timeout=5).status_code == 200:
                    break
            except requests.ConnectionError:
                pass
            time.sleep(0.1)
        else:
            raise AssertionError(engine.client.logs(container).decode())
        yield f"http://127.0.0.1:{port}", container
    finally:
        engine.client.remove_container(container, force=True)


@contextmanager
def isolated(engine: DockerEngine, image: str, environment: Mapping[str, str]) -> Iterator[str]:
    """The id of a container without network and capabilities, of a user that owns nothing; only /tmp can be written."""
    settings = engine.client.create_host_config(network_mode="none", read_only=True, cap_drop=["ALL"], tmpfs={"/tmp": ""})
    made = engine.client.create_container(image, environment=dict(environment), user="10001", host_config=settings)
    try:
        engine.client.start(made["Id"])
        yield made["Id"]
    finally:
        engine.client.remove_container(made["Id"], force=True)


def scoring_server_answer(folder: Path, body: str) -> Any:
    """What MLflow's own scoring server makes of `mlflow.pyfunc` in this process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow.pyfunc
        from mlflow.pyfunc.scoring_server import invocations

        model = mlflow.pyfunc.load_model(str(folder))
        answer = invocations(body.encode(), "application/json", model, model.metadata.get_input_schema())
    assert answer.status == 200, answer.response
    return json.loads(answer.response)


def predictions(files: Mapping[str, bytes], request: bytes, folder: Path) -> Any:
    """The model's own answer to the same rows."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow.pyfunc
        import pandas

        rows = json.loads(request)["dataframe_split"]
        return mlflow.pyfunc.load_model(str(folder)).predict(pandas.DataFrame(**rows)).tolist()
