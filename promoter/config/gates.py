"""The gates of promoter.yaml: what must hold for a version before it is deployed, for all environments or for one."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from packaging.requirements import InvalidRequirement, Requirement
from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from promoter.config import bounds
from promoter.config.duration import Seconds
from promoter.config.section import Section
from promoter.config.sizes import Bytes


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


def _requirement(value: str) -> str:
    try:
        Requirement(value)
    except InvalidRequirement:
        raise ValueError("is a package, or one with versions: pyyaml<6") from None
    return value


class AgeSection(Section):
    """How long ago MLflow may have created a version."""

    at_least: Seconds | None = Field(None, ge=0, description="No version that is younger: 1h.")
    at_most: Seconds | None = Field(None, gt=0, description="No version that is older: 30d.")

    @model_validator(mode="after")
    def _something(self) -> AgeSection:
        if self.at_least is None and self.at_most is None:
            raise ValueError("needs at-least or at-most")
        return self


class SizeSection(Section):
    """How large a version may be."""

    at_most: Bytes = Field(gt=0, description="Bytes of all its files together, or with KiB, MiB, GiB, TiB.")


class Signature(StrEnum):
    COMPATIBLE = "compatible"


class OnPickle(StrEnum):
    REFUSE = "refuse"
    WARN = "warn"


class OnMissing(StrEnum):
    REFUSE = "refuse"
    WARN = "warn"


class RequirementsSection(Section):
    """What a version must not need."""

    refuse: tuple[Annotated[str, AfterValidator(_requirement)], ...] = Field(
        min_length=1, strict=False, description="Packages, with the versions of them that are refused: torch, pyyaml<6."
    )


class AfterSection(Section):
    """The environment in which a version's very image must be live before."""

    environment: str = Field(min_length=1, description="An environment of the same model.")
    soak: Seconds = Field(0.0, ge=0, description="For how long it must be live and healthy there: 1h.")


class SignedSection(Section):
    """Who must have signed the image. Signatures without a key (Fulcio) can't be checked."""

    key: str = Field(min_length=1, description="Public key in PEM (P-256 or Ed25519) of those who sign: cosign sign --key.")

    @model_validator(mode="before")
    @classmethod
    def _by_key(cls, value: object) -> object:
        if isinstance(value, dict) and (found := [one for one in ("identity", "issuer", "trusted-root") if one in value]):
            raise ValueError(
                f"takes no keyless signatures ({', '.join(found)}): sign with cosign sign --key, "
                "and name the public key under key"
            )
        return value


class AttestedSection(Section):
    """The environment of which the image must have a true record that it was live there."""

    environment: str = Field(min_length=1, description="An environment of the same model.")


class CommandSection(Section):
    """The team's own check."""

    run: tuple[str, ...] = Field(min_length=1, strict=False, description="Program and arguments; no shell reads them.")
    timeout: Seconds = Field(60.0, gt=0, description="Seconds that it may take; 60 by default.")


def _command(value: object) -> object:
    return {"run": value} if isinstance(value, list) else value


_Command = Annotated[CommandSection, BeforeValidator(_command, json_schema_input_type=list[str] | CommandSection)]
_Names = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1, strict=False)]


class Anyone(StrEnum):
    ANYONE = "anyone"


def _who(value: object) -> object:
    if value == "never":
        return ()
    if value == "anyone":
        return Anyone.ANYONE
    if isinstance(value, list) and value and all(isinstance(one, str) and one for one in value):
        return tuple(value)
    raise ValueError("is anyone, never, or a list of logins")


_Who = Annotated[Anyone | tuple[str, ...], BeforeValidator(_who, json_schema_input_type=Literal["anyone", "never"] | list[str])]


class GatesSection(Section):
    """What must hold for a model version before it is deployed. null takes away a gate that all environments have."""

    tags: dict[str, _Tag] | None = Field(
        None, description="Tags of the model version: a value, a list of values, or {present: true}."
    )
    metrics: dict[str, _Bounds] | None = Field(
        None, description="Bounds of metrics by name: '>= 0.8', '>= live - 0.01', '<= live * 1.1', or a list of them."
    )
    signature: Annotated[Signature | None, Field(strict=False)] = Field(
        None, description="compatible: it takes what the live version takes, and answers in the same form."
    )
    aliases: _Names | None = Field(None, description="Aliases that point to the version, all of them.")
    age: AgeSection | None = None
    size: SizeSection | None = None
    flavors: _Names | None = Field(None, description="The version has one of these flavors.")
    pickle: Annotated[OnPickle | None, Field(strict=False)] = Field(
        None, description="refuse or warn: about a version that unpickles files when it is loaded."
    )
    requirements: RequirementsSection | None = None
    golden: Annotated[OnMissing | None, Field(strict=False)] = Field(
        OnMissing.WARN, description="warn (default) or refuse: about a version without golden_examples.json."
    )
    earlier: bool = Field(
        True, description="Refuse a version that is quarantined or rejected in an environment that is listed before."
    )
    after: AfterSection | None = None
    signed: SignedSection | None = None
    attested: AttestedSection | None = None
    command: _Command | None = Field(
        None, description="A check of your own: facts as JSON on stdin, exit code 0 if the version may be deployed."
    )
    override: dict[str, _Who] | None = Field(
        None,
        description="Who may override which gate: anyone, never, or logins. `default`: all but signature, signed, attested.",
    )

    @field_validator("override")
    @classmethod
    def _known(cls, value: dict[str, object] | None) -> dict[str, object] | None:
        available = (*may_be_overridden(), "default")
        for gate in value or {}:
            if gate not in available:
                raise ValueError(f"has no gate {gate!r}; available: {', '.join(available)}")
        return value

    def who_overrides(self, gate: str) -> Anyone | tuple[str, ...]:
        """Nobody unless it is declared: what is signed is overridden only where it is named itself."""
        declared = self.override or {}
        return declared.get(gate, () if gate in _NAMED_ONLY else declared.get("default", ()))


_NAMED_ONLY = frozenset({"signature", "signed", "attested"})


def may_be_overridden() -> tuple[str, ...]:
    """The gates that are declared. Those that always stand have ways of their own, or none."""
    return tuple(name for name in GatesSection.model_fields if name != "override")


def merged(common: GatesSection, own: GatesSection) -> GatesSection:
    """The gates of all environments; each that one sets for itself takes the place of it."""
    return common.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})
