"""What was decided about versions: it stands at the tip whatever history looks like, and old repositories are read by replay."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from promoter.errors import RefusedError
from promoter.kustomize import promotion_file
from promoter.kustomize.promotion_file import Decision, State
from promoter.models import ModelVersion, Release
from promoter.promotion import decisions, gates, releases
from promoter.promotion.decisions import Decisions
from tests.support.argo_world import MODEL, digest
from tests.support.histories import NOTHING, NOW, Story, release

# -- events -----------------------------------------------------------------------------------------------------------


def test_a_failure_is_counted_and_a_quarantine_stays() -> None:
    def fails(before: Decisions, *, quarantine: bool) -> Decisions:
        return before.failed(release(2), release(1), "stuck", at=NOW, commit="c" * 40, quarantine=quarantine)

    once = fails(NOTHING, quarantine=False)
    assert once.of("2") == Decision("2", State.FAILED, "stuck", NOW, "", "c" * 40, 1, digest(1))
    assert [once.is_undone(release(version)) for version in (1, 2)] == [False, True]
    again = fails(once.promoted(release(2)), quarantine=True).of("2")
    assert again == Decision("2", State.QUARANTINED, "stuck", NOW, "", "c" * 40, 2, digest(1))
    third = fails(fails(once, quarantine=True), quarantine=False).of("2")
    assert third is not None
    assert (third.state, third.failures) == (State.QUARANTINED, 3)


def test_a_restored_release_is_a_restore_until_somebody_promotes_it() -> None:
    restored = NOTHING.failed(release(2), release(1), "stuck", at=NOW, commit="", quarantine=False)
    assert (restored.is_restore(release(1)), restored.is_restore(release(2))) == (True, False)
    assert restored.restored_after(release(2), release(1)) is not None
    assert restored.restored_after(release(3), release(1)) is None
    wanted = restored.promoted(release(1))
    assert not wanted.is_restore(release(1))
    assert not wanted.is_undone(release(2)), "2 failed, and nothing shows any more that it is not deployed"


def test_a_person_decides_again() -> None:
    back = NOTHING.rolled_back(release(3), release(2), at=NOW, commit="", by="ada")
    assert [back.is_undone(release(version)) for version in (2, 3)] == [False, True]
    assert back.is_restore(release(2))
    assert back.restored_after(release(3), release(2)) is None, "nothing failed"
    forth = back.promoted(release(3))
    assert forth.of("3") == Decision("3", State.ALLOWED, since=NOW, by="ada")
    forced = NOTHING.failed(release(2), release(1), "bad", at=NOW, commit="", quarantine=True).promoted(release(2), by="ben")
    entry = forced.of("2")
    assert entry is not None
    assert (entry.state, entry.by, entry.failures) == (State.ALLOWED, "ben", 1)


def created(version: int, day: int) -> Release:
    """A release of a model that was registered on that day of November: its versions are counted from 1."""
    return replace(release(version), tag=f"v{version}-202611{day:02d}090000", digest=digest(10 * day + version))


def test_a_model_registered_again_is_not_condemned_and_nothing_is_forgotten() -> None:
    bad, good = created(2, day=1), created(1, day=1)
    before = NOTHING.failed(bad, good, "wrong answers", at=NOW, commit="", quarantine=True)
    again = created(2, day=9)
    assert before.of("2", datetime(2026, 11, 9, 9, tzinfo=UTC)) is None
    assert before.of_release(again) is None
    before.require_not_blocked(again)
    after = before.failed(again, created(1, day=9), "stuck", at=NOW, commit="", quarantine=False)
    (content,) = NOTHING.files(after).values()
    read = replace(after, content=content, entries=promotion_file.read(after.path, content, after.environment))
    found = [read.of_release(one) for one in (bad, again)]
    assert [(one.state, one.failures) for one in found if one] == [(State.QUARANTINED, 1), (State.FAILED, 1)]
    unknown = read.of("2")
    assert unknown is not None
    assert unknown.state is State.QUARANTINED, "which of the two is meant is not known"
    with pytest.raises(RefusedError, match="version 2 is quarantined"):
        read.require_not_blocked(replace(bad, tag=f"{bad.tag}-0123abcd"))


def test_an_entry_without_a_time_is_about_any_version_of_its_number() -> None:
    known = replace(NOTHING, entries={("2", None): Decision("2", State.REJECTED)})
    for one in (created(2, day=1), created(2, day=9), release(2)):
        with pytest.raises(RefusedError, match="version 2 is rejected"):
            known.require_not_blocked(one)
    assert known.of("3") is None


@pytest.mark.parametrize("known", State)
@pytest.mark.parametrize("state", State)
def test_what_a_person_writes_without_a_time_counts_next_to_promoters_own_entry(known: State, state: State) -> None:
    """A version is blocked by any entry that is about it, and a person who deploys it in spite of them lifts each."""
    one = created(2, day=1)
    time = decisions.created_at(one)
    both = {("2", time): Decision("2", known, created=time), ("2", None): Decision("2", state)}
    standing = replace(NOTHING, entries=both)
    found = standing.of_release(one)
    assert found is not None
    assert found.blocks is any(entry.blocks for entry in both.values())
    forced = standing.promoted(one, by="ada")
    forced.require_not_blocked(one)
    lifted = standing.lifted("2", time, at=NOW, by="ada")
    left = {entry.state for entry in lifted.entries.values()}
    assert State.REJECTED not in left
    assert (State.QUARANTINED in left) is (State.QUARANTINED in (known, state))


# -- histories --------------------------------------------------------------------------------------------------------


def told(seed: int, folder: Path, *, recorded: bool) -> Story:
    chance, story = random.Random(seed), Story(folder, recorded)
    acts: list[Callable[[], None]] = [
        lambda: story.promote(chance.randint(1, 5)),
        lambda: story.promote(chance.randint(1, 5)),
        lambda: story.fail(chance.randint(1, 5), quarantine=chance.random() < 0.5),
        lambda: story.roll_back(chance.randint(1, 5)),
        lambda: story.somebody_merges(chance.randint(1, 4)),
        lambda: story.somebodys_clock_is_wrong(chance.choice([-400, -1, 1, 400])),
        lambda: story.somebody_moves_the_folder(chance.choice(["staging", "moved"])),
        story.somebody_copies_the_folder,
        lambda: story.somebody_forges(chance.randint(1, 5)),
    ]
    for _ in range(12):
        chance.choice(acts)()
    return story


def facts(known: Decisions) -> dict[str, tuple[State, int, str]]:
    return {version: (one.state, one.failures, one.restored) for (version, _), one in known.entries.items()}


@pytest.mark.parametrize("recorded", [True, False], ids=["by the file", "by replaying the messages"])
@pytest.mark.parametrize("seed", range(6))
def test_no_history_makes_a_decision_forgotten_or_forged(tmp_path: Path, seed: int, recorded: bool) -> None:
    story = told(seed, tmp_path, recorded=recorded)
    assert facts(story.decisions()) == facts(story.known), f"seed {seed}: {story.git('log', '--graph', '--oneline')}"


@pytest.mark.parametrize("seed", range(6))
def test_every_release_of_the_history_is_found_by_its_content(tmp_path: Path, seed: int) -> None:
    story = told(seed, tmp_path, recorded=True)
    repository = story.repository()
    found = list(releases.changes(repository, story.environment, repository.fetch().commit))
    assert [one.commit.sha for one in found] == story.events[::-1], f"seed {seed}: {story.git('log', '--graph', '--oneline')}"
    assert releases.current(story.repository(), story.environment).release == release(story.deployed)


def test_a_pull_that_hides_the_restoring_commit_hides_no_quarantine(tmp_path: Path) -> None:
    story = Story(tmp_path, recorded=False)
    story.promote(2)
    story.fail(1, quarantine=True)
    story.somebody_merges(2)
    assert "Failed-Version" not in story.git("log", "--format=%B", "--", story.path), "git log of the path alone hides it"
    entry = story.decisions().of("2")
    assert entry is not None
    assert entry.state is State.QUARANTINED


def test_a_squash_that_drops_the_trailers_of_a_restore_lets_nothing_but_a_person_deploy_the_version_again(
    tmp_path: Path,
) -> None:
    story = Story(tmp_path, recorded=False)
    story.promote(2)
    deployed = story.git("rev-parse", "HEAD")
    story.somebody_squashes((3, 1))

    known = story.decisions()
    entry = known.of("2")
    assert entry is not None
    assert (entry.state, entry.commit, entry.restored) == (State.ROLLED_BACK, deployed, digest(1))
    assert [known.is_undone(release(2)), known.is_restore(release(1))] == [True, True]
    again = ModelVersion(MODEL, "2", datetime(2026, 11, 1, 9, tzinfo=UTC), "mlflow-artifacts:/x", ())
    with pytest.raises(RefusedError, match="was rolled back from version 2 by NAME@x"):
        gates.not_undone(known, again, force=False, unattended=True)
    gates.not_undone(known, again, force=False, unattended=False)

    story.write(2)
    story.commit("Deploy 2 by hand")
    assert story.decisions().of("2") is None, "a person wanted it again"


def test_a_squash_takes_nothing_from_what_messages_record(tmp_path: Path) -> None:
    story = Story(tmp_path, recorded=False)
    story.promote(2)
    story.fail(1, quarantine=True)
    story.somebody_squashes((2, 1))
    story.promote(3)
    story.somebody_squashes((4, 1))
    assert facts(story.decisions()) == {
        "2": (State.QUARANTINED, 1, digest(1)),
        "3": (State.ROLLED_BACK, 0, digest(1)),
    }


def test_going_on_by_hand_is_no_going_back(tmp_path: Path) -> None:
    story = Story(tmp_path, recorded=False)
    for version in (2, 3, 5, 4):  # 4 never was deployed before
        story.write(version)
        story.commit(f"Deploy {version} by hand")
    assert story.decisions().entries == {}


def test_a_person_who_reverts_the_file_decides(tmp_path: Path) -> None:
    story = Story(tmp_path, recorded=True)
    story.promote(2)
    story.fail(1, quarantine=True)
    story.git("checkout", "HEAD~1", "--", f"{story.path}/promotion.yaml")
    story.commit("Give version 2 another chance")
    assert story.decisions().entries == {}


def test_the_first_commit_in_an_old_repository_writes_what_was_replayed(tmp_path: Path) -> None:
    story = Story(tmp_path, recorded=False)
    story.promote(2)
    story.fail(1, quarantine=True)
    known = story.decisions()
    assert known.content is None
    (content,) = known.files(known.promoted(release(3))).values()
    (story.work / story.path / "promotion.yaml").write_bytes(content)
    story.commit("Write the file")
    after = story.decisions()
    assert after.content == content
    assert facts(after) == facts(known)
