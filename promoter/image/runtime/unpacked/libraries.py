"""Whether compiled code of wheels finds what it loads: libraries and versions of symbols, in the wheels or in the base."""

from __future__ import annotations

import posixpath
import re
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from promoter.errors import RefusedError
from promoter.image.base import Platform
from promoter.image.runtime.install import GPU, with_packages
from promoter.image.runtime.packages import base_hint
from promoter.image.runtime.unpacked.base_files import BaseFiles
from promoter.image.runtime.unpacked.elf import Library, read_library
from promoter.image.runtime.unpacked.files import File, Member
from promoter.image.runtime.unpacked.members import read_member

_COMPILED = re.compile(r".*\.so(\.[^/]*)?")
_IN_MEMORY = 8 << 20
# A name with a version (libgfortran.so.5) is that of a library which others load by it, and no module or plug-in.
_VERSIONED = re.compile(r".*\.so\.\d[^/]*")
# Plug-ins that their package tries to load, and goes without.
_OPTIONAL = re.compile(r".*/numba/np/ufunc/(tbbpool|omppool)\.[^/]*")

# The names that musl's loader takes for itself, whatever follows (musl, ldso/dynlink.c, load_library).
_OF_MUSL = re.compile(r"lib(c|pthread|rt|m|dl|util|xnet)\..*")


def require_libraries(files: Collection[File], base: BaseFiles, platform: Platform) -> None:
    """Of every library that the files need.

    Raises:
        RefusedError: one is missing, too old, or made for another machine.
    """
    found = dict(_compiled(files))
    own = {posixpath.basename(file.path) for file in files} | {library.soname for library in found.values()}
    there = dict(base.libraries())
    wrong = [(file, library) for file, library in found.items() if library.machine != platform.architecture]
    if wrong and len(wrong) == len(found):
        file, library = wrong[0]
        raise RefusedError(
            f"/{file.path} of {file.owner} is for {library.machine}, not for {platform}",
            hint="report it to who published the package: its wheel's name is for another machine",
        )
    missing: dict[str, str] = {}
    for file, library in found.items():
        if library.machine == platform.architecture and _is_loaded(file.path, library, found.values()):
            needed = [name for name in library.needed if not (base.musl and _OF_MUSL.fullmatch(name))]
            for what in _missing(replace(library, needed=tuple(needed)), own, there):
                missing.setdefault(what, file.owner)
    if missing:
        told = [f"{owner} needs {what}, which the base image does not have" for what, owner in sorted(missing.items())]
        reason = "; ".join(line if base.musl else with_packages(line) for line in told)
        hint = f"{base_hint(reason)}; if the model never loads that file, set image.runtime-builder: engine"
        raise RefusedError(f"the model's packages would not run on {base.name}: {reason}", hint=hint)


def _compiled(files: Collection[File]) -> Iterator[tuple[File, Library]]:
    for file in files:
        if _COMPILED.fullmatch(file.path) and isinstance(file.content, Member):
            with tempfile.SpooledTemporaryFile(_IN_MEMORY) as copy:
                for chunk in read_member(file.content):
                    copy.write(chunk)
                library = read_library(copy)
            if library is not None:
                yield file, library


def _is_loaded(path: str, library: Library, libraries: Iterable[Library]) -> bool:
    """Whether anything can be known to load it: what nobody names was copied along, or is for machines with other devices."""
    name = posixpath.basename(path)
    named = not _VERSIONED.fullmatch(name) or any({name, library.soname} & {*other.needed} for other in libraries)
    return named and not _OPTIONAL.fullmatch(path)


def _missing(library: Library, own: Collection[str], there: Mapping[str, Library]) -> Iterator[str]:
    """What is in neither: a library, or a version of one."""
    required = dict(library.required)
    for name in library.needed:
        if name in own or name.startswith(GPU):
            continue
        if name not in there:
            yield name
        elif lacking := [version for version in required.get(name, ()) if version not in there[name].offered]:
            yield f"{_newest(lacking)} of {name}"


def _newest(versions: Collection[str]) -> str:
    """GLIBC_2.10 is newer than GLIBC_2.9."""
    return max(versions, key=_numbers)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))
