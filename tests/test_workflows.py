"""The workflows, the action and the Azure pipeline: their form, and every script of theirs against a sandbox, started as GitHub and
Azure start them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from promoter.commands.scaffold import Wanted, pipelines
from promoter.demo.sandbox import Behaviour, Measurement
from promoter.models import Ci
from tests.support.azure_agent import Agent, expanded, steps_template
from tests.support.expressions import text
from tests.support.github_runner import WORKFLOWS, Job, Runner, event
from tests.support.mlflow_server import MlflowServer
from tests.support.pipeline_files import ROOT, load, machine, run_script, stand_in
from tests.support.pipeline_rig import ENVIRONMENTS, Rig, rig

DEPLOY, WATCH = "deploy-on-model-promotion.yml", "watch-on-merge.yml"
FILES = sorted(path.name for path in (ROOT / WORKFLOWS).iterdir())
FAILS = Behaviour(measurement=Measurement("Failed", "0.4"))
SCHEMA_TEXT: dict[str, Any] = json.loads((ROOT / "tests/data/azure/service-schema.json").read_text())
SCHEMA = Draft7Validator(SCHEMA_TEXT)
APP = "No GitHub App is configured"
_PATH = os.environ["PATH"]


@pytest.fixture(scope="module")
def it(mlflow_server: MlflowServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig(tmp_path_factory.mktemp("pipelines"), mlflow_server) as made:
        yield made


def runner(it: Rig, tmp_path: Path, **secrets: str) -> Runner:
    variables = {"ARGOCD_SERVER": it.sandbox.url}
    return Runner(tmp_path, it.checkout, {**it.credentials, **secrets}, variables)


def agent(it: Rig, tmp_path: Path) -> Agent:
    group = {"MLFLOW_TRACKING_URI": it.server.url, "ARGOCD_SERVER": it.sandbox.url}
    return Agent(tmp_path, it.checkout, group, {"ARGOCD_AUTH_TOKEN": it.sandbox.token})


def only(jobs: list[Job]) -> Job:
    [job] = jobs
    return job


# -- form -------------------------------------------------------------------------------------------------------------


def tool(name: str, hint: str) -> str:
    found = shutil.which(name, path=f"{ROOT / '.tools' / 'bin'}:{_PATH}")
    if found is None:
        pytest.skip(f"{name} is not on this machine: {hint}")
    return found


def test_actionlint_finds_nothing() -> None:
    program = tool("actionlint", ".ci/run builds it where go is installed")
    done = subprocess.run([program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_actionlint_would_find_something(tmp_path: Path) -> None:
    program = tool("actionlint", ".ci/run builds it where go is installed")
    file = tmp_path / "bad.yml"
    file.write_text((ROOT / WORKFLOWS / DEPLOY).read_text().replace("inputs.alias", "inputs.allias", 1))
    assert subprocess.run([program, str(file)], capture_output=True, check=False).returncode == 1


def test_shellcheck_finds_nothing() -> None:
    program = tool("shellcheck", "package shellcheck")
    done = subprocess.run(
        [program, ".ci/install", ".ci/release", ".ci/step", ".ci/uv"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def steps_of(file: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [step for job in file["jobs"].values() for step in job["steps"]] if "jobs" in file else list(file["runs"]["steps"])


@pytest.mark.parametrize("path", [*(f"{WORKFLOWS}/{name}" for name in FILES), "action.yml"])
def test_actions_are_pinned_and_scripts_hold_no_expression(path: str) -> None:
    uses = re.findall(r"\buses: (\S+)(.*)", (ROOT / path).read_text())
    assert all(name == "./" or re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", name) for name, _ in uses)
    assert all(name == "./" or re.match(r" # v\d+\.\d+\.\d+$", comment) for name, comment in uses)
    scripts = [step["run"] for step in steps_of(load(path)) if "run" in step]
    assert scripts or path == f"{WORKFLOWS}/{DEPLOY}" or path == f"{WORKFLOWS}/{WATCH}"
    assert [script for script in scripts if "${{" in script] == []


def test_every_action_is_pinned_to_one_commit() -> None:
    texts = [(ROOT / WORKFLOWS / name).read_text() for name in FILES] + [(ROOT / "action.yml").read_text()]
    pins = set(re.findall(r"uses: ([\w-]+/[\w-]+)@([0-9a-f]{40} # \S+)", "\n".join(texts)))
    assert len({name for name, _ in pins}) == len(pins) == 6


@pytest.mark.parametrize("name", FILES)
def test_a_job_has_the_rights_that_it_names_and_no_others(name: str) -> None:
    file = load(f"{WORKFLOWS}/{name}")
    assert file["permissions"] == {}
    rights = {key: set(job["permissions"].items()) for key, job in file["jobs"].items()}
    writing = {("contents", "write"), ("pull-requests", "write"), ("statuses", "write")}
    assert (
        rights
        == {
            DEPLOY: {"promoter": {*writing, ("id-token", "write"), ("packages", "write")}},
            WATCH: {"changed": {("contents", "read")}, "watch": writing},
            "ci.yml": {job: {("contents", "read")} for job in ("check", "audit", "serving", "git", "coverage", "image")},
            "release.yml": {
                "packages": {("contents", "read")},
                "image": {("contents", "read"), ("packages", "write")},
                "pypi": {("contents", "read"), ("actions", "read"), ("id-token", "write")},
                "github": {("contents", "write"), ("actions", "read"), ("id-token", "write"), ("attestations", "write")},
            },
        }[name]
    )
    checkouts = [step for step in steps_of(file) if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_no_pull_request_of_a_fork_gets_a_secret() -> None:
    """A workflow that a pull request starts uses none, and none runs with the rights of the branch that it is opened against."""
    files = {name: load(f"{WORKFLOWS}/{name}") for name in FILES}
    starts = {name: set(file["on"]) for name, file in files.items()}
    assert not {"pull_request_target", "workflow_run", "issue_comment"} & set().union(*starts.values())
    opened = [name for name in FILES if "pull_request" in starts[name]]
    assert opened == ["ci.yml"]
    assert "secrets." not in json.dumps(files["ci.yml"])
    assert all("secrets:" not in (ROOT / WORKFLOWS / name).read_text() for name in FILES)


def test_ci_runs_what_is_there() -> None:
    scripts = [step["run"] for step in steps_of(load(f"{WORKFLOWS}/ci.yml")) if "run" in step]
    for script in scripts:
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    assert {".ci/run", "make audit", "make test-serving", "make coverage"} <= set(scripts)
    assert os.access(ROOT / ".ci/run", os.X_OK)


def test_ci_tests_each_python_that_the_package_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    jobs = load(f"{WORKFLOWS}/ci.yml")["jobs"]
    assert jobs["check"]["strategy"]["matrix"]["python"] == named
    assert project["requires-python"] == f">={named[0]}"
    assert jobs["serving"]["strategy"]["matrix"]["python"] == ["3.10", "3.11", "3.12", "3.13"]


@pytest.mark.parametrize("reason", ["by hand", "defaults"])
def test_the_azure_pipeline_fits_the_published_schema(reason: str) -> None:
    given = {"modelName": "m", "version": "3", "dryRun": True} if reason == "by hand" else {}
    assert [f"{error.json_path}: {error.message}" for error in SCHEMA.iter_errors(scalars(expanded(given)))] == []
    steps = {"steps": steps_template(command="promote", azureServiceConnection="azure", acrServiceConnection="acr")}
    assert Draft7Validator({**SCHEMA_TEXT, "$ref": "#/definitions/stepsTemplate"}).is_valid(scalars(steps))


def scalars(node: Any) -> Any:
    """Azure's schema takes every scalar for text."""
    if isinstance(node, Mapping):
        return {key: scalars(value) for key, value in node.items()}
    return [scalars(one) for one in node] if isinstance(node, list) else text(node)


