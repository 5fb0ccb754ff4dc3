"""The content digest of a model folder: what Git pins, computed from the files that are about to be served."""

from __future__ import annotations

import hashlib
from pathlib import Path

# MLflow adds it to a registered model that it downloads; it was not logged with the model.
_ADDED_BY_DOWNLOAD = "registered_model_meta"
_CHUNK = 1 << 20


def content_digest(folder: Path) -> str:
    """`sha256:` and the sha256 of the sorted list of files, one line `<sha256 in hexadecimal>  <path>\\n` each.

    The same definition as promoter's when it packs the image: paths are relative, with slashes, sorted by their UTF-8 bytes.

    Raises:
        OSError: a file can't be read.
    """
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    paths.pop(_ADDED_BY_DOWNLOAD, None)
    lines = [f"{_file_digest(paths[name])}  {name}\n" for name in sorted(paths, key=str.encode)]
    return "sha256:" + hashlib.sha256("".join(lines).encode()).hexdigest()


def _file_digest(path: Path) -> str:
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            sha256.update(chunk)
    return sha256.hexdigest()
