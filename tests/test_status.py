"""How things stand: alias, Git and cluster side by side, and what can't be reached named instead of left out."""

from __future__ import annotations

import json
import os
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from promoter import cli
from promoter.cli.history_text import Form
from promoter.cli.status_text import status_text, wide_text
from promoter.commands.status import EnvironmentStatus, exit_code, status
from promoter.errors import ExitCode
from promoter.models import Release
from tests.support.argo_world import FAILS, REPOSITORY, World, WorldClients, before_it_was_registered, digest, world
from tests.support.faults import DOWN, always, changed
from tests.support.mlflow_server import MlflowServer
from tests.support.terminal import terminal


@pytest.fixture
def it(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, os.environ) as one:
        yield one


def stand(it: World, clients: WorldClients | None = None) -> EnvironmentStatus:
    (one,) = status(clients or it.clients, it.clients.config.environments)
    return one


def test_git_and_cluster_agree(it: World) -> None:
    one = stand(it)
    assert (one.agree, one.health, one.notes) == (True, "Healthy", ())
    assert (one.release.version if one.release else "", one.commit) == ("1", it.remote.tip())
    assert one.runs is not None
    assert (one.runs.model_version, one.runs.image.digest) == ("1", digest(1))
    assert exit_code([one]) is ExitCode.DONE
    assert wide_text([one]).startswith("staging fraud-detector: agree\n")


def test_after_an_abort_they_disagree(it: World) -> None:
    it.behaviours["2"] = FAILS
    it.promote(2)
    it.settle()
    one = stand(it)
    assert (one.agree, one.health) == (False, "Degraded")
    assert exit_code([one]) is ExitCode.DISAGREE
    assert one.notes[0] == "aborted: Argo Rollouts aborted the update: analysis failed"
    assert any("metric success-rate Failed, measured 0.4 (2 times)" in note for note in one.notes)


def test_what_argo_cd_has_not_seen_yet_is_no_agreement(it: World) -> None:
    it.promote(2)
    one = stand(it)
    assert not one.agree
    assert one.notes[0].startswith("not observed yet: ")
    assert one.runs is not None
    assert one.runs.model_version == "1"


def set_image(manifest: dict[str, Any]) -> None:
    if manifest["kind"] == "Rollout":
        manifest["spec"]["template"]["spec"]["containers"][0]["image"] = f"{REPOSITORY}:v9@{digest(9)}"


def test_an_image_set_by_hand_is_named(it: World) -> None:
    """kubectl set image, while Argo CD ignores the difference and calls it Synced."""
    with it.argocd.fault(changed(set_image, "resource")):
        one = stand(it)
    assert not one.agree
    assert one.runs is not None
    assert one.runs.image.digest == digest(9)
    assert any(digest(9) in note or "image digest" in note for note in one.notes)


def test_an_override_on_the_application_is_named(it: World) -> None:
    override = f"{REPOSITORY}@{digest(9)}"

    def overridden(application: dict[str, Any]) -> None:
        application["spec"]["source"]["kustomize"] = {"images": [override]}

    with it.argocd.fault(changed(set_image, "resource")), it.argocd.fault(changed(overridden)):
        one = stand(it)
    assert any(override in note for note in one.notes)


def test_what_cannot_be_reached_is_noted_and_the_rest_is_reported(it: World) -> None:
    with it.argocd.fault(always(DOWN)):
        one = stand(it)
    assert (one.agree, one.exit_code, one.runs) == (None, ExitCode.UNREACHABLE, None)
    assert one.release is not None
    assert any("Argo CD" in note and "can't be reached" in note for note in one.notes)


def test_a_git_server_that_is_gone_is_noted(it: World) -> None:
    application = replace(it.environment.application, repo_url=str(it.folder / "nothing.git"))
    (one,) = status(it.clients, [replace(it.environment, application=application)])
    assert (one.agree, one.exit_code, one.release) == (None, ExitCode.AUTH, None)
    assert any("nothing.git" in note for note in one.notes)


def test_without_an_argo_cd_what_runs_is_not_known(it: World) -> None:
    environ = {name: value for name, value in it.clients.environ.items() if name != "ARGOCD_SERVER"}
    one = stand(it, WorldClients(it.clients.config, environ))
    assert (one.agree, one.exit_code) == (None, ExitCode.USAGE)
    assert one.notes == ("Argo CD is not configured: what the cluster runs is unknown",)
    assert exit_code([one]) is ExitCode.USAGE
    assert wide_text([one]).startswith("staging fraud-detector: unknown\n")


def test_a_missing_application_is_noted(tmp_path: Path) -> None:
    with world(tmp_path, os.environ, by_name=True) as it:
        assert stand(it).agree
        known = it.clients.config.environments[0]
        environment = replace(known, application=replace(known.application, name="nobody"))
        (one,) = status(it.clients, [environment])
        assert not one.agree
        assert any("nobody" in note for note in one.notes)


