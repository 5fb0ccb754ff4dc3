"""What every test stands on: a home of its own, no credentials from the machine, a fixed Git identity."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.mlflow_server import mlflow_server

__all__ = ["mlflow_server", "own_environment"]

_FOREIGN = (
    *("GIT_", "MLFLOW_", "ARGOCD_", "GITHUB_", "GH_", "AZURE_", "SYSTEM_", "PROMOTER_", "DOCKER_", "TF_BUILD"),
    *("ACR_", "IDENTITY_", "IMDS_", "MSI_"),
)


@pytest.fixture(autouse=True)
def own_environment(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's own settings decides a test, and no test writes to the real home."""
    for name in list(os.environ):
        if name.startswith(_FOREIGN):
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.delenv("CI", raising=False)
    Path(home, ".gitconfig").write_text(
        "[user]\n\tname = Tester\n\temail = tester@example.com\n[init]\n\tdefaultBranch = main\n"
    )
