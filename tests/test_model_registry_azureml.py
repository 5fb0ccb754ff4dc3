"""A model in a workspace of Azure Machine Learning, in answers of the form that MLflow's plug-in for it reads.

No workspace was recorded: the paths and forms are those of azureml-mlflow and MLflow, one refusal is from mlflow/mlflow#5846. The
plug-in needs an older mlflow-skinny than promoter's own lock has, so `.ci/models` makes an environment of its own for it.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from tests.support.git_server import throw_away_certificate
from tests.support.replay import Answer, Replay, replaying

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / ".tools/azureml/bin/python"
pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not PYTHON.exists(), reason="azureml-mlflow is not here (.ci/models installs it into .tools)"),
]

SCOPE = "/subscriptions/1-2/resourceGroups/risk/providers/Microsoft.MachineLearningServices/workspaces/shop"
API = f"/mlflow/v2.0{SCOPE}/api/2.0/mlflow"
RUN = f"/history/v1.0{SCOPE}/experiments/e-1/runs/r-1/artifacts"
UPLOAD = f"/artifact/v2.0{SCOPE}/artifacts/LocalUpload/251122T202000-abc"
FILES = {
    "MLmodel": b"flavors:\n  python_function:\n    loader_module: mlflow.sklearn\nmodel_id: m-1\n",
    "data/a model+b.bin": b"the model",
    "requirements.txt": b"scikit-learn==1.8.0\n",
}
VERSION = {
    "name": "fraud",
    "version": "3",
    "creation_timestamp": 1_763_842_800_000,
    "last_updated_timestamp": 1_763_842_801_000,
    "current_stage": "Production",
    "source": f"azureml://westeurope.api.azureml.ms/mlflow/v2.0{SCOPE}/experiments/e-1/runs/r-1/artifacts/model",
    "run_id": "r-1",
    "status": "READY",
    "tags": [{"key": "team", "value": "risk"}],
}
LOGGED = {
    "info": {
        "run_id": "r-1",
        "experiment_id": "e-1",
        "status": "FINISHED",
        "artifact_uri": "azureml://unused",
        "run_uuid": "r-1",
    },
    "data": {"metrics": [{"key": "accuracy", "value": 0.81, "timestamp": 1, "step": 0}]},
}
NO_TOKEN = {
    "error": {"code": "UserError", "message": "Bearer token not provided.", "innerError": {"code": "AuthorizationError"}},
    "environment": "westeurope",
    "componentName": "mlflow",
}
NO_MODEL = Answer({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Model not found"}, 404)

# Asks for what its first argument names, and prints the version, or the error.
ASK = """
import json, os, sys
from promoter.errors import PromoterError
from promoter.model_registry import ModelReference, connect

try:
    registry = connect(os.environ, tracking_uri=sys.argv[2] if len(sys.argv) > 2 else None)
    version = registry.resolve(ModelReference.parse(sys.argv[1]))
    read = {}
    for file in version.files:
        with registry.open(version, file) as content:
            read[file.path] = [file.size, content.read().decode()]
    print(json.dumps({"version": version.reference, "stage": version.stage, "tags": dict(version.tags),
                      "metrics": dict(version.metrics), "files": read}))
except PromoterError as error:
    print(json.dumps({"error": type(error).__name__, "message": error.message, "hint": error.hint}))
