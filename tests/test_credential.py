"""A credential goes only where the operator gave it for, whatever a version, a manifest, an answer or promoter.yaml names."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from promoter.argocd.client import ArgoCD
from promoter.config.notices import NoticeSection
from promoter.errors import AuthError, RefusedError, UsageError
from promoter.gitops.credentials import access, api_token
from promoter.hosting import tokens
from promoter.hosting.tokens import dispatch_token, git_token, granting, own_token
from promoter.model_registry import ModelReference, ModelRegistry, connect, settings
from promoter.model_registry.client import ClientStore
from promoter.model_registry.sources import Sources
from promoter.models import ForgeKind, NoticeKind
from promoter.notify.notice import Notice
from promoter.notify.notifier import connect as notifier
from promoter.notify.outbox import Outbox
from promoter.transport.credential import Credential, hosts, origin, origins
from tests.support.listener import Listener, listening
from tests.support.mlflow_server import OLDER, MlflowServer, mlflow_server, older_mlflow
from tests.support.replay import Answer, replaying

__all__ = ["mlflow_server"]

SECRET = "made-up-token-1234"
BASIC = base64.b64encode(f"x-access-token:{SECRET}".encode()).decode()
FORMS = (SECRET, BASIC, base64.b64encode(f":{SECRET}".encode()).decode())
GITHUB, AZURE = ForgeKind.GITHUB, ForgeKind.AZURE_DEVOPS


@pytest.fixture
def foreign() -> Iterator[Listener]:
    """A server of somebody else, to which none of the secret's forms may come."""
    with listening(*FORMS) as listener:
        yield listener


# -- the type ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://Example.com/a", "https://example.com"),
        ("https://example.com:443", "https://example.com"),
        ("https://u:p@example.com:8443/x?y", "https://example.com:8443"),
        ("http://[::1]:80/", "http://[::1]"),
        ("http://example.com:443", "http://example.com:443"),
        ("ssh://git@example.com/x", ""),
        ("git@example.com:x/y", ""),
        ("https://example.com:port/", ""),
        ("https:///x", ""),
        ("https://[x", ""),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, expected: str) -> None:
    assert origin(url) == expected


@given(st.text(), st.sampled_from(["https://good.example", "https://good.example:8443", "http://127.0.0.1:1"]))
def test_nothing_but_its_own_origin_gets_it(text: str, bound: str) -> None:
    credential = Credential(SECRET, origins([bound]))
    for url in (text, f"https://{text}", f"https://{text}@other.example/", f"{bound}.other.example/{text}", f"{bound}1"):
        if origin(url) != bound:
            with pytest.raises(AuthError):
                credential.authorization(url)
    assert credential.authorization(f"{bound}/path") == f"Bearer {SECRET}"


def test_plain_http_is_for_loopback_and_hosts_that_are_named() -> None:
    credential = Credential(SECRET, origins(["http://mlflow.mlflow:5000"]), name="MLFLOW_TRACKING_TOKEN")
    with pytest.raises(AuthError, match=r"not sent to http://mlflow\.mlflow:5000") as caught:
        credential.authorization("http://mlflow.mlflow:5000/api")
    assert caught.value.hint == "use https, or allow plain http: PROMOTER_PLAIN_HTTP_HOSTS=mlflow.mlflow:5000"
    for listed in ("mlflow.mlflow:5000", "other, mlflow.mlflow"):
        allowed = Credential(SECRET, origins(["http://mlflow.mlflow:5000"], listed))
        assert allowed.authorization("http://mlflow.mlflow:5000/api") == f"Bearer {SECRET}"
    for here in ("http://localhost:5000", "http://127.0.0.1:5000", "http://[::1]:5000"):
        assert Credential(SECRET, origins([here])).authorization(here) == f"Bearer {SECRET}"
    assert hosts(" A.example, b:1\nhttps://c:2/x/y ") == {"a.example", "b:1", "c:2"}


@pytest.mark.parametrize("username", [None, "somebody"])
def test_a_line_break_at_the_end_is_left_out_and_one_inside_is_an_error(username: str | None) -> None:
    where = origins(["https://good.example"])
    assert Credential(f"{SECRET}\n", where, username).authorization("https://good.example") == Credential(
        SECRET, where, username
    ).authorization("https://good.example")
    with pytest.raises(UsageError, match="contains a line break"):
        Credential(f"{SECRET}\nurl=https://other.example", where, username).authorization("https://good.example")
    with pytest.raises(UsageError, match="contains a line break"):
        access("https://github.com/a/b", {"PROMOTER_GIT_TOKEN": f"{SECRET}\nurl=https://other.example"})


