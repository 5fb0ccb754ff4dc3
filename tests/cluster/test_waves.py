"""Three Applications as three regions of one group: each wave is live before the next begins, and what moved goes back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import yaml

from tests.cluster import results
from tests.cluster.cluster import Cluster, eventually
from tests.cluster.command import Promoter, Run
from tests.cluster.conftest import new_environment, turn
from tests.cluster.environment import Environment, deploying
from tests.cluster.images import Service
from tests.cluster.manifests import NAME
from tests.cluster.model_versions import GOOD, MODEL, forgive
from tests.support.mlflow_server import MlflowServer

REGIONS = ("eu", "us", "ap")

_WAVE = 600.0  # seconds that the waves before may take on a busy machine


@dataclass
class Regions:
    """`regions` in the order of their waves, each with a repository, an Application and a namespace of its own."""

    regions: Sequence[Environment]
    promoter: Promoter

    def promoting(self, *options: str) -> Run:
        return self.promoter.start("promote", f"{MODEL}:{GOOD}", "--to", "production", *options)

    def reconcile(self) -> Run:
        return self.promoter.start("reconcile", "production").finish()

    def configure(self, **keys: object) -> None:
        """The regions' keys in promoter.yaml, which lists all of them."""
        file = self.promoter.folder / "promoter.yaml"
        config = yaml.safe_load(file.read_text())
        config["environments"] = [
            {"name": region, "model": MODEL, "application": f"environments/{region}.yaml", "group": "production", "wave": wave}
            | {"region": region, "soak": "5s"}
            | keys
            for wave, region in enumerate(REGIONS, 1)
        ]
        file.write_text(yaml.safe_dump(config))

    def promotion_ids(self) -> set[str]:
        """Of the newest commit of each repository."""
        messages = (one.repository.message(one.repository.tip()) for one in self.regions)
        return {found[1] for text in messages if (found := re.search(r"(?m)^Promotion-Id: (\w+)$", text))}

    def rolling(self, run: Run, region: Environment) -> None:
        """Waits until promoter reports that the release is rolling out there."""

        def look() -> bool:
            assert run.process.poll() is None, f"ended before {region.name} was rolling: {run}"
            return any((one.get("application"), one.get("kind")) == (region.name, "rolling") for one in list(run.events))

        eventually(f"{region.name} is rolling", look, seconds=_WAVE, every=0.2)


@pytest.fixture
def three(
    request: pytest.FixtureRequest,
    cluster: Cluster,
    service: Service,
    mlflow_versions: MlflowServer,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Regions]:
    """Three regions whose first release is live; no request to any of them may fail while the test lasts."""
    with turn(tmp_path_factory, alone=False), ExitStack() as stack:
        made = [new_environment(cluster, service, mlflow_versions, tmp_path / region) for region in REGIONS]
        for one in made:
            stack.callback(one.remove)
        stack.callback(forgive, mlflow_versions)
        for one in made:
            one.create()
        promoter = made[0].promoter
        for region, one in zip(REGIONS, made, strict=True):
            manifest = one.promoter.folder / "environments" / f"{NAME}.yaml"
            (promoter.folder / "environments" / f"{region}.yaml").write_text(manifest.read_text())
        regions = Regions(made, promoter)
        regions.configure()
        yield regions
    traffic = [one.traffic for one in made if one.traffic]
    failures = [failure for one in traffic for failure in one.failures]
    scenario = str(request.node.name).removeprefix("test_").replace("_", " ")
    results.add(request.node, results.Row(scenario, promoter.runs, sum(one.requests for one in traffic), len(failures)))
    assert not failures, f"{len(failures)} requests failed: {failures[:10]}"


def test_three_regions_get_a_release_in_waves(three: Regions) -> None:
    run = three.promoting()
    first, second, third = three.regions
    three.rolling(run, second)
    assert first.is_live(first.overlay_digest()), "the first region was not live when the second one began"
    assert third.repository.tip() == (third.before.commit if third.before else "")
    run.finish()
    assert run.exit_code == 0, str(run)
    assert [(one["environment"], one["exit_code"]) for one in run.outcome["environments"]] == [(name, 0) for name in REGIONS]
    for one in three.regions:
        assert one.is_live(one.overlay_digest()), one.status()
    assert three.promotion_ids() == {run.outcome["promotion"]}
    tips = [one.repository.tip() for one in three.regions]
    assert three.reconcile().exit_code == 0
    assert [one.repository.tip() for one in three.regions] == tips


def test_the_second_region_fails_and_the_first_one_goes_back(three: Regions) -> None:
    three.configure(**{"on-wave-failure": "revert"})
    run = three.promoting()
    _, second, third = three.regions
    three.rolling(run, second)
    second.rollout_action("abort")
    run.finish()
    assert run.exit_code == 10, str(run)
    assert "reverted: eu" in run.outcome["detail"]
    for one in three.regions:
        assert one.before is not None
        assert deploying(one.overlay()) == deploying(one.before.overlay)
        eventually(f"{one.name} runs what it ran before", partial(one.is_live, one.before.digest))
    assert third.before is not None
    assert third.repository.tip() == third.before.commit
    tips = [one.repository.tip() for one in three.regions]
    assert three.reconcile().exit_code == 0
    assert [one.repository.tip() for one in three.regions] == tips
