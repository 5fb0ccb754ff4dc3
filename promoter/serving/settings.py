"""The server's settings: environment variables, read once and all checked together."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from promoter.serving.errors import SettingsError

_T = TypeVar("_T")

MOST_CONCURRENT = 256
NO_LIMIT = sys.maxsize
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
BATCHES = ("off", "row-wise")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HEADER_VALUE = re.compile(r"[ -~]*")


@dataclass(frozen=True)
class Settings:
    """The settings from environment variables; docs/serving.md has the table.

    `model_digest` is "" if nothing pins the content; `model_uri` is "" if the model is embedded at `model_path`.
    `max_batch_size` counts rows of a predict call that merges requests, `max_queue` requests that wait for a worker.
    `concurrency` counts calls at a time in one worker; 0 is what the model's metadata asks for, or 1.
    """

    model_name: str = ""
    model_version: str = ""
    model_stage: str = ""
    model_digest: str = ""
    model_path: str = "/opt/model"
    model_uri: str = ""
    host: str = "0.0.0.0"  # noqa: S104 - inside a container the port is what the Service reaches
    port: int = 8000
    workers: int = 1
    concurrency: int = 0
    log_level: str = "INFO"
    batch: str = "off"
    max_batch_size: int = 32
    max_body_bytes: int = 16 * 1024 * 1024
    max_queue: int = 128
    inference_timeout: float = 30.0
    drain_seconds: float = 2.0

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """Raises: SettingsError, naming every variable that can't be used."""
        reader = _Reader(environ)
        settings = cls(
            model_name=reader.text("MODEL_NAME", cls.model_name),
            model_version=reader.matching("MODEL_VERSION", cls.model_version, _HEADER_VALUE, "printable ASCII"),
            model_stage=reader.text("MODEL_STAGE", cls.model_stage),
            model_digest=reader.matching("MODEL_DIGEST", cls.model_digest, _DIGEST, "sha256: and 64 hexadecimal digits"),
            model_path=reader.text("MODEL_PATH", cls.model_path),
            model_uri=reader.text("MODEL_URI", cls.model_uri),
            host=reader.text("HOST", cls.host),
            port=reader.number("PORT", cls.port, int, 1, 65535),
            workers=reader.number("WORKERS", cls.workers, int, 1, 64),
            concurrency=reader.number("CONCURRENCY", cls.concurrency, int, 0, MOST_CONCURRENT),
            log_level=reader.one_of("LOG_LEVEL", cls.log_level, LOG_LEVELS, str.upper),
            batch=reader.one_of("BATCH", cls.batch, BATCHES, str.lower),
            max_batch_size=reader.number("MAX_BATCH_SIZE", cls.max_batch_size, int, 1, 1_000_000),
            max_body_bytes=reader.number("MAX_BODY_BYTES", cls.max_body_bytes, int, 1, 2**31 - 1),
            max_queue=reader.number("MAX_QUEUE", cls.max_queue, int, 1, 100_000),
            inference_timeout=reader.number("INFERENCE_TIMEOUT", cls.inference_timeout, float, 0.001, 3600),
            drain_seconds=reader.number("DRAIN_SECONDS", cls.drain_seconds, float, 0, 20),
        )
        if reader.problems:
            raise SettingsError(reader.problems)
        return settings

    @property
    def max_rows(self) -> int:
        """Rows of a request: limited only where requests are merged, to those of a predict call."""
        return self.max_batch_size if self.batch == "row-wise" else NO_LIMIT


class _Reader:
    """Reads variables and collects the problems; an empty variable counts as not set."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []

    def text(self, name: str, default: str) -> str:
        return self._environ.get(name, "").strip() or default

    def matching(self, name: str, default: str, pattern: re.Pattern[str], expected: str) -> str:
        value = self.text(name, default)
        return value if not value or pattern.fullmatch(value) else self._wrong(name, value, expected, default)

    def one_of(self, name: str, default: str, choices: Sequence[str], spelt: Callable[[str], str]) -> str:
        value = spelt(self.text(name, default))
        return value if value in choices else self._wrong(name, value, f"one of {', '.join(choices)}", default)

    def number(self, name: str, default: _T, parse: Callable[[str], _T], least: float, most: float) -> _T:
        value = self.text(name, str(default))
        expected = f"a {'whole ' if parse is int else ''}number from {least:g} to {most:.10g}"
        try:
            number = parse(value)
        except ValueError:
            return self._wrong(name, value, expected, default)
        in_range = least <= number <= most  # type: ignore[operator] # int or float
        return number if in_range else self._wrong(name, value, expected, default)

    def _wrong(self, name: str, value: str, expected: str, default: _T) -> _T:
        self.problems.append(f"{name} is {value!r}, expected {expected}")
        return default
