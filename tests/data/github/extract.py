"""Writes the events next to this file again, from GitHub's published examples of webhook payloads (Octokit, MIT License).

    npm pack @octokit/webhooks-examples@7.6.1 && tar -xf octokit-webhooks-examples-7.6.1.tgz
    python tests/data/github/extract.py package/api.github.com/index.json

A workflow gets these as `github.event`. What a test decides (commits, inputs, client_payload) is left empty here; of a schedule,
for which no webhook is sent, the runner's event is the cron line and the repository.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    published = {event["name"]: event["examples"] for event in json.loads(Path(sys.argv[1]).read_text())}
    dispatch, by_hand = published["repository_dispatch"][0], published["workflow_dispatch"][0]
    push = next(one for one in published["push"] if one["ref"].startswith("refs/heads/"))
    write("repository_dispatch", {**dispatch, "action": "model-promotion", "branch": "main", "client_payload": {}})
    workflow = ".github/workflows/deploy-on-model-promotion.yml"
    write("workflow_dispatch", {**by_hand, "inputs": {}, "ref": "refs/heads/main", "workflow": workflow})
    write("push", {**push, "ref": "refs/heads/main", "before": "", "after": ""})
    common = {key: by_hand[key] for key in ("organization", "repository") if key in by_hand}
    write("schedule", {**common, "schedule": "23 4 * * *", "workflow": workflow})


def write(name: str, event: Any) -> None:
    Path(__file__).with_name(f"{name}.json").write_text(json.dumps(event, indent=1) + "\n")


if __name__ == "__main__":
    main()
