"""From promoter.yaml and the manifests it names to one Config."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path, PurePosixPath

from promoter.config.expand import Placed, expanded
from promoter.config.file import (
    ApplicationSection,
    EnvironmentSection,
    File,
    ImageSection,
    ModelSection,
    PullRequestSection,
    validated,
)
from promoter.config.freeze import WindowSection
from promoter.config.gates import GatesSection, merged
from promoter.config.groups import require_groups
from promoter.config.manifest import application_in
from promoter.config.names import image_name
from promoter.config.notices import NoticeSection
from promoter.config.values import (
    FILE,
    CommitConfig,
    Config,
    ForgeConfig,
    GitConfig,
    ImageConfig,
    RecordConfig,
    RenderConfig,
    WatchConfig,
    nearest,
)
from promoter.config.yaml import Document, documents
from promoter.errors import ConfigError, NotHereError, UsageError
from promoter.models import (
    Application,
    Builder,
    CommitBy,
    Embed,
    Environment,
    Format,
    InGroup,
    Model,
    OnFailureAlias,
    PullRequestPolicy,
    Strategy,
    Switch,
    Window,
)

# Options of kustomize that run programs, or give them a network.
_RUN_PROGRAMS = ("--enable-alpha-plugins", "--enable_alpha_plugins", "--enable-exec", "--enable-star", "--network")
_parsed = lru_cache(maxsize=1024)(documents)  # a receiver of webhooks reads the same files again and again


def find(start: Path) -> Path:
    """promoter.yaml in `start` or the nearest folder above it.

    Raises:
        NotHereError: there is none.
    """
    for folder in (start, *start.parents):
        if os.path.isfile(folder / FILE):  # noqa: PTH113 - False, too, for a folder that can't be read
            return folder / FILE
    raise NotHereError(
        f"no {FILE} in {start} or any folder above it", hint="name it with --config, or change to the repository"
    )


def load(path: Path) -> Config:
    """The Config of this promoter.yaml.

    Raises:
        ConfigError: whatever is wrong in it or in a manifest that it names.
        UsageError: it can't be read.
    """
    document = _single(_read(path, path.name), path.name)
    file = validated(document)
    root = path.resolve().parent
    models = {name: _model(name, section, file, document) for name, section in file.models.items()}
    placed = expanded(file.environments, models, document)
    environments = tuple(
        replace(
            _environment(one, models[one.model], root, document, file.pull_request),
            freeze=tuple(map(_window, (*file.freeze, *one.section.freeze))),
        )
        for one in placed
    )
    places = [one.place for one in placed]
    _unique(environments, places, document)
    if any(one.group for one in environments):
        require_groups(environments, places, document)
    return Config(
        root=root,
        models=models,
        environments=environments,
        gates=_gates(file, placed, environments, document),
        image=_image(file.image, root, document),
        git=GitConfig(file.git.push_url, file.git.history_limit, file.git.commit),
        commit=_commit(file, document),
        forge=ForgeConfig(file.forge.kind, file.forge.api_url, file.forge.repository),
        watch=WatchConfig(file.watch.stable_for, file.watch.sync_grace, file.watch.timeout, file.watch.person),
        render=_render(file, document),
        notices=tuple(_notice(index, one, environments, document) for index, one in enumerate(file.notices)),
        tracking_uri=file.mlflow.tracking_uri,
        argocd_server=file.argocd.server,
        mlflow_web_url=file.mlflow.web_url,
        labels=file.mlflow.record,
        record=RecordConfig(file.record.registry is Switch.ON, _file(file.record.key, root, document, ("record", "key"))),
        argocd_web_url=file.argocd.web_url,
    )


def _commit(file: File, document: Document) -> CommitConfig:
    section = file.commit
    if section.sign_off and file.git.commit is not CommitBy.PUSH:
        raise document.error(
            "GitHub makes the commits, in the name of the token's owner", ("commit", "sign-off"), hint="set git.commit: push"
        )
    trailers = tuple((key, text.strip()) for key, _, text in (line.partition(":") for line in section.trailers))
    return CommitConfig(section.subject, section.body, trailers, section.sign_off, section.date_from_environment)


def _render(file: File, document: Document) -> RenderConfig:
    """Options that run programs can't be used here; unknown ones are a mistake."""
    text = file.kustomize.build_options
    rules = RenderConfig.of(text or "", network=file.render.network)
    if rules.cannot and rules.cannot not in _RUN_PROGRAMS:
        hint = "available: --enable-helm, --load-restrictor LoadRestrictionsNone"
        raise document.error(f"unknown option {rules.cannot!r}", ("kustomize", "build-options"), hint=hint)
    return replace(rules, written=text is not None)


