"""The loaded model: a request's body in, the body of the answer out."""

from __future__ import annotations

import gc
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from promoter.serving import log, scoring, streams
from promoter.serving.advice import busy_seconds, concurrency_for
from promoter.serving.decode import JSON, Decoded, Decoder
from promoter.serving.errors import RequestError, StartError
from promoter.serving.examples import logged_request
from promoter.serving.settings import MOST_CONCURRENT

_log = logging.getLogger(__name__)
_END = object()


@dataclass(frozen=True)
class Request:
    """What a client posted."""

    body: bytes
    content_type: str


class Predictor(Protocol):
    """Answers requests: decodes one, predicts it, alone or with others, and encodes its prediction.

    Each method may raise RequestError.
    """

    def decode(self, request: Request) -> Decoded: ...

    def predict(self, decoded: Decoded) -> Any: ...

    def stream(self, decoded: Decoded) -> Iterator[bytes] | None: ...

    def encode(self, prediction: Any, decoded: Decoded) -> bytes: ...


class PyfuncModel:
    """An MLflow model of any flavor. `max_rows` limits one request, and so one predict call."""

    def __init__(self, pyfunc: Any, max_rows: int, observe_rows: Callable[[float], None]) -> None:
        from mlflow.utils.proto_json_utils import NumpyEncoder, _get_jsonable_obj

        self._pyfunc = pyfunc
        self._decoder = Decoder(pyfunc.metadata, max_rows)
        self._max_rows, self._observe_rows = max_rows, observe_rows
        encoder: Any = NumpyEncoder  # MLflow has no annotations here
        self._encode: Callable[[object], str] = encoder().encode
        self._jsonable: Any = _get_jsonable_obj

    @property
    def concurrency(self) -> int:
        """Calls at a time, as `metadata={"concurrency": 8}` of `log_model` asks for; 1 where it does not."""
        asked = (getattr(self._pyfunc.metadata, "metadata", None) or {}).get("concurrency")
        return asked if isinstance(asked, int) and 1 <= asked <= MOST_CONCURRENT else 1

    @property
    def signature(self) -> Any:
        return self._pyfunc.metadata.signature

    def warm(self, example: bytes) -> None:
        """Answers one request of any size.

        Raises:
            RequestError: it can't be answered.
        """
        decoded = self._decoder.decode(example, JSON)
        self.encode(self.predict(decoded), decoded)

    def decode(self, request: Request) -> Decoded:
        decoded = self._decoder.decode(request.body, request.content_type)
        if decoded.rows > self._max_rows:
            message = f"the request has {decoded.rows} rows, MAX_BATCH_SIZE is {self._max_rows}: send fewer or raise it"
            raise RequestError(413, message)
        return decoded

    def predict(self, decoded: Decoded) -> Any:
        """One predict call: 400 if MLflow refuses the input, 500 if the model fails.

        422 if a model without a signature raises what Python code raises for an invalid value: nothing else judged the input.
        """
        self._observe_rows(decoded.rows)
        try:
            return scoring.predict(self._pyfunc, decoded.data, decoded.params)
        except BaseException as error:  # the model's own code may raise anything, and the process serves on
            raise self._blamed(error) from error

    def stream(self, decoded: Decoded) -> Iterator[bytes] | None:
        """The answer as server-sent events, of which the model has made the first; None if it answers in one piece only.

        Raises:
            RequestError: as `predict`; the events raise it too.
        """
        try:
            chunks = scoring.predict_stream(self._pyfunc, decoded.data, decoded.params)
            if chunks is None:
                return None
            first = next(chunks, _END)
        except NotImplementedError:  # MLflow's classes have a predict_stream that raises it
            return None
        except BaseException as error:
            raise self._blamed(error) from error
        self._observe_rows(decoded.rows)
        return self._events(first, chunks)

    def _events(self, chunk: Any, chunks: Iterator[Any]) -> Iterator[bytes]:
        while chunk is not _END:
            yield streams.event(self._text(chunk))
            try:
                chunk = next(chunks, _END)
            except BaseException as error:
                raise self._blamed(error) from error

    def _blamed(self, error: BaseException) -> RequestError:
        """Whose fault it is: the request's if MLflow refuses it, or if nothing else judged it; else the model's."""
        from mlflow.exceptions import MlflowException

        if isinstance(error, MlflowException) and error.get_http_status_code() < 500:
            return self._decoder.explain(error)
        if self.signature is None and isinstance(error, (ValueError, TypeError, LookupError, ArithmeticError)):
            return RequestError(422, f"the model refused the input: {type(error).__name__}: {error}"[:1000])
        return RequestError(500, "the model failed; the server's log has the reason under this X-Request-Id")

    def encode(self, prediction: Any, decoded: Decoded) -> bytes:
        """The same text as MLflow's scoring server returns."""
        return self._text(prediction, "" if decoded.unwrapped else "predictions").encode()

    def _text(self, prediction: Any, name: str = "") -> str:
        try:
            jsonable = self._jsonable(prediction, pandas_orient="records")
            return self._encode({name: jsonable} if name else jsonable)
        except (TypeError, ValueError, RecursionError) as error:
            raise RequestError(500, "the model's prediction can't be written as JSON") from error


def load(folder: Path, max_rows: int, observe_rows: Callable[[float], None]) -> tuple[PyfuncModel, float, str]:
    """The model, warmed up with its own example, the seconds that this took, and what `warm` returned.

    Raises:
        StartError: it can't be loaded, or can't predict its own example.
    """
    started = time.monotonic()
    model = load_pyfunc(folder, max_rows, observe_rows)
    advice = warm(model, folder)
    log.quiet_mlflow()
    # These objects live as long as the process: a collection that visits them all would delay requests by tenths of a second.
    gc.collect()
    gc.freeze()
    return model, time.monotonic() - started, advice


def load_pyfunc(folder: Path, max_rows: int, observe_rows: Callable[[float], None]) -> PyfuncModel:
    """The model as it is, not warmed up.

    Raises:
        StartError: it can't be loaded.
    """
    # MLflow's scoring server sets this, and models may read it.
    os.environ["_MLFLOW_IS_IN_SERVING_ENVIRONMENT"] = "true"
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        scoring.scoring_server()
        log.adopt_mlflow()
        return PyfuncModel(scoring.load(str(folder)), max_rows, observe_rows)
    except BaseException as error:  # the process must end with a reason, whatever a model's code raises
        raise StartError(f"the model at {folder} can't be loaded: {log.summary(error)}") from error


def warm(model: PyfuncModel, folder: Path) -> str:
    """Has it predict the example that was logged with it, if there is one; returns what that shows, "" for nothing.

    Raises:
        StartError: it can't.
    """
    started, busy = time.monotonic(), busy_seconds()
    example = logged_request(folder)
    if example is None:
        _log.warning("the model has no example to warm it up with: log it with input_example=")
        return ""
    try:
        model.warm(example.read_bytes())
    except RequestError as error:
        why = log.summary(error.__cause__) if error.status == 500 and error.__cause__ else error.message
        raise StartError(f"the model can't predict its own example {example}: {why}") from error
    return concurrency_for(time.monotonic() - started, busy_seconds() - busy) if model.concurrency == 1 else ""
