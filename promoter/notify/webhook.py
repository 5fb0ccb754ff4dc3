"""A custom webhook, signed by the Standard Webhooks specification, as MLflow's webhooks are."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from promoter.errors import UsageError
from promoter.notify.endpoint import Endpoint, as_json
from promoter.notify.notice import Notice
from promoter.notify.signing import sign

_ENCODED = "whsec_"


def payload(notice: Notice, now: float) -> dict[str, Any]:
    """`type`, `timestamp` and `data`, as the specification recommends."""
    data = dataclasses.asdict(notice) | {"kind": notice.kind.value, "title": notice.title}
    del data["standing"]
    return {"type": f"promotion.{notice.kind}", "timestamp": datetime.fromtimestamp(now, UTC).isoformat(), "data": data}


def keys_of(secrets: str, variable: str) -> tuple[bytes, ...]:
    """The keys in a variable, one on each line: base64 after `whsec_`, else as they stand.

    Raises:
        UsageError: none is set, or one is not base64. The secrets are not shown.
    """
    keys: list[bytes] = []
    for line in filter(None, map(str.strip, secrets.splitlines())):
        try:
            encoded = line.removeprefix(_ENCODED)
            keys.append(base64.b64decode(encoded, validate=True) if encoded != line else line.encode())
        except binascii.Error:
            raise UsageError(
                f"{variable} contains a secret that is not valid base64 after {_ENCODED}", hint="generate a new one"
            ) from None
    if not keys:
        raise UsageError(f"{variable} does not contain a secret", hint="make one: openssl rand -hex 32")
    return tuple(keys)


@dataclass
class Webhook:
    """`keys`: the message is signed with each of them; while one is being replaced there are two."""

    endpoint: Endpoint
    keys: Sequence[bytes]
    now: Callable[[], float] = time.time
    name: str = "the webhook"
    reports_start: ClassVar[bool] = True
    can_be_asked: ClassVar[bool] = False

    def send(self, notice: Notice) -> str:
        """The id is the same in every process, so that the receiver can drop a repetition."""
        now = self.now()
        body = as_json(payload(notice, now))
        id, timestamp = f"{notice.id}.{notice.content}", str(int(now))
        signatures = [sign(key, id.encode(), timestamp.encode(), body).decode() for key in self.keys]
        headers = {"webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": " ".join(signatures)}
        answer = self.endpoint.send("POST", data=body, headers=headers, retry_lost=True)
        if not answer.ok:
            raise self.endpoint.refusal(answer)
        return f"{answer.status}: taken"
