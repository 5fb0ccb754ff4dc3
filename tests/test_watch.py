"""Watching a release over real HTTP: what Argo CD answers in bad weather, what it costs, and when it ends."""

from __future__ import annotations

import io
import json
import os
import pty
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from promoter import cli
from promoter.config.values import WatchConfig
from promoter.errors import AuthError, ExitCode
from promoter.output import Progress
from promoter.promotion.follow import configured
from promoter.promotion.watch import Watched
from promoter.verdict import Kind, Reason, Verdict
from tests.support.argo_world import FAILS, MISSING, REPOSITORY, STUCK, TIMING, World, digest, overlay, world
from tests.support.faults import (
    DOWN,
    FORBIDDEN,
    LOGIN_PAGE,
    TOO_MANY,
    UNAUTHENTICATED,
    UNAVAILABLE,
    Answer,
    always,
    changed,
    refresh_dropped,
    times,
)

MINUTE = 60.0


@pytest.fixture
def it(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, os.environ) as one:
        yield one


def kinds(it: World) -> list[Kind]:
    return [verdict.kind for verdict in it.told]


# -- the ends ---------------------------------------------------------------------------------------------------------


def test_a_release_is_live_when_it_was_seen_live_twice_ten_seconds_apart(it: World) -> None:
    ending = it.follow(it.promote(2))
    assert (ending.exit_code, ending.verdict.kind) == (ExitCode.DONE, Kind.LIVE)
    first = it.told_at[kinds(it).index(Kind.LIVE)]
    assert it.argocd.asked[-1].at - first >= TIMING.stable_for
    assert [kind for kind, before in zip(kinds(it), [None, *kinds(it)], strict=False) if kind is not before][-2:] == [
        Kind.ROLLING,
        Kind.LIVE,
    ]


def test_live_once_and_then_not_begins_again(it: World) -> None:
    committed = it.promote(2)
    watcher = it.watcher(committed)
    not_yet = times(1, changed(lambda rollout: rollout["status"].update(phase="Progressing"), "resource"))

    def blip(verdict: Verdict) -> None:
        it.hear(verdict)
        if kinds(it).count(Kind.LIVE) == 1 and not_yet not in it.argocd.faults:
            it.argocd.faults.append(not_yet)

    watcher.on_verdict = blip
    assert watcher.watch() == Watched(it.told[-1])
    assert kinds(it)[-3:] == [Kind.LIVE, Kind.ROLLING, Kind.LIVE]
    assert it.clock.now() - it.told_at[-1] >= TIMING.stable_for


def test_an_abort_that_only_one_look_saw_is_none(it: World) -> None:
    watcher = it.watcher(it.promote(2))
    seen = times(1, changed(lambda rollout: rollout["status"].update(abort=True, message="RolloutAborted: x"), "resource"))
    it.clock.after(8, lambda: it.argocd.faults.append(seen))
    assert watcher.watch().exit_code is ExitCode.DONE
    assert Kind.ABORTED in kinds(it)


def test_an_abort_ends_after_two_looks(it: World) -> None:
    it.behaviours["2"] = FAILS
    watched = it.watcher(it.promote(2)).watch()
    assert watched.exit_code is ExitCode.NOT_RESTORED
    assert (watched.verdict.kind, watched.verdict.reason) == (Kind.ABORTED, Reason.ANALYSIS_FAILED)
    assert it.clock.now() - it.told_at[-1] <= 2 * TIMING.confirm
    assert kinds(it).count(Kind.ABORTED) == 1


def test_a_newer_promotion_supersedes_ours(it: World) -> None:
    committed = it.promote(2)
    it.clock.after(6, lambda: it.promote(3))
    ending = it.follow(committed)
    assert (ending.exit_code, ending.verdict.kind) == (ExitCode.SUPERSEDED, Kind.SUPERSEDED)


def test_a_branch_that_was_rewritten_is_reported(it: World) -> None:
    before = it.remote.tip()
    committed = it.promote(2)
    it.clock.after(6, lambda: it.remote.force(before))
    ending = it.follow(committed)
    assert (ending.exit_code, ending.verdict.kind) == (ExitCode.SUPERSEDED, Kind.COMMIT_GONE)


def test_a_pause_without_end_needs_a_person(it: World) -> None:
    it.remote.commit({"base/rollout.yaml": it.remote.read("base/rollout.yaml").replace("pause: {duration: 5s}", "pause: {}")})
    it.settle()
    watched = it.watcher(it.promote(2)).watch()
    assert (watched.exit_code, watched.verdict.reason) == (ExitCode.NEEDS_PERSON, Reason.INDEFINITE_PAUSE)


