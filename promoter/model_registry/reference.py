"""What people write to name a model version."""

from __future__ import annotations

import re
from dataclasses import dataclass

from promoter.errors import UsageError

# MLflow allows everything but / and : in a name; so an @ belongs to the name unless it is the last one.
_REFERENCE = re.compile(r"(?:models:/)?(?P<name>[^/:]+?)(?:(?P<mark>@stage/|[@:/])(?P<pointer>[^/:@]+))?", re.DOTALL)
_STAGES = {"staging": "Staging", "production": "Production", "archived": "Archived"}
_VERSION = re.compile(r"[1-9][0-9]*")
LATEST = "latest"
"""In the place of a stage: the newest version, as in MLflow's `models:/name/latest`."""

_ALIAS = re.compile(r"[\w-]+")  # mlflow/utils/validation.py
_HINT = "write name@alias, name:version, name/Production, models:/name/3, models:/name@alias or models:/name/Production"


@dataclass(frozen=True, slots=True)
class ModelReference:
    """A registered model's name with a version, an alias or a stage; with none of them the caller supplies the alias."""

    name: str
    version: str | None = None
    alias: str | None = None
    stage: str | None = None

    @classmethod
    def parse(cls, text: str) -> ModelReference:
        """Reads `name@alias`, `name:version`, `name/version`, `name/Stage`, `name/latest` or a bare name.

        Each with or without `models:/`.

        `name@stage/Production` is how an environment's alias names a stage.

        Raises:
            UsageError: the text is none of these forms.
        """
        matched = _REFERENCE.fullmatch(text.strip())
        if matched is None:
            raise UsageError(f"{text!r} does not name a model version", hint=_HINT)
        name, mark, pointer = matched["name"].strip(), matched["mark"], matched["pointer"]
        if not name or (mark is None and "@" in name):
            raise UsageError(f"{text!r} does not name a model version", hint=_HINT)
        if mark is None:
            return cls._bare(text, name)
        if mark == "@" and _ALIAS.fullmatch(pointer):
            return cls(name, alias=pointer)
        if mark in (":", "/") and _VERSION.fullmatch(pointer):
            return cls(name, version=pointer)
        if mark in ("/", "@stage/") and pointer.lower() in _STAGES:
            return cls(name, stage=_STAGES[pointer.lower()])
        if mark == "/" and pointer.lower() == LATEST:
            return cls(name, stage=LATEST)
        raise UsageError(f"{text!r}: {pointer!r} is {_NOT[mark]}", hint=_HINT)

    @classmethod
    def _bare(cls, text: str, name: str) -> ModelReference:
        if text.strip().startswith("models:/m-"):
            raise UsageError(
                f"{text!r} is a logged model, not a version of a registered model", hint="register it; then " + _HINT
            )
        return cls(name)

    @classmethod
    def at(cls, name: str, alias: str) -> ModelReference:
        """The reference of an environment's alias; `stage/Production` means MLflow's stage of that name.

        Raises:
            UsageError: neither an alias nor a stage can be called so.
        """
        return cls.parse(f"{name}@{alias}")

    def __str__(self) -> str:
        if self.version is not None:
            return f"{self.name}:{self.version}"
        if self.alias is not None:
            return f"{self.name}@{self.alias}"
        return f"{self.name}/{self.stage}" if self.stage is not None else self.name


_NOT = {
    "@": "no alias (letters, digits, _ and -)",
    ":": "no version (a number from 1)",
    "/": "neither a version (a number from 1) nor a stage (Staging, Production, Archived) nor latest",
    "@stage/": "no stage (Staging, Production, Archived)",
}
