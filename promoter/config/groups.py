"""Groups of environments: which ones a name means, in the order of their waves, and what they must have in common."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import groupby
from operator import attrgetter

from promoter.config.yaml import Document
from promoter.models import Environment


def in_group(environment: Environment, name: str) -> bool:
    """Whether it belongs to the group of that name."""
    return environment.group is not None and environment.group.name == name


def members(environments: Iterable[Environment], group: str, model: str) -> tuple[Environment, ...]:
    """The environments of a model's group: the first wave first, each wave in the order of promoter.yaml."""
    found = [one for one in environments if in_group(one, group) and one.model.name == model]
    return tuple(sorted(found, key=attrgetter("group.wave")))


def waves(environments: Sequence[Environment]) -> list[tuple[Environment, ...]]:
    """The members of a group, wave by wave."""
    return [tuple(wave) for _, wave in groupby(environments, key=attrgetter("group.wave"))]


def require_groups(
    environments: Sequence[Environment],
    places: Sequence[tuple[str | int, ...]],
    names: Collection[str],
    document: Document,
) -> None:
    """A group has a name of its own, and follows one alias; `places` are where the environments stand, `names` those of all.

    Raises:
        ConfigError: an environment has that name, or two of a model's group follow different aliases.
    """
    leads: dict[tuple[str, str], Environment] = {}
    for one, place in zip(environments, places, strict=True):
        if one.group is None:
            continue
        if one.group.name in names:
            hint = "give the group, or the environment, another name: --to must mean one of them"
            raise document.error(f"{one.group.name!r} is an environment", (*place, "group"), hint=hint)
        lead = leads.setdefault((one.group.name, one.model.name), one)
        for key, own, leading in (("alias", one.alias, lead.alias), ("on-alias", one.on_alias, lead.on_alias)):
            if own != leading:
                message = f"{own} is not {leading}, which {lead.name!r} of the same group has"
                hint = f"give all environments of {one.group.name!r} the same {key}"
                raise document.error(message, (*place, key), hint=hint)
