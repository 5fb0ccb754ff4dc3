"""One environment of a test, with a repository, project, Application and namespace of its own: what people do to it, what Git
and the cluster say about it, and what must hold in the end."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from tests.cluster.cluster import Cluster, eventually
from tests.cluster.command import Promoter, Run
from tests.cluster.images import Pushed, Service
from tests.cluster.manifests import NAME, OVERLAY, WORKLOAD, application, namespace, project, write_files, write_release
from tests.cluster.model_versions import BEHAVIOURS, MODEL, STABLE
from tests.cluster.repository import BRANCH, GitRepository
from tests.cluster.traffic import Traffic

REPLICAS = 3
_ANNOTATION = "argocd.argoproj.io/refresh"


@dataclass(frozen=True)
class Snapshot:
    """What served before a test changed anything: the commit with its overlay, and the pods."""

    commit: str
    overlay: Mapping[str, bytes]
    digest: str
    template_hash: str
    pods: frozenset[str]


@dataclass
class Environment:
    """`name` is that of the namespace, the Application, the project and the repository. `stages`: see results.Row."""

    cluster: Cluster
    name: str
    variant: str
    service: Service
    repository: GitRepository
    promoter: Promoter
    before: Snapshot | None = None
    traffic: Traffic | None = None
    stages: dict[str, float] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)

    # -- what it consists of ------------------------------------------------------------------------------------------

    @property
    def kind(self) -> str:
        return "deployments.apps" if self.variant.endswith("deployment") else "rollouts.argoproj.io"

    def create(self, *, released: bool = True) -> None:
        """Repository, project and namespace; with the first release, which is live and asked all the time from then on."""
        self.repository.commit("Begin with what promoter ships", lambda root: write_files(root, self.name, self.variant))
        self.cluster.apply(project(self.cluster, self.name, self.repository.url), namespace(self.name))
        if not released:
            return
        self.release_by_hand(STABLE)
        self.bootstrap()
        eventually("the first release is live", lambda: self.is_live(self.overlay_digest()))
        self.before = self.snapshot()
        self.traffic = Traffic(self.cluster.node, self.node_ports())
        eventually("the Service answers", self.traffic.answers)
        self._stack.enter_context(self.traffic)

    def bootstrap(self) -> None:
        """Creates the Application: from now on Argo CD syncs."""
        self.cluster.apply(application(self.cluster, self.name, self.repository.url))

    def remove(self) -> None:
        self.promoter.end()
        self._stack.close()
        self.cluster.delete("applications.argoproj.io", self.name, self.cluster.argocd_namespace)
        self.cluster.delete("namespace", self.name)
        self.cluster.delete("appprojects.argoproj.io", self.name, self.cluster.argocd_namespace)
        shutil.rmtree(self.repository.bare, ignore_errors=True)

    def node_ports(self, name: str = WORKLOAD) -> list[int]:
        service = self.cluster.get("service", name, self.name)
        assert service is not None
        return [int(port["nodePort"]) for port in service["spec"]["ports"]]

    # -- what promoter is asked to do ---------------------------------------------------------------------------------

    def promoting(self, version: str, *options: str, **environ: str) -> Run:
        """Begins to promote a version and to watch it."""
        return self.promoter.start("promote", f"{MODEL}:{version}", "--to", NAME, *options, **environ)

    def promote(self, version: str, *options: str, **environ: str) -> Run:
        return self.promoting(version, *options, **environ).finish()

    def commit(self, version: str, **environ: str) -> str:
        """Promotes without watching; gives the commit."""
        run = self.promote(version, "--no-watch", **environ)
        assert run.exit_code == 0, str(run)
        return run.commit

    def watching(self, commit: str) -> Run:
        return self.promoter.start("watch", NAME, "--commit", commit)

    def watch(self, commit: str) -> Run:
        return self.watching(commit).finish()

    def reconcile(self) -> Run:
        return self.promoter.start("reconcile", NAME).finish()

    def agreement(self, **environ: str) -> tuple[int, bool | None]:
        """The exit code of `promoter status`, and whether it finds that alias, Git and cluster agree: None is unknown."""
        exit_code, (standing,) = self.promoter.ask("status", NAME, **environ)
        return exit_code, standing["agree"]

    # -- what people do alongside promoter -------------------------------------------------------------------------------

    def release_by_hand(self, version: str, image: Pushed | None = None) -> str:
        """Commits a release as a person would, with an image that promoter did not make."""
        image = image or self.service.by_hand(version, BEHAVIOURS[version])

        def edit(root: Path) -> None:
            write_release(root / OVERLAY, version, image)

        return self.repository.commit(f"Release {MODEL} {version} by hand", edit)

    def add_to_overlay(self, subject: str, lines: str, *, after: str = "", **files: str) -> str:
        """Commits lines `after` that text in the overlay's kustomization.yaml, or at its end, with files (named without .yaml)."""

        def edit(root: Path) -> None:
            file = root / OVERLAY / "kustomization.yaml"
            head, found, tail = file.read_text().partition(after) if after else (file.read_text(), "", "")
            assert found == after
            file.write_text(head + found + lines + tail)
            for name, content in files.items():
                (root / OVERLAY / f"{name}.yaml").write_text(content)

        return self.repository.commit(subject, edit)

    def take_from_overlay(self, subject: str, lines: str, *files: str) -> str:
        """Commits the overlay's kustomization.yaml without these lines, and without these files (named without .yaml)."""

        def edit(root: Path) -> None:
            file = root / OVERLAY / "kustomization.yaml"
            assert file.read_text().count(lines) == 1
            file.write_text(file.read_text().replace(lines, ""))
            for name in files:
                (root / OVERLAY / f"{name}.yaml").unlink()

        return self.repository.commit(subject, edit)

    def refresh(self) -> None:
        """What a webhook does: Argo CD looks at the repository now."""
        self.patch_application({"metadata": {"annotations": {_ANNOTATION: "normal"}}})

    def patch_application(self, change: Mapping[str, Any]) -> None:
        self.cluster.patch("applications.argoproj.io", self.name, self.cluster.argocd_namespace, change)

    def patch_project(self, change: Mapping[str, Any]) -> None:
        self.cluster.patch("appprojects.argoproj.io", self.name, self.cluster.argocd_namespace, change)

    def rollout_action(self, action: str) -> None:
        """Runs a Rollout action through Argo CD's API, as its web page does."""
        body = {
            "namespace": self.name,
            "resourceName": WORKLOAD,
            "group": "argoproj.io",
            "version": "v1alpha1",
            "kind": "Rollout",
            "action": action,
            "project": self.name,
        }
        self._ask_argocd("POST", "resource/actions/v2", body)

    def end_operation(self) -> None:
        """What `argocd app terminate-op` does."""
        self._ask_argocd("DELETE", f"operation?project={self.name}", {})

    def _ask_argocd(self, method: str, path: str, body: Mapping[str, Any]) -> None:
        url = f"{self.cluster.argocd_server}/api/v1/applications/{self.name}/{path}"
        headers = {"Authorization": f"Bearer {self.cluster.argocd_token}"}
        answer = requests.request(method, url, json=body, headers=headers, timeout=60)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"

    # -- what Git contains --------------------------------------------------------------------------------------------

    def overlay(self, commit: str = BRANCH) -> dict[str, bytes]:
        return self.repository.folder(OVERLAY, commit)

    def overlay_digest(self, commit: str = BRANCH) -> str:
        """The digest that the overlay's images entry pins."""
        found = re.search(rb"^ +digest: \"?(sha256:[0-9a-f]{64})", self.overlay(commit)["kustomization.yaml"], re.MULTILINE)
        assert found is not None, f"the overlay pins no digest at {commit}"
        return found[1].decode()

    # -- what the cluster runs ----------------------------------------------------------------------------------------

    def application(self) -> dict[str, Any]:
        found = self.cluster.get("applications.argoproj.io", self.name, self.cluster.argocd_namespace)
        assert found is not None, f"the Application {self.name} is gone"
        return found

    def synced_revision(self) -> str | None:
        """The commit of the last sync that succeeded."""
        operation = self.application()["status"].get("operationState") or {}
        return operation["syncResult"]["revision"] if operation.get("phase") == "Succeeded" else None

    def workload(self) -> dict[str, Any]:
        return self.cluster.get(self.kind, WORKLOAD, self.name) or {}

    def status(self) -> dict[str, Any]:
        return dict(self.workload().get("status") or {})

    def events(self, reason: str) -> list[dict[str, Any]]:
        """Kubernetes events with this reason."""
        return self.cluster.list("events", self.name, f"--field-selector=reason={reason}")

    def pods(self) -> list[dict[str, Any]]:
        """The pods that nobody is deleting."""
        listed = self.cluster.list("pods", self.name, f"--selector=app={WORKLOAD}")
        return [pod for pod in listed if "deletionTimestamp" not in pod["metadata"]]

    def is_live(self, digest: str) -> bool:
        """The workload's controller has finished, and every pod runs this digest and is ready."""
        return self._settled() and _all_run(self.pods(), digest)

    def serves(self, digest: str) -> bool:
        """As `is_live`, of the pods that clients reach: a blue-green Rollout keeps those of the release before for a while."""
        if not self._settled():
            return False
        pods = self.pods()
        if self.variant.endswith("blue-green"):
            active = self.status().get("blueGreen", {}).get("activeSelector")
            pods = [pod for pod in pods if _template_hash(pod) == active]
        return _all_run(pods, digest)

    def _settled(self) -> bool:
        workload = self.workload()
        status = workload.get("status")
        if not status or int(status.get("observedGeneration", 0)) != workload["metadata"]["generation"]:
            return False
        if self.variant.endswith("deployment"):
            return bool(status.get("updatedReplicas") == status.get("replicas") == REPLICAS)
        return bool(status.get("phase") == "Healthy" and status.get("stableRS") == status.get("currentPodHash"))

    def snapshot(self) -> Snapshot:
        pods = self.pods()
        hashes = {_template_hash(pod) for pod in pods}
        assert len(hashes) == 1, f"pods of several releases: {hashes}"
        commit = self.repository.tip()
        digest = self.overlay_digest(commit)
        return Snapshot(commit, self.overlay(commit), digest, hashes.pop(), frozenset(pod["metadata"]["uid"] for pod in pods))

    # -- what must hold in the end ------------------------------------------------------------------------------------

    def assert_live(self, run: Run) -> None:
        """promoter reported live and ended well, and the cluster runs what its commit contains."""
        assert (run.exit_code, run.verdict) == (0, ("live", None)), str(run)
        assert self.serves(self.overlay_digest(run.commit)), self.status()
        self.assert_kept(run)

    def assert_kept(self, run: Run) -> None:
        """Git deploys what promoter's commit made of the overlay."""
        assert run.outcome["restored"] is None, str(run)
        assert self.overlay() == self.overlay(run.commit)

    def assert_stable_serves(self) -> None:
        """Ready pods of the release that was stable are there still."""
        assert self.before is not None
        assert any(pod["metadata"]["uid"] in self.before.pods and _ready(pod) for pod in self.pods())

    def assert_restored(self, run: Run) -> None:
        """promoter restored the stable release: its last commit, and all that `assert_as_before` asserts."""
        assert run.exit_code == 10, str(run)
        assert run.outcome["restored"], str(run)
        assert self.overlay(run.outcome["restored"]) == self.overlay()
        self.assert_as_before()

    def assert_as_before(self) -> None:
        """Git deploys, byte for byte, the overlay with the release that is stable, and the cluster runs it as if nothing had been.

        The pod template is the same to its hash, no pod of it restarted, those that the canary left alone are still the
        same ones, and another reconcile finds nothing to do.
        """
        before = self.before
        assert before is not None
        assert deploying(self.overlay()) == deploying(before.overlay)
        eventually("the stable release is live again", lambda: self.is_live(before.digest))
        pods = self.pods()
        assert {_template_hash(pod) for pod in pods} == {before.template_hash}
        assert before.pods & {pod["metadata"]["uid"] for pod in pods}, "no pod of the stable release was left alone"
        assert sum(_restarts(pod) for pod in pods) == 0
        self.assert_nothing_to_reconcile()

    def assert_reconcile_restores(self) -> None:
        """reconcile alone finds what is missing and puts the stable release back."""
        run = self.reconcile()
        (done,) = run.outcome["environments"]
        assert (run.exit_code, done["action"]) == (10, "restored"), str(run)
        self.assert_as_before()

    def assert_nothing_to_reconcile(self) -> None:
        tip = self.repository.tip()
        again = self.reconcile()
        assert again.exit_code == 0, str(again)
        assert self.repository.tip() == tip, self.repository.commits(since=tip)


def deploying(overlay: Mapping[str, bytes]) -> dict[str, bytes]:
    """Without the file that records what failed: a restore leaves that behind."""
    return {name: content for name, content in overlay.items() if name != "promotion.yaml"}


def _all_run(pods: Sequence[Mapping[str, Any]], digest: str) -> bool:
    return len(pods) == REPLICAS and all(_digest(pod) == digest and _ready(pod) for pod in pods)


def _digest(pod: Mapping[str, Any]) -> str:
    return str(pod["spec"]["containers"][0]["image"]).rpartition("@")[2]


def _ready(pod: Mapping[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _restarts(pod: Mapping[str, Any]) -> int:
    return sum(container["restartCount"] for container in pod["status"].get("containerStatuses", []))


def _template_hash(pod: Mapping[str, Any]) -> str:
    labels = pod["metadata"]["labels"]
    return str(labels.get("rollouts-pod-template-hash") or labels["pod-template-hash"])
