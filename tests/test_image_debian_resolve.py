"""Which packages a base lacks: versions in dpkg's own order, alternatives, what is provided, what excludes what."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from promoter.errors import RefusedError
from promoter.image.runtime.debian.control import Package, installed, paragraphs, relations
from promoter.image.runtime.debian.index import Index
from promoter.image.runtime.debian.resolve import Resolver
from promoter.image.runtime.debian.version import OPERATORS, meets, order

STATUS = """\
Package: libc6
Status: install ok installed
Version: 2.36-9+deb12u1
Provides: libc-abi (= 5)
Breaks: oldies (<< 2)

Package: gcc-base
Status: hold ok installed
Version: 12.2.0-14

Package: left
Status: deinstall ok config-files
Version: 1
"""


def resolver(folder: Path, *texts: str) -> Resolver:
    """For the base of STATUS and indexes of these texts, a line for each package: `name version field: value; ...`."""
    indexes = []
    for number, text in enumerate(texts):
        listed = ""
        for line in filter(None, (one.strip() for one in text.splitlines())):
            name, version, *rest = line.split(" ", 2)
            fields = "".join(f"{field.strip()}\n" for field in "".join(rest).split(";") if field.strip())
            listed += f"Package: {name}\nVersion: {version}\nArchitecture: all\n{fields}Filename: pool/{name}.deb\nSize: 1\nSHA256: {'0' * 64}\n\n"
        (folder / str(number)).write_text("\n" + listed)
        indexes.append(Index(folder / str(number), "http://x", 500 if number < 2 else 1))
    return Resolver("base:1", installed(STATUS), indexes)


def found(resolver: Resolver, *asked: str) -> list[str]:
    return [str(one.package) for one in resolver.resolve(asked)]


# -- versions ---------------------------------------------------------------------------------------------------------

SORTED = [
    "1~~",
    "1~~a",
    "1~",
    "1",
    "1a",
    "1+b1",
    "1.0~rc1-1",
    "1.0",
    "1.0-1~deb12u1",
    "1.0-1",
    "1.0-1+b1",
    "1.0-1.1",
    "1.0.0",
    "1.9",
    "1.10",
    "2.36-9+deb12u10",
    "10",
    "1:0.1",
    "2:0",
]


def test_versions_are_in_order() -> None:
    shuffled = SORTED[:]
    random.Random(7).shuffle(shuffled)
    assert sorted(shuffled, key=order) == SORTED
    assert order("1.0") == order("1.0-0") == order("0:1.0") == order("01.0")


def test_versions_are_compared_as_dpkg_compares_them() -> None:
    if not shutil.which("dpkg"):
        pytest.skip("dpkg is missing")
    chance = random.Random(11)
    made = ["".join(chance.choice("0019a~+.-b") for _ in range(chance.randint(1, 6))) for _ in range(40)]
    versions = [*SORTED, *(f"1{text}" for text in made if not text.endswith("-"))]
    pairs = [(chance.choice(versions), chance.choice(versions), chance.choice(OPERATORS)) for _ in range(150)]
    script = "while read one operator other; do dpkg --compare-versions $one $operator $other; echo $?; done"
    names = {"<<": "lt", "<=": "le", "=": "eq", ">=": "ge", ">>": "gt"}
    lines = "".join(f"{one} {names[operator]} {other}\n" for one, other, operator in pairs)
    done = subprocess.run(["sh", "-c", script], input=lines, capture_output=True, text=True, check=True)
    assert [(one, how, other, meets(one, how, other)) for one, other, how in pairs] == [
        (one, how, other, answer == "0") for (one, other, how), answer in zip(pairs, done.stdout.split(), strict=True)
    ]


@pytest.mark.parametrize("version", ["", "1 2", "a:1", "1_0", "1;rm", "ü"])
def test_what_is_not_a_version_is_refused(version: str) -> None:
    with pytest.raises(ValueError, match="is not a version"):
        order(version)


# -- control files ----------------------------------------------------------------------------------------------------


def test_paragraphs_and_relations() -> None:
    text = "\n\nPackage: a\n# no field\nDepends: b:any (>=1), c|d ( = 2 ),\n e\nDescription: x\n .\n y\n\n\nPACKAGE: z\n"
    first, second = paragraphs(text)
    assert (first["description"], second) == ("x\n.\ny", {"package": "z"})
    needed = [[str(one) for one in group] for group in Package(first).needs]
    assert needed == [["b (>= 1)"], ["c", "d (= 2)"], ["e"]]
    for odd in ("a b", "a (1)", "a (>= 1", "a (>= ü)", "|", "a,|b"):
        with pytest.raises(ValueError, match="is not a"):
            relations(odd)


# -- resolving --------------------------------------------------------------------------------------------------------


def test_what_is_needed_comes_along_and_what_is_there_does_not(tmp_path: Path) -> None:
    index = "gomp 1 Depends: libc6 (>= 2.30), more; Pre-Depends: first\nmore 1 Depends: gomp (= 1)\nfirst 1\nnot 1"
    assert found(resolver(tmp_path, index), "gomp") == ["first 1", "gomp 1", "more 1"]
    assert found(resolver(tmp_path, index), "libc6", "libc-abi") == []


def test_the_newest_of_all_indexes_is_taken_if_it_is_not_only_for_who_asks(tmp_path: Path) -> None:
    """As of a backports suite, which is NotAutomatic."""
    chosen = resolver(tmp_path, "gomp 1~9", "gomp 1\ngomp 1~", "gomp 2")
    assert found(chosen, "gomp") == ["gomp 1"]
    assert found(chosen, "gomp=1~9") == ["gomp 1~9"]
    assert found(chosen, "gomp=2") == ["gomp 2"]


def test_alternatives_and_what_is_provided(tmp_path: Path) -> None:
    index = """\
        first 1 Depends: nosuch | second (>= 3) | second
        second 2
        third 1 Depends: second | other
        virtual-user 1 Depends: virtual
        z 1 Provides: virtual
        y 1 Provides: virtual (= 2), virtual2
        x 1 Provides: virtualist; Description: virtual
        strict 1 Depends: virtual (>= 2)
        stricter 1 Depends: virtual (>= 3)
        deep 1 Depends: broken | second
        broken 1 Depends: nosuch
    """
    chosen = resolver(tmp_path, index)
    assert found(chosen, "first") == ["first 1", "second 2"]
    assert found(chosen, "third", "first") == ["first 1", "second 2", "third 1"]
    assert found(chosen, "virtual-user") == ["virtual-user 1", "y 1"]
    assert found(chosen, "z", "virtual-user") == ["virtual-user 1", "z 1"]
    assert found(chosen, "strict") == ["strict 1", "y 1"]
    assert found(chosen, "deep") == ["deep 1", "second 2"]
    with pytest.raises(RefusedError, match=r"stricter 1 needs virtual \(>= 3\), and the base's sources do not have it"):
        chosen.resolve(["stricter"])


@pytest.mark.parametrize(
    ("index", "told"),
    [
        ("", "image.packages needs gomp, and the base's sources do not have it"),
        ("gomp 1 Depends: nosuch (>= 2)", "gomp 1 needs nosuch (>= 2), and the base's sources do not have it"),
        ("gomp 1 Depends: more (>= 2)\nmore 1\nmore 1.5", "gomp 1 needs more (>= 2), and the base's sources have 1, 1.5"),
        ("gomp 12.3 Depends: gcc-base (= 12.3)\ngcc-base 12.3", "it would take gcc-base 12.3, and gcc-base 12.2.0-14 is there"),
        ("gomp 12.3 Depends: gcc-base (= 12.3)", "gomp 12.3 needs gcc-base (= 12.3), and gcc-base 12.2.0-14 is there"),
        ("gomp 1 Conflicts: libc6", "gomp 1 excludes libc6, which is libc6 2.36-9+deb12u1"),
        ("gomp 1 Breaks: libc-abi (<< 6)", "gomp 1 excludes libc-abi (<< 6), which is libc6"),
        ("gomp 1 Depends: oldies\noldies 1", "libc6 2.36-9+deb12u1 excludes oldies (<< 2), which is oldies 1"),
        ("gomp 1 Depends: more\nmore 1 Conflicts: gomp", "more 1 excludes gomp, which is gomp 1"),
    ],
)  # fmt: skip
def test_what_can_not_be_added_is_refused_with_its_reason(tmp_path: Path, index: str, told: str) -> None:
    with pytest.raises(RefusedError, match=re.escape(f"image.packages gomp can't be added to base:1: {told}")) as refused:
        resolver(tmp_path, index).resolve(["gomp"])
    assert "image.packages-mirror" in refused.value.hint


def test_a_package_may_exclude_itself_under_another_name(tmp_path: Path) -> None:
    """So that only one of those that provide something is installed (Debian Policy 7.6.2)."""
    assert found(resolver(tmp_path, "gomp 1 Provides: omp; Conflicts: omp"), "gomp") == ["gomp 1"]


def test_an_index_that_can_not_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="the package index of base:1 can't be read: 'a b' is not a relation"):
        resolver(tmp_path, "gomp 1 Depends: a b").resolve(["gomp"])
