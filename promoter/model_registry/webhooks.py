"""The webhooks that an MLflow server keeps: creating, listing, testing and deleting them, and what its refusals mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from promoter.errors import AuthError, PromoterError, UnreachableError, UsageError
from promoter.model_registry import settings
from promoter.model_registry.server import TrackingServer
from promoter.model_registry.store import NotFound
from promoter.transport.boundary import Server, odd_answers_are_errors, unlike
from promoter.transport.typed import require_typed

_PATH = "mlflow/webhooks"
_MOST_PAGES = 100
KEY_HINT = (
    "start MLflow with MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY, the same for all its processes and after every restart "
    "(python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'), then register again"
)
# What MLflow's refusals say (mlflow/utils/validation.py), and what to do about each.
_REFUSALS = {
    "webhook URL scheme": "MLflow wants https: put the receiver behind an ingress with a certificate that is publicly trusted; "
    "inside a cluster you trust, start MLflow with MLFLOW_WEBHOOK_ALLOWED_SCHEMES=http,https",
    "non-public IP address": "MLflow does not call private addresses: give the receiver a public name, or start MLflow with "
    "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS=true, which takes this protection away for every webhook",
    "Cannot resolve": "the name has to resolve where MLflow runs, at the moment of registering",
    "Webhook name": "a name has letters, digits, dots, underscores and hyphens, 63 at most",
}


@dataclass(frozen=True, slots=True)
class Webhook:
    """One webhook as MLflow lists it; `events` are written `model_version_alias.created`. MLflow never returns its secret."""

    id: str
    name: str
    url: str
    events: tuple[str, ...]
    active: bool


@dataclass(frozen=True, slots=True)
class Tested:
    """What came of a test delivery: the receiver's status, or why it had no answer."""

    success: bool
    status: int | None = None
    body: str = ""
    error: str = ""


@odd_answers_are_errors
class Webhooks:
    """The webhooks of one MLflow server (3.3 or newer, with a database)."""

    def __init__(self, server: TrackingServer) -> None:
        self._server = server

    @property
    def _http(self) -> Server:
        return self._server.asked

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], *, tracking_uri: str | None = None) -> Webhooks:
        """Those of the MLflow server that this environment leads to.

        Raises:
            UsageError: no address, or an MLflow that is not spoken to over its REST API: Databricks has webhooks of its own.
        """
        found = settings.read(environ, tracking_uri=tracking_uri)
        if not found.rest:
            raise UsageError(
                "webhooks are registered over MLflow's REST API only",
                hint="set MLFLOW_TRACKING_URI to the http(s) address of an MLflow server; a schedule needs no webhook",
            )
        return cls(TrackingServer(found.registry_uri or found.tracking_uri, found))

    def list(self) -> tuple[Webhook, ...]:
        """Every webhook, of all pages.

        Raises:
            UnreachableError: among others where MLflow can't decrypt the secrets that it keeps.
            AuthError, UsageError: it does not let us; it has no webhooks.
        """
        found: list[Webhook] = []
        token = ""
        with _explained():
            for _ in range(_MOST_PAGES):
                parameters = {"max_results": "100", **({"page_token": token} if token else {})}
                page, token = self._server.get(_PATH, _page, **parameters)
                found += page
                if not token:
                    return tuple(found)
        raise unlike("MLflow", self._server.uri, f"more than {_MOST_PAGES} pages of webhooks")

    def register(self, name: str, url: str, events: Sequence[tuple[str, str]], secret: str | None) -> tuple[Webhook, bool]:
        """The webhook of that name with this URL, these events (entity, action) and this secret; and whether it is new.

        Raises:
            UsageError: MLflow refuses the URL or the name.
            AuthError, UnreachableError: as `list`.
        """
        body = {
            "name": name,
            "url": url,
            "events": [{"entity": entity.upper(), "action": action.upper()} for entity, action in events],
            "status": "ACTIVE",
            "description": "wakes promoter",
            **({"secret": secret} if secret else {}),
        }
        found = [webhook for webhook in self.list() if webhook.name == name]
        with _explained():
            if found:
                return self._server.send("PATCH", f"{_PATH}/{quote(found[0].id, safe='')}", body, _one), False
            return self._server.send("POST", _PATH, body, _one), True

    def test(self, webhook: Webhook) -> Tested:
        """Has MLflow send an example of the webhook's first event now. Raises as `list`."""
        with _explained():
            return self._server.send("POST", f"{_PATH}/{quote(webhook.id, safe='')}/test", {}, _tested)

    def delete(self, webhook: Webhook) -> None:
        """Raises as `list`."""
        with _explained():
            self._server.send("DELETE", f"{_PATH}/{quote(webhook.id, safe='')}", {}, lambda _: None)

    def named(self, name: str) -> Webhook:
        """The webhook of that name or id.

        Raises:
            UsageError: there is none; and as `list`.
        """
        webhooks = self.list()
        for webhook in webhooks:
            if name in (webhook.id, webhook.name):
                return webhook
        names = ", ".join(sorted(webhook.name for webhook in webhooks)) or "none"
        raise UsageError(f"MLflow at {self._server.uri} has no webhook {name!r}", hint=f"there are: {names}")


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except NotFound as error:
        hint = next((hint for words, hint in _REFUSALS.items() if words in error.message), "")
        if "not found" in error.message:
            hint = "list them: promoter webhook list"
        raise UsageError(error.message, hint=hint or error.hint) from None
    except AuthError as error:
        admin = "with MLflow's basic-auth only an administrator may manage webhooks" if "forbids" in error.message else ""
        raise AuthError(error.message, hint=admin or error.hint) from None
    except UnreachableError as error:
        if "answered 500" not in error.message:
            raise
        raise UnreachableError(
            f"{error.message}; most likely it can't decrypt the webhook secrets in its database, and delivers nothing either",
            hint=KEY_HINT,
        ) from None
    except UsageError as error:
        raise _without_webhooks(error) from None


def _without_webhooks(error: UsageError) -> PromoterError:
    if "(404)" not in error.message:
        return error
    return UsageError(error.message, hint=f"MLflow has webhooks since 3.3; {error.hint}")


def _page(answer: Any) -> tuple[list[Webhook], str]:
    return [_webhook(one) for one in answer.get("webhooks") or ()], require_typed(answer.get("next_page_token") or "", str)


def _one(answer: Any) -> Webhook:
    return _webhook(answer["webhook"])


def _webhook(answer: Any) -> Webhook:
    events = tuple(sorted(f"{event['entity']}.{event['action']}".lower() for event in answer.get("events", [])))
    active = answer.get("status", "ACTIVE") == "ACTIVE"
    return require_typed(Webhook(answer["webhook_id"], answer["name"], answer["url"], events, active))


def _tested(answer: Any) -> Tested:
    result = answer["result"]
    status, body, error = result.get("response_status"), result.get("response_body"), result.get("error_message")
    return require_typed(Tested(bool(result.get("success")), status, body or "", error or ""))
