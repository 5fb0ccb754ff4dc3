"""Bytecode of a runtime's modules, in layers of its own: it depends on the Python that compiles, down to its patch version.

That is one of the base's minor version which is at hand. It runs no code of the wheels, and the base is not run either.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from promoter.errors import RefusedError, UnreachableError
from promoter.image.runtime.install import TESTS
from promoter.image.runtime.unpacked.files import RUNTIME, SERVER, File, Link, Member
from promoter.machine import process

_COMPILER = Path(__file__).with_name("compiler.py")
_MODULE = re.compile(rf"({RUNTIME}/lib/python3\.\d+/site-packages|{SERVER})/.*\.py")
_LARGEST = 4 << 20  # bytes of a module; what is larger is data, which takes gigabytes to compile
_PROCESSES, _SECONDS, _MEMORY = 2, 1800.0, 2 << 30


def add_bytecode(
    groups: Sequence[Sequence[File]], interpreter: str, python: str, folder: Path, env: Mapping[str, str]
) -> list[list[File]]:
    """For each group of files that has modules, one of their bytecode for CPython `python` (3.11); it lies in `folder`.

    `interpreter` is a program of that minor version.

    Raises:
        RefusedError: the interpreter ends before its time on these modules.
        UnreachableError: it takes too long, or can't be run.
    """
    modules = sorted((file for group in groups for file in group if _is_compiled(file)), key=lambda file: file.size)
    shares = [share for share in (modules[number::_PROCESSES] for number in range(_PROCESSES)) if share]
    targets = [folder / f"bytecode.{number}" for number in range(len(shares))]
    with ThreadPoolExecutor(_PROCESSES) as pool:
        done = pool.map(lambda share, target: _compile(share, target, interpreter, python, env), shares, targets)
        found = {path: file for part in done for path, file in part.items()}
    made = [[found[file.path] for file in group if file.path in found] for group in groups]
    return [group for group in made if group]


def _is_compiled(file: File) -> bool:
    return bool(_MODULE.fullmatch(file.path)) and file.size <= _LARGEST and not TESTS.search(f"/{file.path}")


def _compile(modules: Sequence[File], target: Path, interpreter: str, python: str, env: Mapping[str, str]) -> dict[str, File]:
    """The bytecode of each module, by the module's path."""
    # Isolated, and without packages of its own: nothing but the standard library is there to be imported.
    command = [interpreter, "-I", "-S", "-B", str(_COMPILER), str(target), str(_MEMORY)]
    asked = json.dumps([_described(file) for file in modules]).encode()
    try:
        done = process.run(command, environ=process.needed(env, ()), stdin=asked, seconds=_SECONDS)
    except (process.HungError, OSError) as error:
        why = "it did not end in time" if isinstance(error, process.HungError) else str(error.strerror)
        raise UnreachableError(f"Python {python} can't compile the runtime's modules: {why}", hint="run again") from None
    if done.status != 0:
        last = " ".join(done.errors.strip().splitlines()[-1:]) or f"it ended with {done.status}"
        raise RefusedError(
            f"Python {python} can't compile the modules of the locked packages: {last}",
            hint="a package has source that ends the compiler; build with image.runtime-builder: engine",
        )
    made = {}
    for number, offset, stored, size, crc in json.loads(done.out):
        module = modules[number]
        made[module.path] = File(_cached(module.path, python), Member(target, offset, stored, size, crc, True), module.owner)
    return made


def _described(file: File) -> dict[str, Any]:
    content = file.content
    if isinstance(content, Member):
        where = {name: getattr(content, name) for name in ("offset", "stored", "deflated")}
        return {"path": file.path, "archive": str(content.archive), **where}
    return {"path": file.path, "text": b"" if isinstance(content, Link) else content.decode()}


def _cached(path: str, python: str) -> str:
    """Where Python looks for it (PEP 3147)."""
    folder, name = posixpath.split(path)
    return f"{folder}/__pycache__/{name.removesuffix('.py')}.cpython-{python.replace('.', '')}.pyc"
