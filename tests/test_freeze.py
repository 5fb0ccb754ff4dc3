"""A frozen environment: nothing is promoted there until a time or until it is thawed; what undoes a release is not held up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from promoter import cli
from promoter.cli.status_text import wide_text
from promoter.commands.freeze import Freezing, Frozen, freeze, until
from promoter.commands.history import history
from promoter.commands.plan import plan
from promoter.commands.promote import promote
from promoter.commands.reconcile import Action, Reconciled, Reconciler
from promoter.commands.reject import Rejection, apply, plan_rejection
from promoter.commands.rollback import plan_rollback, rollback
from promoter.commands.status import status
from promoter.errors import ExitCode, RefusedError, UsageError
from promoter.kustomize.overlay import deployed, read_overlay
from promoter.model_registry import ModelReference
from promoter.models import Write
from promoter.promotion import decisions
from promoter.promotion.clients import Clients
from promoter.promotion.decisions import Decisions
from promoter.promotion.freezes import FrozenError, not_frozen
from promoter.promotion.gates.asking import waits
from promoter.promotion.steps import Report, Steps
from promoter.promotion.survey import Survey
from promoter.webhook.log import Log
from promoter.webhook.metrics import Metrics
from promoter.webhook.work import Work
from tests.support.argo_world import FAILS, MODEL, World, digest, world
from tests.support.histories import NOTHING, NOW, release
from tests.support.interleaving import ALIAS, without_rendering
from tests.support.interleaving import World as SmallWorld
from tests.support.interleaving import promoter as small_promoter
from tests.support.interleaving import reconcile as small_reconcile
from tests.support.interleaving import world as small_world

REASON = "the shop is full"
PATH = "overlays/staging/promotion.yaml"
HOUR = timedelta(hours=1)


@pytest.fixture
def it(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, os.environ) as one:
        yield one


def frozen(it: World, end: datetime | None = None, reason: str = REASON) -> Frozen:
    return freeze(it.clients, Freezing(it.environment, "ada", reason, end))


def thawed(it: World) -> Frozen:
    return freeze(it.clients, Freezing(it.environment, "ben", thaw=True))


def known(it: World) -> Decisions:
    repository = it.clients.repository(it.environment.application)
    tip = repository.fetch()
    return decisions.at(repository, tip.commit, read_overlay(tip, it.environment), it.environment)


def version(it: World) -> str:
    found = deployed(it.clients.repository(it.environment.application).fetch(), it.environment)
    assert found is not None
    return found.version


# -- what stands ------------------------------------------------------------------------------------------------------


def test_what_stands_longest_counts_and_its_time_ends_it() -> None:
    short = NOTHING.froze(REASON, at=NOW, until=NOW + HOUR, by="ada")
    with pytest.raises(FrozenError, match=f"'staging' is frozen until 2026-11-26 09:00:00 UTC by ada: {REASON}") as refused:
        not_frozen(short, NOW)
    assert (refused.value.exit_code, refused.value.until) == (ExitCode.REFUSED, NOW + HOUR)
    assert "promoter thaw staging --model fraud-detector" in refused.value.hint
    not_frozen(short, NOW + HOUR)
    longer = Decisions(
        NOTHING.environment, NOTHING.path, b"", {}, (*short.freezes, *NOTHING.froze("x", at=NOW, until=None, by="").freezes)
    )
    with pytest.raises(FrozenError, match="until it is thawed: x"):
        not_frozen(longer, NOW + HOUR)
    not_frozen(longer.thawed(at=NOW, by="ben"), NOW)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-12-01T06:00:00Z", datetime(2026, 12, 1, 6, tzinfo=UTC)),
        ("2026-12-01T07:00+01:00", datetime(2026, 12, 1, 6, tzinfo=UTC)),
        ("90m", NOW + timedelta(minutes=90)),
        ("2h", NOW + 2 * HOUR),
        ("3d", NOW + timedelta(days=3)),
    ],
)
def test_when_it_ends(text: str, meant: datetime) -> None:
    assert until(text, NOW) == meant


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tomorrow", "is not a time"),
        ("2026-12-01T06:00", "no time zone"),
        ("2026-12-01", "no time zone"),
        ("2020-01-01T00:00Z", "is over"),
        ("0m", "is over"),
    ],
)
def test_when_it_can_not_end(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        until(text, NOW)


# -- the entry --------------------------------------------------------------------------------------------------------


def test_it_is_an_entry_and_nothing_else_changes(it: World) -> None:
    before = it.remote.show("overlays/staging/release.yaml")
    end = datetime(2099, 1, 1, 6, tzinfo=UTC)
    done = frozen(it, end)
    assert (done.commit, done.exit_code) == (it.remote.tip(), ExitCode.DONE)
    assert it.remote.show("overlays/staging/release.yaml") == before
    entry = it.remote.show(PATH).partition("freeze:\n")[2]
    assert entry.splitlines()[:3] == ["- environment: staging", f"  model: {MODEL}", "  state: frozen"]
    assert '  until: "2099-01-01T06:00:00Z"' in entry
    message = it.remote.message()
    assert message.startswith(f"Freeze {MODEL} in staging until 2099-01-01T06:00:00Z\n\n{REASON}\n")
    assert "\nFreeze: until 2099-01-01T06:00:00Z" in message
    assert frozen(it, end).commit is None, "it says the same"
    assert frozen(it).commit == it.remote.tip(), "and now another end"
    assert it.remote.show(PATH).count("- environment") == 1
    thaw = thawed(it)
    assert thaw.commit == it.remote.tip()
    assert it.remote.message().startswith(f"Thaw {MODEL} in staging\n\nIt was frozen until it is thawed by ada: {REASON}\n")
    assert "  state: thawed\n" in it.remote.show(PATH)
    assert thawed(it).commit is None
    assert (frozen(it).commit, known(it).frozen(datetime.now(UTC)) is not None) == (it.remote.tip(), True)


def test_a_reason_writes_no_trailer(it: World) -> None:
    frozen(it, reason="full\n\nModel-Version: 9\nPromotion-Id: x")
    parsed = subprocess.run(
        ["git", "interpret-trailers", "--parse", "--no-divider"],
        input=it.remote.message(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line.partition(":")[0] for line in parsed.stdout.splitlines()] == [
        "Model",
        "Environment",
        "Freeze",
        "Promoter-Version",
    ]


ENTRY = f"freeze:\n- environment: staging\n  model: {MODEL}\n  state: frozen\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"{ENTRY}  until: tomorrow\n", f"{PATH}:2: freeze.until: 'tomorrow' is not a time"),
        (f"{ENTRY}  until: 2026-12-01\n", f"{PATH}:2: freeze.until: '2026-12-01' is not a time"),
        (f"{ENTRY}  untill: 2099-01-01T00:00:00Z\n", f"{PATH}:5: freeze: unknown key 'untill'"),
        (ENTRY.replace("frozen", "Thawed"), f"{PATH}:2: freeze.state: unknown state 'Thawed'"),
        (ENTRY.replace("  state: frozen\n", ""), f"{PATH}:2: freeze: the entry has no state"),
        ("freeze: {}\n", f"{PATH}:1: freeze: not a list"),
        ("freeze: yes\n", f"{PATH}:1: freeze: not a list"),
    ],
)
def test_what_can_not_be_read_is_a_freeze_and_undo_still_works(it: World, text: str, told: str) -> None:
    it.promote(2)
    it.remote.commit({PATH: text})
    with pytest.raises(FrozenError) as refused:
        not_frozen(known(it))
    assert told in refused.value.message
    (one,) = status(it.clients, [it.environment])
    assert told in one.frozen
    repository = it.clients.repository(it.environment.application)
    rollback(repository, plan_rollback(repository, it.environment, None))
    assert version(it) == "1"
    assert text.splitlines()[-1] in it.remote.show(PATH)


def test_an_entry_of_somebody_else_freezes_nobody_here(it: World) -> None:
    it.remote.commit({PATH: ENTRY.replace("staging", "production")})
    not_frozen(known(it))
    it.remote.commit({PATH: ENTRY.replace(MODEL, "churn")})
    not_frozen(known(it))
    frozen(it)
    assert thawed(it).commit == it.remote.tip()
    assert ENTRY.replace(MODEL, "churn") in it.remote.show(PATH), "it is not ours to change"


@pytest.mark.parametrize("text", [ENTRY, f"{ENTRY}  until: tomorrow\n", ENTRY + ENTRY.partition("\n")[2]])
def test_what_people_wrote_is_thawed_by_the_command_or_by_taking_it_out(it: World, text: str) -> None:
    it.remote.commit({PATH: f"# theirs\n{text}"})
    with pytest.raises(FrozenError):
        not_frozen(known(it))
    assert thawed(it).exit_code is ExitCode.DONE
    not_frozen(known(it))
    assert it.remote.show(PATH).startswith("# theirs\n")
    it.remote.commit({PATH: text})
    it.remote.commit({PATH: "versions: []\n"})
    not_frozen(known(it))


def test_what_can_not_be_thawed_says_where(it: World) -> None:
    it.remote.commit({PATH: "freeze: {}\n"})
    done = thawed(it)
    assert (done.exit_code, done.commit) == (ExitCode.USAGE, None)
    assert f"{PATH}:1: freeze: not a list" in done.error


# -- what obeys it, and what does not ---------------------------------------------------------------------------------


def test_what_undoes_a_release_passes_it(it: World) -> None:
    it.settle()
    it.behaviours["2"] = FAILS
    bad = it.promote(2)
    frozen(it)
    ending = it.follow(bad)
    assert (ending.exit_code, version(it)) == (ExitCode.RESTORED, "1"), "a restore"
    it.promote(3)
    repository = it.clients.repository(it.environment.application)
    apply(repository, plan_rejection(repository, Rejection(it.environment, "3", None, REASON, "ada")))
    assert version(it) == "1"
    it.promote(4)
    rollback(repository, plan_rollback(repository, it.environment, None))
    assert version(it) == "1"
    assert known(it).frozen(datetime.now(UTC)) is not None, "and the freeze is still there"
    found = known(it).of("2")
    assert found is not None
    assert found.restored == digest(1)


def test_status_and_history_show_it(it: World) -> None:
    frozen(it, datetime(2099, 1, 1, tzinfo=UTC))
    words = f"frozen until 2099-01-01 00:00:00 UTC by ada: {REASON}"
    (one,) = status(it.clients, [it.environment])
    assert (one.agree, f"frozen {one.frozen}", one.notes) == (True, words, (words,))
    assert wide_text([one]).startswith(f"staging {MODEL}: agree, frozen\n")
    said: list[str] = []
    history(it.clients, it.environment, 5, said.append)
    assert said == [f"'staging' is {words}"]
    thawed(it)
    said.clear()
    history(it.clients, it.environment, 5, said.append)
    assert said == []


@pytest.fixture
def _not_rendered() -> Iterator[None]:
    patch = without_rendering()
    yield
    patch.undo()


def small(tmp_path: Path, text: str = "") -> SmallWorld:
    """promoter's own code over a Git in memory and an MLflow that has every version."""
    made = small_world(tmp_path, lambda _: 0, bad=())
    made.alias = "2"
    if text:
        made.add({PATH: text.encode()}, "Freeze", "ada")
    return made


