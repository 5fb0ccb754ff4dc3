"""Bytecode of unpacked runtimes: compiled by a Python that is here, which runs none of it, in layers of its own."""

from __future__ import annotations

import marshal
import os
import py_compile
import shutil
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from promoter.errors import RefusedError
from promoter.image.base import read_base
from promoter.image.runtime import tools
from promoter.image.runtime.unpacked import bytecode, make
from promoter.image.runtime.unpacked.bytecode import add_bytecode
from promoter.image.runtime.unpacked.files import File
from promoter.image.runtime.unpacked.members import pack_files, read_member
from tests.support.models import listing, model_version, store
from tests.support.other_python import other_python
from tests.support.package_index import write_wheel
from tests.support.registry_server import registry_server
from tests.test_image_unpacked import SITE, wheel
from tests.test_image_unpacked_runtime import AMD64, FILES, World, contents, world

__all__ = ["registry_server", "world"]

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
TAG = f"cpython-{HERE.replace('.', '')}"
ENVIRON = {"PATH": os.environ["PATH"], "HOME": "/", "LC_ALL": "C"}


def compiled(folder: Path, *files: File, program: str = sys.executable) -> dict[str, bytes]:
    """The bytecode of these files, by path."""
    folder.mkdir(exist_ok=True)
    groups = add_bytecode([files], program, HERE, folder, ENVIRON)
    return {file.path: b"".join(read_member(file.content)) for group in groups for file in group}  # type: ignore[arg-type]


def module(name: str, text: str) -> File:
    return File(f"{SITE}/{name}", text.encode(), "shop 1.0")


def test_bytecode_is_what_python_itself_would_keep_with_a_hash_that_is_never_checked(tmp_path: Path) -> None:
    text = "import os\ndef area(width, height=2.5):\n    return width * height\n"
    (tmp_path / "source.py").write_text(text)
    py_compile.compile(
        str(tmp_path / "source.py"),
        str(tmp_path / "expected.pyc"),
        f"/{SITE}/shop/prices.py",
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    made = compiled(tmp_path / "made", module("shop/prices.py", text), module("shop/data.txt", "text"))
    assert list(made) == [f"{SITE}/shop/__pycache__/prices.{TAG}.pyc"]
    (data,) = made.values()
    expected = (tmp_path / "expected.pyc").read_bytes()
    assert data[:16] == expected[:16]
    code = marshal.loads(data[16:])
    assert code == marshal.loads(expected[16:])
    assert code.co_filename == f"/{SITE}/shop/prices.py"


def test_python_imports_it_in_place_of_the_source(tmp_path: Path) -> None:
    made = compiled(tmp_path, module("shop.py", "def answer():\n    return 42\n"))
    (tmp_path / "shop.py").write_text("answer = 'from the source'\n")
    kept = tmp_path / f"__pycache__/shop.{TAG}.pyc"
    kept.parent.mkdir()
    kept.write_bytes(next(iter(made.values())))
    told = subprocess.run(
        [sys.executable, "-c", "import shop; print(shop.answer())"],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        check=True,
    )
    assert told.stdout == b"42\n"


NOT_PYTHON = {
    "old.py": "print 'Python 2'",
    "template.py": "class {{ name }}: pass",
    "null.py": "x = '\0'",
    "bytes.py": "# -*- coding: martian -*-",
    "deep.py": "x = " + "(" * 5000 + ")" * 5000,
    "surrogate.py": "x = '''" + "\\ud800" + "'''\n'",
}


def test_what_does_not_compile_is_left_out(tmp_path: Path) -> None:
    good = module("good.py", "x = 1\n")
    made = compiled(tmp_path, good, *(module(name, text) for name, text in NOT_PYTHON.items()))
    assert list(made) == [f"{SITE}/__pycache__/good.{TAG}.pyc"]


def test_tests_of_packages_data_and_scripts_are_left_out(tmp_path: Path) -> None:
    large = "x = '" + "a" * (4 << 20) + "'"
    skipped = [module("shop/tests/test_x.py", ""), module("shop/test/x.py", ""), module("large.py", large)]
    made = compiled(tmp_path, module("shop/testing.py", ""), *skipped, File("opt/runtime/bin/tool.py", b"", "shop 1.0"))
    assert list(made) == [f"{SITE}/shop/__pycache__/testing.{TAG}.pyc"]


def test_nothing_of_a_wheel_is_run(tmp_path: Path) -> None:
    """Neither a module, nor what Python would run at its start if it found the wheel."""
    proof = tmp_path / "ran"
    text = f"open({str(proof)!r}, 'w').close()\n"
    made = wheel(tmp_path, {name: text.encode() for name in ("sitecustomize.py", "json.py", "marshal.py", "shop/__init__.py")})
    (tmp_path / "zlib.py").write_text(text)
    paths = compiled(tmp_path, *made.files)
    assert len(paths) == 4
    assert not proof.exists()


# A name that other modules have too, and a set that is there twice: what marshal writes of either depends on what is in memory.
SETS = """
def one(value):
    return value in {"reason_a", "reason_b", "reason_c", None}
def other(value):
    return value in {"reason_a", "reason_b", "reason_c", None}, "reason_d"
"""
NAMES = "reason_a = reason_b = reason_c = reason_d = one = other = value = 1\n"


def test_bytecode_does_not_depend_on_what_else_is_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bytecode, "_PROCESSES", 1)
    sets, names = module("sets.py", SETS), module("names.py", NAMES)
    later = replace(names, content=(NAMES + "#" * 1000).encode())  # modules are compiled by their size
    alone = compiled(tmp_path / "a", sets)
    after, before = compiled(tmp_path / "b", sets, names), compiled(tmp_path / "c", sets, later)
    (path,) = alone
    assert alone[path] == after[path] == before[path]