def named_files(path: Path) -> list[str]:
    """The files that this promoter.yaml names, relative to its folder: all that `load` reads in addition to it.

    Raises:
        ConfigError: whatever is wrong in it.
        UsageError: it can't be read.
    """
    document = _single(_read(path, path.name), path.name)
    file = validated(document)
    sections = [one.section for one in expanded(file.environments, file.models, document)]
    declared = (file.gates, *(section.gates for section in sections))
    commands = [one.command for one in declared if one.command]
    programs = [word for one in commands for word in one.run if "/" in word and not word.startswith(("/", "-"))]
    manifests = [one if isinstance(one, str) else one.file for one in (section.application for section in sections)]
    return list(filter(None, (*manifests, *programs, file.image.constraints, file.image.dockerfile, file.record.key)))


def _read(path: Path, shown: str) -> str:
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"is not UTF-8 (byte {error.start})", file=shown, hint="save it as UTF-8") from None
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}", hint="check the path and its permissions") from None


def _single(text: str, shown: str) -> Document:
    found = _parsed(text, shown)
    if len(found) != 1:
        raise ConfigError(f"holds {len(found)} YAML documents, expected 1", file=shown, hint="keep one document")
    return found[0]


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
            f"{section.release_file!r} is not a file name",
            (*place, "release-file"),
            hint="it is in the folder of kustomization.yaml",
        )
    return Model(name, repository, section.kustomize_image or image_name(name), section.release_file, section.smoke)


def _image(section: ImageSection, root: Path, document: Document) -> ImageConfig:
    _one_way_to_an_image(section, document)
    return ImageConfig(
        runtime=_NO_RUNTIME if section.model is Embed.VOLUME else section.runtime,
        runtime_repository=section.runtime_repository,
        platform=section.platform,
        layout=root / section.layout.removeprefix("oci:") if section.layout else None,
        insecure_registries=section.insecure_registries,
        compress=section.compress,
        model=section.model,
        format=section.format,
        embed_limit=section.embed_limit,
        base=section.base,
        runtime_builder=section.runtime_builder or (Builder.ENGINE if _takes_an_engine(section) else Builder.UNPACK),
        packages=section.packages,
        packages_mirror=section.packages_mirror,
        ignore_conda=section.ignore_conda,
        trial=section.trial,
        constraints=_file(section.constraints, root, document, ("image", "constraints")),
        dockerfile=_file(section.dockerfile, root, document, ("image", "dockerfile")),
        build_args=section.build_args,
        strategy=section.strategy,
        max_files=section.max_files,
        sources=section.sources,
    )


_NO_RUNTIME = "scratch"
_OF_RUNTIMES = (
    "runtime_repository",
    "base",
    "runtime_builder",
    "packages",
    "packages_mirror",
    "ignore_conda",
    "trial",
    "constraints",
    "dockerfile",
    "build_args",
    "strategy",
)


def _one_way_to_an_image(section: ImageSection, document: Document) -> None:
    """Keys that would be ignored are complained about."""
    ignored: dict[str, str] = {}
    volume = section.model is Embed.VOLUME
    if section.layout and section.runtime is None and not volume:
        ignored["layout"] = "needs image.runtime: the runtimes that promoter builds are kept in a container registry"
    if section.dockerfile is None and section.build_args:
        ignored["build_args"] = "is for image.dockerfile, which is not set"
    ignored |= _of_packages(section) | _needs_an_engine(section)
    if section.strategy is Strategy.BUILD:
        layer_only = "is for image.strategy: layer; a whole image is what its Dockerfile makes of it"
        ignored |= dict.fromkeys(("compress", "model", "embed_limit", "runtime_repository"), layer_only)
    if section.runtime is not None:
        ready = "can't go with image.runtime, which names an image that is ready"
        ignored |= dict.fromkeys(_OF_RUNTIMES, ready)
    if not volume and section.format is Format.MODELPACK:
        ignored["format"] = "needs image.model: volume: ModelPack's artifacts contain a model alone"
    if volume:
        alone = "can't go with image.model: volume, whose images are the model alone"
        ignored |= dict.fromkeys((*_OF_RUNTIMES, "runtime", "embed_limit"), alone)
    for key, why in ignored.items():
        if key in section.model_fields_set:
            raise document.error(
                why, ("image", key.replace("_", "-")), hint=f"take {key.replace('_', '-')} out, or set what it needs"
            )


def _of_packages(section: ImageSection) -> dict[str, str]:
    ignored = {}
    if section.dockerfile is not None and section.packages:
        ignored["packages"] = "is for runtimes that promoter makes; install them in your Dockerfile"
    if not section.packages or section.runtime_builder is Builder.ENGINE or _takes_an_engine(section):
        ignored["packages_mirror"] = "is for image.packages that become a layer; an engine takes the base's own sources"
    return ignored


def _takes_an_engine(section: ImageSection) -> bool:
    return section.dockerfile is not None or section.strategy is Strategy.BUILD


def _needs_an_engine(section: ImageSection) -> dict[str, str]:
    if section.runtime_builder is not Builder.UNPACK or not _takes_an_engine(section):
        return {}
    return {"runtime_builder": "needs promoter's own runtime: a Docker engine builds image.dockerfile and whole images"}


