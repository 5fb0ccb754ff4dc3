"""What people and programs read: data on stdout, talk on stderr, in CI plain lines."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promoter.errors import UnreachableError, redaction
from promoter.errors.redaction import redact, visible
from promoter.machine import verbose
from promoter.models import Status, Step
from promoter.output import ci, screen, streams
from promoter.output.heartbeat import Heartbeat
from promoter.output.screen import SCREEN

if TYPE_CHECKING:
    from promoter.output.rollout import RolloutView
    from promoter.verdict import Verdict
    from promoter.verdict.observation import Observation

_SIGNS = {Status.SUCCEEDED: "✓", Status.SKIPPED: "=", Status.FAILED: "✗", Status.ERRORED: "✗"}


def say(text: str) -> None:
    """Talk: to stderr, as `clean` makes it."""
    sys.stderr.write(f"{clean(text)}\n")  # at once: another thread may write, too
    sys.stderr.flush()


_HEARTBEAT = Heartbeat(say)


def data(text: str, *, diff: bool = False) -> None:
    """Data: to stdout, as `clean` makes it; `diff`: it contains unified diffs, which are shown in colour on a terminal."""
    text = _coloured(clean(text)) if diff else clean(text)
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
    sys.stdout.flush()


def clean(text: str) -> str:
    """The text as a terminal and a pipeline's log may show it: without secrets, hidden characters, and commands to either."""
    return ci.defused(redaction.clean(text))


def require_written() -> None:
    """For a command whose result is what it prints.

    Raises:
        UnreachableError: stdout did not take all of it.
        BrokenPipeError: its reader is gone, and wanted no more.
    """
    if isinstance(error := streams.lost(), BrokenPipeError):
        raise error
    if error is not None:
        raise UnreachableError(f"stdout can't be written: {error.strerror}", hint="what was printed is incomplete")


def as_json(value: Any) -> None:
    """One JSON value on stdout; dataclasses become objects with their fields' names."""
    data(json_text(value, indent=2))


def as_yaml(value: Any) -> None:
    """The same as YAML."""
    from ruamel.yaml import YAML

    yaml, text = YAML(), io.StringIO()
    yaml.dump(plain(value), text)
    data(text.getvalue())


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON that `clean` leaves as it is: its strings are without secrets, and escape what would be escaped or defused."""
    text = json.dumps(plain(value), indent=indent, ensure_ascii=not streams.takes_unicode())
    return visible(text).replace("##", "#\\u0023")


def plain(value: Any) -> Any:
    """The value in JSON's own types, without secrets and without fields whose name begins with an underscore."""
    if isinstance(value, str) and not isinstance(value, Enum):
        return redact(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = (field.name for field in dataclasses.fields(value) if not field.name.startswith("_"))
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(key): plain(child) for key, child in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(child) for child in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float) and not math.isfinite(value):
        return None  # RFC 8259 has no number for it
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    return value


def report(step: Step) -> None:
    """Progress of one step: a line that is rewritten on a terminal, in CI one line when it has ended."""
    if verbose.quiet():
        return
    if step.status is Status.RUNNING:
        if screen.is_one():
            _rewrite(f"… {step.name}")
        else:
            _HEARTBEAT.begin(step.name)
        return
    _HEARTBEAT.end()
    detail = step.detail.splitlines()[0] if step.detail else ""
    line = f"{_SIGNS[step.status]} {step.name:<8} {detail}"
    seconds = f"  {step.seconds:.1f} s" if step.seconds >= 0.05 else ""
    _rewrite("")
    say(f"{line}{seconds}")


def progress(text: str) -> None:
    """What a step that takes minutes is at: on a terminal a line that the next one takes the place of, in CI a line each."""
    if verbose.quiet():
        return
    if screen.is_one():
        width = shutil.get_terminal_size().columns - 3
        _rewrite(f"… {clean(text)[:width]}")
    else:
        say(f"  {text}")
        _HEARTBEAT.heard()


def _rewrite(text: str) -> None:
    """The line that the terminal's cursor is in, unless a drawing is below it."""
    if screen.is_one() and not SCREEN.on:
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def print_error(message: str, hints: Sequence[str], exit_code: int) -> None:
    """An error, for people on stderr, and to the pipeline that runs us."""
    say(f"error: {message}")
    for hint in hints:
        say(f"hint: {hint}")
    ci.annotate(ci.Level.ERROR, message)
    ci.summarize(f"### ❌ {ci.markdown(message)}\n\n{ci.markdown('; '.join(hints))}")
    ci.outputs({"exit_code": str(exit_code)})


