"""What is looked at and when: bursts are one look, what failed is looked at again; and promoter.yaml read at a branch's tip."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from promoter import config
from promoter.config.environments import Environments
from promoter.config.expand import Named
from promoter.errors import ConfigError, RefusedError, UnreachableError, UsageError
from promoter.models import Environment, OnAlias
from promoter.promotion.survey import Survey
from promoter.webhook import Remote
from promoter.webhook.controller import Controller
from promoter.webhook.log import Log
from promoter.webhook.metrics import Metrics
from promoter.webhook.work import Key
from tests.support.git_server import BareRepository, bare_repository, isolated_environ

EXAMPLE = Path(__file__).parent.parent
FILES = {
    name: (EXAMPLE / name).read_bytes()
    for name in ("promoter.yaml", "environments/staging.yaml", "environments/production.yaml")
}


@dataclass
class Looks:
    """Stands for what a look costs: it waits at the gate, and every environment it is asked about differs."""

    models: Sequence[str]
    gate: threading.Event = field(default_factory=threading.Event)
    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    looks: list[list[str]] = field(default_factory=list)
    added: list[Key] = field(default_factory=list)
    error: Exception | None = None

    def clients(self) -> Any:
        made: Any = {model: SimpleNamespace(name="staging", model=SimpleNamespace(name=model)) for model in self.models}
        named = [Named("staging", model, ("staging", model), None, 0, ("environments", 0)) for model in self.models]
        environments = Environments(named, lambda model: {("staging", model): made[model]})
        return SimpleNamespace(config=SimpleNamespace(environments=environments))

    def survey(self, *_: object) -> Any:
        return SimpleNamespace(differing=self._differing)

    def _differing(self, environments: Sequence[Environment]) -> Sequence[Environment]:
        self.looks.append([one.model.name for one in environments])
        self.begun.release()
        assert self.gate.wait(30)
        if self.error is not None:
            raise self.error
        return environments


@contextmanager
def controlling(looks: Looks, interval: float = 3600.0) -> Iterator[Controller]:
    controller = Controller(looks, looks.survey, lambda key, _: looks.added.append(key), interval, Metrics(), Log(in_json=True))
    controller.start()
    try:
        yield controller
    finally:
        looks.gate.set()
        controller.close()
        controller.join()


def test_a_burst_of_events_is_one_look(capsys: pytest.CaptureFixture[str]) -> None:
    looks = Looks(["a", "b", "c", "d"])
    with controlling(looks) as controller:
        assert looks.begun.acquire(timeout=30)
        assert controller.ready
        assert not controller.health
        for _ in range(500):
            for model in ("a", "b", "unknown"):
                controller.wake(model)
        looks.gate.set()
        assert looks.begun.acquire(timeout=30)
        while len(looks.added) < 6:
            threading.Event().wait(0.01)
        assert controller.ready == "", "nothing hinders it"
    assert looks.looks == [["a", "b", "c", "d"], ["a", "b"]]
    assert [model for _, model in looks.added] == ["a", "b", "c", "d", "a", "b"]
    assert controller.ready == "shutting down"
    assert controller.health


def test_a_model_can_be_woken_later_and_is_woken_once() -> None:
    looks = Looks(["a", "b"])
    looks.gate.set()
    with controlling(looks) as controller:
        assert looks.begun.acquire(timeout=30)
        controller.wake("a", 0.3)
        controller.wake("a", 3600)
        controller.wake("b", 3600)
        assert looks.begun.acquire(timeout=30)
    assert looks.looks == [["a", "b"], ["a"]]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UnreachableError("Argo CD can't be reached"), "Argo CD can't be reached"),
        (AttributeError("'int' object has no attribute 'get'"), "AttributeError: 'int' object has no attribute 'get'"),
        (RecursionError("too deep"), "RecursionError: too deep"),
    ],
)
def test_what_could_not_be_looked_at_is_not_forgotten(error: Exception, said: str) -> None:
    looks = Looks(["a"], error=error)
    looks.gate.set()
    with controlling(looks, interval=0.2) as controller:
        assert looks.begun.acquire(timeout=30)
        while controller.ready != said:
            assert not controller.health
            threading.Event().wait(0.01)
        looks.error = None
        assert looks.begun.acquire(timeout=30)
        while controller.ready:
            threading.Event().wait(0.01)
    assert ("staging", "a") in looks.added


def test_one_environment_that_can_not_be_read_is_one_that_differs() -> None:
    """Whatever reading it raises: the error comes up when it is reconciled, and the others don't notice."""

    def with_source(environment: Any, _: object) -> Any:
        if environment.name == "odd":
            raise RecursionError
        return environment

    class Nothing(Survey):
        def deployed(self, environment: Environment) -> None:
            pass

    clients: Any = SimpleNamespace(with_source=with_source, argocd_server=None)
    read = config.load(EXAMPLE / "promoter.yaml").environments[0]
    made = [replace(read, name=name, on_alias=OnAlias.IGNORE) for name in ("first", "odd", "last")]
    assert [one.name for one in Nothing(clients, with_argocd=False).differing(made)] == ["odd"]