def test_the_schema_refuses_what_it_does_not_know() -> None:
    for path, key in (("stages", "condtion"), ("stages/0/jobs/0", "environmnt"), ("schedules", "crn")):
        pipeline = scalars(expanded({}))
        *parents, last = path.split("/")
        node: Any = pipeline
        for part in (*parents, last):
            node = node[int(part)] if part.isdigit() else node[part]
        (node[0] if isinstance(node, list) else node)[key] = "x"
        assert not SCHEMA.is_valid(pipeline), path


def test_azure_scripts_hold_no_expression_and_no_macro() -> None:
    scripts = [
        step.get("bash") or step.get("inputs", {}).get("inlineScript")
        for connection in ("", "azure")
        for step in steps_template(command="promote", azureServiceConnection=connection)
    ]
    assert len([script for script in scripts if script]) == 6  # each time to install, to promote, and after a cancelled run
    assert [script for script in scripts if script and ("${{" in script or "$(" in script)] == []


# -- GitHub -----------------------------------------------------------------------------------------------------------


def by_hand(**inputs: Any) -> dict[str, Any]:
    return event("workflow_dispatch", inputs=inputs)


def test_a_dispatch_of_the_receiver_promotes_what_the_alias_names(it: Rig, tmp_path: Path) -> None:
    version = it.register("champion")
    payload = event("repository_dispatch", client_payload={"model_name": it.model, "environment": "staging"})
    run = runner(it, tmp_path, GITHUB_TOKEN="unused")
    assert run.concurrency(DEPLOY, "repository_dispatch", payload) == "promoter-staging"
    job = only(run.run(DEPLOY, "repository_dispatch", payload))
    assert not job.failed, job.log
    assert job.environment == "staging"
    assert it.deployed("staging") == version
    assert f"version {version} is live" in job.summary
    assert ("notice", f"reconciled: staging {it.model} promoted") in job.annotations
    assert APP in str(job.annotations)
    assert "azure/login" not in job.used


