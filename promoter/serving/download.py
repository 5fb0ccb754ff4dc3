"""Provides the model's files, embedded in the image or downloaded from MODEL_URI, and checks that Git pinned them."""

from __future__ import annotations

import logging
import re
import time
from pathlib import Path

from promoter.serving.content import content_digest
from promoter.serving.errors import StartError
from promoter.serving.settings import Settings

_log = logging.getLogger(__name__)
_DOWNLOADED = "model"
# A URL's query may be a signature, its user information a password.
_SECRET_IN_URL = re.compile(r"(?<=//)[^/\s@]+@|\?[^\s'\"]+")


def prepare(settings: Settings, scratch: Path) -> None:
    """Downloads the model into `scratch` if MODEL_URI is set, and checks the content digest.

    Raises:
        StartError: it can't be downloaded or read, or is not what MODEL_DIGEST pins.
    """
    if settings.model_uri:
        _download(settings.model_uri, scratch / _DOWNLOADED)
    folder = model_folder(settings, scratch)
    if not (folder / "MLmodel").is_file():
        raise StartError(f"no model at {folder}: MLmodel is missing; set MODEL_PATH or MODEL_URI")
    if not settings.model_digest:
        _log.warning("MODEL_DIGEST is not set: the model's content is not checked")
        return
    started = time.monotonic()
    try:
        found = content_digest(folder)
    except OSError as error:
        raise StartError(f"the model at {folder} can't be read: {error}") from error
    if found != settings.model_digest:
        raise StartError(
            f"the model at {settings.model_uri or folder} is not what MODEL_DIGEST pins: its content digest is {found}, "
            f"MODEL_DIGEST is {settings.model_digest}; nothing is served"
        )
    _log.info("content digest checked", extra={"fields": {"digest": found, "seconds": round(time.monotonic() - started, 3)}})


def model_folder(settings: Settings, scratch: Path) -> Path:
    return scratch / _DOWNLOADED if settings.model_uri else Path(settings.model_path)


def _download(uri: str, folder: Path) -> None:
    import mlflow.artifacts

    arriving = folder.with_suffix(".part")
    arriving.mkdir()
    try:
        # The folder below the destination that gets the files depends on the kind of URI.
        Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(arriving))).rename(folder)
    except Exception as error:  # each artifact store has a client, and errors, of its own
        reason = _SECRET_IN_URL.sub("", f"{type(error).__name__}: {error}")
        raise StartError(f"MODEL_URI {_SECRET_IN_URL.sub('', uri)} can't be downloaded: {reason}") from None
