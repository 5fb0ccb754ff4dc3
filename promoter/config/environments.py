"""Models and environments of promoter.yaml, model by model: what a command does not ask for is named, and no more."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TypeVar, overload

from promoter.config.expand import Named, Place, expanded, own
from promoter.config.file import (
    ApplicationSection,
    EnvironmentSection,
    ModelSection,
    PullRequestSection,
    Settings,
    section_at,
)
from promoter.config.freeze import WindowSection
from promoter.config.gates import GatesSection, merged
from promoter.config.groups import require_groups
from promoter.config.manifest import application_in
from promoter.config.names import image_name
from promoter.config.text import file_in, parsed, read
from promoter.config.values import nearest
from promoter.config.yaml import Document
from promoter.models import Application, Environment, InGroup, Model, OnFailureAlias, PullRequestPolicy, Window

_FEW = 100
"""Models and entries of `environments:`; with so many, every command reads all of them, and complains about any."""

K = TypeVar("K")
V = TypeVar("V")
Key = tuple[str, str]


class Lazy(Mapping[K, V]):
    """A mapping whose values are made by `make`, each once."""

    def __init__(self, names: Collection[K], make: Callable[[K], V]) -> None:
        self._names, self._make = names, make
        self._made: dict[K, V] = {}

    def __getitem__(self, name: K) -> V:
        if name not in self._made:
            if name not in self._names:
                raise KeyError(name)
            self._made[name] = self._make(name)
        return self._made[name]

    def read(self) -> None:
        """Makes all of them."""
        for name in self._names:
            _ = self[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[K]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class Environments(Sequence[Environment]):
    """All environments, in the order of promoter.yaml; their names are known before one is made.

    `make` gives those of one model by `Environment.key`, in that order. It raises what is wrong with one of them.
    """

    def __init__(self, named: Sequence[Named], make: Callable[[str], Mapping[tuple[str, str], Environment]]) -> None:
        self.named = named
        self._make = make

    def of(self, model: str) -> tuple[Environment, ...]:
        """Those of one model; no other is made for it."""
        return tuple(self._make(model).values())

    def made(self, named: Named) -> Environment:
        return self._make(named.model)[named.key]

    @overload
    def __getitem__(self, index: int) -> Environment: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Environment, ...]: ...
    def __getitem__(self, index: int | slice) -> Environment | tuple[Environment, ...]:
        if isinstance(index, slice):
            return tuple(map(self.made, self.named[index]))
        return self.made(self.named[index])

    def __iter__(self) -> Iterator[Environment]:
        return map(self.made, self.named)

    def __len__(self) -> int:
        return len(self.named)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Environments | tuple) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]


@dataclass(eq=False)
class Fleet:
    """The models and environments of a promoter.yaml in the folder `root`; each is read once, when it is asked for.

    Raises:
        ConfigError: from each of its parts, whatever is wrong with what that asks for.
    """

    document: Document
    settings: Settings
    root: Path
    models: Lazy[str, Model] = field(init=False)
    named: Sequence[Named] = field(init=False)
    environments: Environments = field(init=False)
    gates: Lazy[Key, GatesSection] = field(init=False)
    _sections: dict[int, EnvironmentSection] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Models are the first to complain about."""
        self.models = Lazy(self.document.value["models"], self._model)
        if self._small:
            self.models.read()
        self.named = expanded(self.document, self.document.value["models"], self.section)
        self.environments = Environments(self.named, lambda model: self._environments[model] if model in self._of else {})
        self.gates = Lazy({one.key: None for one in self.named}, lambda key: self._gates[key[1]][key])

    @property
    def _small(self) -> bool:
        """Whether it costs next to nothing to read all of it."""
        return max(len(self.document.value[key]) for key in ("models", "environments")) <= _FEW

    def require_valid_if_small(self) -> None:
        """With few environments a mistake in any of them is reported by every command."""
        if self._small:
            for one in self.named:
                self.environments.made(one)
                _ = self.gates[one.key]

    def section(self, index: int) -> EnvironmentSection:
        if index not in self._sections:
            self._sections[index] = section_at(self.document, EnvironmentSection, ("environments", index))
        return self._sections[index]

    def own(self, named: Named) -> EnvironmentSection:
        """The section of one model in one environment."""
        section = self.section(named.section)
        written = section.application
        if named.model not in section.exceptions and isinstance(written, str) and "{" not in written and "}" not in written:
            return section
        return own(section, named, self.document)

    # -- of one model -------------------------------------------------------------------------------------------------

    @cached_property
    def _of(self) -> Mapping[str, list[Named]]:
        found: dict[str, list[Named]] = {}
        for one in self.named:
            found.setdefault(one.model, []).append(one)
        return found

    @cached_property
    def names(self) -> frozenset[str]:
        return frozenset(one.name for one in self.named)

    @cached_property
    def _environments(self) -> Lazy[str, Mapping[Key, Environment]]:
        return Lazy(self._of, self._environments_of)

    @cached_property
    def _gates(self) -> Lazy[str, Mapping[Key, GatesSection]]:
        return Lazy(self._of, self._gates_of)

    def _environments_of(self, model: str) -> Mapping[Key, Environment]:
        named = self._of[model]
        made = [self._environment(one) for one in named]
        if any(one.group for one in made):
            require_groups(made, [one.place for one in named], self.names, self.document)
        return {one.key: environment for one, environment in zip(named, made, strict=True)}

    def _gates_of(self, model: str) -> Mapping[Key, GatesSection]:
        made = {}
        for one in self._of[model]:
            given = self.own(one).gates
            set_here = given.model_fields_set
            made[one.key] = found = merged(self.settings.gates, given) if set_here else self.settings.gates
            after, signed, attested = (
                (*(one.place if gate in set_here else ()), "gates", gate) for gate in ("after", "signed", "attested")
            )
            others = {other.name for other in self._of[model]} - {one.name}
            if found.after:
                _require_another(found.after.environment, one.name, others, self.document, after)
            if found.signed:
                file_in(found.signed.key, self.root, self.document, (*signed, "key"))
            if found.attested:
                _require_another(found.attested.environment, one.name, others, self.document, attested)
                self._require_signed_records(attested)
        return made

    def _require_signed_records(self, place: Place) -> None:
        if self.settings.record.key is None:
            raise self.document.error(
                "needs record.key: anybody who may push images could attach a record that is not signed",
                place,
                hint="name the public key of who signs records under record.key (docs/records.md)",
            )

    def _model(self, name: str) -> Model:
        return _model(name, section_at(self.document, ModelSection, ("models", name)), self.settings, self.document)

    def _environment(self, named: Named) -> Environment:
        section, place, document = self.own(named), named.place, self.document
        if section.on_failure_alias is OnFailureAlias.MOVE_BACK and (section.alias or "stage/").startswith("stage/"):
            raise document.error(
                "the environment follows no alias that could be moved back",
                (*place, "on-failure-alias"),
                hint="set alias: NAME (a stage can't be moved)",
            )
        model = self.models[named.model]
        return Environment(
            name=section.name,
            model=replace(model, repository=section.image) if section.image else model,
            application=_application(section.application, self.root, document, (*place, "application")),
            alias=section.alias,
            on_alias=section.on_alias,
            write=section.write,
            on_failure=section.on_failure,
            on_failure_alias=section.on_failure_alias,
            pull_request=_pull_request(self.settings.pull_request, section.pull_request),
            workloads=section.workloads,
            freeze=tuple(map(_window, (*self.settings.freeze, *section.freeze))),
            require_analysis=section.require_analysis,
            group=_in_group(section, document, place),
        )


