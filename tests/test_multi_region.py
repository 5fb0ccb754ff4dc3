"""docs/multi-region.md: what it has people type and write works as it stands there."""

from __future__ import annotations

import json
import re
import shlex
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from promoter import cli, config
from promoter.promotion.waves import Stage
from tests.support.argo_world import World
from tests.support.mlflow_server import MlflowServer
from tests.support.regions import Regions, regions
from tests.support.sandbox import git

PAGE = (Path(__file__).parents[1] / "docs" / "multi-region.md").read_text()
COMMANDS = [line for block in re.findall(r"(?s)```sh\n(.*?)```", PAGE) for line in block.splitlines()]
YAML_BLOCK = re.findall(r"(?s)```yaml\n(.*?)```", PAGE)[0]
QUICK = "\nwatch:\n  stable-for: 0.1\n"


def of(*names: str) -> list[str]:
    return [one for one in COMMANDS if shlex.split(one)[1] in names]


def keys() -> dict[str, str]:
    """The keys that the page gives each environment, but those that the world writes itself; nothing is held for long."""
    text = YAML_BLOCK.replace("30m", "0.5s")
    items = re.split(r"(?m)^- name: ", text)[1:]
    found = {}
    for item in items:
        name, *lines = item.splitlines()
        found[name] = "".join(f"{line}\n" for line in lines if not line.lstrip().startswith("application:"))
    return found


def run(command: str, patch: pytest.MonkeyPatch) -> int:
    patch.setattr("sys.argv", shlex.split(command))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


@contextmanager
def passing(it: World) -> Iterator[None]:
    """Time passes by itself, as it does for a command."""
    ended = threading.Event()

    def pass_() -> None:
        while not ended.wait(0.02):
            it.clock.wait(0.5, threading.Event())

    thread = threading.Thread(target=pass_, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_the_regions_are_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    git("init", "--quiet", str(tmp_path))
    git("-C", str(tmp_path), "remote", "add", "origin", "https://git.example.com/team/gitops.git")
    base = "promoter init --model fraud-detector --registry registry.example.com/models"
    assert run(base, monkeypatch) == 0
    assert len(of("init")) == 2
    assert [run(command, monkeypatch) for command in of("init")] == [0, 0]
    file = tmp_path / "promoter.yaml"
    text = file.read_text()
    written = YAML(typ="safe", pure=True).load(text)["environments"]
    paths = {one["name"]: one["application"] for one in written}
    assert {
        one["name"]: one["application"] for one in YAML(typ="safe", pure=True).load(YAML_BLOCK)["environments"]
    }.items() <= paths.items()
    head, _, tail = text.partition("environments:")
    rest = re.search(r"(?m)^\w", tail)
    file.write_text(head + YAML_BLOCK + (tail[rest.start() :] if rest else ""))
    group = config.load(file).group("worldwide")
    assert [(one.name, one.group.wave, one.group.soak) for one in group if one.group] == [
        ("production", 1, 1800),
        ("production-us", 2, 1800),
        ("production-ap", 3, 0),
    ]


@pytest.fixture
def three(tmp_path: Path, mlflow_server: MlflowServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Regions]:
    with regions(tmp_path, mlflow_server, keys(), names=tuple(keys()), settings=QUICK) as one:
        for name in ("ARGOCD_SERVER", "ARGOCD_AUTH_TOKEN", "MLFLOW_TRACKING_URI"):
            monkeypatch.setenv(name, one.it.clients.environ[name])
        monkeypatch.setenv("PROMOTER_CONFIG", str(one.it.folder / "promoter.yaml"))
        yield one


def test_the_commands_promote_and_go_back(
    three: Regions, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    model = three.it.model
    three.server.set_alias(model, "champion", "2")
    with passing(three.it):
        ended = {
            command: run(command.replace("fraud-detector", model), monkeypatch) for command in of("plan", "promote", "status")
        }
        assert set(ended.values()) == {0}
        assert three.versions == ["2", "2", "2"]
        shown = capfd.readouterr().out
        assert "wave 2: production-us (eastus)" in shown
        assert re.search(r"(?m)^production-us +worldwide 2 eastus +\S+ +2 +2 +2 +Healthy", shown)
        assert [run(command, monkeypatch) for command in of("reconcile", "rollback")] == [0, 0]
        assert three.versions == ["1", "1", "1"]
        assert three.stage is not Stage.UNDER_WAY
        capfd.readouterr()
        assert run(f"promoter promote {model}:3 --to worldwide -o json", monkeypatch) == 0
    last = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert [(one["environment"], one["wave"], one["exit_code"]) for one in last["environments"]] == [
        ("production", 1, 0),
        ("production-us", 2, 0),
        ("production-ap", 3, 0),
    ]
    assert last["promotion"] in three.trailers("Promotion-Id")
