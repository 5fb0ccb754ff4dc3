"""The version that a promotion would replace, as gates compare with it."""

from __future__ import annotations

from dataclasses import dataclass

from promoter.models import ModelVersion


@dataclass(frozen=True, slots=True)
class Live:
    """`number` is what Git deploys; `version` is what MLflow has of it, None if it has nothing any more."""

    number: str
    version: ModelVersion | None

    def is_of(self, version: ModelVersion) -> bool:
        """It is that very version, and nothing would be replaced."""
        return self.version is not None and (self.number, self.version.created) == (version.version, version.created)