def _model(name: str, section: ModelSection, settings: Settings, document: Document) -> Model:
    place = ("models", name)
    if any(ord(char) < 32 or char in "/:" for char in name) or name in (".", ".."):
        raise document.error(
            f"{name!r} can't be the name of a registered model", place, hint="MLflow allows neither / nor : in it"
        )
    repository = section.image or (
        f"{settings.image.registry.rstrip('/')}/{image_name(name)}" if settings.image.registry else None
    )
    if repository is None:
        raise document.error("needs an image repository", place, hint="set image: here, or image.registry for all models")
    if PurePosixPath(section.release_file).name != section.release_file or section.release_file == "..":
        raise document.error(
            f"{section.release_file!r} is not a file name",
            (*place, "release-file"),
            hint="it is in the folder of kustomization.yaml",
        )
    return Model(name, repository, section.kustomize_image or image_name(name), section.release_file, section.smoke)


def _in_group(section: EnvironmentSection, document: Document, place: Place) -> InGroup | None:
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


def _require_another(name: str, environment: str, others: set[str], document: Document, place: Place) -> None:
    """`name` is another environment of the same model."""
    if name in others:
        return
    alone = "declare it for the environments that come after it alone, under environments:"
    hint = alone if name == environment else nearest(name, others) if others else "this model has no other environment"
    raise document.error(f"{environment!r} can't come after {name!r}", place, hint=hint)


def _application(section: str | ApplicationSection, root: Path, document: Document, place: Place) -> Application:
    if isinstance(section, str):
        return _manifest(section, None, root, document, place)
    if section.file is not None:
        return _manifest(section.file, section.name, root, document, (*place, "file"))
    return Application(section.name, section.project, section.namespace, repo_url="", path="", target_revision="")


def _manifest(file: str, name: str | None, root: Path, document: Document, place: Place) -> Application:
    path = root / file
    if not path.resolve().is_relative_to(root):
        raise document.error(f"{file!r} lies outside the repository", place, hint="name a file inside it")
    if not path.is_file():
        raise document.error(f"no such file: {file!r}", place, hint="it is the Application manifest that Argo CD follows")
    return application_in(parsed(read(path, file), file), file, name)
