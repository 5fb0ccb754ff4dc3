"""Many environments compared cheaply: one list of Applications, one fetch of each branch, one look-up of each alias."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Generic, TypeVar

from promoter.errors import PromoterError, UnexpectedAnswerError, UnreachableError
from promoter.kustomize import overlay
from promoter.kustomize.overlay import Files
from promoter.models import Application, Environment, OnAlias, Release, Write
from promoter.promotion import decisions
from promoter.promotion.decisions import Decisions
from promoter.promotion.pull_request import branch_of
from promoter.promotion.waves import Standing, standing

if TYPE_CHECKING:
    from promoter.argocd.client import ArgoCD
    from promoter.argocd.state import ApplicationState
    from promoter.model_registry import ModelRegistry
    from promoter.model_registry.store import Registered, RegisteredVersion
    from promoter.promotion.clients import Clients


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch as it was at the start: its tip and the files of all overlays there."""

    tip: str
    files: Files


@dataclass(frozen=True, slots=True)
class Alias:
    """The number of the version that an alias means, None for none; `other` is the version where Git does not deploy it."""

    number: str | None
    other: RegisteredVersion | None


_AT_ONCE = 16
_FEW = 32  # look-ups that take no longer than a page or two of all registered models
_PAGE_SAVES = 50  # look-ups: as long as each page may, the next one is read
K = TypeVar("K")
V = TypeVar("V")


class Memo(Generic[K, V]):
    """Reads each thing once. What failed fails again at once: many environments are on the same branch."""

    def __init__(self) -> None:
        self._known: dict[K, V | PromoterError] = {}

    def copy(self) -> Memo[K, V]:
        made = Memo[K, V]()
        made._known = dict(self._known)
        return made

    def put(self, key: K, found: V | PromoterError) -> None:
        self._known[key] = found

    def get(self, key: K, read: Callable[[], V]) -> V:
        if key not in self._known:
            try:
                self._known[key] = read()
            except PromoterError as error:
                self._known[key] = error
        found = self._known[key]
        if isinstance(found, PromoterError):
            raise found
        return found