def test_an_image_override_masks_the_release(it: World) -> None:
    override = f"{REPOSITORY}@{digest(1)}"
    other = f"{REPOSITORY}:v1@{digest(1)}"

    def overridden(application: dict[str, Any]) -> None:
        application["spec"]["source"]["kustomize"] = {"images": [override]}

    def runs_another(manifest: dict[str, Any]) -> None:
        if manifest["kind"] == "Rollout":
            manifest["spec"]["template"]["spec"]["containers"][0]["image"] = other

    with it.argocd.fault(changed(overridden)), it.argocd.fault(changed(runs_another, "resource")):
        watched = it.watcher(it.promote(2)).watch()
    assert (watched.exit_code, watched.verdict.kind) == (ExitCode.NEEDS_PERSON, Kind.MASKED)
    assert watched.verdict.override == override


def test_a_rollout_by_workload_ref_in_mid_watch_needs_a_person(it: World) -> None:
    """As the API server has one: no spec.template at all."""

    def refers(manifest: dict[str, Any]) -> None:
        if manifest["kind"] == "Rollout":
            del manifest["spec"]["template"]
            manifest["spec"]["workloadRef"] = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "pods"}

    committed = it.promote(2)
    it.clock.after(5, lambda: it.argocd.faults.append(changed(refers, "resource")))
    assert it.follow(committed).exit_code is ExitCode.NEEDS_PERSON
    assert it.told[-1].reason is Reason.UNWATCHABLE
    assert "takes its pods from Deployment pods (spec.workloadRef)" in it.told[-1].summary


def test_an_application_that_is_gone_needs_a_person(it: World) -> None:
    gone = Answer(404, b'{"error":"not found","code":5,"message":"applications.argoproj.io not found"}')
    with it.argocd.fault(always(gone, "application")):
        assert it.watcher(it.promote(2)).watch().exit_code is ExitCode.NEEDS_PERSON


def test_the_timeout_of_promoter_yaml_bounds_every_phase() -> None:
    timing = configured(WatchConfig(stable_for=10, sync_grace=30, timeout=12))
    assert (timing.observe, timing.sync, timing.roll) == (12, 12, 12)
    assert configured(WatchConfig(stable_for=10, sync_grace=30, timeout=1800)).observe == 300


@pytest.mark.parametrize(
    ("phase", "timing"),
    [("observe", {"observe": 20.0}), ("sync", {"sync": 20.0}), ("roll", {"roll": 20.0})],
)
def test_every_phase_has_its_deadline(it: World, phase: str, timing: dict[str, float]) -> None:
    it.behaviours["2"] = STUCK
    stuck = {
        "observe": refresh_dropped,
        "sync": changed(lambda application: application.update(operation={"sync": {}})),
        "roll": times(0, refresh_dropped),
    }
    # The sync's deadline counts where nothing rolls: what is applied may not be seen either.
    old = changed(lambda manifest: manifest["metadata"].update(generation=99), "resource")
    with it.argocd.fault(stuck[phase]), it.argocd.fault(old if phase == "sync" else stuck["roll"]):
        began = it.clock.now()
        watched = it.watcher(it.promote(2), replace(TIMING, **timing)).watch()
    assert (watched.timed_out, watched.exit_code) == (True, ExitCode.TIMED_OUT)
    assert watched.verdict.since is not None
    assert watched.verdict.summary.endswith(f" (since {watched.verdict.since:%Y-%m-%d %H:%M:%S} UTC)")
    assert all(
        one.since == watched.verdict.since
        for one in it.told
        if one.step == watched.verdict.step and one.kind is watched.verdict.kind
    )
    expected = {"observe": Kind.NOT_OBSERVED, "sync": Kind.SYNCING, "roll": Kind.ROLLING}
    assert watched.verdict.kind is expected[phase]
    assert 20 <= it.clock.now() - began <= 45


# -- bad weather ------------------------------------------------------------------------------------------------------


def nothing_refreshed(it: World) -> None:
    it.argocd.faults.append(times(3, refresh_dropped))


def no_operation_state(it: World) -> None:
    def without(application: dict[str, Any]) -> None:
        application["status"].pop("operationState", None)

    it.argocd.faults.append(changed(without))


def for_seconds(answer: Answer, seconds: float) -> Callable[[World], None]:
    def begin(it: World) -> None:
        fault = always(answer, "application", "resource", "resource-tree")
        it.clock.after(5, lambda: it.argocd.faults.append(fault))
        it.clock.after(5 + seconds, lambda: it.argocd.faults.remove(fault))

    return begin


