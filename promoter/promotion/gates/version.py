"""aliases, age, size and flavors: what a model version is, by its entry in the model registry and its files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from promoter.config.duration import spoken
from promoter.config.gates import AgeSection, SizeSection
from promoter.models import ModelVersion, Ruling
from promoter.output import size as bytes_text
from promoter.promotion.gates.table import passed, refused, ruled


def aliases(wanted: Sequence[str], version: ModelVersion) -> Iterator[Ruling]:
    """The version must have every one of them."""
    has = ", ".join(version.aliases) or "none"
    for alias in wanted:
        if alias in version.aliases:
            yield passed("aliases", alias, f"points to version {version.version}")
        else:
            hint = f"set the alias {alias} to version {version.version} in MLflow"
            yield refused("aliases", alias, f"does not point to version {version.version}, whose aliases are: {has}", hint)


def age(rule: AgeSection, version: ModelVersion, now: datetime) -> Iterator[Ruling]:
    """Since MLflow created the version. A clock of this machine that is behind makes it younger, never older than it is."""
    seconds = max(0.0, (now - version.created).total_seconds())
    found = f"was created {spoken(seconds)} ago"
    if rule.at_least is not None:
        wait = f"wait {spoken(rule.at_least - seconds)}"
        good = seconds >= rule.at_least
        yield ruled("age", "at-least", good, f"{found}, and {_must(good)} be at least {spoken(rule.at_least)} old", wait)
    if rule.at_most is not None:
        good = seconds <= rule.at_most
        hint = "register a version that was trained on newer data"
        yield ruled("age", "at-most", good, f"{found}, and {_must(good)} be at most {spoken(rule.at_most)} old", hint)


def _must(good: bool) -> str:
    return "has to" if good else "must"


def size(rule: SizeSection, version: ModelVersion) -> Iterator[Ruling]:
    """Bytes of all files together."""
    found = f"{bytes_text(version.size)} in {len(version.files)} files"
    good = version.size <= rule.at_most
    yield ruled("size", "", good, found if good else f"{found}, and at most {bytes_text(rule.at_most)} are allowed")


def flavors(allowed: Sequence[str], version: ModelVersion) -> Iterator[Ruling]:
    """The version must have one of them."""
    has = ", ".join(version.flavors) or "none"
    good = any(flavor in allowed for flavor in version.flavors)
    hint = f"log the model with {' or '.join(f'mlflow.{one}' for one in allowed)}"
    yield ruled("flavors", "", good, has if good else f"has {has}, and must have one of: {', '.join(allowed)}", hint)
