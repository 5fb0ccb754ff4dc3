"""Whether a delivery is MLflow's: signature v1 over its raw bytes, and the time at which it was signed."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path

from promoter.errors import UsageError
from promoter.errors.redaction import redact
from promoter.notify.signing import sign

WINDOW = 300.0
"""Seconds that a delivery's time may be off: longer than all of MLflow's retries, which carry the time of the first try."""

_TIMESTAMP = re.compile(rb"[0-9]{1,12}")
_SECRET_FILE, _SECRET = "MLFLOW_WEBHOOK_SECRET_FILE", "PROMOTER_WEBHOOK_SECRET"


class Trust(StrEnum):
    """What is known of a delivery before anything of its body is read."""

    VERIFIED = "verified"
    UNSIGNED = "unsigned"
    FORGED = "forged"
    STALE = "stale"


def judge(headers: Mapping[bytes, bytes], body: bytes, secrets: Sequence[bytes], now: float) -> Trust:
    """Headers by lower-case name; `now` in seconds since 1970.

    As mlflow/webhooks/delivery.py signs: see `signing.sign`. Each is compared in constant time; while one is being replaced
    there are two.
    """
    given, id, timestamp = (headers.get(b"x-mlflow-" + name) for name in (b"signature", b"delivery-id", b"timestamp"))
    if not (given and id and timestamp and _TIMESTAMP.fullmatch(timestamp)):
        return Trust.UNSIGNED
    if not any(hmac.compare_digest(given, sign(secret, id, timestamp, body)) for secret in secrets):
        return Trust.FORGED
    return Trust.VERIFIED if abs(now - int(timestamp)) <= WINDOW else Trust.STALE


def read_secrets(files: Sequence[Path], environ: Mapping[str, str]) -> tuple[bytes, ...]:
    """The secrets in these files, else in the file that MLFLOW_WEBHOOK_SECRET_FILE names, else in PROMOTER_WEBHOOK_SECRET.

    One on each line, the newest first: it is the one that `promoter webhook register` gives to MLflow.

    Raises:
        UsageError: a file can't be read or holds none.
    """
    named = environ.get(_SECRET_FILE)
    files = files or ([Path(named)] if named else [])
    texts = {str(file): _read(file) for file in files} if files else {_SECRET: environ.get(_SECRET, "")}
    for name, text in texts.items():
        if files and not _lines(text):
            raise UsageError(f"{name} does not contain a secret", hint="write the webhook's secret into it, one on each line")
    lines = [line for text in texts.values() for line in _lines(text)]
    redact.learn(*lines)  # MLflow may quote what `register` sends
    return tuple(line.encode() for line in lines)


def _lines(text: str) -> list[str]:
    return [line for line in map(str.strip, text.splitlines()) if line]


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UsageError(f"the secret file {file} can't be read: {reason}", hint="check its path and permissions") from None
