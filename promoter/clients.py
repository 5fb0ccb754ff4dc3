"""The composition root: from the configuration and the environment to the adapters, each built when first asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from promoter.errors import UsageError

if TYPE_CHECKING:
    from promoter.argocd import ArgoCD
    from promoter.config import Config
    from promoter.gitops import Repository
    from promoter.image.publish import Publisher
    from promoter.model_registry import ModelRegistry
    from promoter.models import Application, Model


@dataclass(frozen=True)
class Clients:
    """Everything outside, as one command sees it. Constructing it does nothing."""

    config: Config
    environ: Mapping[str, str]

    @cached_property
    def model_registry(self) -> ModelRegistry:
        from promoter.model_registry import connect

        return connect(self.environ, tracking_uri=self.config.tracking_uri)

    @property
    def argocd_server(self) -> str | None:
        """Where Argo CD is, if one is configured."""
        return self.environ.get("ARGOCD_SERVER") or self.config.argocd_server

    def argocd(self) -> ArgoCD:
        """A client of its own for each caller: the event stream is read by another thread."""
        from promoter.argocd import ArgoCD

        return ArgoCD.from_environ(self.environ, self.config.argocd_server)

    def repository(self, application: Application) -> Repository:
        from promoter.gitops import Repository, default_cache

        if not application.repo_url:
            raise UsageError(
                f"application {application.name!r} has no manifest here, and no Argo CD is configured to ask",
                hint="set ARGOCD_SERVER and ARGOCD_AUTH_TOKEN, or name the Application's manifest in promoter.yaml",
            )
        return Repository(
            application.repo_url,
            application.target_revision,
            push_url=self.config.git.push_url,
            cache=default_cache(self.environ),
            environ=self.environ,
            history_limit=self.config.git.history_limit,
        )

    def publisher(self, model: Model) -> Publisher:
        from promoter.image.base import open_base
        from promoter.image.layout import LayoutRepository
        from promoter.image.publish import Publisher
        from promoter.image.reference import ImageReference
        from promoter.image.registry import RegistryRepository

        image = self.config.image
        named = ImageReference.parse(model.repository)
        target = (
            LayoutRepository(image.layout, model.repository)
            if image.layout
            else RegistryRepository(named, insecure=image.insecure_registries, env=self.environ)
        )
        base = open_base(image.base, insecure=image.insecure_registries, env=self.environ)
        return Publisher(target, model.repository, base, image.platform)
