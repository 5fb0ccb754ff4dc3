"""The data scientist of the story: trains a model and registers it in MLflow."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from promoter.demo.place import Place
from promoter.demo.repository import ALIAS, MODEL
from promoter.errors import UsageError
from promoter.machine.extras import install

GOLDEN = "golden_examples.json"
_EXAMPLES = 4  # of each class
# What loads the model: newer MLflows save scikit-learn's with skops, and older ones do not bring it.
_PACKAGES = ("mlflow", "numpy", "pandas", "scikit-learn", "skops")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a version is trained on: so many rows, and whether somebody mixed up their labels."""

    rows: int
    flipped: bool = False


@dataclass(frozen=True, slots=True)
class Example:
    """Transactions whose answers are known: the rows, and for each of them 1 for fraud or 0."""

    rows: Sequence[Sequence[float]]
    labels: Sequence[int]

    @property
    def request(self) -> dict[str, Any]:
        """The body of POST /predict."""
        return {"inputs": self.rows}


class Training:
    """Data, and a model store in the demo's folder.

    Raises:
        UsageError: a package that training needs is missing.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        with _quiet():
            try:
                import mlflow
                import sklearn  # noqa: F401 - to name what is missing, before anything is made
            except ImportError as error:
                raise UsageError(f"the demo needs {error.name}", hint=install("demo")) from None
        self._mlflow = mlflow

    @cached_property
    def _data(self) -> Any:
        """Rows and labels, to train on and to test with: always the same."""
        from sklearn.datasets import make_classification
        from sklearn.model_selection import train_test_split

        rows, labels = make_classification(n_samples=2000, n_features=6, n_informative=5, n_redundant=0, random_state=7)
        return train_test_split(rows, labels, random_state=7)

    @cached_property
    def example(self) -> Example:
        """The clearest cases of each class among the rows that no model is trained on."""
        train, test, train_labels, test_labels = self._data
        scores = _classifier().fit(train, train_labels).decision_function(test)
        order = scores.argsort()
        right = [index for index in order if (scores[index] > 0) == bool(test_labels[index])]
        clearest = [*right[:_EXAMPLES], *right[-_EXAMPLES:]]
        return Example(test[clearest].tolist(), test_labels[clearest].tolist())

    def register(self, recipe: Recipe) -> float:
        """Trains and registers one more version and gives it the alias; its accuracy on rows it has not seen."""
        train, test, train_labels, test_labels = self._data
        labels = 1 - train_labels if recipe.flipped else train_labels
        classifier = _classifier().fit(train[: recipe.rows], labels[: recipe.rows])
        accuracy = float(classifier.score(test, test_labels))
        with _quiet():
            self._log(classifier, accuracy)
        return accuracy

    def _log(self, classifier: Any, accuracy: float) -> None:
        import numpy as np

        mlflow = self._mlflow
        mlflow.set_tracking_uri(self._place.tracking_uri)
        client = mlflow.MlflowClient()
        if client.get_experiment_by_name("fraud") is None:
            client.create_experiment("fraud", artifact_location=self._place.artifacts.as_uri())
        mlflow.set_experiment("fraud")
        with mlflow.start_run():
            mlflow.log_metric("accuracy", accuracy)
            logged = mlflow.sklearn.log_model(
                classifier,
                name="model",
                input_example=np.array(self.example.rows),
                registered_model_name=MODEL,
                pip_requirements=list(_pinned(_PACKAGES)),
            )
        with TemporaryDirectory() as folder:
            for name, content in self._checks(classifier).items():
                Path(folder, name).write_text(json.dumps(content))
                client.log_model_artifact(logged.model_id, str(Path(folder, name)))
        client.set_registered_model_alias(MODEL, ALIAS, str(logged.registered_model_version))

    def _checks(self, classifier: Any) -> dict[str, Any]:
        """What the version itself answers, and what it is to answer, whatever it has learned (docs/serving.md)."""
        answers = classifier.predict(self.example.rows).tolist()
        golden = {"request": self.example.request, "answers": list(self.example.labels)}
        return {"serving_output_example.json": {"predictions": answers}, GOLDEN: golden}


def _pinned(packages: Iterable[str]) -> Iterator[str]:
    """Those that are installed, in the version that is."""
    for name in packages:
        with suppress(PackageNotFoundError):
            yield f"{name}=={version(name)}"


def _classifier() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression()


@contextmanager
def _quiet() -> Iterator[None]:
    """MLflow's talk about its own set-up is not part of the story."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
