"""promoter.yaml and the Application manifests it names, as one frozen Config; every complaint names file, line and key."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError
from pydantic.alias_generators import to_snake

from promoter.errors import ConfigError, UsageError
from promoter.models import Application, Environment, Model, OnAlias, OnFailure, Write
from promoter.names import image_name
from promoter.yaml import Document, documents

FILE = "promoter.yaml"
DEFAULT_PLATFORM = "linux/amd64"
DEFAULT_HISTORY_LIMIT = 10_000


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """Where images are published and on what base; `layout` is a folder that takes the place of the container registry."""

    base: str
    platform: str
    layout: Path | None
    insecure_registries: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GitConfig:
    push_url: str | None
    history_limit: int


@dataclass(frozen=True, slots=True)
class WatchConfig:
    """Seconds: between the two looks that prove a release live, before a skipped sync is asked for, without any progress."""

    stable_for: float
    sync_grace: float
    timeout: float


@dataclass(frozen=True, slots=True)
class Config:
    """Everything promoter.yaml and the manifests say; `root` is the folder of promoter.yaml."""

    root: Path
    models: Mapping[str, Model]
    environments: tuple[Environment, ...]
    image: ImageConfig
    git: GitConfig
    watch: WatchConfig
    tracking_uri: str | None
    argocd_server: str | None

    def environment(self, name: str, model: str | None = None) -> Environment:
        """The environment of that name, of that model where several models have one.

        Raises:
            UsageError: unknown or ambiguous.
        """
        named = self.named(name)
        found = [env for env in named if model is None or env.model.name == model]
        if not found:
            raise UsageError(
                f"model {model!r} has no environment {name!r} in {FILE}",
                hint=nearest(str(model), {env.model.name for env in named}),
            )
        if len(found) > 1:
            models = ", ".join(sorted(env.model.name for env in found))
            raise UsageError(f"several models have an environment {name!r}: {models}", hint="say which one with --model")
        return found[0]

    def named(self, name: str) -> list[Environment]:
        """Every environment of that name, one for each model.

        Raises:
            UsageError: there is none.
        """
        named = [env for env in self.environments if env.name == name]
        if not named:
            raise UsageError(
                f"there is no environment {name!r} in {FILE}", hint=nearest(name, {e.name for e in self.environments})
            )
        return named


# -- the file as people write it; also the JSON Schema ----------------------------------------------------------------

_NAME = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, alias_generator=lambda name: name.replace("_", "-"))


class ModelSection(_Section):
    """A registered model, by its name in MLflow."""

    image: str | None = Field(
        None, min_length=1, description="Image repository; image.registry and the model's name when left out."
    )
    kustomize_image: str | None = Field(None, min_length=1, description="`name` of the entry under `images:` in the overlays.")
    release_file: str = Field(
        "release.yaml", min_length=1, description="The ConfigMap beside kustomization.yaml that holds the release."
    )


class ApplicationSection(_Section):
    """An Application that an ApplicationSet makes: repository, branch and path are read from Argo CD."""

    name: str = Field(min_length=1)
    project: str = Field("default", min_length=1)
    namespace: str = Field("argocd", min_length=1)


class EnvironmentSection(_Section):
    """One model in one environment."""

    name: str = Field(pattern=_NAME, description="The environment's name, for --to; several models may share it.")
    model: str | None = Field(None, description="A key of models:; may be left out when there is one model.")
    application: Annotated[
        Annotated[str, Tag("manifest-path")] | Annotated[ApplicationSection, Tag("by-name")],
        Discriminator(lambda value: "by-name" if isinstance(value, dict) else "manifest-path"),
    ] = Field(description="Path of the Argo CD Application manifest, or name and project.")
    alias: str | None = Field(
        None,
        pattern=r"^(stage/[A-Za-z]+|[A-Za-z0-9_-]+)$",
        description="The alias this environment follows, or stage/Production.",
    )
    on_alias: Annotated[OnAlias, Field(strict=False)] = Field(
        OnAlias.IGNORE, description="What reconcile does when the alias moved."
    )
    write: Annotated[Write, Field(strict=False)] = Field(Write.PUSH, description="Commit directly, or open a pull request.")
    on_failure: Annotated[OnFailure, Field(strict=False)] = Field(
        OnFailure.RESTORE, description="What happens to Git after an abort."
    )


class ImageSection(_Section):
    registry: str | None = Field(None, min_length=1, description="Prefix of the repositories of models that name none.")
    base: str = Field("scratch", min_length=1, description="Base image: a reference, oci:PATH, or scratch.")
    platform: str = Field(DEFAULT_PLATFORM, pattern=r"^[a-z0-9]+/[a-z0-9]+(/[a-z0-9]+)?$")
    layout: str | None = Field(
        None, pattern=r"^oci:.+", description="oci:PATH writes images to an OCI image layout folder instead."
    )
    insecure_registries: tuple[str, ...] = Field((), strict=False, description="Hosts that are spoken to over plain HTTP.")


class GitSection(_Section):
    push_url: str | None = Field(
        None, min_length=1, description="Where the repository is reached by another address than Argo CD's."
    )
    history_limit: int = Field(
        DEFAULT_HISTORY_LIMIT, ge=1, description="Commits looked through at most when history is asked for."
    )


class MlflowSection(_Section):
    tracking_uri: str | None = Field(None, min_length=1, description="Used when MLFLOW_TRACKING_URI is not set.")


class ArgocdSection(_Section):
    server: str | None = Field(None, min_length=1, description="Used when ARGOCD_SERVER is not set.")


class WatchSection(_Section):
    stable_for: float = Field(10.0, ge=0, description="Seconds between the two looks that prove a release live.")
    sync_grace: float = Field(30.0, ge=0, description="Seconds before a sync that auto-sync skipped is asked for.")
    timeout: float = Field(1800.0, gt=0, description="Seconds that a release may go on without getting further.")


class File(_Section):
    """promoter.yaml"""

    models: dict[str, ModelSection] = Field(min_length=1)
    environments: tuple[EnvironmentSection, ...] = Field(min_length=1, strict=False)
    image: ImageSection = Field(default_factory=ImageSection)
    git: GitSection = Field(default_factory=GitSection)
    mlflow: MlflowSection = Field(default_factory=MlflowSection)
    argocd: ArgocdSection = Field(default_factory=ArgocdSection)
    watch: WatchSection = Field(default_factory=WatchSection)


def schema() -> str:
    """The JSON Schema of promoter.yaml, for editors."""
    value = File.model_json_schema(by_alias=True)
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **value, "title": FILE}, indent=2) + "\n"


# -- reading ----------------------------------------------------------------------------------------------------------


def find(start: Path) -> Path:
    """promoter.yaml in `start` or the nearest folder above it.

    Raises:
        UsageError: there is none.
    """
    for folder in (start, *start.parents):
        if (folder / FILE).is_file():
            return folder / FILE
    raise UsageError(
        f"there is no {FILE} in {start} or any folder above it", hint="name it with --config, or change to the repository"
    )


def load(path: Path) -> Config:
    """The Config of this promoter.yaml.

    Raises:
        ConfigError: whatever is wrong in it or in a manifest that it names.
        UsageError: it can't be read.
    """
    document = _single(_read(path, path.name), path.name)
    file = _validated(document)
    root = path.resolve().parent
    models = {name: _model(name, section, file, document) for name, section in file.models.items()}
    environments = tuple(
        _environment(index, section, models, root, document) for index, section in enumerate(file.environments)
    )
    _unique(environments, document)
    return Config(
        root=root,
        models=models,
        environments=environments,
        image=ImageConfig(
            base=file.image.base,
            platform=file.image.platform,
            layout=root / file.image.layout.removeprefix("oci:") if file.image.layout else None,
            insecure_registries=file.image.insecure_registries,
        ),
        git=GitConfig(push_url=file.git.push_url, history_limit=file.git.history_limit),
        watch=WatchConfig(file.watch.stable_for, file.watch.sync_grace, file.watch.timeout),
        tracking_uri=file.mlflow.tracking_uri,
        argocd_server=file.argocd.server,
    )


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint: the known word that was probably meant, or all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"known are: {', '.join(names)}"


def _read(path: Path, shown: str) -> str:
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"is not UTF-8 (byte {error.start})", file=shown, hint="save it as UTF-8") from None
    except OSError as error:
        raise UsageError(f"{shown} can't be read: {error.strerror}", hint="check the path and its permissions") from None


def _single(text: str, shown: str) -> Document:
    found = documents(text, shown)
    if len(found) != 1:
        raise ConfigError(f"holds {len(found)} YAML documents where one is expected", file=shown, hint="keep one document")
    return found[0]


def _validated(document: Document) -> File:
    try:
        return File.model_validate(document.value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = tuple(part for part in first["loc"] if part not in ("manifest-path", "by-name"))
        raise document.error(*_complaint(first, path)) from None


def _complaint(error: Any, path: tuple[str | int, ...]) -> tuple[str, tuple[str | int, ...]]:
    """What pydantic found wrong, in a person's words."""
    if error["type"] == "extra_forbidden":
        known = _keys_at(path[:-1])
        return f"unknown key; {nearest(str(path[-1]), known)}" if known else "unknown key", path
    if error["type"] == "missing":
        return f"is required ({', '.join(sorted(_keys_at(path[:-1])))} are the keys here)", path
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{message[0].lower()}{message[1:]}, not {error['input']!r}", path


