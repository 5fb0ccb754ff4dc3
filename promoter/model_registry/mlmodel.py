"""The MLmodel file, MLflow's description of a model, and its requirements.txt."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from promoter.errors import ConfigError, RefusedError
from promoter.models import Signature
from promoter.transport.boundary import ODD
from promoter.transport.typed import require_typed

_SHOWN = 200  # characters of a reader's own words


@dataclass(frozen=True, slots=True)
class MLmodel:
    flavors: Mapping[str, Any]
    signature: Signature | None
    model_id: str | None


def parse(content: bytes, *, reference: str) -> MLmodel:
    """Reads an MLmodel file; its signature's parts are JSON inside YAML strings.

    Raises:
        RefusedError: not such a file.
    """
    # Imported here: asking what an alias points to needs no YAML.
    from promoter.config.yaml import plain_values

    try:
        document = plain_values(content.decode("utf-8-sig"), "MLmodel")[0]
        found = MLmodel(dict(document["flavors"]), _signature(document.get("signature")), document.get("model_id"))
        return require_typed(found)
    except (ConfigError, *ODD) as error:
        reason = (str(error).splitlines() or [""])[0]
        kind = "" if isinstance(error, ConfigError) else f"{type(error).__name__}: "
        raise RefusedError(
            f"the MLmodel file of {reference} can't be read: {kind}{reason[:_SHOWN]}",
            hint="log the model again with mlflow.<flavor>.log_model, and register that",
        ) from None


def requirements(content: bytes) -> tuple[str, ...]:
    """The lines of a requirements.txt that say something."""
    lines = (line.strip() for line in content.decode("utf-8-sig", errors="replace").splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


def _signature(written: Mapping[str, str | None] | None) -> Signature | None:
    if not written:
        return None
    return Signature(_specs(written.get("inputs")), _specs(written.get("outputs")), _specs(written.get("params")))


def _specs(written: str | None) -> tuple[Mapping[str, Any], ...]:
    return tuple(json.loads(written)) if written else ()