def test_number_of_processes_place_user_and_clock_make_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modules = [module(f"shop/m{number}.py", SETS + "x = 1\n" * number) for number in range(9)]
    packed = []
    for processes, environ in ((1, {"TZ": "UTC"}), (3, {"TZ": "Asia/Tokyo", "LC_ALL": "C.UTF-8", "HOME": "/x"})):
        monkeypatch.setattr(bytecode, "_PROCESSES", processes)
        folder = tmp_path / f"of {processes}"
        folder.mkdir()
        (group,) = add_bytecode([modules], sys.executable, HERE, folder, ENVIRON | environ)
        packed.append(pack_files(group).blob.digest)
        modules.reverse()
    assert packed[0] == packed[1]


def test_another_version_compiles_for_a_base_of_its_own(tmp_path: Path) -> None:
    program = other_python()
    tag = subprocess.run(
        [program, "-I", "-c", "import sys; print(sys.implementation.cache_tag)"], capture_output=True, text=True, check=True
    ).stdout.strip()
    minor = f"3.{tag.removeprefix('cpython-3')}"
    assert tools.find_python(minor, {"PATH": f"{Path(program).parent}:/usr/bin:/bin"}) == program
    file = File(f"opt/runtime/lib/python{minor}/site-packages/shop.py", b"x = {1, 2}\n", "shop 1.0")
    ((made,),) = add_bytecode([[file]], program, minor, tmp_path, ENVIRON)
    assert made.path.endswith(f"/__pycache__/shop.{tag}.pyc")
    assert b"".join(read_member(made.content))[:4] != py_compile.importlib.util.MAGIC_NUMBER  # type: ignore[arg-type,attr-defined]


def test_a_stand_in_that_runs_no_python_is_none(tmp_path: Path) -> None:
    program = tmp_path / "python3.99"
    program.write_text("#!/bin/sh\necho 'command not found' >&2\nexit 127\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    assert shutil.which("python3.99", path=str(tmp_path))
    assert tools.find_python("3.99", {"PATH": f"{tmp_path}:/usr/bin:/bin"}) is None


def test_source_that_takes_all_memory_to_compile_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bytecode, "_MEMORY", 96 << 20)
    large = module("large.py", "x = [" + "(1, f(2), [3]), " * 200_000 + "]\n")
    with pytest.raises(RefusedError, match=r"can't compile the modules of the locked packages: .*MemoryError") as refused:
        compiled(tmp_path, large)
    assert "runtime-builder: engine" in refused.value.hint


def test_a_runtime_has_bytecode_in_layers_after_all_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    made = read_base(world.builder("bytecode/with")(model_version(listing(FILES)), store(FILES).open), AMD64)
    monkeypatch.setattr(make, "find_python", lambda *_: None)
    builder = world.builder("bytecode/without")
    without = read_base(builder(model_version(listing(FILES)), store(FILES).open), AMD64)
    assert made.layers[: len(without.layers)] == without.layers
    names = contents(world.builder("bytecode/with").target, made.layers[len(without.layers) :])
    kept = [name for name, entry in names.items() if entry.isfile()]
    assert kept
    assert all(name.endswith(f".{TAG}.pyc") for name in kept)
    assert f"{SITE}/__pycache__/uvicorn.{TAG}.pyc" in kept
    assert f"opt/promoter/promoter/serving/__pycache__/model.{TAG}.pyc" in kept
    assert [line for line in world.said if "workers will compile" in line] == [
        f"no Python {HERE} is here to compile with: workers will compile what they import, at each start"
    ]
    # It is found again by machines that have a Python, and by those that have none.
    world.said.clear()
    monkeypatch.undo()
    found = builder(model_version(listing(FILES)), store(FILES).open)
    assert read_base(found, AMD64).digest == without.digest
    assert world.said == []


def test_a_new_pin_sends_the_bytecode_of_one_package(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make, "_OWN_LAYER", 1)  # every package is large
    before = read_base(world.builder("bytecode/pins")(model_version(listing(FILES)), store(FILES).open), AMD64)
    path = write_wheel(world.wheels, "shop", "1.1")
    assert path.exists()
    files = {**FILES, "requirements.txt": b"mlflow==3.17.2\nshop==1.1\n"}
    after = read_base(world.builder("bytecode/pins")(model_version(listing(files)), store(files).open), AMD64)
    changed = [layer for layer in after.layers if layer not in before.layers]
    names = contents(world.builder("bytecode/pins").target, tuple(changed))
    assert {name for name in names if name.endswith((".py", ".pyc"))} >= {f"{SITE}/shop.py"}
    assert not [name for name in names if "uvicorn" in name]
