"""The folder that a Dockerfile is built in: what is next to it, and what promoter offers in `.promoter/`.

    .promoter/requirements.in    what the model and the server ask for, a line each
    .promoter/requirements.lock  the same resolved, with hashes
    .promoter/wheels/            the locked wheels, pip's own among them
    .promoter/install.py         installs them in /opt/runtime, from no index
    .promoter/server/            promoter.serving, for PYTHONPATH
    .promoter/model/             the model's files; with image.strategy: build only

Only what the Dockerfile names is made, and only that has a say in the runtime's key.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from promoter.errors import UsageError
from promoter.image.oci import canonical, sha256
from promoter.image.runtime.requirements import SERVING

OFFERED = ".promoter"
INSTALL = Path(__file__).with_name("install.py")
_SHIPPED = Path(__file__).with_name("Dockerfile")
PACKAGE = '"""Only promoter.serving is here."""\n'
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class BuildContext:
    """A Dockerfile, and the folder around it; None if promoter ships the Dockerfile."""

    text: str
    folder: Path | None = None

    @classmethod
    def load(cls, dockerfile: Path | None) -> BuildContext:
        """The user's Dockerfile, or the shipped one.

        Raises:
            UsageError: it can't be read.
        """
        try:
            return cls((dockerfile or _SHIPPED).read_text(), dockerfile and dockerfile.parent)
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8"
            raise UsageError(
                f"image.dockerfile {dockerfile} can't be read: {reason}", hint="correct the path in promoter.yaml"
            ) from None

    def names(self, offered: str) -> bool:
        """Whether it takes this from `.promoter/`."""
        return f"{OFFERED}/{offered}" in re.sub(r"(?m)^\s*#.*", "", self.text)

    def takes(self, argument: str) -> bool:
        """Whether it declares this build argument."""
        return re.search(rf"^\s*ARG\s+{argument}\b", self.text, re.MULTILINE | re.IGNORECASE) is not None

    @property
    def runtime_stage(self) -> str | None:
        """The stage that gets the model's layer; None if it is the last one."""
        found = re.search(r"^\s*FROM\s.*\sAS\s+(runtime)\s*$", self.text, re.MULTILINE | re.IGNORECASE)
        return found[1] if found else None

    def digest(self) -> str:
        """The digest of everything in the context that does not come from a model.

        Raises:
            UsageError: a file can't be read.
        """
        try:
            content = {name: file_digest(path) for name, path in _files(self.folder)} if self.folder else {}
        except OSError as error:
            raise UsageError(
                f"{error.filename}, in the folder of image.dockerfile, can't be read: {error.strerror}",
                hint="name it in .dockerignore",
            ) from None
        if self.names("install.py"):
            content[f"{OFFERED}/install.py"] = file_digest(INSTALL)
        if self.names("server"):
            content |= {f"{OFFERED}/{name}": file_digest(path) for name, path in serving()}
        return sha256(canonical({"dockerfile": self.text, "files": content}))

    def write(self, folder: Path) -> Path:
        """Writes everything that does not come from a model into the folder; returns the Dockerfile's path there."""
        for name, path in _files(self.folder) if self.folder else ():
            _copy(path, folder / name)
        offered = folder / OFFERED
        offered.mkdir()
        _copy(INSTALL, offered / INSTALL.name)
        for name, path in serving():
            _copy(path, offered / name)
        (offered / "server/promoter/__init__.py").write_text(PACKAGE)
        dockerfile = offered / "Dockerfile"
        dockerfile.write_text(self.text)
        return dockerfile


def file_digest(path: Path) -> str:
    """The digest of a file's content and its executable bit, or a link's target."""
    if path.is_symlink():
        return f"link to {path.readlink()}"
    digest = hashlib.sha256(b"x" if path.stat().st_mode & stat.S_IXUSR else b"-")
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def serving() -> Iterator[tuple[str, Path]]:
    for path in sorted(SERVING.rglob("*.py")):
        yield f"server/promoter/serving/{path.relative_to(SERVING).as_posix()}", path


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    """The user's files as `docker build` would send them, without what .dockerignore names.

    Raises:
        UsageError: the place that promoter offers its own files in is taken.
    """
    from docker.utils.build import exclude_paths

    if (root / OFFERED).exists():
        raise UsageError(f"{root / OFFERED} is reserved for promoter's own files", hint="rename that folder")
    ignore = root / ".dockerignore"
    lines = ignore.read_text().splitlines() if ignore.is_file() else []
    patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    for name in sorted(exclude_paths(str(root), patterns)):
        path = root / name
        if name != ignore.name and (path.is_symlink() or path.is_file()):
            yield name, path


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target, follow_symlinks=False)
