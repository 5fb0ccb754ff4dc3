"""What MLflow, or something that stands before it, can answer: recordings given back by a real server on loopback."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import urllib3.exceptions

from promoter.errors import AuthError, ExitCode, PromoterError, RefusedError, UnreachableError, UsageError
from promoter.model_registry import ModelReference, ModelRegistry, connect
from promoter.transport.session import Limits
from tests.support.replay import Answer, Replay, replaying

if TYPE_CHECKING:
    from promoter.models import ModelVersion

DATA = Path(__file__).parent / "data" / "mlflow"
MODEL_ID = "m-6b4189993073469e89fac8b25482a82d"
LISTING = "/api/2.0/mlflow-artifacts/artifacts"
FILES = f"{LISTING}/1/models/{MODEL_ID}/artifacts"
ALIAS = "/api/2.0/mlflow/registered-models/alias"
LOGGED_MODEL = f"/api/2.0/mlflow/logged-models/{MODEL_ID}"
REFERENCE = ModelReference("iris-clf", alias="champion")
FAST = Limits(connect=2, read=2, total=0.01)
BEFORE = "Sun, 22 Nov 2026 20:15:41 GMT"


def recorded(label: str) -> Any:
    return next(call for call in json.loads((DATA / "rest_calls.json").read_text()) if call["label"] == label)["response"]


def file(content: bytes, modified: str = BEFORE, etag: str = '"one"') -> Answer:
    return Answer(content, headers={"ETag": etag, "Last-Modified": modified})


@pytest.fixture
def mlflow() -> Iterator[Replay]:
    """A server that answers like the recorded one for version 2 of iris-clf, whose files are two."""
    listing = {"files": [{"path": "MLmodel", "is_dir": False, "file_size": 1300}, {"path": "model.skops", "file_size": 9}]}
    answers = {
        ALIAS: Answer(recorded("get-by-alias")),
        LOGGED_MODEL: Answer(recorded("logged-model get")),
        LISTING: Answer(listing),
        f"{FILES}/MLmodel": file((DATA / "MLmodel").read_bytes()),
        f"{FILES}/model.skops": file(b"the model"),
        "/api/2.0/mlflow/runs/get": Answer(recorded("model-versions/get missing"), 404),
    }
    with replaying(answers) as replay:
        yield replay


def registry(replay: Replay, *sources: str, **variables: str) -> ModelRegistry:
    environ = {"HOME": "/nonexistent", "MLFLOW_TRACKING_URI": replay.url, **variables}
    return connect(environ, sources=sources, limits=FAST)


def resolved(replay: Replay, *sources: str, **variables: str) -> ModelVersion:
    return registry(replay, *sources, **variables).resolve(REFERENCE)


def test_resolves_the_recorded_version(mlflow: Replay) -> None:
    logged = recorded("logged-model get")
    times = [(0.8, 2, 0), (0.9, 2, 1), (0.7, 1, 5)]
    metrics = [{"key": "auc", "value": value, "timestamp": time, "step": step} for value, time, step in times]
    logged["model"]["data"] = {"metrics": [*metrics, {"key": "loss", "value": "Infinity", "timestamp": "3"}]}
    mlflow.answers[LOGGED_MODEL] = Answer(logged)
    version = resolved(mlflow)
    assert version.reference == "iris-clf:2"
    assert version.created == datetime(2026, 11, 22, 20, 15, 42, 51000, UTC)
    assert [(file.path, file.size, file.etag) for file in version.files] == [
        ("MLmodel", 1300, '"one"'),
        ("model.skops", 9, '"one"'),
    ]
    assert version.stage == "Staging"
    assert version.tags == {"git_sha": "abc123", "validation_status": "approved"}
    assert version.aliases == ("champion",)
    assert version.model_id == MODEL_ID
    assert version.flavors == ("python_function", "sklearn")
    assert version.signature is not None
    assert [column["name"] for column in version.signature.inputs][:1] == ["sepal length (cm)"]
    assert version.signature.params == ()
    assert version.requirements == ()
    assert version.metrics == {"auc": 0.9, "loss": float("inf")}


# -- who asks ---------------------------------------------------------------------------------------------------------


def test_sends_the_credentials_and_the_workspace_of_the_environment(mlflow: Replay) -> None:
    resolved(mlflow, MLFLOW_TRACKING_TOKEN="t0ken", MLFLOW_WORKSPACE="team-a")
    assert {asked.headers["Authorization"] for asked in mlflow.asked} == {"Bearer t0ken"}
    assert {asked.headers["X-MLFLOW-WORKSPACE"] for asked in mlflow.asked} == {"team-a"}


def test_the_user_in_the_address_wins_and_is_never_shown(mlflow: Replay) -> None:
    address = mlflow.url.replace("http://", "http://ann:p%40ss@")
    found = registry(mlflow, MLFLOW_TRACKING_URI=address, MLFLOW_TRACKING_TOKEN="t0ken")
    found.resolve(REFERENCE)
    assert {asked.headers["Authorization"] for asked in mlflow.asked} == {"Basic YW5uOnBAc3M="}
    mlflow.answers[ALIAS] = Answer(b"denied", 401)
    with pytest.raises(AuthError) as raised:
        found.resolve(REFERENCE)
    assert "p%40ss" not in found.where + raised.value.message + raised.value.hint


def test_credentials_stay_with_the_server_they_are_for(mlflow: Replay) -> None:
    with replaying(mlflow.answers) as elsewhere:
        there = f"mlflow-artifacts://{urlsplit(elsewhere.url).netloc}/1"
        stored = recorded("logged-model get")
        stored["model"]["info"]["artifact_uri"] = f"{there}/models/{MODEL_ID}/artifacts"
        mlflow.answers[LOGGED_MODEL] = Answer(stored)
        with pytest.raises(RefusedError, match=r"neither on the tracking server nor in image\.sources"):
            resolved(mlflow, MLFLOW_TRACKING_TOKEN="t0ken")
        assert not elsewhere.asked
        resolved(mlflow, there, MLFLOW_TRACKING_TOKEN="t0ken")
        assert elsewhere.asked
        assert not [asked for asked in elsewhere.asked if "Authorization" in asked.headers]
        elsewhere.answers[LISTING] = Answer(b"who are you", 401)
        with pytest.raises(AuthError, match="not the server they belong to"):
            resolved(mlflow, there, MLFLOW_TRACKING_TOKEN="t0ken")


def test_models_and_runs_may_be_on_two_servers(mlflow: Replay) -> None:
    with replaying({ALIAS: mlflow.answers.pop(ALIAS)}) as models:
        version = resolved(mlflow, MLFLOW_REGISTRY_URI=models.url)
        assert version.version == "2"
        assert {urlsplit(asked.path).path for asked in models.asked} == {ALIAS}


# -- what can be answered ---------------------------------------------------------------------------------------------

HOST_HEADER = b"Invalid Host header - possible DNS rebinding attack detected"
HTML = {"Content-Type": "text/html; charset=utf-8"}


@pytest.mark.parametrize(
    ("answer", "error", "message", "hint"),
    [
        (
            Answer(b"You are not authenticated.", 401),
            AuthError,
            "rejected our credentials .401.: no credentials were sent",
            "USERNAME",
        ),
        (Answer(b"Permission denied", 403), AuthError, "forbids it .403.: Permission denied", "READ on the model"),
        (Answer(HOST_HEADER, 403), AuthError, "does not answer to the name 127.0.0.1:", "--allowed-hosts 127.0.0.1:"),
        (
            Answer(status=302, headers={"Location": "https://login.example.com/?next=x"}),
            AuthError,
            "login.example.com",
            "TOKEN",
        ),
        (Answer(status=302, headers={"Location": "/login"}), AuthError, "redirects to /login", "MLFLOW_TRACKING_TOKEN"),
        (
            Answer(status=301, headers={"Location": "https://127.0.0.1/api"}),
            UsageError,
            "redirects to https",
            "https://127.0.0.1",
        ),
        (Answer(b"<html>Sign in</html>", headers=HTML), AuthError, "a web page", "check the address"),
        (Answer(b"<html>Oops</html>", 500, HTML), UnreachableError, "answered 500 to .*: Internal Server Error", "log"),
        (Answer(b"upstream gone", 502), UnreachableError, "answered 502 .*upstream gone", "log"),
        (Answer(b"slow down", 429), UnreachableError, "answered 429", "log"),
        (Answer(b"not here", 404), UsageError, "no MLflow API", "path prefix"),
        (Answer(b"{", 200), UnreachableError, "unlike MLflow: JSONDecodeError", "check that MLflow"),
        (Answer({"model": 1}), UnreachableError, "unlike MLflow: KeyError: 'model_version'", "check that MLflow"),
        (Answer([]), UnreachableError, "unlike MLflow: TypeError", "check that MLflow"),
    ],
)
def test_each_bad_answer_is_distinguished(
    mlflow: Replay, answer: Answer, error: type[PromoterError], message: str, hint: str
) -> None:
    mlflow.answers[ALIAS] = answer
    with pytest.raises(error, match=message) as raised:
        resolved(mlflow)
    assert hint in raised.value.hint
    assert mlflow.url in raised.value.message


def test_no_alias_is_no_version_and_no_model_is_an_error(mlflow: Replay) -> None:
    models = "/api/2.0/mlflow/registered-models/get"
    mlflow.answers[ALIAS] = Answer(recorded("get-by-alias missing"), 400)
    mlflow.answers[models] = Answer(recorded("registered-models/get"))
    assert registry(mlflow).version_of("iris-clf", "nope") is None
    with pytest.raises(UsageError, match="has no iris-clf@champion") as raised:
        resolved(mlflow)
    assert raised.value.hint == "the aliases of iris-clf are champion (version 2)"
    mlflow.answers[models] = Answer(recorded("registered-models/get missing"), 404)
    with pytest.raises(UsageError, match="no registered model 'iris-clf'") as raised:
        registry(mlflow).version_of("iris-clf", "nope")
    assert raised.value.exit_code == ExitCode.USAGE


def test_a_server_that_is_down_is_unreachable(mlflow: Replay) -> None:
    with replaying() as down:
        address = down.url
    with pytest.raises(UnreachableError, match="Connection refused") as raised:
        resolved(mlflow, MLFLOW_TRACKING_URI=address)
    assert raised.value.exit_code == ExitCode.UNREACHABLE


def test_an_artifact_store_that_is_down_is_unreachable(mlflow: Replay) -> None:
    mlflow.answers[LISTING] = Answer({"error_code": "INTERNAL_ERROR", "message": "could not connect to s3"}, 500)
    with pytest.raises(UnreachableError, match=r"mlflow-artifacts.* could not connect to s3") as raised:
        resolved(mlflow)
    assert "the artifact store behind it" in raised.value.hint


def test_a_logged_model_that_was_deleted_is_refused(mlflow: Replay) -> None:
    mlflow.answers[LOGGED_MODEL] = Answer(recorded("model-versions/get missing"), 404)
    with pytest.raises(RefusedError, match=f"{MODEL_ID}, which MLflow no longer has"):
        resolved(mlflow)


@pytest.mark.parametrize("path", ["../secrets", "/etc/passwd", "a/../../b", "a//b", "./a", "..", "", "a\\b", "a\nb"])
def test_a_listing_that_leads_out_of_the_folder_is_refused(mlflow: Replay, path: str) -> None:
    mlflow.answers[LISTING] = Answer({"files": [{"path": path, "is_dir": False, "file_size": 1}]})
    with pytest.raises(RefusedError, match="the model version lists a file") as raised:
        resolved(mlflow)
    assert raised.value.exit_code == ExitCode.REFUSED


def test_a_listing_that_never_ends_is_refused(mlflow: Replay) -> None:
    mlflow.answers[LISTING] = Answer({"files": [{"path": "again", "is_dir": True}]})
    with pytest.raises(RefusedError, match="can't be trusted"):
        resolved(mlflow)


def test_an_mlmodel_file_that_is_none_is_refused(mlflow: Replay) -> None:
    merges = "".join(f"a{i}: &a{i} {{<<: [{','.join([f'*a{i - 1}'] * 4)}], k{i}: v}}\n" for i in range(1, 30))
    bomb = f"flavors: {{}}\na0: &a0 {{k0: v}}\n{merges}".encode()
    none = (b"flavors: {", b"- 1", b"name: x", b"", b"flavors: {sklearn: {}}\nsignature: {inputs: '['}", b"\xff\xfe\x00", bomb)
    for content in none:
        mlflow.answers[LISTING] = Answer({"files": [{"path": "MLmodel", "file_size": len(content)}]})
        mlflow.answers[f"{FILES}/MLmodel"] = file(content)
        with pytest.raises(RefusedError, match="the MLmodel file of iris-clf:2 can't be read"):
            resolved(mlflow)


# -- ETags and bytes --------------------------------------------------------------------------------------------------


def test_no_etag_is_believed_of_a_server_that_copies_files_to_answer(mlflow: Replay) -> None:
    now = format_datetime(datetime.now(UTC), usegmt=True)
    mlflow.answers[f"{FILES}/MLmodel"] = file((DATA / "MLmodel").read_bytes(), modified=now)
    assert {file.etag for file in resolved(mlflow).files} == {None}
    # Such a server fetches a file whole for every question, so the large one is not asked for at all.
    assert f"{FILES}/model.skops" not in {asked.path for asked in mlflow.asked}


@pytest.mark.parametrize(
    "headers",
    [{}, {"ETag": '"one"'}, {"ETag": 'W/"one"', "Last-Modified": BEFORE}, {"ETag": '"one"', "Last-Modified": "lately"}],
)
def test_an_etag_that_may_not_last_is_no_etag(mlflow: Replay, headers: dict[str, str]) -> None:
    mlflow.answers[f"{FILES}/model.skops"] = Answer(b"the model", headers=headers)
    assert [file.etag for file in resolved(mlflow).files] == ['"one"', None]


def test_a_file_that_changed_since_it_was_listed_is_refused(mlflow: Replay) -> None:
    version = resolved(mlflow)
    mlflow.answers[f"{FILES}/model.skops"] = file(b"the MODEL", etag='"two"')
    with pytest.raises(RefusedError, match=r"model\.skops was changed"), registry(mlflow).open(version, version.files[1]):
        pass


@pytest.mark.parametrize("content", [b"longer than nine bytes", b"short", b""])
def test_a_file_of_another_size_than_listed_is_refused(mlflow: Replay, content: bytes) -> None:
    version = resolved(mlflow)
    mlflow.answers[f"{FILES}/model.skops"] = file(content)
    with (
        pytest.raises(RefusedError, match=r"model\.skops of iris-clf:2 is not the 9 bytes"),
        registry(mlflow).open(version, version.files[1]) as stream,
    ):
        shutil.copyfileobj(stream, io.BytesIO(), 4)


def test_a_longer_file_is_noticed_even_when_only_its_listed_size_is_read(mlflow: Replay) -> None:
    version = resolved(mlflow)
    mlflow.answers[f"{FILES}/model.skops"] = file(b"the model, and more")
    with pytest.raises(RefusedError), registry(mlflow).open(version, version.files[1]) as stream:
        assert stream.read(9) == b"the model"


def test_a_connection_that_breaks_off_is_unreachable(mlflow: Replay) -> None:
    version = resolved(mlflow)
    headers = {"ETag": '"one"', "Content-Length": "9"}
    mlflow.answers[f"{FILES}/model.skops"] = Answer(b"the", headers=headers)
    with (
        pytest.raises(UnreachableError, match=r"model\.skops broke off: ProtocolError"),
        registry(mlflow).open(version, version.files[1]) as stream,
    ):
        stream.read()


# -- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1 with its key, in one PEM file."""
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=mlflow", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(file), "-out", "-"]
    try:
        made = subprocess.run(command, capture_output=True, check=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    with file.open("ab") as pem:
        pem.write(made.stdout)
    return file


def test_a_certificate_is_checked_against_the_bundle_that_is_named(mlflow: Replay, certificate: Path) -> None:
    with replaying(mlflow.answers, certificate=certificate) as secure:
        with pytest.raises(UnreachableError, match="certificate") as raised:
            resolved(secure)
        assert "CA bundle" in raised.value.hint
        assert resolved(secure, MLFLOW_TRACKING_SERVER_CERT_PATH=str(certificate)).version == "2"
        assert resolved(
            secure,
            MLFLOW_TRACKING_SERVER_CERT_PATH=str(certificate),
            MLFLOW_TRACKING_CLIENT_CERT_PATH=str(certificate),
        )
        with pytest.warns(urllib3.exceptions.InsecureRequestWarning):
            assert registry(secure, MLFLOW_TRACKING_INSECURE_TLS="true").version_of("iris-clf", "champion") == "2"
