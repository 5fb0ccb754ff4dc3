"""The hash of a plan: everything that decided, in five parts, so that a later promotion can say which of them changed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from promoter.errors import SupersededError, UsageError
from promoter.output import plain

if TYPE_CHECKING:
    from promoter.commands.plan import Plan

_FORM = "1"
"""What the parts are made of; a hash of another form is compared with nothing."""
_NAMES = ("version", "image", "overlay", "policy", "gates")
_PATTERN = re.compile(rf"{_FORM}(-[0-9a-f]{{16}}){{{len(_NAMES)}}}", re.ASCII)
_UNBUILT = ""


def plan_hash(plan: Plan) -> str:
    """`1-VERSION-IMAGE-OVERLAY-POLICY-GATES`, each of 16 hexadecimal digits. Times are not in it, nor how it is rendered."""
    return "-".join((_FORM, *(_digest(part) for part in _parts(plan).values())))


def checked(text: str) -> str:
    """Raises: UsageError, if the text is not the hash of a plan."""
    if _PATTERN.fullmatch(text):
        return text
    raise UsageError(f"--plan: {text!r} is not the hash of a plan", hint="take `hash` of: promoter plan … -o json")


def require_same(plan: Plan, expected: str) -> None:
    """The plan decides from what `expected` was made of.

    An image that was to be built then may be there now: a promotion that was ended after it is run again. So may be the whole
    release: then only what it is counts.

    Raises:
        SupersededError: it names each part that is another one now.
    """
    then = dict(zip(_NAMES, checked(expected).split("-")[1:], strict=True))
    now = {name: _digest(part) for name, part in _parts(plan).items()}
    changed = [name for name in _NAMES if then[name] != now[name]]
    if "image" in changed and then["image"] == _digest(_UNBUILT):
        changed.remove("image")
    if plan.already_there:
        changed = [name for name in changed if name in ("version", "image")]
    if changed:
        said = _shown(plan)
        raise SupersededError(
            f"since the plan {expected} changed: " + "; ".join(said[name] for name in changed),
            hint="nothing was written; look at the new plan, and promote with its hash",
        )


def _parts(plan: Plan) -> Mapping[str, object]:
    version, image = plan.version, plan.image
    return {
        "version": (version.name, version.version, version.created, version.artifact_uri, version.files),
        "image": (image.repository, image.tag, image.digest, image.content_digest) if image else _UNBUILT,
        "overlay": plan.blobs(),
        "policy": plan.policy,
        "gates": sorted((one.gate, one.about, one.result.value) for one in plan.gates),
    }


def _shown(plan: Plan) -> Mapping[str, str]:
    """Each part as it is now, in a few words."""
    version, environment = plan.version, plan.environment
    path = environment.application.path
    deployed = f"version {plan.before.version}" if plan.before else "no release"
    return {
        "version": f"version: {version.reference} of {version.created:%Y-%m-%d %H:%M:%S} UTC, or its files",
        "image": f"image: {plan.image.reference if plan.image else 'not built'}",
        "overlay": f"overlay: {path} at {plan.commit[:10]}, which deploys {deployed}",
        "policy": f"policy: what promoter.yaml says of {environment.name!r}",
        "gates": f"gates: what they decide (promoter gates {environment.name} {version.reference})",
    }


def _digest(part: object) -> str:
    return hashlib.sha256(json.dumps(plain(part), sort_keys=True).encode()).hexdigest()[:16]
