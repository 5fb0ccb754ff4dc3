"""What the build finds out about a runtime before it is published: whether the base has what compiled packages load."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cyclonedx.model.bom import Bom
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from promoter.image.runtime import install


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
    text = install.bill_of_materials()
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(text) is None
    bill = Bom.from_json(json.loads(text))  # type: ignore[attr-defined] # made by a decorator
    packages = [(one.purl.type, one.purl.name, one.purl.version) for one in bill.components]
    assert packages == [("pypi", "plain-one", "4.5"), ("pypi", "torch", "2.9.0+cpu"), ("pypi", "zope-event", "4.5")]
    assert install.bill_of_materials() == text
