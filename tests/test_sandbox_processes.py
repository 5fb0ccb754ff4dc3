"""The sandbox with real pods: inference servers as local processes, a client that asks throughout, analysis by prediction."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from promoter.demo.sandbox import Application, Expectation, Pod, PodStatus, ProcessRuntime, Proxy, Sandbox
from tests.support.sandbox import BASE, NAME, NAMESPACE, Remote, overlay

pytest.importorskip("mlflow.pyfunc", reason="the full mlflow is not installed")
pytest.importorskip("sklearn", reason="scikit-learn is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

ROWS = [[0.0], [1.0], [2.0]]
REQUEST = {"dataframe_split": {"columns": ["amount"], "data": ROWS}}
# A pod takes seconds to load on an idle machine and much longer on a busy one.
BRISK = {
    "progressDeadlineSeconds: 40": "progressDeadlineSeconds: 600",
    "replicas: 3": "replicas: 1",
    "duration: 5s": "duration: 1s",
    "interval: 2s": "interval: 500ms",
    "  metrics:\n": "  metrics:\n  - {name: predictions, count: 3, interval: 1s, failureLimit: 0, provider: {job: {}}}\n",
}


def save_model(folder: Path, value: float) -> Path:
    """A model that answers `value` to everything."""
    import mlflow.sklearn
    import pandas as pd
    from sklearn.dummy import DummyRegressor

    frame = pd.DataFrame(ROWS, columns=["amount"])
    model = DummyRegressor(strategy="constant", constant=value).fit(frame, [value] * len(ROWS))
    mlflow.sklearn.save_model(model, str(folder), input_example=frame, pip_requirements=[])
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """v1 and v2 answer 1.0, as is expected; v3 answers 7.0."""
    folder = tmp_path_factory.mktemp("models")
    return {f"v{version}": save_model(folder / f"v{version}", value) for version, value in ((1, 1.0), (2, 1.0), (3, 7.0))}


class Traffic:
    """Asks the Service again and again, and counts the answers."""

    def __init__(self, url: str) -> None:
        self.answers: Counter[str] = Counter()
        self._url, self._stop = url, threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        with requests.Session() as session:
            while not self._stop.wait(0.05):
                answer = session.post(self._url + "/predict", json=REQUEST, timeout=30)
                self.answers[answer.text if answer.ok else f"failed: {answer.status_code} {answer.text}"] += 1


@pytest.fixture
def world(tmp_path: Path, models: dict[str, Path]) -> Iterator[tuple[Sandbox, Remote]]:
    remote = Remote(tmp_path)
    base = BASE["base/rollout.yaml"]
    for old, new in BRISK.items():
        assert old in base
        base = base.replace(old, new)
    remote.commit({**BASE, "base/rollout.yaml": base, **overlay(1)})

    def find_model(image: str) -> Path | None:
        return models.get(image.rpartition("@")[0].rpartition(":")[2].partition("-")[0])

    runtime = ProcessRuntime(find_model, folder=tmp_path / "pods", expect=lambda _: Expectation(REQUEST, [1.0, 1.0, 1.0]))
    application = Application(NAME, "default", remote.url, "overlays/staging", NAMESPACE)
    with Sandbox([application], folder=tmp_path / "cache", runtime=runtime) as sandbox:
        yield sandbox, remote


def get(sandbox: Sandbox, path: str = "", **query: str) -> Any:
    headers = {"Authorization": f"Bearer {sandbox.token}"}
    url = f"{sandbox.url}/api/v1/applications/{NAME}{path}"
    return requests.get(url, params={"project": "default", **query}, headers=headers, timeout=30).json()


def until(sandbox: Sandbox, reached: Callable[[Any], bool]) -> Any:
    for _ in range(4000):
        application = get(sandbox)
        if reached(application["status"]):
            return application
        time.sleep(0.1)
    raise AssertionError(f"never reached: {application['status']}")


def healthy_at(revision: str) -> Callable[[Any], bool]:
    return lambda status: (
        (status["sync"], status["health"]["status"])
        == ({**status["sync"], "status": "Synced", "revision": revision}, "Healthy")
    )


def test_a_canary_goes_live_and_a_wrong_one_is_aborted_and_no_request_fails(world: tuple[Sandbox, Remote]) -> None:
    sandbox, remote = world
    until(sandbox, lambda status: status["health"]["status"] == "Healthy")
    with Traffic(sandbox.service(NAME)) as traffic:
        good = remote.commit(overlay(2))
        get(sandbox, refresh="normal")
        until(sandbox, healthy_at(good))
        remote.commit(overlay(3))
        get(sandbox, refresh="normal")
        aborted = until(sandbox, lambda status: status["health"]["status"] == "Degraded")
        restored = remote.commit(overlay(2))
        get(sandbox, refresh="normal")
        until(sandbox, healthy_at(restored))
    message = next(item for item in aborted["status"]["resources"] if item["kind"] == "Rollout")["health"]["message"]
    assert message.endswith('Metric "predictions" assessed Failed due to failed (1) > failureLimit (0)')
    assert set(traffic.answers) == {'{"predictions": [1.0, 1.0, 1.0]}', '{"predictions": [7.0, 7.0, 7.0]}'}


def test_an_image_that_is_nowhere_and_a_model_that_does_not_load(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    runtime = ProcessRuntime({"there": tmp_path / "empty"}.get, folder=tmp_path / "pods")
    missing, broken = Pod("missing", "nowhere", {}), Pod("broken", "there", {"MODEL_VERSION": "1"})
    try:
        runtime.start(missing)
        runtime.start(broken)
        assert runtime.status(missing).reason == "ErrImagePull"
        while (status := runtime.status(broken)).reason != "CrashLoopBackOff":
            assert status == PodStatus("Running", ready=False, address=status.address)
            time.sleep(0.1)
        assert "MLmodel is missing" in " ".join(runtime.logs("broken"))
        assert runtime.gone(missing)
        assert runtime.gone(broken)
    finally:
        runtime.close()


def test_the_service_reports_503_without_pods_and_502_when_the_pod_is_not_there() -> None:
    endpoints: list[str] = []
    proxy = Proxy(lambda: endpoints)
    try:
        assert requests.get(proxy.url + "/health", timeout=5).status_code == 503
        endpoints.append("127.0.0.1:1")
        assert requests.get(proxy.url + "/health", timeout=5).status_code == 502
    finally:
        proxy.close()
