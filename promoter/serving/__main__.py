"""`python -m promoter.serving`: serve the model named by the environment until SIGTERM."""

from __future__ import annotations

import logging
import os
import sys

from promoter.serving import log
from promoter.serving.errors import SettingsError, StartError
from promoter.serving.scratch import scratch_folder
from promoter.serving.server import ModelServer
from promoter.serving.settings import Settings
from promoter.serving.termination import leave_message

_log = logging.getLogger("promoter.serving")


def main() -> int:
    """The exit code: 0 after SIGTERM, 1 when the model can't be served, 2 when the settings can't be used."""
    try:
        settings = Settings.from_environment(os.environ)
    except SettingsError as error:
        log.configure("INFO")
        _log.error("%s", error)
        leave_message(str(error))
        return 2
    log.configure(settings.log_level)
    try:
        with scratch_folder() as scratch:
            return ModelServer(settings, scratch).run()
    except StartError as error:
        _log.error("%s", error)
        leave_message(str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main())