def _coloured(diff: str) -> str:
    """For this stdout: in colour on a terminal that wants it."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return diff
    return "".join(_line_in_colour(line) for line in diff.splitlines(keepends=True))


def _line_in_colour(line: str) -> str:
    body = line.rstrip("\n")
    end = line[len(body) :]
    if line.startswith(("+++", "---")):
        return f"\x1b[1m{body}\x1b[0m{end}"
    colour = {"+": 32, "-": 31, "@": 36}.get(line[:1])
    return f"\x1b[{colour}m{body}\x1b[0m{end}" if colour else line


class Progress:
    """Progress of a release: on a terminal a drawing or a line that moves, in CI a line for each change, or JSON Lines."""

    def __init__(self, name: str, *, in_json: bool) -> None:
        self._name, self._in_json = name, in_json
        self._view: RolloutView | None = None
        self._last = ""

    def look(self, seen: Observation, verdict: Verdict) -> None:
        """What was seen, and what it means: drawn where a terminal can show it, until the verdict is an end."""
        if verdict.terminal or not screen.draws():
            return
        if self._view is None:
            from promoter.output.rollout import RolloutView

            self._view = RolloutView(self._name, clean)
        self._view.look(seen, verdict)
        SCREEN.show(self._view)

    def verdict(self, verdict: Verdict) -> None:
        if self._in_json:
            event("verdict", {"application": self._name, **plain(verdict)})
        line = verdict_line(verdict)
        if line == self._last or verbose.quiet():
            return
        self._last = line
        if SCREEN.on and not verdict.terminal:
            return
        if screen.is_one() and not verdict.terminal:
            width = shutil.get_terminal_size().columns - len(self._name) - 4
            _rewrite(f"… {self._name} {clean(line)[:width]}")
            return
        SCREEN.close()
        self._line(f"{self._name} {line}")
        if verdict.terminal:
            _HEARTBEAT.end()
        else:
            self.waits(f"{self._name} {line}")
        for sentence in verdict.evidence:
            say(f"    {sentence}")

    def say(self, text: str) -> None:
        if self._in_json:
            event("message", {"application": self._name, "text": text})
        self._line(text)

    def waits(self, text: str) -> None:
        """What is waited for without another line until it has happened."""
        if not screen.is_one() and not verbose.quiet():
            _HEARTBEAT.begin(text)

    def outcome(self, value: Mapping[str, Any]) -> None:
        """The last word; in JSON only, for people the command prints its own."""
        _HEARTBEAT.end()
        SCREEN.close()
        if self._in_json:
            outcome(value)

    def _line(self, text: str) -> None:
        if verbose.quiet():
            return
        _rewrite("")
        say(text)


def event(name: str, value: Mapping[str, Any]) -> None:
    """One line of JSON Lines on stdout."""
    stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
    data(json_text({"event": name, "time": stamp, **plain(value)}))


def outcome(value: Mapping[str, Any]) -> None:
    """The last line on stdout: always with `commit`, `exit_code`, `error` and `resume`, the command that continues."""
    event("outcome", {"commit": None, "error": None, "resume": None, **value})


def verdict_line(verdict: Verdict) -> str:
    """`rolling  step 2 of 4, 34 %: Rollout x: ...`"""
    progress = f" step {verdict.step} of {verdict.steps}" if verdict.step is not None and verdict.steps else ""
    weight = f", {verdict.weight} %" if verdict.weight is not None and progress else ""
    reason = f" ({verdict.reason})" if verdict.reason else ""
    return f"{verdict.kind}{reason}{progress}{weight}: {verdict.summary}"


def table(rows: Sequence[tuple[str, str]]) -> str:
    """Two columns, the first as wide as its longest cell."""
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"{name:<{width}}  {value}".rstrip() for name, value in rows)


def grid(rows: Sequence[Sequence[str]], width: int | None = None) -> str:
    """Each column as wide as its longest cell; lines are cut at `width`."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = ("  ".join(f"{cell:<{size}}" for cell, size in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "".join(f"{line if width is None or len(line) <= width else line[: width - 1] + '…'}\n" for line in lines)


def size(count: int) -> str:
    """Bytes for a person: 11.3 kB."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{count} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError("the loop ends at GB")
