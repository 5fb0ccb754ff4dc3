"""What the build finds out about a runtime before it is published: whether the base has what compiled packages load."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
from cyclonedx.model.bom import Bom
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from promoter.image.runtime import install
from promoter.image.runtime.packages import base_hint


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment in which MLflow is an empty package; returns its site-packages."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "runtime"], check=True)
    monkeypatch.setattr(install, "RUNTIME", tmp_path / "runtime")
    monkeypatch.setattr(install, "SERVER", tmp_path / "server")
    monkeypatch.setattr(install, "BUILD", tmp_path)
    (tmp_path / "server").mkdir()
    site = next((tmp_path / "runtime" / "lib").glob("python*")) / "site-packages"
    (site / "mlflow").mkdir()
    (site / "mlflow" / "__init__.py").touch()
    (site / "mlflow" / "pyfunc.py").touch()
    return site


def checked() -> object:
    """What the check ends the build with; None if it lets it go on."""
    try:
        install.check()
    except SystemExit as end:
        return end.code
    return None


def add(site: Path, name: str, code: str, *, compiled: bool = True) -> None:
    """A distribution with one package of this code, as a wheel leaves it."""
    files = {f"{name}/__init__.py": code} | ({f"{name}/lib_{name}.so": ""} if compiled else {})
    info = f"{name}-4.5.dist-info"
    files |= {f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 4.5\n"}
    files |= {f"{info}/RECORD": "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])}
    for path, text in files.items():
        (site / path).parent.mkdir(exist_ok=True)
        (site / path).write_text(text)


def test_a_library_that_neither_wheels_nor_base_have_is_named_with_its_package(runtime: Path) -> None:
    add(runtime, "fine", "")
    add(runtime, "booster", "raise OSError('libgomp.so.1: cannot open shared object file: No such file or directory')")
    assert checked() == (
        "promoter: what was installed does not run on the base image: "
        "booster 4.5 needs libgomp.so.1, which the base image does not have (Debian: libgomp1)"
    )


def test_the_loader_reports_it_itself(runtime: Path) -> None:
    add(runtime, "native", "import ctypes\nctypes.CDLL('libmissing-of-promoter.so.7')")
    with pytest.raises(SystemExit, match=r"native 4.5 needs libmissing-of-promoter.so.7, which the base image does not have$"):
        install.check()


@pytest.mark.parametrize(
    "code",
    [
        "raise ImportError('libcuda.so.1: cannot open shared object file: No such file or directory')",
        "raise RuntimeError('no GPU')",
        "raise SystemExit(3)",
        "print('hello')",
    ],
)
def test_what_proves_nothing_about_the_base_is_let_pass(runtime: Path, code: str) -> None:
    add(runtime, "special", code)
    assert checked() is None


def test_packages_without_compiled_code_are_not_imported(runtime: Path) -> None:
    add(runtime, "plain", "raise OSError('libgomp.so.1: cannot open shared object file')", compiled=False)
    assert checked() is None


def test_a_server_that_can_not_be_imported_is_named(runtime: Path) -> None:
    (runtime / "mlflow" / "pyfunc.py").write_text("import pkg_resources")
    with pytest.raises(SystemExit, match="ModuleNotFoundError: No module named 'pkg_resources'"):
        install.check()


def test_the_bill_of_materials_lists_what_was_installed(runtime: Path) -> None:
    """Read back by the library that CycloneDX itself maintains."""
    for name in ("Zope.Event", "torch", "plain_one"):
        add(runtime, name, "")
    (runtime / "torch-4.5.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.9.0+cpu\n")
    text = install.bill_of_materials(install.installed())
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(text) is None
    bill = Bom.from_json(json.loads(text))  # type: ignore[attr-defined] # made by a decorator
    packages = [(one.purl.type, one.purl.name, one.purl.version) for one in bill.components]
    assert packages == [("pypi", "plain-one", "4.5"), ("pypi", "torch", "2.9.0+cpu"), ("pypi", "zope-event", "4.5")]
    assert install.bill_of_materials(install.installed()) == text


def test_needs_of_a_compiled_file_are_those_that_its_linker_wrote() -> None:
    """Every compiled file of NumPy, which patchelf has changed after it was linked, as binutils reads it."""
    if not shutil.which("readelf"):
        pytest.skip("readelf (package binutils) is missing")
    files = [path for path in Path(numpy.__file__).parents[1].glob("numpy*/**/*.so*") if path.is_file()]
    assert len(files) > 10
    needs = {path: install.needed_libraries(path) for path in files}
    for path, found in needs.items():
        printed = subprocess.run(["readelf", "-d", path], capture_output=True, text=True, check=True).stdout
        assert found == re.findall(r"\(NEEDED\).*\[(.+)\]", printed), path
    assert any("libc.so.6" in found for found in needs.values())


@pytest.mark.parametrize(
    "content", [b"", b"\x7fELF", b"\x7fELF\x02\x01" + b"\xff" * 200, b"MZ" * 99, b"\x7fELF\x01\x01" + bytes(99)]
)
def test_a_file_that_is_no_library_needs_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd.so").write_bytes(content)
    assert install.needed_libraries(tmp_path / "odd.so") == []


def test_every_library_that_the_base_lacks_is_named_at_once(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The import ends at the first; the files of the other wheels name theirs. One that only a plug-in needs is not asked for."""
    gone = "OSError('libgomp.so.1: cannot open shared object file: No such file or directory')"
    add(runtime, "booster", f"raise {gone}")
    add(runtime, "vision", "")
    add(runtime, "plugin", "")
    needs = {
        "lib_booster.so": ["libgomp.so.1"],
        "lib_vision.so": ["libGL.so.1", "libc.so.6"],
        "lib_plugin.so": ["libtbb.so.12"],
    }
    monkeypatch.setattr(install, "needed_libraries", lambda path: needs.get(path.name, []))
    monkeypatch.setattr(install, "base_libraries", lambda: {"libc.so.6"})
    assert install.missing_libraries() == {
        "libgomp.so.1": "booster 4.5",
        "libGL.so.1": "vision 4.5",
        "libtbb.so.12": "plugin 4.5",
    }
    assert checked() == (
        "promoter: what was installed does not run on the base image: "
        "booster 4.5 needs libgomp.so.1, which the base image does not have (Debian: libgomp1); "
        "vision 4.5 needs libGL.so.1, which it does not have either (Debian: libgl1)"
    )
    assert base_hint(str(checked())) == "set image.packages: [libgl1, libgomp1], or image.base to an image that has it"
