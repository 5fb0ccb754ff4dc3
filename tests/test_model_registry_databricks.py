"""A model in Databricks' Unity Catalog, in answers of the form that MLflow's protocol definitions give them.

No workspace was recorded: what is shown is that promoter gets through with MLflow's client, which those definitions are for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from promoter.errors import AuthError, UsageError
from promoter.model_registry import ModelReference, ModelRegistry, connect
from tests.support.replay import Answer, Replay, replaying

pytest.importorskip("databricks.sdk", reason="the Databricks SDK is not installed")

CATALOG = "/api/2.0/mlflow/unity-catalog"
FOLDER = "/api/2.0/fs/directories/Models/main/shop/fraud/3"
DOWNLOAD = "/api/2.0/fs/create-download-url"
VERSION = {
    "name": "main.shop.fraud",
    "version": "3",
    "creation_timestamp": 1_763_842_800_000,
    "last_updated_timestamp": 1_763_842_801_000,
    "source": "dbfs:/databricks/mlflow-tracking/1/abc/artifacts/model",
    "run_id": "abc",
    "status": "READY",
    "aliases": [{"alias": "champion", "version": "3"}],
    "tags": [{"key": "team", "value": "risk"}],
}
MLMODEL = b"flavors:\n  python_function:\n    loader_module: mlflow.sklearn\nmodel_id: null\n"
NO_FOLDER = Answer({"error_code": "NOT_FOUND", "message": "The directory being accessed is not found."}, 404)
NOT_FOUND = Answer({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such thing"}, 404)


def entry(path: str, size: int | None = None) -> dict[str, Any]:
    whole = f"/Models/main/shop/fraud/3/{path}"
    return {"path": whole, "is_directory": True} if size is None else {"path": whole, "is_directory": False, "file_size": size}


@pytest.fixture(params=["databricks-uc", None], ids=["also in the process's environment", "not there"])
def workspace(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Replay]:
    """Version 3 of main.shop.fraud, `champion`, whose files are in the catalog's own storage."""
    if request.param:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", request.param)
    else:
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with replaying(otherwise=NOT_FOUND) as replay:
        replay.answers |= {
            f"{CATALOG}/registered-models/alias": Answer({"model_version": VERSION}),
            f"{CATALOG}/model-versions/get": Answer({"model_version": VERSION}),
            f"{CATALOG}/model-versions/get-download-uri": Answer({"artifact_uri": "s3://catalog/models/3"}),
            f"{CATALOG}/registered-models:is-databricks-sdk-models-artifact-repository-enabled": Answer({}),
            f"{CATALOG}/model-versions/generate-temporary-credentials": Answer(
                {"credentials": {"storage_mode": "DEFAULT_STORAGE"}}
            ),
            f"{FOLDER}/": Answer({"contents": [entry("MLmodel", len(MLMODEL)), entry("data")]}),
            f"{FOLDER}/data": Answer({"contents": [entry("data/model.bin", 9)]}),
            f"{FOLDER}/MLmodel": NO_FOLDER,
            f"{FOLDER}/data/model.bin": NO_FOLDER,
            DOWNLOAD: Answer({"url": f"{replay.url}/signed/MLmodel?signature=secret"}),
            "/signed/MLmodel": Answer(MLMODEL),
            "/signed/model.bin": Answer(b"the model"),
        }
        # MLflow's client reads them of the process, not of what promoter is given.
        for name, value in {"DATABRICKS_HOST": replay.url, "DATABRICKS_TOKEN": "dapi-1", "HOME": str(tmp_path)}.items():
            monkeypatch.setenv(name, value)
        yield replay


def registry() -> ModelRegistry:
    return connect({"HOME": "/nonexistent", "MLFLOW_TRACKING_URI": "databricks-uc"})


def test_an_alias_in_the_catalog_is_resolved_and_its_files_are_read(workspace: Replay) -> None:
    found, before = registry(), os.environ.get("MLFLOW_TRACKING_URI")
    version = found.resolve(ModelReference.parse("main.shop.fraud@champion"))
    assert (version.reference, version.artifact_uri) == ("main.shop.fraud:3", "models:/main.shop.fraud/3")
    assert [(file.path, file.size) for file in version.files] == [("MLmodel", len(MLMODEL)), ("data/model.bin", 9)]
    assert (version.created, version.tags, version.run_id) == (
        datetime(2025, 11, 22, 20, 20, tzinfo=UTC),
        {"team": "risk"},
        "abc",
    )
    workspace.answers[DOWNLOAD] = Answer({"url": f"{workspace.url}/signed/model.bin"})
    with found.open(version, version.files[1]) as content:
        assert content.read() == b"the model"
    asked = {one.path.partition("?")[0]: one.headers.get("Authorization") for one in workspace.asked}
    assert asked[f"{CATALOG}/registered-models/alias"] == "Bearer dapi-1"
    assert asked["/signed/model.bin"] is None, "the token is not for who has the files"
    assert os.environ.get("MLFLOW_TRACKING_URI") == before


def test_what_the_catalog_refuses_is_distinguished(workspace: Replay) -> None:
    workspace.answers[f"{CATALOG}/registered-models/alias"] = Answer(
        {"error_code": "PERMISSION_DENIED", "message": "User does not have USE CATALOG on Catalog 'main'."}, 403
    )
    with pytest.raises(AuthError, match="USE CATALOG"):
        registry().resolve(ModelReference.parse("main.shop.fraud@champion"))
    workspace.answers[f"{CATALOG}/registered-models/alias"] = NOT_FOUND
    with pytest.raises(UsageError, match=r"main\.shop\.fraud"):
        registry().resolve(ModelReference.parse("main.shop.fraud@champion"))
