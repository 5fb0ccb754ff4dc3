"""Runs a workflow of this repository as GitHub's runner does: events and inputs as contexts, scripts by bash, files for outputs.

Actions of others are not run: they are noted in `used` with what they were given.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import expressions
from tests.support.pipeline_files import ROOT, Ran, load, machine, run_script, stand_in

EVENTS = Path(__file__).parents[1] / "data" / "github"
WORKFLOWS = ".github/workflows"


def event(name: str, **changes: Any) -> dict[str, Any]:
    """GitHub's published example of an event, with these fields of a test."""
    return {**json.loads((EVENTS / f"{name}.json").read_text()), **changes}


@dataclass
class Job:
    """One job that ran: `summary` is its page, `outputs` those that it declares, `environment` the one whose reviewers it waits for."""

    name: str
    environment: str = ""
    ran: list[Ran] = field(default_factory=list)
    used: dict[str, Mapping[str, str]] = field(default_factory=dict)
    steps: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    summary: str = ""
    failed: bool = False

    @property
    def log(self) -> str:
        return "".join(ran.log for ran in self.ran)

    @property
    def annotations(self) -> list[tuple[str, str]]:
        return re.findall(r"^::(notice|warning|error)(?: [^:]*)?::(.*)$", self.log, re.MULTILINE)


