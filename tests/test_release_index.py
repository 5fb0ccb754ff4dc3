"""The releases that `history` keeps in the cache: they answer as the walk does, whatever became of history or of the file."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from promoter.gitops import Repository
from promoter.promotion import release_index, releases
from tests.support.histories import Story

_MANY = 1_000


def unexpected(text: str) -> None:
    raise AssertionError(text)


def indexed(repository: Repository, story: Story, limit: int = _MANY) -> list[str]:
    tip = repository.fetch()
    return [one.commit.sha for one in release_index.newest(repository, story.environment, limit, unexpected, tip)]


def walked(repository: Repository, story: Story) -> list[str]:
    start = repository.fetch().commit
    return [one.commit.sha for one in releases.changes(repository, story.environment, start)]


def every_commit(story: Story) -> dict[str, list[str]]:
    """The parents of each commit, children before parents."""
    lines = story.git("rev-list", "--topo-order", "--parents", "HEAD").splitlines()
    return {commit: parents for commit, *parents in map(str.split, lines)}


def looked_up(story: Story) -> set[str]:
    """The commits that deploy another version than each of their parents, found by reading the overlay of every commit."""
    commits = every_commit(story)

    def version(commit: str) -> str:
        names = story.git("ls-tree", "-r", "--name-only", commit, "--", "overlays/staging", "overlays/moved").splitlines()
        file = next(name for name in names if name.endswith("kustomization.yaml"))
        found = re.search(r"newTag: (v\d+)-", story.git("show", f"{commit}:{file}"))
        assert found
        return found[1]

    versions = {commit: version(commit) for commit in commits}
    return {one for one, parents in commits.items() if versions[one] not in [versions[parent] for parent in parents]}


def acts(story: Story, chance: random.Random) -> list[Callable[[], None]]:
    return [
        lambda: story.promote(chance.randint(1, 5)),
        lambda: story.fail(chance.randint(1, 5), quarantine=True),
        lambda: story.roll_back(chance.randint(1, 5)),
        lambda: story.somebody_merges(chance.randint(1, 4)),
        lambda: story.somebody_merges_a_release(chance.randint(1, 5)),
        lambda: story.somebody_squashes((chance.randint(1, 5), chance.randint(1, 5))),
        lambda: story.somebodys_clock_is_wrong(chance.choice([-400, 400])),
        lambda: story.somebody_moves_the_folder(chance.choice(["staging", "moved"])),
        lambda: story.somebody_resets(chance.randint(1, 3)),
        story.somebody_copies_the_folder,
        story.somebody_reverts,
    ]


@pytest.mark.parametrize("seed", range(8))
def test_the_index_answers_as_a_walk_of_all_commits_does(tmp_path: Path, seed: int) -> None:
    chance, story = random.Random(seed), Story(tmp_path, recorded=True)
    for _ in range(6):
        for act in chance.sample(acts(story, chance), k=2):
            act()
        repository, shape = story.repository(), story.git("log", "--graph", "--oneline")
        limit = chance.choice([1, 3, _MANY])
        found, walk = indexed(repository, story, limit), walked(repository, story)
        assert set(walk) == looked_up(story), f"seed {seed}: {shape}"
        assert len(found) == min(limit, len(walk)), f"seed {seed}: {shape}"
        assert set(indexed(story.repository(), story)) == set(walk), f"seed {seed}: {shape}"


def test_what_is_there_is_not_walked_again_and_a_new_tip_is_walked_down_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = Story(tmp_path, recorded=True)
    story.promote(2)
    first = indexed(story.repository(), story)
    story.promote(3)
    story.somebody_merges(2)
    second = story.repository()
    expected = walked(second, story)
    monkeypatch.setattr(releases, "changes", unexpected)
    assert indexed(second, story) == expected
    assert indexed(story.repository(), story) == expected
    assert expected[1:] == first


def test_a_move_that_brings_a_release_too_is_followed(tmp_path: Path) -> None:
    story = Story(tmp_path, recorded=True)
    story.promote(2)
    before = walked(story.repository(), story)
    story.git("mv", story.path, "overlays/moved")
    story.path = "overlays/moved"
    story.write(3)
    story.commit("Move the overlay and deploy 3 by hand")
    assert walked(story.repository(), story) == [story.git("rev-parse", "HEAD"), *before]


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def put_a_folder_there(file: Path) -> None:
    file.unlink()
    file.mkdir()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "lost": Path.unlink,
    "empty": lambda file: file.write_bytes(b""),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-20]),
    "a bit flipped": flip,
    "not ours": lambda file: file.write_bytes(b"{}\n"),
    "a folder": put_a_folder_there,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_index_that_is_no_good_is_made_again(tmp_path: Path, damage: str) -> None:
    story = Story(tmp_path, recorded=True)
    story.promote(2)
    expected = indexed(story.repository(), story)
    (file,) = tmp_path.glob("cache/*/promoter-kept-*")
    DAMAGES[damage](file)
    assert indexed(story.repository(), story) == expected == walked(story.repository(), story)
    assert damage == "a folder" or file.read_bytes()


def test_an_index_of_another_version_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story(tmp_path, recorded=True)
    story.promote(2)
    with monkeypatch.context() as patch:
        patch.setattr(release_index, "_VERSION", "0")
        expected = indexed(story.repository(), story)
    (file,) = tmp_path.glob("cache/*/promoter-kept-*")
    before = file.read_bytes()
    assert indexed(story.repository(), story) == expected
    assert file.read_bytes() != before


def test_nothing_that_decides_asks_the_index() -> None:
    """History does, and whoever holds a record against it: `verify`, and the gate attested where it is declared."""
    sources = {path.stem: path.read_text() for path in Path(release_index.__file__).parent.parent.rglob("*.py")}
    assert {name for name, text in sources.items() if re.search(r"import .*release_index", text)} == {"standings"}
    assert {name for name, text in sources.items() if re.search(r"import .*standings$", text, re.MULTILINE)} == {
        "history",
        "verification",
        "where",
    }
