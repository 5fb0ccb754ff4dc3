"""Traces of the inference server, taken in by a receiver that knows OTLP's own messages; and nothing of it where nobody asked."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from promoter.serving.tracing import Sampler, connect
from tests.support.serving import pixels_model, serving

_json_format: Any = import_module("google.protobuf.json_format")  # it has no types
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, NOT_SAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"


@dataclass
class Collector:
    url: str = ""
    requests: list[ExportTraceServiceRequest] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def spans(self) -> list[Span]:
        every = [resource for request in self.requests for resource in request.resource_spans]
        return [span for resource in every for scope in resource.scope_spans for span in scope.spans]

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]


def decoded(body: bytes) -> ExportTraceServiceRequest:
    """OTLP's JSON: ids are hexadecimal, where the JSON of protocol buffers has base64. An unknown field is an error."""

    def ids(value: Any) -> Any:
        if isinstance(value, list):
            return [ids(one) for one in value]
        if not isinstance(value, dict):
            return value
        hexadecimal = ("traceId", "spanId", "parentSpanId")
        return {
            key: base64.b64encode(bytes.fromhex(one)).decode() if key in hexadecimal else ids(one) for key, one in value.items()
        }

    made = ExportTraceServiceRequest()
    _json_format.ParseDict(ids(json.loads(body)), made)
    return made


@contextmanager
def collecting() -> Iterator[Collector]:
    made = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/v1/traces"
            made.headers.append(dict(self.headers))
            made.requests.append(decoded(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def attributes(span: Span) -> dict[str, str]:
    return {one.key: one.value.string_value or str(one.value.int_value) for one in span.attributes}


def test_a_request_goes_on_in_its_caller_s_trace_and_a_merged_call_is_linked(tmp_path: Path) -> None:
    model = pixels_model(tmp_path / "model")
    (tmp_path / "scratch").mkdir()
    with collecting() as collector:
        given = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20x"}
        with serving(tmp_path / "scratch", model, None, BATCH="row-wise", **given) as server:
            server.wait_until_ready()
            slow = threading.Thread(target=server.predict, args=({"inputs": [[904.0, 1.0]]},))
            slow.start()
            server.wait_until(lambda: "http_requests_in_flight 2.0" in server.get("/metrics").text, "at work")
            others = [
                threading.Thread(
                    target=server.predict, args=({"inputs": [[1.0, 2.0]]},), kwargs={"headers": {"traceparent": one}}
                )
                for one in (SAMPLED, SAMPLED, NOT_SAMPLED)
            ]
            for thread in others:
                thread.start()
            for thread in (slow, *others):
                thread.join()
            server.wait_until(lambda: len(collector.named("POST /predict")) == 3, "sent")
            exemplars = server.get("/metrics", headers={"Accept": "application/openmetrics-text"}).text
            plain = server.get("/metrics").text
        ours = [span for span in collector.named("POST /predict") if span.trace_id.hex() == TRACE]
        assert [span.parent_span_id.hex() for span in ours] == [PARENT, PARENT]
        assert all(span.kind == Span.SPAN_KIND_SERVER for span in ours)
        assert {attributes(span)["http.response.status_code"] for span in ours} == {"200"}
        for name in ("wait", "predict"):
            below = [span for span in collector.named(name) if span.trace_id.hex() == TRACE]
            assert {span.parent_span_id for span in below} == {span.span_id for span in ours}
        [batch] = collector.named("batch")
        assert attributes(batch) == {"requests": "3", "rows": "3"}
        assert {(link.trace_id.hex(), link.span_id) for link in batch.links} == {(TRACE, span.span_id) for span in ours}
        linked = [span for span in collector.named("predict") if span.links]
        assert {link.span_id for span in linked for link in span.links} == {batch.span_id}
        assert len(linked) == 2
        for span in collector.spans:
            assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano
        [resource] = {one.resource.SerializeToString() for request in collector.requests for one in request.resource_spans}
        assert b"fraud-detector" in resource
        assert collector.headers[0]["Authorization"] == "Bearer x"
        assert f'# {{trace_id="{TRACE}"}}' in exemplars
        assert "trace_id" not in plain


def test_a_collector_that_is_gone_harms_no_request(tmp_path: Path) -> None:
    model = pixels_model(tmp_path / "model")
    (tmp_path / "scratch").mkdir()
    with serving(tmp_path / "scratch", model, None, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9") as server:
        server.wait_until_ready()
        assert [server.predict({"inputs": [[1.0, 2.0]]}).status_code for _ in range(3)] == [200, 200, 200]
        server.wait_until(lambda: any("traces are not sent" in line["message"] for line in server.log), "reported")
        server.process.terminate()
        assert server.process.wait(60) == 0
        assert sum("traces are not sent" in line["message"] for line in server.log) == 1


@pytest.mark.parametrize(
    ("variables", "imported"), [({}, False), ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, True)]
)
def test_nothing_is_imported_where_nobody_asked(variables: dict[str, str], imported: bool) -> None:
    code = (
        "import sys; from promoter.serving.server import ModelServer; from promoter.serving.settings import Settings; "
        "from pathlib import Path; ModelServer(Settings(), Path()); print('promoter.serving.tracing' in sys.modules)"
    )
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")} | variables
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(imported)


@pytest.mark.parametrize(
    ("variables", "traceparent", "traced"),
    [
        ({}, None, True),
        ({}, SAMPLED, True),
        ({}, NOT_SAMPLED, False),
        ({"OTEL_TRACES_SAMPLER": "always_off"}, SAMPLED, False),
        ({"OTEL_TRACES_SAMPLER": "always_on"}, NOT_SAMPLED, True),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}, None, False),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}, SAMPLED, True),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"}, SAMPLED, False),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.7"}, SAMPLED, True),
        ({"OTEL_TRACES_SAMPLER": "sometimes"}, None, True),
    ],
)
def test_which_requests_are_traced(variables: dict[str, str], traceparent: str | None, traced: bool) -> None:
    found = Sampler(variables).trace(traceparent.encode() if traceparent else None)
    assert (found is not None) is traced
    if found and traceparent:
        assert (found.id, found.parent) == (TRACE, PARENT)


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"x",
        f"ff-{TRACE}-{PARENT}-01".encode(),
        f"00-{'0' * 32}-{PARENT}-01".encode(),
        f"00-{TRACE}-{'0' * 16}-01".encode(),
    ],
)
def test_a_broken_traceparent_begins_a_trace(broken: bytes) -> None:
    found = Sampler({}).trace(broken)
    assert found is not None
    assert (found.parent, found.id == TRACE) == ("", False)


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "file:///etc/passwd"},
    ],
)
def test_what_turns_traces_off(variables: dict[str, str]) -> None:
    assert connect(variables, {}) is None
