"""The server's OpenAPI document, with the request's schema made from the model's signature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from promoter.serving import scoring
from promoter.serving.decode import CSV, JSON, PARQUET
from promoter.serving.settings import Settings

Schema = dict[str, Any]

_SCALARS: Mapping[str, Schema] = {
    "double": {"type": "number"},
    "float": {"type": "number"},
    "long": {"type": "integer"},
    "integer": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    "boolean": {"type": "boolean"},
    "string": {"type": "string"},
    "datetime": {"type": "string", "format": "date-time"},
    "binary": {"type": "string", "contentEncoding": "base64"},
}
_ERRORS = {
    "400": "The body does not match its Content-Type or the signature; `field` and `expected` if one field is to blame",
    "413": "More than MAX_BODY_BYTES; with BATCH=row-wise, more rows than MAX_BATCH_SIZE",
    "415": "Another Content-Type",
    "422": "The model refused the input",
    "500": "The model failed",
    "503": "Loading, draining, or too many requests wait",
    "504": "No prediction within INFERENCE_TIMEOUT",
}


def document(settings: Settings, signature: Any) -> Schema:
    """OpenAPI 3.1 for this model; `signature` is MLflow's ModelSignature, or None."""
    predict = {"post": _predict(signature)}
    plain = {"get": {"responses": {"200": {"description": "JSON"}}}}
    ready = {"get": {"responses": {"200": {"description": "Every worker is ready"}, "503": _error("Loading or draining")}}}
    metrics = {"get": {"responses": {"200": {"description": "Prometheus text"}}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": settings.model_name or "model", "version": settings.model_version or "0"},
        "paths": {
            "/predict": predict,
            "/invocations": predict,
            "/health": plain,
            "/ready": ready,
            "/v1/chat/completions": predict,
            "/responses": predict,
            "/ping": ready,
            "/info": plain,
            "/version": plain,
            "/metrics": metrics,
            "/openapi.json": plain,
        },
    }


def _predict(signature: Any) -> Schema:
    return {
        "requestBody": {"required": True, "content": {JSON: {"schema": _request(signature)}, CSV: {}, PARQUET: {}}},
        "responses": {
            "200": {
                "description": "MLflow's answer",
                "content": {JSON: {"schema": _object({"predictions": {}}, ["predictions"])}},
            },
            **{status: _error(description) for status, description in _ERRORS.items()},
        },
    }


def _error(description: str) -> Schema:
    text: Schema = {"type": "string"}
    return {
        "description": description,
        "content": {JSON: {"schema": _object({"error": text, "field": text, "expected": text}, ["error"])}},
    }


def _request(signature: Any) -> Schema:
    inputs = getattr(signature, "inputs", None)
    bodies = _bodies(inputs) if inputs else {"inputs": {}, "instances": {}, "dataframe_split": {}, "dataframe_records": {}}
    params = getattr(signature, "params", None)
    optional = {"params": _params(params)} if params else {}
    return {"oneOf": [_object({key: schema, **optional}, [key]) for key, schema in bodies.items()]}


def _bodies(inputs: Any) -> dict[str, Schema]:
    if inputs.is_tensor_spec():
        tensors = {spec.name: _tensor(spec.shape, spec.type.kind) for spec in inputs.inputs}
        tensor = _object(tensors, list(tensors)) if inputs.has_input_names() else next(iter(tensors.values()))
        return {"inputs": tensor}
    columns = [_column(spec) for spec in inputs.inputs]
    cell = columns[0] if all(column == columns[0] for column in columns) else {"anyOf": columns}
    data = _array(_array(cell, len(columns)))
    if not inputs.has_input_names():
        return {"dataframe_split": _object({"data": data}, ["data"])}
    named = dict(zip(inputs.input_names(), columns, strict=True))
    required = [spec.name for spec in inputs.inputs if scoring.required(spec)]
    return {
        "dataframe_split": _object({"columns": {"const": list(named)}, "data": data}, ["columns", "data"]),
        "dataframe_records": _array(_object(named, required)),
        "inputs": _object({name: _array(column) for name, column in named.items()}, required),
        "instances": _array(_object(named, required)),
    }


def _column(spec: Any) -> Schema:
    schema = _SCALARS.get(getattr(spec.type, "name", ""), {})
    return schema if scoring.required(spec) or not schema else {"anyOf": [schema, {"type": "null"}]}


def _params(params: Any) -> Schema:
    kinds = {spec.name: dict(_SCALARS.get(getattr(spec.dtype, "name", ""), {})) for spec in params.params}
    kinds |= {spec.name: _array(kinds[spec.name]) for spec in params.params if spec.shape is not None}
    return _object(kinds, [])


def _tensor(shape: Sequence[int], kind: str) -> Schema:
    schema: Schema = {
        "f": {"type": "number"},
        "i": {"type": "integer"},
        "u": {"type": "integer"},
        "b": {"type": "boolean"},
    }.get(kind, {})
    for size in reversed(shape):
        schema = _array(schema, size if size >= 0 else None)
    return schema


def _array(items: Schema, size: int | None = None) -> Schema:
    exactly = {} if size is None else {"minItems": size, "maxItems": size}
    return {"type": "array", "items": items, **exactly}


def _object(properties: Mapping[str, Schema], required: Sequence[str]) -> Schema:
    return {"type": "object", "properties": dict(properties), "required": list(required)}
