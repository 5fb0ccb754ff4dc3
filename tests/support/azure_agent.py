"""Runs azure-pipelines.yml as Azure Pipelines does: templates and expressions first, then the stages whose condition holds.

Tasks that are no scripts are not run: they are noted in `used` with their inputs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import expressions
from tests.support.pipeline_files import ROOT, Ran, load, machine, run_script, stand_in

_INSERT = "${{ insert }}"
_COMMAND = re.compile(r"##vso\[(\S+?)(?: ([^\]]*))?\](.*)")
_DECODED = (("%3B", ";"), ("%5D", "]"), ("%0D", "\r"), ("%0A", "\n"), ("%AZP25", "%"))


@dataclass
class Finished:
    """What a run left: scripts, tasks of others, output variables of the step `promoter`, summaries, issues."""

    ran: list[Ran] = field(default_factory=list)
    used: dict[str, Mapping[str, str]] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    summary: str = ""
    issues: list[tuple[str, str]] = field(default_factory=list)
    failed: bool = False

    @property
    def log(self) -> str:
        return "".join(ran.log for ran in self.ran)


def expanded(parameters: Mapping[str, Any], pipeline: Path = ROOT / "azure-pipelines.yml") -> dict[str, Any]:
    """The pipeline as it is once templates are in their places and `${{ }}` has its values."""
    file = load(str(pipeline))
    given = _parameters(file["parameters"], parameters)
    variables = {one["name"]: one["value"] for one in file["variables"] if "name" in one}
    made = _expand({**file, "parameters": []}, {"parameters": given, "variables": variables})
    return {**made, "parameters": file["parameters"]}


def steps_template(**parameters: Any) -> list[Any]:
    file = load(".azure-pipelines/steps.yml")
    context = {"parameters": _parameters(file["parameters"], parameters), "variables": {}}
    return list(_expand(file["steps"], context))


@dataclass
class Agent:
    """`checkout` is the repository that the pipeline runs in; the scripts are this project's. `group`: the variable group.

    A pipeline that checks out both by a path has them below Agent.BuildDirectory.
    """

    folder: Path
    checkout: Path
    group: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    pipeline: Path = ROOT / "azure-pipelines.yml"

    def run(self, reason: str, /, **parameters: Any) -> Finished:
        pipeline = expanded(parameters, self.pipeline)
        done = Finished()
        [stage] = [one for one in pipeline["stages"] if _holds(one["condition"], {"Build.Reason": reason})]
        [job] = stage["jobs"]
        steps = job["steps"] if "steps" in job else job["strategy"]["runOnce"]["deploy"]["steps"]
        temp = self.folder / f"agent-{len(list(self.folder.glob('agent-*')))}"
        temp.mkdir(parents=True)
        stand_in(temp / "promoter")
        (temp / "build").mkdir()
        for step in steps:
            if path := step.get("path"):
                (temp / "build" / path).symlink_to(self.checkout if step["checkout"] == "self" else ROOT)
        predefined = {
            "Build.Reason": reason,
            "Agent.TempDirectory": str(temp),
            "Agent.BuildDirectory": str(temp / "build"),
            "Build.SourcesDirectory": str(self.checkout),
        }
        variables = {**predefined, **self.group, **self.secrets, "System.AccessToken": "azure-token"}
        opened = {name.upper().replace(".", "_"): value for name, value in {**predefined, **self.group}.items()}
        environ = {**machine(), "TF_BUILD": "True", **opened}
        for step in steps:
            if not _holds(step.get("condition", "succeeded()"), variables):
                continue
            if not self._step(done, step, variables, environ, temp):
                done.failed = True
                break
        return done

    def _step(
        self, done: Finished, step: Mapping[str, Any], variables: Mapping[str, str], environ: dict[str, str], temp: Path
    ) -> bool:
        inputs = step.get("inputs", {})
        script = step.get("bash", inputs.get("inlineScript"))
        if script is None:
            inputs = inputs or {name: step[name] for name in ("publish", "artifact") if name in step}
            given = {name: _macros(expressions.text(value), variables) for name, value in inputs.items()}
            done.used[step.get("task", "publish" if "publish" in step else "checkout")] = given
            return True
        own = {name: _macros(expressions.text(value), variables) for name, value in step["env"].items()}
        if own["SOURCE"] == str(self.checkout):  # the scripts that a pipeline of this repository finds in its own checkout
            own["SOURCE"] = str(ROOT)
        where = Path(_macros(inputs.get("workingDirectory", str(self.checkout)), variables))
        ran = run_script(step["displayName"], script, [], {**environ, **own}, temp, where)
        done.ran.append(ran)
        for command, properties, value in _COMMAND.findall(ran.log):
            _obey(done, environ, command, properties, value)
        return ran.returncode == 0


def _obey(done: Finished, environ: dict[str, str], command: str, properties: str, value: str) -> None:
    """The agent's part of a logging command; one that nothing here prints on purpose is an error."""
    given = dict(one.split("=", 1) for one in properties.split(";") if one)
    for code, char in _DECODED:
        value = value.replace(code, char)
    if command == "task.prependpath":
        environ["PATH"] = f"{value}:{environ['PATH']}"
    elif command == "task.setvariable":
        assert given["isOutput"] == "true"
        done.outputs[given["variable"]] = value
    elif command == "task.uploadsummary":
        done.summary += Path(value).read_text()
    elif command == "task.logissue":
        done.issues.append((given["type"], value))
    else:
        raise AssertionError(f"{command} was not meant as a command")


