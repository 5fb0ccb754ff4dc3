"""The Argo CD client over real HTTP, against recorded answers."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from urllib3.exceptions import InsecureRequestWarning

from promoter.argocd.client import ArgoCD
from promoter.argocd.errors import ArgoCDError, NotFoundError, SyncWindowError, of_response
from promoter.argocd.state import ResourceRef
from promoter.errors import AuthError, PromoterError, UnexpectedAnswerError, UnreachableError, UsageError
from promoter.models import Application
from promoter.transport.credential import Credential, origins
from promoter.transport.session import Authorization, Http, Limits
from tests.support.argocd_recordings import recording
from tests.support.argocd_replay import Answer, Replay, recorded, replay

APP = Application("fraud-detector-staging", "default", "argocd", "http://127.0.0.1:3000/gitops.git", "overlays/staging", "main")
ROLLOUT = ResourceRef("argoproj.io", "Rollout", "fraud-staging", "fraud-detector", "v1alpha1")
PATH = "/api/v1/applications/fraud-detector-staging"
TOKEN = "header.payload.signature"
PAGE = Answer(b"<html>log in</html>", 200, "text/html; charset=utf-8")


@pytest.fixture
def server() -> Iterator[Replay]:
    with replay() as server:
        yield server


@pytest.fixture
def argocd(server: Replay) -> ArgoCD:
    http = Http(
        "Argo CD",
        server.url,
        auth=Authorization(Credential(TOKEN, origins([server.url]))),
        limits=Limits(total=2),
        sleep=lambda _: None,
    )
    return ArgoCD(http)


def line(scenario: str, call: str) -> dict[str, Any]:
    return next(one for one in recording(scenario) if one.get("call") == call)


REFUSALS: dict[str, tuple[type[PromoterError], str]] = {
    "bad-token": (AuthError, "no session information"),
    "no-token": (AuthError, "no session information"),
    "no-permission": (AuthError, "permission denied"),
    "unknown-application-with-project": (NotFoundError, 'applications.argoproj.io "no-such-app" not found'),
    "unknown-application-without-project": (AuthError, "permission denied"),
    "wrong-project": (NotFoundError, "not found"),
    "wrong-namespace": (AuthError, "permission denied"),
    "unknown-resource": (NotFoundError, "not found as part of application"),
    "unknown-resource-version": (NotFoundError, "could not find the requested resource"),
    "sync-without-content-type": (ArgoCDError, "Invalid content type (HTTP 415)"),
    "sync-form": (ArgoCDError, "Invalid content type (HTTP 415)"),
    "sync-broken-json": (ArgoCDError, "invalid character 'b'"),
    "sync-unknown-revision": (ArgoCDError, "auto-sync currently set to main"),
    "sync-no-permission": (AuthError, "permission denied"),
    "terminate-nothing-running": (ArgoCDError, "No operation is in progress"),
    "metadata-of-unknown-revision": (ArgoCDError, "not our ref"),
    "unknown-path": (NotFoundError, "Not Found"),
    "unknown-action": (ArgoCDError, "built-in script does not exist"),
    "action-no-permission": (AuthError, "permission denied"),
    "pod-logs-no-permission": (AuthError, "logs, get, default/fraud-detector-staging"),
}


def test_every_recorded_refusal_is_in_the_table() -> None:
    assert {one["call"] for one in recording("errors") if one.get("status", 200) >= 400} == set(REFUSALS)


@pytest.mark.parametrize("call", REFUSALS)
def test_a_recorded_refusal_becomes_its_error(call: str, server: Replay) -> None:
    server.on("GET", "/anything", recorded(line("errors", call)))
    http = Http("Argo CD", server.url)
    error = of_response(
        requests.get(f"{server.url}/anything", timeout=5), http, f"{PATH}/sync", "default/fraud-detector-staging"
    )
    kind, said = REFUSALS[call]
    assert type(error) is kind
    assert said in error.message


def test_a_missing_permission_names_the_policy_line(server: Replay, argocd: ArgoCD) -> None:
    server.on("POST", f"{PATH}/sync", recorded(line("errors", "sync-no-permission")))
    server.on("GET", f"{PATH}/logs", recorded(line("errors", "pod-logs-no-permission")))
    with pytest.raises(AuthError) as sync:
        argocd.sync(APP)
    assert sync.value.hint.endswith("p, <role>, applications, sync, default/fraud-detector-staging, allow")
    with pytest.raises(AuthError) as logs:
        argocd.logs(APP, "pod", namespace="fraud-staging")
    assert logs.value.hint.endswith("p, <role>, logs, get, default/fraud-detector-staging, allow")


@pytest.mark.parametrize(
    "answer", [PAGE, Answer(b"", 302, "", {"Location": "https://login.example.com"}), Answer(b"hello", 200, "text/plain")]
)
def test_a_login_page_is_distinguished_from_an_answer(server: Replay, argocd: ArgoCD, answer: Answer) -> None:
    server.on("GET", PATH, answer)
    with pytest.raises(AuthError, match=r"answered HTTP \d+ with") as error:
        argocd.application(APP)
    assert "asks for a login" in error.value.hint
    assert TOKEN not in str(error.value) + error.value.hint
    assert len(server.requests) == 1  # a redirect is not followed with the token


def test_an_application_is_asked_for_with_project_and_namespace(server: Replay, argocd: ArgoCD) -> None:
    server.on("GET", PATH, recorded(line("good-canary", "application")), query={"project": "default", "appNamespace": "argocd"})
    state = argocd.application(APP)
    assert (state.sync, state.health, state.auto_sync, state.path) == ("Synced", "Healthy", True, "overlays/staging")
    assert state.revision == state.last_synced_revision == "6392b53d6c84d1876235a4024da9bd6e1d030d49"
    assert state.workloads == (ROLLOUT,)
    assert server.requests[0].headers["Authorization"] == f"Bearer {TOKEN}"


def test_busy_answers_are_tried_again(server: Replay, argocd: ArgoCD) -> None:
    found = recorded(line("good-canary", "application"))
    server.on("GET", PATH, Answer(b"slow down", 429, "text/plain"), Answer(b"<html>", 503, "text/html"), found)
    assert argocd.application(APP).health == "Healthy"
    assert len(server.requests) == 3


def test_a_server_that_stays_away_is_unreachable_and_not_a_login_page(server: Replay) -> None:
    server.on("GET", PATH, Answer(b"<html>bad gateway</html>", 502, "text/html"))
    argocd = ArgoCD(Http("Argo CD", server.url, limits=Limits(total=0)))
    with pytest.raises(UnreachableError, match="HTTP 502"):
        argocd.application(APP)


def test_an_answer_cut_off_is_unreachable(server: Replay, argocd: ArgoCD) -> None:
    server.on("GET", PATH, Answer(b'{"metadata": '))
    with pytest.raises(UnreachableError, match="cut off"):
        argocd.application(APP)


@pytest.mark.parametrize(
    "refreshed", [Answer(hang=True), Answer(b'{"code":2,"message":"application refresh deadline exceeded"}', 500)]
)
def test_a_refresh_that_does_not_come_falls_back_to_a_plain_get(server: Replay, argocd: ArgoCD, refreshed: Answer) -> None:
    server.on("GET", PATH, recorded(line("good-canary", "application")))
    server.on("GET", PATH, refreshed, query={"refresh": "normal"})
    assert argocd.application(APP, refresh=True, refresh_seconds=0.3).name == APP.name
    assert [one.query.get("refresh") for one in server.requests] == ["normal", None]


def test_a_refresh_that_comes_is_the_answer(server: Replay, argocd: ArgoCD) -> None:
    server.on("GET", PATH, recorded(line("good-canary", "refresh")), query={"refresh": "normal"})
    assert argocd.application(APP, refresh=True).revision.startswith("2433fde3")


def test_the_live_rollout_is_parsed_from_the_string_it_comes_as(server: Replay, argocd: ArgoCD) -> None:
    query = {"kind": "Rollout", "group": "argoproj.io", "resourceName": "fraud-detector", "namespace": "fraud-staging"}
    server.on("GET", f"{PATH}/resource", recorded(line("good-canary", "rollout")), query=query)
    rollout = argocd.workload(APP, ROLLOUT)
    assert (rollout.ref, rollout.observed, rollout.desired, rollout.available) == (ROLLOUT, True, 3, 3)
    assert rollout.stable_replica_set == "fraud-detector-76ff479cf6"


# As Argo CD 3.6.1 answered, shortened.
NOT_BUILT = "`kustomize build <path to cached source>/overlays/staging` failed exit status 1: Error: accumulating resources"
NOT_THERE = "failed to initialize repository resources: rpc error: code = Internal desc = Failed to checkout revision 0123"


def manifests(message: str) -> Answer:
    return Answer(json.dumps({"error": message, "code": 2, "message": message}).encode(), 500, "application/json")


def test_whether_a_revision_renders_is_argo_cds_word(server: Replay, argocd: ArgoCD) -> None:
    server.on("GET", f"{PATH}/manifests", Answer(b'{"manifests":["{}"]}', 200, "application/json"), query={"revision": "good"})
    server.on("GET", f"{PATH}/manifests", manifests(NOT_BUILT), query={"revision": "bad"})
    assert argocd.renders(APP, "good")
    assert not argocd.renders(APP, "bad")


# As Argo CD 3.6.1 answered, shortened; with and without options in argocd-cm, and as it would with names of JSON.
SETTINGS = b'{"appLabelKey":"app.kubernetes.io/instance","kustomizeOptions":%s,"trackingMethod":"annotation"}'


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (b'{"BuildOptions":"--enable-helm","BinaryPath":"","Versions":null}', "--enable-helm"),
        (b'{"buildOptions":"--enable-helm"}', "--enable-helm"),
        (b'{"BuildOptions":"","BinaryPath":"","Versions":null}', ""),
        (b"null", ""),
    ],
)
def test_the_build_options_are_read_from_the_settings(server: Replay, argocd: ArgoCD, options: bytes, expected: str) -> None:
    server.on("GET", "/api/v1/settings", Answer(SETTINGS % options, 200, "application/json"))
    assert argocd.build_options() == expected


@pytest.mark.parametrize("answer", [manifests(NOT_THERE), Answer(b"404 page not found", 404, "text/plain")])
def test_a_revision_that_can_not_be_asked_for_is_not_one_that_fails(server: Replay, argocd: ArgoCD, answer: Answer) -> None:
    server.on("GET", f"{PATH}/manifests", answer, query={"revision": "0123"})
    with pytest.raises(ArgoCDError):
        argocd.renders(APP, "0123")


def test_a_missing_object_is_not_found(server: Replay, argocd: ArgoCD) -> None:
    server.on("GET", f"{PATH}/resource", recorded(line("errors", "unknown-resource")))
    with pytest.raises(NotFoundError):
        argocd.workload(APP, ROLLOUT)
    server.on("GET", f"{PATH}/resource", Answer(b'{"manifest":"null"}'))
    with pytest.raises(NotFoundError, match="no live manifest"):
        argocd.workload(APP, ROLLOUT)


def test_an_analysis_run_has_its_measurements(server: Replay, argocd: ArgoCD) -> None:
    last = [one for one in recording("superseded-then-aborted") if one.get("call") == "analysis-run"][-1]
    server.on("GET", f"{PATH}/resource", recorded(last))
    name = "fraud-detector-68b9c65967-41-2"
    run = argocd.analysis_run(APP, ResourceRef("argoproj.io", "AnalysisRun", "fraud-staging", name, "v1alpha1"))
    assert (run.phase, run.hash, run.revision) == ("Failed", "68b9c65967", "41")
    assert run.metrics[0].values == ("[0.3]", "[0.32231404958677684]")


@pytest.mark.parametrize("field", ["name", "namespace", "project", "kind"])
def test_an_answer_about_another_application_is_none(server: Replay, argocd: ArgoCD, field: str) -> None:
    body = json.loads(json.dumps(line("good-canary", "application")["body"]))
    (body["spec"] if field == "project" else body if field == "kind" else body["metadata"])[field] = "another"
    server.on("GET", PATH, Answer(json.dumps(body).encode()))
    server.on("POST", f"{PATH}/sync", Answer(json.dumps(body).encode()))
    for asked in (argocd.application, argocd.sync):
        with pytest.raises(UnexpectedAnswerError, match=r"answered unlike Argo CD: it is about .*another"):
            asked(APP)


@pytest.mark.parametrize("field", ["name", "namespace", "kind", "group"])
def test_an_answer_about_another_object_is_none(server: Replay, argocd: ArgoCD, field: str) -> None:
    server.on("GET", f"{PATH}/resource", recorded(line("good-canary", "rollout")))
    asked = ResourceRef("argoproj.io", "Rollout", "fraud-staging", "fraud-detector", "v1alpha1")
    assert argocd.workload(APP, asked).ref == asked
    with pytest.raises(UnexpectedAnswerError, match=r"it is about Rollout fraud-staging/fraud-detector of group 'argoproj.io'"):
        argocd.workload(APP, replace(asked, **{field: "another"}))


def test_an_odd_application_hides_no_other(server: Replay, argocd: ArgoCD) -> None:
    good = line("good-canary", "application")["body"]
    odd = [1, None, {**good, "status": 5}, {**good, "metadata": {"name": 5}}, {**good, "spec": {**good["spec"], "project": {}}}]
    server.on("GET", "/api/v1/applications", Answer(json.dumps({"items": [*odd, good]}).encode()))
    assert [one.name for one in argocd.applications()] == [APP.name]


def test_the_tree_has_pods_analyses_and_replica_sets(server: Replay, argocd: ArgoCD) -> None:
    last = [one for one in recording("good-canary") if one.get("call") == "resource-tree"][-1]
    server.on("GET", f"{PATH}/resource-tree", recorded(last))
    tree = argocd.resource_tree(APP)
    assert {pod.hash for pod in tree.pods if pod.health == "Healthy"} == {"7c46b48754"}
    assert [one.name for one in tree.analysis_runs] == ["fraud-detector-7c46b48754-2-2"]
    assert {one.name for one in tree.replica_sets} == {"fraud-detector-76ff479cf6", "fraud-detector-7c46b48754"}


def test_a_sync_names_no_revision(server: Replay, argocd: ArgoCD) -> None:
    asked = [one for one in recording("render-error-then-auto-sync-stuck") if one.get("call") == "sync"]
    server.on("POST", f"{PATH}/sync", recorded(asked[0]))
    assert argocd.sync(APP).operation_in_progress
    assert json.loads(server.requests[0].body) == asked[0]["request"]


def test_a_sync_window_is_not_a_missing_permission(server: Replay, argocd: ArgoCD) -> None:
    server.on("POST", f"{PATH}/sync", recorded(line("sync-window-denies", "sync")))
    server.on("GET", f"{PATH}/syncwindows", recorded(line("sync-window-denies", "sync-windows")))
    with pytest.raises(SyncWindowError):
        argocd.sync(APP)
    windows = argocd.sync_windows(APP)
    assert windows.blocks_auto_sync


def test_ending_an_operation_reports_whether_there_was_one(server: Replay, argocd: ArgoCD) -> None:
    running = line("sync-fails-and-retries", "terminate-operation")
    server.on("DELETE", f"{PATH}/operation", recorded(running), recorded(line("errors", "terminate-nothing-running")))
    assert argocd.terminate(APP)
    assert not argocd.terminate(APP)
    assert server.requests[0].headers["Content-Type"] == "application/json"


def test_an_operation_that_may_not_be_ended_is_an_error(server: Replay, argocd: ArgoCD) -> None:
    server.on("DELETE", f"{PATH}/operation", recorded(line("errors", "no-permission")))
    with pytest.raises(AuthError, match="permission denied") as error:
        argocd.terminate(APP)
    assert "applications, sync" in error.value.hint


def test_the_small_questions(server: Replay, argocd: ArgoCD) -> None:
    server.on(
        "GET", "/api/v1/account/can-i/applications/get/default/fraud-detector-staging", recorded(line("errors", "can-i-get"))
    )
    server.on(
        "GET",
        "/api/v1/account/can-i/applications/sync/default/fraud-detector-staging",
        recorded(line("errors", "can-i-sync-nobody")),
    )
    server.on("GET", "/api/version", recorded(line("errors", "version")))
    server.on("GET", "/api/v1/session/userinfo", recorded(line("errors", "userinfo")))
    server.on("GET", f"{PATH}/logs", recorded(line("errors", "pod-logs")))
    assert (argocd.can_i("get", APP), argocd.can_i("sync", APP)) == (True, False)
    assert (argocd.about().version, argocd.userinfo()) == ("v3.6.1+unknown", "promoter")
    assert "connection refused" in argocd.logs(APP, "pod", namespace="fraud-staging")[0]


def test_a_list_is_parsed(server: Replay, argocd: ArgoCD) -> None:
    item = line("good-canary", "application")["body"]
    server.on("GET", "/api/v1/applications", Answer(json.dumps({"items": [item, item]}).encode()))
    assert [one.name for one in argocd.applications()] == [APP.name] * 2
    assert list(server.requests[0].query) == ["fields"]
    server.on("GET", "/api/v1/applications", Answer(b'{"items":null}'))
    assert argocd.applications() == ()


# -- stream -----------------------------------------------------------------------------------------------------------


def streamed(*, cut: bool = False, tail: bytes = b"") -> Answer:
    lines = [one for one in recording("application-deleted") if one.get("call") == "stream"]
    chunks = [b"data: %s\n\n\n" % json.dumps(one["event"]).encode() if "event" in one else b":\n" for one in lines]
    return Answer(type="text/event-stream", chunks=[*chunks, *([tail] if tail else [])], cut=cut)


@pytest.mark.parametrize("cut", [False, True])
def test_the_stream_wakes_until_it_ends(server: Replay, argocd: ArgoCD, cut: bool) -> None:
    server.on("GET", "/api/v1/stream/applications", streamed(cut=cut), query={"name": APP.name, "project": "default"})
    events = list(argocd.stream(APP))
    wanted = [one["event"]["result"]["type"] for one in recording("application-deleted") if "event" in one]
    assert events == wanted
    assert {"ADDED", "MODIFIED", "DELETED"} == set(events)
    assert server.requests[0].headers["Accept"] == "text/event-stream"


def test_an_error_within_the_stream_is_raised(server: Replay, argocd: ArgoCD) -> None:
    tail = b'data: {"error":{"grpc_code":16,"http_code":401,"message":"token expired","http_status":"Unauthorized"}}\n\n'
    server.on("GET", "/api/v1/stream/applications", streamed(tail=tail))
    events: list[str] = []
    with pytest.raises(AuthError, match="token expired"):
        events.extend(argocd.stream(APP))


def test_a_stream_that_only_keeps_alive_and_then_falls_silent_ends(server: Replay, argocd: ArgoCD) -> None:
    server.on("GET", "/api/v1/stream/applications", Answer(type="text/event-stream", chunks=[b":\n", b":\n"], hang=True))
    assert list(argocd.stream(APP, silence=0.3)) == []


def test_a_stream_that_may_not_be_opened_reports_it(server: Replay, argocd: ArgoCD) -> None:
    server.on("GET", "/api/v1/stream/applications", recorded(line("errors", "bad-token")))
    with pytest.raises(AuthError):
        list(argocd.stream(APP))


# -- environment ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "root"),
    [
        ({"ARGOCD_SERVER": "{url}"}, ""),
        ({"ARGOCD_SERVER": "{url}/argo-cd/"}, "/argo-cd"),
        ({"ARGOCD_SERVER": "{url}", "ARGOCD_GRPC_WEB_ROOT_PATH": "/argo-cd"}, "/argo-cd"),
        ({"ARGOCD_SERVER": "{host}", "ARGOCD_OPTS": "--grpc-web --plaintext --grpc-web-root-path argo-cd"}, "/argo-cd"),
        ({"ARGOCD_SERVER": "{host}/argo-cd", "ARGOCD_OPTS": "--plaintext --insecure=false"}, "/argo-cd"),
    ],
)
def test_the_environment_of_the_argocd_cli_is_understood(server: Replay, environ: dict[str, str], root: str) -> None:
    server.on("GET", f"{root}/api/version", recorded(line("errors", "version")))
    host = server.url.removeprefix("http://")
    filled = {key: value.format(url=server.url, host=host) for key, value in environ.items()}
    assert ArgoCD.from_environ({**filled, "ARGOCD_AUTH_TOKEN": TOKEN}).about().version == "v3.6.1+unknown"


def test_a_server_without_a_scheme_is_https(server: Replay) -> None:
    environ = {"ARGOCD_SERVER": server.url.removeprefix("http://"), "ARGOCD_AUTH_TOKEN": TOKEN}
    with pytest.raises(UnreachableError, match="https://127"):
        ArgoCD.from_environ(environ, limits=Limits(total=0)).about()


def test_what_is_missing_is_reported() -> None:
    with pytest.raises(UsageError, match="ARGOCD_SERVER"):
        ArgoCD.from_environ({"ARGOCD_AUTH_TOKEN": TOKEN})
    with pytest.raises(AuthError, match="ARGOCD_AUTH_TOKEN"):
        ArgoCD.from_environ({"ARGOCD_SERVER": "argocd.example.com"})
    with pytest.raises(UsageError, match="ARGOCD_OPTS"):
        ArgoCD.from_environ({"ARGOCD_OPTS": "--server-crt 'open", "ARGOCD_AUTH_TOKEN": TOKEN})


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate that nobody knows, with its key, for 127.0.0.1."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: no certificate can be made")
    pem, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    options = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-keyout", str(key), "-out", str(pem)]
    subprocess.run(["openssl", "req", *options, *names], check=True, capture_output=True)
    return pem


def test_a_certificate_is_checked_against_the_bundle_that_is_named(certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    with replay(context) as server:
        server.on("GET", "/api/version", recorded(line("errors", "version")))
        environ = {"ARGOCD_SERVER": server.url.removeprefix("https://"), "ARGOCD_AUTH_TOKEN": TOKEN}
        with pytest.raises(UnreachableError) as error:
            ArgoCD.from_environ(environ).about()
        assert "certificate is not trusted" in error.value.hint
        for trusting in ({"ARGOCD_SERVER_CERT": str(certificate)}, {"ARGOCD_OPTS": f"--server-crt {certificate}"}):
            assert ArgoCD.from_environ({**environ, **trusting}).about().version == "v3.6.1+unknown"
        for careless in ({"ARGOCD_INSECURE": "true"}, {"ARGOCD_OPTS": "--grpc-web --insecure"}):
            with pytest.warns(InsecureRequestWarning):
                assert ArgoCD.from_environ({**environ, **careless}).about().version == "v3.6.1+unknown"
