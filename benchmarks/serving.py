"""The inference server compared with MLflow's own, one worker each, on the same models: wrk asks over loopback, in turn.

What wrk needs of the machine is taken from both alike. "Best of rounds" is the round with the most requests a second.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypedDict

import requests

from benchmarks.figures import Figure, Section
from tests.support.serving import free_port, pyfunc_model, serving


class Bar(TypedDict, total=False):
    at_most: float
    at_least: float


_CLIENTS, _SECONDS, _ROUNDS = 64, 5, 3
# More connections than MAX_QUEUE has places, each waiting at random before it asks: the offered load does not give way.
_OVERLOAD_CLIENTS, _MAX_QUEUE = 400, 64
_LUA = """
local file = io.open(os.getenv("BODY"))
wrk.method, wrk.body, wrk.headers["Content-Type"] = "POST", file:read("*a"), "application/json"
local pause = tonumber(os.getenv("PAUSE_MS"))
if pause > 0 then
  delay = function() return math.random(2 * pause) end
end
done = function(summary, latency, requests)
  local failed = summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout
  local told = '{"requests": %d, "failed": %d, "seconds": %f, "p50": %f, "p99": %f}'
  io.write(string.format("\\n" .. told .. "\\n", summary.requests, failed, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""
# Calls at a time of a model that waits.
_CALLS = 16
_BARS: Mapping[str, Bar] = {
    "requests/s, unmerged / MLflow's server": {"at_least": 1.5},
    "p99, unmerged / MLflow's server": {"at_most": 1},
    "requests/s, BATCH=row-wise / MLflow's server": {"at_least": 5},
    "requests/s, BATCH=row-wise / MLflow's server, 5 ms a call": {"at_least": 3},
    f"requests/s, CONCURRENCY={_CALLS} / MLflow's server, 5 ms a call": {"at_least": 1},
    f"p99, CONCURRENCY={_CALLS} / MLflow's server, 5 ms a call": {"at_most": 1},
    "requests/s, 1 % of them traced / none": {"at_least": 0.97},
    "offered load of the overload / capacity": {"at_least": 2},
    "answers 200 under that / capacity": {"at_least": 0.8},
}
_FIVE_MILLISECONDS = '''
import time
import mlflow

class Slow(mlflow.pyfunc.PythonModel):
    """What a call costs, whatever its rows: a GPU's launch, a remote feature store."""

    def predict(self, context, model_input, params=None):
        time.sleep(0.005)
        return model_input.sum(axis=1)

mlflow.models.set_model(Slow())
'''


@dataclass(frozen=True)
class Load:
    """What wrk counted. Milliseconds; `failed` are answers other than 200."""

    requests: int
    failed: int
    seconds: float
    p50: float
    p99: float

    @property
    def good(self) -> float:
        return (self.requests - self.failed) / self.seconds

    @property
    def offered(self) -> float:
        return self.requests / self.seconds

    def __str__(self) -> str:
        failed = f", {self.failed / self.requests:.0%} refused" if self.failed else ""
        return f"{self.good:.0f} requests/s, p50 {self.p50:.0f} ms, p99 {self.p99:.0f} ms{failed}"


def measure() -> Section:
    title = (
        f"Inference server and MLflow's own (1 worker, {_CLIENTS} clients, 1 row a request, best of {_ROUNDS} rounds in turn)"
    )
    if not shutil.which("wrk"):
        unknown = tuple(Figure(name, None, **bar) for name, bar in _BARS.items())
        return Section(title, (), unknown, ("wrk (Debian's and Ubuntu's package wrk) is not on this machine: not measured.",))
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        models = {"small": _small(folder / "small"), "slow": _slow(folder / "slow")}
        urls = {
            f"{server} {model}": stack.enter_context(start(models[model], folder / f"{server}-{model}"))
            for model in models
            for server, start in _SERVERS.items()
            if (server, model)
            not in (("concurrent", "small"), ("traced", "slow"))  # it computes: threads would only take turns
        }
        best = {name: Load(0, 0, 1, 0, 0) for name in urls}
        for _ in range(_ROUNDS):
            for name, url in urls.items():
                best[name] = max(best[name], _ask(url, models[name.split()[1]], folder), key=lambda load: load.good)
        capacity = best["plain small"].good
        pause = _OVERLOAD_CLIENTS / (2.8 * capacity)  # more than twice: those who are served wait, and ask later
        overload = _ask(urls["plain small"], models["small"], folder, _OVERLOAD_CLIENTS, pause)
    return Section(title, _rows(best, overload, capacity), _figures(best, overload, capacity))


def _rows(best: Mapping[str, Load], overload: Load, capacity: float) -> tuple[tuple[str, str], ...]:
    servers = {
        "mlflow": "mlflow models serve",
        "plain": "promoter.serving",
        "concurrent": f"promoter.serving, CONCURRENCY={_CALLS}",
        "row-wise": "promoter.serving, BATCH=row-wise",
        "traced": "promoter.serving, 1 % of the requests traced",
    }
    models = {"small": "scikit-learn, 30 columns", "slow": "5 ms a call"}
    rows = [(f"{servers[name.split()[0]]}: {models[name.split()[1]]}", str(load)) for name, load in best.items()]
    times = f"{overload.offered / capacity:.1f} × its capacity"
    return (*rows, (f"promoter.serving: scikit-learn, 30 columns, offered {times}", str(overload)))


def _figures(best: Mapping[str, Load], overload: Load, capacity: float) -> tuple[Figure, ...]:
    def ratio(one: str, other: str) -> float:
        return best[one].good / best[other].good

    def slower(one: str, other: str) -> float:
        return best[one].p99 / best[other].p99

    values = (
        ratio("plain small", "mlflow small"),
        slower("plain small", "mlflow small"),
        ratio("row-wise small", "mlflow small"),
        ratio("row-wise slow", "mlflow slow"),
        ratio("concurrent slow", "mlflow slow"),
        slower("concurrent slow", "mlflow slow"),
        ratio("traced small", "plain small"),
        overload.offered / capacity,
        overload.good / capacity,
    )
    return tuple(Figure(name, value, **bar) for (name, bar), value in zip(_BARS.items(), values, strict=True))


def _ask(url: str, model: Path, folder: Path, clients: int = _CLIENTS, pause: float = 0.0) -> Load:
    """One round; `pause` is the mean of the seconds that a client waits before it asks."""
    script = folder / "ask.lua"
    script.write_text(_LUA)
    environ = {**os.environ, "BODY": str(model / "serving_input_example.json"), "PAUSE_MS": f"{pause * 1000:.0f}"}
    command = ["wrk", "--threads", "1", "--connections", str(clients), "--duration", f"{_SECONDS}s", "--timeout", "30s"]
    done = subprocess.run([*command, "--script", str(script), url], env=environ, capture_output=True, text=True, check=True)
    return Load(**json.loads(done.stdout.splitlines()[-1]))


@contextmanager
def _plain(model: Path, scratch: Path, **environ: str) -> Iterator[str]:
    scratch.mkdir()
    with serving(scratch, model, MAX_BATCH_SIZE=str(_CLIENTS), MAX_QUEUE=str(_MAX_QUEUE), **environ) as server:
        yield server.wait_until_ready().url + "/predict"


@contextmanager
def _row_wise(model: Path, scratch: Path) -> Iterator[str]:
    with _plain(model, scratch, BATCH="row-wise") as url:
        yield url


@contextmanager
def _concurrent(model: Path, scratch: Path) -> Iterator[str]:
    with _plain(model, scratch, CONCURRENCY=str(_CALLS)) as url:
        yield url


@contextmanager
def _traced(model: Path, scratch: Path) -> Iterator[str]:
    """One request of a hundred is traced; a collector takes what comes."""

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        sampled = {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"}
        try:
            url = f"http://127.0.0.1:{collector.server_port}"
            with _plain(model, scratch, OTEL_EXPORTER_OTLP_ENDPOINT=url, **sampled) as served:
                yield served
        finally:
            collector.shutdown()
            thread.join()


@contextmanager
def _mlflow(model: Path, scratch: Path) -> Iterator[str]:
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "models",
        "serve",
        "--model-uri",
        str(model),
        "--env-manager",
        "local",
        "--workers",
        "1",
    ]
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with scratch.with_suffix(".log").open("wb") as log:
        # A process group of its own: the server is a grandchild, behind a shell.
        process = subprocess.Popen([*command, "--port", str(port)], env=environ, stdout=log, stderr=log, process_group=0)
    try:
        _wait_for(f"http://127.0.0.1:{port}/ping", process)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


_SERVERS = {"mlflow": _mlflow, "plain": _plain, "traced": _traced, "concurrent": _concurrent, "row-wise": _row_wise}


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):
        if process.poll() is not None:
            raise RuntimeError("MLflow's server has ended")
        try:
            if requests.get(url, timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.1)
    raise RuntimeError("MLflow's server does not come up")


def _small(folder: Path) -> Path:
    import mlflow.sklearn
    import numpy as np
    import pandas as pd
    from mlflow.models import infer_signature
    from sklearn.linear_model import LogisticRegression

    columns = [f"feature_{number}" for number in range(30)]
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(200, 30)), columns=columns)
    model = LogisticRegression().fit(frame, frame["feature_0"] > 0)
    signature = infer_signature(frame, model.predict(frame))
    mlflow.sklearn.save_model(model, str(folder), signature=signature, input_example=frame.head(1), pip_requirements=[])
    return folder


def _slow(folder: Path) -> Path:
    import numpy as np
    import pandas as pd
    from mlflow.models import infer_signature

    frame = pd.DataFrame(np.ones((1, 5)), columns=list("abcde"))
    return pyfunc_model(folder, _FIVE_MILLISECONDS, infer_signature(frame), frame)


if __name__ == "__main__":
    print(measure().markdown())
