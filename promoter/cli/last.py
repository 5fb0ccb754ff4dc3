"""The last word of a command that an error or a signal ends: it always has one."""

from __future__ import annotations

import traceback
from typing import Any

from promoter.cli.run import RUN, asked_for_json
from promoter.errors import ExitCode, GatesError, PromoterError, RefusedError, UsageError
from promoter.machine import resources
from promoter.machine.interrupts import Interrupted


def last_word(error: BaseException) -> int:
    """Shows how the command ended, on stderr, to the pipeline, and as the last line of JSON; returns the exit code."""
    known = _known(error)
    if isinstance(known, PromoterError):
        hints = [known.hint] if known.hint else []
        return _end(known.message, hints, known.exit_code, known.rulings if isinstance(known, GatesError) else ())
    if isinstance(known, Interrupted):
        return _end(str(known), [], known.exit_code)
    traceback.print_exception(error)
    return _end(f"{type(error).__name__}: {error}", ["this is a fault of promoter: please report it"], ExitCode.UNEXPECTED)


def _known(error: BaseException) -> BaseException:
    """What the system and the parser of the command line raise, as errors that people can read."""
    if isinstance(error, OSError):
        return resources.explained(error) or _denied(error) or error
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return resources.exhausted(str(error))
    if type(error).__name__ == "Abort":
        return RefusedError("not confirmed: nothing was done")
    format_message = getattr(error, "format_message", None)
    if format_message is None:
        return error
    context = getattr(error, "ctx", None)
    return UsageError(format_message(), hint=f"see {context.command_path if context else 'promoter'} --help")


def _denied(error: OSError) -> UsageError | None:
    """A file of this machine that may not be read or written."""
    if not isinstance(error, PermissionError) or not isinstance(error.filename, str):
        return None
    return UsageError(f"{error.filename}: {error.strerror}", hint="check the permissions of the file and of its folder")


def _end(message: str, hints: list[str], exit_code: int, rulings: tuple[Any, ...] = ()) -> int:
    from promoter import output as out

    if RUN.commit:
        message = f"{message}; {RUN.commit[:10]} is committed to {RUN.environment} and is not watched any more"
    if rulings:
        _show(rulings)
    out.print_error(message, [*hints, *RUN.hints(exit_code)], exit_code)
    if asked_for_json():
        hint = hints[0] if hints else ""
        error = {"message": message, "hint": hint, "exit_code": exit_code, **({"gates": rulings} if rulings else {})}
        out.outcome({"commit": RUN.commit or None, "exit_code": exit_code, "error": error, "resume": RUN.resume(exit_code)})
    return exit_code


def _show(rulings: tuple[Any, ...]) -> None:
    """Every gate, those that let the version pass as well: on stderr and on the pipeline's page."""
    from promoter import output as out
    from promoter.cli.text import rulings_text
    from promoter.output import ci
    from promoter.promotion.pull_request_body import gates_table

    out.say(rulings_text(rulings))
    ci.summarize(gates_table(rulings))
