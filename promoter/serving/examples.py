"""What was logged with a model to try it with: a request, and the answer to it."""

from __future__ import annotations

from pathlib import Path

REQUEST = "serving_input_example.json"
ANSWER = "serving_output_example.json"
_REQUESTS = (REQUEST, "serving_input_payload.json")  # MLflow 2.15 has the other name, older ones log no request


def logged_request(folder: Path) -> Path | None:
    """The file with the request; None if the model has none."""
    return next((folder / name for name in _REQUESTS if (folder / name).is_file()), None)
