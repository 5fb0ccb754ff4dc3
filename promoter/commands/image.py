"""image: finds a model version's image or publishes it, and shows why. It changes no environment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from promoter.commands.plan import with_default_alias
from promoter.config import nearest
from promoter.errors import UsageError
from promoter.model_registry import ModelReference
from promoter.models import Image, Model, ModelVersion
from promoter.promotion.steps import Steps

if TYPE_CHECKING:
    from promoter.image.explain import Explanation
    from promoter.promotion.clients import Clients


@dataclass(frozen=True, slots=True)
class Publication:
    """A model version's image; `total_size` is the bytes of all its blobs, `sent` of those that this run had to send."""

    model: str
    version: str
    image: Image
    total_size: int
    sent: int


@dataclass(frozen=True, slots=True)
class Reasons:
    """What `publish` would do for a model version, and why, one reason a line."""

    model: str
    version: str
    repository: str
    reused: bool
    reasons: tuple[str, ...]
    explanation: Explanation


def publish(clients: Clients, reference: str, steps: Steps, *, to: str | None = None, rebuild: bool = False) -> Publication:
    """The image of the version that `reference` names now, in the repository of its model or of the environment `to`.

    Raises:
        PromoterError: the version can't be resolved, or its image not be published (`Publisher.ensure`).
    """
    model, version = _resolved(clients, reference, steps, to)
    open_file = partial(clients.model_registry.open, version)
    publisher = clients.publisher(model)
    make = publisher.rebuild if rebuild else publisher.ensure
    image = steps.run(
        "publish",
        lambda: make(version, open_file),
        lambda found: found.reference,
        lambda found: found.reused,
    )
    return Publication(version.name, version.version, image, image.total_size, image.sent)


def explain(clients: Clients, reference: str, steps: Steps, *, to: str | None = None) -> Reasons:
    """Why `publish` would reuse, copy or make the image. Changes nothing, builds nothing.

    Raises:
        PromoterError: as `publish`.
    """
    model, version = _resolved(clients, reference, steps, to)
    open_file = partial(clients.model_registry.open, version)
    found = clients.publisher(model).explain(version, open_file, clients.runtime(model, version, open_file))
    return Reasons(version.name, version.version, model.repository, found.reused, found.lines, found)


def _resolved(clients: Clients, reference: str, steps: Steps, to: str | None) -> tuple[Model, ModelVersion]:
    asked = ModelReference.parse(reference)
    if to is not None:
        environment = clients.config.environment(to, asked.name)
        model, asked = environment.model, with_default_alias(asked, environment)
    else:
        model = _model(clients, asked.name)
    version = steps.run(
        "model", lambda: clients.model_registry.resolve(asked), lambda found: f"{asked} is version {found.version}"
    )
    return model, version


def _model(clients: Clients, name: str) -> Model:
    models = clients.config.models
    if name not in models:
        raise UsageError(f"promoter.yaml has no model {name!r}", hint=nearest(name, models))
    return models[name]
