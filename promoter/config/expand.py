"""Environments that are written once for several models: one section for each model, with its exceptions and its names."""

from __future__ import annotations

import string
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from promoter.config.file import ApplicationSection, EnvironmentSection
from promoter.config.names import image_name
from promoter.config.values import nearest
from promoter.config.yaml import Document

_FIELDS = ("model", "env")


@dataclass(frozen=True, slots=True)
class Placed:
    """The section of one model in one environment, and its place in promoter.yaml."""

    section: EnvironmentSection
    model: str
    place: tuple[str | int, ...]


def expanded(sections: Sequence[EnvironmentSection], models: Collection[str], document: Document) -> list[Placed]:
    """A section for each environment of each model, in the order of promoter.yaml, models in the order of `models:`.

    Raises:
        ConfigError: no model is named where there are several, a name or a pattern means none, or `application` has a field
            of another name.
    """
    found = []
    for index, section in enumerate(sections):
        place = ("environments", index)
        named = _models(section, models, document, place)
        for model in section.exceptions:
            if model not in named:
                hint = nearest(model, named)
                raise document.error(f"{model!r} is not among the models here", (*place, "exceptions", model), hint=hint)
        found += [Placed(_own(section, model, document, place), model, place) for model in named]
    return found


def _models(
    section: EnvironmentSection, models: Collection[str], document: Document, place: tuple[str | int, ...]
) -> list[str]:
    if section.models is None:
        name = section.model or (next(iter(models)) if len(models) == 1 else None)
        if name is None:
            raise document.error("model is required when there are several", place, hint=nearest("", models))
        if name not in models:
            raise document.error(f"unknown model {name!r}", (*place, "model"), hint=nearest(name, models))
        return [name]
    if section.model is not None:
        raise document.error("model and models exclude each other", (*place, "models"), hint="keep one of the two")
    for number, pattern in enumerate(section.models):
        if not any(fnmatchcase(name, pattern) for name in models):
            raise document.error(f"{pattern!r} means no model", (*place, "models", number), hint=nearest(pattern, models))
    return [name for name in models if any(fnmatchcase(name, pattern) for pattern in section.models)]


def _own(section: EnvironmentSection, model: str, document: Document, place: tuple[str | int, ...]) -> EnvironmentSection:
    """The section with the model's exceptions, and the names in `application` filled in."""
    exception = section.exceptions.get(model)
    if exception is None and isinstance(section.application, str) and not {"{", "}"} & set(section.application):
        return section
    changed = {name: getattr(exception, name) for name in exception.model_fields_set} if exception else {}
    application = changed.get("application") or section.application
    where = (*place, "exceptions", model, "application") if changed.get("application") else (*place, "application")
    names = {"model": image_name(model), "env": section.name}
    return section.model_copy(update={**changed, "application": _filled(application, names, document, where)})


def _filled(
    application: str | ApplicationSection, names: dict[str, str], document: Document, place: tuple[str | int, ...]
) -> str | ApplicationSection:
    if isinstance(application, str):
        return _text(application, names, document, place)
    texts = {key: getattr(application, key) for key in ("name", "project", "namespace", "file")}
    filled = {key: _text(text, names, document, (*place, key)) for key, text in texts.items() if text and "{" in text}
    return application.model_copy(update=filled)


def _text(text: str, names: dict[str, str], document: Document, place: tuple[str | int, ...]) -> str:
    if "{" not in text and "}" not in text:
        return text
    try:
        fields = [part[1:] for part in string.Formatter().parse(text) if part[1] is not None]
    except ValueError:
        raise document.error("has a brace that is not part of a field", place, hint="write {model} or {env}") from None
    for name, spec, conversion in fields:
        if name not in _FIELDS or spec or conversion:
            raise document.error(f"has an unknown field {{{name}}}", place, hint="available: {model} and {env}")
    return text.format(**names)
