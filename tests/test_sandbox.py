"""The sandbox held against recordings of a live Argo CD: the same fields, the same order of states."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests
from ruamel.yaml import YAML

from promoter.demo.sandbox import Application, Behaviour, Measurement, PodStatus, Sandbox, ScriptedRuntime
from promoter.demo.sandbox.render import render
from tests.support.sandbox import BASE, NAME, NAMESPACE, RECORDINGS, ROLLOUT, Client, Clock, Remote, client, overlay, recording

FAILS = Behaviour(measurement=Measurement("Failed", "0.4"))
MISSING = Behaviour(ready_after=None, waiting=PodStatus("ErrImagePull", message="rpc error: code = NotFound desc = not found"))


# -- the scenarios, run on the sandbox as they were run on the cluster --------------------------------------------------


def good_canary(it: Client) -> None:
    it.promote(2)
    it.wait(18)


def analysis_fails_abort_revert(it: Client) -> None:
    it.promote(3)
    it.wait(15)
    it.promote(1)
    it.wait(6)


def manual_abort(it: Client) -> None:
    it.promote(2)
    it.wait(5)
    it.act("abort")
    it.wait(3)
    it.promote(1)
    it.wait(6)


def superseded_mid_canary(it: Client) -> None:
    it.promote(6)
    it.wait(4)
    it.promote(7)
    it.wait(20)


def image_missing(it: Client) -> None:
    it.promote(99)
    it.wait(46)
    it.promote(1)
    it.wait(6)


def render_error(it: Client) -> None:
    broken = overlay(2)
    broken["overlays/staging/kustomization.yaml"] = broken["overlays/staging/kustomization.yaml"].replace(
        "- release.yaml", "- release.yaml\n- missing.yaml"
    )
    it.commit(broken)
    it.wait(5)
    it.promote(2)
    it.wait(10)
    answer = it.request("POST", f"/api/v1/applications/{NAME}/sync?project=default", json={"name": NAME})
    assert answer.status_code == 200
    it.wait(20)


def indefinite_pause_then_resume(it: Client) -> None:
    timed = it.remote.read("base/rollout.yaml")
    head, _, tail = timed.rpartition("pause: {duration: 5s}")
    it.commit({"base/rollout.yaml": f"{head}pause: {{}}{tail}"})
    it.wait(3)
    it.promote(2)
    it.wait(18)
    it.act("resume")
    it.wait(4)
    it.commit({"base/rollout.yaml": timed})
    it.wait(3)


def unrelated_commits(it: Client) -> None:
    it.promote(8)
    it.wait(1.4)
    for number in range(8):
        it.commit({"other/noise.txt": f"{number}\n"})
        it.wait(2.2)


SCENARIOS: dict[str, tuple[Callable[[Client], None], dict[str, Behaviour]]] = {
    "good-canary": (good_canary, {}),
    "analysis-fails-abort-revert": (analysis_fails_abort_revert, {"3": FAILS}),
    "manual-abort": (manual_abort, {}),
    "superseded-mid-canary": (superseded_mid_canary, {}),
    "image-missing": (image_missing, {"99": MISSING}),
    "render-error-then-auto-sync-stuck": (render_error, {}),
    "indefinite-pause-then-resume": (indefinite_pause_then_resume, {}),
    "unrelated-commits-during-canary": (unrelated_commits, {}),
}


# The sandbox knows one canary only.
_OTHERS = ("blue-green", "deployment", "errors", "several-workloads")
RECORDED = sorted(
    path.name.removesuffix(".jsonl.gz") for path in RECORDINGS.glob("*.jsonl.gz") if not path.name.startswith(_OTHERS)
)


@pytest.fixture(scope="module", params=SCENARIOS)
def replay(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[dict[str, Any]]]:
    """A scenario's name, and what was seen of it in the sandbox."""
    play, behaviours = SCENARIOS[request.param]
    with client(tmp_path_factory.mktemp("sandbox"), behaviours) as it:
        it.look()
        play(it)
    return request.param, it.seen


# -- the same order of states ---------------------------------------------------------------------------------------------


def collapse(states: Iterable[Any]) -> list[Any]:
    """Without repeats of the one before."""
    shown: list[Any] = []
    for state in states:
        if not shown or shown[-1] != state:
            shown.append(state)
    return shown


