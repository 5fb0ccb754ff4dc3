"""What the receiver of webhooks takes, compared with what MLflow delivers, in the same run on the same machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from benchmarks.figures import Figure, Section
from promoter.model_registry import Webhooks
from promoter.webhook.register import register
from tests.support.deliveries import SECRET, Delivery, delivery
from tests.support.mlflow_server import running
from tests.support.receivers import ALIAS, Receiver, Rig, rig

_SECONDS, _CLIENTS, _CONNECTIONS = 6.0, 8, 64
_CACHED = 5  # seconds that MLflow keeps its list of webhooks: long enough to cost nothing, short enough to wait for
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


def measure() -> Section:
    """MLflow's webhook points at the receiver while clients set aliases; then wrk sends a delivery as fast as it is taken."""
    with _world() as (it, receiver):
        delivered = _mlflow_delivers(it, receiver)
        rows = [("MLflow's deliveries, 8 clients setting aliases", f"{delivered:.0f} a second")]
        if shutil.which("wrk") is None:
            return Section(_TITLE, tuple(rows), (), ("What the receiver takes was not measured: wrk is missing.",))
        taken, median, slowest = _wrk(receiver, delivery(it.models[0]))
        peak = _peak(receiver)
    rows += [
        ("the receiver takes, 64 connections", f"{taken:.0f} a second"),
        ("half of them within", f"{median:.1f} ms"),
        ("99 % of them within", f"{slowest:.1f} ms"),
        ("its peak memory", f"{peak:.0f} MB"),
    ]
    note = (
        "Each delivery is verified and wakes a comparison of alias, Git and cluster, which goes on alongside them all the time."
    )
    return Section(_TITLE, tuple(rows), (Figure("deliveries, receiver to MLflow", taken / delivered, at_least=5),), (note,))


_TITLE = "Webhook deliveries that the receiver takes, compared with those that MLflow makes"


@contextmanager
def _world() -> Iterator[tuple[Rig, Receiver]]:
    before = dict(os.environ)
    with tempfile.TemporaryDirectory() as name:
        folder, home = Path(name), Path(name, "home")
        for made in (folder / "mlflow", folder / "world", home):
            made.mkdir()
        os.environ.update(HOME=str(home), XDG_CACHE_HOME=str(home / ".cache"))
        try:
            with (
                running(folder / "mlflow", MLFLOW_WEBHOOK_CACHE_TTL=str(_CACHED)) as server,
                rig(folder / "world", server, ["one", "two"]) as it,
            ):
                yield it, it.ready()
        finally:
            os.environ.clear()
            os.environ.update(before)


def _mlflow_delivers(it: Rig, receiver: Receiver) -> float:
    """Deliveries a second that reach the receiver while clients set an alias to what it is already."""
    webhooks = Webhooks.from_environ(it.server.environ)
    registered = register(webhooks, "bench", f"{receiver.url}/mlflow", SECRET.decode())
    ended = threading.Event()

    def set_aliases() -> None:
        body = {"name": it.models[0], "alias": ALIAS, "version": "1"}
        with requests.Session() as session:
            while not ended.is_set():
                session.post(
                    f"{it.server.url}/api/2.0/mlflow/registered-models/alias", json=body, timeout=60
                ).raise_for_status()

    clients = [threading.Thread(target=set_aliases) for _ in range(_CLIENTS)]
    for client in clients:
        client.start()
    time.sleep(_CACHED + 1)
    before, started = _accepted(receiver), time.monotonic()
    time.sleep(_SECONDS)
    rate = (_accepted(receiver) - before) / (time.monotonic() - started)
    ended.set()
    for client in clients:
        client.join()
    webhooks.delete(registered.webhook)
    return rate


def _accepted(receiver: Receiver) -> float:
    text = requests.get(f"{receiver.url}/metrics", timeout=20).text
    found = re.search(r'^promoter_webhook_deliveries_total\{outcome="accepted"\} (\S+)$', text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def _wrk(receiver: Receiver, one: Delivery) -> tuple[float, float, float]:
    """Requests a second, and the milliseconds within which half of them and 99 % were answered; each answer must be 202."""
    headers = "".join(f'wrk.headers["{name}"] = "{value}"\n' for name, value in one.headers.items())
    script = receiver.log.with_name("delivery.lua")
    script.write_text(f'wrk.method = "POST"\nwrk.body = [==[{one.body.decode()}]==]\n{headers}')
    before = _accepted(receiver)
    command = [
        "wrk",
        "-t1",
        f"-c{_CONNECTIONS}",
        f"-d{_SECONDS:.0f}s",
        "--latency",
        "-s",
        str(script),
        f"{receiver.url}/mlflow",
    ]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in told, told
    assert _accepted(receiver) > before, told
    latency = {
        percent: float(value) * _UNITS[unit] for percent, value, unit in re.findall(r"(\d+)%\s+([\d.]+)(us|ms|s)\b", told)
    }
    rate = re.search(r"Requests/sec:\s+([\d.]+)", told)
    assert rate is not None, told
    return float(rate[1]), latency["50"], latency["99"]


def _peak(receiver: Receiver) -> float:
    status = Path(f"/proc/{receiver.process.pid}/status").read_text()
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 / 1e6 if found else 0.0
