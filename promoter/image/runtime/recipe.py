"""What one image is built from, for one model version. Two recipes with the same key share what was built."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from promoter.errors import UsageError
from promoter.image.base import Base, BaseImage, Platform, read_base
from promoter.image.oci import canonical, sha256
from promoter.image.reference import ImageReference
from promoter.image.registry import RegistryRepository
from promoter.image.runtime.context import OFFERED, BuildContext, file_digest, serving
from promoter.image.runtime.lock import ensure_lock, find_lock, read_constraints
from promoter.image.runtime.requirements import Requirements, read_requirements
from promoter.image.runtime.wheels import download_wheels
from promoter.machine.folders import temporary, writing
from promoter.models import Builder

if TYPE_CHECKING:
    from promoter.config import ImageConfig
    from promoter.image.layer import Open
    from promoter.image.runtime.debian.lock import DebianPackages, PackagesLock
    from promoter.models import ModelVersion

_LABEL = "io.github.model-promoter."
UNPACKED = 1
"""How runtimes are unpacked. Another number makes other runtimes of the same requirements."""


@dataclass(frozen=True)
class Recipe:
    """For `target`'s runtime, or for a `whole` image of the version.

    Each part is found when first asked for, and none that the Dockerfile does not name. They raise RefusedError where
    something does not fit, AuthError and UnreachableError as registries and package index answer, and UsageError for settings
    that can't be meant.
    """

    target: RegistryRepository
    settings: ImageConfig
    env: Mapping[str, str]
    say: Callable[[str], None]
    version: ModelVersion
    open_file: Open
    whole: bool = False

    @cached_property
    def platform(self) -> Platform:
        return Platform.parse(self.settings.platform)

    @cached_property
    def source(self) -> BuildContext:
        return BuildContext.load(self.settings.dockerfile)

    @cached_property
    def requirements(self) -> Requirements:
        return read_requirements(self.version, self.open_file, self.settings.ignore_conda)

    @cached_property
    def constraints(self) -> str:
        return read_constraints(self.settings.constraints)

    @cached_property
    def lock(self) -> str:
        return ensure_lock(self.target, self.requirements, self.platform, self.constraints, self.env, self.say)

    @property
    def known(self) -> bool:
        """Whether the key can be computed without resolving anything."""
        if self._locked and find_lock(self.target, self.requirements, self.platform, self.constraints) is None:
            return False
        return self._debian is None or self._debian.find() is not None

    @cached_property
    def base_name(self) -> ImageReference:
        text = self.settings.base
        if "{python}" in text:
            text = text.replace("{python}", self.requirements.python)
        reference = ImageReference.parse(text)
        if reference.tag is None and reference.digest is None:
            raise UsageError(f"image.base {text} has neither tag nor digest", hint=f"write {text}:TAG, or {text}@sha256:...")
        return reference

    @cached_property
    def base(self) -> Base:
        """As its registry answers for our platform."""
        name = self.base_name
        return read_base(BaseImage(self.base_repository, str(name.digest or name.tag)), self.platform)

    @cached_property
    def base_repository(self) -> RegistryRepository:
        return RegistryRepository(self.base_name, insecure=self.settings.insecure_registries, env=self.env)

    @cached_property
    def packages(self) -> PackagesLock | None:
        """What image.packages adds to the base as a layer; None without them, and with an engine, which installs them."""
        return self._debian.ensure() if self._debian else None

    @property
    def _debian(self) -> DebianPackages | None:
        if not self.settings.packages or not self.unpacks:
            return None
        from promoter.image.runtime.debian.lock import DebianPackages

        asked, mirror, name = self.settings.packages, self.settings.packages_mirror, str(self.base_name)
        where = self.base_repository, self.target, self.platform
        return DebianPackages(asked, mirror, self.base, name, *where, self.env, self.say)

    @property
    def unpacks(self) -> bool:
        """Whether the runtime is unpacked from wheels; an engine builds it otherwise."""
        return self.settings.runtime_builder is Builder.UNPACK and not self.whole

    @property
    def pinned_base(self) -> ImageReference | None:
        """The base by the digest that was read; None if the Dockerfile names its base itself."""
        return replace(self.base_name, tag=None, digest=self.base.digest) if self.source.takes("BASE_IMAGE") else None

    @cached_property
    def key(self) -> str:
        """16 hexadecimal digits of everything that decides what is built, but for a version's own model."""
        if self.unpacks:
            return self._key_of_unpacked
        source = self.source
        decides: dict[str, object] = {
            "source": source.digest(),
            "platform": str(self.platform),
            "base": self.base.digest if source.takes("BASE_IMAGE") else None,
            "lock": sha256(self.lock.encode()) if self._locked else None,
            "requirements": self.requirements.lines if source.names("requirements.in") else None,
            "python": self.requirements.python if source.takes("MODEL_PYTHON") else None,
            "build-args": dict(self.settings.build_args),
        }
        if self.settings.packages:
            decides["packages"] = sorted(self.settings.packages)
        return sha256(canonical(decides)).removeprefix("sha256:")[:16]

    @property
    def _key_of_unpacked(self) -> str:
        packages = self.packages  # first: they take no resolving of requirements to be refused
        decides = {
            "unpacked": UNPACKED,
            "server": {name: file_digest(path) for name, path in serving()},
            "platform": str(self.platform),
            "base": self.base.digest,
            "lock": sha256(self.lock.encode()),
            "python": self.requirements.python,
            "packages": [packages.digest] if packages else [],
        }
        return sha256(canonical(decides)).removeprefix("sha256:")[:16]

    @property
    def arguments(self) -> dict[str, str]:
        """The user's build arguments, and those of promoter's that the Dockerfile declares."""
        own = {}
        if self.pinned_base:
            own["BASE_IMAGE"] = str(self.pinned_base)
        if self.source.takes("MODEL_PYTHON"):
            own["MODEL_PYTHON"] = self.requirements.python
        if self.whole and self.source.takes("MODEL_URI"):  # versions share a runtime: nothing of one may be in it
            own["MODEL_URI"] = f"models:/{self.version.name}/{self.version.version}"
        return {**self.settings.build_args, **own}

    @property
    def labels(self) -> dict[str, str]:
        base = {f"{_LABEL}runtime-base": str(replace(self.base_name, digest=self.base.digest))} if self.pinned_base else {}
        return {f"{_LABEL}runtime-key": self.key, **base}

    @contextmanager
    def context(self) -> Iterator[tuple[Path, Path]]:
        """A folder with everything the Dockerfile names but a model, and the Dockerfile in it; gone with the block."""
        with temporary("build") as folder:
            with writing(folder):
                dockerfile = self.source.write(folder)
                self._write_requirements(folder / OFFERED)
            yield folder, dockerfile

    @property
    def _locked(self) -> bool:
        return self.source.names("requirements.lock") or self.source.names("wheels")

    def _write_requirements(self, folder: Path) -> None:
        if self.source.names("requirements.in"):
            (folder / "requirements.in").write_text("\n".join(self.requirements.lines) + "\n")
        if self._locked:
            lock = folder / "requirements.lock"
            lock.write_text(self.lock)
        if self.source.names("wheels"):
            self.say(f"fetching the wheels of {self.lock.count('==')} packages")
            download_wheels(lock, self.requirements.python, self.platform, folder / "wheels", self.env)