def numbered(names: Sequence[str]) -> Callable[[str], str]:
    """Names by the order they came up in: a commit or a hash of one run compares with that of another."""
    order = list(dict.fromkeys(names))
    return lambda name: f"#{order.index(name)}" if name in order else name


def bodies(lines: Iterable[dict[str, Any]], *calls: str) -> list[dict[str, Any]]:
    return [line["body"] for line in lines if line.get("call") in calls and line["status"] == 200]


def application_states(lines: list[dict[str, Any]]) -> list[Any]:
    """Sync, health, operation and conditions of the Application, in order."""
    seen = bodies(lines, "application", "refresh")
    commits = numbered([item["status"]["sync"]["revision"] for item in seen])
    states = []
    for item in seen:
        status, operation = item["status"], item["status"].get("operationState") or {}
        states.append(
            (
                status["sync"]["status"],
                commits(status["sync"]["revision"]),
                status["health"]["status"],
                operation.get("phase"),
                "operation" in item,
                [condition["type"] for condition in status.get("conditions", [])],
            )
        )
    return collapse(states)


def rollout_states(lines: list[dict[str, Any]]) -> list[Any]:
    """What the verdict looks at in the Rollout, in order."""
    seen = [item["manifest"] for item in bodies(lines, "rollout")]
    hashes = numbered([item["status"]["currentPodHash"] for item in seen])
    first = seen[0]["metadata"]["generation"]
    states = []
    for item in seen:
        status = item["status"]
        run = (status.get("canary") or {}).get("currentStepAnalysisRunStatus") or {}
        states.append(
            (
                item["metadata"]["generation"] - first,
                int(status["observedGeneration"]) - first,
                status["phase"],
                re.sub(r"revision \d+|-[0-9a-z]{9,10}\"", "", status.get("message", "")),
                status["currentStepIndex"],
                status.get("abort", False),
                hashes(status["currentPodHash"]),
                hashes(status["stableRS"]),
                [pause["reason"] for pause in status.get("pauseConditions", [])],
                run.get("status"),
                None if status["phase"] == "Progressing" else counts(status),
            )
        )
    return collapse(states)


def passing(state: tuple[Any, ...]) -> bool:
    """The blink in which the new ReplicaSet is already stable and the last old pod not yet removed: one poll of all hit it."""
    return bool(state[3] == "old replicas are pending termination" and state[6] == state[7])