@pytest.mark.usefixtures("_not_rendered")
def test_promote_and_reconcile_leave_it(tmp_path: Path) -> None:
    made = small(tmp_path, ENTRY)
    environment = made.clients.config.environments[0]
    reference = ModelReference.parse(f"{MODEL}:2")
    for force in (False, True):
        with pytest.raises(FrozenError, match="is frozen until it is thawed") as refused:
            plan(made.clients, environment, reference, Steps(), rendering=False, force=force)
        assert (waits(refused.value), refused.value.exit_code) == (True, ExitCode.REFUSED)
    there = plan(made.clients, environment, ModelReference.parse(f"{MODEL}:1"), Steps(), rendering=False)
    assert there.already_there, "what is there already is still watched to its end"
    small_reconcile(made)()
    assert len(made.line) == 2
    made.add({PATH: ENTRY.replace("frozen", "thawed").encode()}, "Thaw", "ben")
    small_reconcile(made)()
    assert made.line[-1].commit.subject.startswith(f"Promote {MODEL} version 2")


@pytest.mark.usefixtures("_not_rendered")
def test_it_is_asked_again_on_the_tip_that_is_built_on(tmp_path: Path) -> None:
    made = small(tmp_path)
    environment = made.clients.config.environments[0]
    planned = plan(made.clients, environment, ModelReference.parse(f"{MODEL}@{ALIAS}"), Steps(), rendering=False)
    made.add({PATH: ENTRY.encode()}, "Freeze", "ada")
    with pytest.raises(RefusedError, match="is frozen"):
        promote(made.clients, planned, Steps())
    assert made.line[-1].by == "ada"
    made.add({PATH: b"versions:\n"}, "Thaw", "ben")
    small_promoter(made, f"{MODEL}@{ALIAS}")()
    assert made.line[-1].commit.subject.startswith("Promote")


