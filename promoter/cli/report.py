"""How well environments are delivered to: figures on the terminal, and a page with all of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promoter.cli.common import clients_of, print_value
from promoter.cli.options import ConfigOption, Output, OutputOption

if TYPE_CHECKING:
    from promoter.report.facts import Facts
    from promoter.report.figures import Figures


def report(
    environments: Annotated[
        list[str] | None,
        typer.Option("--env", metavar="ENV", help="Only this environment or group; may be repeated. By default all."),
    ] = None,
    since: Annotated[str, typer.Option("--since", metavar="TIME", help="From when on: 30d, 36h, 4w, or a day.")] = "30d",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the page there: one HTML file that opens offline.")
    ] = None,
    records: Annotated[
        bool, typer.Option("--records/--no-records", help="Read the records at the images: steps, analyses, when it was live.")
    ] = False,
    metrics: Annotated[bool, typer.Option("--metrics/--no-metrics", help="Ask MLflow for the versions' metrics.")] = True,
    model: Annotated[str | None, typer.Option("--model", metavar="NAME", help="Only of this model.")] = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Print the four figures of DORA for each environment, and write a page about its releases with --out."""
    from datetime import UTC, datetime

    from promoter.commands.report import gather
    from promoter.commands.report import since as parsed
    from promoter.output import say
    from promoter.report.figures import figures

    now = datetime.now(UTC).replace(microsecond=0)
    start = parsed(since, now)
    clients = clients_of(config)
    wanted = clients.config.chosen(environments or (), model)
    found = gather(clients, wanted, start, now, say, records=records, metrics=metrics and out is not None)
    facts = found.facts
    if out is not None:
        _write(facts, out)
        say(f"wrote {out}")
    measured = [figures(past.deployments, facts.start, facts.now) for past in facts.pasts]
    print_value(output, _value(facts, measured, out), lambda _: _text(facts, measured))
    raise typer.Exit(found.exit_code)


def _write(facts: Facts, out: Path) -> None:
    from promoter.errors import UsageError
    from promoter.report.page import html

    text = html(facts)
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"can't write {out}: {error.strerror}", hint="choose another --out") from None


def _value(facts: Facts, measured: list[Figures], out: Path | None) -> dict[str, Any]:
    each = [
        {
            "environment": past.environment,
            "model": past.model,
            "problem": past.problem,
            "figures": None if past.problem else one,
        }
        for past, one in zip(facts.pasts, measured, strict=True)
    ]
    return {"start": facts.start, "now": facts.now, "out": out, "environments": each, "notes": facts.notes}


def _text(facts: Facts, measured: list[Figures]) -> str:
    from promoter.cli.history_text import Form
    from promoter.output import grid

    head = ("ENV", "MODEL", "DEPLOYMENTS", "LEAD TIME", "FAILED", "TIME TO RESTORE")
    rows = [
        (past.environment, past.model, *(("?",) * 4 if past.problem else _row(one)))
        for past, one in zip(facts.pasts, measured, strict=True)
    ]
    return grid([head, *rows], Form.here().width)


def _row(one: Figures) -> tuple[str, ...]:
    from promoter.config.duration import spoken

    return (
        f"{one.deployments} ({one.per_day * 7:.2f} a week)",
        "-" if one.lead_time is None else spoken(one.lead_time),
        "-" if one.failure_ratio is None else f"{one.failed} ({one.failure_ratio:.0%})",
        ("-" if one.restore_time is None else spoken(one.restore_time)) + (f", {one.unrestored} not" if one.unrestored else ""),
    )
