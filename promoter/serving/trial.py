"""`python -m promoter.serving.trial`: loads the model as a model process does, and ends.

promoter runs it in an image that was just built, without network, before anything is published.
"""

from __future__ import annotations

import faulthandler
import os
import sys
from pathlib import Path

from promoter.serving import log
from promoter.serving.errors import SettingsError, StartError
from promoter.serving.model import load_pyfunc, warm
from promoter.serving.settings import Settings


def main() -> int:
    """The exit code: 0 when the model was loaded, 1 when it can't be, 2 when the settings can't be used.

    A model whose own example fails here may need the network to answer it: that is reported, and no failure.
    """
    faulthandler.enable(all_threads=False)
    log.configure("ERROR")
    try:
        settings = Settings.from_environment(os.environ)
        folder = Path(settings.model_path)
        model = load_pyfunc(folder, settings.max_rows, lambda _: None)
    except (SettingsError, StartError) as error:
        _report(str(error))
        return 2 if isinstance(error, SettingsError) else 1
    try:
        if advice := warm(model, folder):
            _report(advice)
    except StartError as error:
        _report(f"without network {error}")
    return 0


def _in_a_child() -> int:
    """`main` in a process of its own: the first process of a container is not ended by the signals that a crash sends."""
    child = os.fork()
    if child == 0:
        os._exit(main())  # without waiting for threads that a model started
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if code >= 0 else 128 - code


def _report(message: str) -> None:
    print(f"promoter: {' '.join(message.split())}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(_in_a_child())
