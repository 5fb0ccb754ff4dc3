"""Spans of what a command does, for OpenTelemetry, where the OTEL_* variables ask for them; else nothing is even imported.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from promoter import __version__
from promoter.errors.redaction import clean, redact
from promoter.machine.extras import install

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_HEADERS = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"
_LAST_MILLISECONDS = 5_000

on = False
"""Whether spans are sent: looked at where much is done, so that nothing is called where nobody wants them."""

_tracer: Tracer | None = None


@contextmanager
def sending(environ: Mapping[str, str], warn: Callable[[str], None]) -> Iterator[None]:
    """Spans are sent while this lasts, if they are wanted; what keeps them from it is warned of once, and ends nothing."""
    global on, _tracer
    provider = _provider(environ, warn) if _wanted(environ) else None
    if provider is None:
        yield
        return
    redact.learn_environment(environ, _HEADERS)
    _tracer, on = provider.get_tracer("promoter", __version__), True
    try:
        yield
    finally:
        _tracer, on = None, False
        provider.force_flush(_LAST_MILLISECONDS)
        provider.shutdown()


@contextmanager
def span(name: str, **attributes: str) -> Iterator[None]:
    """What is done inside is a span, below the one that it is done in. An error marks it, and goes on."""
    if _tracer is None:
        yield
        return
    from opentelemetry.trace import Status, StatusCode

    with _tracer.start_as_current_span(
        name, attributes=_cleaned(attributes), record_exception=False, set_status_on_exception=False
    ) as one:
        try:
            yield
        except BaseException as error:
            if getattr(error, "exit_code", True):  # a command that is done ends by an exception, too
                one.set_status(Status(StatusCode.ERROR, clean(f"{type(error).__name__}: {error}")))
            raise


def traceparent() -> str:
    """The present span as another process can go on from it (https://www.w3.org/TR/trace-context/); "" without one."""
    if _tracer is None:
        return ""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent", "")


@contextmanager
def continuing(parent: str) -> Iterator[None]:
    """Spans inside belong to the trace of `parent`, as `traceparent` gave it; in that trace already, to the present span."""
    if _tracer is None or not parent or _trace_id(parent) == _trace_id(traceparent()):
        yield
        return
    from opentelemetry import context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    token = context.attach(TraceContextTextMapPropagator().extract({"traceparent": parent}))
    try:
        yield
    finally:
        context.detach(token)


@dataclass(slots=True)
class Phases:
    """Spans that follow each other, each from when it is begun until the next."""

    _name: str = ""
    _span: Span | None = field(default=None)

    def begin(self, name: str, **attributes: str) -> None:
        """A phase that goes on is not begun again."""
        if _tracer is None or name == self._name:
            return
        self.close()
        self._name, self._span = name, _tracer.start_span(name, attributes=_cleaned(attributes))

    def close(self) -> None:
        if self._span is not None:
            self._span.end()
        self._name, self._span = "", None


def _wanted(environ: Mapping[str, str]) -> bool:
    """As the specification has it; without an address nobody has asked for spans."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        return False
    return any(environ.get(name) for name in _ENDPOINTS)


def _provider(environ: Mapping[str, str], warn: Callable[[str], None]) -> TracerProvider | None:
    """What makes spans and sends them, by the variables; None, with a warning, if that can't be."""
    protocol = next((environ[name] for name in _PROTOCOLS if environ.get(name)), _PROTOCOL)
    if protocol != _PROTOCOL:
        warn(f"warning: no traces: {protocol} is not supported; set OTEL_EXPORTER_OTLP_PROTOCOL={_PROTOCOL}")
        return None
    import requests

    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        warn(f"warning: no traces: OpenTelemetry is not installed: {install('tracing')}")
        return None
    _speak_once(warn)
    named = "OTEL_SERVICE_NAME" in environ or "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    own = {"service.version": __version__, **({} if named else {"service.name": "promoter"})}
    provider = TracerProvider(resource=Resource.create(own), shutdown_on_exit=False)
    session = requests.Session()
    session.max_redirects = 0  # what the variables allow is one address
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(session=session)))
    return provider


class _Once(logging.Handler):
    """The first complaint of the libraries that send, in one line."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._warn: Callable[[str], None] | None = warn

    def emit(self, record: logging.LogRecord) -> None:
        warn, self._warn = self._warn, None
        if warn is not None:
            warn(f"warning: traces are not sent: {record.getMessage().splitlines()[0]}")


def _speak_once(warn: Callable[[str], None]) -> None:
    log = logging.getLogger("opentelemetry")
    log.handlers[:], log.propagate = [_Once(warn)], False


def _cleaned(attributes: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "."): clean(text) for name, text in attributes.items() if text}


def _trace_id(parent: str) -> str:
    return parent.split("-")[1] if parent.count("-") == 3 else ""
