"""What the pods of a failed release logged that may explain it: for the person who asked, never for Git."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from promoter.errors import PromoterError

if TYPE_CHECKING:
    from promoter.argocd.client import ArgoCD
    from promoter.argocd.state import PodState
    from promoter.models import Application

_MOST_LINES = 10
_MOST_PODS = 3
_READ = 100  # lines of a pod, of which most are about requests
_ACCESS = re.compile(r'"?(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) \S+(?: HTTP/[0-9.]+"?)? +(?:-> )?[123][0-9][0-9]\b')
_LEVELS = {"warn", "warning", "error", "critical", "fatal", "alert", "emergency"}
_TROUBLE = re.compile(r"\b(?:warning|error|exception|traceback|critical|fatal|panic|failed|killed)\b|Error\b", re.IGNORECASE)


def last_words(argocd: ArgoCD, application: Application, pods: Sequence[PodState]) -> tuple[str, ...]:
    """At most ten lines, if the token may read logs; those of pods that failed come first.

    After an abort pods are terminating and no longer Degraded, so the others are looked at, too.
    """
    lines: list[str] = []
    for pod in sorted(pods, key=_failed, reverse=True)[:_MOST_PODS]:
        try:
            log = argocd.logs(application, pod.name, namespace=pod.namespace, tail=_READ)
        except PromoterError:
            continue
        lines += [f"log of {pod.name}: {line}" for line in log if explains(line, failed=_failed(pod))][-_MOST_LINES:]
    return tuple(lines[:_MOST_LINES])


def explains(line: str, *, failed: bool) -> bool:
    """Whether a line may be why: never one about a request that was answered well; of a pod that did not fail, only trouble."""
    if not line.strip():
        return False
    fields = _fields(line)
    if not fields:
        return not _ACCESS.search(line) and (failed or _TROUBLE.search(line) is not None)
    status = fields.get("status", fields.get("status_code"))
    if type(status) is int and 100 <= status < 400:
        return False
    level = str(fields.get("level") or fields.get("severity") or fields.get("levelname") or "")
    return failed or level.lower() in _LEVELS or (not level and _TROUBLE.search(line) is not None)


def _failed(pod: PodState) -> bool:
    return pod.health == "Degraded" or pod.restarts > 0


def _fields(line: str) -> dict[str, Any]:
    """Of a line that is a JSON object, as most servers log."""
    try:
        found = json.loads(line) if line.lstrip().startswith("{") else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