def _file(name: str | None, root: Path, document: Document, place: tuple[str | int, ...]) -> Path | None:
    """A file that promoter.yaml names, which lies in its repository."""
    if name is None:
        return None
    path = root / name
    if not path.resolve().is_relative_to(root):
        raise document.error(f"{name!r} lies outside the repository", place, hint="name a file inside it")
    if not path.is_file():
        raise document.error(f"no such file: {name!r}", place, hint="paths start at the folder of promoter.yaml")
    return path


def _environment(placed: Placed, model: Model, root: Path, document: Document, pull_request: PullRequestSection) -> Environment:
    section, place = placed.section, placed.place
    if section.on_failure_alias is OnFailureAlias.MOVE_BACK and (section.alias or "stage/").startswith("stage/"):
        raise document.error(
            "the environment follows no alias that could be moved back",
            (*place, "on-failure-alias"),
            hint="set alias: NAME (a stage can't be moved)",
        )
    return Environment(
        name=section.name,
        model=replace(model, repository=section.image or model.repository),
        application=_application(section.application, root, document, (*place, "application")),
        alias=section.alias,
        on_alias=section.on_alias,
        write=section.write,
        on_failure=section.on_failure,
        on_failure_alias=section.on_failure_alias,
        pull_request=_pull_request(pull_request, section.pull_request),
        workloads=section.workloads,
        require_analysis=section.require_analysis,
        group=_in_group(section, document, place),
    )


def _in_group(section: EnvironmentSection, document: Document, place: tuple[str | int, ...]) -> InGroup | None:
    """Keys that mean nothing outside of a group are complained about."""
    if section.group is not None:
        return InGroup(section.group, section.wave, section.soak, section.on_wave_failure, section.region)
    for key in ("wave", "soak", "on_wave_failure", "region"):
        if key in section.model_fields_set:
            named = key.replace("_", "-")
            raise document.error(
                "is for environments of a group", (*place, named), hint=f"set group: NAME, or take {named} out"
            )
    return None


def _window(section: WindowSection) -> Window:
    return Window(section.name, section.zone, section.cron or "", section.duration or 0.0, section.first, section.last)


def _pull_request(common: PullRequestSection, own: PullRequestSection) -> PullRequestPolicy:
    """What is set for all environments, with the keys that one sets for itself (null takes auto-merge away again)."""
    given = {name: getattr(section, name) for section in (common, own) for name in section.model_fields_set}
    return PullRequestPolicy(**{name: value for name, value in given.items() if value is not None or name == "auto_merge"})


def _gates(
    file: File, placed: Sequence[Placed], environments: Sequence[Environment], document: Document
) -> dict[tuple[str, str], GatesSection]:
    made = {}
    for one, (section, where) in zip(environments, ((each.section, each.place) for each in placed), strict=True):
        own = section.gates.model_fields_set
        made[one.key] = found = merged(file.gates, section.gates) if own else file.gates
        if found.after:
            place = (*where, "gates", "after") if "after" in own else ("gates", "after")
            _require_another(found.after.environment, one, environments, document, place)
    return made


def _require_another(
    name: str, environment: Environment, environments: Sequence[Environment], document: Document, place: tuple[str | int, ...]
) -> None:
    """`name` is another environment of the same model."""
    others = {one.name for one in environments if one.model.name == environment.model.name} - {environment.name}
    if name in others:
        return
    own = "declare it for the environments that come after it alone, under environments:"
    hint = own if name == environment.name else nearest(name, others) if others else "this model has no other environment"
    raise document.error(f"{environment.name!r} can't come after {name!r}", place, hint=hint)


def _notice(index: int, section: NoticeSection, environments: Sequence[Environment], document: Document) -> NoticeSection:
    names = {environment.name for environment in environments}
    for number, name in enumerate(section.environments):
        if name not in names:
            place = ("notices", index, "environments", number)
            raise document.error(f"unknown environment {name!r}", place, hint=nearest(name, names))
    return section


def _unique(environments: Sequence[Environment], places: Sequence[tuple[str | int, ...]], document: Document) -> None:
    seen: set[tuple[str, str]] = set()
    for environment, place in zip(environments, places, strict=True):
        key = (environment.name, environment.model.name)
        if key in seen:
            raise document.error(f"{key[0]!r} of model {key[1]!r} is there twice", place, hint="keep one of them")
        seen.add(key)


def _application(
    section: str | ApplicationSection, root: Path, document: Document, place: tuple[str | int, ...]
) -> Application:
    if isinstance(section, str):
        return _manifest(section, None, root, document, place)
    if section.file is not None:
        return _manifest(section.file, section.name, root, document, (*place, "file"))
    return Application(section.name, section.project, section.namespace, repo_url="", path="", target_revision="")


def _manifest(file: str, name: str | None, root: Path, document: Document, place: tuple[str | int, ...]) -> Application:
    path = root / file
    if not path.resolve().is_relative_to(root):
        raise document.error(f"{file!r} lies outside the repository", place, hint="name a file inside it")
    if not path.is_file():
        raise document.error(f"no such file: {file!r}", place, hint="it is the Application manifest that Argo CD follows")
    return application_in(_parsed(_read(path, file), file), file, name)
