"""Spans of requests, sent by OTLP over HTTP as JSON. Imported only where a collector is configured.

The standard variables of OpenTelemetry decide (docs/tracing.md has those that count). Nothing is needed for it that a model's
image might have in another version: https://opentelemetry.io/docs/specs/otlp/#otlphttp, https://www.w3.org/TR/trace-context/.
"""

from __future__ import annotations

import json
import logging
import random
import re
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

_log = logging.getLogger(__name__)

_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_MOST_WAITING = 4096  # spans: a collector that does not answer costs no more memory
_AT_ONCE = 512
_EVERY, _TIMEOUT, _LAST = 2.0, 10.0, 5.0
_INTERNAL, _SERVER = 1, 2  # SpanKind
_ERROR = 2  # StatusCode

Span = dict[str, Any]


@dataclass(slots=True, eq=False)
class Trace:
    """One sampled request: its ids in hexadecimal, and when it was queued and handed to a process (ns since 1970)."""

    id: str
    span: str
    parent: str = ""
    began: int = field(default_factory=time.time_ns)
    queued: int = 0
    sent: int = 0

    def queue(self) -> None:
        """It waits from now on."""
        self.queued = time.time_ns()


class Sampler:
    """Which requests are traced: as the caller decided where the variables leave that to him, else this share of them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        name = environ.get("OTEL_TRACES_SAMPLER") or "parentbased_always_on"
        self._by_parent = name.startswith("parentbased_")
        kind = name.removeprefix("parentbased_")
        shares = {"always_on": 1.0, "always_off": 0.0, "traceidratio": _ratio(environ.get("OTEL_TRACES_SAMPLER_ARG", ""))}
        if kind not in shares:
            _log.warning("OTEL_TRACES_SAMPLER %r is not known: every request is traced", name)
        self._below = int(shares.get(kind, 1.0) * 2**64)

    def trace(self, traceparent: bytes | None) -> Trace | None:
        """The trace that a request belongs to; None if it is not traced."""
        found = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
        if found and (found[1].strip(b"0") == b"" or found[2].strip(b"0") == b""):
            found = None
        if found is None:
            low = random.getrandbits(64)
            return Trace(f"{random.getrandbits(64) or 1:016x}{low:016x}", _new_id()) if low < self._below else None
        sampled = bool(int(found[3], 16) & 1) if self._by_parent else int(found[1][16:], 16) < self._below
        return Trace(found[1].decode(), _new_id(), found[2].decode()) if sampled else None


class Tracer:
    """Makes spans of requests and hands them to `exporter`. All of it is called in the server's event loop."""

    def __init__(self, sampler: Sampler, exporter: Exporter) -> None:
        self._sampler, self._exporter = sampler, exporter

    def begin(self, headers: Iterable[tuple[bytes, bytes]]) -> Trace | None:
        """The trace of a request with these headers; None if it is not sampled."""
        return self._sampler.trace(next((value for name, value in headers if name == b"traceparent"), None))

    def sent(self, traces: Iterable[Trace | None]) -> None:
        """Requests are handed to a model process: they have waited until now."""
        now = time.time_ns()
        for trace in traces:
            if trace is not None:
                trace.sent = now
                self._exporter.add(_span("wait", trace.id, _new_id(), trace.span, trace.queued, now))

    def answered(self, traces: Sequence[Trace | None], rows: int) -> None:
        """The call of these requests has returned; one that merged several is a trace of its own, linked with theirs."""
        sampled = [trace for trace in traces if trace is not None]
        if not sampled:
            return
        now = time.time_ns()
        links: list[dict[str, str]] = []
        if len(traces) > 1:
            batch = f"{random.getrandbits(128) or 1:032x}", _new_id()
            made = _span("batch", *batch, "", sampled[0].sent, now, requests=len(traces), rows=rows)
            self._exporter.add(made | {"links": [_link(trace.id, trace.span) for trace in sampled]})
            links = [_link(*batch)]
        for trace in sampled:
            made = _span("predict", trace.id, _new_id(), trace.span, trace.sent, now, requests=len(traces))
            self._exporter.add(made | {"links": links} if links else made)

    def end(self, trace: Trace, method: str, path: str, status: int, request_id: str) -> None:
        """The answer is out, or its client is gone."""
        known: dict[str, str | int] = {
            "http.request.method": method,
            "url.path": path,
            "http.response.status_code": status,
            "request.id": request_id,
        }
        made = _span(f"{method} {path}", trace.id, trace.span, trace.parent, trace.began, time.time_ns(), kind=_SERVER, **known)
        self._exporter.add(made | {"status": {"code": _ERROR}} if status >= 500 else made)

    def close(self) -> None:
        self._exporter.close()


