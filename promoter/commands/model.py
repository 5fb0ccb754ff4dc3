"""model: what a model version is, as far as it can be known without reading its files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promoter.image.layer import content_digest
from promoter.image.reference import image_tag
from promoter.model_registry import ModelReference, connect
from promoter.models import Image, ModelVersion
from promoter.promotion.checks import Check, checks

if TYPE_CHECKING:
    from promoter.promotion.clients import Clients


@dataclass(frozen=True, slots=True)
class Facts:
    """A resolved model version, its content digest if known, and its image if published."""

    version: ModelVersion
    tag: str
    content_digest: str | None
    image: Image | None
    notes: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()

    @property
    def variables(self) -> Mapping[str, str]:
        """What a pipeline wants to know, by name."""
        return {
            "model_name": self.version.name,
            "model_version": self.version.version,
            "model_run_id": self.version.run_id or "",
            "model_digest": self.content_digest or "",
            "image_tag": self.tag,
            "image": self.image.reference if self.image else "",
        }


def facts(clients: Clients | None, reference: str, environ: Mapping[str, str], *, digest: bool) -> Facts:
    """What there is to know of the model version that `reference` names now.

    Without `clients` (no promoter.yaml here) the image is not looked for. `digest` reads every file of the model.

    Raises:
        PromoterError: it can't be resolved, or is not fit to be promoted.
    """
    model_registry = clients.model_registry if clients else connect(environ)
    version = model_registry.resolve(ModelReference.parse(reference))
    known = clients.config.models.get(version.name) if clients else None
    image = clients.publisher(known).find(version) if clients and known else None

    computed = content_digest(version.files, lambda file: model_registry.open(version, file)) if digest else None
    known_digest = computed or (image.content_digest if image else None)
    return Facts(version, image_tag(version), known_digest, image, notes(version.metrics), checks(version))


def notes(metrics: Mapping[str, float]) -> tuple[str, ...]:
    """What JSON can't say: it has no NaN and no infinity, so that `metrics` has null there."""
    odd = sorted((name, value) for name, value in metrics.items() if not math.isfinite(value))
    return tuple(f"metric {name} is {'NaN' if math.isnan(value) else value}" for name, value in odd)