@dataclass
class Runner:
    """`checkout` is the repository that the workflow runs in; action.yml and its scripts are this project's."""

    folder: Path
    checkout: Path
    secrets: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    installed: bool = True

    def run(self, workflow: str, name: str, payload: Mapping[str, Any], jobs: Collection[str] = ()) -> list[Job]:
        """Every job (or only `jobs`) that the workflow runs for this event, those of a matrix one by one."""
        file = load(f"{WORKFLOWS}/{workflow}")
        assert name in file["on"], f"{workflow} is not started by {name}"
        context = self._contexts(file, name, payload)
        needs: dict[str, Any] = {}
        done: list[Job] = []
        for key, job in file["jobs"].items():
            known = {**context, "needs": needs}
            if (jobs and key not in jobs) or not expressions.evaluate(str(job.get("if", "true")), known):
                continue
            for matrix in self._matrix(job, known):
                done.append(self._job(key, job, {**known, "matrix": matrix}))
            needs[key] = {"outputs": done[-1].outputs}
        return done

    def concurrency(self, workflow: str, name: str, payload: Mapping[str, Any]) -> str:
        file = load(f"{WORKFLOWS}/{workflow}")
        return expressions.text(expressions.insert(file["concurrency"]["group"], self._contexts(file, name, payload)))

    # -- contexts -----------------------------------------------------------------------------------------------------

    def _contexts(self, file: Mapping[str, Any], name: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        github = {"event_name": name, "event": payload, "sha": payload.get("after", "0" * 40), "token": "ghs_workflow"}
        inputs = _inputs(file, payload) if name == "workflow_dispatch" else {}
        return {"github": github, "inputs": inputs, "secrets": self.secrets, "vars": self.variables}

    def _matrix(self, job: Mapping[str, Any], context: expressions.Context) -> list[Mapping[str, Any]]:
        if "strategy" not in job:
            return [{}]
        return list(expressions.insert(job["strategy"]["matrix"], context)["include"])

    # -- jobs and steps -----------------------------------------------------------------------------------------------

    def _job(self, key: str, job: Mapping[str, Any], context: expressions.Context) -> Job:
        made = Job(key, expressions.text(expressions.insert(job.get("environment", ""), context)))
        folder = self.folder / f"job-{len(list(self.folder.glob('job-*')))}"
        (folder / "temp").mkdir(parents=True)
        (folder / "summary").touch()
        if self.installed:
            stand_in(folder / "temp" / "promoter")
        environ = {
            **machine(),
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_STEP_SUMMARY": str(folder / "summary"),
            "RUNNER_TEMP": str(folder / "temp"),
        }
        made.failed = not self._steps(
            made, job["steps"], {**context, "env": {}, "runner": {"temp": str(folder / "temp")}}, environ, made.steps, folder
        )
        made.summary = (folder / "summary").read_text()
        made.outputs = expressions.insert(job.get("outputs", {}), {**context, "steps": made.steps})
        return made

    def _steps(
        self,
        job: Job,
        steps: list[Any],
        context: Mapping[str, Any],
        environ: dict[str, str],
        results: dict[str, Any],
        folder: Path,
    ) -> bool:
        """Whether all went well; a step that fails is the last one."""
        for step in steps:
            known = {**context, "steps": results}
            own = {name: expressions.text(value) for name, value in expressions.insert(step.get("env", {}), known).items()}
            known["env"] = {**context["env"], **own}
            if not expressions.evaluate(str(step.get("if", "true")), known):
                continue
            if step.get("uses") == "./":
                well, outputs = self._action(job, step, known, environ, folder)
            elif "uses" in step:
                given = expressions.insert(step.get("with", {}), known)
                job.used[step["uses"].partition("@")[0]] = {name: expressions.text(value) for name, value in given.items()}
                well, outputs = True, {"python-path": sys.executable}
            else:
                well, outputs = self._script(job, step, known, environ, folder)
            results[step.get("id", "")] = {"outputs": outputs}
            if not well:
                return False
        return True

    def _action(
        self, job: Job, step: Mapping[str, Any], context: Mapping[str, Any], environ: dict[str, str], folder: Path
    ) -> tuple[bool, Any]:
        """action.yml: inputs are text, and the environment of the step is that of its steps."""
        action = load("action.yml")
        given = {name: expressions.text(value) for name, value in expressions.insert(step.get("with", {}), context).items()}
        assert given.keys() <= action["inputs"].keys()
        inputs = {name: given.get(name, one.get("default", "")) for name, one in action["inputs"].items()}
        inside = {"github": context["github"], "inputs": inputs, "env": context["env"], "runner": context["runner"]}
        results: dict[str, Any] = {}
        well = self._steps(job, action["runs"]["steps"], inside, environ, results, folder)
        outputs = {name: one["value"] for name, one in action["outputs"].items()}
        return well, expressions.insert(outputs, {"steps": results})

    def _script(
        self, job: Job, step: Mapping[str, Any], context: Mapping[str, Any], environ: dict[str, str], folder: Path
    ) -> tuple[bool, dict[str, str]]:
        files = {name: folder / name for name in ("output", "path")}
        for file in files.values():
            file.write_text("")
        own = {"GITHUB_OUTPUT": str(files["output"]), "GITHUB_PATH": str(files["path"]), "GITHUB_ACTION_PATH": str(ROOT)}
        name = expressions.text(expressions.insert(step.get("name", step["run"]), context))
        where = self.checkout / expressions.text(expressions.insert(step.get("working-directory", "."), context))
        job.ran.append(run_script(name, step["run"], ["-eo", "pipefail"], {**environ, **context["env"], **own}, folder, where))
        environ["PATH"] = ":".join([*files["path"].read_text().split(), environ["PATH"]])
        return job.ran[-1].returncode == 0, dict(_pairs(files["output"].read_text()))


def _pairs(written: str) -> Iterator[tuple[str, str]]:
    for line in written.splitlines():
        name, _, value = line.partition("=")
        yield name, value


def _inputs(file: Mapping[str, Any], payload: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of a run by hand, refused as GitHub refuses them; booleans are booleans here, and text in the event."""
    declared, given = file["on"]["workflow_dispatch"]["inputs"], payload["inputs"]
    assert given.keys() <= declared.keys(), "422 Unexpected inputs provided"
    missing = [name for name, one in declared.items() if one.get("required") and not given.get(name)]
    assert not missing, f"422 Required input {missing} not provided"
    made: dict[str, Any] = {}
    for name, one in declared.items():
        value = given.get(name, one.get("default", ""))
        assert one["type"] != "choice" or value in one["options"], f"422 {name} is none of {one['options']}"
        made[name] = str(value).lower() == "true" if one["type"] == "boolean" else value
    return made