@pytest.fixture
def origin(tmp_path: Path) -> BareRepository:
    return bare_repository(tmp_path)


def remote(origin: BareRepository, tmp_path: Path, path: str = ".") -> Remote:
    return Remote(origin.url, "main", path, isolated_environ(tmp_path / "home"))


def test_promoter_yaml_is_read_anew_at_the_tip_of_a_branch(origin: BareRepository, tmp_path: Path) -> None:
    origin.commit(FILES)
    source = remote(origin, tmp_path)
    assert source.clients().config.environments == config.load(EXAMPLE / "promoter.yaml").environments
    origin.commit({"promoter.yaml": FILES["promoter.yaml"].replace(b"alias: champion", b"alias: winner")})
    assert {one.alias for one in source.clients().config.environments} >= {"winner"}


def test_it_may_lie_in_a_folder_of_the_repository(origin: BareRepository, tmp_path: Path) -> None:
    origin.commit({f"teams/ml/{name}": content for name, content in FILES.items()})
    assert len(remote(origin, tmp_path, "teams/ml").clients().config.environments) == 2
    with pytest.raises(UsageError) as caught:
        remote(origin, tmp_path).clients()
    assert caught.value.message == f"main of {origin.url} has no promoter.yaml"
    assert "--branch" in caught.value.hint


def test_a_folder_for_images_has_to_be_named_in_whole(origin: BareRepository, tmp_path: Path) -> None:
    lines = FILES["promoter.yaml"].partition(b"image:\n")[0] + b"image:\n  runtime: scratch\n  layout: oci:images\n"
    origin.commit({**FILES, "promoter.yaml": lines})
    with pytest.raises(ConfigError) as caught:
        remote(origin, tmp_path).clients()
    assert caught.value.message == "promoter.yaml: image.layout: is relative to a checkout, and there is none"
    origin.commit({"promoter.yaml": lines.replace(b"oci:images", b"oci:/images")})
    assert remote(origin, tmp_path).clients().config.image.layout == Path("/images")


def test_what_leads_out_of_the_repository_is_refused(origin: BareRepository, tmp_path: Path) -> None:
    origin.commit({**FILES, "promoter.yaml": FILES["promoter.yaml"].replace(b"environments/staging.yaml", b"../staging.yaml")})
    with pytest.raises(ConfigError, match=r"'?\.\./staging.yaml'?:? "):
        remote(origin, tmp_path).clients()


def test_a_manifest_that_is_a_link_is_refused(origin: BareRepository, tmp_path: Path) -> None:
    origin.commit({**FILES, "environments/staging.yaml": b"/etc/passwd"}, modes={"environments/staging.yaml": "120000"})
    with pytest.raises(RefusedError, match="symbolic link"):
        remote(origin, tmp_path).clients()
