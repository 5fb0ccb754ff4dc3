"""Every client of a server, with what it asks in one go, in front of a good server that plays it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from promoter import model_registry
from promoter.argocd.answers import workload
from promoter.argocd.client import ArgoCD
from promoter.argocd.state import ResourceRef
from promoter.errors import PromoterError
from promoter.gitops.failures import GitError
from promoter.gitops.github_api import GitHubCommits
from promoter.hosting.forge import Address, Draft, connect
from promoter.image.base import BaseImage, Platform, read_base
from promoter.image.reference import ImageReference
from promoter.image.registry import RegistryRepository
from promoter.model_registry import settings
from promoter.model_registry.server import TrackingServer
from promoter.model_registry.webhooks import Webhooks
from promoter.models import Application, ForgeKind, MergeMethod, Release
from promoter.transport.credential import Credential, origins
from promoter.transport.session import Http, Limits
from promoter.verdict import judge
from promoter.verdict.observation import Deployed, Expectation, GitFacts, Observation
from promoter.webhook.dispatch import System, pipeline
from tests.support.argocd_recordings import recording
from tests.support.forge_repository import ForgeRepository
from tests.support.forge_server import IDENTITY, TOKEN, forge_server
from tests.support.git_server import bare_repository
from tests.support.odd_answers import Relay, relaying
from tests.support.replay import Answer, replaying

Ask = Callable[[], object]
FAST = Limits(connect=5, read=5, total=0.0)
BRANCH = "promoter/production/fraud-detector"
APP = Application("fraud-detector-staging", "default", "argocd", "https://git.example.com/r.git", "overlays/staging", "main")
_ROOT = f"/api/v1/applications/{APP.name}"


def each(*asked: Ask) -> None:
    """All of them: an error of one does not keep the next from being asked."""
    for ask in asked:
        with suppress(PromoterError, GitError):
            ask()


# -- Argo CD ----------------------------------------------------------------------------------------------------------


def _argocd_answers() -> dict[str, Answer]:
    last: dict[str, Any] = {}
    for line in recording("analysis-fails-abort-revert"):
        last[line.get("call", "")] = line.get("body")
    lines = [{"result": {"content": "line", "last": False}}, {"result": {"content": "", "last": True}}]
    logs = "\n".join(map(json.dumps, lines)).encode()
    event = {"result": {"type": "MODIFIED", "application": last["application"]}}
    return {
        "/api/v1/applications": Answer({"items": [last["application"]]}),
        _ROOT: Answer(last["application"]),
        f"{_ROOT}/resource-tree": Answer(last["resource-tree"]),
        f"{_ROOT}/managed-resources": Answer(last["managed-resources"]),
        f"{_ROOT}/syncwindows": Answer({"assignedWindows": [{"kind": "deny"}], "activeWindows": [{"kind": "allow"}]}),
        f"{_ROOT}/sync": Answer(last["application"]),
        f"{_ROOT}/operation": Answer({}),
        f"{_ROOT}/logs": Answer(logs, headers={"Content-Type": "application/json"}),
        "/api/v1/stream/applications": Answer(
            f"data: {json.dumps(event)}\n\n".encode(), headers={"Content-Type": "text/event-stream"}
        ),
        "/api/version": Answer({"Version": "v3.6.1"}),
        "/api/v1/session/userinfo": Answer({"loggedIn": True, "username": "promoter"}),
        f"/api/v1/account/can-i/applications/sync/default/{APP.name}": Answer({"value": "yes"}),
        **{f"{_ROOT}/resource": Answer({"manifest": json.dumps(last["rollout"]["manifest"])})},
    }


def _ref(manifest: dict[str, Any]) -> ResourceRef:
    group, _, version = manifest["apiVersion"].rpartition("/")
    metadata = manifest["metadata"]
    return ResourceRef(group, manifest["kind"], metadata["namespace"], metadata["name"], version)


@contextmanager
def argocd(_: Path) -> Iterator[tuple[Relay, Ask]]:
    lines = recording("analysis-fails-abort-revert")
    manifest = [line["body"]["manifest"] for line in lines if line.get("call") == "rollout"][-1]
    rollout, image = _ref(manifest), workload(manifest).template.images[0]
    release = Release("fraud-detector", "2", "", image.repository, image.tag, image.digest)
    commit = "f4620f9c987e72b9e50ed83a60f5eed59ec10d3f"
    expected = Expectation(commit, release, follows=APP)
    with replaying(_argocd_answers()) as upstream, relaying(upstream.url) as relay:
        client = ArgoCD(Http("Argo CD", relay.url, limits=FAST))

        def look() -> None:
            application = client.application(APP, refresh=True)
            for deployed in (Deployed.OURS, Deployed.ANOTHER):
                git = GitFacts(True, deployed, True, True, True, True)
                seen = Observation(application, git, client.workload(APP, rollout), client.resource_tree(APP).pods)
                windows, difference = client.sync_windows(APP), client.difference(APP, rollout)
                judge(replace(seen, sync_windows=windows, difference=difference), expected)

        yield (
            relay,
            lambda: each(
                look,
                client.applications,
                lambda: client.logs(APP, "pod", namespace="fraud-staging"),
                lambda: list(client.stream(APP)),
                lambda: client.sync(APP),
                lambda: client.terminate(APP),
                lambda: client.renders(APP, commit),
                client.build_options,
                lambda: client.can_i("sync", APP),
                client.about,
                client.userinfo,
            ),
        )


# -- MLflow -----------------------------------------------------------------------------------------------------------


@contextmanager
def mlflow(_: Path) -> Iterator[tuple[Relay, Ask]]:
    from tests.test_model_registry_answers import ALIAS, DATA, FILES, LISTING, LOGGED_MODEL, file, recorded

    listing = {"files": [{"path": "MLmodel", "is_dir": False, "file_size": 1300}, {"path": "model.skops", "file_size": 9}]}
    version = recorded("get-by-alias")
    hook = {
        "webhook_id": "1",
        "name": "promoter",
        "url": "https://r",
        "events": [{"entity": "MODEL_VERSION", "action": "CREATED"}],
    }
    run = {
        "run": {"info": {"artifact_uri": "mlflow-artifacts:/1"}, "data": {"metrics": [{"key": "a", "value": 1.0, "step": "1"}]}}
    }
    answers = {
        ALIAS: Answer(version),
        "/api/2.0/mlflow/model-versions/get": Answer(version),
        "/api/2.0/mlflow/model-versions/get-download-uri": Answer({"artifact_uri": version["model_version"]["source"]}),
        "/api/2.0/mlflow/registered-models/get": Answer({"registered_model": {"aliases": [{"alias": "a", "version": "2"}]}}),
        "/api/2.0/mlflow/registered-models/get-latest-versions": Answer({"model_versions": [{"version": "2"}]}),
        "/api/2.0/mlflow/runs/get": Answer(run),
        "/api/2.0/mlflow/webhooks": Answer({"webhooks": [hook]}),
        "/api/2.0/mlflow/webhooks/1/test": Answer({"result": {"success": True, "response_status": 200}}),
        LOGGED_MODEL: Answer(recorded("logged-model get")),
        LISTING: Answer(listing),
        f"{FILES}/MLmodel": file((DATA / "MLmodel").read_bytes()),
        f"{FILES}/model.skops": file(b"the model"),
    }
    with replaying(answers) as upstream, relaying(upstream.url) as relay:
        registry = model_registry.connect({"MLFLOW_TRACKING_URI": relay.url}, limits=FAST)
        store = registry._store
        found = settings.read({"MLFLOW_TRACKING_URI": relay.url})
        webhooks = Webhooks(TrackingServer(relay.url, replace(found, limits=FAST)))

        def read() -> None:
            made = registry.resolve(model_registry.ModelReference("iris-clf", alias="champion"))
            for one in made.files:
                with registry.open(made, one) as content:
                    while content.read(1 << 16):
                        pass

        yield (
            relay,
            lambda: each(
                read,
                lambda: registry.version_of("iris-clf", "champion"),
                lambda: store.by_stage("iris-clf", "Production"),
                lambda: store.aliases("iris-clf"),
                lambda: store.run_metrics("1"),
                lambda: store.run_parameters("1"),
                lambda: store.artifacts("runs:/1/model").list(datetime.now(UTC)),
                webhooks.list,
                lambda: webhooks.test(webhooks.named("promoter")),
            ),
        )


# -- forges and pipelines ---------------------------------------------------------------------------------------------


def _forge(kind: ForgeKind) -> Callable[[Path], Any]:
    @contextmanager
    def forge(folder: Path) -> Iterator[tuple[Relay, Ask]]:
        bare = bare_repository(folder)
        begin = bare.commit({"a.txt": b"1\n"}, "Begin")
        proposed = bare.commit({"a.txt": b"2\n"}, "Change a")
        bare.git("update-ref", f"refs/heads/{BRANCH}", proposed)
        bare.git("update-ref", "refs/heads/main", begin)
        with forge_server(ForgeRepository(bare.path)) as server:
            root = server.github if kind is ForgeKind.GITHUB else server.azure
            split = urlsplit(root)
            with relaying(f"{split.scheme}://{split.netloc}") as relay:
                place = ("org", "repository") if kind is ForgeKind.GITHUB else ("project", "repository")
                token = Credential(TOKEN, origins([relay.url]), "" if kind is ForgeKind.AZURE_DEVOPS else None)
                client = connect(Address(kind, relay.url + split.path, *place), lambda: token, lambda _: None)
                draft = Draft(branch=BRANCH, base="main", title="Promote", body="Why", labels=("a",), reviewers=(IDENTITY,))

                def work() -> None:
                    opened = client.open(draft)
                    each(
                        lambda: client.pull_requests(BRANCH, "main"),
                        lambda: client.update(opened, replace(draft, title="Again")),
                        lambda: client.comment(opened.number, "text"),
                        lambda: client.standing(opened.number),
                        lambda: client.merge_when_ready(opened, MergeMethod.SQUASH, "subject", "body"),
                        lambda: client.close(opened.number),
                    )

                yield relay, lambda: each(work)

    return forge


@contextmanager
def commits(_: Path) -> Iterator[tuple[Relay, Ask]]:
    answer = {"data": {"createCommitOnBranch": {"commit": {"oid": "a" * 40}}}}
    with replaying({"/graphql": Answer(answer)}) as upstream, relaying(upstream.url) as relay:
        environ = {"GITHUB_API_URL": relay.url, "GITHUB_SERVER_URL": relay.url, "GITHUB_TOKEN": "made-up"}
        client = GitHubCommits(f"{relay.url}/acme/gitops", "main", environ)
        yield relay, lambda: each(lambda: client.commit("b" * 40, {"a": b"1"}, b"Subject\n\nBody"))


@contextmanager
def pipelines(_: Path) -> Iterator[tuple[Relay, Ask]]:
    with replaying(otherwise=Answer({"message": "taken"})) as upstream, relaying(upstream.url) as relay:
        environ = {"GITHUB_API_URL": relay.url, "GITHUB_TOKEN": "made-up", "AZURE_DEVOPS_EXT_PAT": "made-up"}
        github = pipeline(System.GITHUB, "acme/gitops/promote.yml", "main", environ)
        yield relay, lambda: each(lambda: github.dispatch("m", "production"))


# -- container registry -----------------------------------------------------------------------------------------------


@contextmanager
def registry(_: Path) -> Iterator[tuple[Relay, Ask]]:
    from promoter.image.oci import CONFIG, LAYER, MANIFEST, Descriptor, canonical, sha256

    layer, config = (
        b"a layer",
        canonical({"architecture": "amd64", "os": "linux", "rootfs": {"diff_ids": ["sha256:" + "0" * 64]}}),
    )
    described = [Descriptor(CONFIG, sha256(config), len(config)), Descriptor(LAYER, sha256(layer), len(layer))]
    manifest = canonical({"mediaType": MANIFEST, "config": described[0].as_json(), "layers": [described[1].as_json()]})
    answers = {
        "/v2/team/m/manifests/v1": Answer(manifest, headers={"Content-Type": MANIFEST}),
        f"/v2/team/m/blobs/{sha256(config)}": Answer(config),
        f"/v2/team/m/blobs/{sha256(layer)}": Answer(layer),
        "/v2/team/m/blobs/uploads/": Answer(b"", 202, {"Location": "/v2/team/m/blobs/uploads/1"}),
        "/v2/team/m/blobs/uploads/1": Answer(b"", 202, {"Location": "/v2/team/m/blobs/uploads/1", "Range": "0-6"}),
    }
    with replaying(answers) as upstream, relaying(upstream.url) as relay:
        host = relay.url.removeprefix("http://")
        environ = {"HOME": "/nonexistent", "DOCKER_CONFIG": "/nonexistent"}
        repository = RegistryRepository(ImageReference.parse(f"{host}/team/m"), env=environ, limits=FAST)
        image = BaseImage(repository, "v1")
        yield (
            relay,
            lambda: each(
                lambda: read_base(image, Platform("linux", "amd64")),
                lambda: repository.has_blob(sha256(layer)),
                lambda: list(repository.read_blob(described[1])),
                lambda: repository.write_blob([b"a layer"], 7),
            ),
        )


CLIENTS: dict[str, Callable[[Path], Any]] = {
    "Argo CD": argocd,
    "MLflow": mlflow,
    "GitHub": _forge(ForgeKind.GITHUB),
    "Azure DevOps": _forge(ForgeKind.AZURE_DEVOPS),
    "GitHub's commits": commits,
    "pipelines": pipelines,
    "container registry": registry,
}