def test_an_alias_that_moved_on_is_a_disagreement(tmp_path: Path, mlflow_server: MlflowServer) -> None:
    name = f"detector-{uuid.uuid4().hex[:8]}"
    source = f"models:/{mlflow_server.log_model()}"
    mlflow_server.register(name, source, alias="champion")
    environ = {**os.environ, "MLFLOW_TRACKING_URI": mlflow_server.url}
    with world(tmp_path, environ, model=name, lines="  alias: champion\n") as it:
        assert stand(it).agree
        mlflow_server.register(name, source, alias="champion")
        one = stand(it)
        assert (one.agree, one.alias_version) == (False, "2")
        assert one.notes == ("champion is version 2, Git has version 1",)


def test_a_model_registered_again_has_the_same_numbers_and_is_another_one(tmp_path: Path, mlflow_server: MlflowServer) -> None:
    name = f"detector-{uuid.uuid4().hex[:8]}"
    mlflow_server.register(name, f"models:/{mlflow_server.log_model()}", alias="champion")
    environ = {**os.environ, "MLFLOW_TRACKING_URI": mlflow_server.url}
    with world(tmp_path, environ, model=name, lines="  alias: champion\n") as it:
        it.remote.commit(before_it_was_registered(model=name))
        one = stand(it)
    assert (one.agree, one.alias_version, one.alias_state) == (False, "1", "")
    assert one.notes[0] == "champion is version 1, Git has version 1 of a model of this name that was deleted"


@pytest.mark.parametrize(
    ("state", "agree", "headline"),
    [
        ("quarantined", True, "agree, quarantined"),
        ("rejected", True, "agree, rejected"),
        ("rolled-back", True, "agree, rolled-back"),
        ("failed", False, "DISAGREE"),
        ("allowed", False, "DISAGREE"),
    ],
)
def test_an_alias_that_reconcile_leaves_is_no_difference(
    tmp_path: Path, mlflow_server: MlflowServer, state: str, agree: bool, headline: str
) -> None:
    name = f"detector-{uuid.uuid4().hex[:8]}"
    source = f"models:/{mlflow_server.log_model()}"
    mlflow_server.register(name, source)
    mlflow_server.register(name, source, alias="champion")
    environ = {**os.environ, "MLFLOW_TRACKING_URI": mlflow_server.url}
    with world(tmp_path, environ, model=name, lines="  alias: champion\n") as it:
        entry = f"versions:\n- {{environment: staging, model: {name}, version: '2', state: {state}}}\n"
        it.remote.commit({"overlays/staging/promotion.yaml": entry})
        it.settle()
        one = stand(it)
        assert (one.agree, one.alias_state) == (agree, state)
        assert one.notes == (f"champion is version 2, which is {state} here, Git has version 1",)
        assert exit_code([one]) is (ExitCode.DONE if agree else ExitCode.DISAGREE)
        assert wide_text([one]).splitlines()[0] == f"staging {name}: {headline}"


@pytest.mark.parametrize(("entry", "agree"), [("", True), ("failed", True), ("allowed", False)])
def test_a_tag_of_mlflow_that_the_file_does_not_confirm_is_named(
    tmp_path: Path, mlflow_server: MlflowServer, entry: str, agree: bool
) -> None:
    """A squash of a release and its restore leaves the tag alone: reconcile refuses the version, for ever."""
    name, tag = f"detector-{uuid.uuid4().hex[:8]}", "promoter.quarantined.staging"
    source = f"models:/{mlflow_server.log_model()}"
    mlflow_server.register(name, source)
    mlflow_server.register(name, source, alias="champion")
    mlflow_server.api("POST", "model-versions/set-tag", name=name, version="2", key=tag, value="c" * 40)
    environ = {**os.environ, "MLFLOW_TRACKING_URI": mlflow_server.url}
    with world(tmp_path, environ, model=name, lines="  alias: champion\n") as it:
        versions = [f"{{environment: staging, model: {name}, version: '2', state: {entry}}}"] if entry else []
        it.remote.commit({"overlays/staging/promotion.yaml": f"versions: [{', '.join(versions)}]\n"})
        it.settle()
        one = stand(it)
        named = f"MLflow's tag {tag} quarantines version 2, and overlays/staging/promotion.yaml does not"
        assert (one.agree, named in one.notes) == (agree, agree)
        assert one.alias_state == ("quarantined" if agree else "allowed")


def test_a_model_registry_that_is_gone_is_noted(tmp_path: Path) -> None:
    environ = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/missing/mlflow.db"}
    with world(tmp_path, environ, lines="  alias: champion\n") as it:
        one = stand(it)
        assert one.release is not None
        assert one.notes
        assert one.agree is None
        assert exit_code([one]) not in (ExitCode.DONE, ExitCode.DISAGREE)


