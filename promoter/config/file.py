"""promoter.yaml as people write it: its keys, what each may be, and how a complaint about one is worded."""

from __future__ import annotations

import json
import string
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationError,
)
from pydantic.alias_generators import to_snake

from promoter.config.duration import Seconds
from promoter.config.freeze import WindowSection
from promoter.config.gates import GatesSection
from promoter.config.notices import NoticeSection
from promoter.config.section import Section
from promoter.config.sizes import Bytes
from promoter.config.values import FIELDS, FILE, nearest
from promoter.config.yaml import Document
from promoter.models import (
    MOST_FILES,
    Builder,
    CommitBy,
    Compress,
    Embed,
    ForgeKind,
    Format,
    Labelling,
    MergeMethod,
    OnAlias,
    OnFailure,
    OnFailureAlias,
    OnWaveFailure,
    Strategy,
    Switch,
    Write,
)

DEFAULT_PLATFORM = "linux/amd64"
DEFAULT_HISTORY_LIMIT = 1_000_000

_NAME = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"
_SOURCE = r"^(/|[a-z][a-z0-9+.-]*:/{1,3})[^/\s]\S*$"


def _compress(value: object) -> object:
    if value == "zstd":
        raise ValueError("is none or gzip: Docker Engine before 23 and other older engines can't unpack zstd")
    return value


def _template(value: str) -> str:
    try:
        parts = [part for part in string.Formatter().parse(value) if part[1] is not None]
    except ValueError:
        raise ValueError("has a brace that is not part of a field; write {{ or }} for a brace") from None
    for _, name, spec, conversion in parts:
        if name not in FIELDS or spec or conversion:
            raise ValueError(f"has an unknown field {{{name}}}; {nearest(str(name), FIELDS)}")
    return value


S = TypeVar("S", bound=Section)
_Template = Annotated[str, AfterValidator(_template)]


class ModelSection(Section):
    """A registered model, by its name in MLflow."""

    image: str | None = Field(
        None, min_length=1, description="Image repository; image.registry and the model's name when left out."
    )
    kustomize_image: str | None = Field(None, min_length=1, description="`name` of the entry under `images:` in the overlays.")
    release_file: str = Field(
        "release.yaml", min_length=1, description="The ConfigMap with the release, next to kustomization.yaml."
    )
    smoke: bool | None = Field(
        None,
        description="Start an image once, as a pod would, before its release is committed; by default where an engine is.",
    )


class ApplicationSection(Section):
    """An Application by its name: in a file of several manifests, or made by an ApplicationSet and read from Argo CD."""

    name: str = Field(min_length=1)
    project: str = Field("default", min_length=1)
    namespace: str = Field("argocd", min_length=1)
    file: str | None = Field(
        None, min_length=1, description="The file that has its manifest; without it, all but the names is read from Argo CD."
    )


class PullRequestSection(Section):
    """How pull requests are opened; an environment's own keys take the place of these."""

    labels: tuple[str, ...] | None = Field(None, strict=False, description="Labels that each pull request gets.")
    reviewers: tuple[str, ...] | None = Field(
        None, strict=False, description="GitHub: logins, and teams as org/team. Azure DevOps: ids of identities."
    )
    auto_merge: Annotated[MergeMethod | None, Field(strict=False)] = Field(
        None, description="Merge by this method as soon as the forge's rules allow it."
    )
    draft: bool | None = Field(None, description="Open as a draft.")
    branch_prefix: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$",
        description="First part of the branches' names; promoter by default.",
    )
    timeout: float | None = Field(None, gt=0, description="Seconds that --wait waits for the merge; 3600 by default.")


_Application = Annotated[
    Annotated[str, Tag("manifest-path")] | Annotated[ApplicationSection, Tag("by-name")],
    Discriminator(lambda value: "by-name" if isinstance(value, dict) else "manifest-path"),
]


