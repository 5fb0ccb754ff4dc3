"""demo: the story on one machine, with real parts: an MLflow store, a trained model, a Git remote, images in an OCI layout."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promoter import config, output, template
from promoter.clients import Clients
from promoter.errors import PromoterError, UsageError
from promoter.model_registry import ModelReference
from promoter.plan import plan
from promoter.promote import Outcome, promote
from promoter.steps import Steps

MODEL = "fraud-detector"
ALIAS = "challenger"
ENVIRONMENT = "staging"
_MARK = ".promoter-demo"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the parts of the story are."""

    folder: Path

    @property
    def tracking_uri(self) -> str:
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    @property
    def remote(self) -> Path:
        return self.folder / "gitops.git"

    @property
    def checkout(self) -> Path:
        return self.folder / "gitops"

    @property
    def images(self) -> Path:
        return self.folder / "images"


def demo(folder: Path) -> None:
    """Trains two versions of a model, promotes both to staging by alias, and shows what that did.

    Raises:
        UsageError: `folder` holds something that no demo made, or a package of the demo is missing.
    """
    place = Place(folder.resolve())
    _prepare(place)
    output.say(f"Everything is in {folder}/ and stays there to look at.\n")
    _seed(place)
    outcomes = []
    for version, rows in (("1", 20), ("2", 1500)):
        output.say(f"\nA data scientist trains and registers version {version} of {MODEL} and calls it @{ALIAS}:")
        _register(place, rows)
        output.say(f"\n$ promoter promote {MODEL}@{ALIAS} --to {ENVIRONMENT} --no-watch")
        outcomes.append(_promote(place))
    _tell(place, outcomes)


def _prepare(place: Place) -> None:
    folder = place.folder
    foreign = folder.exists() and not (folder / _MARK).is_file() and (not folder.is_dir() or any(folder.iterdir()))
    if foreign:
        raise UsageError(f"{folder} exists and was not made by promoter demo", hint="name another folder with --folder")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / _MARK).touch()


def _seed(place: Place) -> None:
    """A bare remote whose first commit holds the shipped base, overlays and environments, and a checkout of it."""
    output.say("A Git remote is seeded with base/, overlays/, environments/ and promoter.yaml:")
    _git("init", "--quiet", "--bare", "--initial-branch=main", str(place.remote))
    _git("-C", str(place.remote), "config", "uploadpack.allowFilter", "true")
    _git("clone", "--quiet", str(place.remote), str(place.checkout), quiet=True)
    for path, content in template.files():
        target = place.checkout / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(_at_home(content.decode(), place).encode())
    _git("-C", str(place.checkout), "add", "--all")
    author = ("-c", "user.name=promoter demo", "-c", "user.email=demo@example.com", "-c", "commit.gpgSign=false")
    _git(*author, "-C", str(place.checkout), "commit", "--quiet", "--message=Start the GitOps repository")
    _git("-C", str(place.checkout), "push", "--quiet", "origin", "HEAD:main")
    output.say(_git("-C", str(place.checkout), "log", "--oneline"))


def _at_home(text: str, place: Place) -> str:
    """The shipped file, with the addresses of this machine in the places of the examples'."""
    return (
        text.replace("https://github.com/your-org/your-gitops-repository.git", place.remote.as_uri())
        .replace("base: python:3.11-slim", f"base: scratch\n  layout: oci:{place.images}")
        .replace("\nenvironments:", f"\nmlflow:\n  tracking-uri: {place.tracking_uri}\n\nenvironments:")
    )


def _register(place: Place, rows: int) -> None:
    """Trains on that many rows: more of them make a better model."""
    with _quiet():
        try:
            import mlflow
            from sklearn.datasets import make_classification
            from sklearn.linear_model import LogisticRegression
            from sklearn.model_selection import train_test_split
        except ImportError as error:
            raise UsageError(f"the demo needs {error.name}", hint="pip install 'model-promoter[demo]'") from None
        features, labels = make_classification(n_samples=2000, n_features=6, n_informative=5, n_redundant=0, random_state=7)
        train, test, train_labels, test_labels = train_test_split(features, labels, random_state=7)
        classifier = LogisticRegression().fit(train[:rows], train_labels[:rows])
        accuracy = float(classifier.score(test, test_labels))
        mlflow.set_tracking_uri(place.tracking_uri)
        client = mlflow.MlflowClient()
        if client.get_experiment_by_name("fraud") is None:
            client.create_experiment("fraud", artifact_location=(place.folder / "artifacts").as_uri())
        mlflow.set_experiment("fraud")
        with mlflow.start_run():
            mlflow.log_metric("accuracy", accuracy)
            logged = mlflow.sklearn.log_model(
                classifier, name="model", input_example=test[:3], registered_model_name=MODEL, pip_requirements=_requirements()
            )
        client.set_registered_model_alias(MODEL, ALIAS, str(logged.registered_model_version))
    output.say(f"  accuracy {accuracy:.3f} on data it has not seen")


def _requirements() -> list[str]:
    from importlib.metadata import version

    return [f"{name}=={version(name)}" for name in ("mlflow", "numpy", "pandas", "scikit-learn")]


def _promote(place: Place) -> Outcome:
    clients = Clients(config.load(place.checkout / config.FILE), _environ())
    steps = Steps(output.report)
    environment = clients.config.environment(ENVIRONMENT, MODEL)
    return promote(clients, plan(clients, environment, ModelReference.parse(f"{MODEL}@{ALIAS}"), steps), steps)


def _tell(place: Place, outcomes: list[Outcome]) -> None:
    _git("-C", str(place.checkout), "pull", "--quiet", "origin", "main")
    output.say(f"\nWhat {outcomes[-1].commit} changed:\n")
    output.data(output.coloured(_git("-C", str(place.checkout), "show", "--format=%an%n%n%B", "--unified=0", "HEAD")))
    output.say("Where to look:")
    rows = [
        ("  what an environment carried", f"promoter history {ENVIRONMENT} --config {place.checkout / config.FILE}"),
        ("  what it would change", f"promoter plan {MODEL}:1 --to {ENVIRONMENT} --config {place.checkout / config.FILE}"),
        ("  the repository", f"git -C {place.checkout} log --patch"),
        ("  the images", f"{place.images / 'index.json'}"),
        ("  the models", f"mlflow ui --backend-store-uri {place.tracking_uri}"),
    ]
    output.say(output.table(rows))


def _git(*arguments: str, quiet: bool = False) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False, env=_environ())
    if done.returncode != 0 and not quiet:
        raise PromoterError(f"git {arguments[0]} failed: {done.stderr.strip()}", hint="promoter demo needs git 2.30 or newer")
    return done.stdout.rstrip("\n")


def _environ() -> Mapping[str, str]:
    """This process's environment without what would lead to another MLflow or Git repository than the demo's."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "GIT_DIR", "GIT_WORK_TREE"))}


@contextmanager
def _quiet() -> Iterator[Any]:
    """MLflow's talk about its own set-up is not part of the story."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
