"""Histories of one overlay in a real Git remote, as promoter, people and forges make them."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from promoter.gitops import Repository
from promoter.kustomize.overlay import read_overlay
from promoter.models import Application, Environment, Model, Release
from promoter.promotion import decisions, journal
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

    def somebody_squashes(self, versions: tuple[int, int]) -> None:
        """A pull request of two releases, merged as one commit with the forge's own message."""
        tip = self.git("rev-parse", "HEAD")
        for version in versions:
            self.write(version)
            self.commit(f"Try {version}")
        branch = self.git("rev-parse", "HEAD")
        self.git("reset", "--quiet", "--hard", tip)
        self.git("merge", "--quiet", "--squash", branch)
        self.commit("Merged PR 12: see the ticket")

    def somebody_merges_a_release(self, version: int) -> None:
        """A release that somebody committed on a branch while others went on, merged with a merge commit."""
        tip = self.git("rev-parse", "HEAD")
        self.write(version)
        self.commit(f"Deploy {version} by hand")
        branch = self.git("rev-parse", "HEAD")
        self.git("reset", "--quiet", "--hard", tip)
        (self.work / f"note-{self.clock}").write_text("y")
        self.commit("Add another note")
        self.git("merge", "--quiet", "--no-ff", "--no-edit", branch)

    def somebody_reverts(self) -> None:
        """The newest commit, if it is no merge."""
        if len(self.git("rev-list", "--parents", "--max-count=1", "HEAD").split()) == 2:
            self.git("revert", "--no-edit", "HEAD")

    def somebody_resets(self, back: int) -> None:
        """A forced push: the newest commits are gone."""
        count = int(self.git("rev-list", "--count", "--first-parent", "HEAD"))
        self.git("reset", "--quiet", "--hard", f"HEAD~{min(back, count - 1)}")
        self.path = next(
            path for path in ("overlays/staging", "overlays/moved") if (self.work / path / "release.yaml").exists()
        )

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
