"""The whole way: an alias is set in a real MLflow, whose own webhook reaches a running receiver, and the release goes live."""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import requests

from promoter.demo.sandbox import Behaviour, Measurement
from promoter.model_registry import Webhooks
from promoter.webhook.register import register
from promoter.webhook.register import test as send_test
from tests.support.deliveries import SECRET, delivery
from tests.support.mlflow_server import MlflowServer
from tests.support.receivers import ALIAS, Receiver, Rig, eventually, free_port, rig

FAILS = Behaviour(measurement=Measurement("Failed", "0.4"))


@pytest.fixture(scope="module")
def it(mlflow_server: MlflowServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    folder = tmp_path_factory.mktemp("webhook")
    with rig(folder, mlflow_server, [f"detector-{uuid.uuid4().hex[:8]}" for _ in range(3)]) as made:
        yield made


@pytest.fixture(scope="module")
def receiver(it: Rig) -> Iterator[Receiver]:
    """A receiver that MLflow calls; nothing but the events makes it look."""
    running = it.ready("--interval", "3600")
    webhooks = Webhooks.from_environ(it.server.environ)
    name = f"promoter-{uuid.uuid4().hex[:8]}"
    registered = register(webhooks, name, f"{running.url}/mlflow", SECRET.decode())
    assert registered.created
    assert send_test(webhooks, name).success
    yield running
    webhooks.delete(registered.webhook)


def reconciled(receiver: Receiver, model: str, action: str) -> bool:
    return any((line["model"], line["action"]) == (model, action) for line in receiver.lines("reconciled"))


def test_what_was_missed_is_done_at_the_start_and_a_term_signal_ends_it_cleanly(it: Rig) -> None:
    model = it.models[0]
    (version,) = it.register(model, 1)
    it.server.set_alias(model, ALIAS, version)
    running = it.ready("--interval", "3600", name="first")
    eventually("the overlay deploys it", lambda: it.deployed(model) == version)
    assert running.stop() == 0
    assert {one["event"] for one in running.lines()[-2:]} == {"stopping", "left"}  # by two threads
    assert it.history(model) == [version]


def test_setting_the_alias_leads_to_the_commit_and_to_the_healthy_rollout(it: Rig, receiver: Receiver) -> None:
    model = it.models[1]
    (version,) = it.register(model, 1)
    started = time.monotonic()
    it.server.set_alias(model, ALIAS, version)
    eventually("the overlay deploys it", lambda: it.deployed(model) == version)
    committed = time.monotonic() - started
    eventually("the Rollout is healthy", lambda: it.live(model) == version)
    live = time.monotonic() - started
    eventually("the receiver has seen it live", lambda: reconciled(receiver, model, "promoted"))
    print(f"\nalias -> commit {committed:.2f} s, -> healthy {live:.2f} s")
    assert it.history(model) == [version]
    metrics = requests.get(f"{receiver.url}/metrics", timeout=20).text
    assert f'promoter_reconciled_total{{action="promoted",environment="staging",model="{model}"}} 1.0' in metrics
    assert 'promoter_step_seconds_count{status="succeeded",step="commit"} ' in metrics
    assert "promoter_last_reconcile_timestamp_seconds 1" in metrics


def test_a_delivery_that_comes_twice_and_again_changes_nothing_more(it: Rig, receiver: Receiver) -> None:
    model = it.models[1]
    tip, looked = it.remote.tip(), len(receiver.lines("delivery"))
    one = delivery(model)
    assert [receiver.post(one) for _ in range(20)] == [202] * 20
    # Another model's event is looked at after them: what they were to lead to would have begun by then.
    other = it.models[0]
    (version,) = it.register(other, 1)
    it.server.set_alias(other, ALIAS, version)
    eventually("the other model's overlay deploys it", lambda: it.deployed(other) == version)
    assert len(receiver.lines("delivery")) >= looked + 20
    assert it.remote.log("%H").index(tip) == 1
    assert it.history(model).count(it.deployed(model)) == 1


def test_what_fails_its_analysis_is_restored_with_nobody_touching_anything(it: Rig, receiver: Receiver) -> None:
    model = it.models[2]
    (version,) = it.register(model, 1)
    it.behaviours[model, version] = FAILS
    it.server.set_alias(model, ALIAS, version)
    eventually("Git is restored", lambda: it.history(model) == [version, "1"])
    eventually("the cluster runs the version before", lambda: it.live(model) == "1")
    eventually("the receiver has seen it", lambda: reconciled(receiver, model, "restored"))
    # The alias still names it, and so does every look from now on: it is quarantined.
    receiver.post(delivery(model))
    eventually("it is left alone", lambda: reconciled(receiver, model, "left alone"))
    assert it.history(model) == [version, "1"]


def test_health_has_a_port_of_its_own(it: Rig) -> None:
    port = free_port()
    running = it.start("--interval", "3600", "--health-port", str(port), name="apart")
    pages = f"http://127.0.0.1:{port}"

    def answers(page: str) -> bool:
        with suppress(requests.exceptions.ConnectionError):
            return requests.get(f"{pages}{page}", timeout=20).ok
        return False

    eventually("it is ready", lambda: answers("/ready"))
    with ExitStack() as idle:
        for _ in range(600):
            idle.enter_context(socket.create_connection(("127.0.0.1", running.port), timeout=20))
        assert all(answers(page) for page in ("/health", "/ready", "/metrics"))
        assert running.post(delivery(it.models[0])) == 202
    assert requests.get(f"{running.url}/metrics", timeout=20).status_code == 404
    assert requests.post(f"{pages}/mlflow", timeout=20).status_code == 404
    assert running.stop() == 0


def test_nothing_secret_is_logged(it: Rig) -> None:
    assert it.receivers
    for one in it.receivers:
        text = one.log.read_text()
        assert text
        assert SECRET.decode() not in text
        assert it.sandbox.token not in text


def test_without_a_secret_it_does_not_start(it: Rig, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_text("\n")
    started = it.start("--secret-file", str(empty), name="other")
    assert started.process.wait(timeout=60) == 2
    assert "does not contain a secret" in started.log.read_text()


def test_an_address_that_is_taken_is_reported(it: Rig, receiver: Receiver) -> None:
    started = it.start(name="other", port=receiver.port)
    assert started.process.wait(timeout=60) == 2
    assert f"can't listen at 127.0.0.1:{receiver.port}: Address already in use" in started.log.read_text()