def _keys_at(path: Sequence[str | int]) -> set[str]:
    """The keys that are valid at a place in the file, from the models themselves."""
    section: type[BaseModel] = File
    children: dict[str, type[BaseModel]] = {
        "models": ModelSection,
        "environments": EnvironmentSection,
        "application": ApplicationSection,
    }
    for part in path:
        if part in children:
            section = children[str(part)]
        elif (
            isinstance(part, str) and (field := section.model_fields.get(to_snake(part))) and isinstance(field.annotation, type)
        ):
            section = field.annotation
    return {field.alias or name for name, field in section.model_fields.items()}


def _model(name: str, section: ModelSection, file: File, document: Document) -> Model:
    place = ("models", name)
    if any(ord(char) < 32 or char in "/:" for char in name) or name in (".", ".."):
        raise document.error(
            f"{name!r} can't be the name of a registered model", place, hint="MLflow allows neither / nor : in it"
        )
    repository = section.image or (f"{file.image.registry.rstrip('/')}/{image_name(name)}" if file.image.registry else None)
    if repository is None:
        raise document.error("needs an image repository", place, hint="set image: here, or image.registry for all models")
    if PurePosixPath(section.release_file).name != section.release_file or section.release_file == "..":
        raise document.error(
            f"{section.release_file!r} is not a file name", (*place, "release-file"), hint="it lies beside kustomization.yaml"
        )
    return Model(name, repository, section.kustomize_image or image_name(name), section.release_file)


