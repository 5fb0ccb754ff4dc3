"""What must hold before anything is written: refusals and warnings, from values, and before a promotion in the whole."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from promoter.argocd.state import ApplicationState, ManagedResource, ResourceRef, SyncWindows
from promoter.commands.plan import Plan, plan
from promoter.commands.promote import promote
from promoter.errors import ExitCode, RefusedError, UsageError
from promoter.kustomize.overlay import Files
from promoter.kustomize.promotion_file import Decision, State
from promoter.model_registry import ModelReference
from promoter.models import Application, Environment, Model
from promoter.promotion import gates
from promoter.promotion.clients import with_source
from promoter.promotion.decisions import Decisions
from promoter.promotion.freezes import FrozenError
from promoter.promotion.gates.asking import waits
from promoter.promotion.gates.golden import UNJUDGED
from promoter.promotion.steps import Steps, silent
from promoter.verdict.application import elsewhere
from tests.support.argo_world import FAILS, REPOSITORY, World, WorldClients, digest, world
from tests.support.faults import Answer, always, changed
from tests.support.mlflow_server import MlflowServer
from tests.support.models import model_version

URL = "https://git.example.com/team/fleet.git"
ENVIRONMENT = Environment(
    name="staging",
    model=Model("fraud-detector", REPOSITORY, "fraud-detector", "release.yaml"),
    application=Application("fraud-detector-staging", "default", "argocd", URL, "overlays/staging", "main"),
)
FOLLOWS = ApplicationState(
    name="fraud-detector-staging",
    project="default",
    namespace="argocd",
    repo_url=URL,
    path="overlays/staging",
    target_revision="main",
    health="Healthy",
    auto_sync=True,
)
VERSION = model_version()


QUARANTINED = Decision(
    "7", State.QUARANTINED, reason="analysis failed", commit="c" * 40, failures=1, restored="sha256:" + "a" * 64
)


def decided(*entries: Decision) -> Decisions:
    return Decisions(ENVIRONMENT, "overlays/staging/promotion.yaml", b"", {one.key: one for one in entries})


def refusal(decisions: Decisions, *, force: bool = False, unattended: bool = False, tagged: bool = False) -> str:
    version = replace(VERSION, tags={"promoter.quarantined.staging": "c" * 40} if tagged else {})
    try:
        gates.not_undone(decisions, version, force=force, unattended=unattended)
    except RefusedError as error:
        return f"{error.message} ({error.hint})"
    return ""


# -- what was decided about the version -------------------------------------------------------------------------------


def test_a_quarantined_version_is_refused_unless_forced() -> None:
    assert refusal(decided(QUARANTINED), tagged=True) == (
        f"fraud-detector:7 is quarantined in 'staging': analysis failed; see commit {'c' * 40} (register a better version, "
        "override with --force, or remove the entry from overlays/staging/promotion.yaml)"
    )
    assert refusal(decided(QUARANTINED), force=True) == ""


@pytest.mark.parametrize(
    ("entry", "tagged", "unattended", "message"),
    [
        (None, False, True, ""),
        (QUARANTINED, False, False, "MLflow has no tag promoter.quarantined.staging"),
        (replace(QUARANTINED, state=State.REJECTED), False, False, "is rejected in 'staging'"),
        (replace(QUARANTINED, state=State.ALLOWED), True, True, ""),
        (replace(QUARANTINED, version="8"), False, True, ""),
        (None, True, False, "MLflow's tag promoter.quarantined.staging quarantines fraud-detector:7, and overlays/staging/"),
        (replace(QUARANTINED, state=State.FAILED), True, False, "MLflow's tag promoter.quarantined.staging"),
        (Decision("7", State.ROLLED_BACK, by="ada"), False, True, "'staging' was rolled back from version 7 by ada"),
        (Decision("7", State.ROLLED_BACK), False, False, ""),
        (Decision("7", State.FAILED, failures=3, reason="image missing"), False, True, "failed 3 times in 'staging'"),
        (Decision("7", State.FAILED, failures=3), False, False, ""),
        (Decision("7", State.FAILED, failures=2), False, True, ""),
    ],
)
def test_who_may_deploy_what_was_decided_about(entry: Decision | None, tagged: bool, unattended: bool, message: str) -> None:
    said = refusal(decided(*([entry] if entry else [])), unattended=unattended, tagged=tagged)
    assert message in said
    assert bool(message) == bool(said)


# -- the Application --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (None, "does not exist in Argo CD"),
        ({"deleting": True}, "is being deleted"),
        ({"hydrated": True}, "uses the source hydrator"),
        ({"repo_url": "https://git.example.com/other.git"}, "follows repository https://git.example.com/other.git, not"),
        ({"path": "overlays/production"}, "follows path 'overlays/production', not 'overlays/staging'"),
        ({"target_revision": "release"}, "follows revision release, not main"),
        ({"target_revision": ""}, "follows revision HEAD, not main"),
        (
            {"image_overrides": (f"{REPOSITORY}@{digest(9)}",)},
            f"overrides the image (spec.source.kustomize.images): {REPOSITORY}",
        ),
        ({"image_overrides": ("fraud-detector=other:v1",)}, "overrides the image"),
        ({"skips_reconcile": True}, "is not reconciled (argocd.argoproj.io/skip-reconcile)"),
        (
            {"ignored_fields": ("/spec/replicas", "/spec/template/spec/containers/0/image")},
            "ignores differences in /spec/template",
        ),
        ({"ignored_fields": (".spec.template.spec.containers[].image",)}, "ignores differences in .spec.template"),
        ({"ignored_fields": ("/spec",)}, "ignores differences in /spec:"),
        *(
            ({"ignored_fields": (one,)}, f"ignores differences in {one}")
            for one in (
                "/spec/template/spec",
                "/spec/template/metadata",
                "/spec/template/metadata/labels/model-version",
                "/spec/template/spec/containers",
                "/spec/template/spec/containers/0",
                "/spec/template/spec/containers/0/env/2/value",
                '.spec.template.spec.containers[] | select(.name == "server") | .image',
                ".spec.template.metadata.annotations, .spec.template.spec",
            )
        ),
    ],
)
def test_an_application_that_would_not_take_the_commit_is_refused(change: dict[str, Any] | None, said: str) -> None:
    application = None if change is None else replace(FOLLOWS, **change)
    refusal = refused(application)
    assert refusal is not None
    assert said in refusal.message
    assert "fraud-detector-staging" in refusal.message
    assert refusal.hint


def refused(application: ApplicationState | None) -> RefusedError | None:
    try:
        gates.followed(application, ENVIRONMENT)
    except RefusedError as error:
        return error
    return None


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"repo_url": "git@git.example.com:team/fleet.git"},
        {"repo_url": "https://user@GIT.example.com/team/fleet"},
        {"path": "overlays/staging/"},
        {"path": "./overlays/staging"},
        {"target_revision": "refs/heads/main"},
        {"image_overrides": ("envoy:v1", "registry.example.com/envoy=envoy:v2")},
        {"ignored_fields": ("/spec/replicas", ".spec.strategy", "/spec/templates")},
        {"ignored_fields": ("/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt",)},
        {"ignored_fields": ("/spec/template/spec/containers/0/resources", ".spec.template.spec.containers[].envFrom")},
        {"ignored_fields": ("/spec/template/spec/tolerations", ".spec.template.spec.initContainers[].image")},
    ],
)
def test_an_application_that_follows_us_in_other_words_passes(change: dict[str, Any]) -> None:
    assert refused(replace(FOLLOWS, **change)) is None


@pytest.mark.parametrize(
    ("folders", "missing"),
    [
        ("", None),
        (".;../../base", None),
        ("/overlays/staging;/base", None),
        ("/", None),
        ("/overlays/*;/base", None),
        (".", "base/rollout.yaml"),
        ("/base", "overlays/staging/release.yaml"),
        ("/overlays/stag;/base", "overlays/staging/release.yaml"),
    ],
)
def test_an_application_must_render_what_the_commit_touches(folders: str, missing: str | None) -> None:
    application, paths = replace(FOLLOWS, generate_paths=folders), ("overlays/staging/release.yaml", "base/rollout.yaml")
    if missing is None:
        gates.rendered_by_argocd(application, ENVIRONMENT, paths)
        return
    with pytest.raises(RefusedError) as caught:
        gates.rendered_by_argocd(application, ENVIRONMENT, paths)
    assert f"and {missing} is not there" in caught.value.message


@pytest.mark.parametrize("name", [".argocd-source.yaml", ".argocd-source-fraud-detector-staging.yaml"])
def test_a_file_of_argo_cds_own_next_to_the_overlay_must_not_set_the_image(name: str) -> None:
    def check(content: str, file: str = name) -> None:
        gates.no_parameter_files(Files({f"overlays/staging/{file}": content.encode()}), ENVIRONMENT)

    check("kustomize: {namePrefix: x-}\n")
    check("kustomize: {images: ['envoy:v2']}\n")
    check("- odd\n")
    check(f"kustomize: {{images: ['{REPOSITORY}:v9']}}\n", ".argocd-source-another.yaml")
    for entry in (f"{REPOSITORY}:v9", "fraud-detector=other:v1"):
        with pytest.raises(RefusedError) as caught:
            check(f"kustomize: {{images: ['{entry}']}}\n")
        assert caught.value.message == f"overlays/staging/{name} overrides the image: {entry}"


def test_warnings_report_what_may_go_wrong() -> None:
    rollout = ManagedResource(ResourceRef("argoproj.io", "Rollout", "staging", "fraud-detector"))
    well = replace(FOLLOWS, resources=(rollout,))
    assert gates.warnings(well, SyncWindows(blocks_auto_sync=False), released=True) == ()
    ill = replace(FOLLOWS, auto_sync=False, health="Degraded")
    assert gates.warnings(ill, SyncWindows(blocks_auto_sync=True), released=True) == (
        "auto-sync is off: somebody must sync",
        "a sync window keeps Argo CD from syncing now",
        "the Application is Degraded already",
        "the Application has no Rollout or Deployment yet",
    )
    assert gates.warnings(replace(well, resources=()), None, released=False) == (), "as init's first Applications are"


# -- an Application without a manifest --------------------------------------------------------------------------------

NAMED = replace(ENVIRONMENT, application=Application("fraud-detector-staging", "default", "argocd", "", "", ""))


def test_its_place_is_what_argo_cd_reports() -> None:
    assert with_source(NAMED, replace(FOLLOWS, target_revision="refs/heads/main")) == ENVIRONMENT
    other = replace(FOLLOWS, path="elsewhere")
    assert with_source(ENVIRONMENT, other) == ENVIRONMENT  # a manifest's place stays: the gates compare the two


@pytest.mark.parametrize("change", [{"path": ""}, {"hydrated": True}])
def test_without_a_path_it_has_no_place(change: dict[str, Any]) -> None:
    with pytest.raises(RefusedError) as caught:
        with_source(NAMED, replace(FOLLOWS, **change))
    assert "fraud-detector-staging" in caught.value.message
    assert "give its source a path" in caught.value.hint


@pytest.mark.parametrize(("revision", "refuses"), [("", False), ("HEAD", False), ("main", False), ("release", True)])
def test_what_follows_head_follows_the_branch_that_it_was(revision: str, refuses: bool) -> None:
    on_default = replace(ENVIRONMENT.application, default_branch=True)
    assert bool(elsewhere(replace(FOLLOWS, target_revision=revision), on_default)) == refuses


def test_an_image_of_the_manifest_itself_is_an_override() -> None:
    masked = replace(ENVIRONMENT, application=replace(ENVIRONMENT.application, image_overrides=("fraud-detector=x:v1",)))
    with pytest.raises(RefusedError) as caught:
        gates.not_overridden(masked)
    assert "overrides the image (spec.source.kustomize.images): fraud-detector=x:v1" in caught.value.message
    other = replace(ENVIRONMENT, application=replace(ENVIRONMENT.application, image_overrides=("envoy:v1",)))
    gates.not_overridden(other)


# -- before a promotion in the whole ----------------------------------------------------------------------------------


@pytest.fixture
def registered(tmp_path: Path, mlflow_server: MlflowServer) -> Iterator[World]:
    name = f"detector-{uuid.uuid4().hex[:8]}"
    source = f"models:/{mlflow_server.log_model()}"
    for _ in range(3):
        mlflow_server.register(name, source)
    environ = {**os.environ, "MLFLOW_TRACKING_URI": mlflow_server.url}
    with world(tmp_path, environ, model=name, by_name=True) as one:
        yield one


def planned(it: World, version: str = "2", *, force: bool = False) -> Plan:
    environment = it.clients.environment("staging")
    reference = ModelReference(it.model, version=version)
    return plan(it.clients, environment, reference, Steps(silent), rendering=False, force=force)


def spec(change: Callable[[dict[str, Any]], object]) -> Any:
    def change_spec(application: dict[str, Any]) -> None:
        change(application["spec"])

    return changed(change_spec)


def test_a_promotion_to_an_application_that_only_argo_cd_knows(registered: World) -> None:
    made = planned(registered)
    assert made.environment.application.path == "overlays/staging"
    assert made.warnings == (UNJUDGED,)
    outcome = promote(registered.clients, made, Steps(silent))
    assert registered.follow(registered.committed(outcome.commit)).exit_code is ExitCode.DONE


def test_without_an_argo_cd_such_an_application_has_no_place(registered: World) -> None:
    environ = {name: value for name, value in registered.clients.environ.items() if name != "ARGOCD_SERVER"}
    with pytest.raises(UsageError, match="Argo CD is not configured"):
        WorldClients(registered.clients.config, environ).environment("staging")


def test_the_gates_stand_before_anything_is_written(registered: World) -> None:
    it = registered
    environment = it.clients.environment("staging")
    tip = it.remote.tip()
    missing = Answer(404, b'{"error":"not found","code":5,"message":"applications.argoproj.io not found"}')
    faults = [
        spec(lambda it: it["source"].update(kustomize={"images": [f"{REPOSITORY}@{digest(9)}"]})),
        spec(lambda it: it["source"].update(targetRevision="release")),
        spec(lambda it: it["source"].update(path="overlays/production")),
        spec(lambda it: it["source"].update(repoURL="https://git.example.com/other.git")),
        spec(lambda it: it.update(sourceHydrator={})),
        always(missing, "application"),
    ]
    for fault in faults:
        with it.argocd.fault(fault), pytest.raises(RefusedError) as caught:
            plan(it.clients, environment, ModelReference(it.model, version="2"), Steps(silent), rendering=False)
        assert caught.value.exit_code == 20
    assert it.remote.tip() == tip
    assert not (it.folder / "images").exists()


def test_what_may_go_wrong_is_warned_of(registered: World) -> None:
    closed = Answer(body=b'{"activeWindows":[{"kind":"deny"}],"assignedWindows":[{"kind":"deny"}],"canSync":true}')
    manual = spec(lambda it: it["syncPolicy"].pop("automated"))
    with registered.argocd.fault(manual), registered.argocd.fault(always(closed, "syncwindows")):
        warnings = planned(registered).warnings
    assert warnings == (UNJUDGED, "auto-sync is off: somebody must sync", "a sync window keeps Argo CD from syncing now")


CLOSED = Answer(
    body=b'{"activeWindows":[{"kind":"deny","schedule":"0 22 * * *","duration":"8h"}],'
    b'"assignedWindows":[{"kind":"deny","schedule":"0 22 * * *","duration":"8h"}],"canSync":false}'
)


def test_a_sync_window_refuses_before_an_image_is_built(registered: World) -> None:
    it = registered
    tip = it.remote.tip()
    with it.argocd.fault(always(CLOSED, "syncwindows")), pytest.raises(FrozenError, match="sync window deny"):
        planned(it)
    assert (it.remote.tip(), (it.folder / "images").exists()) == (tip, False)


def test_a_sync_window_that_begins_while_the_image_is_built_refuses_before_the_commit(registered: World) -> None:
    it = registered
    made, tip = planned(it), it.remote.tip()
    with it.argocd.fault(always(CLOSED, "syncwindows")), pytest.raises(FrozenError) as caught:
        promote(it.clients, made, Steps(silent))
    assert (caught.value.exit_code, waits(caught.value), it.remote.tip()) == (ExitCode.REFUSED, True, tip)
    assert (it.folder / "images").exists()
    outcome = promote(it.clients, planned(it), Steps(silent))
    assert outcome.commit == it.remote.tip() != tip


def test_after_an_abort_the_version_is_quarantined_and_others_are_not(registered: World) -> None:
    it = registered
    it.behaviours["2"] = FAILS
    outcome = promote(it.clients, planned(it), Steps(silent))
    assert it.follow(it.committed(outcome.commit)).exit_code is ExitCode.RESTORED
    with pytest.raises(RefusedError) as caught:
        planned(it)
    assert (caught.value.exit_code, str(outcome.commit) in caught.value.message) == (20, True)
    assert planned(it, force=True).after.version == "2"
    assert planned(it, "3").after.version == "3"
