"""Models that were logged with an older MLflow, in a real environment of it: the same answers as that version's own server gives."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.old_mlflow import OldMlflow, old_mlflow
from tests.support.serving import serving

# One of each line whose scoring functions differ: no params; params; flask at the top; no flask; configured loading.
VERSIONS = {
    "2.0.1": "pandas<2\nnumpy<1.24",
    "2.9.2": "pandas<2.2\nnumpy<2",
    "2.13.2": "pandas<2.3\nnumpy<2",
    "2.16.2": "pandas<2.3\nnumpy<2",
    "2.20.4": "pandas<2.3\nnumpy<2.3",
}
JSON, CSV = "application/json", "text/csv"
REQUESTS = [
    (JSON, '{"dataframe_split": {"columns": ["a", "b"], "data": [[1.0, 2], [0.5, 7]]}}'),
    (JSON, '{"dataframe_split": {"columns": ["b", "a"], "index": [4], "data": [[1, 2.5]]}}'),
    (JSON, '{"dataframe_split": {"columns": ["a", "b", "c"], "data": [[1.0, 2, "x"]]}}'),
    (JSON, '{"dataframe_records": [{"a": 1.5, "b": 2}, {"b": 3, "a": -1.0}]}'),
    (JSON, '{"inputs": {"a": [1.0, 2.0], "b": [3, 4]}}'),
    (JSON, '{"instances": [{"a": 1.0, "b": 2}]}'),
    (JSON, '{"dataframe_split": {"columns": ["a"], "data": [[1.0]]}}'),
    (JSON, '{"dataframe_split": {"columns": ["a", "b"], "data": [["x", 2]]}}'),
    (JSON, '{"foo": 1}'),
    (JSON, "[1, 2]"),
    (JSON, "{"),
    (CSV, "a,b\n1.0,2\n3.5,4\n"),
    (CSV, "b\n1\n"),
]


@pytest.fixture(scope="module", params=VERSIONS)
def old(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> OldMlflow:
    version = str(request.param)
    return old_mlflow(version, VERSIONS[version], tmp_path_factory.mktemp(f"mlflow-{version}"))


def test_a_model_of_an_older_mlflow_is_served_as_its_own_server_would(old: OldMlflow, tmp_path: Path) -> None:
    expected = old.own_answers(REQUESTS)
    with serving(tmp_path, old.model, old.python) as server:
        server.wait_until_ready()
        for (kind, body), (status, document) in zip(REQUESTS, expected, strict=True):
            answer = server.post(body, kind)
            assert (answer.status_code, answer.json() if status == 200 else None) == (status, document), body
        broken = server.post('{"inputs": {"a": [666.0], "b": [1]}}', JSON)
        assert (broken.status_code, "feature_table" in broken.text) == (500, False)
        assert server.get("/version").text == old.version
        assert server.get("/openapi.json").json()["openapi"] == "3.1.0"


def test_the_environment_lacks_what_the_server_must_not_need(old: OldMlflow) -> None:
    done = subprocess.run([old.python, "-c", "import flask"], capture_output=True, text=True, check=False)
    assert "No module named 'flask'" in done.stderr
    assert json.loads((old.model / "input_example.json").read_text())