def _environment(
    index: int, section: EnvironmentSection, models: Mapping[str, Model], root: Path, document: Document
) -> Environment:
    place = ("environments", index)
    name = section.model or (next(iter(models)) if len(models) == 1 else None)
    if name is None:
        raise document.error("model is required when there are several", place, hint=nearest("", models))
    if name not in models:
        raise document.error(f"there is no model {name!r}", (*place, "model"), hint=nearest(name, models))
    return Environment(
        name=section.name,
        model=models[name],
        application=_application(section.application, root, document, (*place, "application")),
        alias=section.alias,
        on_alias=section.on_alias,
        write=section.write,
        on_failure=section.on_failure,
    )


def _unique(environments: Sequence[Environment], document: Document) -> None:
    seen: set[tuple[str, str]] = set()
    for index, environment in enumerate(environments):
        key = (environment.name, environment.model.name)
        if key in seen:
            raise document.error(
                f"{key[0]!r} of model {key[1]!r} is there twice", ("environments", index), hint="keep one of them"
            )
        seen.add(key)


def _application(
    section: str | ApplicationSection, root: Path, document: Document, place: tuple[str | int, ...]
) -> Application:
    if isinstance(section, ApplicationSection):
        return Application(section.name, section.project, section.namespace, repo_url="", path="", target_revision="")
    path = root / section
    if not path.resolve().is_relative_to(root):
        raise document.error(f"{section!r} lies outside the repository", place, hint="name a file inside it")
    if not path.is_file():
        raise document.error(f"there is no file {section!r}", place, hint="it is the Application manifest that Argo CD follows")
    manifests = [
        d
        for d in documents(_read(path, section), section)
        if isinstance(d.value, dict) and d.value.get("kind") == "Application"
    ]
    if len(manifests) != 1:
        raise ConfigError(
            f"holds {len(manifests)} manifests of kind Application where one is expected", file=section, hint="split them"
        )
    return application_of(manifests[0])


def application_of(manifest: Document) -> Application:
    """What an Argo CD Application manifest says about where it syncs from.

    Raises:
        ConfigError: it follows no branch and path of a Git repository that promoter could commit to.
    """
    spec = manifest.value.get("spec")
    if not isinstance(spec, dict):
        raise manifest.error("spec is required", ())
    if "sourceHydrator" in spec:
        raise manifest.error(
            "the source hydrator is not supported", ("spec", "sourceHydrator"), hint="use a plain source with a path"
        )
    source, place = _source(spec, manifest)
    values = {key: _text(manifest, source, key, place) for key in ("repoURL", "path", "targetRevision")}
    branch = values["targetRevision"].removeprefix("refs/heads/")
    if branch == "HEAD":
        raise manifest.error("names no branch", (*place, "targetRevision"), hint="write the branch, for example main")
    path = PurePosixPath(values["path"])
    if path.is_absolute() or ".." in path.parts:
        raise manifest.error(
            f"{values['path']!r} lies outside the repository", (*place, "path"), hint="write a path below its root"
        )
    metadata = manifest.value.get("metadata") or {}
    return Application(
        name=_text(manifest, metadata, "name", ("metadata",)),
        project=str(spec.get("project") or "default"),
        namespace=str(metadata.get("namespace") or "argocd"),
        repo_url=values["repoURL"],
        path=str(path),
        target_revision=branch,
    )


def _source(spec: Mapping[str, Any], manifest: Document) -> tuple[Mapping[str, Any], tuple[str | int, ...]]:
    """The one source that has a path: Helm charts and value files stand beside it in a multi-source Application."""
    if isinstance(spec.get("source"), dict):
        return spec["source"], ("spec", "source")
    sources = spec.get("sources") or []
    paths = [(index, source) for index, source in enumerate(sources) if isinstance(source, dict) and source.get("path")]
    if len(paths) != 1:
        raise manifest.error(
            f"{len(paths)} sources have a path where one is expected", ("spec", "sources"), hint="split the Application"
        )
    return paths[0][1], ("spec", "sources", paths[0][0])


def _text(manifest: Document, mapping: Mapping[str, Any], key: str, place: tuple[str | int, ...]) -> str:
    value = mapping.get(key)
    if not isinstance(value, str) or not value:
        raise manifest.error("is required, as text", (*place, key))
    return value
