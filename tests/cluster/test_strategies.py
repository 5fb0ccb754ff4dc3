"""Blue-green and the plain Deployment: the same promises without canary steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.cluster import eventually
from tests.cluster.environment import Environment
from tests.cluster.manifests import OVERLAY, WORKLOAD
from tests.cluster.model_versions import GOOD, NEVER_READY, UNHEALTHY
from tests.cluster.traffic import Traffic

_STABLE, _CANARY = f"{WORKLOAD}-stable", f"{WORKLOAD}-canary"


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


@pytest.mark.variant("earlier")
def test_services_of_an_earlier_base_get_the_selectors_of_today(environment: Environment) -> None:
    """No request is lost meanwhile, and none in the next release, abort and restore: neither by the clients nor at the stable pods."""
    assert len({tuple(sorted(one.items())) for one in _selectors(environment)}) == 1
    with Traffic(environment.cluster.node, environment.node_ports(_STABLE)) as stable:
        environment.repository.commit("Take the Services of today", _take_todays_services)
        environment.refresh()
        eventually(
            "the Services are those of today",
            lambda: len(environment.node_ports()) == len(environment.node_ports(_STABLE)) == 2,
        )
        assert len({tuple(sorted(one.items())) for one in _selectors(environment)}) == 3
        environment.assert_live(environment.promote(GOOD))
        environment.before = environment.snapshot()
        environment.assert_restored(environment.promote(UNHEALTHY))
    assert stable.answered.total() > 100
    assert stable.failures == []


def _take_todays_services(root: Path) -> None:
    file = root / OVERLAY / "kustomization.yaml"
    assert "variants/earlier" in file.read_text()
    file.write_text(file.read_text().replace("variants/earlier", "variants/exposed"))


def _selectors(environment: Environment) -> list[dict[str, str]]:
    """Of the three Services, without the hash by which the controller pins two of them."""
    found = [environment.cluster.get("service", name, environment.name) or {} for name in (WORKLOAD, _STABLE, _CANARY)]
    return [
        {key: value for key, value in one["spec"]["selector"].items() if key != "rollouts-pod-template-hash"} for one in found
    ]
