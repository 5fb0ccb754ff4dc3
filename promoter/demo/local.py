"""The story on one machine: a sandbox stands in for Kubernetes and Argo CD, and its pods are real inference servers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from promoter import config, output
from promoter.demo.images import unpack_model
from promoter.demo.place import Place, git, prepare
from promoter.demo.repository import BRISK, ENVIRONMENT, MODEL, Edits, seed, settings_edits
from promoter.demo.sandbox import Application, Expectation, ProcessRuntime, Sandbox
from promoter.demo.signals import ended_by_signals, hold_signals
from promoter.demo.story import Setup, commands, run
from promoter.demo.training import GOLDEN, Training
from promoter.promotion.ending import Ending
from promoter.promotion.watch import Clock

_SPEED = 5.0


class _FastClock(Clock):
    """promoter's patience, and what it may ask of an Argo CD in a minute, in a fifth of the time: the sandbox is quick."""

    def now(self) -> float:
        return super().now() * _SPEED

    def wait(self, seconds: float, wake: threading.Event) -> None:
        super().wait(seconds / _SPEED, wake)


def demo(folder: Path, show: Callable[[Ending], str]) -> None:
    """Trains three versions of a model and promotes each to staging; the third is aborted, and Git restored.

    Every process it starts has ended when it returns or raises, after Ctrl-C too.

    Raises:
        UsageError: `folder` holds something that no demo made, or a package of the demo is missing.
        PromoterError: the story did not go as it was to go.
    """
    made = prepare(folder)
    remote = made / "gitops.git"
    place = Place(made, remote.as_uri())
    output.say("A demo on this machine: Kubernetes, Argo CD and Argo Rollouts are a sandbox here, everything else is real.")
    output.say(f"Everything is in {folder}/ and stays there to look at.\n")
    training = Training(place)
    git("init", "--quiet", "--bare", "--initial-branch=main", str(remote))
    git("-C", str(remote), "config", "uploadpack.allowFilter", "true")
    seed(place, _edits(place))
    output.say("A Git remote holds base/, overlays/, environments/ and promoter.yaml, with a canary of seconds, not minutes:")
    output.say(place.git("log", "--oneline"))
    with ended_by_signals(), ExitStack() as stack:
        sandbox = stack.enter_context(_sandbox(place))
        stack.callback(hold_signals)  # while the pods end
        environ = place.environ(ARGOCD_SERVER=sandbox.url, ARGOCD_AUTH_TOKEN=sandbox.token)
        url = sandbox.service(_application(place).name)
        sights = [("  the images", str(place.images / "index.json")), ("  the pods' logs", str(place.sandbox / "pods"))]
        run(place, Setup(environ, f"{url}/predict", show, _FastClock(), [*sights, *commands(place)]), training)


def _edits(place: Place) -> Edits:
    """Where images and models are on this machine, and how quick it is."""
    settings = settings_edits(place, f"runtime: scratch\n  layout: oci:{place.images}")
    at_once = {"initialDelay: 5s": "initialDelay: 0s"}  # the proxy knows its pods at once
    analysis = {file: {**BRISK.get(file, {}), **at_once} for file in ("base/health.yaml", "base/predictions.yaml")}
    return {**BRISK, **analysis, config.FILE: settings}


def _application(place: Place) -> Application:
    """The content of the environment's Application manifest."""
    found = config.load(place.checkout / config.FILE).environment(ENVIRONMENT, MODEL).application
    return Application(found.name, found.project, found.repo_url, found.path, found.name, found.target_revision)


def _sandbox(place: Place) -> Sandbox:
    """Each pod runs the model that is in its image; an analysis asks it for the golden examples that were logged with it."""

    def find_model(image: str) -> Path | None:
        return unpack_model(place.images, image, place.sandbox / "models")

    def expect(model: Path) -> Expectation:
        golden = json.loads((model / GOLDEN).read_bytes())
        return Expectation(golden["request"], golden["answers"])

    runtime = ProcessRuntime(find_model, folder=place.sandbox / "pods", expect=expect)
    return Sandbox([_application(place)], folder=place.sandbox / "git", runtime=runtime)
