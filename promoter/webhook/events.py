"""The content of a delivery: which model it is about, and whether that model has to be compared."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ValidationError

WAKING = (
    ("model_version_alias", "created"),
    ("model_version_alias", "deleted"),
    ("model_version_tag", "set"),
    ("model_version", "created"),
)
"""(entity, action) of the events that wake: what `promoter webhook register` subscribes to. MLflow has none for stages."""


class UnreadableError(Exception):
    """The body is not one of MLflow's payloads."""


@dataclass(frozen=True, slots=True)
class Event:
    """What happened, to which registered model; no more is taken from the payload: the rest is read again."""

    entity: str
    action: str
    model: str

    @property
    def wakes(self) -> bool:
        return (self.entity, self.action) in WAKING


class _Data(BaseModel):
    name: str = ""


class _Payload(BaseModel):
    entity: str
    action: str
    data: _Data


def parse(body: bytes) -> Event:
    """The event in a body of JSON; what is not known of it is passed over.

    Raises:
        UnreadableError: no JSON object with entity, action and data.
    """
    try:
        payload = _Payload.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "body"
        raise UnreadableError(f"{place}: {first['msg']}") from None
    event = Event(payload.entity, payload.action, payload.data.name)
    if event.wakes and not event.model:
        raise UnreadableError("data.name: names no registered model")
    return event
