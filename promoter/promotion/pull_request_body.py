"""The body of a pull request: a reviewer can decide in a minute. Pure: facts in, Markdown of bounded length out.

Everything that promoter did not write itself (names, values, messages) stands in code spans and fences: there Markdown and HTML
mean nothing, and nobody is mentioned.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from promoter.errors.redaction import inert, redact, visible
from promoter.models import Environment, ModelVersion, OnFailure, Release, Result, Ruling, Signature, columns
from promoter.output import size

_MOST_METRICS = 30
_LEAST_LINES = 3


@dataclass(frozen=True, slots=True)
class Folded:
    """A text that is shown when asked for, cut at its end if it is too long: `kind` is how its fence is coloured."""

    title: str
    text: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a promotion. A section appears when its facts exist; `live` is the model version that is live now."""

    environment: Environment
    before: Release | None
    after: Release
    version: ModelVersion
    live: ModelVersion | None
    image_size: int
    gates: tuple[Ruling, ...]
    built: bool
    warnings: tuple[str, ...]
    diff: str
    rendered: str | None


def promotion(facts: Facts, room: int) -> str:
    """The body of a promotion's pull request, in at most `room` characters."""
    before = facts.before
    was = f"version {code(before.version)}" if before and before.version else "no version"
    head = f"{code(facts.after.model)} in {code(facts.environment.name)}: {was} → **version {code(facts.after.version)}**"
    sections = [
        _release(facts),
        _metrics(facts.version, facts.live),
        _signature(facts.version, facts.live),
        _gates(facts),
        _merging(facts.environment),
        _rolling_back(facts.environment, before),
    ]
    folded = [Folded("What changes in Git", facts.diff, "diff"), Folded("What it renders to", facts.rendered or "", "diff")]
    return fitted([head, *sections], folded, room)


def restoration(environment: Environment, bad: Release, stable: Release, evidence: Sequence[str], diff: str, room: int) -> str:
    """The body of the urgent pull request that puts the stable release back; `evidence` is the verdict in sentences."""
    head = (
        f"{code(bad.model)} in {code(environment.name)}: **version {code(bad.version)} failed**, the cluster runs "
        f"version {code(stable.version)}, and Git still says {code(bad.version)}."
    )
    merging = (
        "### What happens on merge\n\nGit says again what runs: Argo CD returns to the stable ReplicaSet at once, without "
        f"steps or analysis. `promoter watch {environment.name}` shows it."
    )
    why = "### Why\n\n" + fenced("\n".join(evidence), "")
    table = _table(("", "now", "then"), _images(bad, stable))
    return fitted([head, table, why, merging], [Folded("What changes in Git", diff, "diff")], room)


def going_back(environment: Environment, now: Release, then: Release, diff: str, room: int) -> str:
    """The body of a rollback's pull request."""
    head = f"{code(now.model)} in {code(environment.name)}: back from version {code(now.version)} to **{code(then.version)}**"
    table = _table(("", "now", "then"), _images(now, then))
    return fitted([head, table, _merging(environment)], [Folded("What changes in Git", diff, "diff")], room)


def rejecting(environment: Environment, reference: str, reason: str, diff: str, room: int) -> str:
    """The body of a rejection's pull request."""
    head = f"{code(reference)} in {code(environment.name)} is **not wanted**: {code(reason)}"
    return fitted([head, _merging(environment)], [Folded("What changes in Git", diff, "diff")], room)


def freezing(environment: Environment, standing: str, diff: str, room: int) -> str:
    """The body of the pull request that freezes an environment, `standing` until when and why; "" for one that thaws it."""
    what = f"is **frozen** {code(standing)}: nothing is promoted there" if standing else "is **thawed**: promotions go on there"
    head = f"{code(environment.model.name)} in {code(environment.name)} {what}. Rollbacks and restores are never held up."
    return fitted([head, _merging(environment)], [Folded("What changes in Git", diff, "diff")], room)


def fitted(sections: Sequence[str], folded: Sequence[Folded], room: int) -> str:
    """The sections that fit, in their order, then as much of each folded text as there is room for."""
    parts: list[str] = []
    for section in sections:
        if section and len("\n\n".join([*parts, section])) <= room:
            parts.append(section)
    for fold in folded:
        if fold.text and (shown := _folded(fold, room - len("\n\n".join([*parts, ""])))):
            parts.append(shown)
    return redact("\n\n".join(parts))


# -- sections ---------------------------------------------------------------------------------------------------------


def _release(facts: Facts) -> str:
    rows = _images(facts.before, facts.after)
    if facts.image_size:
        rows.append(("image size", "", size(facts.image_size)))
    if facts.version.run_id:
        rows.append(("run", code(facts.live.run_id if facts.live else None), code(facts.version.run_id)))
    return _table(("", "now", "then"), rows)


