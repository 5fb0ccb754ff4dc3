"""`promoter report` on a real repository: figures in the terminal, the page in a file, and what a receiver shows of both."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from promoter.commands.report import gather, since
from promoter.errors import UsageError
from promoter.promotion import releases
from promoter.promotion.outcome import End
from promoter.promotion.record import Close, Record
from promoter.promotion.recorder import Recorder
from promoter.webhook.log import Log
from promoter.webhook.metrics import Metrics
from promoter.webhook.pages import Pages
from promoter.webhook.reporting import Reporting
from promoter.webhook.source import Folder
from tests.support.mlflow_server import mlflow_server
from tests.support.registry_server import RegistryServer, registry_server
from tests.support.write_path import WritePath, path

__all__ = ["mlflow_server", "path", "registry_server"]

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("30d", NOW - timedelta(days=30)),
        ("36h", NOW - timedelta(hours=36)),
        ("4w", NOW - timedelta(weeks=4)),
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T02:00:00+02:00", datetime(2026, 11, 1, tzinfo=UTC)),
    ],
)
def test_since_is_a_span_or_a_time(text: str, start: datetime) -> None:
    assert since(text, NOW) == start


@pytest.mark.parametrize("text", ["", "yesterday", "30", "-3d", "2026-12-24", "0d"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--since"):
        since(text, NOW)


def test_the_command_prints_the_figures_and_writes_the_page(path: WritePath) -> None:
    for _ in range(2):
        path.register()
    for version in (1, 2):
        path.promote(f"{path.model}:{version}")
    done = path.run("rollback", "staging", "--yes", "--reason", "wrong <answers>", "--no-watch")
    assert done.returncode == 0, done.stderr
    file = path.folder / "report.html"
    done = path.run("report", "--env", "staging", "--out", str(file), "-o", "json")
    assert done.returncode == 0, done.stderr
    [one] = json.loads(done.stdout)["environments"]
    assert (one["environment"], one["model"]) == ("staging", path.model)
    figures = one["figures"]
    assert (figures["deployments"], figures["failed"], figures["failure_ratio"]) == (2, 1, 0.5)
    assert figures["restores"] == 1
    page = file.read_text()
    assert page.count("<details") == 3
    assert "wrong &lt;answers&gt;" in page
    assert "accuracy: v1 0.9, v2 0.9" in page  # as MLflow has it
    text = path.run("report", "--env", "staging").stdout.splitlines()
    assert text[0].split() == ["ENV", "MODEL", "DEPLOYMENTS", "LEAD", "TIME", "FAILED", "TIME", "TO", "RESTORE"]
    assert re.search(r"staging +\S+ +2 \(.* a week\) .* 1 \(50%\)", text[1])


def test_what_can_t_be_read_is_not_known_and_has_its_exit_code(path: WritePath) -> None:
    path.register()
    path.promote(f"{path.model}:1")
    file = path.folder / "report.html"
    done = path.run(
        "report",
        "--env",
        "staging",
        "--out",
        str(file),
        MLFLOW_TRACKING_URI="http://127.0.0.1:1",
        MLFLOW_HTTP_REQUEST_MAX_RETRIES="0",
    )
    assert done.returncode == 0, done.stderr
    assert f"metrics of {path.model} are not known" in file.read_text()
    path.edit("environments/staging.yaml", path.remote.as_uri(), (path.folder / "nowhere.git").as_uri())
    done = path.run("report", "--env", "staging", "--out", str(file), "--no-metrics")
    assert done.returncode == 3, done.stderr  # file:// does not tell what is not there from what may not be read
    assert "not known</span>" in file.read_text()


def test_a_file_that_can_t_be_written_is_named(path: WritePath) -> None:
    done = path.run("report", "--env", "staging", "--no-metrics", "--out", str(path.folder / "none" / "report.html"))
    assert done.returncode == 2
    assert "none/report.html" in done.stderr


def test_a_record_at_the_image_tells_when_it_was_live(path: WritePath, registry_server: RegistryServer) -> None:
    path.edit("promoter.yaml", "  layout: oci:images\n", f"  insecure-registries: [{registry_server.host}]\n")
    path.edit("promoter.yaml", "registry.example.com/models", f"{registry_server.host}/models")
    path.register()
    path.promote(f"{path.model}:1")
    clients = path.clients()
    environment = clients.environment("staging")
    committed = releases.current(clients.repository(environment.application), environment)
    live = committed.commit.when + timedelta(minutes=7)
    Recorder(clients, environment, pytest.fail).write(Record(environment, committed, Close("live", exit_code=0, at=live)))
    now = datetime.now(UTC)
    said: list[str] = []
    for records, seen in ((True, live.replace(microsecond=0)), (False, None)):
        found = gather(path.clients(), [environment], now - timedelta(days=1), now, said.append, records=records)
        [one] = found.facts.pasts[0].deployments
        assert (one.outcome.end, one.live) == (End.DEPLOYED, seen)
    assert said == []


# -- the receiver -----------------------------------------------------------------------------------------------------


def test_the_receiver_reads_again_only_when_a_branch_has_moved(path: WritePath) -> None:
    path.register()
    path.register()
    path.promote(f"{path.model}:1")
    metrics = Metrics()
    reporting = Reporting(Folder(path.config, path.environ), 300.0, Log(False))
    metrics.add(reporting)
    assert reporting.page()[0] == 503
    assert b"promoter_deployments_per_day" not in metrics.text()
    reporting.look()
    status, kind, page = reporting.page()
    assert (status, kind) == (200, "text/html; charset=utf-8")
    assert page.count(b"<details") == 1
    labels = f'{{environment="staging",model="{path.model}"}}'
    text = metrics.text().decode()
    assert f"promoter_deployments_per_day{labels} {1 / 30}" in text
    assert f"promoter_change_failure_ratio{labels} 0.0" in text
    assert f"promoter_lead_time_seconds{labels}" in text
    assert f"promoter_restore_time_seconds{labels}" not in text
    first = reporting.facts
    reporting.look()
    assert reporting.facts is first
    path.promote(f"{path.model}:2")
    reporting.look()
    assert reporting.facts is not first
    assert reporting.page()[2].count(b"<details") == 2


def test_a_branch_that_can_t_be_read_leaves_the_last_page(path: WritePath) -> None:
    path.register()
    path.promote(f"{path.model}:1")
    reporting = Reporting(Folder(path.config, path.environ), 300.0, Log(False))
    reporting.look()
    page = reporting.page()
    path.remote.rename(path.folder / "elsewhere.git")
    reporting.look()
    assert reporting.page() == page


def test_the_page_is_next_to_the_metrics(path: WritePath) -> None:
    import asyncio

    sent: list[dict[str, object]] = []

    async def send(message: object) -> None:
        assert isinstance(message, dict)
        sent.append(message)

    async def receive() -> dict[str, object]:
        raise AssertionError("nothing is read")

    pages = Pages(lambda: "", lambda: "", Metrics(), lambda: (200, "text/html", b"<p>"))
    for method in ("GET", "POST"):
        asyncio.run(pages({"type": "http", "path": "/report", "method": method}, receive, send))
    assert [message["status"] for message in sent if "status" in message] == [200, 405]
