"""Declared gates against a real MLflow server and a Git remote: what they refuse before an image is built, and show."""

from __future__ import annotations

import json
import sys
import time

import pytest

from promoter.commands.gates import asked
from promoter.errors import GatesError
from promoter.model_registry import ModelReference
from promoter.promotion.steps import Steps
from tests.support.faults import in_front_of
from tests.support.write_path import FILES, WritePath, path

__all__ = ["path"]


def gates(path: WritePath, text: str) -> None:
    path.config.write_text(path.config.read_text() + f"gates: {text}\n")


def register(
    path: WritePath,
    accuracy: float = 0.9,
    of_model: dict[str, float] | None = None,
    files: dict[str, bytes] | None = None,
    **tags: str,
) -> str:
    """A version with the metric `val/accuracy` of its run, others of its logged model, and tags."""
    run = path.server.create_run({"val/accuracy": accuracy})
    content = {**FILES, "weights.bin": f"{accuracy}".encode(), **(files or {})}
    logged = path.server.log_model(content, run_id=run, metrics=of_model)
    return path.server.register(path.model, f"models:/{logged}", run_id=run, alias="challenger", **tags)


def test_a_version_without_approval_or_with_a_worse_metric_is_refused_before_an_image_is_built(path: WritePath) -> None:
    gates(path, "{tags: {status: approved}, metrics: {val/accuracy: ['>= 0.5', '>= live - 0.01'], latency ms: '< 20'}}")
    good = register(path, 0.9, {"latency ms": 11.0}, status="approved")
    path.promote(f"{path.model}:{good}")
    bad = register(path, 0.7, status="pending")
    tip, images = path.tip, sorted(path.images.rglob("*"))
    with pytest.raises(GatesError) as caught:
        path.promote(f"{path.model}:{bad}")
    assert caught.value.exit_code == 20
    assert caught.value.message == (
        f"{path.model}:{bad} is refused in 'staging': tags status: is 'pending', and must be 'approved'; "
        f"metrics val/accuracy: is 0.7, and must be >= live - 0.01 = 0.89 (version {good} has 0.9); "
        f"metrics latency ms: MLflow has no such metric of {path.model}:{bad}"
    )
    assert (path.tip, sorted(path.images.rglob("*"))) == (tip, images)
    better = register(path, 0.95, {"latency ms": 12.0}, status="approved")
    assert path.promote(f"{path.model}:{better}").commit == path.tip


def test_the_command_shows_every_gate_and_ends_with_20_when_one_refuses(path: WritePath) -> None:
    gates(path, "{tags: {status: approved}, metrics: {val/accuracy: '>= 0.8'}}")
    register(path, 0.7, status="approved")
    done = path.run("gates", "staging")
    assert done.returncode == 20, done.stderr
    assert done.stdout == (
        f"{path.model} version 1 in staging: is refused\n"
        "passed   quarantine            not quarantined in staging\n"
        "passed   freeze                staging is not frozen\n"
        "passed   tags status           is 'approved'\n"
        "refused  metrics val/accuracy  is 0.7, and must be >= 0.8\n"
        "warned   golden                nothing judges the model itself: it has no golden_examples.json\n"
    )
    register(path, 0.9, status="approved")
    done = path.run("gates", "staging", f"{path.model}:2", "-o", "json")
    assert done.returncode == 0, done.stderr
    asked = json.loads(done.stdout)
    assert (asked["allowed"], asked["version"], asked["commit"]) == (True, "2", path.tip)
    assert [(one["gate"], one["about"], one["result"]) for one in asked["gates"]] == [
        ("quarantine", "", "passed"),
        ("freeze", "", "passed"),
        ("tags", "status", "passed"),
        ("metrics", "val/accuracy", "passed"),
        ("golden", "", "warned"),
    ]