class EnvironmentKeys(Section):
    """What an environment may have, for all of its models or for one."""

    alias: str | None = Field(
        None,
        pattern=r"^(stage/[A-Za-z]+|[A-Za-z0-9_-]+)$",
        description="The alias this environment follows, or stage/Production.",
    )
    image: str | None = Field(
        None, min_length=1, description="Image repository of this environment, in place of the model's own."
    )
    on_alias: Annotated[OnAlias, Field(strict=False)] = Field(
        OnAlias.IGNORE, description="What reconcile does when the alias moved."
    )
    write: Annotated[Write, Field(strict=False)] = Field(Write.PUSH, description="Commit directly, or open a pull request.")
    on_failure: Annotated[OnFailure, Field(strict=False)] = Field(
        OnFailure.RESTORE, description="What happens to Git after an abort."
    )
    on_failure_alias: Annotated[OnFailureAlias, Field(strict=False)] = Field(
        OnFailureAlias.KEEP, description="move-back: after an abort MLflow's alias names the restored version again."
    )
    pull_request: PullRequestSection = Field(default_factory=PullRequestSection)
    workloads: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (), strict=False, description="Names of the Rollouts and Deployments that count; all that carry the release by default."
    )
    require_analysis: bool = Field(
        False, description="A promotion that is live, and that no analysis looked at, ends with exit code 12."
    )
    gates: GatesSection = Field(default_factory=GatesSection, description="Gates of its own, in place of those for all.")
    freeze: tuple[WindowSection, ...] = Field((), strict=False, description="Freeze windows, in addition to those of all.")
    group: str | None = Field(None, pattern=_NAME, description="Environments that --to GROUP promotes to, wave by wave.")
    wave: int = Field(1, ge=1, description="When it has its turn in the group: all of wave 1 first, at once.")
    soak: Seconds = Field(0.0, ge=0, description="Seconds that a release must be live here before the next wave begins.")
    on_wave_failure: Annotated[OnWaveFailure, Field(strict=False)] = Field(
        OnWaveFailure.HOLD, description="revert: goes back if the release fails in another environment of the group."
    )
    region: str = Field("", max_length=60, description="Where it is, in a word for people: westeurope.")


class ExceptionSection(EnvironmentKeys):
    """What is different for one model; a list or a section takes the place of the environment's."""

    application: _Application | None = Field(None, description="In place of the environment's.")


class EnvironmentSection(EnvironmentKeys):
    """One model in one environment, or several models in an environment each of the same name."""

    name: str = Field(pattern=_NAME, description="The environment's name, for --to; several models may share it.")
    model: str | None = Field(None, description="A key of models:; may be left out when there is one model.")
    models: tuple[Annotated[str, Field(min_length=1)], ...] | None = Field(
        None, strict=False, min_length=1, description="In place of model: keys of models:, or patterns such as fraud-*."
    )
    application: _Application = Field(
        description="Path of the Argo CD Application manifest, or name and project, or name and file;"
        " {model} and {env} stand for the names."
    )
    exceptions: dict[str, ExceptionSection] = Field(
        default_factory=dict, description="Keys of its own for one of the models, by its name."
    )


class ImageSection(Section):
    registry: str | None = Field(None, min_length=1, description="Prefix of the repositories of models that name none.")
    runtime: str | None = Field(
        None,
        min_length=1,
        description="Ready image that models are put on: a reference, oci:PATH, or scratch. Built by promoter when left out.",
    )
    runtime_repository: str | None = Field(
        None, min_length=1, description="Image repository for the runtimes of all models; each model's own when left out."
    )
    base: str = Field(
        "python:{python}-slim",
        min_length=1,
        description="Image that runtimes are built on; {python} is the model's Python (3.11).",
    )
    runtime_builder: Annotated[Builder | None, Field(strict=False)] = Field(
        None,
        description="unpack: promoter unpacks the wheels on the base. engine: a Docker engine builds the runtime;"
        " the default with dockerfile and strategy: build, which need one.",
    )
    packages: tuple[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9+.-]+(=[A-Za-z0-9.+:~-]+)?$")], ...] = Field(
        (),
        strict=False,
        description="Debian packages (libgomp1) that the base lacks: a layer on it, or installed by apt-get with an engine.",
    )
    packages_mirror: str | None = Field(
        None,
        pattern=r"^https?:/{2}[^@\s?#]+$",  # "://" up to an "@" would be masked in the schema, as an address with a login
        description="Where packages come from, in place of the archives that the base names; {archive} is the last part of"
        " theirs (debian, debian-security). A snapshot's address always leads to the same versions.",
    )
    ignore_conda: tuple[str, ...] = Field(
        (), strict=False, description="Conda packages of a model's conda.yaml that its runtime goes without, by name."
    )
    trial: bool = Field(True, description="Load a model in the image that was built for it before anything is published.")
    constraints: str | None = Field(
        None, min_length=1, description="A pip constraints file; requirements are locked within it."
    )
    dockerfile: str | None = Field(None, min_length=1, description="Builds the runtime in place of promoter's own Dockerfile.")
    build_args: dict[str, str] = Field(default_factory=dict, description="Build arguments for image.dockerfile; no secrets.")
    strategy: Annotated[Strategy, Field(strict=False)] = Field(
        Strategy.LAYER,
        description="layer: the model is put on the runtime. build: the Docker engine builds each version's whole image.",
    )
    platform: str = Field(DEFAULT_PLATFORM, pattern=r"^[a-z0-9]+/[a-z0-9]+(/[a-z0-9]+)?$")
    layout: str | None = Field(
        None, pattern=r"^oci:.+", description="oci:PATH writes images to an OCI image layout folder instead."
    )
    insecure_registries: tuple[str, ...] = Field((), strict=False, description="Hosts that are spoken to over plain HTTP.")
    compress: Annotated[Compress, Field(strict=False), BeforeValidator(_compress)] = Field(
        Compress.NONE, description="none, or gzip if the link to the registry is slow."
    )
    model: Annotated[Embed, Format, Field(strict=False)] = Field(
        Embed.EMBED,
        description="embed: the model is a layer of the image. uri: the server downloads it when it starts."
        " volume: the image is the model alone, which pods mount.",
    )
    format: Annotated[Format, Field(strict=False)] = Field(
        Format.OCI,
        description="With model: volume. oci: an image, which every container runtime that mounts images takes."
        " modelpack: an artifact in the CNCF's format, for tools that read that.",
    )
    embed_limit: Bytes | None = Field(
        None, ge=0, description="Models of more than this many bytes (2147483648, or 2 GiB) are not embedded."
    )
    max_files: int = Field(
        MOST_FILES, ge=1, description="Files that a model version may have at most, and folders, in every store."
    )
    sources: tuple[Annotated[str, Field(pattern=_SOURCE)], ...] = Field(
        (), strict=False, description="Where model files may be, apart from the tracking server: folders, beginnings of URIs."
    )


