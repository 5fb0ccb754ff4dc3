"""What was decided about versions: it stands at the tip whatever history looks like, and old repositories are read by replay."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from promoter.gitops import Repository
from promoter.kustomize.overlay import read_overlay
from promoter.kustomize.promotion_file import Decision, State
from promoter.models import Application, Environment, Model, Release
from promoter.promotion import decisions, journal, releases
from promoter.promotion.decisions import Decisions
from tests.support.argo_world import MODEL, REPOSITORY, digest, overlay

NOW = datetime(2026, 11, 26, 8, 0, tzinfo=UTC)
ENVIRONMENT = Environment(
    name="staging",
    model=Model(MODEL, REPOSITORY, "fraud-detector", "release.yaml"),
    application=Application("fraud", "default", "argocd", "https://git.example.com/x.git", "overlays/staging", "main"),
)


def release(version: int) -> Release:
    return Release(MODEL, str(version), f"sha256:{version:064x}", REPOSITORY, f"v{version}-20261101T090000Z", digest(version))


NOTHING = Decisions(ENVIRONMENT, "overlays/staging/promotion.yaml", b"", {})


# -- events -----------------------------------------------------------------------------------------------------------


def test_a_failure_is_counted_and_a_quarantine_stays() -> None:
    def fails(before: Decisions, *, quarantine: bool) -> Decisions:
        return before.failed(release(2), release(1), "stuck", at=NOW, commit="c" * 40, quarantine=quarantine)

    once = fails(NOTHING, quarantine=False)
    assert once.of("2") == Decision("2", State.FAILED, "stuck", NOW, "", "c" * 40, 1, digest(1))
    assert once.undone == {"2"}
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
    assert wanted.undone == frozenset(), "2 failed, and nothing shows any more that it is not deployed"


def test_a_person_decides_again() -> None:
    back = NOTHING.rolled_back(release(3), release(2), at=NOW, commit="", by="ada")
    assert back.undone == {"3"}
    assert back.is_restore(release(2))
    assert back.restored_after(release(3), release(2)) is None, "nothing failed"
    forth = back.promoted(release(3))
    assert forth.of("3") == Decision("3", State.ALLOWED, since=NOW, by="ada")
    forced = NOTHING.failed(release(2), release(1), "bad", at=NOW, commit="", quarantine=True).promoted(release(2), by="ben")
    entry = forced.of("2")
    assert entry is not None
    assert (entry.state, entry.by, entry.failures) == (State.ALLOWED, "ben", 1)


# -- histories --------------------------------------------------------------------------------------------------------


@dataclass
class Story:
    """A repository in which releases are promoted, fail and are rolled back, while others merge, move and set wrong clocks.

    `known` is what the events alone make of it. With `recorded` promotion.yaml is written too; otherwise the messages have it
    all, as before there was such a file.
    """

    folder: Path
    recorded: bool
    known: Decisions = field(init=False)
    path: str = "overlays/staging"
    deployed: int = 1
    events: list[str] = field(default_factory=list)
    clock: int = 1_800_000_000

    def __post_init__(self) -> None:
        self.known = NOTHING
        self.work = self.folder / "work"
        subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", self.folder / "remote.git"], check=True)
        subprocess.run(["git", "init", "--quiet", "--initial-branch=main", self.work], check=True)
        self.git("remote", "add", "origin", str(self.folder / "remote.git"))
        self.write(1)
        if self.recorded:
            (self.work / self.path / "promotion.yaml").write_text("versions:\n")
        self.commit("Begin")
        self.events.append(self.git("rev-parse", "HEAD"))

    def git(self, *arguments: str) -> str:
        self.clock += 60
        environ = {
            **os.environ,
            **{f"GIT_{role}_{part}": f"{part}@x" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")},
            "GIT_COMMITTER_DATE": f"{self.clock} +0000",
        }
        done = subprocess.run(["git", "-C", self.work, *arguments], env=environ, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def write(self, version: int) -> None:
        for path, text in overlay(version).items():
            file = self.work / path.replace("overlays/staging", self.path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    def commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", message)

    def event(self, version: int, after: Decisions, entry: journal.Entry) -> None:
        """A commit as promoter makes it, with the decisions that the event leads to."""
        self.write(version)
        if self.recorded:
            file = self.work / self.path / "promotion.yaml"
            before = replace(self.known, content=file.read_bytes())
            for content in before.files(after).values():
                file.write_bytes(content)
        trailers = "\n".join(f"{key}: {value}" for key, value in entry.trailers())
        self.commit(f"Event\n\nbody\n\n{trailers}")
        self.known, self.deployed = after, version
        self.events.append(self.git("rev-parse", "HEAD"))

    # what promoter and people do

    def promote(self, version: int) -> None:
        if version != self.deployed:
            entry = journal.promotion(ENVIRONMENT, release(version), "0123456789abcdef")
            self.event(version, self.known.promoted(release(version)), entry)

    def fail(self, stable: int, *, quarantine: bool) -> None:
        if stable != self.deployed:
            bad = release(self.deployed)
            entry = journal.restore(ENVIRONMENT, release(stable), "f" * 40, bad, "stuck", quarantine=quarantine)
            after = self.known.failed(bad, release(stable), "stuck", at=NOW, commit="", quarantine=quarantine)
            self.event(stable, after, entry)

    def roll_back(self, target: int) -> None:
        if target != self.deployed:
            bad = release(self.deployed)
            entry = journal.rollback(ENVIRONMENT, release(target), "f" * 40, bad)
            self.event(target, self.known.rolled_back(bad, release(target), at=NOW, commit=""), entry)

    # what others do

    def somebody_merges(self, back: int) -> None:
        """A developer who was `back` commits behind commits something else and pulls."""
        tip = self.git("rev-parse", "HEAD")
        count = int(self.git("rev-list", "--count", "--first-parent", "HEAD"))
        self.git("reset", "--quiet", "--hard", f"HEAD~{min(back, count - 1)}")
        (self.work / f"note-{self.clock}").write_text("x")
        self.commit("Add a note")
        self.git("merge", "--quiet", "--no-edit", tip)

    def somebodys_clock_is_wrong(self, days: int) -> None:
        self.clock += days * 86_400
        with (self.work / self.path / "kustomization.yaml").open("a") as file:
            file.write("# a comment\n")
        self.commit("Comment")
        self.clock -= days * 86_400

    def somebody_moves_the_folder(self, name: str) -> None:
        if f"overlays/{name}" != self.path:
            self.git("mv", self.path, f"overlays/{name}")
            self.path = f"overlays/{name}"
            self.commit("Move the overlay")

    def somebody_copies_the_folder(self) -> None:
        copy = self.work / f"overlays/copy-{self.clock}"
        subprocess.run(["cp", "-r", self.work / self.path, copy], check=True)
        self.commit("Copy the overlay")

    def somebody_forges(self, version: int) -> None:
        """A message that claims what the commit does not do."""
        claims = f"Failed-Version: {version}\nQuarantined: {MODEL}:{version}\nModel: {MODEL}\nEnvironment: staging"
        self.commit(f"Add nothing\n\n{claims}")

    @property
    def environment(self) -> Environment:
        return replace(ENVIRONMENT, application=replace(ENVIRONMENT.application, path=self.path))

    def repository(self, limit: int = 10_000) -> Repository:
        self.git("push", "--quiet", "--force", "origin", "HEAD:main")
        remote = f"file://{self.folder / 'remote.git'}"
        return Repository(remote, "main", cache=self.folder / "cache", environ=os.environ, history_limit=limit)

    def decisions(self) -> Decisions:
        repository = self.repository(limit=10)
        tip = repository.fetch()
        return decisions.at(repository, tip.commit, read_overlay(tip, self.environment), self.environment)


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
    return {version: (one.state, one.failures, one.restored) for version, one in known.entries.items()}


@pytest.mark.parametrize("recorded", [True, False], ids=["by the file", "by replaying the messages"])
@pytest.mark.parametrize("seed", range(6))
def test_no_history_makes_a_decision_forgotten_or_forged(tmp_path: Path, seed: int, recorded: bool) -> None:
    story = told(seed, tmp_path, recorded=recorded)
    assert facts(story.decisions()) == facts(story.known), f"seed {seed}: {story.git('log', '--graph', '--oneline')}"


@pytest.mark.parametrize("seed", range(6))
def test_every_release_of_the_history_is_found_by_its_content(tmp_path: Path, seed: int) -> None:
    story = told(seed, tmp_path, recorded=True)
    found = list(releases.changes(story.repository(), story.environment))
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