@dataclass
class Survey:
    """Everything is read when it is first asked for, and once. Not for use by several threads at once.

    `with_argocd`: Argo CD is needed. Otherwise, if none is configured, only alias and Git are compared.
    """

    clients: Clients
    with_argocd: bool = True
    _applications: Mapping[tuple[str, str], ApplicationState] = field(default_factory=dict)
    _branches: Memo[tuple[str, str], Branch] = field(default_factory=lambda: Memo())
    _proposals: Memo[tuple[str, str], frozenset[str]] = field(default_factory=lambda: Memo())
    _aliases: Memo[tuple[str, str], RegisteredVersion | None] = field(default_factory=lambda: Memo())
    _deployed: Memo[tuple[str, str], Release | None] = field(default_factory=lambda: Memo())
    _commits: Memo[tuple[str, str, str], Files] = field(default_factory=lambda: Memo())
    _registered: Mapping[str, Registered] = field(default_factory=dict)
    _without_mlflow: UnreachableError | None = None

    @cached_property
    def argocd(self) -> ArgoCD:
        return self.clients.argocd()

    def handed_on(self) -> Survey:
        """The same for another thread: what was read so far is shared, what reads more is its own."""
        own = replace(self.clients)
        return Survey(
            own,
            self.with_argocd,
            self._applications,
            self._branches.copy(),
            self._proposals.copy(),
            self._aliases.copy(),
            self._deployed.copy(),
            self._commits.copy(),
            self._registered,
            self._without_mlflow,
        )

    def list(self) -> None:
        """Asks Argo CD for all Applications: first of all, since every reading depends on it.

        Raises:
            AuthError, UnreachableError, ArgoCDError: it does not answer.
        """
        listed = self.argocd.applications() if self._argocd_known else ()
        self._applications = {(one.namespace, one.name): one for one in listed}

    def differing(self, environments: Sequence[Environment]) -> tuple[Environment, ...]:
        """Those that may need something, and those of which that is unknown: the error comes up when it is done.

        Raises:
            AuthError, UnreachableError, ArgoCDError: as `list`.
        """
        self.list()
        self.look_up([environment for environment in environments if environment.on_alias is OnAlias.PROMOTE])
        return tuple(environment for environment in environments if self._differs(environment))

    def with_source(self, environment: Environment) -> Environment:
        """As `Clients.with_source`, without asking again for what the list has."""
        return self.clients.with_source(environment, self.listed(environment))

    def branch(self, application: Application) -> Branch:
        """Raises as `Repository.fetch`."""
        return self._branches.get(_key(application), lambda: self._read_branch(application))

    def at(self, application: Application, commit: str) -> Files:
        """The files of all overlays on this branch at another commit; raises as `Repository.at`."""
        repository = self.clients.repository(application)
        read = lambda: Files(repository.at(commit).export(sorted(self._overlays(application))))  # noqa: E731
        return self._commits.get((*_key(application), commit), read)

    def deployed(self, environment: Environment) -> Release | None:
        """The release in the overlay; raises as `branch` and `read_overlay`."""
        files = self.branch(environment.application).files
        return self._deployed.get(environment.key, lambda: overlay.deployed(files, environment))

    def decisions(self, environment: Environment) -> Decisions:
        """What stands against versions of the environment; raises as `branch` and `decisions.at`."""
        branch, repository = self.branch(environment.application), self.clients.repository(environment.application)
        return decisions.at(repository, branch.tip, overlay.read_overlay(branch.files, environment), environment)

    def group(self, environment: Environment) -> Standing | None:
        """How the group stands of which it is the first environment, None for any other; raises as `branch` and `standing`.

        One of them stands for its group: what is to be done about that is done once.
        """
        if environment.group is None:
            return None
        every = self.clients.config.members(environment.group.name, environment.model.name)
        if every[0].key != environment.key:
            return None
        return standing([self.with_source(one) for one in every], lambda one: self.branch(one.application).files)

    def proposed(self, environment: Environment) -> bool:
        """Whether the branch of the environment's pull request exists: one may be open. Raises as `Repository.branches`."""
        prefix, application = environment.pull_request.branch_prefix, environment.application
        read = self.clients.repository(application).branches
        return branch_of(environment) in self._proposals.get((application.repo_url, prefix), lambda: read(prefix))

    def wanted(self, environment: Environment) -> RegisteredVersion | None:
        """The version that the environment's alias points to; raises as `ModelRegistry.at_alias`."""
        if environment.alias is None:
            return None
        if self._without_mlflow is not None:
            raise self._without_mlflow
        model, alias = environment.model.name, environment.alias
        try:
            return self._aliases.get((model, alias), lambda: self.clients.model_registry.at_alias(model, alias))
        except PromoterError as error:
            self._note(error)
            raise

    def alias(self, environment: Environment, deployed: Release | None) -> Alias:
        """What the alias means, and whether Git deploys that; raises as `wanted`.

        A version that Git deploys is not asked for where the model's aliases are known.
        """
        if (number := self._of_page(environment, deployed)) is not None:
            return Alias(number, None)
        wanted = self.wanted(environment)
        if wanted is None:
            return Alias(None, None)
        return Alias(wanted.version, None if decisions.deploys(deployed, wanted) else wanted)

    def aliases(self, environment: Environment) -> Mapping[str, str]:
        """The aliases of the model with the versions that they mean; empty where they were not read all at once."""
        found = self._registered.get(environment.model.name)
        return found.aliases if found else {}

    def look_up(self, environments: Sequence[Environment]) -> None:
        """Reads the aliases of all of them; `wanted` raises what fails.

        Many are read by pages of all registered models. What these do not have is looked up, sixteen at a time, each thread
        with its own client.
        """
        named = {(one.model.name, one.alias): one for one in environments if one.alias is not None}
        if len(named) > _FEW:
            named = self._by_page(named)
        if len(named) < 2:
            return
        (_, first), *others = named.items()
        with suppress(PromoterError):
            self.wanted(first)
        if self._without_mlflow is None:
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                own = threading.local()
                for one, found in zip(others, pool.map(lambda other: self._alias(own, other[1]), others), strict=True):
                    self._aliases.put(one[0], found)

    def _by_page(self, named: Mapping[tuple[str, str], Environment]) -> dict[tuple[str, str], Environment]:
        """Reads what pages have; returns those that they don't."""
        try:
            models = {model for model, _ in named}
            self._registered = self.clients.model_registry.listed(models, max(1, len(named) // _PAGE_SAVES))
        except PromoterError as error:
            self._note(error)
            return dict(named)
        left = {}
        for (model, alias), environment in named.items():
            found = self._registered.get(model)
            if found is None or alias.startswith("stage/"):
                left[model, alias] = environment
            elif (number := found.aliases.get(alias)) is None:
                self._aliases.put((model, alias), None)
            elif number in found.versions:
                self._aliases.put((model, alias), found.versions[number])
            elif not self._deploys_page(environment):
                left[model, alias] = environment
        return left

    def _deploys_page(self, environment: Environment) -> bool:
        try:
            return self._of_page(environment, self.deployed(self.with_source(environment))) is not None
        except Exception:
            return False  # reported when that environment has its turn

    def _of_page(self, environment: Environment, deployed: Release | None) -> str | None:
        """The number that the alias has on the page if it is the deployed version's: created after the model was."""
        number = self.aliases(environment).get(environment.alias or "")
        if number is None or deployed is None or deployed.version != number:
            return None
        tagged, model = decisions.created_at(deployed), self._registered[environment.model.name]
        return number if tagged is not None and tagged >= model.created.replace(microsecond=0) else None

    def _alias(self, own: threading.local, environment: Environment) -> RegisteredVersion | PromoterError | None:
        if self._without_mlflow is not None:
            return self._without_mlflow
        try:
            if not hasattr(own, "registry"):
                own.registry = replace(self.clients).model_registry
            registry: ModelRegistry = own.registry
            return registry.at_alias(environment.model.name, str(environment.alias))
        except PromoterError as error:
            self._note(error)
            return error

    def _note(self, error: PromoterError) -> None:
        """It is one server for all, and to wait for it once is enough; an answer that is odd is about one model."""
        if isinstance(error, UnreachableError) and not isinstance(error, UnexpectedAnswerError):
            self._without_mlflow = error

    def content(self, environment: Environment) -> bool:
        """Argo CD's list shows nothing to look into."""
        if not self._argocd_known:
            return True
        found = self.listed(environment)
        return (
            found is not None
            and (found.sync, found.health) == ("Synced", "Healthy")
            and not found.operation_requested
            and not found.image_overrides
            and self._runs_release(found, environment)
        )

    def _runs_release(self, listed: ApplicationState, environment: Environment) -> bool:
        """Argo CD may not have looked at the release, or not have applied it. Without pods of the model nothing is known."""
        release = self.deployed(environment)
        ours = [image for image in listed.images if release is not None and image.repository == release.repository]
        return not ours or any(release is not None and image.digest == release.digest for image in ours)

    # -- inside -------------------------------------------------------------------------------------------------------

    @property
    def _argocd_known(self) -> bool:
        return self.with_argocd or self.clients.argocd_server is not None

    def listed(self, environment: Environment) -> ApplicationState | None:
        """Its Application as it was in the list; None if that is not there, or without Argo CD."""
        wanted = environment.application
        return self._applications.get((wanted.namespace, wanted.name))

    def _differs(self, environment: Environment) -> bool:
        try:
            known = self.with_source(environment)
            deployed = self.deployed(known)
            if deployed is not None and not self.content(known):
                return True
            if (group := self.group(known)) is not None and group.unfinished:
                return True
            if known.write is Write.PULL_REQUEST and self.with_argocd and self.proposed(known):
                return True
            return known.on_alias is OnAlias.PROMOTE and self.alias(known, deployed).other is not None
        except Exception:
            return True  # whatever it is, it is of this environment, and no other one waits for it

    def _read_branch(self, application: Application) -> Branch:
        tip = self.clients.repository(application).fetch()
        return Branch(tip.commit, Files(tip.export(sorted(self._overlays(application)))))

    def _overlays(self, application: Application) -> set[str]:
        """The overlays of all environments on this branch."""
        paths = {application.path}
        for environment in self.clients.config.environments:
            with suppress(Exception):  # reported when that environment has its turn
                other = self.with_source(environment).application
                paths |= {other.path} if _key(other) == _key(application) else set()
        return paths


def _key(application: Application) -> tuple[str, str]:
    return application.repo_url, application.target_revision
