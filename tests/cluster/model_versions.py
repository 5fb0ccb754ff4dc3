"""The registered model of these tests: one version for each way in which a model can behave."""

from __future__ import annotations

from collections.abc import Iterable

from tests.support.mlflow_server import MlflowServer, sklearn_files

MODEL = "fraud-detector"

STABLE = "1"  # what runs before promoter comes; its image was made by hand
GOOD, UNHEALTHY, CRASHING, NEVER_READY, UNDECIDED, UNMEASURABLE, NEWER, LOST = "2", "3", "4", "5", "6", "7", "8", "9"
BEHAVIOURS = {
    STABLE: "good",
    GOOD: "good",
    UNHEALTHY: "unhealthy",
    CRASHING: "crash",
    NEVER_READY: "never-ready",
    UNDECIDED: "undecided",
    UNMEASURABLE: "unmeasurable",
    NEWER: "good",
    LOST: "good",  # its image is deleted from the container registry: no other test may have had it pulled
}


def register(server: MlflowServer) -> None:
    """Registers every version: a small classifier with one more file, which the test service reads."""
    files = sklearn_files()
    for version, behaviour in BEHAVIOURS.items():
        model = server.log_model({**files, "behaviour": behaviour.encode(), "version": version.encode()})
        registered = server.register(MODEL, f"models:/{model}")
        assert registered == version, f"version {registered} was to be {version}"


def forgive(server: MlflowServer, versions: Iterable[str] = tuple(BEHAVIOURS)) -> None:
    """Removes what the last environment's promoter wrote to the versions: the next one has the same name."""
    for version in versions:
        found = server.api("GET", "model-versions/get", name=MODEL, version=version)["model_version"]
        for tag in found.get("tags", []):
            server.api("DELETE", "model-versions/delete-tag", name=MODEL, version=version, key=tag["key"])
