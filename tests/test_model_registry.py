"""Against a real MLflow server, and the same facts through MLflow's own client."""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from promoter.errors import ExitCode, PromoterError, RefusedError, UnreachableError, UsageError
from promoter.model_registry import ModelReference, ModelRegistry, connect
from promoter.model_registry import settings as mlflow_settings
from promoter.model_registry.client import ClientStore
from tests.support.mlflow_server import MlflowServer

if TYPE_CHECKING:
    from promoter.models import ModelVersion

MLMODEL = b"flavors:\n  python_function: {loader_module: mlflow.sklearn}\n"


def resolve(server: MlflowServer, reference: str, *sources: str) -> ModelVersion:
    return connect(server.environ, sources=sources).resolve(ModelReference.parse(reference))


def without_etags(version: ModelVersion) -> ModelVersion:
    return replace(version, files=tuple(replace(file, etag=None) for file in version.files))


def read(registry: ModelRegistry, version: ModelVersion, path: str) -> bytes:
    file = next(file for file in version.files if file.path == path)
    content = bytearray()
    with registry.open(version, file) as stream:
        while chunk := stream.read(64 * 1024):
            content += chunk
    return bytes(content)


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """MLflow's client is set up in the process's environment, which is put back as it was."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def test_resolves_an_alias_to_everything_about_the_version(mlflow_server: MlflowServer) -> None:
    mlflow_server.train("whole", metrics={"auc": 0.8})
    mlflow_server.train("whole", alias="champion", metrics={"auc": 0.9, "loss": 0.25}, validation_status="approved")
    version = resolve(mlflow_server, "whole@champion")
    assert version.reference == "whole:2"
    assert version.aliases == ("champion",)
    assert version.tags == {"validation_status": "approved"}
    assert version.metrics == {"auc": 0.9, "loss": 0.25}
    assert (version.stage, version.description) == (None, "")
    assert version.flavors == ("python_function", "sklearn")
    assert version.signature is not None
    assert [column["name"] for column in version.signature.inputs] == ["x", "y"]
    assert [line.partition("==")[0] for line in version.requirements] == ["mlflow", "scikit-learn"]
    assert {"MLmodel", "requirements.txt", "model.skops", "serving_input_example.json"} <= {file.path for file in version.files}
    assert all(file.etag for file in version.files)
    stored = mlflow_server.api("GET", "model-versions/get", name="whole", version="2")["model_version"]
    assert version.created.timestamp() * 1000 == pytest.approx(stored["creation_timestamp"], abs=0.5)
    assert version.run_id == stored["run_id"]
    assert f"models:/{version.model_id}" == stored["source"]
    assert version.artifact_uri == f"mlflow-artifacts:/0/models/{version.model_id}/artifacts"


def test_resolving_again_gives_the_same_until_a_file_is_changed_in_place(mlflow_server: MlflowServer) -> None:
    mlflow_server.train("again")
    first = resolve(mlflow_server, "again:1")
    assert resolve(mlflow_server, "again:1") == first
    mlflow_server.put(first.artifact_uri, {"model.skops": b"another model"})
    changed = {file.path: file for file in resolve(mlflow_server, "again:1").files}
    before = {file.path: file for file in first.files}
    assert changed["model.skops"] != before["model.skops"]
    assert {path for path in before if changed[path] != before[path]} == {"model.skops"}


def test_names_of_every_kind(mlflow_server: MlflowServer) -> None:
    model = mlflow_server.log_model({"MLmodel": MLMODEL})
    for name in ("prod.ml.fraud", "Détection de fraude", "a%2Fb", "a@b", "A_B.c & d?e=f#g"):
        mlflow_server.register(name, f"models:/{model}", alias="champion")
        assert resolve(mlflow_server, f"{name}@champion").reference == f"{name}:1"
        assert connect(mlflow_server.environ).version_of(name, "champion") == "1"


def test_stages_name_a_version_too(mlflow_server: MlflowServer) -> None:
    model = mlflow_server.log_model({"MLmodel": MLMODEL})
    for _ in range(3):
        mlflow_server.register("staged", f"models:/{model}", alias="newest")
    mlflow_server.set_stage("staged", "2", "Production")
    version = resolve(mlflow_server, "staged/Production")
    assert (version.version, version.stage, version.aliases) == ("2", "Production", ())
    assert resolve(mlflow_server, "staged@stage/Production") == version
    registry = connect(mlflow_server.environ)
    assert registry.version_of("staged", "stage/production") == "2"
    assert registry.version_of("staged", "stage/Staging") is None
    mlflow_server.set_alias("staged", "newest", "3")
    assert registry.version_of("staged", "newest") == "3"


def test_a_copied_version_has_the_files_of_its_source(mlflow_server: MlflowServer) -> None:
    mlflow_server.train("dev.copied", metrics={"auc": 0.7})
    mlflow_server.register("prod.copied", "models:/dev.copied/1", alias="champion")
    source, copy = resolve(mlflow_server, "dev.copied:1"), resolve(mlflow_server, "prod.copied@champion")
    assert copy.files == source.files
    assert copy.model_id == source.model_id
    assert copy.created > source.created


def test_streams_large_files_in_folders(mlflow_server: MlflowServer) -> None:
    large = os.urandom(3_000_000)
    files = {
        "MLmodel": MLMODEL,
        "code/a b/ü.py": b"pass",
        "weights/large.bin": large,
        "empty": b"",
        "registered_model_meta": b"x",
    }
    mlflow_server.register("folders", f"models:/{mlflow_server.log_model(files)}")
    registry = connect(mlflow_server.environ)
    version = registry.resolve(ModelReference.parse("folders:1"))
    assert [(file.path, file.size) for file in version.files] == [
        ("MLmodel", len(MLMODEL)),
        ("code/a b/ü.py", 4),
        ("empty", 0),
        ("weights/large.bin", 3_000_000),
    ]
    assert hashlib.sha256(read(registry, version, "weights/large.bin")).digest() == hashlib.sha256(large).digest()
    assert read(registry, version, "code/a b/ü.py") == b"pass"
    assert read(registry, version, "empty") == b""


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("missing@champion", "no registered model 'missing'"),
        ("missing:1", "no registered model 'missing'"),
        ("missing/Production", "no registered model 'missing'"),
        ("present@champion", "has no present@champion"),
        ("present:9", "has no present:9"),
        ("present/Production", "has no present/Production"),
        ("present", "present names no version"),
    ],
)
def test_what_is_named_wrongly_is_a_usage_error(mlflow_server: MlflowServer, reference: str, message: str) -> None:
    mlflow_server.register("present", f"models:/{mlflow_server.log_model({'MLmodel': MLMODEL})}", alias="challenger")
    with pytest.raises(UsageError, match=message) as raised:
        resolve(mlflow_server, reference)
    assert raised.value.exit_code == ExitCode.USAGE
    assert raised.value.hint


def test_a_version_that_is_not_ready_is_refused(mlflow_server: MlflowServer) -> None:
    mlflow_server.register("pending", f"models:/{mlflow_server.log_model({'MLmodel': MLMODEL})}")
    mlflow_server.set_status("pending", "1", "FAILED_REGISTRATION", "copy was interrupted")
    with pytest.raises(RefusedError, match=r"pending:1 is FAILED_REGISTRATION.*: copy was interrupted") as raised:
        resolve(mlflow_server, "pending:1")
    assert raised.value.exit_code == ExitCode.REFUSED


@pytest.mark.parametrize("status", ["LOGGED_MODEL_PENDING", "LOGGED_MODEL_UPLOAD_FAILED"])
def test_a_version_of_an_unfinished_logged_model_is_refused(mlflow_server: MlflowServer, status: str) -> None:
    name = f"unfinished-{status}"
    mlflow_server.register(name, f"models:/{mlflow_server.log_model({'MLmodel': MLMODEL}, status=status)}")
    with pytest.raises(RefusedError, match=f"not READY but {status}"):
        resolve(mlflow_server, f"{name}:1")


def test_a_version_without_mlmodel_is_refused(mlflow_server: MlflowServer) -> None:
    for files in ({}, {"model.pkl": b"x"}, {"sub/MLmodel": MLMODEL}):
        version = mlflow_server.register("bare", f"models:/{mlflow_server.log_model(files)}")
        with pytest.raises(RefusedError, match=f"bare:{version} has no MLmodel file in mlflow-artifacts:/"):
            resolve(mlflow_server, f"bare:{version}")


def test_a_folder_that_is_not_on_this_machine_is_unreachable(mlflow_server: MlflowServer, tmp_path: Path) -> None:
    version = _in_folder(mlflow_server, tmp_path, "elsewhere")
    (tmp_path / "models").rename(tmp_path / "gone")
    with pytest.raises(UnreachableError, match="does not exist on this machine"):
        resolve(mlflow_server, f"elsewhere:{version}", str(tmp_path))


@pytest.mark.parametrize("target", ["/etc/passwd", "/etc", "inside", "MLmodel", "nowhere"])
def test_a_link_in_the_model_s_folder_is_refused(mlflow_server: MlflowServer, tmp_path: Path, target: str) -> None:
    name = f"linked-{Path(target).name}"
    version = _in_folder(mlflow_server, tmp_path, name)
    folder = next(tmp_path.rglob("MLmodel")).parent
    (folder / "inside").mkdir()
    (folder / "link").symlink_to(target)
    with pytest.raises(RefusedError, match="link is a link, in the model's folder"):
        resolve(mlflow_server, f"{name}:{version}", tmp_path.as_uri())


def test_latest_is_the_newest_version_and_a_number_that_does_not_exist_names_it(
    mlflow_server: MlflowServer, tmp_path: Path
) -> None:
    for number in range(11):
        mlflow_server.register("newest", f"models:/{mlflow_server.log_model({'MLmodel': MLMODEL})}")
        if number == 4:
            mlflow_server.set_stage("newest", "5", "Production")
    database = connect({"HOME": str(tmp_path), "MLFLOW_TRACKING_URI": f"sqlite:///{mlflow_server.database}"})
    mlflow_server.api("POST", "registered-models/create", name="empty")
    for registry in (connect(mlflow_server.environ), database):
        with pytest.raises(UsageError, match="has no newest:12") as refused:
            registry.resolve(ModelReference.parse("models:/newest/12"))
        assert refused.value.hint == "the newest version of newest is 11"
        for reference in ("empty:1", "empty/latest"):
            with pytest.raises(UsageError, match=f"has no {reference}") as refused:
                registry.resolve(ModelReference.parse(reference))
            assert refused.value.hint == "empty has no version yet: register one"
    assert resolve(mlflow_server, "models:/newest/latest").version == "11"


def test_an_alias_in_any_alphabet_is_resolved(mlflow_server: MlflowServer) -> None:
    mlflow_server.register("alphabet", f"models:/{mlflow_server.log_model({'MLmodel': MLMODEL})}", alias="gültig_2")
    assert resolve(mlflow_server, "alphabet@gültig_2").version == "1"


@pytest.mark.parametrize("scheme", ["sqlite", "sqlite+pysqlite"])
def test_a_database_that_does_not_exist_is_refused_and_not_made(tmp_path: Path, scheme: str) -> None:
    missing = tmp_path / "typo.db"
    environ = {"HOME": str(tmp_path), "MLFLOW_TRACKING_URI": f"{scheme}:///{missing}"}
    with pytest.raises(UsageError, match=f"database {missing} does not exist"):
        connect(environ).resolve(ModelReference.parse("iris@champion"))
    assert list(tmp_path.iterdir()) == []


# -- MLflow's own client ----------------------------------------------------------------------------------------------


def _in_folder(server: MlflowServer, folder: Path, name: str) -> str:
    """A version whose files lie in a folder that the server and promoter both see."""
    experiment = server.create_experiment(name, (folder / "models").as_uri())
    run = server.create_run({"auc": 0.5})
    model = server.log_model(experiment_id=experiment, run_id=run)
    return server.register(name, f"models:/{model}", run_id=run, alias="champion", team="risk")


def test_a_database_gives_what_the_server_gives(mlflow_server: MlflowServer, tmp_path: Path) -> None:
    _in_folder(mlflow_server, tmp_path, "embedded")
    mlflow_server.set_stage("embedded", "1", "Staging")
    registry = connect({"HOME": str(tmp_path), "MLFLOW_TRACKING_URI": f"sqlite:///{mlflow_server.database}"})
    version = registry.resolve(ModelReference("embedded", alias="champion"))
    assert version == resolve(mlflow_server, "embedded@champion", str(tmp_path))
    assert version.artifact_uri.startswith(tmp_path.as_uri())
    assert version.metrics == {"auc": 0.5}
    assert registry.resolve(ModelReference("embedded", stage="Staging")) == version
    assert registry.version_of("embedded", "champion") == "1"
    assert registry.version_of("embedded", "nope") is None
    assert read(registry, version, "MLmodel").startswith(b"flavors:")
    for reference in ("embedded@nope", "embedded:9", "nope@champion"):
        with pytest.raises(UsageError):
            registry.resolve(ModelReference.parse(reference))


def test_the_client_gives_what_the_rest_api_gives(mlflow_server: MlflowServer) -> None:
    mlflow_server.train("both", alias="champion", metrics={"auc": 0.6})
    mlflow_server.register("both", "models:/both/1", alias="copied")
    client = ModelRegistry(ClientStore(mlflow_settings.read(mlflow_server.environ)), mlflow_server.url)
    for alias in ("champion", "copied"):
        reference = ModelReference("both", alias=alias)
        version = client.resolve(reference)
        assert version == without_etags(connect(mlflow_server.environ).resolve(reference))
        assert len(read(client, version, "model.skops")) == {file.path: file.size for file in version.files}["model.skops"]


@pytest.mark.parametrize("door", ["http", "client"])
def test_a_tag_and_an_alias_are_set_through_either_door(mlflow_server: MlflowServer, door: str) -> None:
    name = f"tagged by {door}"
    version = mlflow_server.train(name)
    registry = connect(mlflow_server.environ)
    if door == "client":
        registry = ModelRegistry(ClientStore(mlflow_settings.read(mlflow_server.environ)), mlflow_server.url)
    for _ in range(2):
        registry.set_tag(name, version, "promoter.quarantined.staging", "abc")
    assert resolve(mlflow_server, f"{name}:{version}").tags == {"promoter.quarantined.staging": "abc"}
    with pytest.raises(UsageError):
        registry.set_tag(name, "99", "a", "b")
    registry.set_alias(name, "back", version)
    assert registry.version_of(name, "back") == version
    with pytest.raises(UsageError):
        registry.set_alias(name, "back", "99")


def test_files_of_a_run_are_read_with_mlflow(mlflow_server: MlflowServer) -> None:
    run = mlflow_server.create_run()
    mlflow_server.put(f"mlflow-artifacts:/0/{run}/artifacts/model", {"MLmodel": MLMODEL, "data/model.pkl": b"pickled"})
    mlflow_server.register("of-a-run", f"runs:/{run}/model", run_id=run)
    registry = connect(mlflow_server.environ)
    version = registry.resolve(ModelReference.parse("of-a-run:1"))
    assert version.artifact_uri == f"runs:/{run}/model"
    assert [file.path for file in version.files] == ["MLmodel", "data/model.pkl"]
    assert read(registry, version, "data/model.pkl") == b"pickled"


@pytest.mark.parametrize(
    ("uri", "error"),
    [
        ("foo:bar", UsageError),
        ("postgresql://ann:s3cret@127.0.0.1:1/db", PromoterError),
        ("azureml://x", UsageError),
    ],
)
def test_an_address_that_leads_nowhere(uri: str, error: type[PromoterError], tmp_path: Path) -> None:
    with pytest.raises(error) as raised:
        connect({"HOME": str(tmp_path), "MLFLOW_TRACKING_URI": uri}).version_of("iris", "champion")
    assert raised.value.exit_code != ExitCode.UNEXPECTED
    assert raised.value.hint
    assert "s3cret" not in raised.value.message


@pytest.mark.parametrize(("scheme", "package"), [("s3", "boto3"), ("gs", "google.cloud.storage")])
def test_a_cloud_store_whose_package_is_missing_reports_what_to_install(
    mlflow_server: MlflowServer, scheme: str, package: str
) -> None:
    pytest.importorskip("mlflow")
    with suppress(ImportError):
        importlib.import_module(package)
        pytest.skip(f"{package} is installed")
    version = mlflow_server.register("cloud", f"{scheme}://bucket/model")
    named = package.partition(".")[0].rstrip("3")
    with pytest.raises(UsageError, match=f"{scheme}://bucket/model needs a package that is missing: .*{named}"):
        resolve(mlflow_server, f"cloud:{version}", f"{scheme}://bucket")
