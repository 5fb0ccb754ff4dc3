"""`python -m promoter.serving`: serve the model named by the environment until SIGTERM."""

import os
import sys

from promoter.serving.server import Settings, serve

sys.exit(serve(Settings.from_environment(os.environ)))
