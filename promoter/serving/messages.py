"""Messages between the server and its model processes: the length of a JSON header, the header, and bodies as it lists them."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

_LENGTH = struct.Struct("!I")


@dataclass(frozen=True)
class Message:
    """`kind` is one of requests (to a model process), prepared, ready, failed, event and answers (from it)."""

    kind: str
    header: Mapping[str, Any] = field(default_factory=dict)
    bodies: Sequence[bytes] = ()


def packed(message: Message) -> bytes:
    start = {"kind": message.kind, "lengths": [len(body) for body in message.bodies], "header": message.header}
    header = json.dumps(start).encode()
    return b"".join((_LENGTH.pack(len(header)), header, *message.bodies))


def read(stream: IO[bytes]) -> Message | None:
    """The next message; None at the end."""
    start = stream.read(_LENGTH.size)
    if len(start) < _LENGTH.size:
        return None
    header = json.loads(stream.read(*_LENGTH.unpack(start)))
    return Message(header["kind"], header["header"], [stream.read(length) for length in header["lengths"]])


class Parser:
    """Messages out of bytes as they arrive."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        self._bytes += data
        while (found := self._first()) is not None:
            message, end = found
            del self._bytes[:end]
            yield message

    def _first(self) -> tuple[Message, int] | None:
        """The first complete message and the offset of its end."""
        start = _LENGTH.size
        if len(self._bytes) < start:
            return None
        at = start + _LENGTH.unpack_from(self._bytes)[0]
        if len(self._bytes) < at:
            return None
        header = json.loads(self._bytes[start:at])
        if len(self._bytes) < at + sum(header["lengths"]):
            return None
        bodies = []
        for length in header["lengths"]:
            bodies.append(bytes(self._bytes[at : at + length]))
            at += length
        return Message(header["kind"], header["header"], bodies), at
