"""Registers the receiver in MLflow, with warnings, and reports the result of a test delivery."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from promoter.errors import UsageError
from promoter.webhook.application import DELIVERIES
from promoter.webhook.events import WAKING

if TYPE_CHECKING:
    from promoter.model_registry import Tested, Webhook, Webhooks

_CACHED = "MLflow keeps its list of webhooks for 60 s (MLFLOW_WEBHOOK_CACHE_TTL): events until then may still go unsent"
_KEY = (
    "whether MLflow has MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY can't be seen from here: without it, it delivers nothing after a "
    "restart, and with several processes only some events"
)
_HINTS = {
    "non-public IP address": "MLflow does not call private addresses: see MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS in docs/webhook.md",
    "CERTIFICATE_VERIFY_FAILED": "MLflow trusts public certificate authorities only and ignores REQUESTS_CA_BUNDLE",
    "Connection": "MLflow can't reach the URL: check the receiver, the ingress and the network policy",
    "Timeout": "something drops what MLflow sends: check the ingress and the network policy",
}
_HINT_OF_STATUS = {
    401: "the receiver has another secret, or its clock is off: register again with the receiver's secret",
    404: f"something else answers there: deliveries go to {DELIVERIES}",
    405: "the URL redirects, and MLflow follows with a GET: register the address that it redirects to",
    415: "something on the way changes the request: deliveries are application/json",
    503: "no receiver is ready: ask its /ready why",
}


@dataclass(frozen=True, slots=True)
class Registered:
    webhook: Webhook
    created: bool
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sent:
    """A test delivery: how it ended, in a sentence, and what to do about it."""

    success: bool
    detail: str
    hint: str = ""


def register(webhooks: Webhooks, name: str, url: str, secret: str | None) -> Registered:
    """Has MLflow call `url` for the events that wake. Done again, it changes the webhook of that name.

    Raises:
        UsageError: the URL can't be meant, or MLflow refuses it.
        AuthError, UnreachableError: MLflow does not let us, or does not answer.
    """
    parts = urlsplit(url)
    if not parts.hostname or parts.scheme not in ("http", "https"):
        raise UsageError(f"{url!r} is not a valid receiver URL", hint=f"write https://HOST{DELIVERIES}")
    if parts.username is not None:
        raise UsageError(
            f"{url} has a user name in it, which MLflow would keep and list in clear",
            hint="the signature is what proves a delivery",
        )
    webhook, created = webhooks.register(name, url, WAKING, secret)
    return Registered(webhook, created, _warnings(url, secret))


def _warnings(url: str, secret: str | None) -> tuple[str, ...]:
    warnings = [_CACHED]
    if secret:
        warnings.append(_KEY)
    else:
        warnings.append("without a secret nothing is signed: whoever reaches the receiver can wake it")
    if not urlsplit(url).path.endswith(DELIVERIES):
        warnings.append(f"the receiver takes deliveries at {DELIVERIES}: the way to it has to rewrite this path")
    if url.startswith("http:"):
        warnings.append("over http everybody on the way reads which models are promoted; they can't forge events")
    return tuple(warnings)


def test(webhooks: Webhooks, name: str) -> Sent:
    """Has MLflow send an example to the webhook of that name.

    Raises:
        UsageError: the webhook does not exist.
        AuthError, UnreachableError: MLflow does not let us, or does not answer.
    """
    webhook = webhooks.named(name)
    tested = webhooks.test(webhook)
    if tested.status is None:
        hint = next((hint for words, hint in _HINTS.items() if words in tested.error), "")
        return Sent(False, f"MLflow got no answer from {webhook.url}: {tested.error}", hint)
    detail = f"{webhook.url} answered {tested.status} {_first_line(tested)}"
    return Sent(tested.success, detail.rstrip(), "" if tested.success else _HINT_OF_STATUS.get(tested.status, ""))


def _first_line(tested: Tested) -> str:
    return next(iter(tested.body.strip().splitlines()), "")[:200]
