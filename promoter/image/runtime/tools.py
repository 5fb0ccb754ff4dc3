"""uv and pip as this host has them. Their indexes and credentials are the host's, and never in arguments or output."""

from __future__ import annotations

import ast
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from promoter.errors import AuthError, PromoterError, RefusedError, UnreachableError, UsageError
from promoter.machine import process
from promoter.machine.extras import install
from promoter.machine.process import Done

if TYPE_CHECKING:
    from promoter.image.base import Platform

# Wheels of the manylinux policies up to this glibc (PEP 600) run on every Debian, Ubuntu and Red Hat that is still maintained.
_GLIBC_MINOR = 28
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
# Isolated: a folder `pip` in the current one, PYTHONPATH and PYTHONSTARTUP decide nothing.
_PIP = (sys.executable, "-I", "-m", "pip")
_VARIABLES = process.NETWORK | process.FOLDERS | {"UV_*", "PIP_*"}
_SECONDS = 3600.0  # wheels of some gigabytes, on a slow line
_UV_INDEXES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_CONFIG_FILE")
# In pip's and in uv's words.
_DENIED = re.compile(r"\b40[13] (Unauthorized|Forbidden|Client Error)|HTTP error 40[13]")
_UNREACHED = re.compile(
    r"error sending request|connection broken|(Connect|Read)Timeout|\b(429|50[0-4]) [A-Z]|HTTP error (429|50[0-4])"
)
_PIP_TO_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
}


def uv_platform(platform: Platform) -> str:
    """What uv calls it.

    Raises:
        UsageError: no wheels are made for it.
    """
    return f"{_machine(platform)}-manylinux_2_{_GLIBC_MINOR}"


def pip_platforms(platform: Platform, musl: tuple[int, int] | None = None) -> list[str]:
    """Every platform tag whose wheels run there; pip does not know that one includes the older ones (PEP 600, PEP 656).

    `musl` is the version of that C library where it takes glibc's place.

    Raises:
        UsageError: no wheels are made for it.
    """
    machine = _machine(platform)
    if musl:
        return [f"musllinux_{musl[0]}_{minor}_{machine}" for minor in range(musl[1], -1, -1)]
    return [
        *(f"manylinux_2_{minor}_{machine}" for minor in range(_GLIBC_MINOR, 4, -1)),
        *(f"manylinux{year}_{machine}" for year in ("2014", "2010", "1")),
        f"linux_{machine}",
    ]


def _machine(platform: Platform) -> str:
    machine = _MACHINES.get(platform.architecture)
    if platform.os != "linux" or machine is None:
        available = ", ".join(f"linux/{name}" for name in _MACHINES)
        raise UsageError(
            f"can't build a runtime for {platform}: available: {available}",
            hint="set image.platform to one of these, or image.runtime to an image of yours",
        )
    return machine


def uv(arguments: Sequence[str], text: str, env: Mapping[str, str]) -> Done:
    """Runs uv where no project's settings are found; if uv knows no index, it gets pip's.

    Raises:
        UsageError: there is none.
    """
    program = _uv(env)
    settings = {**_pip_indexes(env), **env} if not any(env.get(name) for name in _UV_INDEXES) else dict(env)
    return _run([program, *arguments], settings, text)


def _uv(env: Mapping[str, str]) -> str:
    """The one that was installed with promoter, else the one on PATH."""
    try:
        from uv import find_uv_bin

        return find_uv_bin()
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv", path=env.get("PATH"))
    if found is None:
        raise UsageError("uv locks a model's requirements, and it is not here", hint=f"{install('runtime')}, or put uv on PATH")
    return found


def find_python(minor: str, env: Mapping[str, str]) -> str | None:
    """A CPython of this minor version (3.11) that is here and runs; None if there is none, since none is downloaded.

    The one that promoter runs on, else the one on PATH, else one that uv manages.
    """
    return next((program for program in _pythons(minor, env) if program and _is_python(program, minor, env)), None)


def _pythons(minor: str, env: Mapping[str, str]) -> Iterator[str | None]:
    yield sys.executable
    yield shutil.which(f"python{minor}", path=env.get("PATH"))
    with suppress(UsageError):
        search = ["python", "find", "--managed-python", "--no-project", "--no-python-downloads", f"cpython@{minor}"]
        yield _run([_uv(env), *search], env).output.strip()


def _is_python(program: str, minor: str, env: Mapping[str, str]) -> bool:
    """A version manager's stand-in may only write that it does not know which one is meant."""
    try:
        done = _run([program, "-I", "-S", "-c", "import sys; print(sys.implementation.cache_tag)"], env)
    except UsageError:
        return False
    return done.output.strip() == f"cpython-{minor.replace('.', '')}"


def pip(arguments: Sequence[str], env: Mapping[str, str]) -> Done:
    """Runs the pip that was installed with promoter."""
    return _run([*_PIP, *arguments], env)


def tool_failure(done: Done, doing: str, refused: str, hint: str) -> PromoterError:
    """The error for the tool's message (`refused`), whose kind depends on whether running again or a login can help."""
    output, message = done.output + done.errors, f"can't {doing}: {' '.join(refused.split())}"
    if "No space left on device" in output:
        return UnreachableError(f"can't {doing}: no space left on the disk", hint="free some, or point TMPDIR elsewhere")
    if _DENIED.search(output):
        return AuthError(message, hint="check the credentials in pip's configuration (`pip config list`)")
    if _UNREACHED.search(output):
        return UnreachableError(message, hint="check that the package index can be reached from here, and run again")
    return RefusedError(message, hint=hint)


def _pip_indexes(env: Mapping[str, str]) -> dict[str, str]:
    """pip's settings about indexes as uv's environment variables."""
    listed = _run([*_PIP, "config", "list"], env).output
    found: dict[str, str] = {}
    # From the lowest to the highest priority in pip.
    for source in ("global", "download", ":env:"):
        for line in listed.splitlines():
            key, _, value = line.partition("=")
            name = _PIP_TO_UV.get(key.removeprefix(f"{source}."))
            if name and key.startswith(f"{source}."):
                found[name] = " ".join(str(ast.literal_eval(value)).split())
    return found


def _run(command: Sequence[str], env: Mapping[str, str], text: str = "") -> Done:
    name = Path(command[0]).name
    environ = process.needed(env, _VARIABLES, more=True)
    try:
        return process.run(command, environ=environ, stdin=text.encode(), seconds=_SECONDS)
    except process.HungError:
        raise UnreachableError(
            f"{name} did not end in {_SECONDS:.0f} s", hint="check the package index, and run again"
        ) from None
    except OSError as error:
        raise UsageError(f"{name} can't be run: {error.strerror}", hint="install promoter again") from None
