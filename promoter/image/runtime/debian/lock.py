"""image.packages resolved once, and their layer made once: both are kept in the image repository, for every machine."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from promoter.errors import RefusedError
from promoter.image.base import Base, Platform
from promoter.image.oci import Descriptor, Repository, canonical, decode, objects, section, sha256
from promoter.image.runtime.debian.archive import Deb, read_deb
from promoter.image.runtime.debian.control import Package, installed
from promoter.image.runtime.debian.fetch import Archive
from promoter.image.runtime.debian.index import Candidate, read_indexes
from promoter.image.runtime.debian.layer import STATUS, pack_packages
from promoter.image.runtime.debian.resolve import Resolver
from promoter.image.runtime.debian.sources import read_sources, release_of
from promoter.image.runtime.lock import keep_lock, read_lock
from promoter.image.runtime.unpacked.base_files import BaseFiles, read_files
from promoter.machine.folders import temporary, writing

_ARTIFACT = "application/vnd.model-promoter.packages-lock"
_FORMAT = 1
"""How packages become a layer. Another number makes another layer of the same packages."""


@dataclass(frozen=True, slots=True)
class LockedPackage:
    """One that was added; `url` is its address for scanners (package-url/purl-spec, type deb)."""

    name: str
    version: str
    url: str


@dataclass(frozen=True, slots=True)
class PackagesLock:
    """What was added to a base: `text` decides about everything else."""

    text: bytes
    layer: Descriptor
    diff_id: str
    packages: tuple[LockedPackage, ...]

    @property
    def digest(self) -> str:
        return sha256(self.text)

    def on(self, base: Base) -> Base:
        """The base with the packages' layer."""
        history = base.config.get("history")
        created = str(base.config.get("created") or "1970-01-01T00:00:00Z")
        entry = {"created": created, "created_by": "promoter", "comment": "packages"}
        rootfs = {"type": "layers", "diff_ids": [*section(base.config, "rootfs").get("diff_ids", ()), self.diff_id]}
        config = {**base.config, "rootfs": rootfs, **({"history": [*history, entry]} if history else {})}
        return replace(base, layers=(*base.layers, self.layer), config=config)


@dataclass(frozen=True)
class DebianPackages:
    """The packages of image.packages for one base, whose layers are in `source`; `target` keeps the lock."""

    asked: Collection[str]
    mirror: str | None
    base: Base
    name: str
    source: Repository
    target: Repository
    platform: Platform
    env: Mapping[str, str]
    say: Callable[[str], None]

    @property
    def tag(self) -> str:
        """`lock-<16 hex>`: the same wherever the same is asked for."""
        asked = {"packages": sorted(self.asked), "base": self.base.digest, "mirror": self.mirror, "format": _FORMAT}
        return f"lock-{sha256(canonical(asked)).removeprefix('sha256:')[:16]}"

    def find(self) -> PackagesLock | None:
        """The lock, if the repository has one.

        Raises:
            RefusedError: the artifact is damaged.
            AuthError, UnreachableError: as the registry answers.
        """
        manifest = self.target.read_manifest(self.tag)
        return None if manifest is None else self._read(manifest)

    def ensure(self) -> PackagesLock:
        """The lock, made now if the repository has none.

        Raises:
            RefusedError: the packages can't be put on this base, or an index or a package is not what was signed.
            AuthError, UnreachableError: as registry, package archives and disk answer.
            UsageError: gpgv is missing.
        """
        found = self.find()
        if found is not None:
            return found
        self.say(f"reading {self.name}")
        files = read_files(self.base, self.source, self.name, self.env)
        require_debian(files)
        with temporary("lock") as folder, writing(folder):
            candidates = self._resolved(files, folder)
            debs = self._debs(candidates, folder)
            packed = pack_packages(debs, files)
            if not self.target.has_blob(packed.blob.digest):
                self.target.write_blob(packed.chunks, packed.blob.size)
        text = canonical({"packages": [_described(one, files) for one in candidates], "diff-id": packed.diff_id})
        return self._read(keep_lock(self.target, self.tag, _ARTIFACT, "packages.lock", text, packed.blob))

    def _resolved(self, files: BaseFiles, folder: Path) -> list[Candidate]:
        architecture = self.platform.architecture
        sources = read_sources(files, architecture, self.mirror)
        self.say(f"resolving {', '.join(sorted(self.asked))} for {self.name}, from {len(sources)} package sources")
        indexes = read_indexes(sources, architecture, folder, self.env)
        return Resolver(self.name, installed(files.text(STATUS)), indexes).resolve(self.asked)

    def _debs(self, candidates: Sequence[Candidate], folder: Path) -> list[Deb]:
        self.say(f"fetching {len(candidates)} Debian packages")
        debs = []
        for number, candidate in enumerate(candidates):
            place = folder / f"deb-{number}"
            place.mkdir()
            file, wanted = candidate.file, candidate.package
            path = place / posixpath.basename(file.address)
            if not Archive(file.address).download(file.address, file.size, file.sha256, path):
                raise RefusedError(f"{file.address} does not exist, although a signed index lists it", hint="run again later")
            deb = read_deb(path, place)
            path.unlink()
            if _identity(deb.package) != _identity(wanted):
                raise RefusedError(f"{file.address} is {deb.package}, not {wanted}", hint="report it to who runs the archive")
            debs.append(deb)
        return debs

    def _read(self, manifest: bytes) -> PackagesLock:
        where = f"{self.target.name}:{self.tag}"
        text, (layer,) = read_lock(self.target, self.tag, _ARTIFACT, manifest, others=1)
        value = decode(text, where)
        named = ((str(one.get(key)) for key in ("name", "version", "purl")) for one in objects(value, "packages", where))
        return PackagesLock(text, layer, str(value.get("diff-id")), tuple(LockedPackage(*words) for words in named))


def require_debian(base: BaseFiles) -> None:
    """Raises: RefusedError, for a base that is neither Debian, nor Ubuntu, nor made of one of them."""
    release = release_of(base)
    if not {"debian", "ubuntu"} & {release.get("ID", ""), *release.get("ID_LIKE", "").split()}:
        name = release.get("PRETTY_NAME") or release.get("ID") or "not a known distribution"
        raise RefusedError(
            f"image.packages are Debian packages, and {base.name} is {name}",
            hint="name an image.base of Debian or Ubuntu, or one that has these libraries, and take packages out",
        )
    if not base.text(STATUS):
        raise RefusedError(
            f"{base.name} does not list its packages (/{STATUS})", hint="name an image.base that was made with dpkg"
        )


def _identity(package: Package) -> tuple[str, str, str]:
    return package.name, package.version, package.architecture


def _described(candidate: Candidate, base: BaseFiles) -> dict[str, Any]:
    package, release = candidate.package, release_of(base)
    system = f"{release.get('ID', 'debian')}-{release.get('VERSION_ID', '')}".strip("-")
    version = package.version.replace("+", "%2B").replace(":", "%3A")
    purl = f"pkg:deb/{release.get('ID', 'debian')}/{package.name.replace('+', '%2B')}@{version}"
    return {
        "name": package.name,
        "version": package.version,
        "architecture": package.architecture,
        "file": candidate.file.name,
        "size": candidate.file.size,
        "sha256": candidate.file.sha256,
        "purl": f"{purl}?arch={package.architecture}&distro={system}",
    }
