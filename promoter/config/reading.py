"""From promoter.yaml and the manifests it names to one Config."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from promoter.config.environments import Fleet
from promoter.config.file import (
    ImageSection,
    Settings,
    settings_of,
)
from promoter.config.notices import NoticeSection
from promoter.config.text import file_in, kept, read
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
from promoter.config.yaml import Document
from promoter.errors import NotHereError
from promoter.models import (
    Builder,
    CommitBy,
    Embed,
    Format,
    Strategy,
    Switch,
)

# Options of kustomize that run programs, or give them a network.
_RUN_PROGRAMS = ("--enable-alpha-plugins", "--enable_alpha_plugins", "--enable-exec", "--enable-star", "--network")


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
    document = kept(read(path, path.name), path.name)
    file, root = settings_of(document), path.resolve().parent
    fleet = Fleet(document, file, root)
    config = Config(
        root=root,
        models=fleet.models,
        environments=fleet.environments,
        gates=fleet.gates,
        image=_image(file.image, root, document),
        git=GitConfig(file.git.push_url, file.git.history_limit, file.git.commit),
        commit=_commit(file, document),
        forge=ForgeConfig(file.forge.kind, file.forge.api_url, file.forge.repository),
        watch=WatchConfig(file.watch.stable_for, file.watch.sync_grace, file.watch.timeout, file.watch.person),
        render=_render(file, document),
        notices=tuple(_notice(index, one, fleet.names, document) for index, one in enumerate(file.notices)),
        tracking_uri=file.mlflow.tracking_uri,
        argocd_server=file.argocd.server,
        mlflow_web_url=file.mlflow.web_url,
        labels=file.mlflow.record,
        record=RecordConfig(file.record.registry is Switch.ON, file_in(file.record.key, root, document, ("record", "key"))),
        argocd_web_url=file.argocd.web_url,
    )
    fleet.require_valid_if_small()
    return config


def _commit(file: Settings, document: Document) -> CommitConfig:
    section = file.commit
    if section.sign_off and file.git.commit is not CommitBy.PUSH:
        raise document.error(
            "GitHub makes the commits, in the name of the token's owner", ("commit", "sign-off"), hint="set git.commit: push"
        )
    trailers = tuple((key, text.strip()) for key, _, text in (line.partition(":") for line in section.trailers))
    return CommitConfig(section.subject, section.body, trailers, section.sign_off, section.date_from_environment)


def _render(file: Settings, document: Document) -> RenderConfig:
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
    document = kept(read(path, path.name), path.name)
    file = settings_of(document)
    fleet = Fleet(document, file, path.parent)
    sections = [fleet.own(one) for one in fleet.named]
    declared = (file.gates, *(section.gates for section in sections))
    commands = [one.command for one in declared if one.command]
    programs = [word for one in commands for word in one.run if "/" in word and not word.startswith(("/", "-"))]
    manifests = [one if isinstance(one, str) else one.file for one in (section.application for section in sections)]
    keys = [one.signed.key for one in declared if one.signed]
    return list(filter(None, (*manifests, *programs, *keys, file.image.constraints, file.image.dockerfile, file.record.key)))


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
        constraints=file_in(section.constraints, root, document, ("image", "constraints")),
        dockerfile=file_in(section.dockerfile, root, document, ("image", "dockerfile")),
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


def _notice(index: int, section: NoticeSection, names: frozenset[str], document: Document) -> NoticeSection:
    for number, name in enumerate(section.environments):
        if name not in names:
            place = ("notices", index, "environments", number)
            raise document.error(f"unknown environment {name!r}", place, hint=nearest(name, names))
    return section
