"""The story on a live cluster: the one that KUBECONFIG names, with the Argo CD that ARGOCD_SERVER names."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from promoter import config, output
from promoter.demo.place import Place, prepare
from promoter.demo.repository import BRISK, ENVIRONMENT, REPOSITORY, Edits, seed, settings_edits
from promoter.demo.signals import ended_by_signals, hold_signals
from promoter.demo.story import Setup, commands, run
from promoter.demo.training import Training
from promoter.errors import PromoterError, UnreachableError, UsageError
from promoter.gitops.credentials import address
from promoter.machine import process
from promoter.promotion.ending import Ending

# kubectl's own, and what the login programs of clouds read.
_KUBECTL = frozenset(
    {"KUBECONFIG", "KUBERNETES_*", "AAD_*", "AWS_*", "AZURE_*", "CLOUDSDK_*", "GOOGLE_*", "USE_GKE_GCLOUD_AUTH_PLUGIN"}
)
_SECONDS = 300.0
_MANIFEST = f"environments/{ENVIRONMENT}.yaml"


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """What the demo needs in addition to KUBECONFIG, ARGOCD_SERVER and ARGOCD_AUTH_TOKEN.

    `git_url` is a repository that promoter can push to and Argo CD reads; `registry` is where the cluster pulls from,
    host and prefix. `runtime` is an image with promoter.serving and what the models need; without one it is built.
    """

    git_url: str
    registry: str
    runtime: str | None = None
    keep: bool = False


def options(git_url: str | None, registry: str | None, runtime: str | None, *, keep: bool) -> ClusterOptions:
    """Raises: UsageError, that names everything that is missing."""
    needed = {"--git-url": git_url, "--registry": registry}
    needed |= {"kubectl on PATH": shutil.which("kubectl")}
    needed |= {name: os.environ.get(name) for name in ("ARGOCD_SERVER", "ARGOCD_AUTH_TOKEN")}
    missing = [name for name, value in needed.items() if not value]
    if not git_url or not registry or missing:
        raise UsageError(
            f"the demo on a cluster can't start: missing are {', '.join(missing)}",
            hint="name them, or leave --cluster out: promoter demo needs nothing",
        )
    return ClusterOptions(git_url, registry.rstrip("/"), runtime, keep)


def demo_on_cluster(folder: Path, chosen: ClusterOptions, show: Callable[[Ending], str]) -> None:
    """Runs the story on the cluster, in a namespace, an Application and a branch of their own, which it removes in the end.

    Raises:
        UsageError: `folder` holds something that no demo made, or a package of the demo is missing.
        PromoterError: the story did not go as it was to go, or kubectl or git failed.
    """
    name = f"promoter-demo-{secrets.token_hex(3)}"
    place = Place(prepare(folder), address(chosen.git_url), name)
    output.say(f"A demo on the cluster of context {_kubectl('config', 'current-context')}, its Argo CD and its Argo Rollouts.")
    output.say(f"Namespace, Application and branch of {place.git_url} are called {name}; the models are in {folder}/.\n")
    training = Training(place)
    with ended_by_signals(), ExitStack() as stack:
        stack.enter_context(_made(place, edits(place, chosen), keep=chosen.keep))
        url = stack.enter_context(_service(name))
        stack.callback(hold_signals)  # while things are removed
        argocd = {key: value for key, value in os.environ.items() if key.startswith("ARGOCD_")}
        sights = [*commands(place), *_cleaning(place)] if chosen.keep else []
        run(place, Setup(place.environ(**argocd), f"{url}/predict", show, sights=sights), training)


def edits(place: Place, chosen: ClusterOptions) -> Edits:
    """Names and addresses of this demo."""
    name, shipped = place.branch, f"fraud-detector-{ENVIRONMENT}"
    overlay = f"overlays/{ENVIRONMENT}/kustomization.yaml"
    manifest = {
        f"metadata:\n  name: {shipped}": f"metadata:\n  name: {name}",
        f"    namespace: {shipped}": f"    namespace: {name}",
        "targetRevision: main": f"targetRevision: {name}",
        "project: fraud-detector": "project: default",
    }
    return {
        **BRISK,
        "base/kustomization.yaml": {"- network-policies.yaml\n": ""},  # the client asks through the API server
        overlay: {**BRISK[overlay], f"namespace: {shipped}": f"namespace: {name}"},
        _MANIFEST: manifest,
        config.FILE: {
            **settings_edits(place, chosen.runtime and f"runtime: {chosen.runtime}"),
            # the smoke test would refuse the version with wrong answers, which the story shows in a canary
            REPOSITORY: f"{chosen.registry}/fraud-detector\n    smoke: false",
        },
    }


@contextmanager
def _made(place: Place, changes: Edits, *, keep: bool) -> Iterator[None]:
    """Branch, namespace and Application, removed in the end unless they are to be kept."""
    name, manifest = place.branch, str(place.checkout / _MANIFEST)
    with ExitStack() as undo:
        seed(place, changes)
        undo.callback(_remove, f"branch {name}", lambda: place.git("push", "--quiet", "origin", "--delete", name))
        _kubectl("create", "namespace", name)
        undo.callback(_remove, f"namespace {name}", lambda: _kubectl("delete", "namespace", name, "--wait=false"))
        output.say(f"$ kubectl apply -f {_MANIFEST}\n{_kubectl('apply', '--filename', manifest)}")
        undo.callback(_remove, f"Application {name}", lambda: _kubectl("delete", "--filename", manifest))
        if keep:
            undo.pop_all()
        yield


def _cleaning(place: Place) -> list[tuple[str, str]]:
    name = place.branch
    return [
        ("  to remove the Application", f"kubectl delete -f {place.checkout / _MANIFEST}"),
        ("  to remove the namespace", f"kubectl delete namespace {name}"),
        ("  to remove the branch", f"git -C {place.checkout} push origin --delete {name}"),
    ]


def _remove(what: str, remove: Callable[[], str]) -> None:
    """A removal that fails is reported, and the next one still runs."""
    try:
        remove()
    except PromoterError as error:
        output.say(f"{what} is still there: {error.message}")
    else:
        output.say(f"removed {what}")


@contextmanager
def _service(namespace: str) -> Iterator[str]:
    """The URL of the Service that clients use, through the API server: each request to any pod that is ready."""
    command = ["kubectl", "proxy", "--port=0", "--address=127.0.0.1"]
    with process.begin(command, environ=_environ()) as proxy:
        try:
            line = proxy.stdout.readline().decode() if proxy.stdout else ""
            address = line.rpartition(" ")[2].strip()
            if not address:
                raise PromoterError("kubectl proxy ended at once", hint="see whether it runs: kubectl proxy")
            yield f"http://{address}/api/v1/namespaces/{namespace}/services/inference-service:http/proxy"
        finally:
            proxy.terminate()


def _kubectl(*arguments: str) -> str:
    """What kubectl prints.

    Raises:
        PromoterError: it failed.
    """
    try:
        done = process.run(["kubectl", *arguments], environ=_environ(), folder=Path.cwd(), seconds=_SECONDS)
    except process.HungError:
        raise UnreachableError(f"kubectl {arguments[0]} did not end in {_SECONDS:.0f} s", hint="check KUBECONFIG") from None
    if done.status != 0:
        reason = done.errors.strip()
        raise PromoterError(f"kubectl {arguments[0]}: {reason}", hint="check KUBECONFIG and what you may do there")
    return done.output.strip()


def _environ() -> dict[str, str]:
    return process.needed(os.environ, process.NETWORK | process.FOLDERS | _KUBECTL, more=True)
