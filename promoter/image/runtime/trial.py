"""What was built is tried before it is published: the model is loaded in it once, as a pod would load it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from promoter.errors import PromoterError, RefusedError
from promoter.image.layer import MODEL_FOLDER, pack
from promoter.image.runtime.engine import SENTENCE, Engine, Ran
from promoter.image.runtime.install import with_packages
from promoter.image.runtime.packages import base_hint

if TYPE_CHECKING:
    from promoter.image.runtime.recipe import Recipe

_SERVER, _TRIAL = "promoter.serving", "promoter.serving.trial"
_SECONDS = 600
# A folder of its own: a container whose file system is read-only can be given files in a volume only.
_VOLUME = "/opt/trial"


def try_model(engine: Engine, image: str, recipe: Recipe, *, inside: bool = False) -> None:
    """Loads the recipe's model in this image of the engine; `inside`: the image has it already.

    An image whose command is not promoter's server is not tried.

    Raises:
        RefusedError: the model can't be loaded there.
        UnreachableError, AuthError: the engine does not answer, or a model file can't be read.
    """
    version = recipe.version
    if not recipe.settings.trial:
        recipe.say(f"{version.reference} is not tried: image.trial is false")
        return
    command = engine.command(image)
    if _SERVER not in command:
        recipe.say(f"{version.reference} is not tried: the image does not start promoter's server")
        return
    recipe.say(f"loading {version.reference} in the image, without network")
    trial = [_TRIAL if word == _SERVER else word for word in command]
    files = {} if inside else {_VOLUME: iter(pack(version.files, recipe.open_file))}
    environ = {} if inside else {"MODEL_PATH": f"{_VOLUME}/{MODEL_FOLDER}"}
    ran = engine.run(image, trial, environ, files, _SECONDS)
    reason = next((line.removeprefix(SENTENCE) for line in reversed(ran.lines) if line.startswith(SENTENCE)), "")
    if ran.exit_code != 0:
        raise _refused(str(version.reference), ran, with_packages(reason))
    if reason:
        recipe.say(reason)


def _refused(reference: str, ran: Ran, reason: str) -> PromoterError:
    hint = "log it with the packages that it needs; if it needs the network, a GPU or a secret to load, set image.trial: false"
    if "(Debian: " in reason:
        hint = base_hint(reason)
    why = reason or _end(ran)
    return RefusedError(
        f"{reference} can't be loaded in the image that was built for it, nothing is published: {why}", hint=hint
    )


def _end(ran: Ran) -> str:
    """Of a process that could not say it itself; a container ends with 128 and the number of the signal."""
    if ran.exit_code is None:
        return f"it was not loaded within {_SECONDS} s"
    if ran.out_of_memory:
        return "its process was killed: out of memory"
    number = ran.exit_code - 128
    ended = f"ended by {signal.Signals(number).name}" if number in {*signal.Signals} else f"ended with {ran.exit_code}"
    frames = [line.strip() for line in ran.lines if line.startswith("  File ")][:3]
    last = frames or [line for line in ran.lines if line.strip()][-3:]
    return f"its process was {ended}" + (f": {'; '.join(last)}" if last else "")
