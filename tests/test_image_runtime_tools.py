"""uv and pip are started with what they need, and nothing of a checkout runs in them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from promoter.image.runtime import tools
from promoter.machine import process

SECRETS = {"ARGOCD_AUTH_TOKEN": "made-up", "MLFLOW_TRACKING_TOKEN": "made-up", "PROMOTER_GIT_TOKEN": "made-up"}


def environ() -> dict[str, str]:
    """The host's, without a setting about indexes, so that pip is asked for its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("UV_")} | SECRETS


def test_a_folder_pip_of_the_checkout_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "pip"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    monkeypatch.chdir(tmp_path)
    trapped = environ() | {"PYTHONPATH": str(tmp_path)}
    assert tools.uv(["--version"], "", trapped).output.startswith("uv ")
    assert tools.pip(["--version"], trapped).output.startswith("pip ")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_no_token_of_another_system_reaches_them(name: str) -> None:
    needed = process.needed(
        environ() | {"UV_INDEX_MINE_PASSWORD": "x", "PIP_INDEX_URL": "y", "https_proxy": "z"}, tools._VARIABLES
    )
    assert name not in needed
    assert {"PATH", "UV_INDEX_MINE_PASSWORD", "PIP_INDEX_URL", "https_proxy"} <= needed.keys()
