"""The loaded model: a request's body in, the body of the answer out."""

from __future__ import annotations

import gc
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from promoter.serving import log
from promoter.serving.decode import JSON, Decoded, Decoder
from promoter.serving.errors import RequestError, StartError

_log = logging.getLogger(__name__)
EXAMPLE = "serving_input_example.json"


@dataclass(frozen=True)
class Request:
    """What a client posted."""

    body: bytes
    content_type: str


class Model(Protocol):
    """What answers requests: a request is decoded, predicted, alone or with others, and its prediction encoded.

    Each may raise RequestError.
    """

    def decode(self, request: Request) -> Decoded: ...

    def predict(self, decoded: Decoded) -> Any: ...

    def encode(self, prediction: Any, decoded: Decoded) -> bytes: ...


class PyfuncModel:
    """An MLflow model, whatever its flavor. `max_rows` of one request, and so of one predict call."""

    def __init__(self, pyfunc: Any, max_rows: int, observe_rows: Callable[[float], None]) -> None:
        from mlflow.utils.proto_json_utils import NumpyEncoder, _get_jsonable_obj

        self._pyfunc = pyfunc
        self._decoder = Decoder(pyfunc.metadata)
        self._max_rows, self._observe_rows = max_rows, observe_rows
        encoder: Any = NumpyEncoder  # MLflow has no annotations here
        self._encode: Callable[[object], str] = encoder().encode
        self._jsonable: Any = _get_jsonable_obj

    @property
    def signature(self) -> Any:
        return self._pyfunc.metadata.signature

    def warm(self, example: bytes) -> None:
        """A whole request, of any size.

        Raises:
            RequestError: it can't be answered.
        """
        decoded = self._decoder.decode(example, JSON)
        self.encode(self.predict(decoded), decoded)

    def decode(self, request: Request) -> Decoded:
        decoded = self._decoder.decode(request.body, request.content_type)
        if decoded.rows > self._max_rows:
            told = f"the request has {decoded.rows} rows, MAX_BATCH_SIZE is {self._max_rows}: send fewer at once, or raise it"
            raise RequestError(413, told)
        return decoded

    def predict(self, decoded: Decoded) -> Any:
        """One predict call. What MLflow refuses is 400 and what the model refuses 422; a model that breaks is 500."""
        from mlflow.exceptions import MlflowException

        self._observe_rows(decoded.rows)
        try:
            return self._pyfunc.predict(decoded.data, params=decoded.params)
        except MlflowException as error:
            status = error.get_http_status_code()
            if status < 500:
                raise self._decoder.explain(error) from error
            raise _broken() from error
        except (ValueError, TypeError, LookupError, ArithmeticError) as error:  # Python's words for a value that will not do
            raise RequestError(422, f"the model refused the input: {type(error).__name__}: {error}"[:1000]) from error
        except (Exception, SystemExit) as error:  # it is the model's own code: anything may come
            raise _broken() from error

    def encode(self, prediction: Any, decoded: Decoded) -> bytes:
        """The very text that MLflow's scoring server answers."""
        try:
            jsonable = self._jsonable(prediction, pandas_orient="records")
            text = self._encode(jsonable if decoded.unwrapped else {"predictions": jsonable})
        except (TypeError, ValueError, RecursionError) as error:
            raise RequestError(500, "the model's prediction can't be written as JSON") from error
        return text.encode()


def _broken() -> RequestError:
    return RequestError(500, "the model failed; the server's log has the reason under this X-Request-Id")


def load(folder: Path, max_rows: int, observe_rows: Callable[[float], None]) -> tuple[PyfuncModel, float]:
    """The model, warmed with its own example, and the seconds that took.

    Raises:
        StartError: it can't be loaded, or can't predict its own example.
    """
    started = time.monotonic()
    # As MLflow's scoring server does: models may ask for it.
    os.environ["_MLFLOW_IS_IN_SERVING_ENVIRONMENT"] = "true"
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.pyfunc import scoring_server

    log.adopt_mlflow()
    try:
        pyfunc = scoring_server.load_model_with_mlflow_config(str(folder))
        model = PyfuncModel(pyfunc, max_rows, observe_rows)
    except (Exception, SystemExit) as error:  # whatever a model's code raises, the process must end and say so
        raise StartError(f"the model at {folder} can't be loaded: {type(error).__name__}: {error}") from error
    _warm(model, folder)
    log.quiet_mlflow()
    # What is there now stays: a collection that walks through all of it would hold up requests for tenths of a second.
    gc.collect()
    gc.freeze()
    return model, time.monotonic() - started


def _warm(model: PyfuncModel, folder: Path) -> None:
    example = folder / EXAMPLE
    if not example.is_file():
        _log.warning("the model has no example to warm it with: log it with input_example=")
        return
    try:
        model.warm(example.read_bytes())
    except RequestError as error:
        raise StartError(f"the model can't predict its own example {example}: {error.message}") from error
