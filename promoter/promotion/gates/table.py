"""What gates decided about a version: one ruling for each thing that was asked, all of them kept."""

from __future__ import annotations

from collections.abc import Sequence

from promoter.errors import GatesError, RefusedError
from promoter.models import Environment, ModelVersion, Result, Ruling


def passed(gate: str, about: str, detail: str) -> Ruling:
    return Ruling(gate, about, Result.PASSED, detail)


def refused(gate: str, about: str, detail: str, hint: str = "") -> Ruling:
    return Ruling(gate, about, Result.REFUSED, detail, hint)


def warned(gate: str, about: str, detail: str) -> Ruling:
    return Ruling(gate, about, Result.WARNED, detail)


def ruled(gate: str, about: str, good: bool, detail: str, hint: str = "") -> Ruling:
    return passed(gate, about, detail) if good else refused(gate, about, detail, hint)


def of_error(gate: str, error: RefusedError) -> Ruling:
    """The refusal of a gate that always stands, whose words are complete."""
    return Ruling(gate, "", Result.REFUSED, error.message, error.hint, _error=error)


def refusals(rulings: Sequence[Ruling]) -> tuple[str, ...]:
    """Each refusal in a sentence."""
    against = (one for one in rulings if one.result is Result.REFUSED)
    return tuple(one.detail if one.error else f"{one.name}: {one.detail}" for one in against)


def require(rulings: Sequence[Ruling], version: ModelVersion, environment: Environment) -> None:
    """Nothing may be refused.

    Raises:
        GatesError: it names every refusal.
        RefusedError: the only one is of a class of its own (`FrozenError`).
    """
    against = [one for one in rulings if one.result is Result.REFUSED]
    if not against:
        return
    only = against[0].error if len(against) == 1 else None
    if only is not None and type(only) is not RefusedError:
        raise only
    where = f"{version.reference} is refused in {environment.name!r}"
    said = refusals(rulings)
    message = said[0] if only else f"{where}: {'; '.join(said)}"
    hint = next((one.hint for one in against if one.hint), "")
    others = f"promoter gates {environment.name} {version.reference} shows all of them"
    raise GatesError(message, hint=hint or others, rulings=tuple(rulings))
