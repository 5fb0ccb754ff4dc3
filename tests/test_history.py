"""history of a real Git remote: which releases an environment deployed, and whose commits count."""

from __future__ import annotations

import json

from promoter.cli.text import history_text
from promoter.commands.history import Entry, history
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
    assert history_text(entries).splitlines()[0].endswith(f"{path.model} version 3  by {entries[0].author}")


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
    assert list(entry) == ["when", "model", "version", "image", "author", "commit", "subject", "promotion_id"]
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
