"""Traces of promotions: one tree across processes, sent only where they are wanted, and never in the way."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from promoter.errors import RefusedError
from promoter.machine import tracing
from promoter.promotion.steps import Steps
from promoter.promotion.watch import phase_name
from promoter.verdict import Kind, Verdict
from promoter.verdict.observation import GitFacts, Observation
from tests.support.argo_world import FAILS, World, world
from tests.support.observations import canary
from tests.support.otlp_receiver import Receiver, receiving

_TRACE = "0af7651916cd43dd8448eb211c80319c"
_PARENT = f"00-{_TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def it(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, os.environ, settings="watch: {stable-for: 0}\n") as one:
        yield one


@pytest.fixture
def collector() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


def promoter(it: World, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The command, while the sandbox's time passes."""
    command = [sys.executable, "-m", "promoter", *words, "-c", str(it.folder / "promoter.yaml")]
    process = subprocess.Popen(
        command, env={**it.clients.environ, **environ}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while process.poll() is None:
        it.settle(2)
    out, err = process.communicate()
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def test_a_commit_carries_its_trace_to_whoever_watches_it(it: World, collector: Receiver) -> None:
    it.promote(2)
    it.settle()
    done = promoter(it, "rollback", "staging", "--yes", "--no-watch", **collector.environ)
    assert done.returncode == 0, done.stderr
    (root,) = collector.spans
    assert (root.name, root.parent, root.error) == ("promoter rollback", "", "")
    assert f"\nTraceparent: 00-{root.trace}-" in it.remote.message()

    done = promoter(it, "watch", "staging", **collector.environ)
    assert done.returncode == 0, done.stderr
    watched = [(span.name, span.parent) for span in collector.spans if span.trace == root.trace]
    assert watched[:2] == [("promoter rollback", ""), ("watch staging", "promoter rollback")]
    assert ("live", "watch staging") in watched
    assert [span.name for span in collector.spans if span.trace != root.trace] == ["promoter watch"]
    assert collector.services == {"promoter"}


def test_a_restore_belongs_to_the_trace_of_what_it_undoes(it: World, collector: Receiver) -> None:
    it.behaviours["2"] = FAILS
    it.promote(2, Traceparent=_PARENT)
    done = promoter(it, "reconcile", **collector.environ)
    assert done.returncode == 10, done.stderr
    spans = [span for span in collector.spans if span.trace == _TRACE]
    watch, restore, back = (span for span in spans if span.name.endswith(" staging"))
    assert [span.name for span in (watch, restore, back)] == ["watch staging", "restore staging", "watch staging"]
    assert (watch.parent, restore.parent) == ("b7ad6b7169203331",) * 2
    assert watch.attributes["version"] == "2"
    assert back.attributes["version"] == "1"
    assert restore.attributes == {"reason": "analysis failed"}
    assert {"aborted", "live"} <= {span.name for span in spans if span.parent == "watch staging"}
    assert f"\nTraceparent: 00-{_TRACE}-" in it.remote.message()


def test_nothing_of_it_without_the_variables(it: World, collector: Receiver) -> None:
    it.promote(2)
    it.settle()
    promoter(it, "rollback", "staging", "--yes", "--no-watch", OTEL_SDK_DISABLED="true", **collector.environ)
    promoter(it, "rollback", "staging", "--yes", "--no-watch", OTEL_TRACES_EXPORTER="none", **collector.environ)
    assert "Traceparent" not in "\n".join(it.remote.log("%B"))
    assert not collector.headers
    code = "import sys, promoter.cli; promoter.cli.main.__module__; print([m for m in sys.modules if 'opentelemetry' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("status", [500, 404])
def test_a_collector_that_does_not_take_them_changes_nothing(it: World, collector: Receiver, status: int) -> None:
    collector.status = status
    environ = {**collector.environ, "OTEL_EXPORTER_OTLP_HEADERS": "api-key=s3cret-of-the-collector"}
    done = promoter(it, "watch", "staging", **environ)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("warning: traces are not sent: ") == 1
    assert "s3cret" not in done.stdout + done.stderr
    assert collector.headers[0]["api-key"] == "s3cret-of-the-collector"


def test_a_protocol_that_is_not_supported_is_named(it: World, collector: Receiver) -> None:
    done = promoter(it, "watch", "staging", OTEL_EXPORTER_OTLP_PROTOCOL="grpc", **collector.environ)
    assert done.returncode == 0
    assert "warning: no traces: grpc is not supported; set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf" in done.stderr
    assert not collector.headers


def test_steps_are_spans_and_errors_mark_them(collector: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "releases")

    def refuse() -> None:
        raise RefusedError("quarantined with ghp_0123456789abcdefghij", hint="choose another")

    with tracing.sending(os.environ, pytest.fail), tracing.continuing(_PARENT), tracing.span("promoter promote", model="a"):
        steps = Steps()
        steps.run("image", lambda: 1)
        with pytest.raises(RefusedError):
            steps.run("gates", refuse)
    spans = {span.name: span for span in collector.spans}
    assert {span.trace for span in spans.values()} == {_TRACE}
    assert spans["promoter promote"].parent == "b7ad6b7169203331"
    assert (spans["image"].parent, spans["image"].error) == ("promoter promote", "")
    assert spans["gates"].error.startswith("RefusedError: quarantined with ")
    assert "ghp_" not in spans["gates"].error
    assert collector.services == {"releases"}


def test_phases_follow_each_other(collector: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    rolling = Verdict(Kind.ROLLING, "it rolls")
    looks = [(Observation(None, GitFacts()), Verdict(Kind.SYNCING, "it syncs"))]
    looks += [(canary(step, 3), rolling) for step in (0, 0, 1, 3)]
    with tracing.sending(os.environ, pytest.fail), tracing.span("watch"), closing(tracing.Phases()) as phases:
        for seen, verdict in looks:
            phases.begin(phase_name(seen, verdict))
    spans = collector.spans
    assert [(span.name, span.parent) for span in spans[1:]] == [
        ("syncing", "watch"),
        ("step 1: setWeight 0", "watch"),
        ("step 2: setWeight 1", "watch"),
        ("rolling", "watch"),
    ]


@pytest.mark.parametrize("parent", ["", "nonsense", "00-zz-b7ad6b7169203331-01", f"00-{'0' * 32}-b7ad6b7169203331-01"])
def test_a_trailer_that_is_no_traceparent_begins_a_trace(
    parent: str, collector: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    with tracing.sending(os.environ, pytest.fail), tracing.continuing(parent), tracing.span("watch"):
        pass
    (span,) = collector.spans
    assert span.parent == ""
