"""Draws docs/demo.svg: what a terminal shows when `promoter demo` restores Git. Usage: picture.py"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import sys
import tempfile
import termios
from collections.abc import Iterator
from io import StringIO
from itertools import groupby
from pathlib import Path

import pyte
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.style import Style
from rich.text import Text

COLUMNS, LINES = 100, 30
UNTIL = b"(exit code 10)"
# The fonts are those of whoever looks: a picture asks nobody for anything.
FORMAT = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


def shown(command: list[str]) -> Iterator[bytes]:
    """What the command writes to a terminal of that size, up to the end of the line with UNTIL."""
    process, terminal = pty.fork()
    if process == 0:
        os.environ["TERM"] = "xterm-256color"
        os.execv(command[0], command)  # noqa: S606
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    seen = b""
    while UNTIL not in seen:
        read = os.read(terminal, 4096)
        seen = (seen + read)[-8192:]
        yield read.partition(b"\n\r\nWhat the promotion of")[0]
    while True:  # the demo ends by itself
        try:
            os.read(terminal, 65536)
        except OSError:
            break
    os.waitpid(process, 0)


def drawn(screen: pyte.Screen) -> Iterator[Text]:
    """The lines of the screen, with their colours."""
    for number in range(screen.lines):
        line = Text()
        row = [screen.buffer[number][column] for column in range(screen.columns)]
        for (colour, bold), chars in groupby(row, lambda char: (char.fg, char.bold)):
            known = None if colour == "default" else {"brown": "yellow"}.get(colour, colour)
            line.append("".join(char.data for char in chars), Style(color=known, bold=bold))
        line.rstrip()
        yield line


def main() -> None:
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    with tempfile.TemporaryDirectory() as folder:
        for part in shown([sys.executable, "-m", "promoter", "demo", "--folder", f"{folder}/demo"]):
            stream.feed(part)
    console = Console(record=True, width=COLUMNS, file=StringIO())
    for line in drawn(screen):
        console.print(line, no_wrap=True, overflow="crop")
    picture = console.export_svg(title="promoter demo", code_format=FORMAT)
    (Path(__file__).parent / "demo.svg").write_text(picture)


if __name__ == "__main__":
    main()
