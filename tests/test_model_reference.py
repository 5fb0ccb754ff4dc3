from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promoter.errors import ExitCode, UsageError
from promoter.model_registry import ModelReference, connect
from promoter.model_registry import settings as mlflow_settings
from promoter.transport.session import Limits


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fraud-detector", ModelReference("fraud-detector")),
        ("fraud-detector@champion", ModelReference("fraud-detector", alias="champion")),
        ("fraud-detector:12", ModelReference("fraud-detector", version="12")),
        ("fraud-detector/Production", ModelReference("fraud-detector", stage="Production")),
        ("fraud-detector/production", ModelReference("fraud-detector", stage="Production")),
        ("fraud-detector@stage/Staging", ModelReference("fraud-detector", stage="Staging")),
        ("models:/fraud-detector/3", ModelReference("fraud-detector", version="3")),
        ("models:/fraud-detector@champion", ModelReference("fraud-detector", alias="champion")),
        ("models:/fraud-detector/Production", ModelReference("fraud-detector", stage="Production")),
        ("models:/fraud-detector/latest", ModelReference("fraud-detector", stage="latest")),
        ("fraud-detector/Latest", ModelReference("fraud-detector", stage="latest")),
        ("fraud-detector@gültig_2", ModelReference("fraud-detector", alias="gültig_2")),
        ("models:/fraud-detector", ModelReference("fraud-detector")),
        ("prod.ml.fraud@champion", ModelReference("prod.ml.fraud", alias="champion")),
        ("Détection de fraude:1", ModelReference("Détection de fraude", version="1")),
        ("..@champion", ModelReference("..", alias="champion")),
        ("a@b@champion", ModelReference("a@b", alias="champion")),
        ("a@b:3", ModelReference("a@b", version="3")),
        ("a@b/Archived", ModelReference("a@b", stage="Archived")),
        ("m-detector@champion", ModelReference("m-detector", alias="champion")),
        ("  fraud-detector@champion\n", ModelReference("fraud-detector", alias="champion")),
    ],
)
def test_reads_what_people_and_mlflow_write(text: str, expected: ModelReference) -> None:
    assert ModelReference.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "models:/",
        "@champion",
        ":3",
        "/Production",
        "a@",
        "a:",
        "a/",
        "a:0",
        "a:03",
        "a:1.2",
        "a:latest",
        "a/QA",
        "a@cham.pion",
        "a@stage/latest",
        "a@stage/QA",
        "a@stage/",
        "a/b/3",
        "a:3:4",
        "a/3@x",
        "https://h/a@b",
        "models:/m-6b41899930",
    ],
)
def test_refuses_anything_else_and_reports_what_to_write(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        ModelReference.parse(text)
    assert raised.value.exit_code == ExitCode.USAGE
    assert "name@alias, name:version, name/Production" in raised.value.hint
    assert repr(text) in raised.value.message


NAMES = (
    st.text(min_size=1).map(str.strip).filter(lambda name: name and not set(name) & set("/:@") and not name.startswith("m-"))
)
NO_POINTER: dict[str, str] = {}
POINTERS = st.one_of(
    st.just(NO_POINTER),
    st.integers(min_value=1).map(lambda version: {"version": str(version)}),
    st.from_regex(r"[A-Za-z0-9_-]+", fullmatch=True).map(lambda alias: {"alias": alias}),
    st.sampled_from(["Staging", "Production", "Archived"]).map(lambda stage: {"stage": stage}),
)


@given(NAMES, POINTERS)
def test_what_it_writes_it_reads(name: str, pointer: dict[str, str]) -> None:
    reference = ModelReference(name, **pointer)
    assert ModelReference.parse(str(reference)) == reference


def test_an_alias_of_an_environment_may_be_a_stage() -> None:
    assert ModelReference.at("a@b", "champion") == ModelReference("a@b", alias="champion")
    assert ModelReference.at("a", "stage/Production") == ModelReference("a", stage="Production")


# -- settings ---------------------------------------------------------------------------------------------------------


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def header(environ: dict[str, str]) -> str | None:
    found = mlflow_settings.read(environ)
    return found.credential.authorization(found.tracking_uri) if found.credential else None


def test_the_environment_wins_over_the_configuration(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    assert mlflow_settings.read(home, tracking_uri="http://file").tracking_uri == "http://file"
    found = mlflow_settings.read({**home, "MLFLOW_TRACKING_URI": "http://env"}, tracking_uri="http://file")
    assert (found.tracking_uri, found.registry_uri) == ("http://env", None)
    found = mlflow_settings.read({**home, "MLFLOW_REGISTRY_URI": "http://models"}, tracking_uri="http://file")
    assert (found.tracking_uri, found.registry_uri) == ("http://file", "http://models")
    assert mlflow_settings.read({**home, "MLFLOW_REGISTRY_URI": "http://models"}).tracking_uri == "http://models"
    found = mlflow_settings.read({**home, "MLFLOW_TRACKING_URI": "databricks-uc://team"})
    assert (found.tracking_uri, found.registry_uri) == ("databricks://team", "databricks-uc://team")


def test_user_and_password_win_over_a_token_and_the_environment_over_the_file(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "MLFLOW_TRACKING_URI": "https://mlflow", "MLFLOW_TRACKING_TOKEN": "t0ken"}
    assert header(environ) == "Bearer t0ken"
    (tmp_path / ".mlflow").mkdir()
    file = tmp_path / ".mlflow" / "credentials"
    file.write_text("[mlflow]\nmlflow_tracking_username = ann\nmlflow_tracking_password = 100%sure\n")
    assert header(environ) == basic("ann:100%sure")
    assert header({**environ, "MLFLOW_TRACKING_USERNAME": "bob"}) == basic("bob:100%sure")
    file.write_text("mlflow_tracking_password = s3cret\n")
    with pytest.raises(UsageError) as raised:
        mlflow_settings.read(environ)
    assert str(file) in raised.value.message
    assert "s3cret" not in raised.value.message + raised.value.hint


@pytest.mark.parametrize(
    ("variables", "rest"),
    [
        ({"MLFLOW_TRACKING_URI": "https://mlflow/prefix"}, True),
        ({"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}, False),
        ({"MLFLOW_TRACKING_URI": "databricks"}, False),
        ({"MLFLOW_TRACKING_URI": "https://mlflow", "MLFLOW_REGISTRY_URI": "databricks-uc"}, False),
        ({"MLFLOW_TRACKING_URI": "https://mlflow", "MLFLOW_TRACKING_AUTH": "kubernetes"}, False),
        ({"MLFLOW_TRACKING_URI": "https://mlflow", "MLFLOW_TRACKING_AWS_SIGV4": "true"}, False),
        ({"MLFLOW_TRACKING_URI": "https://mlflow", "MLFLOW_TRACKING_AWS_SIGV4": "false"}, True),
    ],
)
def test_only_plain_http_is_spoken_without_mlflow(variables: dict[str, str], rest: bool, tmp_path: Path) -> None:
    assert mlflow_settings.read({"HOME": str(tmp_path), **variables}).rest is rest


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "MLflow is not configured"),
        ({"MLFLOW_TRACKING_INSECURE_TLS": "maybe"}, "MLFLOW_TRACKING_INSECURE_TLS is 'maybe'"),
        ({"MLFLOW_TRACKING_INSECURE_TLS": "true", "MLFLOW_TRACKING_SERVER_CERT_PATH": "/"}, "exclude each other"),
        ({"MLFLOW_TRACKING_SERVER_CERT_PATH": "/no/such.pem"}, "MLFLOW_TRACKING_SERVER_CERT_PATH names /no/such.pem"),
        ({"MLFLOW_TRACKING_CLIENT_CERT_PATH": "/no/such.pem"}, "MLFLOW_TRACKING_CLIENT_CERT_PATH names /no/such.pem"),
        ({"MLFLOW_HTTP_REQUEST_TIMEOUT": "soon"}, "MLFLOW_HTTP_REQUEST_TIMEOUT is 'soon'"),
        ({"MLFLOW_HTTP_REQUEST_TIMEOUT": "²"}, "MLFLOW_HTTP_REQUEST_TIMEOUT is '²'"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(variables: dict[str, str], message: str, tmp_path: Path) -> None:
    address = {"MLFLOW_TRACKING_URI": "http://mlflow"} if variables else {}
    with pytest.raises(UsageError, match=message) as raised:
        connect({"HOME": str(tmp_path), **address, **variables})
    assert raised.value.hint


def test_the_request_timeout_is_the_wait_for_each_answer(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "MLFLOW_TRACKING_URI": "http://mlflow", "MLFLOW_HTTP_REQUEST_TIMEOUT": "7"}
    assert mlflow_settings.read(environ).limits == Limits(read=7.0)