def test_a_run_by_hand_promotes_and_reports_how_it_ended(it: Rig, tmp_path: Path) -> None:
    """As the command that people know starts it: -f model_name=... -f namespace=..."""
    version = it.register("champion")
    run = runner(it, tmp_path, AZURE_CLIENT_ID="id", AZURE_TENANT_ID="tenant", AKS_CLUSTER_NAME="aks")
    run = Runner(run.folder, run.checkout, run.secrets, {**run.variables, "PROMOTER_APP_ID": ""})
    job = only(run.run(DEPLOY, "workflow_dispatch", by_hand(model_name=it.model, namespace="staging")))
    assert not job.failed, job.log
    assert it.deployed("staging") == version
    outputs = job.steps[""]["outputs"]
    known = {key: outputs[key] for key in ("exit-code", "environment", "model-name", "model-version", "verdict", "commit")}
    assert known == {
        "exit-code": "0",
        "environment": "staging",
        "model-name": it.model,
        "model-version": version,
        "verdict": "live",
        "commit": it.remote.tip(),
    }
    assert re.search(r"^### ✅ .* live", job.summary, re.MULTILINE)
    assert job.used["azure/login"] == {
        "client-id": "id",
        "tenant-id": "tenant",
        "subscription-id": "",
        "allow-no-subscriptions": "true",
    }
    assert "are ignored" in str(job.annotations)
    assert it.sandbox.token not in job.log + job.summary


def test_a_dry_run_prints_the_plan_and_commits_nothing(it: Rig, tmp_path: Path) -> None:
    version, tip = it.register("challenger"), it.remote.tip()
    inputs = by_hand(model_name=it.model, namespace="staging", alias="challenger", dry_run="true")
    job = only(runner(it, tmp_path, ACR_PASSWORD="s3cret", AZURE_CLIENT_ID="id").run(DEPLOY, "workflow_dispatch", inputs))
    assert not job.failed, job.log
    assert it.remote.tip() == tip
    assert f'modelVersion: "{version}"' in job.summary
    assert "azure/login" not in job.used, "a password for the registry is enough"