def counts(status: dict[str, Any]) -> tuple[int, ...]:
    return tuple(status.get(key, 0) for key in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"))


def assert_in_order(recorded: list[Any], shown: list[Any]) -> None:
    """Every recorded state comes up, in the recorded order; a poll every half second may have missed a state between."""
    rest: Iterator[Any] = iter(shown)
    for state in recorded:
        assert any(state == other for other in rest), f"{state} is not where it should be in\n" + "\n".join(map(str, shown))
    assert shown[0] == recorded[0]
    assert shown[-1] == recorded[-1]


def test_the_rollout_goes_through_the_recorded_states_in_order(replay: tuple[str, list[dict[str, Any]]]) -> None:
    scenario, seen = replay
    recorded = [state for state in rollout_states(recording(scenario)) if not passing(state)]
    assert_in_order(recorded, rollout_states(seen))


def test_the_application_goes_through_the_recorded_states_in_order(replay: tuple[str, list[dict[str, Any]]]) -> None:
    scenario, seen = replay
    recorded, shown = application_states(recording(scenario)), application_states(seen)
    if scenario == "unrelated-commits-during-canary":  # which of them a poll falls between is up to the moment
        recorded, shown = (collapse((state[0], *state[2:]) for state in states) for states in (recorded, shown))
    # An operation that is asked for and not yet begun is seen for some milliseconds, if at all.
    assert_in_order([state for state in recorded if None not in state], shown)


def kinds(lines: list[dict[str, Any]]) -> set[Any]:
    """The states of a run without its numbers and names."""
    found: set[Any] = set()
    for generation, observed, phase, message, step, abort, current, stable, pauses, run, _ in rollout_states(lines):
        if generation == observed:  # else everything is what it was before: which state that is, is up to the moment
            found.add((phase, message, step, abort, current == stable, *pauses, run))
    for sync, _, health, phase, running, conditions in application_states(lines):
        ended_and_not_compared = (sync, phase, running) == ("OutOfSync", "Succeeded", False)
        found.add((sync, "that of before" if ended_and_not_compared else health, phase, running, *conditions))
    return found


@functools.cache
def recorded_kinds() -> set[Any]:
    return {kind for scenario in RECORDED for kind in kinds(recording(scenario))}


def test_nothing_is_shown_that_was_never_recorded(replay: tuple[str, list[dict[str, Any]]]) -> None:
    """A state between two recorded ones is one that some recording has."""
    _, seen = replay
    assert kinds(seen) - recorded_kinds() == set()


# -- the same fields --------------------------------------------------------------------------------------------------

# What is in these is the user's own, or the name of a thing.
OPEN = ("metadata.labels", "metadata.annotations", "manifest.spec", "networkingInfo.labels")
KINDS = ("application", "rollout", "resource-tree", "analysis-run")


def fields(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every path in a JSON value with the type it has there."""
    if path.endswith(OPEN):
        return
    if isinstance(value, dict):
        for key, item in value.items():
            yield from fields(item, f"{path}.{key}")
    elif isinstance(value, list):
        yield path, "list"
        for item in value:
            yield from fields(item, f"{path}[]")
    else:
        yield path, type(value).__name__


@functools.cache
def recorded_fields(call: str) -> set[tuple[str, str]]:
    return {field for scenario in RECORDED for body in bodies(recording(scenario), call) for field in fields(body)}


@pytest.mark.parametrize("call", KINDS)
def test_every_field_is_one_that_argo_cd_answers_with_the_same_type(
    replay: tuple[str, list[dict[str, Any]]], call: str
) -> None:
    _, seen = replay
    shown = {field for body in bodies(seen, call) for field in fields(body)}
    assert shown - recorded_fields(call) == set()
    assert shown or call == "analysis-run"


# -- what the recordings do not have as a sequence ------------------------------------------------------------------------


@pytest.fixture
def it(tmp_path: Path) -> Iterator[Client]:
    with client(tmp_path, {"3": FAILS, "99": MISSING}) as it:
        yield it


def test_only_the_observed_generation_distinguishes_a_new_spec_from_a_stale_status(it: Client) -> None:
    it.promote(2)
    while it.rollout()["metadata"]["generation"] == 1:
        it.wait(0.1, step=0.1)
    stale = it.rollout()
    assert "v2-" in stale["spec"]["template"]["spec"]["containers"][0]["image"]
    assert (stale["status"]["phase"], stale["status"]["observedGeneration"]) == ("Healthy", "1")
    assert stale["status"]["stableRS"] == stale["status"]["currentPodHash"]


def test_counts_follow_the_recorded_canary(it: Client) -> None:
    it.promote(2)
    it.wait(18)
    recorded = collapse(counts(item["manifest"]["status"]) for item in bodies(recording("good-canary"), "rollout"))
    shown = collapse(counts(item["manifest"]["status"]) for item in bodies(it.seen, "rollout"))
    assert shown == recorded


def test_a_revert_starts_no_pod_that_the_stable_set_has_and_takes_no_step(it: Client) -> None:
    it.promote(3)
    it.wait(15)
    assert it.rollout()["status"]["abort"] is True
    before = pods(it)
    it.promote(1)
    it.wait(2)
    status = it.rollout()["status"]
    assert (status["phase"], status["currentStepIndex"], status.get("abort")) == ("Healthy", 5, None)
    assert pods(it) == before


def test_the_abort_reports_what_argo_rollouts_reports(it: Client) -> None:
    it.promote(3)
    it.wait(15)
    reason = (
        'Step-based analysis phase error/failed: Metric "success-rate" assessed Failed due to failed (2) > failureLimit (1)'
    )
    status = it.rollout()["status"]
    assert status["message"] == f"RolloutAborted: Rollout aborted update to revision 2: {reason}"
    assert status["conditions"][-1]["reason"] == "RolloutAborted"
    run = next(node for node in it.get("/resource-tree")["nodes"] if node["kind"] == "AnalysisRun")
    manifest = it.resource("AnalysisRun", run["name"])
    assert [item["value"] for item in manifest["status"]["metricResults"][0]["measurements"]] == ["0.4", "0.4"]
    assert manifest["metadata"]["labels"]["rollouts-pod-template-hash"] == status["currentPodHash"]


def test_the_stable_replica_set_shows_the_release_to_restore(it: Client) -> None:
    it.promote(3)
    it.wait(15)
    manifest = it.resource("ReplicaSet", f"{ROLLOUT}-{it.rollout()['status']['stableRS']}")
    container = manifest["spec"]["template"]["spec"]["containers"][0]
    assert container["image"].startswith("127.0.0.1:5000/models/fraud-detector:v1-20261101T090000Z@sha256:0101")
    assert {"name": "MODEL_VERSION", "value": "1"} in container["env"]


def test_a_pod_reports_at_once_why_it_waits(it: Client) -> None:
    it.promote(99)
    it.wait(2)
    nodes = [
        node for node in it.get("/resource-tree")["nodes"] if node["kind"] == "Pod" and node["health"]["status"] == "Degraded"
    ]
    assert [node["info"][0] for node in nodes] == [{"name": "Status Reason", "value": "ErrImagePull"}]
    assert "not found" in nodes[0]["health"]["message"]


def test_a_first_release_that_fails_was_stable_by_hash_from_the_start(tmp_path: Path) -> None:
    crash = Behaviour(ready_after=None, waiting=PodStatus("CrashLoopBackOff", message="exit code 1", restarts=2))
    with client(tmp_path, {"1": crash}) as it:
        it.wait(45, step=1)
        status = it.rollout()["status"]
        assert status["stableRS"] == status["currentPodHash"]
        assert "abort" not in status
        assert re.fullmatch(r'ProgressDeadlineExceeded: ReplicaSet ".*" has timed out progressing\.', status["message"])
        assert it.get()["status"]["health"]["status"] == "Degraded"


def test_an_invalid_spec_leaves_the_pods_alone(it: Client) -> None:
    base = it.remote.read("base/rollout.yaml")
    it.commit({"base/rollout.yaml": base.replace("canaryService: fraud-detector-canary", "canaryService: nowhere")})
    before = pods(it)
    it.wait(3)
    recorded = next(
        item["manifest"]["status"]["message"]
        for item in bodies(recording("rollout-invalid-spec"), "rollout")
        if item["manifest"]["status"].get("message", "").startswith("InvalidSpec")
    )
    assert (it.rollout()["status"]["phase"], it.rollout()["status"]["message"]) == ("Degraded", recorded)
    assert pods(it) == before
    it.commit({"base/rollout.yaml": base})
    it.wait(3)
    assert it.rollout()["status"]["phase"] == "Healthy"


def test_a_rollback_within_the_window_takes_no_step(it: Client) -> None:
    base = it.remote.read("base/rollout.yaml")
    it.commit({"base/rollout.yaml": base.replace("  replicas: 3\n", "  replicas: 3\n  rollbackWindow: {revisions: 3}\n")})
    it.promote(2)
    it.wait(20)
    it.promote(1)
    it.wait(5)
    status = it.rollout()["status"]
    assert (status["phase"], status["stableRS"]) == ("Healthy", status["currentPodHash"])
    assert "v1-" in it.get()["status"]["operationState"]["syncResult"]["resources"][0]["images"][0]


def test_sync_revision_follows_every_commit_and_the_operation_only_what_renders_differently(it: Client) -> None:
    ours = it.promote(2)
    it.wait(3)
    noise = it.commit({"other/noise.txt": "1"})
    status = it.get()["status"]
    assert (status["sync"]["status"], status["sync"]["revision"]) == ("Synced", noise)
    assert status["operationState"]["syncResult"]["revision"] == ours
    assert [entry["revision"] for entry in status["history"]][1:] == [ours]


def test_the_interval_finds_a_commit_that_nobody_refreshed_for(tmp_path: Path) -> None:
    with client(tmp_path, reconcile_every=60) as it:
        sha = it.remote.commit(overlay(2))
        it.wait(2)
        assert it.get()["status"]["sync"]["revision"] != sha
        it.wait(60, step=1)
        assert it.get()["status"]["sync"]["revision"] == sha


def pods(it: Client) -> set[str]:
    nodes = it.get("/resource-tree")["nodes"]
    return {node["name"] for node in nodes if node["kind"] == "Pod" and node["info"][0]["value"] == "Running"}


# -- rendering ------------------------------------------------------------------------------------------------------------


EXTRA = """\
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
patches:
- target: {kind: Rollout, name: fraud-.*}
  patch: |-
    - {op: move, from: /spec/strategy/canary/steps/0, path: /spec/strategy/canary/steps/1}
    - {op: add, path: /spec/strategy/canary/steps/-, value: {setWeight: 90}}
    - {op: add, path: /metadata/annotations, value: {a~b/c: x}}
    - {op: replace, path: /metadata/annotations/a~0b~1c, value: z}
    - {op: remove, path: /spec/progressDeadlineAbort}
- target: {kind: Service, labelSelector: nobody=has}
  patch: '[{"op": "remove", "path": "/spec"}]'
"""


def test_an_overlay_renders_as_kustomize_builds_it(tmp_path: Path) -> None:
    command = ["kustomize", "build"] if shutil.which("kustomize") else ["kubectl", "kustomize"]
    if not shutil.which(command[0]):
        pytest.skip("neither kustomize nor kubectl is on PATH")
    files = {**BASE, **overlay(2)}
    more = "namespace: fraud-staging\nlabels:\n- pairs: {team: risk}\ncomponents: [../../extra]\n"
    files["overlays/staging/kustomization.yaml"] += more
    files["extra/kustomization.yaml"] = EXTRA
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    built = subprocess.run([*command, str(tmp_path / "overlays/staging")], check=True, capture_output=True, text=True).stdout
    rendered = render({name: content.encode() for name, content in files.items()}, "overlays/staging", "elsewhere")

    def by_name(manifests: Iterable[Any]) -> dict[Any, Any]:
        return {(item["kind"], item["metadata"]["name"]): item for item in manifests}

    assert by_name(rendered) == by_name(YAML(typ="safe", pure=True).load_all(built))


def patches(operation: str) -> str:
    return f"patches:\n- target: {{kind: Rollout}}\n  patch: |-\n    - {operation}\nresources:"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("- release.yaml\n", "- nothing.yaml\n", "lstat overlays/staging/nothing.yaml: no such file or directory"),
        ("resources:", "nameSuffix: -x\nresources:", "the sandbox does not render the field nameSuffix"),
        ("resources:", "patches: [{path: x.yaml}]\nresources:", "the sandbox renders patches of the JSON 6902 form"),
        ("resources:", patches("{op: replace, path: /spec/nothing, value: 1}"), 'doc is missing path: "/spec/nothing"'),
        ("resources:", patches("{op: remove, path: /spec/a/b}"), 'doc is missing path: "/spec/a/b"'),
        ("resources:", patches("{op: double, from: /kind, path: /spec/kind}"), "not a JSON patch: Unknown operation 'double'"),
        ("newTag: v2-20261101T090000Z", "newTag: 1.10", "cannot unmarshal number into Go struct field Image.images.newTag"),
        ("[name=MODEL_VERSION]", "[name=NOTHING]", "in replacement target"),
        ("name: release,", "name: other,", "expected 1 match for source ConfigMap.other, found 0"),
        ("resources:", "resources: [", "kustomization.yaml"),
        ("source: {", "origin: {", "invalid Kustomization in overlays/staging: KeyError: 'source'"),
    ],
)
def test_an_overlay_that_does_not_build_is_a_comparison_error(it: Client, old: str, new: str, said: str) -> None:
    files = overlay(2)
    files["overlays/staging/kustomization.yaml"] = files["overlays/staging/kustomization.yaml"].replace(old, new)
    it.commit(files)
    status = it.get()["status"]
    assert (status["sync"]["status"], status["sync"]["revision"], status["health"]["status"]) == ("Unknown", "main", "Healthy")
    assert status["conditions"][0]["type"] == "ComparisonError"
    assert said in status["conditions"][0]["message"]


# -- the API --------------------------------------------------------------------------------------------------------------

REFUSED = [line for line in recording("errors") if line.get("status", 200) >= 400 and line.get("method")]
NOT_ANSWERED = {"metadata-of-unknown-revision", "unknown-resource-version", "pod-logs-no-permission"}


@pytest.mark.parametrize("line", [line for line in REFUSED if line["call"] not in NOT_ANSWERED], ids=lambda line: line["call"])
def test_refusals_are_those_of_argo_cd(it: Client, line: dict[str, Any]) -> None:
    token = {"promoter": it.sandbox.token, "nobody": "a.b.c", "garbage": "garbage", "": ""}[line["as_"]]
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    content: Any = line["request"]
    if line["call"] not in ("sync-without-content-type", "sync-form"):
        headers["Content-Type"] = "application/json"
    data = content if isinstance(content, str) else json.dumps(content) if content else None
    answer = requests.request(line["method"], it.sandbox.url + line["path"], headers=headers, data=data, timeout=10)
    assert (answer.status_code, answer.headers["Content-Type"]) == (line["status"], line["type"])
    assert (answer.json() if line["type"] == "application/json" else {"_raw": answer.text}) == line["body"]


@pytest.mark.parametrize("call", ["can-i-get", "can-i-sync-nobody", "userinfo"])
def test_questions_about_oneself_are_answered_as_recorded(it: Client, call: str) -> None:
    line = next(line for line in recording("errors") if line.get("call") == call)
    answer = it.request("GET", line["path"], token="a.b.c" if line["as_"] == "nobody" else None)
    assert answer.json() == line["body"]


def test_version_needs_no_token(it: Client) -> None:
    assert requests.get(it.sandbox.url + "/api/version", timeout=10).json() == {"Version": "v3.6.1+sandbox"}


def test_an_operation_that_runs_is_ended_on_request(it: Client) -> None:
    it.promote(2)
    path = f"/api/v1/applications/{NAME}/operation?project=default"
    assert it.request("DELETE", path).status_code == 415
    headers = {"Content-Type": "application/json"}
    assert it.request("DELETE", path, headers=headers).json() == {}
    state = it.get()["status"]["operationState"]
    assert (state["phase"], state["message"]) == ("Failed", "Operation terminated")
    it.wait(3)
    assert it.get()["status"]["sync"]["status"] == "OutOfSync"


def test_a_second_sync_is_refused_and_one_to_a_revision_too(it: Client) -> None:
    sha = it.promote(2)
    path = f"/api/v1/applications/{NAME}/sync?project=default"
    busy = it.request("POST", path, json={})
    assert (busy.status_code, busy.json()["message"]) == (400, "another operation is already in progress")
    it.wait(3)
    named = it.request("POST", path, json={"revision": sha})
    assert (named.status_code, named.json()["code"]) == (400, 9)


def test_the_stream_sends_what_is_there_and_every_change(it: Client) -> None:
    headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {it.sandbox.token}"}
    url = f"{it.sandbox.url}/api/v1/stream/applications?name={NAME}&project=default"
    with requests.get(url, headers=headers, stream=True, timeout=10) as stream:
        assert stream.headers["Content-Type"] == "text/event-stream"
        events = (
            json.loads(line.removeprefix(b"data: "))["result"] for line in stream.iter_lines() if line.startswith(b"data: ")
        )
        assert next(events)["type"] == "ADDED"
        sha = it.promote(2)
        changed = next(events)
    assert changed["type"] == "MODIFIED"
    assert changed["application"]["status"]["sync"]["revision"] == sha


def test_logs_are_lines_of_json_that_end_with_the_last(it: Client) -> None:
    pod = sorted(pods(it))[0]
    answer = it.request("GET", f"/api/v1/applications/{NAME}/logs", params={"podName": pod, "namespace": NAMESPACE})
    lines = [json.loads(line)["result"] for line in answer.text.splitlines()]
    assert [line["last"] for line in lines] == [False, True]
    assert pod in lines[0]["content"]


def test_the_list_of_500_applications_needs_neither_git_nor_whole_applications(tmp_path: Path) -> None:
    remote, clock = Remote(tmp_path), Clock()
    remote.commit({**BASE, **overlay(1)})
    applications = [Application(f"app-{n:03}", "default", remote.url, "overlays/staging", f"ns-{n}") for n in range(500)]
    sandbox = Sandbox(
        applications, folder=tmp_path / "cache", runtime=ScriptedRuntime(lambda _: Behaviour(), clock), clock=clock
    )
    try:
        for _ in range(12):
            clock.now += 0.2
            sandbox.world.tick()
        shutil.rmtree(remote.url)
        headers = {"Authorization": f"Bearer {sandbox.token}"}
        fields = "items.metadata.name,items.spec.source,items.status.sync.status,items.status.health.status"
        answer = requests.get(f"{sandbox.url}/api/v1/applications", params={"fields": fields}, headers=headers, timeout=30)
    finally:
        sandbox.close()
    items = answer.json()["items"]
    assert [item["metadata"]["name"] for item in items] == [application.name for application in applications]
    assert {item["status"]["health"]["status"] for item in items} == {"Healthy"}
    assert items[0] == {
        "metadata": {"name": "app-000"},
        "spec": {"source": {"repoURL": remote.url, "path": "overlays/staging", "targetRevision": "main"}},
        "status": {"sync": {"status": "Synced"}, "health": {"status": "Healthy"}},
    }
