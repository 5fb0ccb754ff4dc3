"""MLflow's scoring functions in the version of the model's own MLflow (2.0 or newer): it reads requests as its server does."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from io import BytesIO, StringIO
from typing import Any

_FLASK = "flask"
_SERVER = ("mlflow.server", "mlflow.server.handlers")


@cache
def scoring_server() -> Any:
    """The module; annotated in places only."""
    with _without_flask():
        from mlflow.pyfunc import scoring_server as module
    return module


@contextmanager
def _without_flask() -> Iterator[None]:
    """Up to 2.20 the module imports flask and MLflow's server, which mlflow-skinny lacks, for routes that are not used here."""
    stubs = [] if find_spec(_FLASK) else [_FLASK, *_SERVER]
    for name in stubs:
        stub = sys.modules[name] = types.ModuleType(name)
        stub.catch_mlflow_exception = lambda route: route  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for name in stubs:
            sys.modules.pop(name, None)


def load(folder: str) -> Any:
    """The pyfunc model, configured as MLflow's server configures it (from 2.19 on)."""
    module = scoring_server()
    if hasattr(module, "load_model_with_mlflow_config"):
        return module.load_model_with_mlflow_config(folder)
    import mlflow.pyfunc

    return mlflow.pyfunc.load_model(folder)


def predict(pyfunc: Any, data: Any, params: Any) -> Any:
    """One predict call; models of before 2.4 take no `params`."""
    return pyfunc.predict(data, params=params) if _takes_params() else pyfunc.predict(data)


def predict_stream(pyfunc: Any, data: Any, params: Any) -> Iterator[Any] | None:
    """The chunks of one answer; None for a model, or an MLflow, that answers in one piece only."""
    if getattr(pyfunc, "_predict_stream_fn", None) is None:
        return None
    chunks: Iterator[Any] = pyfunc.predict_stream(data, params=params)
    return chunks


@cache
def _takes_params() -> bool:
    from mlflow.pyfunc import PyFuncModel

    return "params" in inspect.signature(PyFuncModel.predict).parameters


def required(spec: Any) -> bool:
    """Whether a column has to be there. MLflow before 2.10 has `optional` instead, before 2.6 neither."""
    found = getattr(spec, "required", None)
    return not getattr(spec, "optional", False) if found is None else bool(found)


def read_json(body: bytes, metadata: Any, schema: Any) -> tuple[Any, Any, bool]:
    """Data, params, and whether it is the unwrapped form of chat models. Raises what MLflow raises."""
    module = scoring_server()
    if hasattr(module, "_parse_json_data"):
        parsed = module._parse_json_data(body, metadata, schema)
        return parsed.data, parsed.params, parsed.is_unified_llm_input
    text = body.decode()
    if not hasattr(module, "infer_and_parse_data"):
        return module.infer_and_parse_json_input(text, schema), None, False
    chat_formats = getattr(module, "SUPPORTED_LLM_FORMATS", ())
    document = module._decode_json_input(text)
    if any(key in document for key in chat_formats):
        known = getattr(metadata, "get_params_schema", lambda: None)()
        data, params = module._split_data_and_params_for_llm_input(document, known)
        return data, params, True
    data, params = module._split_data_and_params(document)
    return module.infer_and_parse_data(data, schema), params, False


def read_csv(body: bytes, schema: Any) -> Any:
    """A DataFrame. Raises what MLflow raises."""
    return scoring_server().parse_csv_input(StringIO(body.decode()), schema)


def read_parquet(body: bytes) -> Any:
    """A DataFrame, with versions that know nothing of Parquet too."""
    module = scoring_server()
    if hasattr(module, "parse_parquet_input"):
        return module.parse_parquet_input(BytesIO(body))
    import pandas

    return pandas.read_parquet(BytesIO(body))