def test_it_shows_its_secret_nowhere() -> None:
    credential = Credential(SECRET, origins(["https://good.example"]), "somebody", "TOKEN")
    with pytest.raises(AuthError) as caught:
        credential.authorization("https://other.example")
    for text in (repr(credential), str(caught.value), caught.value.hint):
        assert SECRET not in text


# -- MLflow -----------------------------------------------------------------------------------------------------------


def named(server: MlflowServer, uri: str) -> str:
    """A version of a real MLflow whose files are claimed to be at `uri`: put into its database, as older servers take it."""
    name = f"elsewhere-{abs(hash(uri))}"
    version = server.register(name, f"models:/{server.log_model()}")
    server.set_source(name, version, uri)
    return f"{name}:{version}"


@pytest.mark.parametrize("uri", ["{url}/api/2.0/mlflow-artifacts/artifacts/x", "mlflow-artifacts://{netloc}/x", "{url}/x"])
def test_mlflow_s_token_is_not_sent_to_where_files_are_claimed_to_be(
    mlflow_server: MlflowServer, foreign: Listener, uri: str
) -> None:
    reference = named(mlflow_server, uri.format(url=foreign.url, netloc=foreign.netloc))
    registry = connect({**mlflow_server.environ, "MLFLOW_TRACKING_TOKEN": SECRET})
    with pytest.raises(RefusedError, match=r"neither on the tracking server nor in image\.sources"):
        registry.resolve(ModelReference.parse(reference))
    assert foreign.received == b""


@pytest.mark.parametrize("uri", ["{url}/api/2.0/mlflow-artifacts/artifacts/x", "mlflow-artifacts://{netloc}/x"])
def test_nor_where_the_configuration_lets_them_be(mlflow_server: MlflowServer, foreign: Listener, uri: str) -> None:
    uri = uri.format(url=foreign.url, netloc=foreign.netloc)
    reference = named(mlflow_server, uri)
    registry = connect({**mlflow_server.environ, "MLFLOW_TRACKING_TOKEN": SECRET}, sources=[uri])
    with pytest.raises(AuthError, match="not the server they belong to"):
        registry.resolve(ModelReference.parse(reference))
    assert b"GET /api/2.0/mlflow-artifacts" in foreign.received


@pytest.mark.parametrize("form", ["{folder}", "file://{folder}", "file://elsewhere{folder}", "file:{folder}"])
def test_files_of_this_machine_are_not_a_model(mlflow_server: MlflowServer, tmp_path: Path, form: str) -> None:
    (tmp_path / "work" / ".git").mkdir(parents=True)
    (tmp_path / "work" / ".git" / "config").write_text(f"token = {SECRET}\n")
    (tmp_path / "work" / "MLmodel").write_text("flavors:\n  python_function: {}\n")
    reference = named(mlflow_server, form.format(folder=tmp_path / "work"))
    for sources in ((), (str(tmp_path / "other"),), (str(tmp_path / "wor"),)):
        with pytest.raises(RefusedError, match=r"image\.sources"):
            connect(mlflow_server.environ, sources=sources).resolve(ModelReference.parse(reference))


@pytest.mark.parametrize("version", OLDER)
def test_an_mlflow_that_takes_any_place_changes_nothing(tmp_path: Path, foreign: Listener, version: str) -> None:
    """Nothing is put into its database: whoever may register a version registers these."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "MLmodel").write_text("flavors:\n  python_function: {}\n")
    (tmp_path / "work" / ".env").write_text(SECRET)
    (tmp_path / "server").mkdir()
    with older_mlflow(version, tmp_path / "server") as server:
        server.api("POST", "registered-models/create", name="m")
        elsewhere = (f"{foreign.url}/api/2.0/mlflow-artifacts/artifacts/x", f"mlflow-artifacts://{foreign.netloc}/x")
        taken = [(uri, _registered(server, uri)) for uri in (*elsewhere, f"file://elsewhere{tmp_path / 'work'}")]
        registry = connect({**server.environ, "MLFLOW_TRACKING_TOKEN": SECRET})
        for _, number in taken:
            if number:
                with pytest.raises(RefusedError, match=r"image\.sources"):
                    registry.resolve(ModelReference("m", version=number))
    assert [uri for uri, number in taken if number and uri.startswith("http")], "this MLflow refuses such a version by itself"
    assert foreign.received == b""


def _registered(server: MlflowServer, uri: str) -> str:
    """The version's number, "" where MLflow refuses it."""
    answer = requests.post(f"{server.url}/api/2.0/mlflow/model-versions/create", json={"name": "m", "source": uri}, timeout=60)
    return str(answer.json()["model_version"]["version"]) if answer.ok else ""