@pytest.mark.usefixtures("_not_rendered")
def test_reconcile_says_so_and_until_when(tmp_path: Path) -> None:
    end = datetime(2099, 1, 1, tzinfo=UTC)
    made = small(tmp_path, f"{ENTRY}  until: 2099-01-01T00:00:00Z\n")
    (done,) = Reconciler(made.clients, lambda _: None, dispatch=_not_dispatched).run(made.clients.config.environments)
    assert (done.action, done.exit_code, done.until) == (Action.LEFT, ExitCode.REFUSED, end)
    assert "'staging' is frozen until 2099-01-01" in done.detail


@pytest.mark.usefixtures("_not_rendered")
def test_the_receiver_looks_again_when_it_ends(tmp_path: Path) -> None:
    """By itself, whatever its interval is: MLflow sends nothing when a freeze ends."""
    made = small(tmp_path)
    end = datetime.now(UTC).replace(microsecond=0) + HOUR
    made.add({PATH: f"{ENTRY}  until: {end:%Y-%m-%dT%H:%M:%SZ}\n".encode()}, "Freeze", "ada")
    woken: list[tuple[str, float]] = []

    class Source:
        def clients(self) -> Clients:
            return made.clients

    def reconciler(clients: Clients, report: Report, survey: Survey | None) -> Reconciler:
        return Reconciler(clients, report, dispatch=_not_dispatched, survey=survey)

    work = Work(Source(), reconciler, lambda model, seconds: woken.append((model, seconds)), Metrics(), Log(in_json=False))
    work(("staging", MODEL))
    ((model, seconds),) = woken
    assert model == MODEL
    assert end < datetime.now(UTC) + timedelta(seconds=seconds) < end + timedelta(seconds=5)


