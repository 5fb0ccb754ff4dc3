"""Whether, and on what, a published image is started once before its release is committed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from promoter.errors import UnreachableError
from promoter.image.smoke import Smoked, smoke

if TYPE_CHECKING:
    from promoter.image.runtime.engine import Engine
    from promoter.models import Container, Image, Model
    from promoter.promotion.clients import Clients


def can_smoke(clients: Clients, model: Model, image: Image) -> bool:
    """Whether the image is to be started: it contains its model, is in a registry, and an engine is here or asked for.

    Raises:
        UnreachableError: the model has `smoke: true`, and no Docker engine answers.
    """
    if model.smoke is False or not image.size or clients.config.image.layout:
        return False
    try:
        with _engine(clients):
            return True
    except UnreachableError:
        if model.smoke:
            raise
        return False


def smoke_test(clients: Clients, image: Image, container: Container) -> Smoked:
    """Starts the image on the Docker engine; raises as `promoter.image.smoke.smoke`."""
    with _engine(clients) as engine:
        return smoke(engine, image, container, clients.say)


def _engine(clients: Clients) -> Engine:
    from promoter.image.runtime.engine import Engine

    return Engine(clients.environ, clients.say)