def once(answer: Answer) -> Callable[[World], None]:
    return lambda it: it.clock.after(5, lambda: it.argocd.faults.append(times(1, always(answer))))


def events(what: Callable[[], Iterable[bytes]]) -> Callable[[World], None]:
    def begin(it: World) -> None:
        it.argocd.stream = what

    return begin


def repeated() -> Iterator[bytes]:
    """More events than anybody needs, each of them twice."""
    while True:
        yield b'data: {"result": {"type": "MODIFIED"}}\n\n' * 2
        time.sleep(0.002)


WEATHER = {
    "refresh dropped": nothing_refreshed,
    "operationState is null": no_operation_state,
    "429 for half a minute": for_seconds(TOO_MANY, 30),
    "503 for half a minute": for_seconds(UNAVAILABLE, 30),
    "down for a minute": for_seconds(DOWN, 60),
    "401 once": once(UNAUTHENTICATED),
    "a login page once": once(LOGIN_PAGE),
    "the stream ends at once": events(lambda: ()),
    "the stream ends within an event": events(lambda: [b'data: {"result": {"type": "ADDED"}}\n\n', b'data: {"resu']),
    "the stream says everything twice": events(repeated),
}


@pytest.mark.parametrize("weather", WEATHER)
def test_a_release_gets_live_in_any_weather(it: World, weather: str) -> None:
    WEATHER[weather](it)
    assert it.follow(it.promote(2)).exit_code is ExitCode.DONE
    assert it.remote.log() == ["Promote fraud-detector version 2 to staging", "Begin"]


def test_an_outage_is_reported_once_and_its_end_too(it: World) -> None:
    for_seconds(UNAVAILABLE, 30)(it)
    it.follow(it.promote(2))
    told = [verdict.summary.startswith("no answer at the moment") for verdict in it.told]
    assert told.count(True) == 1
    assert not told[-1]


@pytest.mark.parametrize("answer", [UNAUTHENTICATED, LOGIN_PAGE], ids=["401", "login page"])
def test_credentials_that_stay_refused_end_the_watch(it: World, answer: Answer) -> None:
    committed = it.promote(2)
    it.clock.after(5, lambda: it.argocd.faults.append(always(answer)))
    with pytest.raises(AuthError) as caught:
        it.follow(committed)
    assert caught.value.exit_code == 3
    assert caught.value.hint


def test_a_status_older_than_its_spec_is_never_live(it: World) -> None:
    """Healthy, stable, our image: only the generation shows that all of it was so before our commit."""

    def stale(manifest: dict[str, Any]) -> None:
        if manifest["kind"] == "Rollout":
            manifest["metadata"]["generation"] += 1

    with it.argocd.fault(changed(stale, "resource")):
        watched = it.watcher(it.promote(2), replace(TIMING, sync=40)).watch()
    assert watched.exit_code is ExitCode.TIMED_OUT
    assert Kind.LIVE not in kinds(it)


# -- what promoter may ask for ----------------------------------------------------------------------------------------


def skipped_by_auto_sync(it: World) -> Any:
    """After a commit that does not render, the one that repairs it is compared and never synced by itself."""
    broken = overlay(1)["overlays/staging/kustomization.yaml"].replace("- release.yaml", "- release.yaml\n- missing.yaml")
    it.remote.commit({"overlays/staging/kustomization.yaml": broken})
    it.settle(2)
    return it.promote(2)


def test_a_sync_that_auto_sync_skipped_is_asked_for_once(it: World) -> None:
    assert it.watcher(skipped_by_auto_sync(it)).watch().exit_code is ExitCode.DONE
    assert it.argocd.count("sync") == 1
    asked = next(one for one in it.argocd.asked if one.call == "sync")
    assert "revision" not in json.loads(asked.body)
    assert asked.at - it.argocd.asked[0].at >= TIMING.sync_grace


@pytest.mark.parametrize("answer", [UNAVAILABLE, DOWN], ids=["503", "a cut connection"])
def test_a_sync_that_argo_cd_did_not_answer_is_asked_for_again(it: World, answer: Answer) -> None:
    """Asked once is not done: one 503 at this request kept the release from ever being synced."""
    with it.argocd.fault(times(1, always(answer, "sync"))):
        assert it.watcher(skipped_by_auto_sync(it)).watch().exit_code is ExitCode.DONE
    assert it.argocd.count("sync") == 2


