"""The story on one machine: a sandbox stands in for Kubernetes and Argo CD, and its pods are real inference servers."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from promoter import config, output
from promoter.demo.images import unpack_model
from promoter.demo.place import Place, git, prepare
from promoter.demo.repository import BRISK, ENVIRONMENT, MODEL, REPOSITORY_URL, Edits, seed
from promoter.demo.story import Scenery, tell
from promoter.demo.training import Example, Training
from promoter.sandbox import Application, Expectation, ProcessRuntime, Sandbox
from promoter.watch import Timing

_TIMING = Timing(poll=0.5, stable_for=2.0, sync_grace=5.0, observe=120.0, sync=240.0, roll=240.0)
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def demo(folder: Path) -> None:
    """Trains three versions of a model and promotes each to staging; the third is aborted, and Git restored.

    Every process it starts has ended when it returns or raises, after Ctrl-C too.

    Raises:
        UsageError: `folder` holds something that no demo made, or a package of the demo is missing.
        PromoterError: the story did not go as it was to go.
    """
    place = prepare(folder)
    output.say("A demo on this machine: Kubernetes, Argo CD and Argo Rollouts are a sandbox here, everything else is real.")
    output.say(f"Everything is in {folder}/ and stays there to look at.\n")
    _go_direct()
    training = Training(place)
    git("init", "--quiet", "--bare", "--initial-branch=main", str(place.remote))
    git("-C", str(place.remote), "config", "uploadpack.allowFilter", "true")
    seed(place, _edits(place), clone=place.remote.as_uri())
    output.say("A Git remote holds base/, overlays/, environments/ and promoter.yaml, with a canary of seconds, not minutes:")
    output.say(place.git("log", "--oneline"))
    with _ended_by_signals(), ExitStack() as stack:
        sandbox = stack.enter_context(_sandbox(place, training.example))
        stack.callback(_hold_signals)  # while the pods end
        environ = place.environ(ARGOCD_SERVER=sandbox.url, ARGOCD_AUTH_TOKEN=sandbox.token)
        url = sandbox.service(_application(place).name)
        sights = [("  the images", f"{place.images / 'index.json'}"), ("  the pods' logs", f"{place.sandbox / 'pods'}")]
        tell(place, Scenery(environ, f"{url}/predict", _TIMING, sights), training)


def _go_direct() -> None:
    """A proxy of the company's is not to be asked for what is on this machine."""
    os.environ["no_proxy"] = ",".join(filter(None, (os.environ.get("no_proxy") or os.environ.get("NO_PROXY"), "127.0.0.1")))


def _edits(place: Place) -> Edits:
    """The addresses of this machine in the places of the examples'."""
    url = {REPOSITORY_URL: place.remote.as_uri()}
    settings = {
        "base: python:3.11-slim": f"base: scratch\n  layout: oci:{place.images}",
        "environments: # in": f"mlflow:\n  tracking-uri: {place.tracking_uri}\n\nenvironments: # in",
    }
    manifests = {f"environments/{name}.yaml": url for name in ("staging", "production")}
    return {**BRISK, **manifests, config.FILE: settings}


def _application(place: Place) -> Application:
    """What the Application manifest of the environment says."""
    found = config.load(place.checkout / config.FILE).environment(ENVIRONMENT, MODEL).application
    return Application(found.name, found.project, found.repo_url, found.path, found.name, found.target_revision)


def _sandbox(place: Place, example: Example) -> Sandbox:
    """Each pod runs the model that is in its image; an analysis asks it for predictions that are known."""

    def find_model(image: str) -> Path | None:
        return unpack_model(place.images, image, place.sandbox / "models")

    def expect(_: Path) -> Expectation:
        return Expectation(example.request, example.labels)

    runtime = ProcessRuntime(find_model, folder=place.sandbox / "pods", expect=expect)
    return Sandbox([_application(place)], folder=place.sandbox / "git", runtime=runtime)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Ctrl-C, SIGTERM and a closed terminal end what is inside once, as SystemExit, so that it ends its processes."""

    def end(number: int, _: object) -> None:
        _hold_signals()
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _hold_signals() -> None:
    """They do nothing any more; unlike SIG_IGN this is not handed down to processes."""
    for number in _SIGNALS:
        signal.signal(number, lambda *_: None)
