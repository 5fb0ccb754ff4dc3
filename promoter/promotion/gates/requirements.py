"""requirements: packages that a version must not need, by its requirements.txt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from promoter.models import ModelVersion, Ruling
from promoter.promotion.gates.table import passed, refused

_HINT = "log the model with other requirements, and register that"


def requirements(refusing: Sequence[str], version: ModelVersion) -> Iterator[Ruling]:
    """A line that can't be read may be any of them, and one without `==` any version of its package."""
    lines = [(line, _parsed(line)) for line in version.requirements]
    for text in refusing:
        against = [why for line, needed in lines if (why := _against(Requirement(text), line, needed))]
        if against:
            yield refused("requirements", text, "; ".join(against), _HINT)
        else:
            yield passed("requirements", text, f"in none of {len(lines)} requirements")


def _parsed(line: str) -> Requirement | None:
    try:
        return Requirement(line.partition(" #")[0].strip())
    except InvalidRequirement:
        return None


def _against(unwanted: Requirement, line: str, needed: Requirement | None) -> str:
    if needed is None:
        return f"{line!r} can't be read, and may be it"
    if canonicalize_name(needed.name) != canonicalize_name(unwanted.name):
        return ""
    if not unwanted.specifier:
        return f"needs {line}"
    pinned = _pinned(needed)
    if pinned is None:
        return f"{line!r} names no version, which may be one of these"
    return f"needs {line}" if unwanted.specifier.contains(pinned, prereleases=True) else ""


def _pinned(needed: Requirement) -> Version | None:
    exact = [one.version for one in needed.specifier if one.operator in ("==", "===") and not one.version.endswith(".*")]
    try:
        return Version(exact[0]) if len(exact) == 1 else None
    except InvalidVersion:
        return None
