"""history of a real Git remote: which releases an environment deployed, and whose commits count."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from promoter.cli.history_text import Form, duration, history_text, outcome_text
from promoter.commands.history import Entry, history
from promoter.promotion.outcome import End, Outcome
from tests.support.write_path import KUSTOMIZATION, RELEASE, WritePath, path

__all__ = ["path"]


def read(path: WritePath, environment: str = "staging", limit: int = 20) -> tuple[Entry, ...]:
    clients = path.clients()
    said: list[str] = []
    entries = history(clients, clients.config.environment(environment), limit, said.append)
    assert said == []
    return entries


def test_releases_come_newest_first_and_at_most_as_many_as_asked_for(path: WritePath) -> None:
    for _ in range(3):
        path.register()
    made = [path.promote(f"{path.model}:{version}") for version in (2, 1, 3)]
    entries = read(path)
    assert [entry.version for entry in entries] == ["3", "1", "2"]
    assert [entry.commit for entry in entries] == [outcome.commit for outcome in reversed(made)]
    assert [entry.image for entry in entries] == [outcome.release.image for outcome in reversed(made)]
    assert read(path, limit=2) == entries[:2]
    head, newest, *_ = history_text(entries).splitlines()
    assert head.split() == ["WHEN", "COMMIT", "RELEASE", "BY", "WAY", "OF", "WHO", "OUTCOME"]
    assert newest.split()[3:7] == [entries[0].commit[:10], path.model, "3", "promote"]
    assert f"deployed since {entries[0].when:%Y-%m-%d %H:%M:%S} UTC" in newest


def test_other_peoples_commits_are_no_releases(path: WritePath) -> None:
    path.register()
    mine = path.promote(f"{path.model}:1")
    path.commit({RELEASE: path.read(RELEASE) + b"# theirs\n"}, "Explain the release")
    path.commit({KUSTOMIZATION: path.read(KUSTOMIZATION) + b"# theirs\n"}, "Promote nothing\n\nEnvironment: production")
    path.commit({"notes.txt": b"x"}, f"Write notes\n\nEnvironment: staging\nModel: {path.model}\nModel-Version: 9")
    assert [entry.commit for entry in read(path)] == [mine.commit]


def test_each_environment_has_a_history_of_its_own(path: WritePath) -> None:
    path.register()
    staging = path.promote(f"{path.model}:1")
    assert read(path, "production") == ()
    assert history_text(read(path, "production")) == "no releases yet\n"
    production = path.promote(f"{path.model}:1", to="production")
    assert [entry.commit for entry in read(path, "production")] == [production.commit]
    assert [entry.commit for entry in read(path)] == [staging.commit]


def test_a_release_that_changes_the_image_alone_counts(path: WritePath) -> None:
    path.register()
    first = path.promote(f"{path.model}:1")
    path.edit("promoter.yaml", "image: registry.example.com/models/", "image: registry.example.com/moved/")
    second = path.promote(f"{path.model}:1")
    assert path.git("diff", "--name-only", "main^", "main").split() == [KUSTOMIZATION]
    assert [entry.commit for entry in read(path)] == [second.commit, first.commit]


def test_history_as_json(path: WritePath) -> None:
    path.register()
    outcome = path.promote(f"{path.model}:1")
    done = path.run("history", "staging", "-o", "json")
    assert done.returncode == 0, done.stderr
    [entry] = json.loads(done.stdout)
    told = ["when", "model", "version", "image", "author", "commit", "subject", "promotion_id"]
    assert list(entry) == [*told, "environment", "act", "by", "reason", "outcome", "overridden"]
    assert (entry["environment"], entry["act"], entry["outcome"]["end"]) == ("staging", "promote", "deployed")
    assert entry["when"].endswith("+00:00")
    assert entry["promotion_id"] == path.trailers()["Promotion-Id"]
    assert (entry["commit"], entry["image"]) == (outcome.commit, outcome.release.image)


def test_what_lies_within_the_limit_is_shown_and_what_lies_below_is_reported(path: WritePath) -> None:
    path.register()
    path.register()
    path.promote(f"{path.model}:1")
    for number in range(4):
        path.commit({"other": str(number).encode()})
    newest = path.promote(f"{path.model}:2")
    path.config.write_text(path.config.read_text() + "git:\n  history-limit: 3\n")

    done = path.run("history", "staging", "-o", "json", XDG_CACHE_HOME=str(path.folder / "another-machine"))
    assert done.returncode == 0, done.stderr
    assert [entry["commit"] for entry in json.loads(done.stdout)] == [newest.commit]
    assert "older releases are not shown" in done.stderr
    assert "git.history-limit" in done.stderr


WHEN = datetime(2026, 11, 28, 8, 0, tzinfo=UTC)
LATER = WHEN + timedelta(minutes=3)


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (Outcome(End.DEPLOYED), "deployed for 2 h"),
        (Outcome(End.REPLACED, LATER, version="8"), "replaced by 8 after 3 min"),
        (
            Outcome(End.ABORTED, LATER, "analysis failed: metric accuracy Failed, measured 0.4", quarantined=True),
            "aborted after 3 min, quarantined: analysis failed: metric accuracy Failed, measured 0.4",
        ),
        (Outcome(End.ROLLED_BACK, LATER, by="Ann <ann@example.com>"), "rolled back by Ann after 3 min"),
        (Outcome(End.REJECTED, LATER, "wrong labels", "Ann"), "rejected by Ann after 3 min: wrong labels"),
        (Outcome(End.UNKNOWN, reason="a merge kept another release"), "not known: a merge kept another release"),
    ],
)
def test_an_outcome_in_words(outcome: Outcome, text: str) -> None:
    assert outcome_text(outcome, WHEN, Form(now=WHEN + timedelta(hours=2, minutes=40))) == text


def test_on_a_terminal_lines_are_cut_and_times_are_relative(path: WritePath) -> None:
    path.register()
    path.promote(f"{path.model}:1")
    [entry] = read(path)
    form = Form(now=entry.when + timedelta(days=2, hours=1), width=60)
    cut = history_text([entry], form).splitlines()[1]
    assert cut.startswith("2 d ago  ")
    assert (len(cut), cut[-1]) == (60, "…")
    assert history_text([entry], Form(now=form.now)).splitlines()[1].endswith("deployed for 2 d")
    passed = replace(entry, overridden="metrics auc, by ada: the test set is broken")
    assert (
        history_text([passed], Form(now=form.now)).splitlines()[1].endswith(f"for 2 d; gates overridden: {passed.overridden}")
    )


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0 s"), (59, "59 s"), (60, "1 min"), (7199, "1 h"), (86_399, "23 h"), (86_400, "1 d")]
)
def test_a_duration_has_its_largest_unit(seconds: int, text: str) -> None:
    assert duration(timedelta(seconds=seconds)) == text


def test_one_environment_that_can_not_be_read_does_not_hide_the_others(path: WritePath) -> None:
    path.register()
    path.promote(f"{path.model}:1")
    path.commit({"overlays/production/release.yaml": None}, "Remove the file")
    done = path.run("history", "--all", "-o", "json")
    assert [entry["environment"] for entry in json.loads(done.stdout)] == ["staging"]
    assert (done.returncode, f"production {path.model}: " in done.stderr) == (2, True)


def test_what_was_decided_is_said_to_be_unknown_where_its_file_is_broken(path: WritePath) -> None:
    path.register()
    path.promote(f"{path.model}:1")
    path.commit({"overlays/staging/promotion.yaml": b"versions: {"}, "Break it")
    done = path.run("history", "staging", "-o", "json")
    assert (done.returncode, len(json.loads(done.stdout))) == (0, 1)
    assert "what was decided in 'staging' is not known" in done.stderr
    assert path.run("where", path.model).returncode == 2


@pytest.mark.parametrize("arguments", [(), ("staging", "--all")])
def test_history_needs_to_know_of_what(path: WritePath, arguments: tuple[str, ...]) -> None:
    done = path.run("history", *arguments)
    assert (done.returncode, "history needs one of ENV, --model NAME and --all" in done.stderr) == (2, True)