def test_an_aborted_release_fails_the_run_and_names_the_commit_that_restored(it: Rig, tmp_path: Path) -> None:
    version, before = it.register("champion"), it.deployed("staging")
    it.behaviours[version] = FAILS
    inputs = by_hand(model_name=it.model, environment="staging", version=version)
    job = only(runner(it, tmp_path).run(DEPLOY, "workflow_dispatch", inputs))
    assert job.failed
    assert job.ran[-1].returncode == 10, job.log
    assert it.deployed("staging") == before
    assert job.steps[""]["outputs"]["restored"] == it.remote.tip()
    assert any(level == "error" and "aborted" in said for level, said in job.annotations)
    assert re.search(r"^### ❌ .*aborted", job.summary, re.MULTILINE)
    assert it.remote.tip()[:10] in job.summary


def test_a_cancelled_run_reconciles_what_it_has_left(it: Rig, tmp_path: Path) -> None:
    """The release that nobody watches any more is aborted: its environment is restored by the run's last step."""
    it.behaviours["66"] = FAILS
    before = it.deployed("staging")
    it.merge("66", "staging")
    it.settle_aborted("staging")
    stand_in(tmp_path)
    step = next(one for one in load("action.yml")["runs"]["steps"] if one.get("if", "").startswith("cancelled()"))
    own = {"COMMAND": step["env"]["COMMAND"], "ENVIRONMENT": "staging", "GITHUB_ACTION_PATH": str(ROOT)}
    path = f"{tmp_path / 'bin'}:{machine()['PATH']}"
    environ = {**machine(), **it.credentials, "ARGOCD_SERVER": it.sandbox.url, **own, "PATH": path}
    ran = run_script(step["name"], step["run"], ["-eo", "pipefail"], environ, tmp_path, it.checkout)
    assert ran.returncode == 10, ran.log
    assert it.deployed("staging") == before


def test_a_signal_reaches_the_watch_of_what_has_changed(tmp_path: Path) -> None:
    """It goes to the script alone: what it watches gets it too, and no other watch begins."""
    program = tmp_path / "bin" / "promoter"
    program.parent.mkdir()
    program.write_text(
        f"""#!/bin/bash
if [ "$1" = changed ]; then echo 'a m'; echo 'b m'; exit; fi
echo "$@" >> {tmp_path}/ran
trap 'echo ended >> {tmp_path}/ran; exit 143' TERM
kill -TERM $PPID
sleep 30 & wait
"""
    )
    program.chmod(0o755)
    environ = {**machine(), "COMMAND": "watch", "PATH": f"{program.parent}:{machine()['PATH']}"}
    done = subprocess.run([str(ROOT / ".ci/step")], env=environ, check=False)
    assert done.returncode == 143
    assert (tmp_path / "ran").read_text() == "watch --model m -- a\nended\n"


def test_the_schedule_compares_every_environment(it: Rig, tmp_path: Path) -> None:
    payload, run, tip = event("schedule"), runner(it, tmp_path), it.remote.tip()
    assert run.concurrency(DEPLOY, "schedule", payload) == "promoter-all"
    job = only(run.run(DEPLOY, "schedule", payload))
    assert not job.failed, job.log
    assert job.environment == ""  # a restore waits for nobody
    kept = job.used["actions/upload-artifact"]
    assert kept["name"] == "promoter-report"
    assert '<h2 id="figures-h">Figures</h2>' in Path(kept["path"]).read_text()
    assert all(f"| {name} {it.model} |" in job.summary for name in ENVIRONMENTS)
    assert it.remote.tip() == tip
    # A repository in which nothing is configured yet has no failing run every day.
    assert Runner(tmp_path, it.checkout).run(DEPLOY, "schedule", payload) == []


