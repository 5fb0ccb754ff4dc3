"""Sizes as people write them: bytes, or a number with KiB, MiB, GiB or TiB."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([KMGT]i)?B?")
_UNITS = {None: 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}


def _bytes(value: object) -> object:
    """`2 GiB` in bytes."""
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if isinstance(value, str) and not match:
        raise ValueError("is a number of bytes, or one with KiB, MiB, GiB or TiB")
    return int(float(match[1]) * _UNITS[match[2]]) if match else value


Bytes = Annotated[int, BeforeValidator(_bytes, json_schema_input_type=int | str)]
