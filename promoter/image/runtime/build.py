"""Finds the runtime of a model version in its image repository by what it is made of, or builds and pushes it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from promoter.errors import UnreachableError, UsageError
from promoter.image.base import Base, BaseImage, Platform, read_base
from promoter.image.oci import canonical, sha256
from promoter.image.reference import ImageReference
from promoter.image.registry import RegistryRepository
from promoter.image.runtime.context import OFFERED, Source
from promoter.image.runtime.lock import ensure_lock, find_lock, read_constraints
from promoter.image.runtime.requirements import Requirements, read_requirements
from promoter.image.runtime.wheels import download_wheels

if TYPE_CHECKING:
    from promoter.config import ImageConfig
    from promoter.image.layer import Open
    from promoter.image.runtime.engine import Engine
    from promoter.models import ModelVersion

NEWEST = "runtime"
"""The tag of the runtime that was built last: the next build's cache."""

_LABEL = "io.github.model-promoter."
_BASE_DEFAULT = "python:{python}-slim"


@dataclass(frozen=True)
class RuntimeBuilder:
    """Makes what models of the image repository `target` are put on; `say` hears of each step."""

    target: RegistryRepository
    settings: ImageConfig
    env: Mapping[str, str]
    say: Callable[[str], None]

    def __call__(self, version: ModelVersion, open_file: Open) -> BaseImage:
        """The runtime of this version (see `promoter.image.publish.Runtime`): no engine is asked when it is there.

        Raises:
            RefusedError: the requirements can't be met or locked, the base or what was built does not fit, a step failed.
            AuthError, UnreachableError: as registries, package index and engine answer.
            UsageError: the settings can't be meant, or pip is missing.
        """
        making = Making(self, version, open_file)
        tag = f"runtime-{making.key}"
        if self.target.read_manifest(tag) is None:
            self.say(f"runtime {tag} is not in {self.target.name} yet")
            with making.context() as (folder, dockerfile):
                stage = making.source.runtime_stage
                making.build_and_push(folder, dockerfile, stage, tags=(tag, NEWEST), cache=NEWEST)
        return BaseImage(self.target, tag)

    def find(self, version: ModelVersion, open_file: Open) -> BaseImage | None:
        """The runtime of this version, if its requirements were locked and it was built; raises as `__call__`."""
        making = Making(self, version, open_file)
        if making.is_locked and find_lock(self.target, making.requirements, making.platform, making.constraints) is None:
            return None
        tag = f"runtime-{making.key}"
        return BaseImage(self.target, tag) if self.target.read_manifest(tag) is not None else None


