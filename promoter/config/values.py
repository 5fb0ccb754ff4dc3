"""What the configuration is once read: frozen, with every name resolved."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from promoter.config.gates import GatesSection
from promoter.config.groups import members
from promoter.config.notices import NoticeSection
from promoter.errors import UsageError
from promoter.models import Builder, CommitBy, Compress, Embed, Environment, ForgeKind, Format, Labelling, Model, Strategy

if TYPE_CHECKING:
    from promoter.config.environments import Environments
    from promoter.config.expand import Named

FILE = "promoter.yaml"
_SHOWN = 20  # names in one sentence


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """Where images are published, on what, and how; `layout` is a folder that takes the place of the container registry.

    A model of more than `embed_limit` bytes is not embedded, whatever `model` is.
    `runtime` names a ready image, or is None: then one is built on `base`, or with `dockerfile`, and kept in
    `runtime_repository`, or else in each model's own repository.
    Model files may be on the tracking server, and in the folders and below the URIs of `sources`.
    """

    runtime: str | None
    runtime_repository: str | None
    platform: str
    layout: Path | None
    insecure_registries: tuple[str, ...]
    compress: Compress
    model: Embed
    format: Format
    embed_limit: int | None
    base: str
    runtime_builder: Builder
    packages: tuple[str, ...]
    packages_mirror: str | None
    ignore_conda: tuple[str, ...]
    trial: bool
    constraints: Path | None
    dockerfile: Path | None
    build_args: Mapping[str, str]
    strategy: Strategy
    max_files: int
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GitConfig:
    push_url: str | None
    history_limit: int
    commit: CommitBy


FIELDS = ("summary", "details", "model", "version", "previous", "environment", "image", "digest", "run", "ticket")
"""What a template of a commit's message may use. `summary` and `details` are the subject and the body that promoter writes."""


@dataclass(frozen=True, slots=True)
class CommitConfig:
    """The message of commits: templates in which `{field}` stands for one of FIELDS; trailers are pairs of key and template."""

    subject: str = "{summary}"
    body: str = "{details}"
    trailers: tuple[tuple[str, str], ...] = ()
    sign_off: bool = False
    date_from_environment: bool = False


@dataclass(frozen=True, slots=True)
class RenderConfig:
    """How overlays are built here: options of kustomize as Argo CD has them, and whether it may reach a network.

    `cannot` is the option with which promoter builds nothing: it runs programs that an overlay names, or is not known here.
    `written`: promoter.yaml has the options, so Argo CD is not asked for its own.
    """

    options: tuple[str, ...] = ()
    network: bool = False
    cannot: str = ""
    written: bool = False

    @classmethod
    def of(cls, text: str, *, network: bool) -> RenderConfig:
        """The options in a text as Argo CD has it (kustomize.buildOptions in argocd-cm)."""
        words = iter(text.replace("=", " ").split())
        options: list[str] = []
        cannot = ""
        for word in words:
            value = next(words, "") if word in ("--load-restrictor", "--load_restrictor") else ""
            if value in ("LoadRestrictionsNone", "LoadRestrictionsRootOnly"):
                options += ["--load-restrictor", value]
            elif word == "--enable-helm":
                options.append(word)
            else:
                cannot = cannot or f"{word} {value}".strip()
        return cls(tuple(options), network, cannot)

    @property
    def helm(self) -> bool:
        return "--enable-helm" in self.options


@dataclass(frozen=True, slots=True)
class ForgeConfig:
    """What the repository's address does not show of its forge; `repository` is owner/name, or project/repository."""

    kind: ForgeKind | None = None
    api_url: str | None = None
    repository: str | None = None


@dataclass(frozen=True, slots=True)
class RecordConfig:
    """`registry`: the record of each promotion is attached to its image. `key` is the public key that has signed records."""

    registry: bool = True
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class WatchConfig:
    """Seconds: between the two looks that prove a release live, before a skipped sync is asked for, without any progress.

    `person`: how long a person may take to act where only a person can.
    """

    stable_for: float
    sync_grace: float
    timeout: float
    person: float = 0.0