def test_what_an_event_contains_is_text(it: Rig, tmp_path: Path) -> None:
    tip, run = it.remote.tip(), runner(it, tmp_path)
    shell, forged = '$(touch pwned)`touch pwned`"; touch pwned; "', "x\n::set-output name=a::b"
    for unknown, payload in (
        ("model", {"model_name": shell, "environment": "--config=/etc/passwd"}),
        ("environment", {"environment": forged}),
    ):
        job = only(run.run(DEPLOY, "repository_dispatch", event("repository_dispatch", client_payload=payload)))
        assert job.ran[-1].returncode == 2, job.log
        assert "::set-output" not in [line.lstrip()[:12] for line in job.log.splitlines()]
        assert f"promoter.yaml has no {unknown}" in job.log
    job = only(run.run(DEPLOY, "workflow_dispatch", by_hand(model_name="--help", namespace=shell)))
    assert job.ran[-1].returncode == 2, job.log
    assert it.remote.tip() == tip
    assert not list(it.checkout.glob("pwned"))


@pytest.mark.parametrize(
    "inputs", [{"model_name": "m", "nmespace": "x"}, {"namespace": "x"}, {"model_name": "m", "command": "rm"}]
)
def test_inputs_are_checked_against_the_workflow(it: Rig, tmp_path: Path, inputs: dict[str, str]) -> None:
    with pytest.raises(AssertionError, match=r"^422 "):
        runner(it, tmp_path).run(DEPLOY, "workflow_dispatch", by_hand(**inputs))


@pytest.mark.parametrize("command", ["rollback", "reject"])
def test_a_release_is_undone_with_one_click(it: Rig, tmp_path: Path, command: str) -> None:
    """It waits for no run of the environment; a reason that looks like an option is a reason."""
    before, bad = it.register("challenger"), it.register("challenger")
    for version in (before, bad):
        it.merge(version, "staging")
    given = {"model_name": it.model, "environment": "staging", "command": command}
    given |= {"version": bad, "reason": "--lift"} if command == "reject" else {}
    run = runner(it, tmp_path)
    assert run.concurrency(DEPLOY, "workflow_dispatch", by_hand(**given)) == f"promoter-staging-{command}"
    job = only(run.run(DEPLOY, "workflow_dispatch", by_hand(**given)))
    assert not job.failed, job.log
    assert it.deployed("staging") == before
    decided = it.remote.show("overlays/staging/promotion.yaml")
    assert ("state: rejected" in decided, "--lift" in decided) == (command == "reject",) * 2
    done = agent(it, tmp_path).run(
        "Manual", modelName=it.model, environment="staging", command=command, version=bad, reason="x"
    )
    assert not done.failed, done.log
    assert it.deployed("staging") == (bad if command == "rollback" else before), "a rollback to a version by its name"


def test_an_environment_is_frozen_and_thawed_with_one_click(it: Rig, tmp_path: Path) -> None:
    given = {"model_name": it.model, "environment": "staging", "command": "freeze", "reason": "--all", "until": "2h"}
    run = runner(it, tmp_path)
    assert run.concurrency(DEPLOY, "workflow_dispatch", by_hand(**given)) == "promoter-staging-freeze"
    job = only(run.run(DEPLOY, "workflow_dispatch", by_hand(**given)))
    assert not job.failed, job.log
    written = it.remote.show("overlays/staging/promotion.yaml")
    assert "state: frozen" in written
    assert 'reason: "--all"' in written
    assert "until: " in written
    thaw = agent(it, tmp_path).run("Manual", modelName=it.model, environment="staging", command="thaw")
    assert not thaw.failed, thaw.log
    assert "state: thawed" in it.remote.show("overlays/staging/promotion.yaml")


def push(before: str, after: str) -> dict[str, Any]:
    return event("push", before=before, after=after)


def test_a_merge_is_watched_and_restored_when_it_is_aborted(it: Rig, tmp_path: Path) -> None:
    it.behaviours["77"] = FAILS
    before = it.deployed("production")
    changed, watched = runner(it, tmp_path).run(WATCH, "push", push(*it.merge("77", "production")))
    assert not changed.failed, changed.log
    assert json.loads(changed.outputs["environments"])[0]["environment"] == "production"
    assert watched.ran[-1].returncode == 10, watched.log
    assert it.deployed("production") == before
    assert watched.steps[""]["outputs"]["restored"] == it.remote.tip()


