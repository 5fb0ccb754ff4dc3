"""The rig itself, without promoter: releases committed by hand do on the cluster what the scenarios rely on."""

from __future__ import annotations

import pytest

from tests.cluster.cluster import eventually
from tests.cluster.environment import Environment
from tests.cluster.images import Pushed
from tests.cluster.model_versions import CRASHING, GOOD, STABLE, UNDECIDED, UNHEALTHY, UNMEASURABLE


def _release(environment: Environment, version: str) -> None:
    environment.release_by_hand(version)
    environment.refresh()


def _aborted(environment: Environment) -> bool:
    return environment.status().get("abort") is True


def _stable_again(environment: Environment) -> bool:
    assert environment.before is not None
    return environment.is_live(environment.before.digest)


def test_a_good_release_becomes_live_and_a_bad_one_aborts_and_goes_back(environment: Environment) -> None:
    _release(environment, GOOD)
    eventually("the good release is live", lambda: environment.is_live(environment.overlay_digest()))
    _release(environment, UNHEALTHY)
    eventually("the analysis aborts it", lambda: _aborted(environment))
    _release(environment, STABLE)
    eventually("the stable release is live again", lambda: _stable_again(environment))


@pytest.mark.parametrize("version", [UNMEASURABLE, CRASHING], ids=["unmeasurable", "crashing"])
def test_what_cannot_be_measured_or_started_aborts(environment: Environment, version: str) -> None:
    _release(environment, version)
    eventually("it is aborted", lambda: _aborted(environment))


@pytest.mark.variant("undecided")
def test_an_undecided_analysis_pauses(environment: Environment) -> None:
    _release(environment, UNDECIDED)

    def paused() -> bool:
        return "InconclusiveAnalysisRun" in str(environment.status().get("pauseConditions"))

    eventually("it is paused", paused)


def test_an_image_that_is_not_there_leaves_its_pod_waiting(environment: Environment) -> None:
    image = Pushed(environment.service.models.reference, "v99", f"sha256:{99:064x}")
    environment.release_by_hand("99", image)
    environment.refresh()
    eventually("a pod waits for its image", lambda: "ErrImagePull" in str(environment.pods()))


@pytest.mark.variant("blue-green")
def test_blue_green_promotes(environment: Environment) -> None:
    _release(environment, GOOD)
    eventually("the good release is live", lambda: environment.is_live(environment.overlay_digest()))


@pytest.mark.variant("deployment")
def test_a_deployment_rolls(environment: Environment) -> None:
    _release(environment, GOOD)
    eventually("the good release is live", lambda: environment.is_live(environment.overlay_digest()))


@pytest.mark.variant("autoscaled")
def test_an_autoscaler_without_metrics_degrades_the_application(environment: Environment) -> None:
    eventually("it is Degraded", lambda: environment.application()["status"]["health"]["status"] == "Degraded")
    assert environment.status()["phase"] == "Healthy"
