"""signature: what the live version answers must be answered by the next one, and in the same form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from promoter.models import ModelVersion, Ruling, Signature
from promoter.promotion.gates.live import Live
from promoter.promotion.gates.table import passed, refused, warned

Spec = Mapping[str, Any]
_HINT = "log the model with a signature that takes what the live version takes, or promote it where nothing depends on that yet"


def signature(version: ModelVersion, live: Callable[[], Live | None]) -> Iterator[Ruling]:
    now = live()
    if now is None:
        yield passed("signature", "", "no version is live to compare it with")
    elif now.is_of(version):
        yield passed("signature", "", f"version {version.version} is live itself")
    elif now.version is None:
        yield refused("signature", "", f"MLflow has no version {now.number} any more, which is live, to compare it with")
    elif now.version.signature is None:
        yield warned("signature", "", f"version {now.number}, which is live, has no signature to compare it with")
    elif version.signature is None:
        yield refused(
            "signature", "", f"version {version.version} has none, and version {now.number}, which is live, has", _HINT
        )
    else:
        yield from _compared(version.signature, now.version.signature, now.number)


def _compared(new: Signature, old: Signature, number: str) -> Iterator[Ruling]:
    against = list(incompatible(old, new))
    for about, why in against:
        yield refused("signature", about, f"{why}, compared with version {number}, which is live", _HINT)
    if not against:
        yield passed("signature", "", f"takes what version {number} takes, and answers in the same form")


def incompatible(old: Signature, new: Signature) -> Iterator[tuple[str, str]]:
    """What a client of `old` would trip over with `new`: (what, why)."""
    yield from _inputs("input", _named(old.inputs), _named(new.inputs))
    yield from _outputs(_named(old.outputs), _named(new.outputs))
    yield from _params(_named(old.params), _named(new.params))


def _named(specs: Sequence[Spec]) -> dict[str, Spec]:
    """By name; what has none goes by its place."""
    return {str(spec.get("name") or f"#{place}"): spec for place, spec in enumerate(specs, 1)}


def _inputs(side: str, old: Mapping[str, Spec], new: Mapping[str, Spec]) -> Iterator[tuple[str, str]]:
    gone, added = [name for name in old if name not in new], [name for name in new if name not in old]
    for name in gone:
        yield f"{side} {name}", _renamed(name, old, [other for other in added if _same(old[name], new[other])], gone)
    for name in added:
        if required(new[name]):
            yield f"{side} {name}", "is added and required"
    for name, was in old.items():
        if name in new:
            yield from _input(f"{side} {name}", was, new[name])


def _renamed(name: str, old: Mapping[str, Spec], alike: Sequence[str], gone: Sequence[str]) -> str:
    """Renamed, if that is the only way to read it."""
    return (
        f"is renamed to {alike[0]!r}"
        if len(alike) == 1 and sum(_same(old[name], old[one]) for one in gone) == 1
        else "is removed"
    )


def _input(about: str, old: Spec, new: Spec) -> Iterator[tuple[str, str]]:
    if required(new) and not required(old):
        yield about, "was optional and is required"
    if kind(old) == kind(new) == "object":
        yield from _inputs(about, _properties(old), _properties(new))
    elif kind(old) == kind(new) and kind(old) in ("array", "map"):
        inner = "items" if kind(old) == "array" else "values"
        yield from _input(f"{about} {inner}", {**old[inner], "required": True}, {**new[inner], "required": True})
    elif kind(old) == kind(new) == "tensor":
        yield from _tensor(about, old, new, wider=True)
    elif kind(old) != kind(new) and kind(new) != "any":
        yield about, f"is retyped from {kind(old)} to {kind(new)}"


def _outputs(old: Mapping[str, Spec], new: Mapping[str, Spec]) -> Iterator[tuple[str, str]]:
    for name in dict.fromkeys((*old, *new)):
        about = f"output {name}"
        if name not in new:
            yield about, "is removed"
        elif name not in old:
            yield about, "is added"
        elif kind(old[name]) == kind(new[name]) == "tensor":
            yield from _tensor(about, old[name], new[name], wider=False)
        elif kind(old[name]) != kind(new[name]):
            yield about, f"is retyped from {kind(old[name])} to {kind(new[name])}"
        elif not _same(old[name], new[name]) or required(old[name]) != required(new[name]):
            yield about, "has another form"
    if list(old) != list(new) and sorted(old) == sorted(new):
        yield "outputs", f"are reordered from {', '.join(old)} to {', '.join(new)}"


def _tensor(about: str, old: Spec, new: Spec, *, wider: bool) -> Iterator[tuple[str, str]]:
    """`wider`: a dimension that was fixed may become any."""
    was, now = old["tensor-spec"], new["tensor-spec"]
    if was.get("dtype") != now.get("dtype"):
        yield about, f"is retyped from {was.get('dtype')} to {now.get('dtype')}"
    before, after = list(was.get("shape", ())), list(now.get("shape", ()))
    fits = len(before) == len(after) and all(
        one == two or (wider and two == -1) for one, two in zip(before, after, strict=True)
    )
    if not fits:
        change = "are reordered" if sorted(before) == sorted(after) else "are changed"
        yield about, f"its dimensions {change} from {before} to {after}"


def _params(old: Mapping[str, Spec], new: Mapping[str, Spec]) -> Iterator[tuple[str, str]]:
    for name in dict.fromkeys((*old, *new)):
        about = f"param {name}"
        if name not in new:
            yield about, "is removed"
        elif name not in old:
            if new[name].get("default") is None:
                yield about, "is added without a default"
        elif (kind(old[name]), old[name].get("shape")) != (kind(new[name]), new[name].get("shape")):
            yield about, f"is retyped from {_param(old[name])} to {_param(new[name])}"
        elif new[name].get("default") is None and old[name].get("default") is not None:
            yield about, "has lost its default"


def _param(spec: Spec) -> str:
    return kind(spec) + (f" {spec['shape']}" if spec.get("shape") else "")


def kind(spec: Spec) -> str:
    """The type as MLflow writes it: `type`, `dtype` of params that an older MLflow wrote."""
    return str(spec.get("type") or spec.get("dtype") or "")


def required(spec: Spec) -> bool:
    """MLflow before 2.10 wrote `optional` instead."""
    return bool(spec.get("required", not spec.get("optional", False)))


def _properties(spec: Spec) -> dict[str, Spec]:
    return dict(spec.get("properties") or {})


def _same(old: Spec, new: Spec) -> bool:
    """The same form, whatever the name and whether it is required."""
    left, right = (
        {key: value for key, value in one.items() if key not in ("name", "required", "optional")} for one in (old, new)
    )
    return left == right
