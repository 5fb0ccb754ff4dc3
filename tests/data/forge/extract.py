"""Takes out of the forges' published descriptions what promoter uses, and writes it next to this file.

    npm pack @octokit/openapi @octokit/graphql-schema      (MIT), unpacked: generated/api.github.com.json and schema.graphql
    github.com/MicrosoftDocs/vsts-rest-api-specs            specification/git/7.1/git.json and specification/policy/7.1/policy.json

    python tests/data/forge/extract.py github api.github.com.json VERSION
    python tests/data/forge/extract.py graphql schema.graphql VERSION
    python tests/data/forge/extract.py azure git.json policy.json COMMIT

What is written are facts: paths, names, types, what is required and which values are allowed, as JSON Schema in which an object has
no other properties than the described ones. Descriptions and examples are left out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

HERE = Path(__file__).parent
_PULL, _ISSUE = "/repos/{owner}/{repo}/pulls", "/repos/{owner}/{repo}/issues/{issue_number}"
_DEPLOYMENTS = "/repos/{owner}/{repo}/deployments"
GITHUB = (
    ("GET", _PULL),
    ("POST", _PULL),
    ("PATCH", f"{_PULL}/{{pull_number}}"),
    ("GET", f"{_PULL}/{{pull_number}}/reviews"),
    ("GET", f"{_PULL}/{{pull_number}}/requested_reviewers"),
    ("POST", f"{_PULL}/{{pull_number}}/requested_reviewers"),
    ("PUT", f"{_PULL}/{{pull_number}}/merge"),
    ("GET", f"{_ISSUE}/comments"),
    ("POST", f"{_ISSUE}/comments"),
    ("POST", f"{_ISSUE}/labels"),
    ("GET", "/repos/{owner}/{repo}"),
    ("GET", "/repos/{owner}/{repo}/commits/{ref}/statuses"),
    ("POST", "/repos/{owner}/{repo}/statuses/{sha}"),
    ("GET", _DEPLOYMENTS),
    ("POST", _DEPLOYMENTS),
    ("POST", f"{_DEPLOYMENTS}/{{deployment_id}}/statuses"),
)
_AZURE_PULL = "/{organization}/{project}/_apis/git/repositories/{repositoryId}/pull%sequests"
AZURE = (
    ("GET", _AZURE_PULL % "r"),
    ("POST", _AZURE_PULL % "r"),
    ("GET", f"{_AZURE_PULL % 'r'}/{{pullRequestId}}"),
    ("PATCH", f"{_AZURE_PULL % 'r'}/{{pullRequestId}}"),
    ("POST", f"{_AZURE_PULL % 'R'}/{{pullRequestId}}/labels"),
    ("GET", f"{_AZURE_PULL % 'R'}/{{pullRequestId}}/reviewers"),
    ("PUT", f"{_AZURE_PULL % 'R'}/{{pullRequestId}}/reviewers/{{reviewerId}}"),
    ("GET", f"{_AZURE_PULL % 'R'}/{{pullRequestId}}/iterations"),
    ("GET", f"{_AZURE_PULL % 'R'}/{{pullRequestId}}/statuses"),
    ("POST", f"{_AZURE_PULL % 'R'}/{{pullRequestId}}/statuses"),
    ("GET", f"{_AZURE_PULL % 'R'}/{{pullRequestId}}/threads"),
    ("POST", f"{_AZURE_PULL % 'R'}/{{pullRequestId}}/threads"),
    ("GET", "/{organization}/{project}/_apis/policy/evaluations"),
)
_KEPT = ("type", "enum", "format", "required", "minItems", "maxItems", "minLength", "maxLength", "minimum", "maximum")
_OPEN = ("JObject",)  # Newtonsoft's: any JSON object
_LARGE = {"GitCommitRef": ("commitId", "url"), "GitRepository": ("id", "name", "url", "webUrl", "project", "remoteUrl")}


class Extract:
    """Schemas of one description, in JSON Schema's words; `definitions` grows with what they refer to."""

    def __init__(self, description: Mapping[str, Any]) -> None:
        self.description = description
        self.definitions: dict[str, Any] = {}

    def resolved(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        while "$ref" in value:
            found: Any = self.description
            for part in value["$ref"].removeprefix("#/").split("/"):
                found = found[part.replace("~1", "/").replace("~0", "~")]
            value = found
        return value

    def schema(self, value: Mapping[str, Any]) -> dict[str, Any]:
        if "$ref" in value:
            name = value["$ref"].rpartition("/")[2]
            if name not in self.definitions:
                self.definitions[name] = {}
                self.definitions[name] = self._plain(self.resolved(value), name)
            return {"$ref": f"#/definitions/{name}"}
        return self._plain(value)

    def _plain(self, value: Mapping[str, Any], name: str = "") -> dict[str, Any]:
        made = {key: value[key] for key in _KEPT if key in value}
        for key in ("oneOf", "anyOf"):
            if key in value:
                made[key] = [self.schema(one) for one in value[key]]
        properties = {} if name in _OPEN else self._properties(value)
        if properties:
            kept = {key: one for key, one in properties.items() if key in _LARGE.get(name, properties)}
            made |= {"type": "object", "properties": {key: self.schema(one) for key, one in kept.items()}}
            made["additionalProperties"] = False
        elif isinstance(value.get("additionalProperties"), Mapping):
            made["additionalProperties"] = self.schema(value["additionalProperties"])
        if "items" in value:
            made["items"] = self.schema(value["items"])
        if value.get("nullable"):
            made = {"anyOf": [made, {"type": "null"}]}
        return {key: one for key, one in made.items() if one != []}

    def _properties(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """Its own, and those of what it extends."""
        found: dict[str, Any] = {}
        for part in value.get("allOf") or ():
            found |= self._properties(self.resolved(part))
        return found | dict(value.get("properties") or {})


def github(file: Path, version: str) -> None:
    extract = Extract(json.loads(file.read_text()))
    operations = {}
    for method, path in GITHUB:
        described = extract.description["paths"][path][method.lower()]
        parameters = [extract.resolved(one) for one in described["parameters"]]
        body = described.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
        answers = {}
        for status, answer in described["responses"].items():
            content = extract.resolved(answer).get("content", {}).get("application/json")
            answers[status] = extract.schema(content["schema"]) if content else None
        operations[f"{method} {path}"] = {
            "query": {one["name"]: extract.schema(one["schema"]) for one in parameters if one["in"] == "query"},
            "body": extract.schema(body) if body else None,
            "answers": answers,
        }
    _write("github.json", f"@octokit/openapi {version}, generated/api.github.com.json (MIT)", operations, extract.definitions)


def azure(git: Path, policy: Path, commit: str) -> None:
    operations, definitions = {}, dict[str, Any]()
    for file in (git, policy):
        extract = Extract(json.loads(file.read_text("utf-8-sig")))
        for method, path in AZURE:
            if path not in extract.description["paths"]:
                continue
            described = extract.description["paths"][path][method.lower()]
            parameters = [extract.resolved(one) for one in described["parameters"]]
            body = next((one["schema"] for one in parameters if one["in"] == "body"), None)
            answer = described["responses"]["200"].get("schema")
            operations[f"{method} {path}"] = {
                "query": {one["name"]: extract.schema(one) for one in parameters if one["in"] == "query"},
                "body": extract.schema(body) if body else None,
                "answers": {"200": extract.schema(answer) if answer else None},
            }
        definitions |= extract.definitions
    missing = {f"{method} {path}" for method, path in AZURE} - set(operations)
    assert not missing, missing
    source = f"github.com/MicrosoftDocs/vsts-rest-api-specs at {commit}: facts of git and policy 7.1"
    _write("azure_devops.json", source, operations, definitions)


def graphql(file: Path, version: str) -> None:
    """Only the fields that promoter's two documents ask for; input types and enumerations whole."""
    import graphql as ql

    from promoter.hosting.forge.github_queries import AUTO_MERGE, STANDING

    schema = ql.build_schema(file.read_text(), assume_valid=True)
    used: dict[str, set[str]] = {}
    whole: set[str] = set()
    for text in (AUTO_MERGE, STANDING):
        document, types = ql.parse(text), ql.TypeInfo(schema)

        class Visitor(ql.Visitor):
            def enter_field(self, *_: Any, types: Any = types) -> None:
                parent, field = types.get_parent_type(), types.get_field_def()
                if not field.ast_node:
                    return  # __typename
                used.setdefault(parent.name, set()).add(field.ast_node.name.value)
                whole.update(ql.get_named_type(argument.type).name for argument in field.args.values())
                used.setdefault(ql.get_named_type(field.type).name, set())

        ql.visit(document, ql.TypeInfoVisitor(types, Visitor()))
    lines = [f"# Taken out of @octokit/graphql-schema {version}, schema.graphql (MIT), by extract.py.\n"]
    queue, done = [*used, *whole, "CheckRun", "StatusContext"], set[str]()
    while queue:
        name = queue.pop()
        if name in done or name in ql.specified_scalar_types:
            continue
        done.add(name)
        node = schema.type_map[name].ast_node
        assert node is not None
        kept: ql.Node = node
        if isinstance(node, ql.InputObjectTypeDefinitionNode):
            inputs = cast("ql.GraphQLInputObjectType", schema.type_map[name])
            queue += [ql.get_named_type(one.type).name for one in inputs.fields.values()]
        elif isinstance(node, (ql.ObjectTypeDefinitionNode, ql.InterfaceTypeDefinitionNode)):
            fields = tuple(one for one in node.fields if one.name.value in used.get(name, ()))
            kept = _copy(node, fields=fields, interfaces=())
        elif isinstance(node, ql.UnionTypeDefinitionNode):
            queue += [one.name.value for one in node.types]
        lines.append(ql.print_ast(_bare(kept)))
    (HERE / "github.graphql").write_text("\n\n".join(lines) + "\n")


def _copy(node: Any, **changes: Any) -> Any:
    made = type(node)()
    for key in node.keys:
        setattr(made, key, changes.get(key, getattr(node, key)))
    return made


def _bare(node: Any) -> Any:
    """The definition without descriptions and directives."""
    import graphql as ql

    class Bare(ql.Visitor):
        def leave(self, one: Any, *_: Any) -> Any:
            if hasattr(one, "description") or hasattr(one, "directives"):
                return _copy(one, description=None, directives=())
            return None

    return ql.visit(node, Bare())


def _write(name: str, source: str, operations: Mapping[str, Any], definitions: Mapping[str, Any]) -> None:
    made = {"source": source, "operations": operations, "definitions": dict(sorted(definitions.items()))}
    (HERE / name).write_text(json.dumps(made, separators=(",", ":")).replace('},"', '},\n"') + "\n")


if __name__ == "__main__":
    kind, *arguments = sys.argv[1:]
    *files, stated = arguments
    makers: dict[str, Callable[..., None]] = {"github": github, "azure": azure, "graphql": graphql}
    makers[kind](*map(Path, files), stated)
