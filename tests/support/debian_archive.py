"""A package archive as Debian's are: packages made here, an index of them, signed by gpg with a key of its own, over HTTP."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

SUITE = "bookworm"
Content = bytes | str | None
"""Of a file, where a link points, or a folder."""


def tar_of(entries: Mapping[str, Content], **changes: Any) -> bytes:
    """A tar as dpkg-deb writes it; `changes` are set on every entry that is not a folder."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in entries.items():
            entry = tarfile.TarInfo(name)
            entry.mode = 0o644
            if content is None:
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            elif isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
            else:
                entry.size = len(content)
            for key, value in changes.items() if content is not None else ():
                setattr(entry, key, value)
            archive.addfile(entry, io.BytesIO(content) if isinstance(content, bytes) else None)
    return packed.getvalue()


def ar_of(members: Mapping[str, bytes]) -> bytes:
    """deb(5): a header of 60 bytes before each member, which is filled up to an even length."""
    packed = b"!<arch>\n"
    for name, content in members.items():
        packed += (
            f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode() + content + b"\n" * (len(content) % 2)
        )
    return packed


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".xz": lzma.compress,
}


def deb_of(
    control: str, files: Mapping[str, Content], kept: Mapping[str, bytes] | None = None, packer: str = ".xz", **changes: Any
) -> bytes:
    """A package; `kept` are the files next to its control file."""
    about = tar_of({"./": None, "./control": f"{control.strip()}\n".encode(), **{f"./{n}": c for n, c in (kept or {}).items()}})
    data = tar_of({"./": None, **{f"./{name}": content for name, content in files.items()}}, **changes)
    pack = PACKERS[packer]
    return ar_of({"debian-binary": b"2.0\n", f"control.tar{packer}": pack(about), f"data.tar{packer}": pack(data)})


def control_of(name: str, version: str = "1.0", **fields: str) -> str:
    given = {"Architecture": "amd64", "Maintainer": "Somebody <a@example.com>", "Description": "a package\n Of a test."}
    named = {"Package": name, "Version": version, **given, **{key.replace("_", "-"): value for key, value in fields.items()}}
    return "".join(f"{key}: {value}\n" for key, value in named.items())


@dataclass(frozen=True)
class Signer:
    """A key of gpg in a folder of its own."""

    home: Path

    @property
    def keyring(self) -> bytes:
        return self._gpg("--export")

    @property
    def armored(self) -> bytes:
        return self._gpg("--armor", "--export")

    @property
    def fingerprint(self) -> str:
        listed = self._gpg("--with-colons", "--fingerprint").decode()
        return next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))

    def sign(self, text: str, *options: str) -> bytes:
        return self._gpg(*options, "--clearsign", stdin=text.encode())

    def _gpg(self, *arguments: str, stdin: bytes = b"") -> bytes:
        command = ["gpg", "--homedir", str(self.home), "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]
        return subprocess.run([*command, *arguments], input=stdin, capture_output=True, check=True).stdout


@contextmanager
def signing(home: Path) -> Iterator[Signer]:
    """A new key."""
    missing = [program for program in ("gpg", "gpgv") if not shutil.which(program)]
    if missing:
        pytest.skip(f"{', '.join(missing)} (package gnupg, gpgv) missing")
    home.mkdir(mode=0o700)
    signer = Signer(home)
    signer._gpg("--quick-generate-key", "archive@example.com", "ed25519", "sign", "never")
    try:
        yield signer
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "gpg-agent"], capture_output=True, check=False)


@dataclass
class DebianArchive:
    """What is served from `root`; `asked` are the paths that were asked for."""

    root: Path
    signer: Signer
    url: str = ""
    asked: list[str] = field(default_factory=list)
    listed: dict[str, str] = field(default_factory=dict)

    def add(self, control: str, files: Mapping[str, Content] | None = None, **made: Any) -> Path:
        """A package in the pool, listed from the next `publish` on."""
        fields = dict(line.partition(": ")[::2] for line in control.splitlines() if not line.startswith(" "))
        path = self.root / f"pool/{fields['Package']}_{fields['Version'].replace(':', '%3a')}_{fields['Architecture']}.deb"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = deb_of(control, files if files is not None else {f"usr/share/{fields['Package']}": b"x"}, **made)
        path.write_bytes(content)
        name = path.relative_to(self.root).as_posix()
        digest = hashlib.sha256(content).hexdigest()
        self.listed[f"{fields['Package']} {fields['Version']}"] = (
            f"{control.strip()}\nFilename: {name}\nSize: {len(content)}\nSHA256: {digest}\n"
        )
        return path

    def publish(
        self, *, suite: str = SUITE, packers: tuple[str, ...] = (".xz", ".gz"), signer: Signer | None = None, **fields: str
    ) -> Path:
        """The index of everything that was added, and its InRelease; returns the suite's folder."""
        folder = self.root / "dists" / SUITE
        plain = "\n".join(self.listed.values()).encode()
        index = folder / "main/binary-amd64"
        index.mkdir(parents=True, exist_ok=True)
        lines = [f" {hashlib.sha256(plain).hexdigest()} {len(plain)} main/binary-amd64/Packages"]
        for packer in packers:
            packed = PACKERS[packer](plain)
            digest = hashlib.sha256(packed).hexdigest()
            lines.append(f" {digest} {len(packed)} main/binary-amd64/Packages{packer}")
            (index / f"Packages{packer}").write_bytes(packed)
            (index / "by-hash/SHA256").mkdir(parents=True, exist_ok=True)
            (index / "by-hash/SHA256" / digest).write_bytes(packed)
        now = datetime.now(UTC)
        about = {"Suite": "stable", "Codename": suite, "Date": stamp(now), "Acquire-By-Hash": "yes"}
        about |= {key.replace("_", "-"): value for key, value in fields.items()}
        text = "".join(f"{key}: {value}\n" for key, value in about.items()) + "SHA256:\n" + "\n".join(lines) + "\n"
        (folder / "InRelease").write_bytes((signer or self.signer).sign(text))
        return folder

    def sources(self, signed_by: str = "/usr/share/keyrings/test.gpg") -> bytes:
        return f"Types: deb\nURIs: {self.url}\nSuites: {SUITE}\nComponents: main\nSigned-By: {signed_by}\n".encode()


def stamp(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True).replace("GMT", "UTC")


def in_days(days: float) -> str:
    return stamp(datetime.now(UTC) + timedelta(days=days))


@contextmanager
def serving_packages(root: Path, signer: Signer) -> Iterator[DebianArchive]:
    """An empty archive on a loopback port."""
    root.mkdir()
    archive = DebianArchive(root, signer)

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(root))

        def do_GET(self) -> None:
            archive.asked.append(self.path)
            super().do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    archive.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield archive
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