@dataclass(frozen=True, slots=True)
class Config:
    """Everything promoter.yaml and the manifests say; `root` is the folder of promoter.yaml.

    `gates` are by `Environment.key`. The two `web_url` are where people see the pages of MLflow and Argo CD, if not where
    promoter speaks to them.
    `labels` is what MLflow gets about releases.
    """

    root: Path
    models: Mapping[str, Model]
    environments: Environments
    gates: Mapping[tuple[str, str], GatesSection]
    image: ImageConfig
    git: GitConfig
    commit: CommitConfig
    forge: ForgeConfig
    watch: WatchConfig
    render: RenderConfig
    notices: tuple[NoticeSection, ...]
    tracking_uri: str | None
    argocd_server: str | None
    mlflow_web_url: str | None
    labels: Labelling
    record: RecordConfig
    argocd_web_url: str | None

    def environment(self, name: str, model: str | None = None) -> Environment:
        """The environment of that name, of that model where several models have one.

        Raises:
            UsageError: unknown or ambiguous.
        """
        if model is not None and model not in self.models:
            raise UsageError(f"{FILE} has no model {model!r}", hint=nearest(model, self.models))
        named = self._named(name)
        found = [one for one in named if model in (None, one.model)]
        if not found:
            raise UsageError(
                f"model {model!r} has no environment {name!r} in {FILE}", hint=nearest(str(model), {one.model for one in named})
            )
        if len(found) > 1:
            models = listed(sorted(one.model for one in found))
            raise UsageError(f"several models have an environment {name!r}: {models}", hint="choose one with --model")
        return self.environments.made(found[0])

    def require_valid(self) -> None:
        """Reads also what nobody has asked for.

        Raises:
            ConfigError: whatever is wrong with any model or environment.
        """
        for model in self.models:
            _ = self.models[model]
        for one in self.environments:
            _ = self.gates[one.key]

    def chosen(self, names: Collection[str], model: str | None = None) -> list[Environment]:
        """The environments of these names, or of groups of these names (all, without names), in the file's order.

        Raises:
            UsageError: a name means neither, or of that model neither.
        """
        named = [one for one in self.environments.named if model in (None, one.model)]
        for name in names:
            if model is not None and not any(name in (one.name, one.group) for one in named):
                self.environment(name, model)
            if model is None and not any(name == one.group for one in named):
                self._named(name)
        return [self.environments.made(one) for one in named if not names or one.name in names or one.group in names]

    def group(self, name: str, model: str | None = None) -> tuple[Environment, ...]:
        """The environments of this group of a model's, the first wave first; empty if the name means no group.

        Raises:
            UsageError: several models have a group of that name, or the model is unknown.
        """
        models = {one.model for one in self.environments.named if one.group == name}
        if model is not None and model not in self.models:
            raise UsageError(f"{FILE} has no model {model!r}", hint=nearest(model, self.models))
        if model is None and len(models) > 1:
            named = listed(sorted(models))
            raise UsageError(f"several models have a group {name!r}: {named}", hint="choose one with --model")
        return self.members(name, model or next(iter(models), ""))

    def members(self, group: str, model: str) -> tuple[Environment, ...]:
        """The environments of a model's group: the first wave first, each wave in the order of promoter.yaml."""
        return members(self.environments.of(model), group, model)

    def repositories_before(self, model: Model) -> list[str]:
        """The image repositories of the environments that come before the first one which has this model's, in order."""
        of_model = [env.model.repository for env in self.environments.of(model.name)]
        before = itertools.takewhile(lambda repository: repository != model.repository, of_model)
        return list(dict.fromkeys(before)) if model.repository in of_model else []

    def _named(self, name: str) -> list[Named]:
        """Every environment of that name, one for each model.

        Raises:
            UsageError: there is none.
        """
        every = self.environments.named
        named = [one for one in every if one.name == name]
        if not named:
            groups = {one.group for one in every if one.group is not None}
            if name in groups:
                members = dict.fromkeys(one.name for one in every if one.group == name)
                hint = f"name one of its environments: {listed(members)}"
                raise UsageError(f"{name!r} is a group of environments", hint=hint)
            raise UsageError(f"{FILE} has no environment {name!r}", hint=nearest(name, {one.name for one in every} | groups))
        return named


def nearest(word: str, available: Iterable[str]) -> str:
    """A hint: the available word that was probably meant, or all of them."""
    names = sorted(available)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"available: {listed(names)}"


def listed(names: Collection[str]) -> str:
    """The names, or the first of them and how many more there are."""
    shown = ", ".join(itertools.islice(names, _SHOWN))
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
