"""command: the team's own check. It reads the facts as JSON on stdin; its exit code decides, its last line is the reason."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from pathlib import Path

from promoter.config.duration import spoken
from promoter.config.gates import CommandSection
from promoter.machine.process import NETWORK, Done, HungError, needed, run
from promoter.models import Ruling
from promoter.promotion.gates.table import passed, refused

_LONGEST = 300
_HINT = "run it by hand with the same input (docs/gates.md)"


def command(rule: CommandSection, facts: bytes, root: Path, environ: Mapping[str, str]) -> Ruling:
    """Runs the check in the folder of promoter.yaml, without a shell, and without promoter's own secrets."""
    program, *arguments = rule.run
    named = (word for word in rule.run if "/" in word and not word.startswith(("/", "-")))
    about = posixpath.basename(next(named, program))
    path = str(root / program) if "/" in program else program
    try:
        done = run(
            [path, *arguments],
            environ=needed(environ, NETWORK, more=True),
            seconds=rule.timeout,
            stdin=facts,
            folder=root,
        )
    except HungError:
        return refused("command", about, f"did not end within {spoken(rule.timeout)}", _HINT)
    except OSError as error:
        return refused("command", about, f"can't be started: {error.strerror}", "correct gates.command in promoter.yaml")
    return _ruled(about, done)


def _ruled(about: str, done: Done) -> Ruling:
    """The last line of stdout, or of stderr if stdout has none."""
    lines = [line.strip() for line in f"{done.errors}\n{done.output}".splitlines() if line.strip()]
    last = lines[-1][:_LONGEST] if lines else ""
    if done.status == 0:
        return passed("command", about, last or "exit code 0")
    return refused("command", about, f"exit code {done.status}: {last or 'it printed nothing'}", _HINT)