class GitSection(Section):
    push_url: str | None = Field(
        None, min_length=1, description="Where the repository is reached by another address than Argo CD's."
    )
    commit: Annotated[CommitBy, Field(strict=False)] = Field(
        CommitBy.PUSH, description="Who makes the commits: Git here, pushed, or GitHub through its API, signed by it."
    )
    history_limit: int = Field(
        DEFAULT_HISTORY_LIMIT, ge=1, description="Commits looked through at most when history is asked for."
    )


class CommitSection(Section):
    """The message of the commits. promoter's own trailers follow it in any case."""

    subject: _Template = Field("{summary}", min_length=1, description=f"Template; its fields: {', '.join(FIELDS)}.")
    body: _Template = Field("{details}", description="Template with the same fields.")
    trailers: tuple[Annotated[_Template, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]*:")], ...] = Field(
        (), strict=False, description="Trailers as `Key: template`; one that is empty is left out."
    )
    sign_off: bool = Field(False, description="Add Signed-off-by with the commit's author.")
    date_from_environment: bool = Field(
        False, description="Date commits by GIT_AUTHOR_DATE and GIT_COMMITTER_DATE instead of when they are made."
    )


class ForgeSection(Section):
    """Where pull requests are opened; found from the repository's address for github.com and Azure DevOps Services."""

    kind: Annotated[ForgeKind | None, Field(strict=False)] = Field(None, description="The forge behind another address.")
    api_url: str | None = Field(
        None,
        pattern=r"^https?://",
        description="GitHub: the root of its REST API. Azure DevOps: the organization or collection.",
    )
    repository: str | None = Field(
        None, pattern=r"^[^/\s]+/[^/]+$", description="owner/name, or project/repository, if the address does not show it."
    )


class MlflowSection(Section):
    tracking_uri: str | None = Field(None, min_length=1, description="Used when MLFLOW_TRACKING_URI is not set.")
    web_url: str | None = Field(None, pattern=r"^https?://", description="Where people see its pages, for links.")
    record: Annotated[Labelling, Field(strict=False)] = Field(
        Labelling.BOTH,
        description="What MLflow gets of releases: tags of versions, an alias live-ENVIRONMENT, both, or off.",
    )


class RecordSection(Section):
    """The record of each promotion: what was asked, seen and decided until its end."""

    registry: Annotated[Switch, Field(strict=False)] = Field(
        Switch.ON, description="Attach it to the image in the container registry. With image.layout nothing is attached."
    )
    key: str | None = Field(
        None, min_length=1, description="Public key in PEM: `promoter verify` takes only records that its private key signed."
    )


class ArgocdSection(Section):
    server: str | None = Field(None, min_length=1, description="Used when ARGOCD_SERVER is not set.")
    web_url: str | None = Field(None, pattern=r"^https?://", description="Where people see its pages, for links.")


class WatchSection(Section):
    stable_for: Seconds = Field(10.0, ge=0, description="Seconds between the two looks that prove a release live.")
    sync_grace: Seconds = Field(30.0, ge=0, description="Seconds before a sync that auto-sync skipped is asked for.")
    timeout: Seconds = Field(1800.0, gt=0, description="Seconds that a release may go on without getting further.")
    person: Seconds = Field(0.0, ge=0, description="Seconds that a person may take to sync, resume or open a window; then 12.")


