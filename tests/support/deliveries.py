"""Webhook deliveries as MLflow sends them: those that were captured, and new ones of any model."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass, replace
from pathlib import Path

from promoter.notify.signing import sign

CAPTURED = Path(__file__).parents[1] / "data" / "mlflow" / "webhooks"
SECRET = b"s3cr3t-relay-key"


@dataclass(frozen=True)
class Delivery:
    """`headers` in the order in which MLflow sent them, without Host and Content-Length."""

    name: str
    headers: dict[str, str]
    body: bytes
    received: float = 0.0

    def with_header(self, name: str, value: str | None) -> Delivery:
        """Another value of a header, None to leave it out."""
        headers = {key: old for key, old in self.headers.items() if key != name}
        return replace(self, headers=headers if value is None else headers | {name: value})

    def signed(self, secret: bytes = SECRET) -> Delivery:
        id, timestamp = self.headers["X-MLflow-Delivery-Id"], self.headers["X-MLflow-Timestamp"]
        signature = sign(secret, id.encode(), timestamp.encode(), self.body)
        return self.with_header("X-MLflow-Signature", signature.decode())


def captured() -> list[Delivery]:
    """What a real MLflow 3.17.2 sent, signed with SECRET."""
    found = []
    for file in sorted(CAPTURED.glob("*.json")):
        told = json.loads(file.read_text())
        headers = {name: value for name, value in told["headers"] if name not in ("Host", "Content-Length")}
        found.append(Delivery(file.stem, headers, told["raw_body"].encode(), told["received_at"]))
    return found


def delivery(model: str, alias: str = "champion", version: str = "1", *, secret: bytes = SECRET) -> Delivery:
    """`model_version_alias.created`, signed now."""
    data = {"name": model, "alias": alias, "version": version}
    payload = {"entity": "model_version_alias", "action": "created", "timestamp": "2026-11-22T20:20:15+00:00", "data": data}
    headers = {
        "Content-Type": "application/json",
        "X-MLflow-Delivery-Id": str(uuid.uuid4()),
        "X-MLflow-Timestamp": str(int(time.time())),
    }
    return Delivery(model, headers, json.dumps(payload).encode()).signed(secret)
