"""Restoring Git after a release failed: which release comes back, the commit's message, and who else writes meanwhile."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from promoter.demo.sandbox import Behaviour, Measurement, PodStatus
from promoter.errors import ExitCode
from promoter.promotion.ending import Ending
from promoter.verdict import Kind, Reason
from tests.support.argo_world import FAILS, MISSING, REPOSITORY, STUCK, World, digest, overlay, world
from tests.support.faults import FORBIDDEN, Answer, Asked, Fault, Forward, always, changed

KUSTOMIZATION, RELEASE = "overlays/staging/kustomization.yaml", "overlays/staging/release.yaml"


@pytest.fixture
def it(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, os.environ) as one:
        yield one


def deployed(it: World) -> dict[str, str]:
    return {name: it.remote.show(name) for name in (KUSTOMIZATION, RELEASE)}


def trailers(it: World) -> dict[str, str]:
    last = it.remote.message().strip().split("\n\n")[-1]
    return dict(line.split(": ", 1) for line in last.splitlines())


def test_the_release_of_the_stable_pods_comes_back_with_the_evidence(it: World) -> None:
    it.behaviours["2"] = FAILS
    stable, bad = it.remote.tip(), it.promote(2)
    ending = it.follow(bad)
    assert (ending.exit_code, ending.verdict.kind, ending.restored) == (ExitCode.RESTORED, Kind.ABORTED, it.remote.tip())
    assert deployed(it) == overlay(1)
    message = it.remote.message()
    assert message.startswith("Restore fraud-detector version 1 in staging: version 2, analysis failed\n")
    assert "metric success-rate Failed, measured 0.4 (2 times)" in message
    said = trailers(it)
    assert (said["Restores"], said["Rollout-Abort"], said["Failed-Version"]) == (stable, "analysis failed", "2")
    assert (said["Model-Version"], said["Quarantined"]) == ("1", "fraud-detector:2")
    assert it.committed().restores


def test_a_line_that_claims_a_restore_does_not_switch_the_restore_off(it: World) -> None:
    """A person's `Restores:` at the end of the message that deploys a bad version decides nothing: the commit's change does."""
    it.behaviours["2"] = FAILS
    bad = it.committed(it.remote.commit(overlay(2), f"Promote 2\n\nRestores: {it.remote.tip()}"))
    ending = it.follow(bad)
    assert (ending.exit_code, trailers(it)["Quarantined"]) == (ExitCode.RESTORED, "fraud-detector:2")
    assert deployed(it) == overlay(1)


def test_not_the_commit_before_but_what_was_live(it: World) -> None:
    """Version 2 is superseded on its way by version 3, which fails: 2 was never live, 1 is what the stable pods run."""
    it.behaviours["3"] = FAILS
    it.promote(2)
    it.settle(4)
    assert it.follow(it.promote(3)).exit_code is ExitCode.RESTORED
    assert deployed(it) == overlay(1)


def test_what_others_wrote_into_the_same_files_is_kept(it: World) -> None:
    it.behaviours["2"] = FAILS
    bad = it.promote(2)
    theirs = it.remote.read(KUSTOMIZATION).replace('newTag: "1.10"', 'newTag: "1.11"  # theirs')
    it.clock.after(8, lambda: it.remote.commit({KUSTOMIZATION: theirs, "notes.md": "hello\n"}, "Another envoy"))
    assert it.follow(bad).exit_code is ExitCode.RESTORED
    before = overlay(1)[KUSTOMIZATION].replace('newTag: "1.10"', 'newTag: "1.11"  # theirs')
    assert deployed(it) == {**overlay(1), KUSTOMIZATION: before}
    assert it.remote.show("notes.md") == "hello\n"


@pytest.mark.parametrize(
    ("behaviour", "act", "reason", "quarantined"),
    [
        (FAILS, None, Reason.ANALYSIS_FAILED, True),
        (Behaviour(), "abort", Reason.ABORTED_BY_HAND, True),
        (STUCK, None, Reason.PROGRESS_DEADLINE, False),
        (MISSING, None, Reason.IMAGE, False),
        (Behaviour(measurement=Measurement("Error", message="no answer")), None, Reason.ANALYSIS_ERROR, False),
    ],
    ids=lambda value: str(value) if isinstance(value, Reason) else "",
)
def test_only_an_analysis_or_a_person_speaks_against_the_model(
    it: World, behaviour: Behaviour, act: str | None, reason: Reason, quarantined: bool
) -> None:
    it.behaviours["2"] = behaviour
    if act:
        it.clock.after(6, lambda: it.act(act))
    ending = it.follow(it.promote(2))
    assert (ending.exit_code, ending.verdict.reason) == (ExitCode.RESTORED, reason)
    assert trailers(it)["Rollout-Abort"] == reason
    assert ("Quarantined" in trailers(it)) is quarantined


def test_a_commit_that_does_not_render_is_taken_back(it: World) -> None:
    broken = overlay(2)[KUSTOMIZATION].replace("- release.yaml", "- release.yaml\n- missing.yaml")
    bad = it.committed(it.remote.commit({**overlay(2), KUSTOMIZATION: broken}, "Promote and break"))
    ending = it.follow(bad)
    assert (ending.verdict.kind, ending.verdict.reason) == (Kind.FAILED, Reason.RENDER)
    assert trailers(it)["Rollout-Abort"] == "render"
    assert "missing.yaml" in it.remote.show(KUSTOMIZATION)  # not promoter's to fix: it restores the release alone


def clock_of_argo_cd(hours: float) -> Fault:
    """Its times are off by so much: nothing of this machine may be compared with them."""

    def shift(application: dict[str, Any]) -> None:
        status = application["status"]
        for part, key in ((status, "reconciledAt"), (status.get("operationState", {}), "finishedAt")):
            if part.get(key):
                part[key] = (datetime.fromisoformat(part[key]) + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")

    return changed(shift)


@pytest.mark.parametrize("hours", [-48, 48])
def test_a_commit_that_does_not_render_is_taken_back_whatever_argo_cds_clock_is(it: World, hours: float) -> None:
    broken = overlay(2)[KUSTOMIZATION].replace("- release.yaml", "- release.yaml\n- missing.yaml")
    bad = it.committed(it.remote.commit({**overlay(2), KUSTOMIZATION: broken}, "Promote and break"))
    with it.argocd.fault(clock_of_argo_cd(hours)):
        ending = it.follow(bad)
    assert (ending.verdict.kind, ending.verdict.reason, ending.restored) == (Kind.FAILED, Reason.RENDER, it.remote.tip())


@pytest.mark.parametrize("hours", [-48, 48])
def test_the_error_of_a_commit_before_ours_is_not_ours_whatever_argo_cds_clock_is(it: World, hours: float) -> None:
    """Argo CD still reports it at the first look, and is slow to compare again."""
    broken = overlay(1)[KUSTOMIZATION].replace("- release.yaml", "- release.yaml\n- missing.yaml")
    it.remote.commit({KUSTOMIZATION: broken})
    it.settle(2)
    fixed = it.promote(2)
    shifted, dropped = clock_of_argo_cd(hours), iter(range(4))

    def slow(asked: Asked, forward: Forward) -> Answer | None:
        late = asked.call == "application" and next(dropped, None) is not None
        return shifted(replace(asked, query={}) if late else asked, forward)

    with it.argocd.fault(slow):
        ending = it.follow(fixed)
    assert (ending.verdict.kind, ending.exit_code) == (Kind.LIVE, ExitCode.DONE)


def test_pod_logs_are_reported_and_never_committed(it: World) -> None:
    crashing = PodStatus("CrashLoopBackOff", message="back-off", restarts=3)
    it.behaviours["2"] = Behaviour(ready_after=None, waiting=crashing, ends_after=30)
    ending = it.follow(it.promote(2))
    assert ending.exit_code is ExitCode.RESTORED
    assert any("is scripted" in line for line in ending.logs)
    assert set(ending.logs) <= set(it.said)
    assert "is scripted" not in it.remote.message()


def test_a_token_that_may_not_read_logs_restores_all_the_same(it: World) -> None:
    it.behaviours["2"] = STUCK
    with it.argocd.fault(always(FORBIDDEN, "logs", "operation")):
        assert it.follow(it.promote(2)).exit_code is ExitCode.RESTORED


def test_a_first_release_leaves_nothing_to_restore(it: World) -> None:
    """The stable pods are of the release that failed: Git stays, and it reports that."""
    it.behaviours["2"] = STUCK

    def only_ours(manifest: dict[str, Any]) -> None:
        if manifest["kind"] == "Rollout":
            manifest["status"]["stableRS"] = manifest["status"]["currentPodHash"]

    bad = it.promote(2)
    with it.argocd.fault(changed(only_ours, "resource")):
        ending = it.follow(bad)
    assert (ending.exit_code, ending.restored) == (ExitCode.NOT_RESTORED, None)
    assert "no earlier stable release" in " ".join(ending.verdict.evidence)
    assert it.remote.tip() == bad.commit.sha


def test_a_restore_is_never_restored(it: World) -> None:
    it.behaviours["1"] = it.behaviours["2"] = Behaviour()
    it.promote(2)
    it.settle()
    image = f"{REPOSITORY}:v1-20261101T090000Z@{digest(1)}"
    restore = it.promote(1, Restores="0" * 40, Rollout_Abort="analysis failed", Failed_Version="2", Image=image)
    it.behaviours["1"] = FAILS
    it.clock.after(4, lambda: it.act("abort"))
    ending = it.follow(restore)
    assert ending.exit_code is ExitCode.NOT_RESTORED
    assert "is a restore itself" in ending.note
    assert it.remote.tip() == restore.commit.sha


def test_a_message_does_not_make_a_commit_a_restore(it: World) -> None:
    """The last commit claims that it restores something; it only promotes version 2, which fails."""
    it.behaviours["2"] = FAILS
    bad = it.promote(2, Restores=it.remote.tip(), Rollout_Abort="analysis failed", Failed_Version="9")
    assert not bad.restores
    assert it.follow(bad).exit_code is ExitCode.RESTORED


def test_on_failure_hold_leaves_git(tmp_path: Path) -> None:
    with world(tmp_path, os.environ, lines="  on-failure: hold\n") as it:
        it.behaviours["2"] = FAILS
        bad = it.promote(2)
        ending = it.follow(bad)
        assert (ending.exit_code, it.remote.tip()) == (ExitCode.NOT_RESTORED, bad.commit.sha)
        assert "on-failure: hold" in ending.note


def test_no_restore_leaves_git(it: World) -> None:
    it.behaviours["2"] = FAILS
    bad = it.promote(2)
    assert it.follow(bad, restoring=False).exit_code is ExitCode.NOT_RESTORED
    assert it.remote.tip() == bad.commit.sha


# -- others write, too ------------------------------------------------------------------------------------------------


def test_a_restore_that_loses_the_race_overwrites_nothing(it: World) -> None:
    """Somebody promotes version 3 between the verdict and the push: their commit stays."""
    it.behaviours["2"] = FAILS
    bad = it.promote(2)
    theirs: list[str] = []

    def promote_three(asked: Any, _: Any) -> None:
        if asked.call == "logs" and not theirs:  # they are read after the verdict and before anything is written
            theirs.append(it.remote.commit(overlay(3), "Promote version 3"))

    with it.argocd.fault(promote_three):
        ending = it.follow(bad)
    assert ending.exit_code is ExitCode.SUPERSEDED
    assert it.remote.tip() == theirs[0]


def test_two_promoters_that_watch_the_same_abort_make_one_commit(it: World) -> None:
    it.behaviours["2"] = FAILS
    bad = it.promote(2)
    endings: list[Ending] = []
    threads = [threading.Thread(target=lambda: endings.append(it.follower().follow(bad))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [ending.exit_code for ending in endings] == [ExitCode.RESTORED, ExitCode.RESTORED]
    assert {ending.restored for ending in endings} == {it.remote.tip()}
    assert [subject.split()[0] for subject in it.remote.log()] == ["Restore", "Promote", "Begin"]


def test_who_comes_after_the_restore_ends_as_restored(it: World) -> None:
    it.behaviours["2"] = FAILS
    bad = it.promote(2)
    first = it.follow(bad)
    second = it.follow(bad)
    assert (second.exit_code, second.restored) == (ExitCode.RESTORED, first.restored)
    assert len(it.remote.log()) == 3


def test_a_release_promoted_after_the_restore_ends_it_well(it: World) -> None:
    it.behaviours["2"] = FAILS
    bad = it.promote(2)

    def promote_three(line: str) -> None:
        it.said.append(line)
        if line.startswith("restored"):
            it.promote(3)

    ending = it.follower(say=promote_three).follow(bad)
    assert ending.exit_code is ExitCode.RESTORED
    assert len(it.remote.log()) == 4


# -- operations -------------------------------------------------------------------------------------------------------


def test_an_operation_of_the_bad_release_is_ended_before_git_is_restored(it: World) -> None:
    """While it retries, Argo CD would not look at the restoring commit."""
    bad = it.promote(2)
    ended: list[str] = []

    def failing(application: dict[str, Any]) -> None:
        sync = {"revision": bad.commit.sha}
        application["operation"] = {"sync": sync}
        application["status"]["operationState"] = {
            "phase": "Running",
            "retryCount": 2,
            "finishedAt": application["status"]["reconciledAt"],
            "message": "one or more objects failed to apply",
            "operation": {"sync": sync},
            "syncResult": {"revision": bad.commit.sha, "resources": []},
        }

    fault = changed(failing)

    def end(asked: Any, forward: Any) -> Any:
        if asked.call != "operation":
            return None
        ended.append(it.remote.tip())
        it.argocd.faults.remove(fault)
        return forward(asked)

    it.argocd.faults += [end, fault]
    ending = it.follow(bad)
    assert (ending.verdict.reason, ending.exit_code) == (Reason.SYNC, ExitCode.RESTORED)
    assert ended == [bad.commit.sha]


def test_the_ending_is_one_json_object(it: World) -> None:
    from promoter.output import plain

    it.behaviours["2"] = FAILS
    ending = it.follow(it.promote(2))
    told = json.loads(json.dumps(plain(ending)))
    assert (told["exit_code"], told["restored"], told["verdict"]["kind"]) == (10, it.remote.tip(), "aborted")


def test_a_stable_release_that_was_rejected_while_live_is_not_committed_again(it: World) -> None:
    it.promote(2)
    it.settle()
    it.behaviours["3"] = FAILS
    bad = it.promote(3)
    entry = f"versions:\n- environment: staging\n  model: {it.model}\n  version: '2'\n  state: rejected\n  reason: biased\n"
    it.remote.commit({"overlays/staging/promotion.yaml": entry}, "Reject 2")
    tip = it.remote.tip()
    ending = it.follow(bad)
    assert (ending.exit_code, it.remote.tip()) == (ExitCode.NOT_RESTORED, tip)
    assert ending.note.startswith(
        "version 2 is rejected in 'staging': biased; choose another version (promoter rollback staging"
    )