"""


def serve(replay: Replay, folder: str, below: str) -> None:
    """The files of FILES, in a container at `folder` that has others, too; their addresses are signed."""
    others = ["conda.yaml", f"{below}2/MLmodel"]
    listed = [*others, *(f"{below}/{path}" for path in FILES)]
    dto = [{"artifactId": path, "origin": "ExperimentRun", "container": "dcid.r-1", "path": path} for path in listed]
    # In two pages, the second one by the link that the first has.
    replay.answers[folder] = Answer({"value": dto[:3], "nextLink": f"{replay.url}{folder}?continuationToken=2"})
    replay.answers[f"{folder}?continuationToken=2"] = Answer({"value": dto[3:]})
    for path, content in FILES.items():
        blob = f"/store1/container/{quote(path)}"
        query = urlencode({"path": f"{below}/{path}"}, quote_via=quote, safe="")
        replay.answers[f"{folder}/contentinfo?{query}"] = Answer(
            {"contentUri": f"{replay.url}{blob}?sig=secret", "path": path, "origin": "ExperimentRun", "container": "dcid.r-1"}
        )
        ranged = {"Content-Range": f"bytes 0-{len(content) - 1}/{len(content)}", "x-ms-blob-type": "BlockBlob", "ETag": '"1"'}
        replay.answers[blob] = Answer(content, 206, {**ranged, "Last-Modified": "Sat, 22 Nov 2025 20:20:00 GMT"})


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return throw_away_certificate(tmp_path)


@pytest.fixture
def workspace(certificate: Path) -> Iterator[Replay]:
    """Version 3 of fraud, which is in Production."""
    with replaying(otherwise=Answer(b"", 404), certificate=certificate) as replay:
        replay.answers |= {
            f"{API}/model-versions/get": Answer({"model_version": VERSION}),
            f"{API}/model-versions/get-download-uri": Answer({"artifact_uri": VERSION["source"]}),
            f"{API}/registered-models/get-latest-versions": Answer({"model_versions": [VERSION]}),
            f"{API}/registered-models/get": Answer({"registered_model": {"name": "fraud", "latest_versions": [VERSION]}}),
            f"{API}/runs/get": Answer({"run": LOGGED}),
        }
        serve(replay, RUN, "model")
        yield replay


def ask(
    workspace: Replay | None, certificate: Path, reference: str, *more: str, scheme: str = "azureml", **environ: str
) -> Any:
    kept = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(certificate.parent)}
    kept |= {"REQUESTS_CA_BUNDLE": f"{certificate}.crt", **environ}
    if workspace:
        kept["MLFLOW_TRACKING_URI"] = f"{workspace.url.replace('https', scheme)}/mlflow/v1.0{SCOPE}"
    done = subprocess.run([PYTHON, "-c", ASK, reference, *more], env=kept, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "secret" not in done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("scheme", ["azureml", "https"])
@pytest.mark.parametrize("reference", ["fraud:3", "fraud/Production"])
def test_a_version_is_resolved_and_its_files_are_read(
    workspace: Replay, certificate: Path, reference: str, scheme: str
) -> None:
    found = ask(workspace, certificate, reference, scheme=scheme, MLFLOW_TRACKING_TOKEN="entra-1")
    assert found == {
        "version": "fraud:3",
        "stage": "Production",
        "tags": {"team": "risk"},
        "metrics": {"accuracy": 0.81},
        "files": {path: [len(content), content.decode()] for path, content in FILES.items()},
    }
    sent = {one.path.partition("?")[0]: one.headers.get("Authorization") for one in workspace.asked}
    assert sent[RUN] == sent[f"{API}/model-versions/get"] == "Bearer entra-1"
    assert sent["/store1/container/MLmodel"] is None, "the token is not for who has the files"


def test_files_that_were_uploaded_without_a_run(workspace: Replay, certificate: Path) -> None:
    uri = "azureml://artifacts/LocalUpload/251122T202000-abc/regressor"
    workspace.answers[f"{API}/model-versions/get-download-uri"] = Answer({"artifact_uri": uri})
    serve(workspace, UPLOAD, "regressor")
    found = ask(workspace, certificate, "fraud:3", MLFLOW_TRACKING_TOKEN="entra-1")
    assert {path: size for path, (size, _) in found["files"].items()} == {path: len(it) for path, it in FILES.items()}


def test_files_elsewhere_are_refused(workspace: Replay, certificate: Path) -> None:
    for uri in (
        "azureml://registries/company/models/fraud/versions/3",
        "azureml://artifacts/LocalUpload",
        "s3://elsewhere/model",
    ):
        workspace.answers[f"{API}/model-versions/get-download-uri"] = Answer({"artifact_uri": uri})
        found = ask(workspace, certificate, "fraud:3", MLFLOW_TRACKING_TOKEN="entra-1")
        assert found["error"] == "RefusedError"
        assert uri in found["message"]


def test_what_the_workspace_refuses_is_distinguished(workspace: Replay, certificate: Path) -> None:
    found = ask(workspace, certificate, "fraud@champion", MLFLOW_TRACKING_TOKEN="entra-1")
    assert found["error"] == "UsageError"
    assert "Azure Machine Learning knows no aliases" in found["message"]
    assert "fraud/Production" in found["hint"]
    workspace.answers[f"{API}/model-versions/get"] = NO_MODEL
    found = ask(workspace, certificate, "fraud:4", MLFLOW_TRACKING_TOKEN="entra-1")
    assert found["error"] == "UsageError"
    assert found["message"].endswith("has no fraud:4")
    for answer in (Answer(NO_TOKEN, 401), Answer(b"", 401), Answer(b"", 403)):
        workspace.answers[f"{API}/model-versions/get"] = answer
        found = ask(workspace, certificate, "fraud:3", MLFLOW_TRACKING_TOKEN="entra-old")
        assert found["error"] == "AuthError", found
        assert "MLFLOW_TRACKING_TOKEN" in found["hint"]


def test_a_pipeline_without_an_identity_is_not_asked_to_sign_in(certificate: Path) -> None:
    address = f"azureml://westeurope.api.azureml.ms/mlflow/v1.0{SCOPE}"
    alone = {"AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential"}
    found = ask(None, certificate, "fraud:3", MLFLOW_TRACKING_URI=address, **alone)
    assert found["error"] == "AuthError"
    assert "AZURE_CLIENT_ID" in found["hint"]


def test_an_identity_goes_to_azure_only(workspace: Replay, certificate: Path) -> None:
    address = f"{workspace.url.replace('https', 'azureml')}/mlflow/v1.0{SCOPE}"
    found = ask(None, certificate, "fraud:3", address)
    assert (found["error"], workspace.asked) == ("UsageError", [])
    assert "not a host of Azure" in found["message"]
    found = ask(None, certificate, "fraud:3", address, MLFLOW_TRACKING_TOKEN="entra-1")
    assert (found["error"], workspace.asked) == ("AuthError", [])


@pytest.mark.parametrize("address", ["azureml://x", "azureml://westeurope.api.azureml.ms/mlflow/v1.0/registries/company"])
def test_an_address_of_no_workspace(certificate: Path, address: str) -> None:
    found = ask(None, certificate, "fraud:3", MLFLOW_TRACKING_URI=address, MLFLOW_TRACKING_TOKEN="entra-1")
    assert found["error"] == "UsageError"
    assert "workspaces/NAME" in found["hint"]