def test_files_of_a_run_are_looked_for_where_the_run_has_them(mlflow_server: MlflowServer, tmp_path: Path) -> None:
    experiment = mlflow_server.create_experiment("of a run elsewhere", tmp_path.as_uri())
    run = str(mlflow_server.api("POST", "runs/create", experiment_id=experiment, start_time=0)["run"]["info"]["run_id"])
    reference = named(mlflow_server, f"runs:/{run}/model")
    with pytest.raises(RefusedError, match=r"image\.sources"):
        connect(mlflow_server.environ).resolve(ModelReference.parse(reference))


@pytest.mark.parametrize(
    "path", ["%2e%2e/%2e%2e/mlflow/users/get", "a/../../x", ".."],
)  # fmt: skip
def test_an_address_of_files_does_not_climb(mlflow_server: MlflowServer, path: str) -> None:
    reference = named(mlflow_server, f"mlflow-artifacts:/{path}")
    with pytest.raises(RefusedError, match="not an address of files"):
        connect(mlflow_server.environ).resolve(ModelReference.parse(reference))


@pytest.mark.parametrize(
    ("uri", "prefix", "allowed"),
    [
        ("s3://bucket/models/1", "s3://bucket", True),
        ("s3://bucket/models/1", "s3://bucket/models/", True),
        ("s3://bucket/models-of-others/1", "s3://bucket/models", False),
        ("s3://bucket/models/../others/1", "s3://bucket/models", False),
        ("s3://bucket/models/%2e%2e/others/1", "s3://bucket/models", False),
        ("s3://bucket2/models/1", "s3://bucket", False),
        ("gs://bucket/models/1", "s3://bucket", False),
        ("abfss://models@account.dfs.core.windows.net/x", "abfss://models@account.dfs.core.windows.net/", True),
        ("abfss://others@account.dfs.core.windows.net/x", "abfss://models@account.dfs.core.windows.net/", False),
        ("/mnt/models/1", "/mnt/models", True),
        ("file:///mnt/models/1", "/mnt/models", True),
        ("/mnt/models/../secrets", "/mnt/models", False),
        ("mnt/models/1", "/mnt/models", False),
        ("file://host/mnt/models/1", "/mnt/models", False),
        ("s3://bucket/models?x", "s3://bucket", False),
        ("/etc", "s3://bucket", False),
    ],
)
def test_a_source_is_a_whole_part_of_an_address(uri: str, prefix: str, allowed: bool) -> None:
    if allowed:
        Sources([prefix]).require(uri)
        return
    with pytest.raises(RefusedError):
        Sources([prefix]).require(uri)


def test_a_link_out_of_a_source_is_not_in_it(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "out").symlink_to("/etc")
    with pytest.raises(RefusedError):
        Sources([str(tmp_path / "models")]).require(str(tmp_path / "models" / "out"))


def test_a_store_that_promoter_yaml_names_is_read_from_named_places_only(mlflow_server: MlflowServer, tmp_path: Path) -> None:
    reference = ModelReference.parse(named(mlflow_server, str(tmp_path)))
    (tmp_path / "MLmodel").write_text("flavors:\n  python_function: {}\n")
    store, home = f"sqlite:///{mlflow_server.database}", {"HOME": str(tmp_path)}
    with pytest.raises(RefusedError, match=r"image\.sources"):
        connect(home, tracking_uri=store).resolve(reference)
    for found in (connect(home, tracking_uri=store, sources=[str(tmp_path)]), connect({**home, "MLFLOW_TRACKING_URI": store})):
        assert found.resolve(reference).artifact_uri == str(tmp_path)


@pytest.mark.parametrize("uri", ["{url}/api/2.0/mlflow-artifacts/artifacts/x", "mlflow-artifacts://{netloc}/x"])
def test_mlflow_s_client_sends_nothing_there_either(mlflow_server: MlflowServer, foreign: Listener, uri: str) -> None:
    """It would send its credentials with every request, also to a place that is named."""
    uri = uri.format(url=foreign.url, netloc=foreign.netloc)
    reference = ModelReference.parse(named(mlflow_server, uri))
    for sources in ((), (uri,)):
        environ = {**mlflow_server.environ, "MLFLOW_TRACKING_TOKEN": SECRET}
        client = ModelRegistry(ClientStore(settings.read(environ, sources=sources)), mlflow_server.url)
        with pytest.raises(RefusedError):
            client.resolve(reference)
    assert foreign.received == b""


