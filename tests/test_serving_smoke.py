"""The smoke test as it runs inside an image, here as a process: which models pass it, and why others do not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from promoter.serving.memory import working_set
from tests.support.serving import free_port, pyfunc_model, quiet, sklearn_model, with_expected_output

_MODEL = '''
import os, sys, time
import mlflow

class Model(mlflow.pyfunc.PythonModel):
    """`served` is true in the server, and false in the trial and in the smoke test itself."""

    def load_context(self, context):
        self.served = "worker" in sys.argv[0]
        {load}

    def predict(self, context, model_input, params=None):
        {predict}

mlflow.models.set_model(Model())
'''


def made(folder: Path, predict: str, load: str = "pass") -> Path:
    with quiet():
        import pandas as pd
        from mlflow.models import ModelSignature
        from mlflow.types import ColSpec, Schema

        source = _MODEL.replace("{load}", load).replace("{predict}", predict)
        signature = ModelSignature(inputs=Schema([ColSpec("double", "x")]))
        return pyfunc_model(folder / "model", source, signature, pd.DataFrame({"x": [1.0]}))


def smoked(model: Path, scratch: Path, seconds: str = "120") -> tuple[dict[str, Any], int]:
    named = {"MODEL_PATH": str(model), "MODEL_VERSION": "42", "HOST": "127.0.0.1", "TMPDIR": str(scratch)}
    done = subprocess.run(
        [sys.executable, "-m", "promoter.serving.smoke", "--seconds", seconds],
        env={**os.environ, **named, "PORT": str(free_port())},
        capture_output=True,
        text=True,
        check=False,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])["smoke"]
    return found, done.returncode


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sklearn_model(tmp_path_factory.mktemp("sklearn") / "model")


def test_a_model_that_serves_passes(model: Path, tmp_path: Path) -> None:
    found, code = smoked(model, tmp_path)
    assert (found["problem"], found["notes"], code) == ("", [], 0)
    assert found["seconds"] > 0
    assert (found["memory"] is None) == (working_set() is None)


def test_an_answer_that_is_not_what_was_logged_fails(model: Path, tmp_path: Path) -> None:
    copy = with_expected_output(model, tmp_path / "copy")
    assert smoked(copy, tmp_path)[0]["problem"] == ""
    (copy / "serving_output_example.json").write_text('{"predictions": [1000.0, 2.0, 3.0]}')
    found, code = smoked(copy, tmp_path)
    assert "predictions[0] is" in found["problem"]
    assert "expected 1000.0" in found["problem"]
    assert code == 1


def test_a_model_without_an_example_only_has_to_be_ready(model: Path, tmp_path: Path) -> None:
    copy = with_expected_output(model, tmp_path / "copy")
    (copy / "serving_input_example.json").unlink()
    found, code = smoked(copy, tmp_path)
    assert (found["notes"], code) == (["the model has no example to answer"], 0)


@pytest.mark.parametrize(
    ("predict", "load", "problem"),
    [
        ("return [2.0 if self.served else 1.0]", "pass", "the server answers the example otherwise than the model does: "),
        ("return [1.0]", "self.served and sys.exit(3)", "the server ended with 1 before it was ready"),
        ("return [1.0]", "self.served and time.sleep(3600)", "the server is not ready after 15 s"),
    ],
    ids=["answers otherwise", "ends", "is never ready"],
)
def test_a_model_that_does_not_serve_is_named(tmp_path: Path, predict: str, load: str, problem: str) -> None:
    seconds = "15" if "sleep" in load else "120"
    found, code = smoked(made(tmp_path, predict, load), tmp_path, seconds)
    assert found["problem"].startswith(problem)
    assert code == 1


def test_a_model_that_answers_each_time_otherwise_is_not_compared(tmp_path: Path) -> None:
    found, code = smoked(made(tmp_path, "import random; return [random.random()]"), tmp_path)
    assert (found["problem"], found["notes"], code) == ("", ["the model answers its example each time otherwise"], 0)


def test_the_working_set_leaves_out_pages_that_can_be_dropped(tmp_path: Path) -> None:
    (tmp_path / "memory.current").write_text("5000\n")
    (tmp_path / "memory.stat").write_text("anon 3000\ninactive_file 1500\nactive_file 500\n")
    assert working_set(tmp_path) == 3500
    assert working_set(tmp_path / "nowhere") is None
    first = tmp_path / "v1" / "memory"
    first.mkdir(parents=True)
    (first / "memory.usage_in_bytes").write_text("900")
    (first / "memory.stat").write_text("inactive_file 7\ntotal_inactive_file 100\n")
    assert working_set(tmp_path / "v1") == 800


# -- a model with its labels mixed up ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mixed_up(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A classifier that learned the opposite, logged with an example and its own answer to it; and rows with true answers."""
    folder = tmp_path_factory.mktemp("mixed-up")
    with quiet():
        import mlflow.sklearn
        from sklearn.datasets import make_classification
        from sklearn.linear_model import LogisticRegression

        rows, labels = make_classification(n_samples=400, n_features=4, random_state=7)
        classifier = LogisticRegression().fit(rows[:300], 1 - labels[:300])
        assert classifier.score(rows[300:], labels[300:]) < 0.2
        mlflow.sklearn.save_model(classifier, folder / "bare", input_example=rows[:5], pip_requirements=[])
    model = with_expected_output(folder / "bare", folder / "model")
    return model, {"request": {"inputs": rows[300:308].tolist()}, "answers": labels[300:308].tolist(), "minimum": 0.75}


def test_a_model_that_learned_from_mixed_up_labels_passes_only_where_nothing_judges_it(
    mixed_up: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    model, golden = mixed_up
    found, code = smoked(model, tmp_path)
    assert (found["problem"], found["notes"], code) == ("", [], 0)
    judged = Path(shutil.copytree(model, tmp_path / "judged"))
    (judged / "golden_examples.json").write_text(json.dumps(golden))
    found, code = smoked(judged, tmp_path)
    assert code == 1
    assert found["problem"].startswith("golden examples: ")
    assert "golden examples are right, and at least 0.75 of them must be: predictions[" in found["problem"]
    right = [1 - answer for answer in golden["answers"]]
    (judged / "golden_examples.json").write_text(json.dumps(golden | {"answers": right}))
    found, code = smoked(judged, tmp_path)
    assert (found["problem"], found["notes"][0][-31:], code) == ("", " of 8 golden examples are right", 0)