def test_a_refused_plan_shows_every_gate_too(path: WritePath) -> None:
    gates(path, "{tags: {status: approved}, metrics: {val/accuracy: '>= 0.8'}}")
    register(path, 0.9)
    page = path.folder / "page.md"
    done = path.run(
        "plan", f"{path.model}:1", "--to", "staging", "-o", "json", GITHUB_STEP_SUMMARY=str(page), GITHUB_ACTIONS="true"
    )
    assert done.returncode == 20
    assert "refused  tags status" in done.stderr
    assert "passed   metrics val/accuracy  is 0.9, >= 0.8" in done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert [one["result"] for one in last["error"]["gates"]] == ["passed", "passed", "refused", "passed", "warned"]
    assert "| ❌ refused | `tags status` |" in page.read_text()


def test_each_fact_is_read_once_however_many_environments_there_are(path: WritePath) -> None:
    """Counted in front of the MLflow server: the same requests with 1,000 environments as with two.

    None of them twice, but one GET of MLmodel for its ETag and one for its content.
    """
    gates(
        path,
        "{tags: {status: approved}, metrics: {val/accuracy: '>= live - 1'}, signature: compatible, aliases: [challenger], "
        "age: {at-most: 30d}, size: {at-most: 1 GiB}, flavors: [python_function], pickle: refuse, requirements: {refuse: [torch]}}",
    )
    live = register(path, 0.9, status="approved")
    path.promote(f"{path.model}:{live}")
    register(path, 0.95, status="approved")
    few_of_them = _asked_of_mlflow(path)
    more = "".join(
        f"- name: region-{number}\n  model: {path.model}\n  application: {{name: region-{number}, project: default}}\n"
        for number in range(998)
    )
    path.edit(path.config, "- name: production\n", f"{more}- name: production\n")
    assert len(path.clients().config.environments) == 1_000
    many = _asked_of_mlflow(path)
    assert sorted(many) == sorted(few_of_them)
    assert len(many) > 2
    again = [one for one in many if many.count(one) > 1]
    assert (len(again), {one[1].rpartition("/")[2] for one in again}) == (4, {"MLmodel"})


def _asked_of_mlflow(path: WritePath) -> list[tuple[str, str, str, bytes]]:
    """What `promoter gates staging` asks MLflow: method, path, query and body of each request."""
    with in_front_of(path.server.url, time.monotonic) as proxy:
        clients = path.clients(MLFLOW_TRACKING_URI=proxy.url)
        environment = clients.config.environment("staging", path.model)
        found = asked(clients, environment, ModelReference(path.model))
        assert found.allowed, found.gates
        return [(one.method, one.path, str(sorted(one.query.items())), one.body) for one in proxy.asked]


def test_gates_are_asked_again_on_every_tip_that_is_built_on(path: WritePath) -> None:
    """The tag is taken back, and the branch moves on, between plan and commit: in this overlay and elsewhere."""
    gates(path, "{tags: {status: approved}}")
    first, second = register(path, status="approved"), register(path, status="approved")
    path.promote(f"{path.model}:{first}")
    steps = Steps()
    made = path.plan(f"{path.model}:{second}", steps=steps)
    path.server.api("POST", "model-versions/set-tag", name=path.model, version=second, key="status", value="revoked")
    path.commit({"README.md": b"Somebody else's\n"})
    tip = path.tip
    with pytest.raises(GatesError, match="tags status: is 'revoked', and must be 'approved'"):
        path.apply(made, steps)
    assert path.tip == tip


def test_what_is_live_is_compared_again_where_another_release_came_in_between(path: WritePath) -> None:
    gates(path, "{metrics: {val/accuracy: '>= live'}}")
    low, middle, high = (register(path, value) for value in (0.5, 0.7, 0.9))
    path.promote(f"{path.model}:{low}")
    steps = Steps()
    made = path.plan(f"{path.model}:{middle}", steps=steps)
    path.promote(f"{path.model}:{high}")
    with pytest.raises(GatesError, match=f"is 0.7, and must be >= live = 0.9 \\(version {high} has 0.9\\)"):
        path.apply(made, steps)


def described(*columns: str, flavors: str = "python_function: {loader_module: model}") -> dict[str, bytes]:
    """An MLmodel with these columns, all doubles."""
    inputs = json.dumps([{"type": "double", "name": name, "required": True} for name in columns])
    text = f"flavors: {{{flavors}}}\nsignature:\n  inputs: '{inputs}'\n  outputs: '[{{\"type\": \"long\"}}]'\n"
    return {"MLmodel": text.encode()}