def _images(before: Release | None, after: Release) -> list[tuple[str, str, str]]:
    def row(name: str, attribute: str) -> tuple[str, str, str]:
        return name, code(getattr(before, attribute) if before else None), code(getattr(after, attribute))

    return [row("model version", "version"), row("image", "repository"), row("tag", "tag"), row("digest", "digest")]


def _metrics(version: ModelVersion, live: ModelVersion | None) -> str:
    old: Mapping[str, float] = live.metrics if live else {}
    names = sorted({*version.metrics, *old})
    if not names:
        return ""
    rows = []
    for name in names[:_MOST_METRICS]:
        now, then = old.get(name), version.metrics.get(name)
        change = f"{then - now:+.4g}" if now is not None and then is not None else ""
        rows.append((code(name), _number(now), _number(then), change))
    more = f"\n\n{len(names) - _MOST_METRICS} more are in MLflow." if len(names) > _MOST_METRICS else ""
    header = ("metric", f"live ({code(live.version)})" if live else "live", f"new ({code(version.version)})", "change")
    return f"### Metrics\n\n{_table(header, rows)}{more}"


def _signature(version: ModelVersion, live: ModelVersion | None) -> str:
    if live is None or (version.signature is None and live.signature is None):
        return ""
    changed = list(_signature_changes(live.signature or Signature(), version.signature or Signature()))
    said = "\n".join(f"- {line}" for line in changed) if changed else "The same as what is live."
    return f"### Signature\n\n{said}"


def _signature_changes(live: Signature, new: Signature) -> Iterable[str]:
    for side in ("inputs", "outputs", "params"):
        old, now = (dict(columns(getattr(signature, side))) for signature in (live, new))
        for name in dict.fromkeys((*old, *now)):
            if old.get(name) != now.get(name):
                column = f"{side.removesuffix('s')} {code(name)}" if name else side.removesuffix("s")
                yield f"{column}: {_type(old, name)} → {_type(now, name)}"


def _type(known: Mapping[str, str], name: str) -> str:
    return code(known[name]) if name in known else "absent"


_SIGNS = {Result.PASSED: "✅", Result.WARNED: "⚠️", Result.REFUSED: "❌", Result.OVERRIDDEN: "⏩"}


def _gates(facts: Facts) -> str:
    lines = ["- the overlay builds"] if facts.built else []
    lines += [f"- warning: {code(line)}" for line in facts.warnings]
    parts = [gates_table(facts.gates), "\n".join(lines)]
    return "### Checked before\n\n" + "\n\n".join(filter(None, parts)) if any(parts) else ""


def gates_table(rulings: Sequence[Ruling]) -> str:
    """What every gate decided, as Markdown; "" for none."""
    rows = [(f"{_SIGNS[one.result]} {one.result}", code(one.name), code(one.detail)) for one in rulings]
    return _table(("", "gate", "why"), rows) if rows else ""


_ON_FAILURE = {
    OnFailure.RESTORE: "promoter commits the release that was stable back",
    OnFailure.PULL_REQUEST: "promoter opens an urgent pull request that puts the stable release back",
    OnFailure.HOLD: "Git stays as it is until somebody decides",
}


def _merging(environment: Environment) -> str:
    application = environment.application
    return (
        f"### What happens on merge\n\nArgo CD syncs {code(application.name)} from {code(application.target_revision)}, "
        f"and the rollout begins. `promoter watch {environment.name}` proves it live. Should it be aborted, "
        f"the cluster keeps its stable release, and {_ON_FAILURE[environment.on_failure]}."
    )


def _rolling_back(environment: Environment, before: Release | None) -> str:
    if before is None or not before.version:
        return ""
    command = f"promoter rollback {environment.name} --model {before.model} --to {before.version}"
    return f"### How to roll back\n\n{code(command)}"


# -- Markdown ---------------------------------------------------------------------------------------------------------


def code(text: str | None) -> str:
    """A code span on one line, "" for nothing; as a cell of a table, too."""
    plain = inert(" ".join(visible(text or "").split())).replace("`", "'").replace("|", "\\|")
    return f"`{plain}`" if plain else ""


def fenced(text: str, kind: str) -> str:
    """A code block, whose fence is longer than any run of backticks inside."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    return f"{fence}{kind}\n{text.rstrip()}\n{fence}"


def _folded(fold: Folded, room: int) -> str:
    """As many lines as fit, and how many do not; "" when that would be next to none."""
    lines = fold.text.rstrip().splitlines()
    for keep in _fewer(len(lines)):
        more = "" if keep == len(lines) else f"\n\n{len(lines) - keep} more lines are not shown here."
        shown = (
            f"<details><summary>{fold.title}</summary>\n\n{fenced(chr(10).join(lines[:keep]), fold.kind)}{more}\n\n</details>"
        )
        if len(shown) <= room:
            return shown
    return ""


def _fewer(count: int) -> Iterable[int]:
    """All of them, and then fewer and fewer."""
    yield count
    while (count := count * 4 // 5) >= _LEAST_LINES:
        yield count


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"
