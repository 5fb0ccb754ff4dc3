"""The composition root: from the configuration and the environment to the adapters, each built when first asked for."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

from promoter.errors import RefusedError, UsageError
from promoter.models import HEAD, CommitBy, ForgeKind, Strategy, source_path
from promoter.notify.outbox import Outbox

if TYPE_CHECKING:
    from promoter.argocd.client import ArgoCD
    from promoter.argocd.state import ApplicationState
    from promoter.config import Config
    from promoter.gitops import Repository
    from promoter.hosting.forge import Address, Forge
    from promoter.image.base import BaseImage
    from promoter.image.keys import SigningKey
    from promoter.image.layer import Open
    from promoter.image.oci import Repository as ImageRepository
    from promoter.image.publish import Publisher
    from promoter.image.registry import RegistryRepository
    from promoter.image.runtime.build import RuntimeBuilder
    from promoter.model_registry import ModelRegistry
    from promoter.models import Application, Environment, Model, ModelVersion
    from promoter.notify.github import Target
    from promoter.notify.notifier import Notifier
    from promoter.promotion.message import Message
    from promoter.transport.credential import Credential


# GitHub Actions, Azure Pipelines, GitLab CI/CD: their documented variables.
_ACTORS = ("GITHUB_ACTOR", "BUILD_REQUESTEDFOR", "GITLAB_USER_LOGIN")
_CAUSES = ("GITHUB_EVENT_NAME", "BUILD_REASON", "CI_PIPELINE_SOURCE")


@dataclass(frozen=True)
class Clients:
    """Everything outside, as one command sees it. Constructing it does nothing; `say` reports what takes minutes.

    `outbox` is one for the process, whose notices wait there. `trailers` are added to every commit of this run, `reason` is why
    it is made.
    `default_branches` of remotes are looked up once: a run stays on the branch that it began with.
    """

    config: Config
    environ: Mapping[str, str]
    say: Callable[[str], None] = lambda _: None
    outbox: Outbox = field(default_factory=Outbox)
    trailers: tuple[tuple[str, str], ...] = ()
    reason: str = ""
    default_branches: dict[str, str] = field(default_factory=dict, repr=False, compare=False)
    _repositories: dict[tuple[str, str], Repository] = field(default_factory=dict, init=False, repr=False, compare=False)
    _publishers: dict[Model, Publisher] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def model_registry(self) -> ModelRegistry:
        from promoter.model_registry import connect

        image = self.config.image
        return connect(self.environ, tracking_uri=self.config.tracking_uri, sources=image.sources, most_files=image.max_files)

    @property
    def argocd_server(self) -> str | None:
        """Where Argo CD is, if one is configured."""
        return self.environ.get("ARGOCD_SERVER") or self.config.argocd_server

    def argocd(self) -> ArgoCD:
        """A client of its own for each caller: the event stream is read by another thread."""
        from promoter.argocd.client import ArgoCD

        return ArgoCD.from_environ(self.environ, self.config.argocd_server)

    def environment(self, name: str, model: str | None = None) -> Environment:
        """The environment of that name with its place in Git, which is asked for where promoter.yaml names no manifest.

        Raises:
            UsageError: unknown or ambiguous, or Argo CD is not configured.
            RefusedError: its Application does not say which branch and path it follows.
            AuthError, UnreachableError, NotFoundError: as Argo CD answers.
        """
        return self.with_source(self.config.environment(name, model))

    def with_source(self, environment: Environment, listed: ApplicationState | None = None) -> Environment:
        """The environment with its place in Git, asked of Argo CD unless it was `listed`; raises as `environment`."""
        wanted = environment.application
        if not (wanted.repo_url or listed or self.argocd_server):
            raise UsageError(
                f"application {wanted.name!r} has no manifest here, and Argo CD is not configured",
                hint="set ARGOCD_SERVER and ARGOCD_AUTH_TOKEN, or name the Application's manifest in promoter.yaml",
            )
        if not wanted.repo_url:
            environment = with_source(environment, listed or self.argocd().application(wanted))
        return self._on_its_branch(environment)

    def _on_its_branch(self, environment: Environment) -> Environment:
        """HEAD is the remote's default branch, as the remote answers the first time."""
        application = environment.application
        if application.target_revision != HEAD:
            return environment
        url = application.repo_url
        if url not in self.default_branches:
            self.default_branches[url] = self.repository(application).default_branch()
        followed = replace(application, target_revision=self.default_branches[url], default_branch=True)
        return replace(environment, application=followed)

    def repository(self, application: Application) -> Repository:
        """The repository and branch that the Application follows: one shared by all callers, in one thread."""
        key = application.repo_url, application.target_revision
        if key not in self._repositories:
            self._repositories[key] = self._open(application)
        return self._repositories[key]

    def _open(self, application: Application) -> Repository:
        from promoter.gitops import Repository, default_cache
        from promoter.promotion import journal

        return Repository(
            application.repo_url,
            application.target_revision,
            push_url=self.config.git.push_url,
            cache=default_cache(self.environ),
            environ=self.environ,
            github_api=self.config.git.commit is CommitBy.GITHUB_API,
            dated=self.config.commit.date_from_environment,
            history_limit=self.config.git.history_limit,
            wording=self.message,
            circumstances=partial(journal.circumstances, self.actor, self.reason),
            checkout=self.config.root,
        )

    @cached_property
    def message(self) -> Message | None:
        """How commits are worded; None if promoter's own words stay as they are.

        Raises:
            UsageError: a trailer has a key that promoter writes itself.
        """
        from promoter.config.values import CommitConfig
        from promoter.promotion.message import TICKET, Message

        given = {key.lower(): value for key, value in self.trailers}
        ticket = given.get(TICKET.lower()) or self.environ.get("PROMOTER_TICKET", "")
        plain = replace(self.config.commit, date_from_environment=False) == CommitConfig() and not self.trailers and not ticket
        return None if plain else Message(self.config.commit, self.trailers, ticket)

    def forge(self, application: Application) -> Forge:
        """The forge of the repository that promoter pushes to.

        Raises:
            UsageError: the forge can't be determined.
            AuthError: no token for it.
        """
        from promoter.hosting import tokens
        from promoter.hosting.forge import connect

        address = self.forge_address(self.config.git.push_url or application.repo_url)

        def token() -> Credential:
            return tokens.token(address.kind, self.environ, address.place, address.api_url)

        token()
        return connect(address, token, time.sleep)

    def forge_address(self, url: str) -> Address:
        """Where the forge of the repository at `url` is.

        Raises:
            UsageError: it is ambiguous which one is meant.
        """
        from promoter.hosting.forge import address_of

        forge = self.config.forge
        return address_of(url, self.environ, kind=forge.kind, api_url=forge.api_url, repository=forge.repository)

    @property
    def actor(self) -> str:
        """The person who started the pipeline that promoter runs in; "" for a schedule, and outside a pipeline."""
        if any(self.environ.get(name, "").lower() == "schedule" for name in _CAUSES):
            return ""
        return next((self.environ[name] for name in _ACTORS if self.environ.get(name)), "")

    @cached_property
    def notifier(self) -> Notifier:
        """Notifies the channels of `notices:`; those that can't be used are reported and left out."""
        from promoter.notify.notifier import connect

        names = Counter(one.name for one in self.config.environments.named)
        shared = frozenset(name for name, count in names.items() if count > 1)
        return connect(self.config.notices, self.environ, self.outbox, self._on_github, shared)

    def _on_github(self, url: str) -> Target:
        """Raises: UsageError, if the repository at `url` does not exist."""
        from promoter.hosting import tokens
        from promoter.notify.github import Target

        address = self.forge_address(url)
        if address.kind is not ForgeKind.GITHUB:
            raise UsageError(f"{address.place} is not on GitHub", hint="take github out of notices")
        return Target(
            address.api_url,
            address.owner,
            address.repository,
            lambda: tokens.token(ForgeKind.GITHUB, self.environ, address.place, address.api_url),
        )

    def publisher(self, model: Model) -> Publisher:
        """Publishes into the model's repository; `environment.model` is the model with that environment's. One for all callers.

        Raises:
            UsageError: the repository is none.
        """
        if model not in self._publishers:
            self._publishers[model] = self._publisher(model)
        return self._publishers[model]

    def _publisher(self, model: Model) -> Publisher:
        from promoter.image.assemble import Packing
        from promoter.image.publish import Publisher
        from promoter.image.runtime.whole import WholePublisher

        image = self.config.image
        target = self._image_repository(model.repository)
        elsewhere = [self._image_repository(name) for name in self.config.repositories_before(model)]
        builder = self._runtime_builder(model)
        if builder and image.strategy is Strategy.BUILD:
            return WholePublisher(target, model.repository, builder, image.platform, elsewhere=elsewhere)
        packing = Packing(image.compress, image.model, image.embed_limit, image.format)
        return Publisher(
            target,
            model.repository,
            builder or self._ready_runtime,
            image.platform,
            packing=packing,
            elsewhere=elsewhere,
            attempt=builder.attempt if builder else None,
        )

    def require_push(self, model: Model) -> None:
        """Whether the model's image repository, and that of its runtimes, would take an image; raises what a push would."""
        self.publisher(model).require_push()
        if (builder := self._runtime_builder(model)) and builder.target.name != model.repository:
            builder.target.require_push()

    def runtime(self, model: Model, version: ModelVersion, open_file: Open) -> BaseImage | None:
        """The image that the version would be put on today, as far as it is known without making one."""
        builder = self._runtime_builder(model)
        return builder.find(version, open_file) if builder else self._ready_runtime(version, open_file)

    def _runtime_builder(self, model: Model) -> RuntimeBuilder | None:
        """None if image.runtime names a ready image, or a layout is used, since an engine needs a registry to push to."""
        from promoter.image.registry import RegistryRepository
        from promoter.image.runtime.build import RuntimeBuilder

        if self.config.image.runtime is not None:
            return None
        target = self._image_repository(self.config.image.runtime_repository or model.repository)
        if not isinstance(target, RegistryRepository):
            return None
        return RuntimeBuilder(target, self.config.image, self.environ, self.say)

    def _ready_runtime(self, _version: ModelVersion, _open: Open) -> BaseImage | None:
        from promoter.image.base import open_base

        image = self.config.image
        return open_base(image.runtime or "scratch", insecure=image.insecure_registries, env=self.environ)

    def attachments(self, name: str, *, decides: bool = False) -> RegistryRepository:
        """The image repository of this name for what is attached to its images: copies, for which nobody waits long.

        `decides`: something depends on what they are, and waits as for images.

        Raises:
            UsageError: it is none.
        """
        from promoter.image.reference import ImageReference
        from promoter.image.registry import RegistryRepository
        from promoter.transport.session import Limits

        insecure, limits = self.config.image.insecure_registries, None if decides else Limits(connect=3.0, read=15.0, total=5.0)
        return RegistryRepository(ImageReference.parse(name), insecure=insecure, env=self.environ, limits=limits)

    @cached_property
    def signing_key(self) -> SigningKey | None:
        """The key that signs records; None if the environment has none.

        Raises:
            UsageError: it can't be used.
        """
        from promoter.image.keys import SigningKey

        return SigningKey.from_environ(self.environ)

    def _image_repository(self, name: str) -> ImageRepository:
        from promoter.image.layout import LayoutRepository
        from promoter.image.reference import ImageReference
        from promoter.image.registry import RegistryRepository

        image = self.config.image
        if image.layout:
            return LayoutRepository(image.layout, name)
        return RegistryRepository(ImageReference.parse(name), insecure=image.insecure_registries, env=self.environ)


def with_source(environment: Environment, application: ApplicationState) -> Environment:
    """The environment with the repository, branch and path that its Application follows; a manifest's own stay.

    Raises:
        RefusedError: it follows no branch and path of a Git repository.
    """
    wanted = environment.application
    if wanted.repo_url:
        return environment
    branch = application.target_revision.removeprefix("refs/heads/") or HEAD
    if application.hydrated or not application.path:
        raise RefusedError(
            f"Application {wanted.name!r} follows no branch and path: {branch} {application.path!r}",
            hint="give its source a path, and no source hydrator",
        )
    path = source_path(application.path)
    found = replace(wanted, repo_url=application.repo_url, path=path, target_revision=branch)
    return replace(environment, application=found)
