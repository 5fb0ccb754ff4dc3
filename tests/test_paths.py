"""One rule decides which names from outside become paths, and every door asks it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest

from promoter.errors import PromoterError, RefusedError
from promoter.gitops import tree
from promoter.image.layer import content_digest, sort_checked
from promoter.image.runtime.whole import _keeping
from promoter.kustomize import render
from promoter.machine.paths import flaw, leads_below, link_below, open_below, write_below
from promoter.model_registry.artifacts import listing
from promoter.models import ModelFile
from promoter.webhook.source import _written

ODD = [
    *("", ".", "..", "/etc/passwd", "../out", "a/../b", "a/..", "a//b", "a/", "./a", "a/./b"),
    *(
        ".git",
        ".git/config",
        "a/.git/config",
        ".GIT",
        ".gIt/x",
        "git~1/config",
        ".git:x/config",
        "a/.GIT::$INDEX_ALLOCATION",
        ".g\u200cit/config",
        ".git. /x",
        "\uff0egit/config",
    ),
    *("a\0b", "a\nb", "a\rb", "a\tb", "a\x1b[31mb", "a\x7fb", "a\x85b", "..\\out", "a\\b"),
]
PLAIN = ["a", "a/b.c", ".github/x", ".gitignore", "a/.gitkeep", "git", "..a", "a..", "...", "-x", "é ü.txt", "a b", "~", "con"]


SPACES = ["a\u00a0b.pkl", "a\u2003b", "\u3000"]
INVISIBLE = [("a\u202eb", "U+202E"), ("a\u200bb", "U+200B"), ("\u2028", "U+2028"), ("a\ue000", "U+E000")]


@pytest.mark.parametrize("path", SPACES)
def test_spaces_of_every_kind_are_allowed_in_names(path: str) -> None:
    assert [file.path for file in listing(iter([ModelFile(path, 1)]))] == [path]


@pytest.mark.parametrize(("path", "code"), INVISIBLE)
def test_an_invisible_character_is_refused_by_its_number(path: str, code: str) -> None:
    with pytest.raises(RefusedError, match=f"whose name has the invisible character {re.escape(code)}"):
        listing(iter([ModelFile(path, 1)]))


def put_in_a_layer(path: str) -> None:
    sort_checked([ModelFile(path, 1)])


def list_of_a_model(path: str) -> None:
    listing(iter([ModelFile(path, 1)]))


def list_of_a_tree(path: str) -> None:
    tree.regular_files(f"100644 blob {'0' * 40}\t{path}\0")


def keep_for_a_build(path: str) -> None:
    @contextmanager
    def opened(_: ModelFile) -> Iterator[BytesIO]:
        yield BytesIO(b"x")

    content_digest([ModelFile(path, 1)], _keeping(Path("kept"), opened))


DOORS: list[Callable[[str], object]] = [
    list_of_a_tree,
    put_in_a_layer,
    list_of_a_model,
    keep_for_a_build,
    lambda path: write_below(Path(), path, b""),
]


@pytest.mark.parametrize("path", ODD, ids=repr)
def test_every_door_refuses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    assert flaw(path)
    for door in DOORS:
        with pytest.raises((PromoterError, ValueError)):
            door(path)
    assert list(tmp_path.rglob("*")) == [tmp_path / "in"]


@pytest.mark.parametrize("path", PLAIN)
def test_every_door_lets_it_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert flaw(path) == ""
    for door in DOORS:
        door(path)
    assert (tmp_path / path).read_bytes() == b""
    assert (tmp_path / "kept" / path).read_bytes() == b"x"


@pytest.mark.parametrize("path", [path for path in ODD if path not in (".", "./a", "a/")], ids=repr)
def test_the_configuration_names_no_such_path(path: str) -> None:
    with pytest.raises(PromoterError, match="is not a path inside the repository"):
        tree.normalize(path)


@pytest.mark.parametrize(
    ("target", "leads"),
    [
        ("b", True),
        ("./b/c/", True),
        ("../b", True),
        ("../../b", False),
        ("..", False),
        ("/etc/passwd", False),
        ("b/../c", False),  # if b is a link to a folder further up, its parent is somewhere else
        ("../.git/config", False),
    ],
)
def test_a_link_is_made_only_if_it_leads_to_something_below_the_folder(tmp_path: Path, target: str, leads: bool) -> None:
    (tmp_path / "in").mkdir()
    assert leads_below("a/link", target) is leads
    if not leads:
        with pytest.raises(ValueError, match="leads out"):
            link_below(tmp_path / "in", "a/link", target)
        assert not (tmp_path / "in/a/link").is_symlink()
    else:
        link_below(tmp_path / "in", "a/link", target)
        assert (tmp_path / "in/a/link").readlink() == Path(target)


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "in/folder").symlink_to(tmp_path / "out")
    (tmp_path / "in/file").symlink_to(tmp_path / "out/file")
    os.mkfifo(tmp_path / "in/pipe")
    for path in ("folder/file", "file", "pipe"):
        with pytest.raises(OSError):
            write_below(tmp_path / "in", path, b"x")
        with pytest.raises(OSError):
            os.close(open_below(tmp_path / "in", path, os.O_WRONLY | os.O_CREAT))
    assert list((tmp_path / "out").iterdir()) == []


def test_a_render_and_the_receiver_write_below_their_folders(tmp_path: Path) -> None:
    if render.tool() is not None:
        with pytest.raises(ValueError, match="a path is relative"):
            render.build({"../../out": b"x"}, "o")
    folder = _written(tmp_path / "cache", {"promoter.yaml": b"a", "../../out": b"b"})
    assert [path.name for path in folder.iterdir()] == ["promoter.yaml"]
    assert not list(tmp_path.rglob("out"))
