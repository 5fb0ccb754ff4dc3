"""`promoter open`: addresses as they are configured, a browser that gets no secret, and a sentence where an address is not known."""

from __future__ import annotations

import json
import os
import re
import stat
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest
import requests

from promoter.commands.open import address, start
from promoter.errors import RefusedError, UsageError
from promoter.hosting.forge import Address
from promoter.models import ForgeKind
from promoter.notify.links import Page
from tests.support.argo_world import World, WorldClients, world
from tests.support.forge_repository import ForgeRepository
from tests.support.forge_server import forge_server
from tests.support.mlflow_server import MlflowServer
from tests.support.pull_requests import edit, settings, variables
from tests.support.write_path import WritePath, path

__all__ = ["path"]


@pytest.fixture
def it(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, os.environ) as one:
        yield one


def of(it: World, page: Page, clients: WorldClients | None = None) -> str:
    return address(clients or it.clients, it.environment, page)


def test_argo_cd_s_page_is_that_of_the_application(it: World) -> None:
    application = it.environment.application
    assert (
        of(it, Page.ARGOCD) == f"{it.clients.environ['ARGOCD_SERVER']}/applications/{application.namespace}/{application.name}"
    )
    configured = replace(it.clients.config, argocd_web_url="https://argocd.example.com/")
    found = of(it, Page.ARGOCD, WorldClients(configured, it.clients.environ))
    assert found == f"https://argocd.example.com/applications/{application.namespace}/{application.name}"


def test_mlflow_s_page_is_there_and_about_the_version_that_is_deployed(tmp_path: Path, mlflow_server: MlflowServer) -> None:
    name = f"detector {uuid.uuid4().hex[:8]}"
    mlflow_server.register(name, f"models:/{mlflow_server.log_model()}")
    with world(tmp_path, {**os.environ, "MLFLOW_TRACKING_URI": mlflow_server.url}, model=name) as it:
        page, _, place = of(it, Page.MLFLOW).partition("#")
    assert requests.get(page, timeout=60).status_code == 200
    found = re.fullmatch("/models/(.+)/versions/(.+)", place)
    assert found is not None
    there = mlflow_server.api("GET", "model-versions/get", name=unquote(found[1]), version=found[2])
    assert there["model_version"]["name"] == name


def test_the_dashboard_is_that_of_the_overlay_s_settings(it: World) -> None:
    with pytest.raises(UsageError, match="address of a dashboard") as unknown:
        of(it, Page.GRAFANA)
    assert "set DASHBOARD in overlays/staging/settings.yaml" in unknown.value.hint
    dashboard = "https://grafana.example.com/d/fraud?var-namespace=fraud"
    it.remote.commit({"overlays/staging/settings.yaml": json.dumps({"data": {"DASHBOARD": dashboard}})})
    assert of(it, Page.GRAFANA) == dashboard


def test_the_commit_is_on_the_forge_if_there_is_one(it: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="the address of commit is not known") as unknown:
        of(it, Page.COMMIT)
    assert "forge:" in unknown.value.hint
    place = Address(ForgeKind.GITHUB, "https://api.github.com", "team", "gitops")
    monkeypatch.setattr(WorldClients, "forge_address", lambda _self, _url: place)
    assert of(it, Page.COMMIT) == f"https://github.com/team/gitops/commit/{it.remote.tip()}"


def test_the_pull_request_is_the_open_one(path: WritePath) -> None:
    with forge_server(ForgeRepository(path.remote)) as server:
        policy = ("  alias: challenger\n", "  alias: challenger\n  write: pull-request\n")
        edit(path.config, policy, more=settings(server, ForgeKind.GITHUB))
        clients = path.clients(**variables(server))
        environment = clients.config.environment("staging")
        with pytest.raises(RefusedError, match="has opened no pull request"):
            address(clients, environment, Page.PR)
        path.register()
        done = path.run("promote", f"{path.model}:1", "--to", "staging", "--no-render", **variables(server))
        assert done.returncode == 0, done.stderr
        (pull,) = server.pulls
        assert address(clients, environment, Page.PR).endswith(f"/pull/{pull.number}")


def test_a_browser_gets_the_address_and_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, log = tmp_path / "xdg-open", tmp_path / "log"
    program.write_text(f'#!/bin/sh\necho "$@" > {log}\nenv >> {log}\n')
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin", "DISPLAY": ":7", "ARGOCD_AUTH_TOKEN": "made-up-token-77"}
    url = "https://argocd.example.com/applications/argocd/fraud"
    monkeypatch.setenv("PATH", environ["PATH"])
    assert start(url, environ)
    told = log.read_text()
    assert told.splitlines()[0] == url
    assert "DISPLAY=:7" in told
    assert "made-up-token" not in told


@pytest.mark.parametrize("url", ["file:///etc/passwd", "javascript:alert(1)", "--help"])
def test_only_pages_of_servers_are_handed_to_a_browser(url: str) -> None:
    assert start(url, {"PATH": "/usr/bin:/bin"}) is False


def test_the_command_prints_it(path: WritePath) -> None:
    path.register()
    done = path.run("promote", f"{path.model}:1", "--to", "staging", "--no-render", "--no-watch")
    assert done.returncode == 0, done.stderr
    done = path.run("open", "staging", "mlflow", "-o", "json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["page"], found["started"]) == (0, "mlflow", False)
    assert found["url"].endswith(f"/#/models/{path.model}/versions/1")
