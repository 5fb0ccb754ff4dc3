"""Writes service-schema.json next to this file again: the published schema of Azure Pipelines, with the tasks that are used here.

    pip download --no-deps check-jsonschema==0.39.0 && unzip check_jsonschema-*.whl
    python tests/data/azure/extract.py check_jsonschema/builtin_schemas/vendor/azure-pipelines.json

That file is service-schema.json v1.261.1 of github.com/microsoft/azure-pipelines-vscode, Copyright (c) Microsoft Corporation, MIT
License. Descriptions and hints for editors are left out, and the inputs of every other task.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

TASKS = ("AzureCLI@2", "Docker@2", "UsePythonVersion@0")
UNWANTED = {"description", "doNotSuggest", "ignoreCase", "firstProperty", "deprecationMessage"}


def main() -> None:
    schema = json.loads(Path(sys.argv[1]).read_text())
    task = schema["definitions"]["task"]
    task["properties"]["task"] = {"enum": list(TASKS)}
    task["anyOf"] = [one for one in task["anyOf"] if one["properties"]["task"]["pattern"].strip("^$") in TASKS]
    assert {one["properties"]["task"]["pattern"].strip("^$") for one in task["anyOf"]} == set(TASKS)
    made = {key: plain(value) for key, value in schema.items() if key not in UNWANTED}
    Path(__file__).with_name("service-schema.json").write_text(json.dumps(made, indent=1, sort_keys=True) + "\n")


def plain(node: Any, *, names: bool = False) -> Any:
    """Without what does not decide what is valid; the keys of `properties` and `definitions` are names and stay."""
    if isinstance(node, list):
        return [plain(child) for child in node]
    if not isinstance(node, dict):
        return node
    return {
        key: plain(value, names=not names and key in ("properties", "definitions"))
        for key, value in node.items()
        if names or key not in UNWANTED
    }


if __name__ == "__main__":
    main()
