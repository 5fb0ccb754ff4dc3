"""The body of a request as what the model's `predict` takes: MLflow's scoring protocol, always against the signature."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from promoter.serving import bounds, scoring
from promoter.serving.columns import Columns
from promoter.serving.errors import RequestError

JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"
_FORMATS = frozenset({"dataframe_split", "dataframe_records", "inputs", "instances"})
_LONGEST_MESSAGE = 1000

# The text that MLflow puts around the reason: the whole input, or advice on MLflow 1.
_BEFORE = re.compile(
    r"^(Failed to predict data '.*' ?\nError: )?Failed to enforce schema of data '.*' with schema '.*'\. Error: ", re.S
)
_AFTER = re.compile(r"(\nInput: \n|\. IMPORTANT: The MLflow Model scoring protocol).*", re.S)
_FIELDS = (
    re.compile(
        r"(?:Failed to convert|Incompatible input types for|The input) column '?(.+?)'?(?: to type | is required|\. Can)"
    ),
    re.compile(r"Model is missing inputs \['(.+?)'[,\]]"),
    re.compile(r"Invalid parameters found: \{\('(.+?)', "),
)


@dataclass(frozen=True)
class Decoded:
    """`unwrapped` is the form of chat models, whose answer has no "predictions" around it; `rows` of one predict call."""

    data: Any
    params: Mapping[str, Any] | None
    unwrapped: bool = False

    @property
    def streamed(self) -> bool:
        """Whether a chat model or an agent is asked to answer in pieces."""
        return self.unwrapped and any(
            isinstance(given, Mapping) and given.get("stream") is True for given in (self.data, self.params)
        )

    @property
    def rows(self) -> int:
        """1 for what has no rows."""
        data = next(iter(self.data.values()), ()) if isinstance(self.data, dict) else self.data
        if isinstance(data, (str, bytes)) or not hasattr(data, "__len__"):
            return 1
        return 1 if getattr(data, "ndim", 1) == 0 else len(data)


class Decoder:
    """Reads requests for one model; `metadata` is MLflow's Model. Of CSV and Parquet no more than `max_rows` are read."""

    def __init__(self, metadata: Any, max_rows: int) -> None:
        self._metadata, self._max_rows = metadata, max_rows
        self._schema = metadata.get_input_schema()
        typed = getattr(metadata, "_is_signature_from_type_hint", bool)()  # then the model's own types parse the data
        self._columns = None if typed else Columns.of(self._schema)

    def decode(self, body: bytes, content_type: str) -> Decoded:
        """Raises: RequestError, 415 for another content type, 413 for too much, 400 for what does not fit the signature."""
        kind = _media_type(content_type)
        if kind == JSON and (decoded := self._fast(body)) is not None:
            return decoded
        try:
            return self._by_mlflow(body, kind)
        except RequestError:
            raise
        except Exception as error:  # of MLflow, pandas, numpy or json, and for no other reason than this body
            raise self.explain(error) from error

    def _fast(self, body: bytes) -> Decoded | None:
        if self._columns is None:
            return None
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:  # stricter than MLflow's parser
            return None
        if not isinstance(document, dict):
            return None
        keys = document.keys() - {"params"}
        if len(keys) != 1:
            return None
        [key] = keys
        frame = self._columns.frame(key, document[key])
        return None if frame is None else Decoded(frame, document.get("params"))

    def _by_mlflow(self, body: bytes, kind: str) -> Decoded:
        if kind == CSV:
            bounds.require_csv(body, self._max_rows)
            return Decoded(scoring.read_csv(body, self._schema), None)
        if kind == PARQUET:
            bounds.require_parquet(body, self._max_rows)
            return Decoded(scoring.read_parquet(body), None)
        return Decoded(*scoring.read_json(body, self._metadata, self._schema))

    def explain(self, error: Exception) -> RequestError:
        """What a client can do about it: the reason without the data around it, the field, and what the signature expects."""
        message = getattr(error, "message", None) or f"the body can't be read: {type(error).__name__}: {error}"
        message = _AFTER.sub("", _BEFORE.sub("", message))[:_LONGEST_MESSAGE]
        found = next((match[1] for pattern in _FIELDS if (match := pattern.search(message))), "")
        return RequestError(400, message, field=found, expected=self._expected(found))

    def _expected(self, field: str) -> str:
        named = self._schema is not None and self._schema.has_input_names()
        spec = next((one for one in self._schema.inputs if one.name == field), None) if named else None
        if spec is None:
            return ""
        kind = getattr(spec.type, "name", None) or str(spec.type)
        return kind if scoring.required(spec) else f"{kind} or nothing"


def _media_type(content_type: str) -> str:
    """Raises: RequestError, 415."""
    kind, *parameters = (part.strip() for part in content_type.lower().split(";"))
    if kind not in (JSON, CSV, PARQUET):
        raise RequestError(415, f"Content-Type is {content_type!r}, expected one of {JSON}, {CSV}, {PARQUET}")
    for parameter in filter(None, parameters):
        name, _, value = parameter.partition("=")
        if (name, value.strip('"')) != ("charset", "utf-8"):
            raise RequestError(415, f"Content-Type has {parameter!r}: the only parameter there may be is charset=utf-8")
    return kind