class Exporter:
    """Sends spans in a thread of its own, some seconds later. A collector that fails is reported once."""

    def __init__(self, url: str, headers: Mapping[str, str], resource: Mapping[str, str]) -> None:
        self._url, self._headers = url, {**headers, "Content-Type": "application/json"}
        self._resource = {"attributes": _attributes(resource)}
        self._waiting: deque[Span] = deque()
        self._wake, self._closed, self._failing = threading.Event(), False, False
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def add(self, span: Span) -> None:
        if len(self._waiting) < _MOST_WAITING:
            self._waiting.append(span)
        if len(self._waiting) == _AT_ONCE:
            self._wake.set()

    def close(self) -> None:
        """What is there is sent, unless that takes too long."""
        self._closed = True
        self._wake.set()
        self._thread.join(_LAST)

    def _run(self) -> None:
        while not self._closed:
            self._wake.wait(_EVERY)
            self._wake.clear()
            self._send()
        self._send()

    def _send(self) -> None:
        spans = [self._waiting.popleft() for _ in range(len(self._waiting))]
        for start in range(0, len(spans), _AT_ONCE):
            scoped = {"scope": {"name": "promoter.serving"}, "spans": spans[start : start + _AT_ONCE]}
            body = json.dumps({"resourceSpans": [{"resource": self._resource, "scopeSpans": [scoped]}]}).encode()
            request = urllib.request.Request(self._url, body, self._headers)  # noqa: S310 - http(s), checked by `connect`
            try:
                with self._opener.open(request, timeout=_TIMEOUT):
                    self._failing = False
            except Exception as error:  # whatever it is, requests go on
                if not self._failing:
                    _log.warning("traces are not sent: %s", error)
                self._failing = True


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """What the variables allow is one address."""

    def redirect_request(self, *_: Any) -> None:
        return None


def connect(environ: Mapping[str, str], model: Mapping[str, str]) -> Tracer | None:
    """As the variables have it; None, with a line in the log if that is a mistake, if nothing is to be sent.

    `model` has attributes of the resource, by name.
    """
    whole, base = environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    url = whole or (f"{base.rstrip('/')}/v1/traces" if base else "")
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        return None
    protocol = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or ""
    if protocol == "grpc" or not url.startswith(("http://", "https://")):
        _log.warning("no traces: %s", "grpc is not supported, only HTTP" if protocol == "grpc" else "the endpoint is not a URL")
        return None
    given = environ.get("OTEL_EXPORTER_OTLP_TRACES_HEADERS") or environ.get("OTEL_EXPORTER_OTLP_HEADERS") or ""
    resource = {"service.name": "inference-service", **model, **_pairs(environ.get("OTEL_RESOURCE_ATTRIBUTES", ""))}
    if name := environ.get("OTEL_SERVICE_NAME"):
        resource["service.name"] = name
    return Tracer(Sampler(environ), Exporter(url, _pairs(given), resource))


# -- OTLP's JSON ------------------------------------------------------------------------------------------------------


def _span(
    name: str, trace: str, span: str, parent: str, start: int, end: int, kind: int = _INTERNAL, **attributes: str | int
) -> Span:
    made = {
        "traceId": trace,
        "spanId": span,
        "name": name,
        "kind": kind,
        "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(end),
        "attributes": _attributes(attributes),
    }
    return made | {"parentSpanId": parent} if parent else made


def _link(trace: str, span: str) -> dict[str, str]:
    return {"traceId": trace, "spanId": span}


def _attributes(of: Mapping[str, str | int]) -> list[dict[str, Any]]:
    """64-bit numbers are strings in the JSON of protocol buffers."""
    return [
        {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
        for key, value in of.items()
        if value != ""
    ]


def _pairs(text: str) -> dict[str, str]:
    """`a=1,b=2`, with percent encoding, as the variables have it."""
    found = (pair.partition("=") for pair in text.split(","))
    return {key.strip(): unquote(value.strip()) for key, equals, value in found if equals}


def _ratio(text: str) -> float:
    try:
        return min(1.0, max(0.0, float(text or "1")))
    except ValueError:
        _log.warning("OTEL_TRACES_SAMPLER_ARG %r is not a number: every request is traced", text)
        return 1.0


def _new_id() -> str:
    return f"{random.getrandbits(64) or 1:016x}"
