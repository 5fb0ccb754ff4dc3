"""Pods as local processes of the inference server, each on a free loopback port."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from typing import IO, Any

import requests

from promoter.demo.sandbox.pods import Measurement, Pod, PodStatus
from promoter.machine.process import begin

_DRAIN_SECONDS = 0.5  # like a preStop sleep: requests that were sent before the endpoint was taken out arrive
_KILL_AFTER_SECONDS = 30.0
_PROBE_SECONDS = 0.5
_MEASURE_SECONDS = 5.0
_PREDICTIONS = "predictions"


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the model is to answer: the body of POST /predict, and the predictions; `at_least` of them must be equal."""

    request: Mapping[str, Any]
    predictions: Sequence[Any]
    at_least: float = 1.0


@dataclass
class _Process:
    popen: Popen[bytes]
    address: str
    log: Path
    ready: bool = False
    stopped_at: float | None = None
    terminated: bool = False


class ProcessRuntime:
    """Starts `python -m promoter.serving` for each pod.

    `find_model` returns the folder with the model of an image reference (None: the image does not exist, ErrImagePull);
    `expect` returns what a model found in that folder must predict. That is what the metric "predictions" measures, which is a
    Job in a cluster; every other metric measures GET /health.
    """

    def __init__(
        self,
        find_model: Callable[[str], Path | None],
        *,
        folder: Path,
        expect: Callable[[Path], Expectation] | None = None,
    ) -> None:
        self._find_model, self._folder, self._expect = find_model, folder, expect
        self._processes: dict[str, _Process] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def start(self, pod: Pod) -> None:
        model = self._find_model(pod.image)
        if model is None:
            return
        port = _free_port()
        log = self._folder / f"{pod.name}.log"
        local = {"HOST": "127.0.0.1", "PORT": str(port), "MODEL_PATH": str(model)}
        # One process a pod is enough on one machine, and the proxy knows at once when a pod is to go.
        environment = {**os.environ, **pod.env, **local, "WORKERS": "1", "DRAIN_SECONDS": "0"}
        with log.open("wb") as output:
            popen = _spawn(environment, output)
        self._processes[pod.name] = _Process(popen, f"127.0.0.1:{port}", log)

    def status(self, pod: Pod) -> PodStatus:
        process = self._processes.get(pod.name)
        if process is None:
            failed = f'failed to pull and unpack image "{pod.image}": failed to resolve reference "{pod.image}"'
            return PodStatus("ErrImagePull", message=f"rpc error: code = NotFound desc = {failed}: {pod.image}: not found")
        if process.popen.poll() is not None:
            message = f"container exited with code {process.popen.returncode}: {' '.join(self.logs(pod.name)[-1:])}"
            return PodStatus("CrashLoopBackOff", message=message, restarts=1)
        if not process.ready:  # asked until it is ready once: a busy machine must not take a pod out of the Service
            answer = _get(process.address, "/ready", _PROBE_SECONDS)
            process.ready = answer is not None and answer.status_code == 200
        return PodStatus("Running", ready=process.ready, address=process.address)

    def stop(self, pod: Pod) -> None:
        if process := self._processes.get(pod.name):
            process.stopped_at = time.monotonic()

    def gone(self, pod: Pod) -> bool:
        process = self._processes.get(pod.name)
        if process is None or process.popen.poll() is not None:
            return True
        age = time.monotonic() - (process.stopped_at or time.monotonic())
        if age >= _DRAIN_SECONDS and not process.terminated:
            process.popen.terminate()
            process.terminated = True
        if age >= _KILL_AFTER_SECONDS:
            process.popen.kill()
        return False

    def measure(self, metric: Mapping[str, Any], pod: Pod) -> Measurement:
        address = self._processes[pod.name].address
        if metric["name"] == _PREDICTIONS:
            return self._measure_predictions(address, pod)
        answer = _get(address, "/health", _MEASURE_SECONDS)
        if answer is None or answer.status_code != 200:
            reason = "no answer" if answer is None else f"received non 2xx response code: {answer.status_code}"
            return Measurement("Error", message=reason)
        health = answer.json()
        good = health.get("status") == "ok" and health.get("model_version") == pod.env.get("MODEL_VERSION")
        return Measurement("Successful" if good else "Failed", value=answer.text)

    def _measure_predictions(self, address: str, pod: Pod) -> Measurement:
        """The share of predictions that are as expected."""
        model = self._find_model(pod.image)
        if self._expect is None or model is None:
            return Measurement("Error", message=f"nothing to expect of {pod.image}")
        expectation = self._expect(model)
        try:
            answer = requests.post(f"http://{address}/predict", json=expectation.request, timeout=_MEASURE_SECONDS)
        except requests.RequestException as error:
            return Measurement("Error", message=type(error).__name__)
        if answer.status_code != 200:
            return Measurement("Error", message=f"received non 2xx response code: {answer.status_code}")
        given, wanted = answer.json().get("predictions", []), list(expectation.predictions)
        equal = sum(1 for one, other in zip(given, wanted, strict=False) if one == other)
        share = equal / len(wanted) if len(given) == len(wanted) else 0.0
        return Measurement("Successful" if share >= expectation.at_least else "Failed", value=json.dumps(round(share, 4)))

    def logs(self, pod_name: str) -> list[str]:
        process = self._processes.get(pod_name)
        return process.log.read_text(errors="replace").splitlines() if process else []

    def close(self) -> None:
        for process in self._processes.values():
            process.popen.terminate()
        for process in self._processes.values():
            try:
                process.popen.wait(_KILL_AFTER_SECONDS)
            except TimeoutExpired:
                process.popen.kill()
                process.popen.wait()


def _spawn(environment: Mapping[str, str], output: IO[bytes]) -> Popen[bytes]:
    command = [sys.executable, "-m", "promoter.serving"]
    return begin(command, environ=environment, output=output)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _get(address: str, path: str, timeout: float) -> requests.Response | None:
    try:
        return requests.get(f"http://{address}{path}", timeout=timeout)
    except requests.RequestException:
        return None