def test_a_version_that_drops_a_column_or_unpickles_is_refused_by_name(path: WritePath) -> None:
    gates(path, "{signature: compatible, pickle: refuse, flavors: [sklearn], requirements: {refuse: [torch]}}")
    sklearn = "sklearn: {pickled_model: model.skops, serialization_format: skops}"
    path.promote(f"{path.model}:{register(path, files=described('amount', 'country', flavors=sklearn))}")
    pickled = {**described("amount"), "model.pkl": b"x", "requirements.txt": b"torch==2.9.0\n"}
    tip, images = path.tip, sorted(path.images.rglob("*"))
    with pytest.raises(GatesError) as caught:
        path.promote(f"{path.model}:{register(path, files=pickled)}")
    assert caught.value.message == (
        f"{path.model}:2 is refused in 'staging': "
        "flavors: has python_function, and must have one of: sklearn; "
        "pickle: loading it unpickles model.pkl; "
        "requirements torch: needs torch==2.9.0; "
        "signature input country: is removed, compared with version 1, which is live"
    )
    assert (path.tip, sorted(path.images.rglob("*"))) == (tip, images)
    good = register(path, files=described("amount", "country", flavors=sklearn) | {"model.skops": b"better"})
    assert path.promote(f"{path.model}:{good}").commit == path.tip


def test_a_rerun_of_what_is_deployed_already_is_not_refused(path: WritePath) -> None:
    gates(path, "{tags: {status: approved}}")
    version = register(path, status="approved")
    path.promote(f"{path.model}:{version}")
    path.server.api("POST", "model-versions/set-tag", name=path.model, version=version, key="status", value="revoked")
    tip = path.tip
    assert path.promote(f"{path.model}:{version}").commit is None
    assert path.tip == tip
    assert path.run("gates", "staging").returncode == 20


CHECK = """\
import json, os, sys, time
facts = json.load(sys.stdin)
if facts["version"]["metrics"]["val/accuracy"] < 0.8:
    print("the last line is the reason, this is not")
    known = sorted(set(os.environ) & {"SECRET_TOKEN", "WANTED"})
    print(f"{facts['model']} {facts['version']['version']} is too bad for {facts['environment']}, knowing {known}")
    sys.exit(3)
if facts["live"] is None:
    time.sleep(60)
print("good enough,", facts["live"]["version"], facts["deployed"]["version"])
"""


def test_a_check_of_ones_own_decides_by_its_exit_code(path: WritePath, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SECRET_TOKEN": "x", "WANTED": "y", "PROMOTER_PASS_ENV": "WANTED"}.items():
        monkeypatch.setenv(name, value)
    first = register(path)
    path.promote(f"{path.model}:{first}")
    (path.folder / "checks").mkdir()
    (path.folder / "checks/approve.py").write_text(CHECK)
    gates(path, f"{{command: [{sys.executable}, checks/approve.py]}}")
    good, bad = register(path, 0.95), register(path, 0.5)
    made = path.plan(f"{path.model}:{good}")
    assert [one.detail for one in made.gates if one.gate == "command"] == [f"good enough, {first} {first}"]
    with pytest.raises(GatesError) as caught:
        path.plan(f"{path.model}:{bad}")
    assert f": exit code 3: {path.model} {bad} is too bad for staging, knowing ['WANTED']" in caught.value.message
    assert "this is not" not in caught.value.message


def test_a_check_that_hangs_or_is_not_there_refuses(path: WritePath) -> None:
    (path.folder / "approve.py").write_text(CHECK)
    gates(path, f"{{command: {{run: [{sys.executable}, ./approve.py], timeout: 2}}}}")
    register(path)
    with pytest.raises(GatesError, match="did not end within 2 s"):
        path.plan(f"{path.model}:1")
    path.edit("promoter.yaml", sys.executable, "./no-such-program")
    with pytest.raises(GatesError, match="no-such-program: can't be started: No such file or directory"):
        path.plan(f"{path.model}:1")
