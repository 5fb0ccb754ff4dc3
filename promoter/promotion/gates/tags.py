"""tags: what MLflow's tags of a model version must be. They describe, and many may set them: Git's protections still decide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from promoter.config.gates import TagRule
from promoter.models import ModelVersion, Ruling
from promoter.promotion.gates.table import passed, refused


def tags(rules: Mapping[str, TagRule], version: ModelVersion) -> Iterator[Ruling]:
    for name, rule in rules.items():
        value = version.tags.get(name)
        if _holds(rule, value):
            yield passed("tags", name, "is not set" if value is None else f"is {value!r}")
        else:
            found = "is not set" if value is None else f"is {value!r}"
            yield refused("tags", name, f"{found}, and must {_wanted(rule)}", f"set it on {version.reference} in MLflow")


def _holds(rule: TagRule, value: str | None) -> bool:
    if rule.present is not None:
        return (value is not None) == rule.present
    return value in rule.one_of


def _wanted(rule: TagRule) -> str:
    if rule.present is not None:
        return "be set" if rule.present else "not be set"
    return "be " + " or ".join(map(repr, rule.one_of))
