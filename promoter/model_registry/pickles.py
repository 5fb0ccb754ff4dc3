"""The files of a model that loading it unpickles: those that MLmodel names in a flavor that does so, and those with such names.

By how MLflow 3 loads each flavor: what it guards with MLFLOW_ALLOW_PICKLE_DESERIALIZATION, and what it does not.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_SUFFIXES = (".pkl", ".pickle", ".cloudpickle", ".joblib", ".dill", ".pth", ".pt", ".pmd", ".pdparams", ".fastai")
_BY_NAME = frozenset({"pytorch_model.bin"})  # torch.load, in Hugging Face's folders
_SAFE = frozenset({"skops", "pt2"})
# The key of a flavor's settings that names the file or folder, where the whole flavor is loaded by unpickling it.
_KEYS = {
    "sklearn": "pickled_model",
    "lightgbm": "data",
    "pytorch": "model_data",
    "paddle": "pickled_model",
    "statsmodels": "data",
    "python_function": "python_model",
    "langchain": "model_data",
}
_NATIVE = {"lightgbm": "lightgbm.basic.Booster"}


def pickled(flavors: Mapping[str, Any], paths: Iterable[str]) -> tuple[str, ...]:
    """The paths that are unpickled, sorted; `flavors` are those of MLmodel with their settings."""
    listed = list(paths)
    named = [place for name, settings in flavors.items() for place in _named(name, settings)]
    return tuple(sorted({path for path in listed if _by_name(path) or any(_within(path, place) for place in named)}))


def _named(flavor: str, settings: Any) -> Iterator[str]:
    if not isinstance(settings, Mapping) or settings.get("serialization_format") in _SAFE:
        return
    if settings.get("model_class") == _NATIVE.get(flavor, ()) or settings.get("model_code_path"):
        return
    place = settings.get(_KEYS.get(flavor, ""))
    if isinstance(place, str) and not place.endswith(".py"):
        yield posixpath.normpath(place)


def _by_name(path: str) -> bool:
    return path.lower().endswith(_SUFFIXES) or posixpath.basename(path) in _BY_NAME


def _within(path: str, place: str) -> bool:
    return path == place or path.startswith(f"{place}/")