def test_what_promoter_committed_is_left_to_the_run_that_did(it: Rig, tmp_path: Path) -> None:
    own = it.merge("78", "staging", trailers=f"Promotion-Id: 1\nModel: {it.model}\nModel-Version: 78\nEnvironment: staging")
    assert only(runner(it, tmp_path).run(WATCH, "push", push(*own))).outputs == {"environments": "[]"}
    # In an environment of pull requests nobody does: the same commit may be a merged one.
    merged = it.merge("79", "production", trailers=f"Promotion-Id: 2\nModel: {it.model}\nModel-Version: 79")
    job = only(runner(it, tmp_path).run(WATCH, "push", push(*merged), jobs=["changed"]))
    assert [one["environment"] for one in json.loads(job.outputs["environments"])] == ["production"]


def test_a_push_that_changes_no_release_starts_no_watch(it: Rig, tmp_path: Path) -> None:
    before = it.remote.tip()
    after = it.remote.commit({"overlays/staging/settings.yaml": "# more\n"})
    assert only(runner(it, tmp_path).run(WATCH, "push", push(before, after))).outputs == {"environments": "[]"}


def test_an_app_stops_the_notice(it: Rig, tmp_path: Path) -> None:
    # An environment that is not there ends the run before the App's key is needed.
    variables = {"ARGOCD_SERVER": it.sandbox.url, "PROMOTER_APP_ID": "1"}
    run = Runner(tmp_path, it.checkout, it.credentials, variables)
    job = only(run.run(DEPLOY, "workflow_dispatch", by_hand(model_name=it.model, namespace="none")))
    assert job.failed
    assert APP not in str(job.annotations)


# -- Azure ------------------------------------------------------------------------------------------------------------


def test_a_run_with_parameters_promotes(it: Rig, tmp_path: Path) -> None:
    version = it.register("challenger")
    done = agent(it, tmp_path).run("Manual", modelName=it.model, environment="staging", alias="challenger")
    assert not done.failed, done.log
    assert it.deployed("staging") == version
    assert done.outputs["model_version"] == version
    assert (done.outputs["verdict"], done.outputs["exit_code"]) == ("live", "0")
    assert re.search(r"^### ✅ .* live", done.summary, re.MULTILINE)
    assert done.used["Docker@2"] == {"command": "login", "containerRegistry": "acr"}
    assert done.issues == []


def test_the_pipeline_that_init_writes_takes_promoter_from_another_repository(it: Rig, tmp_path: Path) -> None:
    wanted = Wanted(it.model, "registry.example.com", "https://git.example.com/r.git", ci=Ci.AZURE, action="acme/promoter@v1")
    pipeline = tmp_path / "azure-pipelines.yml"
    pipeline.write_bytes(pipelines(wanted)[pipeline.name])
    assert [error.message for error in SCHEMA.iter_errors(scalars(expanded({}, pipeline)))] == []
    version = it.register("challenger")
    done = replace(agent(it, tmp_path), pipeline=pipeline).run("Manual", alias="challenger")
    assert not done.failed, done.log
    assert it.deployed("staging") == version


def test_without_a_service_connection_the_group_has_the_registrys_login(it: Rig, tmp_path: Path) -> None:
    secrets = {"PROMOTER_REGISTRY_PASSWORD": "registry-secret"}
    steps = steps_template(command="promote")
    assert [step.get("task") for step in steps] == ["UsePythonVersion@0", None, None, None]
    assert {step.get("name"): step.get("condition") for step in steps[2:]} == {
        "promoter": "succeeded()",
        "reconcile": "canceled()",
    }
    assert all(step["env"][name] == f"$({name})" for step in steps[2:] for name in secrets)


def test_a_failure_becomes_an_issue_and_a_summary(it: Rig, tmp_path: Path) -> None:
    done = agent(it, tmp_path).run("Manual", modelName=it.model, environment="nowhere", dryRun=True)
    assert done.failed
    [(level, message)] = done.issues
    assert level == "error"
    assert "promoter.yaml has no environment 'nowhere'" in message
    assert "has no environment" in done.summary


