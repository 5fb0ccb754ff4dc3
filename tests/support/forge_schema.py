"""The forges' published descriptions (tests/data/forge, see extract.py there) as judges of requests and answers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from jsonschema import Draft202012Validator

DATA = Path(__file__).parents[1] / "data" / "forge"
_SAMPLES: Mapping[str, Any] = {"string": "", "integer": 0, "number": 0, "boolean": False, "array": [], "object": {}}


@dataclass(frozen=True)
class Operation:
    """One operation of a description; `parameters` are those in the path of a request to it."""

    name: str
    query: Mapping[str, Any]
    body: Mapping[str, Any] | None
    answers: Mapping[str, Any]
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Description:
    operations: tuple[tuple[str, re.Pattern[str], Operation], ...]
    definitions: Mapping[str, Any]

    def find(self, method: str, path: str) -> Operation | None:
        for known, pattern, operation in self.operations:
            if known == method and (found := pattern.fullmatch(path)):
                parameters = {key: unquote(value) for key, value in found.groupdict().items()}
                return Operation(operation.name, operation.query, operation.body, operation.answers, parameters)
        return None

    def wrong_request(self, operation: Operation, query: Mapping[str, str], body: Any) -> list[str]:
        """What the description does not allow in a request."""
        wrong = [f"unknown parameter {name}" for name in query if name not in operation.query]
        for name, schema in operation.query.items():
            if schema.get("required") is True and name not in query:
                wrong.append(f"parameter {name} is missing")
            if name in query and query[name] not in schema.get("enum", [query[name]]):
                wrong.append(f"{name}={query[name]} is not allowed")
        if operation.body is None:
            return [*wrong, "a body is not allowed"] if body is not None else wrong
        return wrong + self.wrong(operation.body, body)

    def wrong(self, schema: Mapping[str, Any], value: Any) -> list[str]:
        validator = Draft202012Validator({**schema, "definitions": self.definitions})
        return [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(value)]

    def sample(self, schema: Mapping[str, Any], known: Any = None) -> Any:
        """A value of this schema: `known` with everything filled in that is required."""
        while "$ref" in schema:
            schema = self.definitions[schema["$ref"].rpartition("/")[2]]
        choices = schema.get("anyOf") or schema.get("oneOf")
        if choices:
            nullable = {"type": "null"} in choices
            return None if known is None and nullable else self.sample(choices[0], known)
        if known is None:
            known = schema["enum"][0] if "enum" in schema else _SAMPLES[schema.get("type", "object")]
        if isinstance(known, list) and "items" in schema:
            return [self.sample(schema["items"], one) for one in known]
        if isinstance(known, dict) and "properties" in schema:
            names = dict.fromkeys((*known, *schema.get("required", ())))
            properties = schema["properties"]
            return {name: self.sample(properties.get(name, {}), known.get(name)) for name in names}
        return known


@cache
def description(name: str) -> Description:
    """`github` or `azure_devops`."""
    text = json.loads((DATA / f"{name}.json").read_text())
    operations = []
    for key, one in text["operations"].items():
        method, path = key.split(" ", 1)
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(path))
        ignoring = re.IGNORECASE if name == "azure_devops" else 0  # it writes both pullRequests and pullrequests
        operations.append((method, re.compile(pattern, ignoring), Operation(key, one["query"], one["body"], one["answers"])))
    return Description(tuple(operations), text["definitions"])
