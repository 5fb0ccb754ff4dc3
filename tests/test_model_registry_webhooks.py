"""Webhooks in MLflow: registered, changed, tested and deleted at a real server; what MLflow refuses, from recordings."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from promoter.errors import AuthError, PromoterError, UnreachableError, UsageError
from promoter.model_registry import Webhooks, settings
from promoter.model_registry.server import TrackingServer
from promoter.transport.session import Limits
from promoter.webhook.events import WAKING
from promoter.webhook.register import register
from promoter.webhook.register import test as send_test
from tests.support.mlflow_server import MlflowServer
from tests.support.replay import Answer, replaying

REFUSALS = json.loads((Path(__file__).parent / "data" / "mlflow" / "webhook_refusals.json").read_text())
PATH = "/api/2.0/mlflow/webhooks"


def refused(label: str) -> Answer:
    told = REFUSALS[label]
    return Answer(told["body"].encode(), told["status"], {"Content-Type": told["content_type"]})


def webhooks_at(url: str) -> Webhooks:
    found = settings.read({"MLFLOW_TRACKING_URI": url})
    fast = settings.Settings(found.tracking_uri, limits=Limits(connect=2, read=5, total=0.01))
    return Webhooks(TrackingServer(fast.tracking_uri, fast))


def test_register_again_changes_the_one_of_that_name(mlflow_server: MlflowServer) -> None:
    webhooks, name = Webhooks.from_environ(mlflow_server.environ), f"promoter-{uuid.uuid4().hex[:8]}"
    first = register(webhooks, name, "https://one.example.com/mlflow", "a secret")
    second = register(webhooks, name, "https://two.example.com/mlflow", "another secret")
    assert (first.created, second.created) == (True, False)
    assert first.webhook.id == second.webhook.id
    (listed,) = [one for one in webhooks.list() if one.name == name]
    assert listed == second.webhook
    assert (listed.url, listed.active) == ("https://two.example.com/mlflow", True)
    assert set(listed.events) == {f"{entity}.{action}" for entity, action in WAKING}
    webhooks.delete(webhooks.named(name))
    with pytest.raises(UsageError, match="has no webhook"):
        webhooks.named(name)


def test_a_test_delivery_that_nobody_takes_reports_it(mlflow_server: MlflowServer) -> None:
    webhooks, name = Webhooks.from_environ(mlflow_server.environ), f"promoter-{uuid.uuid4().hex[:8]}"
    with replaying(otherwise=Answer(b"no\n", 404)) as elsewhere:
        found = register(webhooks, name, f"{elsewhere.url}/mlflow", "a secret")
        sent = send_test(webhooks, name)
        assert not sent.success
        assert "answered 404 no" in sent.detail
        assert "deliveries go to /mlflow" in sent.hint
    webhooks.delete(found.webhook)


@pytest.mark.parametrize(
    ("label", "message", "hint"),
    [
        ("http scheme", "Allowed schemes are: https", "MLFLOW_WEBHOOK_ALLOWED_SCHEMES"),
        ("private address", "must not resolve to a non-public IP", "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS"),
        ("unresolvable", "Cannot resolve Webhook URL hostname", "has to resolve where MLflow runs"),
        ("bad name", "Webhook name 'no spaces please' is invalid", "63 at most"),
    ],
)
def test_what_mlflow_refuses_is_explained(label: str, message: str, hint: str) -> None:
    with replaying({PATH: refused(label)}) as mlflow, pytest.raises(UsageError) as caught:
        # The list is refused as well here: what counts is how the refusal is explained.
        webhooks_at(mlflow.url).register("promoter", "https://x.example.com/mlflow", WAKING, "s")
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("answer", "error", "hint"),
    [
        (refused("list without the key"), UnreachableError, "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY"),
        (refused("unknown path"), UsageError, "MLflow has webhooks since 3.3"),
        (Answer({"error_code": "PERMISSION_DENIED", "message": "Permission denied"}, 403), AuthError, "only an administrator"),
        (Answer(b"Invalid Host header", 403), AuthError, "--allowed-hosts"),
        (Answer(b"<html>", 200, {"Content-Type": "text/html"}), AuthError, "check the address"),
    ],
    ids=["no encryption key", "no webhooks", "not an administrator", "host check", "a login page"],
)
def test_what_is_known_to_break_has_a_hint(answer: Answer, error: type[PromoterError], hint: str) -> None:
    with replaying({PATH: answer}) as mlflow, pytest.raises(error) as caught:
        webhooks_at(mlflow.url).list()
    assert hint in caught.value.hint


def test_every_page_is_listed() -> None:
    def one(number: int) -> dict[str, Any]:
        return {"webhook_id": str(number), "name": f"n{number}", "url": "https://x", "events": [], "status": "DISABLED"}

    pages = [{"webhooks": [one(1), one(2)], "next_page_token": "more"}, {"webhooks": [one(3)]}]

    class Pages(dict[str, Answer]):
        """The next page for each request."""

        def get(self, *_: Any) -> Any:
            return Answer(pages.pop(0))

    with replaying() as mlflow:
        mlflow.answers = Pages()
        found = webhooks_at(mlflow.url).list()
        assert [webhook.name for webhook in found] == ["n1", "n2", "n3"]
        assert not found[0].active
        assert [asked.path.partition("page_token=")[2] for asked in mlflow.asked] == ["", "more"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("receiver.example.com/mlflow", "is not a valid receiver URL"),
        ("ftp://receiver.example.com", "is not a valid receiver URL"),
        ("https://robot:token@receiver.example.com/mlflow", "has a user name in it"),
    ],
)
def test_a_url_that_can_not_be_meant(url: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        register(webhooks_at("http://127.0.0.1:9"), "promoter", url, "s")
    assert message in caught.value.message
    assert "token" not in str(caught.value)


def test_databricks_is_not_asked() -> None:
    with pytest.raises(UsageError, match="REST API only"):
        Webhooks.from_environ({"MLFLOW_TRACKING_URI": "databricks-uc"})