def test_an_address_in_promoter_yaml_gets_no_credential_of_mlflow(foreign: Listener, tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    for variables in ({"MLFLOW_TRACKING_TOKEN": SECRET}, {"MLFLOW_TRACKING_USERNAME": "u", "MLFLOW_TRACKING_PASSWORD": SECRET}):
        with pytest.raises(AuthError, match="is not sent to") as caught:
            connect({**home, **variables}, tracking_uri=foreign.url).version_of("m", "champion")
        assert "MLFLOW_TRACKING_URI" in caught.value.hint
    with pytest.raises(UsageError, match="MLFLOW_TRACKING_AWS_SIGV4 is set"):
        connect({**home, "MLFLOW_TRACKING_AWS_SIGV4": "true"}, tracking_uri=foreign.url)
    assert foreign.received == b""


# -- Argo CD ----------------------------------------------------------------------------------------------------------


def test_an_address_in_promoter_yaml_gets_no_token_of_argo_cd(foreign: Listener) -> None:
    with pytest.raises(AuthError, match="ARGOCD_AUTH_TOKEN is not sent to") as caught:
        ArgoCD.from_environ({"ARGOCD_AUTH_TOKEN": SECRET}, foreign.url).applications()
    assert f"ARGOCD_SERVER={foreign.url}" in caught.value.hint
    assert foreign.received == b""


# -- Git and forges ---------------------------------------------------------------------------------------------------

CONFIG: dict[str, Any] = {
    "models": {"m": {"image": "x.example/m", "kustomize-image": "m"}},
    "environments": [{"name": "e", "model": "m", "application": {"name": "m", "project": "default", "namespace": "argocd"}}],
    "image": {"runtime": "scratch"},
}


def test_git_s_token_is_not_sent_to_where_argo_cd_reports_the_repository_is(tmp_path: Path, foreign: Listener) -> None:
    source = {"repoURL": f"{foreign.url}/x.git", "path": "o", "targetRevision": "main"}
    application = {
        "metadata": {"name": "m", "namespace": "argocd"},
        "spec": {"project": "default", "source": source},
        "status": {"sync": {"status": "Synced", "revision": "a" * 40}, "health": {"status": "Healthy"}},
    }
    answers = {"/api/v1/applications": Answer({"items": [application]}), "/api/v1/applications/m": Answer(application)}
    (tmp_path / "promoter.yaml").write_text(json.dumps(CONFIG))
    with replaying(answers) as argocd:
        environ = {
            **{"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PROMOTER_GIT_TOKEN": SECRET},
            **{
                "ARGOCD_SERVER": argocd.url,
                "ARGOCD_AUTH_TOKEN": "another-token-1",
                "MLFLOW_TRACKING_URI": "http://127.0.0.1:1",
            },
        }
        command = [sys.executable, "-m", "promoter", "history", "e"]
        done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert f"PROMOTER_GIT_TOKEN is not sent to {foreign.url}" in done.stderr
    assert f"PROMOTER_GIT_HOSTS={foreign.netloc}" in done.stderr
    assert foreign.received == b""


@pytest.mark.parametrize(
    ("variables", "url", "allowed"),
    [
        ({}, "https://github.com/a/b", True),
        ({}, "https://api.github.com/repos/a/b", True),
        ({}, "https://dev.azure.com/o/p/_git/r", True),
        ({}, "https://o.visualstudio.com/p/_git/r", True),
        ({}, "https://git.example.com/a/b", False),
        ({}, "http://github.com/a/b", False),
        ({}, "https://github.com.example.com/a/b", False),
        ({}, "https://evil.example/.visualstudio.com", False),
        ({"GITHUB_SERVER_URL": "https://ghe.example.com"}, "https://ghe.example.com/api/v3", True),
        ({"GITHUB_SERVER_URL": "https://ghe.example.com"}, "https://github.com/a/b", False),
        ({"SYSTEM_COLLECTIONURI": "https://tfs.example.com/c/"}, "https://tfs.example.com/c/p/_git/r", True),
        ({"PROMOTER_GIT_HOSTS": "git.example.com"}, "https://git.example.com/a/b", True),
        ({"PROMOTER_GIT_HOSTS": "git.example.com"}, "https://git.example.com:8443/a/b", False),
        ({"PROMOTER_GIT_HOSTS": "git.example.com:8443"}, "https://git.example.com:8443/a/b", True),
        ({"PROMOTER_GIT_HOSTS": "git.example.com"}, "http://git.example.com/a/b", False),
        ({"PROMOTER_GIT_HOSTS": "git.tools:3000", "PROMOTER_PLAIN_HTTP_HOSTS": "git.tools"}, "http://git.tools:3000/a", True),
        ({"PROMOTER_GIT_HOSTS": "git.example.com"}, "https://github.com/a/b", False),
    ],
)
def test_where_git_s_token_may_be_sent(variables: dict[str, str], url: str, allowed: bool) -> None:
    environ = {"PROMOTER_GIT_TOKEN": SECRET, **variables}
    if allowed:
        assert SECRET in access(url, environ).environ.values()
        assert tokens.token(GITHUB, environ, "a/b", url).authorization(url) == f"Bearer {SECRET}"
        return
    with pytest.raises(AuthError, match="PROMOTER_GIT_TOKEN is not sent to"):
        access(url, environ)
    with pytest.raises(AuthError, match="PROMOTER_GIT_TOKEN is not sent to"):
        tokens.token(GITHUB, environ, "a/b", url).authorization(url)


@pytest.mark.parametrize("kind", ForgeKind)
def test_a_forge_s_own_token_is_not_sent_to_an_api_of_promoter_yaml(kind: ForgeKind, foreign: Listener) -> None:
    for variable in ("GITHUB_TOKEN", "GH_TOKEN", "SYSTEM_ACCESSTOKEN", "AZURE_DEVOPS_EXT_PAT"):
        found = own_token(kind, {variable: SECRET}, foreign.url)
        assert found is None or not found.origins & {foreign.url, foreign.url.replace("http:", "https:")}


def test_a_password_in_an_address_is_for_that_address() -> None:
    assert SECRET in access(f"https://u:{SECRET}@git.example.com/a/b", {}).environ.values()
    assert SECRET in access(f"http://u:{SECRET}@127.0.0.1:1/a/b", {}).environ.values()
    with pytest.raises(AuthError, match=r"the password in the URL of http://git\.example\.com/a/b is not sent"):
        access(f"http://u:{SECRET}@git.example.com/a/b", {})
    token = api_token(f"https://u:{SECRET}@github.com/a/b", {})
    assert token is not None
    assert token.authorization("https://api.github.com/graphql") == f"Bearer {SECRET}"


def test_a_repository_of_the_command_line_is_the_operator_s() -> None:
    environ = granting({"PROMOTER_GIT_TOKEN": SECRET}, "https://git.example.com/a/b")
    for url in ("https://git.example.com/a/b", "https://github.com/a/b", "https://dev.azure.com/o/p/_git/r"):
        found = git_token(url, environ)
        assert found is not None
        found.require(url)
    only = granting({"PROMOTER_GIT_TOKEN": SECRET, "PROMOTER_GIT_HOSTS": "a.example"}, "https://u:p@b.example/x")
    assert only["PROMOTER_GIT_HOSTS"] == "a.example b.example"
    assert granting({}, "git@host:a/b")["PROMOTER_GIT_HOSTS"] == granting({}, "/a/folder")["PROMOTER_GIT_HOSTS"]


def test_a_token_for_pipelines_is_for_the_pipeline_s_server() -> None:
    url = "https://tfs.example.com/c/p/12"
    for variable in ("PROMOTER_DISPATCH_TOKEN", "AZURE_DEVOPS_EXT_PAT"):
        found = dispatch_token(AZURE, {variable: SECRET}, "p", url)
        found.require(url)
        with pytest.raises(AuthError):
            found.require("https://other.example.com")


# -- notices ----------------------------------------------------------------------------------------------------------


def test_a_bot_s_token_is_sent_to_slack_only(foreign: Listener) -> None:
    bot = {"token-from": "SLACK_BOT_TOKEN", "channel": "C0123456789", "api-url": f"{foreign.url}/api"}
    config = NoticeSection.model_validate({"slack": bot})
    environ = {"SLACK_BOT_TOKEN": SECRET}
    made = notifier([config], environ, Outbox(), lambda _: pytest.fail("not GitHub"), frozenset())
    (tested,) = made.test(Notice("id", NoticeKind.LIVE, "e", "m", "1", "a test"))
    assert (tested.sent, "SLACK_BOT_TOKEN is not sent to" in tested.detail) == (False, True)
    assert foreign.received == b""