def _holds(condition: str, variables: Mapping[str, str]) -> bool:
    return bool(expressions.evaluate(condition, {"variables": variables}))


def _macros(value: str, variables: Mapping[str, str]) -> str:
    """`$(NAME)`; what is not defined stays as it is written."""
    return re.sub(r"\$\(([^)]+)\)", lambda found: variables.get(found[1], found[0]), value)


def _parameters(declared: list[Mapping[str, Any]], given: Mapping[str, Any]) -> dict[str, Any]:
    """With their defaults, refused as Azure refuses them."""
    assert given.keys() <= {one["name"] for one in declared}, "Unexpected parameter"
    made = {one["name"]: given.get(one["name"], one.get("default")) for one in declared}
    for one in declared:
        value = made[one["name"]]
        assert value is not None, f"A value for the '{one['name']}' parameter must be provided"
        assert value in one.get("values", [value]), f"{value!r} is none of {one['values']}"
    return made


def _expand(node: Any, context: expressions.Context) -> Any:
    if isinstance(node, Mapping):
        inserted = _expand(node[_INSERT], context) if _INSERT in node else {}
        return {**inserted, **{key: _expand(value, context) for key, value in node.items() if key != _INSERT}}
    if isinstance(node, list):
        return [child for one in node for child in _elements(one, context)]
    return expressions.insert(node, context)


def _elements(one: Any, context: expressions.Context) -> Iterator[Any]:
    """What stands in a list in the place of an element: a template's steps, or those of a condition that holds."""
    if isinstance(one, Mapping) and "template" in one:
        yield from _template(one, context)
    elif isinstance(one, Mapping) and len(one) == 1 and (found := re.match(r"\$\{\{ if (.*) \}\}$", next(iter(one)))):
        if expressions.evaluate(found[1], context):
            yield from _expand(next(iter(one.values())), context)
    else:
        yield _expand(one, context)


def _template(one: Mapping[str, Any], context: expressions.Context) -> list[Any]:
    name = one["template"].removesuffix("@promoter")
    place = name if "/" in name else f".azure-pipelines/{name}"  # relative to the file that names it
    file = load(place)
    given = _parameters(file["parameters"], _expand(one["parameters"], context))
    return list(_expand(file["steps"], {"parameters": given, "variables": {}}))
