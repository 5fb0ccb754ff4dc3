"""What GitHub keeps of commits in addition to pull requests: their statuses, and deployments with theirs."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests.support.forge_schema import Operation

_LONGEST_DESCRIPTION = 140


@dataclass
class Deployments:
    """`statuses` by commit, `made` the deployments; of both the oldest first."""

    statuses: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    made: list[dict[str, Any]] = field(default_factory=list)

    def serves(self, operation: Operation) -> bool:
        path = operation.name.partition(" ")[2]
        return path == "/repos/{owner}/{repo}" or "statuses" in path or "/deployments" in path

    def carry_out(self, operation: Operation, query: dict[str, str], body: dict[str, Any]) -> tuple[int, Any]:
        """Status and answer, of which the caller fills in what else the description requires."""
        named = operation.parameters
        if operation.name == "GET /repos/{owner}/{repo}":
            return 200, {"full_name": f"{named['owner']}/{named['repo']}"}
        if len(body.get("description", "")) > _LONGEST_DESCRIPTION:
            return 422, {"message": "Validation Failed: description is too long (maximum is 140 characters)"}
        if "deployment_id" in named:
            self.made[int(named["deployment_id"]) - 1]["states"].append(body["state"])
            return 201, {"state": body["state"]}
        if "sha" in named:
            self.statuses[named["sha"]].append(body)
            return 201, body
        if "ref" in named:
            return 200, list(reversed(self.statuses[named["ref"]]))
        if operation.name.startswith("GET"):
            wanted = {"ref": query.pop("sha"), **{key: query[key] for key in ("environment", "task")}}
            found = [one for one in self.made if wanted.items() <= one.items()]
            return 200, [_shown(one) for one in reversed(found)]
        self.made.append({**body, "id": len(self.made) + 1, "states": []})
        return 201, _shown(self.made[-1])

    def of(self, commit: str) -> tuple[list[str], list[list[str]]]:
        """The states of a commit's statuses, and those of each of its deployments."""
        return [one["state"] for one in self.statuses[commit]], [one["states"] for one in self.made if one["ref"] == commit]


def _shown(made: dict[str, Any]) -> dict[str, Any]:
    return {key: made[key] for key in ("id", "ref", "task", "environment", "description", "payload")}
