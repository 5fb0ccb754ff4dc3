"""Environments that are written once for several models: one section for each model, with its exceptions and its names."""

from __future__ import annotations

import string
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from promoter.config.file import ApplicationSection, EnvironmentSection
from promoter.config.names import image_name
from promoter.config.values import nearest
from promoter.config.yaml import Document

_FIELDS = ("model", "env")
Place = tuple[str | int, ...]


class Named(NamedTuple):
    """What is known of an environment before its section is validated: where that stands in `environments:`, and its names."""

    name: str
    model: str
    key: tuple[str, str]  # as `Environment.key`
    group: str | None
    section: int
    place: Place


@dataclass(frozen=True, slots=True)
class _Names:
    """The keys of a section that say which environments it is about; `groups` are of models with one of their own."""

    name: str
    model: str | None
    models: Sequence[str] | None
    group: str | None
    exceptions: Collection[str]
    groups: Mapping[str, str | None]


def expanded(document: Document, models: Collection[str], section: Callable[[int], EnvironmentSection]) -> list[Named]:
    """Each environment of each model, in the order of promoter.yaml, models in the order of `models:`.

    `section` is validated where its names are not what they should be.

    Raises:
        ConfigError: no model is named where there are several, a name or a pattern means none, or one is there twice.
    """
    found: list[Named] = []
    seen: set[tuple[str, str]] = set()
    for index, item in enumerate(document.value["environments"]):
        names = _names(item) or _names_of(section(index))
        named = _models(names, models, document, ("environments", index))
        for model in names.exceptions:
            if model not in named:
                place = ("environments", index, "exceptions", model)
                raise document.error(f"{model!r} is not among the models here", place, hint=nearest(model, named))
        for model in named:
            group = names.groups.get(model, names.group)
            found.append(Named(names.name, model, (names.name, model), group, index, ("environments", index)))
            if (names.name, model) in seen:
                message = f"{names.name!r} of model {model!r} is there twice"
                raise document.error(message, ("environments", index), hint="keep one of them")
            seen.add((names.name, model))
    return found


def _names(item: Any) -> _Names | None:
    """None for what only validation can explain."""
    if not isinstance(item, dict) or not isinstance(name := item.get("name"), str):
        return None
    model, models, group = item.get("model"), item.get("models"), item.get("group")
    exceptions = item.get("exceptions", {})
    if not (isinstance(model, str | None) and isinstance(group, str | None) and isinstance(exceptions, dict)):
        return None
    if models is not None and not (isinstance(models, list) and models and all(isinstance(one, str) for one in models)):
        return None
    if not exceptions:
        return _Names(name, model, models, group, (), {})
    if not all(isinstance(one, dict) and isinstance(one.get("group"), str | None) for one in exceptions.values()):
        return None
    groups = {key: one["group"] for key, one in exceptions.items() if "group" in one}
    return _Names(name, model, models, group, exceptions, groups)


def _names_of(section: EnvironmentSection) -> _Names:
    groups = {key: one.group for key, one in section.exceptions.items() if "group" in one.model_fields_set}
    return _Names(section.name, section.model, section.models, section.group, section.exceptions, groups)


def _models(names: _Names, models: Collection[str], document: Document, place: Place) -> list[str]:
    if names.models is None:
        name = names.model or (next(iter(models)) if len(models) == 1 else None)
        if name is None:
            raise document.error("model is required when there are several", place, hint=nearest("", models))
        if name not in models:
            raise document.error(f"unknown model {name!r}", (*place, "model"), hint=nearest(name, models))
        return [name]
    if names.model is not None:
        raise document.error("model and models exclude each other", (*place, "models"), hint="keep one of the two")
    for number, pattern in enumerate(names.models):
        if not any(fnmatchcase(name, pattern) for name in models):
            raise document.error(f"{pattern!r} means no model", (*place, "models", number), hint=nearest(pattern, models))
    return [name for name in models if any(fnmatchcase(name, pattern) for pattern in names.models)]


def own(section: EnvironmentSection, named: Named, document: Document) -> EnvironmentSection:
    """The section with the model's exceptions, and the names in `application` filled in.

    Raises:
        ConfigError: `application` has a field of another name.
    """
    model, place = named.model, named.place
    exception = section.exceptions.get(model)
    changed = {name: getattr(exception, name) for name in exception.model_fields_set} if exception else {}
    application = changed.get("application") or section.application
    where = (*place, "exceptions", model, "application") if changed.get("application") else (*place, "application")
    names = {"model": image_name(model), "env": section.name}
    return section.model_copy(update={**changed, "application": _filled(application, names, document, where)})


def _filled(
    application: str | ApplicationSection, names: dict[str, str], document: Document, place: Place
) -> str | ApplicationSection:
    if isinstance(application, str):
        return _text(application, names, document, place)
    texts = {key: getattr(application, key) for key in ("name", "project", "namespace", "file")}
    filled = {key: _text(text, names, document, (*place, key)) for key, text in texts.items() if text and "{" in text}
    return application.model_copy(update=filled)


def _text(text: str, names: dict[str, str], document: Document, place: Place) -> str:
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