class KustomizeSection(Section):
    """How Argo CD builds overlays, where that is not kustomize's default."""

    build_options: str | None = Field(
        None, description="--enable-helm, --load-restrictor NAME. Without them those of Argo CD, where it can be asked."
    )


class RenderSection(Section):
    """How overlays are built by promoter, to show what a change does."""

    network: bool = Field(False, description="kustomize may fetch remote bases, patches and Helm charts; it gets no secret.")


class Settings(Section):
    """promoter.yaml without what a fleet has many of."""

    image: ImageSection = Field(default_factory=ImageSection)
    git: GitSection = Field(default_factory=GitSection)
    commit: CommitSection = Field(default_factory=CommitSection)
    forge: ForgeSection = Field(default_factory=ForgeSection)
    pull_request: PullRequestSection = Field(default_factory=PullRequestSection)
    gates: GatesSection = Field(default_factory=GatesSection, description="Gates of all environments.")
    notices: tuple[NoticeSection, ...] = Field((), strict=False, description="Channels that get notices about promotions.")
    mlflow: MlflowSection = Field(default_factory=MlflowSection)
    record: RecordSection = Field(default_factory=RecordSection)
    argocd: ArgocdSection = Field(default_factory=ArgocdSection)
    watch: WatchSection = Field(default_factory=WatchSection)
    kustomize: KustomizeSection = Field(default_factory=KustomizeSection)
    render: RenderSection = Field(default_factory=RenderSection)
    freeze: tuple[WindowSection, ...] = Field(
        (), strict=False, description="Windows in which nothing is promoted to any environment."
    )


class File(Settings):
    """promoter.yaml"""

    models: dict[str, ModelSection] = Field(min_length=1)
    environments: tuple[EnvironmentSection, ...] = Field(min_length=1, strict=False)


def schema() -> str:
    """The JSON Schema of promoter.yaml, for editors."""
    value = File.model_json_schema(by_alias=True)
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **value, "title": FILE}, indent=2) + "\n"


def settings_of(document: Document) -> Settings:
    """What promoter.yaml sets for all; of `models` and `environments` only that there are some.

    Raises:
        ConfigError: whatever is wrong with that.
    """
    value = document.value
    models, environments = (value.get(key) if isinstance(value, dict) else None for key in ("models", "environments"))
    named = isinstance(models, dict) and models and all(isinstance(name, str) for name in models)
    if not (named and isinstance(environments, list) and environments):
        return _validated(document, File, value, ())
    return _validated(document, Settings, {key: of for key, of in value.items() if key not in ("models", "environments")}, ())


def section_at(document: Document, kind: type[S], place: tuple[str | int, ...]) -> S:
    """The section at a place that is there.

    Raises:
        ConfigError: whatever is wrong in it.
    """
    value = document.value
    for part in place:
        value = value[part]
    return _validated(document, kind, value, place)


def _validated(document: Document, kind: type[S], value: object, place: tuple[str | int, ...]) -> S:
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = (*place, *(part for part in first["loc"] if part not in ("manifest-path", "by-name")))
        raise document.error(*_complaint(first, path)) from None


def _complaint(error: Any, path: tuple[str | int, ...]) -> tuple[str, tuple[str | int, ...]]:
    """What pydantic found wrong, in a person's words."""
    if error["type"] == "extra_forbidden":
        keys = _keys_at(path[:-1])
        return f"unknown key; {nearest(str(path[-1]), keys)}" if keys else "unknown key", path
    if error["type"] == "missing":
        return f"is required ({', '.join(sorted(_keys_at(path[:-1])))} are the keys here)", path
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "value_error" and isinstance(error["input"], dict):
        return message, path
    return f"{message[0].lower()}{message[1:]}, not {error['input']!r}", path


def _keys_at(path: Sequence[str | int]) -> set[str]:
    """The keys that are valid at a place in the file, from the models themselves; empty if no section can be there."""
    kind: Any = File
    for part in path:
        kind = _below(kind, part)
    section = _section(kind)
    return {field.alias or name for name, field in section.model_fields.items()} if section else set()


def _below(kind: Any, part: str | int) -> Any:
    """The type one step further down: of a section's field, a mapping's value or a list's item; None when nothing fits."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        field = kind.model_fields.get(to_snake(str(part)))
        return field.annotation if field else None
    if get_origin(kind) is dict:
        return get_args(kind)[1]
    if get_origin(kind) is tuple:
        return get_args(kind)[0]
    return next((found for option in get_args(kind) if (found := _below(option, part)) is not None), None)


def _section(kind: Any) -> type[BaseModel] | None:
    """The section that a type allows, alone or among other types."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    if get_origin(kind) in (dict, tuple):
        return None
    return next((section for option in get_args(kind) if (section := _section(option))), None)
