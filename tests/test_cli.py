"""The command line itself: what it imports, what it prints when it can't go on, and that its docs are its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import pytest

from promoter import __version__

# Typer itself imports pydantic as soon as it converts an argument, for `promote --help` too.
HEAVY = ("mlflow", "git", "docker", "ruamel", "pydantic", "requests", "pandas", "starlette", "uvicorn", "azure")
ROOT = Path(__file__).parent.parent


def promoter(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "promoter", *arguments], capture_output=True, text=True, cwd=cwd, check=False, env=None
    )


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [(["--help"], HEAVY), (["--version"], set(HEAVY) - {"pydantic"}), (["promote", "--help"], set(HEAVY) - {"pydantic"})],
)
def test_help_imports_nothing_heavy(arguments: list[str], heavy: Collection[str]) -> None:
    program = f"""
import sys
sys.argv = ["promoter", *{arguments!r}]
from promoter.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print("IMPORTED", sorted(name for name in sys.modules if name.split(".")[0] in {set(heavy)!r}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("IMPORTED []\n")


def test_version() -> None:
    assert promoter("--version").stdout == f"{__version__}\n"


def test_without_promoter_yaml_the_error_reports_it(tmp_path: Path) -> None:
    done = promoter("plan", "m@champion", "--to", "staging", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "error: no promoter.yaml in" in done.stderr
    assert "hint: name it with --config" in done.stderr


@pytest.mark.parametrize("option", [["-o", "json"], ["--output=json"]])
def test_an_error_is_json_where_json_was_asked_for(tmp_path: Path, option: list[str]) -> None:
    done = promoter("plan", "m@champion", "--to", "staging", *option, cwd=tmp_path)
    error = json.loads(done.stdout)["error"]
    assert error["exit_code"] == done.returncode == 2
    assert error["hint"].startswith("name it with --config")


def test_an_unknown_environment(tmp_path: Path) -> None:
    done = promoter("plan", "fraud-detector@champion", "--to", "prodution", "--config", str(ROOT / "promoter.yaml"))
    assert done.returncode == 2
    assert "error: promoter.yaml has no environment 'prodution'" in done.stderr
    assert "hint: did you mean 'production'?" in done.stderr


def test_watching_without_an_argo_cd_is_refused_before_anything_is_read() -> None:
    done = promoter("promote", "fraud-detector@champion", "--to", "staging", "--config", str(ROOT / "promoter.yaml"))
    assert done.returncode == 2
    assert "error: Argo CD is not configured, so a release can't be watched" in done.stderr
    assert "--no-watch" in done.stderr


@pytest.mark.parametrize("command", ["watch", "reconcile"])
def test_without_an_argo_cd_the_hint_names_what_the_command_accepts(command: str) -> None:
    done = promoter(command, "staging", "--config", str(ROOT / "promoter.yaml"))
    assert done.returncode == 2
    assert "hint: set ARGOCD_SERVER and ARGOCD_AUTH_TOKEN\n" in done.stderr


def test_an_unknown_model() -> None:
    done = promoter("promote", "nope@champion", "--to", "staging", "--config", str(ROOT / "promoter.yaml"))
    assert done.returncode == 2
    assert "error: promoter.yaml has no model 'nope'\nhint: available: fraud-detector\n" in done.stderr


def test_a_configuration_that_is_not_there_is_named_by_its_whole_path(tmp_path: Path) -> None:
    done = promoter("status", "-c", str(tmp_path / "such.yaml"))
    assert done.returncode == 2
    assert f"error: {tmp_path}/such.yaml can't be read: No such file or directory" in done.stderr


def test_schema_is_printed() -> None:
    assert json.loads(promoter("schema").stdout)["title"] == "promoter.yaml"
