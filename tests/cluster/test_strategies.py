"""Blue-green and the plain Deployment: the same promises without canary steps."""

from __future__ import annotations

import pytest

from tests.cluster.environment import Environment
from tests.cluster.model_versions import GOOD, NEVER_READY, UNHEALTHY


@pytest.mark.variant("blue-green")
def test_blue_green_good(environment: Environment) -> None:
    environment.assert_live(environment.promote(GOOD))


@pytest.mark.variant("blue-green")
def test_blue_green_failing_analysis_is_restored(environment: Environment) -> None:
    run = environment.promote(UNHEALTHY)
    assert run.verdict == ("aborted", "analysis failed")
    environment.assert_restored(run)


@pytest.mark.variant("deployment")
def test_deployment_good(environment: Environment) -> None:
    environment.assert_live(environment.promote(GOOD))


@pytest.mark.variant("deployment")
def test_deployment_that_never_gets_ready_is_restored(environment: Environment) -> None:
    run = environment.promote(NEVER_READY)
    assert run.verdict == ("failed", "progress deadline")
    environment.assert_restored(run)
