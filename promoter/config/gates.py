"""The gates of promoter.yaml: what must hold for a version before it is deployed, for all environments or for one."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from promoter.config import bounds
from promoter.config.section import Section


class TagRule(Section):
    """What a tag of the model version must be."""

    one_of: tuple[str, ...] = Field((), strict=False, description="The values that it may have.")
    present: bool | None = Field(None, description="true: the version has it, whatever its value. false: it does not.")

    @model_validator(mode="after")
    def _one(self) -> TagRule:
        if bool(self.one_of) == (self.present is not None):
            raise ValueError("is a value, a list of values, or {present: true}")
        return self


def _tag(value: object) -> object:
    """`approved` and `[low, medium]` as the rule they stand for."""
    if isinstance(value, (bool, int, float)):
        raise ValueError("is a text: write it in quotes, or {present: true} for any value")
    if isinstance(value, str):
        return {"one-of": (value,)}
    return {"one-of": value} if isinstance(value, list) else value


def _texts(value: object) -> object:
    if value in ([], ""):
        raise ValueError("needs a bound like '>= 0.8'")
    return (value,) if isinstance(value, str) else value


def _bound(value: str) -> str:
    bounds.parse(value)
    return value


_Tag = Annotated[TagRule, BeforeValidator(_tag, json_schema_input_type=str | list[str] | TagRule)]
_Bounds = Annotated[
    tuple[Annotated[str, AfterValidator(_bound)], ...],
    BeforeValidator(_texts, json_schema_input_type=str | list[str]),
    Field(strict=False),
]


class GatesSection(Section):
    """What must hold for a model version before it is deployed. null takes away a gate that all environments have."""

    tags: dict[str, _Tag] | None = Field(
        None, description="Tags of the model version: a value, a list of values, or {present: true}."
    )
    metrics: dict[str, _Bounds] | None = Field(
        None, description="Bounds of metrics by name: '>= 0.8', '>= live - 0.01', '<= live * 1.1', or a list of them."
    )


def merged(common: GatesSection, own: GatesSection) -> GatesSection:
    """The gates of all environments; each that one sets for itself takes the place of it."""
    return common.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})
