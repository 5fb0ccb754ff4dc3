"""Log lines as JSON, one a line, on standard error. What clients send is never in them."""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from types import TracebackType


def configure(level: str) -> None:
    """Everything that logs or warns in this process writes JSON lines of `level` and above."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    logging.getLogger("uvicorn.error").setLevel(max(logging.getLevelName(level), logging.WARNING))


def adopt_mlflow() -> None:
    """It brings a handler of its own when it is imported; its lines belong with the others."""
    logger = logging.getLogger("mlflow")
    logger.handlers.clear()
    logger.propagate = True


def quiet_mlflow() -> None:
    """Once requests are served: MLflow's warnings repeat names and values of a request, at every request."""
    logging.getLogger("mlflow").setLevel(logging.ERROR)


class JsonFormatter(logging.Formatter):
    """`extra={"fields": {...}}` of a record become keys of its line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0]:
            line["exception"] = record.exc_info[0].__name__
            line["stack"] = stack(record.exc_info[2])
        return json.dumps(line, default=str)


def summary(error: BaseException) -> str:
    """Class, message and innermost place, for errors that no client caused."""
    frames = stack(error.__traceback__)
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"{text} (at {frames[-1]})" if frames else text


def stack(place: TracebackType | None) -> list[str]:
    """The place an exception came from, without its text: a model's exception may repeat its input."""
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(place)]