def test_a_token_that_may_not_sync_is_tolerated_and_a_person_is_shown_what_to_do(it: World) -> None:
    with it.argocd.fault(always(FORBIDDEN, "sync")):
        watched = it.watcher(skipped_by_auto_sync(it)).watch()
    assert (watched.exit_code, watched.verdict.reason) == (ExitCode.NEEDS_PERSON, Reason.AUTO_SYNC_SKIPPED)
    command, refusal = watched.verdict.evidence
    assert command == "argocd app sync fraud-detector-staging"
    assert "permission denied; the token's role needs: p, <role>, applications, sync, default/fraud-detector-staging" in refusal
    assert it.argocd.count("sync") == 1


def auto_sync_off(application: dict[str, Any]) -> None:
    del application["spec"]["syncPolicy"]["automated"]


@pytest.mark.parametrize(("syncs", "code", "asked"), [(True, ExitCode.DONE, 1), (False, ExitCode.NEEDS_PERSON, 0)])
def test_where_auto_sync_is_off_a_sync_is_asked_for_if_that_is_wanted(
    it: World, syncs: bool, code: ExitCode, asked: int
) -> None:
    with it.argocd.fault(changed(auto_sync_off)):
        watcher = it.watcher(skipped_by_auto_sync(it))
        watcher.syncs = syncs
        watched = watcher.watch()
    assert (watched.exit_code, it.argocd.count("sync")) == (code, asked)
    if not syncs:
        assert watched.verdict.reason is Reason.AUTO_SYNC_OFF


def test_a_token_that_may_not_sync_ends_with_the_right_that_is_missing(it: World) -> None:
    with it.argocd.fault(changed(auto_sync_off)), it.argocd.fault(always(FORBIDDEN, "sync")):
        watcher = it.watcher(skipped_by_auto_sync(it))
        watcher.syncs = True
        watched = watcher.watch()
    assert (watched.exit_code, watched.verdict.reason) == (ExitCode.NEEDS_PERSON, Reason.AUTO_SYNC_OFF)
    assert "the token's role needs" in watched.verdict.evidence[-1]


@pytest.mark.parametrize("acts", [True, False])
def test_a_person_gets_the_time_to_act(it: World, acts: bool) -> None:
    """The release goes live if somebody syncs meanwhile; otherwise it ends once that time is over, not before."""
    with it.argocd.fault(changed(auto_sync_off)):
        watcher = it.watcher(skipped_by_auto_sync(it), replace(TIMING, person=90))
        begun = it.clock.now()
        if acts:
            it.clock.after(60, lambda: it.clients.argocd().sync(it.environment.application))
        watched = watcher.watch()
    assert watched.exit_code is (ExitCode.DONE if acts else ExitCode.NEEDS_PERSON)
    assert it.clock.now() - begun >= 60 if acts else it.clock.now() - begun >= 90
    assert Kind.NEEDS_PERSON in kinds(it)


def test_an_operation_of_another_revision_is_named_and_left_alone(it: World) -> None:
    before = it.remote.tip()

    def running(application: dict[str, Any]) -> None:
        state = {"phase": "Running", "retryCount": 1, "operation": {"sync": {"revision": before}}, "message": "Retrying"}
        application["operation"], application["status"]["operationState"] = {"sync": {}}, state

    fault = changed(running)
    it.clock.after(20, lambda: it.argocd.faults.remove(fault))
    it.argocd.faults.append(fault)
    watched = it.watcher(it.promote(2)).watch()
    assert watched.exit_code is ExitCode.DONE
    assert before in {verdict.held_by for verdict in it.told}
    assert it.argocd.count("operation") == 0


# -- what it costs, and how soon it knows -----------------------------------------------------------------------------


def most_in_a_minute(it: World, *, since: float) -> int:
    moments = [one.at for one in it.argocd.asked if one.at >= since]
    return max(sum(start <= moment < start + MINUTE for moment in moments) for start in moments)


def slow_canary(it: World) -> None:
    it.remote.commit({"base/rollout.yaml": it.remote.read("base/rollout.yaml").replace("duration: 5s", "duration: 100s")})
    it.settle(10)


@pytest.mark.parametrize("storm", [False, True], ids=["quiet", "event storm"])
def test_watching_costs_sixty_requests_a_minute_at_most(it: World, storm: bool) -> None:
    slow_canary(it)
    it.argocd.stream = repeated if storm else None
    began = it.clock.now()
    assert it.follow(it.promote(2)).exit_code is ExitCode.DONE
    assert it.clock.now() - began > 3 * MINUTE
    assert 30 < most_in_a_minute(it, since=began) <= 60


