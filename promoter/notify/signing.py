"""How webhooks are signed: Standard Webhooks, symmetric (github.com/standard-webhooks), which MLflow's follow, too."""

from __future__ import annotations

import base64
import hashlib
import hmac


def sign(secret: bytes, id: bytes, timestamp: bytes, body: bytes) -> bytes:
    """`v1,` + base64(HMAC-SHA256(secret, `{id}.{timestamp}.{body}`)); `timestamp` in whole seconds since 1970."""
    signed = b".".join((id, timestamp, body))
    return b"v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest())
