"""Runs in the Python whose bytecode it makes, with nothing but the standard library: modules in, their bytecode out.

They are compiled, and nothing of them is run. Standard input has a list of modules as JSON; bytecode, each module's compressed
by itself, goes one after the other into the file that the first argument names, and standard output has where each of them is.
A module that does not compile (a template, Python 2) is left out, as pip leaves it out.
"""

from __future__ import annotations

import json
import marshal
import sys
import warnings
import zlib
from collections.abc import Iterable, Iterator
from importlib.util import MAGIC_NUMBER, source_hash
from pathlib import Path
from types import CodeType
from typing import Any

# PEP 552: a hash of the source in place of its time, which is never checked. Nobody writes to the file system of an image.
_UNCHECKED = (1).to_bytes(4, "little")
_NAMES = "co_filename co_name co_qualname co_names co_varnames co_freevars co_cellvars co_consts co_linetable co_exceptiontable"
_LEVEL = 1


def main(target: Path, memory: int) -> None:
    limit(memory)
    warnings.simplefilter("ignore")
    made = []
    with target.open("wb") as out:
        for number, module in enumerate(json.load(sys.stdin)):
            source = read(module)
            try:
                data = MAGIC_NUMBER + _UNCHECKED + source_hash(source) + marshal.dumps(compiled(source, "/" + module["path"]))
            except (SyntaxError, ValueError, RecursionError, OverflowError):
                continue
            packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
            made.append([number, out.tell(), out.write(packer.compress(data) + packer.flush()), len(data), zlib.crc32(data)])
    json.dump(made, sys.stdout)


def limit(memory: int) -> None:
    """Source that takes any amount of memory to compile ends this process, and nothing else of the machine."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    except (ImportError, ValueError, OSError):
        pass  # a system without such limits


def read(module: dict[str, Any]) -> bytes:
    """The source: as text, or where it is inside a file."""
    if "text" in module:
        return str(module["text"]).encode()
    with Path(module["archive"]).open("rb") as file:
        file.seek(module["offset"])
        data = file.read(module["stored"])
    return zlib.decompress(data, -zlib.MAX_WBITS) if module["deflated"] else data


def compiled(source: bytes, path: str) -> CodeType:
    """The module's code, which is written as the same bytes whatever was compiled before.

    marshal writes an object that something else holds too in another way, and constants are interned when code is made. So
    everything in the code is held twice, and what has sets is compiled once more, when all its strings are interned already.
    """
    code = compile(source, path, "exec", dont_inherit=True)
    _HELD[:] = parts(code)
    if any(isinstance(part, frozenset) for part in _HELD):
        code = compile(source, path, "exec", dont_inherit=True)
        _HELD.extend(parts(code))
    return code


_HELD: list[object] = []


def parts(value: object) -> Iterator[object]:
    yield value
    if isinstance(value, CodeType):
        inner: Iterable[object] = [getattr(value, name) for name in _NAMES.split() if hasattr(value, name)]
    elif isinstance(value, slice):
        inner = [value.start, value.stop, value.step]
    else:
        inner = value if isinstance(value, (tuple, frozenset)) else ()
    for one in inner:
        yield from parts(one)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
