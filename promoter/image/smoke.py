"""A published image is started once as a pod would start it, before its release is committed.

It runs on a Docker engine with a read-only root, as its own user, without network and capabilities, with the pod's memory
limit and the variables that its container gets.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from promoter.errors import PromoterError, RefusedError
from promoter.image.manifest import VARIABLES
from promoter.image.reference import ImageReference
from promoter.models import Container, Image

if TYPE_CHECKING:
    from promoter.image.runtime.engine import Engine, Ran

_SERVER, _SMOKE = "promoter.serving", "promoter.serving.smoke"
_SECONDS, _SECONDS_TO_ANSWER = 300, 300
_MIB = 1 << 20
_MUCH = 0.9  # of the limit: the next version may need a little more


@dataclass(frozen=True, slots=True)
class Smoked:
    """What a smoke test measured: seconds until the server was ready, the most memory (bytes) and the limit (None: unknown).

    `skipped` is why there was none.
    """

    seconds: float = 0.0
    memory: int | None = None
    limit: int | None = None
    notes: tuple[str, ...] = ()
    skipped: str = ""

    @property
    def warning(self) -> str:
        """That the pods' memory is nearly used up."""
        if not self.memory or not self.limit or self.memory < _MUCH * self.limit:
            return ""
        return f"the server used {self.memory // _MIB} MiB, and the limit of its pods is {self.limit // _MIB} MiB"

    def __str__(self) -> str:
        if self.skipped:
            return self.skipped
        of_limit = f" of {self.limit // _MIB}" if self.limit else ""
        memory = f", {self.memory // _MIB}{of_limit} MiB" if self.memory else ""
        return "; ".join(filter(None, (f"ready in {self.seconds:g} s{memory}", *self.notes, self.warning)))


def smoke(engine: Engine, image: Image, container: Container, say: Callable[[str], None], seconds: int = _SECONDS) -> Smoked:
    """Starts the image, waits `seconds` until it is ready, and has it answer the model's example as the model itself does.

    Raises:
        RefusedError: it does not.
        AuthError, UnreachableError: the engine does not answer, or can't pull the image.
    """
    reference = ImageReference.parse(f"{image.repository}@{image.digest}")
    pulled = not engine.has(str(reference))
    if pulled:
        engine.pull(reference)
    try:
        command = engine.command(str(reference))
        if _SERVER not in command:
            return Smoked(skipped="not started: the image does not start promoter's server")
        say(f"starting {image.reference}, without network")
        words = [_SMOKE if word == _SERVER else word for word in command]
        environ = {name: value for name, value in container.environ.items() if name not in VARIABLES}
        limit = seconds + _SECONDS_TO_ANSWER
        ran = engine.run(str(reference), [*words, "--seconds", str(seconds)], environ, {}, limit, memory=container.memory)
    finally:
        if pulled:
            with suppress(PromoterError):  # it only takes up room
                engine.remove(str(reference))
    return _judged(ran, image, container)


def _judged(ran: Ran, image: Image, container: Container) -> Smoked:
    found = _found(ran)
    if found is None and any(f"No module named {_SMOKE}" in line for line in ran.lines):
        return Smoked(skipped="not started: the image was made by an earlier promoter")
    if found is None or ran.out_of_memory or found["problem"]:
        raise RefusedError(
            f"{image.reference} would not work in a pod: {_why(ran, found, container)}",
            hint="register a version that answers its example in such a container, or set smoke: false for the model",
        )
    return Smoked(found["seconds"], found["memory"], container.memory, tuple(found["notes"]))


def _found(ran: Ran) -> dict[str, Any] | None:
    for line in reversed(ran.lines):
        with suppress(ValueError, TypeError, KeyError):
            found: dict[str, Any] = json.loads(line)["smoke"]
            return found
    return None


def _why(ran: Ran, found: dict[str, Any] | None, container: Container) -> str:
    if ran.out_of_memory:
        return f"a process was killed: it needs more memory than {_limit(container)}"
    if ran.exit_code is None:
        return "it does not come to an end"
    last = [line.strip() for line in ran.lines if line.strip() and not line.startswith('{"smoke"')][-3:]
    why = found["problem"] if found else f"it ended with {ran.exit_code}"
    return why + (f": {'; '.join(last)}" if last else "")


def _limit(container: Container) -> str:
    return f"{container.memory // _MIB} MiB, the limit of its pods" if container.memory else "the engine has"