def test_the_azure_schedule_compares_and_a_push_is_watched(it: Rig, tmp_path: Path) -> None:
    done = agent(it, tmp_path).run("Schedule")
    assert not done.failed, done.log
    kept = done.used["publish"]
    assert kept["artifact"] == "promoter-report"
    assert '<h2 id="figures-h">Figures</h2>' in Path(kept["publish"]).read_text()
    assert all(f"| {name} {it.model} |" in done.summary for name in ENVIRONMENTS)
    it.merge("88", "production")
    done = agent(it, tmp_path).run("IndividualCI")
    assert not done.failed, done.log
    assert re.search(r"^### ✅ .* version 88 in production: live", done.summary, re.MULTILINE)


# -- installation -----------------------------------------------------------------------------------------------------


def test_the_scripts_install_promoter_as_the_lock_has_it(tmp_path: Path) -> None:
    """From the package index that this machine is set up for; uv takes from its cache what it has."""
    folder = tmp_path / "promoter"
    (tmp_path / "promoter.yaml").write_text("models: {churn: {image: contoso.azurecr.io/churn}}\n")
    environ = {**dict(_MACHINE), "GITHUB_PATH": str(tmp_path / "path"), "GITHUB_APP_ID": "1"}
    done = subprocess.run(
        [str(ROOT / ".ci/install"), str(folder)], env=environ, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    if done.returncode and re.search(r"(?i)connect|resolve|retr|timed out|index", done.stderr):
        pytest.skip(f"no package index can be reached: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "path").read_text() == f"{folder}/bin\n"
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
    assert size <= LARGEST
    frozen = subprocess.run(  # fetched now
        [str(folder / "bin/uv"), "pip", "freeze", "--python", str(folder / "bin/python")],
        capture_output=True,
        text=True,
        check=True,
    )
    installed = {line for line in frozen.stdout.splitlines() if "==" in line}
    locked = set(re.findall(r"^([\w.-]+==[^ \\;]+)", (ROOT / "requirements.install.lock").read_text(), re.MULTILINE))
    assert installed
    assert installed <= locked
    names = {line.partition("==")[0] for line in installed}
    assert ({"azure-identity", "pyjwt"} <= names, {"mlflow-skinny", "uv"} & names) == (True, set())
    help = subprocess.run([str(folder / "bin/promoter"), "promote", "--help"], env=machine(), capture_output=True, check=False)
    assert help.returncode == 0
    # pip fetches the wheels of a new runtime.
    fetches = "from promoter.image.runtime.tools import pip; raise SystemExit(pip(['--version'], {}).status)"
    assert subprocess.run([str(folder / "bin/python"), "-c", fetches], env=machine(), check=False).returncode == 0


ENTRY = r"(?m)^{}==.*(\n    --hash=.*)+(\n    #.*)*\n"
BUILDERS = ("uv", "hatchling", "editables", "packaging", "pathspec", "pluggy", "tomlkit", "trove-classifiers")
"""uv, and what builds promoter itself."""


@pytest.mark.parametrize(
    ("package", "lack"),
    [
        ("typer", "another hash"),
        ("hatchling", "another hash"),
        ("uv", "no hash"),
        ("typer", "no line"),
        ("hatchling", "no line"),
    ],
)
def test_the_scripts_install_nothing_without_its_hash(tmp_path: Path, package: str, lack: str) -> None:
    """Neither what promoter needs, nor what builds and installs it."""
    source = tmp_path / "source"
    files = (
        ".ci/install",
        ".ci/lock.py",
        ".ci/uv",
        "requirements.install.lock",
        "pyproject.toml",
        "hatch_build.py",
        "README.md",
        "promoter.yaml",
        "azure-pipelines.yml",
    )
    for name in files:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    for name in ("promoter", "base", "overlays", "environments", ".github"):
        shutil.copytree(ROOT / name, source / name)
    lock = source / "requirements.install.lock"
    if package in BUILDERS:  # the others are installed before, and say nothing of this one
        lock.write_text("".join(one[0] for name in BUILDERS for one in re.finditer(ENTRY.format(name), lock.read_text())))
    entry = re.compile(ENTRY.format(package))
    [line] = entry.finditer(lock.read_text())
    instead = {
        "another hash": re.sub(r"(?<=sha256:)\w{64}", "0" * 64, line[0]),
        "no hash": line[0].partition(" \\")[0] + "\n",
        "no line": "",
    }
    lock.write_text(entry.sub(lambda _: instead[lack], lock.read_text()))
    command = [str(source / ".ci/install"), str(tmp_path / "promoter")]
    done = subprocess.run(command, env=dict(_MACHINE), capture_output=True, text=True, check=False)
    if re.search(r"(?i)connect|retr|timed out", done.stderr):
        pytest.skip(f"no package index can be reached: {done.stderr[-300:]}")
    assert done.returncode != 0
    assert package in done.stderr
    assert not (tmp_path / "promoter/bin/promoter").exists()


@pytest.mark.parametrize(
    "extras",
    [(), ("azure",), ("github-app",), ("mlflow",), ("runtime",), ("sign",), ("report",), ("azure", "mlflow")],
    ids="+".join,
)
def test_a_part_of_the_lock_has_what_its_packages_need_and_nothing_else(extras: tuple[str, ...]) -> None:
    """By the metadata of the packages that are installed here, which the lock was made from."""
    lock = (ROOT / "requirements.install.lock").read_text()
    command = [sys.executable, "-I", str(ROOT / ".ci/lock.py"), str(ROOT / "requirements.install.lock"), *extras]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = set(re.findall(r"(?m)^([\w.-]+)==", printed))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    direct = [*project["project"]["dependencies"], *project["dependency-groups"]["build"]]
    direct += [one for extra in extras for one in project["project"]["optional-dependencies"][extra]]
    needed, waiting = set[str](), [Requirement(one) for one in direct]
    while waiting:
        one = waiting.pop()
        name = canonicalize_name(one.name)
        if f"{name}/{one.extras}" in needed or not re.search(rf"(?m)^{name}==", lock):
            continue
        needed |= {f"{name}/{one.extras}", name}
        for more in map(Requirement, requires(name) or ()):
            if more.marker is None or any(more.marker.evaluate({"extra": extra}) for extra in (*one.extras, "")):
                waiting.append(more)
    assert needed & set(re.findall(r"(?m)^([\w.-]+)==", lock)) <= found
    assert all(line in lock for line in printed.splitlines())
    assert ("mlflow-skinny" in found, "uv" in found, "pyjwt" in found) == (
        "mlflow" in extras,
        "runtime" in extras,
        bool({"azure", "github-app"} & {*extras}),
    )


def test_an_extra_that_is_unknown_is_named() -> None:
    command = [sys.executable, "-I", str(ROOT / ".ci/lock.py"), str(ROOT / "requirements.install.lock"), "azrue"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "promoter has no extra 'azrue'" in done.stderr


def test_what_pipelines_install_is_what_is_tested() -> None:
    names = ("requirements.lock", "requirements.install.lock")
    every, installed = (set(re.findall(r"(?m)^([\w.-]+)==(\S+)", (ROOT / name).read_text())) for name in names)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    wanted = [
        *project["project"]["dependencies"],
        *extras["azure"],
        *extras["github-app"],
        *extras["mlflow"],
        *extras["report"],
        *extras["runtime"],
        *extras["sign"],
        *project["build-system"]["requires"],
    ]
    assert {canonicalize_name(Requirement(one).name) for one in wanted} <= {name for name, _ in installed}
    assert installed < every


_MACHINE = tuple(os.environ.items())
LARGEST = 60_000_000  # bytes that a pipeline has to install
"""Before a test gets an environment of its own: where packages come from is the machine's affair."""