def test_a_difference_counts_more_than_what_is_unknown() -> None:
    same, unknown = EnvironmentStatus("a", "m", agree=True), EnvironmentStatus("b", "m", exit_code=ExitCode.UNREACHABLE)
    differs = EnvironmentStatus("c", "m", agree=False, exit_code=ExitCode.DISAGREE)
    assert exit_code([same, unknown, differs]) is ExitCode.DISAGREE
    assert exit_code([same, unknown]) is ExitCode.UNREACHABLE
    assert exit_code([same]) is ExitCode.DONE


def test_status_on_the_command_line(it: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    it.behaviours["2"] = FAILS
    codes = []
    for arguments in ([], ["-o", "json"]):
        monkeypatch.setattr(sys, "argv", ["promoter", "status", "-c", str(it.folder / "promoter.yaml"), *arguments])
        for name in ("ARGOCD_SERVER", "ARGOCD_AUTH_TOKEN"):
            monkeypatch.setenv(name, it.clients.environ[name])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        codes.append(ended.value.code)
        if not arguments:
            it.promote(2)
            it.settle()
    assert codes == [0, 30]
    text, _, document = capsys.readouterr().out.partition("[\n")
    head, line = text.splitlines()
    assert head.split() == ["ENV", "MODEL", "WANTED", "GIT", "LIVE", "HEALTH", "SINCE", "NOTE"]
    assert line.split()[:6] == ["staging", "fraud-detector", "-", "1", "1", "Healthy"]
    (told,) = json.loads(f"[{document}")
    assert (told["agree"], told["release"]["version"], told["runs"]["model_version"]) == (False, "2", "2")


def test_the_table_has_a_word_for_what_is_not_as_it_should_be() -> None:
    now = datetime(2026, 11, 28, 12, tzinfo=UTC)
    release = Release("m", "1", digest(7), "r.example.com/m", "v1", digest(1))
    live = EnvironmentStatus("a", "m", release=release, since=now - timedelta(hours=2), health="Healthy", agree=True)
    behind = replace(
        live, environment="b", alias="champion", alias_version="2", behind=True, agree=False, notes=("it moved on",)
    )
    aborted = replace(
        live, environment="c", verdict="aborted", health="Degraded", agree=False, frozen="until 2099", notes=("x",)
    )
    lost = EnvironmentStatus("d", "m", alias="champion", notes=("no answer",))
    lines = status_text(
        [live, replace(live, environment="q", alias_state="quarantined"), behind, aborted, lost], Form(now)
    ).splitlines()
    assert [line.split()[-1] for line in lines[1:6]] == ["h", "quarantined", "behind", "aborted", "unknown"]
    assert [line.split()[:5] for line in lines[1:6]][2:] == [
        ["b", "m", "2", "1", "-"],
        ["c", "m", "-", "1", "-"],
        ["d", "m", "?", "?", "?"],
    ]
    assert "frozen, aborted" in lines[4]
    assert lines[6:] == ["", "b m: it moved on", "c m: x", "d m: no answer"]
    cut = status_text([behind], Form(now, width=20)).splitlines()
    assert all(len(line) <= 20 for line in cut[:2])


def test_other_forms_and_only_what_differs(
    it: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("ARGOCD_SERVER", "ARGOCD_AUTH_TOKEN"):
        monkeypatch.setenv(name, it.clients.environ[name])

    def run(*arguments: str) -> tuple[object, str]:
        monkeypatch.setattr(sys, "argv", ["promoter", "status", "-c", str(it.folder / "promoter.yaml"), *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, capsys.readouterr().out

    code, text = run("-o", "yaml")
    (told,) = YAML(typ="safe", pure=True).load(text)
    assert (code, told["agree"], told["release"]["version"]) == (0, True, "1")
    assert run("-o", "wide")[1].startswith("staging fraud-detector: agree\n")
    assert run("--differing") == (0, "no environment differs\n")
    assert run("--watch", "-o", "json")[0] == 2


def test_watching_shows_a_change_in_its_place(it: World) -> None:
    environ = {**it.clients.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    command = [sys.executable, "-m", "promoter", "status", "--watch", "-c", str(it.folder / "promoter.yaml")]
    with terminal(command, environ) as shown:
        shown.wait_for("Healthy")
        it.behaviours["2"] = FAILS
        it.promote(2)
        it.settle()
        shown.wait_for("\x1b[2K")  # rewritten, not appended
        shown.wait_for("Degraded")
        shown.type("\x03")
        with pytest.raises(AssertionError, match="it has ended"):
            shown.wait_for("Traceback")