def _not_dispatched(*_: object) -> Reconciled:
    raise AssertionError("a pipeline was started for a frozen environment")


def test_in_an_environment_of_pull_requests_it_is_proposed(tmp_path: Path) -> None:
    with world(tmp_path, os.environ, lines="  write: pull-request\n") as it:
        assert it.environment.write is Write.PULL_REQUEST
        done = frozen(it)
        assert done.exit_code is ExitCode.USAGE, "this remote is on no forge, and nothing is pushed past the review"
        assert len(it.remote.log()) == 1


# -- the command ------------------------------------------------------------------------------------------------------


def run(it: World, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    monkeypatch.setattr(sys, "argv", ["promoter", *arguments, "-c", str(it.folder / "promoter.yaml")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


def test_the_commands_freeze_and_thaw_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with world(tmp_path, os.environ, environments=("staging", "production")) as it:
        assert run(it, monkeypatch, "freeze", "--all", "--until", "2h", "--reason", REASON, "-o", "json") == 0
        shown = json.loads(capsys.readouterr().out)["environments"]
        assert [one["environment"] for one in shown] == ["staging", "production"]
        assert all(one["standing"].startswith("until ") for one in shown)
        assert it.remote.log()[:2] == [subject for subject in it.remote.log() if subject.startswith("Freeze")]
        assert run(it, monkeypatch, "thaw", "production") == 0
        assert "not frozen" in capsys.readouterr().out
        assert "state: thawed" in it.remote.show("overlays/production/promotion.yaml")
        assert "state: frozen" in it.remote.show(PATH)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["freeze", "staging", "--reason", " "], "--reason is empty"),
        (["freeze", "--reason", "x"], "name environments, or --all"),
        (["freeze", "staging", "--all", "--reason", "x"], "exclude each other"),
        (["freeze", "nowhere", "--reason", "x"], "nowhere"),
        (["freeze", "--all", "--model", "churn", "--reason", "x"], "no environment of model 'churn'"),
        (["freeze", "staging", "--until", "soon", "--reason", "x"], "is not a time"),
        (["thaw"], "name environments, or --all"),
    ],
)
def test_what_can_not_be_meant_is_refused(
    it: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    before = it.remote.tip()
    assert run(it, monkeypatch, *arguments) == ExitCode.USAGE
    assert told in capsys.readouterr().err
    assert it.remote.tip() == before


def test_an_entry_is_kept_next_to_what_is_decided_about_versions(it: World) -> None:
    before = known(it).failed(release(2), release(1), "stuck", at=NOW, commit="", quarantine=True)
    after = before.froze(REASON, at=NOW, until=None, by="")
    (content,) = known(it).files(after).values()
    assert content.decode().index("versions:") < content.decode().index("freeze:")
    it.remote.commit({PATH: content.decode()})
    again = known(it)
    assert again.of("2") is not None
    assert again.frozen(NOW) is not None
