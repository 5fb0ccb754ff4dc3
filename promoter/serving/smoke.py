"""`python -m promoter.serving.smoke`: start the server as a pod does, and have it answer its model's example as the model does.

promoter runs it in a container of a published image, without network, before the release is committed. It prints one line of
JSON and exits with 0 (passed) or 1 (failed); what the server writes to its log is printed in front.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promoter.serving import client, log, predictions
from promoter.serving.compare import difference
from promoter.serving.decode import JSON
from promoter.serving.errors import RequestError, SettingsError, StartError
from promoter.serving.examples import logged_request
from promoter.serving.memory import working_set
from promoter.serving.model import PyfuncModel, Request, load_pyfunc
from promoter.serving.settings import Settings

_SECONDS_BETWEEN, _SECONDS_TO_END = 0.1, 30
_TOLERANCE = 1e-4  # as in the predictions of an analysis


class Failure(Exception):
    """The message is shown to people."""


@dataclass
class Seen:
    """What was measured: seconds until the server was ready, and the most memory (bytes; None: not shown here)."""

    seconds: float = 0.0
    memory: int | None = None
    notes: list[str] = field(default_factory=list)

    def look(self) -> None:
        """Reads the memory in use."""
        used = working_set()
        if used is not None:
            self.memory = max(used, self.memory or 0)


def smoke(settings: Settings, limit: float, seen: Seen) -> None:
    """Waits at most `limit` seconds until the server is ready, then asks it and the model itself.

    Raises:
        Failure: it ends or is not ready in time, answers something else than what was logged or than the model, or not at all.
    """
    folder = Path(settings.model_path)
    url = f"http://127.0.0.1:{settings.port}"
    request, served = None if settings.model_uri else logged_request(folder), None
    with _server() as process:
        _wait(process, url, limit, seen)
        if not settings.model_uri:
            served = _asked(url, settings, folder, request, seen)
        seen.look()
    if settings.model_uri:
        seen.notes.append("the model is not in the image")
    elif request is None:
        seen.notes.append("the model has no example to answer")
    else:
        _same_as_the_model(folder, request, served, seen)


@contextmanager
def _server() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-m", "promoter.serving"])
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], url: str, limit: float, seen: Seen) -> None:
    started = time.monotonic()
    while True:
        if (code := process.poll()) is not None:
            raise Failure(f"the server ended with {code} before it was ready")
        seen.look()
        seen.seconds = round(time.monotonic() - started, 1)
        if client.is_ready(url):
            return
        if seen.seconds > limit:
            raise Failure(f"the server is not ready after {limit:g} s")
        time.sleep(_SECONDS_BETWEEN)


def _asked(url: str, settings: Settings, folder: Path, request: Path | None, seen: Seen) -> Any:
    """The answer to the example, which is what was logged with it if anything was; enough of the golden examples are right."""
    release = client.Release(settings.model_version, settings.model_digest)
    timeout = settings.inference_timeout + _SECONDS_TO_END
    try:
        found = predictions.check(url, folder, release, predictions.Checks(tolerance=_TOLERANCE, timeout=timeout))
        if found.get("golden"):
            seen.notes.append(str(found["message"]).rpartition("; ")[2])
        return client.predicted(url, request.read_bytes(), timeout) if request else None
    except client.Failure as failure:
        raise Failure(str(failure)) from None


def _same_as_the_model(folder: Path, request: Path, served: Any, seen: Seen) -> None:
    """Once the server has ended: two copies of the model may need more memory than a pod has."""
    model = load_pyfunc(folder, sys.maxsize, lambda _: None)
    own, again = (_own(model, request.read_bytes()) for _ in range(2))
    if difference(again, own, _TOLERANCE, "")[0]:
        seen.notes.append("the model answers its example each time otherwise")
        return
    problem, _ = difference(served, own, _TOLERANCE, "predictions")
    if problem:
        raise Failure(f"the server answers the example otherwise than the model does: {problem}")


def _own(model: PyfuncModel, body: bytes) -> Any:
    try:
        decoded = model.decode(Request(body, JSON))
        return client.unwrapped(json.loads(model.encode(model.predict(decoded), decoded)))
    except RequestError as error:
        why = log.summary(error.__cause__) if error.__cause__ else error.message
        raise Failure(f"the model can't predict its own example: {why}") from None


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m promoter.serving.smoke")
    parser.add_argument("--seconds", type=float, default=300, help="until the server has to be ready (300)")
    limit = parser.parse_args(arguments).seconds
    log.configure("ERROR")
    seen, problem = Seen(), ""
    try:
        smoke(Settings.from_environment(os.environ), limit, seen)
    except (Failure, SettingsError, StartError) as failure:
        problem = str(failure)
    found = {"problem": problem, "seconds": seen.seconds, "memory": seen.memory, "notes": seen.notes}
    print(json.dumps({"smoke": found}), flush=True)
    return int(bool(problem))


if __name__ == "__main__":
    sys.exit(main())