@dataclass(frozen=True)
class Making:
    """One build to be: its parts are found when first asked for, and none that the Dockerfile does not name."""

    builder: RuntimeBuilder
    version: ModelVersion
    open_file: Open

    @cached_property
    def platform(self) -> Platform:
        return Platform.parse(self.builder.settings.platform)

    @cached_property
    def source(self) -> Source:
        return Source.load(self.builder.settings.dockerfile)

    @cached_property
    def requirements(self) -> Requirements:
        return read_requirements(self.version, self.open_file)

    @cached_property
    def constraints(self) -> str:
        return read_constraints(self.builder.settings.constraints)

    @cached_property
    def lock(self) -> str:
        builder = self.builder
        return ensure_lock(builder.target, self.requirements, self.platform, self.constraints, builder.env, builder.say)

    @cached_property
    def base_name(self) -> ImageReference:
        text = self.builder.settings.base or _BASE_DEFAULT
        if "{python}" in text:
            text = text.replace("{python}", self.requirements.python)
        reference = ImageReference.parse(text)
        if reference.tag is None and reference.digest is None:
            raise UsageError(f"image.base {text} has neither tag nor digest", hint=f"write {text}:TAG, or {text}@sha256:...")
        return reference

    @cached_property
    def base(self) -> Base:
        """As its registry answers for our platform."""
        builder, name = self.builder, self.base_name
        repository = RegistryRepository(name, insecure=builder.settings.insecure_registries, env=builder.env)
        return read_base(BaseImage(repository, str(name.digest or name.tag)), self.platform)

    @cached_property
    def pinned_base(self) -> ImageReference:
        return replace(self.base_name, tag=None, digest=self.base.digest)

    @property
    def key(self) -> str:
        """16 hexadecimal digits of what the runtime is made of; where they are equal, so is what was built."""
        source = self.source
        lines = self.requirements.lines if source.names("requirements.in") else ()
        made_of = {
            "source": source.digest(),
            "platform": str(self.platform),
            "base": self.base.digest if source.takes("BASE_IMAGE") else None,
            "lock": sha256(self.lock.encode()) if self.is_locked else None,
            "requirements": lines,
            "python": self.requirements.python if source.takes("MODEL_PYTHON") else None,
            "build-args": dict(self.builder.settings.build_args),
        }
        return sha256(canonical(made_of)).removeprefix("sha256:")[:16]

    @property
    def is_locked(self) -> bool:
        return self.source.names("requirements.lock") or self.source.names("wheels")

    @property
    def arguments(self) -> dict[str, str]:
        """The user's, and of promoter's those that the Dockerfile declares."""
        ours: dict[str, Callable[[], str]] = {
            "BASE_IMAGE": lambda: str(self.pinned_base),
            "MODEL_PYTHON": lambda: self.requirements.python,
            "MODEL_URI": lambda: f"models:/{self.version.name}/{self.version.version}",
        }
        declared = {name: value() for name, value in ours.items() if self.source.takes(name)}
        return {**self.builder.settings.build_args, **declared}

    @property
    def labels(self) -> dict[str, str]:
        labels = {f"{_LABEL}runtime-key": self.key}
        if self.source.takes("BASE_IMAGE"):
            labels[f"{_LABEL}runtime-base"] = str(replace(self.base_name, digest=self.base.digest))
        return labels

    @contextmanager
    def context(self) -> Iterator[tuple[Path, Path]]:
        """A folder with everything the Dockerfile names, and the Dockerfile in it.

        Raises:
            RefusedError, AuthError: as the package index answers.
            UnreachableError: the same, or the folder can't be written.
        """
        with tempfile.TemporaryDirectory(prefix="promoter-build-") as name:
            folder = Path(name)
            with writing(folder):
                dockerfile = self.source.write(folder)
                if self.source.names("requirements.in"):
                    (folder / OFFERED / "requirements.in").write_text("\n".join(self.requirements.lines) + "\n")
                if self.is_locked:
                    self._write_wheels(folder / OFFERED)
            yield folder, dockerfile

    def _write_wheels(self, folder: Path) -> None:
        lock = folder / "requirements.lock"
        lock.write_text(self.lock)
        if self.source.names("wheels"):
            self.builder.say(f"fetching the wheels of {self.lock.count('==')} packages")
            download_wheels(lock, self.requirements.python, self.platform, folder / "wheels", self.builder.env)

    def build_and_push(
        self, folder: Path, dockerfile: Path, stage: str | None, *, tags: tuple[str, ...], cache: str
    ) -> str | None:
        """Builds, and pushes under each of the tags; the digest that the engine says the first one has.

        The cache is the image under the tag `cache`, where the engine does not have one of its own.

        Raises:
            PromoterError: as `Engine` has it.
        """
        from promoter.image.runtime.engine import Build, Engine

        engine = Engine(self.builder.env, self.builder.say)
        if self.source.takes("BASE_IMAGE"):
            engine.pull(self.pinned_base)
        named = ImageReference.parse(self.builder.target.name)
        image = engine.build(
            Build(
                folder,
                dockerfile,
                self.platform,
                stage,
                self.arguments,
                self.labels,
                self._cache(engine, replace(named, tag=cache)),
                # Ours needs none; a user's own steps may.
                network="none" if self.source.folder is None else None,
            )
        )
        digests = [engine.push(image, replace(named, tag=tag)) for tag in tags]
        return digests[0]

    def _cache(self, engine: Engine, image: ImageReference) -> str | None:
        """An engine that built the last one has every step of it: naming an image would make it forget all but that image's."""
        if engine.has(str(image)) or self.builder.target.read_manifest(str(image.tag)) is None:
            return None
        engine.pull(image)
        return str(image)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Raises: UnreachableError, where the folder can't be written."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UnreachableError(
            f"the build's folder {folder} can't be written: {reason}", hint="free some space, or point TMPDIR elsewhere"
        ) from None
