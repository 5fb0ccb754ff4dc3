"""The part of `check` that asks servers about themselves: Argo CD's version, clocks, and MLflow's webhooks.

Those of Kubernetes and Argo Rollouts are not among them: a project's token does not see them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from promoter.argocd.client import ArgoCD
    from promoter.model_registry import Webhooks

_OLDEST = (3, 1)  # what the suite on a live cluster begins at
_CLOCKS_APART = 60.0  # seconds: what is signed here is good for minutes (a GitHub App's JWT, MLflow's deliveries)
_WAKES = "model_version_alias.created"
_VERSION = re.compile(r"v?([0-9]{1,9})\.([0-9]{1,9})")


def argocd(server: ArgoCD) -> Iterator[tuple[str, str, str]]:
    """Where, what is wrong, how to fix it.

    Raises:
        AuthError, UnreachableError: as Argo CD answers.
    """
    about = server.about()
    version, ahead = about.version, about.ahead
    known = _VERSION.match(version)
    if known and (int(known[1]), int(known[2])) < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        yield "Argo CD", f"version {version} is older than {oldest}, which promoter is tested with", "update Argo CD"
    if ahead is not None and abs(ahead) > _CLOCKS_APART:
        which = "behind" if ahead > 0 else "ahead of"
        fix = "let NTP set it (timedatectl set-ntp true); signed tokens and deliveries are refused otherwise"
        yield "clock", f"this machine's clock is {abs(ahead):.0f} s {which} Argo CD's", fix


def webhooks(known: Webhooks) -> Iterator[tuple[str, str, str]]:
    """As `argocd`.

    Raises:
        UsageError: this MLflow has no webhooks.
        AuthError, UnreachableError: as MLflow answers, among others where it can't decrypt its webhooks' secrets.
    """
    for one in known.list():
        if _WAKES in one.events and not one.active:
            fix = f"promoter webhook register {one.url} --name {one.name}, or delete it"
            yield "MLflow", f"the webhook {one.name} is not active: an alias that moves does not call {one.url}", fix