def test_what_has_changed_is_reported_by_the_next_poll(it: World) -> None:
    """Without any event: an abort is in the verdict of the first look after it, and looks are a poll apart."""
    slow_canary(it)
    watcher = it.watcher(it.promote(2))
    it.clock.after(47.7, lambda: it.act("abort"))
    began = it.clock.now()
    assert watcher.watch().verdict.reason is Reason.ABORTED_BY_HAND
    looks = [one.at - began for one in it.argocd.asked if one.call == "application" and began < one.at]
    assert it.told_at[kinds(it).index(Kind.ABORTED)] - began == next(look for look in looks if look >= 47.7 + 0.2)
    assert max(after - before for before, after in pairwise(looks)) <= TIMING.poll + 0.6


def test_an_event_wakes_the_watch(it: World) -> None:
    slow_canary(it)
    wake = threading.Event()
    watcher = it.watcher(it.promote(2), replace(TIMING, poll=30.0, roll=300.0), wake)

    def abort() -> None:
        it.act("abort")
        wake.set()

    began = it.clock.now()
    it.clock.after(60, abort)
    assert watcher.watch().verdict.reason is Reason.ABORTED_BY_HAND
    assert it.told_at[kinds(it).index(Kind.ABORTED)] - began <= 61


# -- what people and pipelines are shown ------------------------------------------------------------------------------


def follow_aloud(it: World, told: Progress) -> None:
    it.behaviours["2"] = MISSING
    it.follower(tell=told.verdict, say=told.say).follow(it.promote(2))


def test_in_a_pipeline_every_change_is_one_plain_line(
    it: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CI", "true")
    follow_aloud(it, Progress("fraud-detector-staging", in_json=False))
    lines = capsys.readouterr().err.splitlines()
    told = [line for line in lines if line.startswith("fraud-detector-staging ")]
    assert len(told) == len(set(told)) >= 3
    assert any("ErrImagePull" in line for line in lines)
    assert not any("\r" in line or "\x1b" in line for line in lines)


def test_json_lines_are_one_object_for_each_event(it: World, capsys: pytest.CaptureFixture[str]) -> None:
    follow_aloud(it, Progress("fraud-detector-staging", in_json=True))
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["kind"] for one in said if one["event"] == "verdict"][-1] == "live"
    assert {"failed", "syncing"} <= {one["kind"] for one in said if one["event"] == "verdict"}
    assert [one["text"] for one in said if one["event"] == "message"][-1].startswith("restored version 1 with commit ")
    assert all(one["application"] == "fraud-detector-staging" and one["time"] for one in said)


def test_on_a_terminal_one_line_moves(it: World, monkeypatch: pytest.MonkeyPatch) -> None:
    leader, follower = pty.openpty()
    heard = io.BytesIO()

    def read() -> None:
        try:
            while block := os.read(leader, 4096):
                heard.write(block)
        except OSError:
            return  # how Linux ends a pseudo-terminal that nobody has open any more

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(follower, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        told = Progress("fraud-detector-staging", in_json=False)
        it.follower(tell=told.verdict, say=told.say).follow(it.promote(2))
    reader.join()
    os.close(leader)
    lines = heard.getvalue().decode().split("\r\n")
    assert len(lines) == 2  # the line that moved and ended as the last verdict, and nothing after it
    assert lines[0].count("\r\x1b[K") >= 3
    assert "\r\x1b[Kfraud-detector-staging live " in lines[0]


# -- the command ------------------------------------------------------------------------------------------------------


def test_watch_of_a_commit(it: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The newest release by default; an earlier commit is superseded, and that is reported."""
    first = it.remote.tip()
    it.promote(2)
    it.settle()
    config = it.folder / "promoter.yaml"
    config.write_text(config.read_text() + "watch: {stable-for: 0}\n")
    codes, outputs = [], []
    for arguments in ([], ["--commit", first], ["--commit", first, "-o", "json"]):
        monkeypatch.setattr(sys, "argv", ["promoter", "watch", "staging", "-c", str(config), *arguments])
        for name in ("ARGOCD_SERVER", "ARGOCD_AUTH_TOKEN"):
            monkeypatch.setenv(name, it.clients.environ[name])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        codes.append(ended.value.code)
        outputs.append(capsys.readouterr().out)
    assert codes == [0, 21, 21]
    assert outputs[0].startswith("fraud-detector version 2 in staging: live.")
    assert outputs[1].startswith("fraud-detector version 1 in staging: superseded.")
    outcome = json.loads(outputs[2].splitlines()[-1])
    assert (outcome["event"], outcome["exit_code"], outcome["commit"]) == ("outcome", 21, first)
