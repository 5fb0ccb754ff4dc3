"""Names of registered models as the names of images: MLflow allows nearly everything, OCI and DNS-1123 do not."""

from __future__ import annotations

import hashlib
import re
import unicodedata

_UNSAFE = re.compile(r"[^a-z0-9]+")
_LONGEST = 50


def image_name(model: str) -> str:
    """A path component of an image repository for this model: DNS-1123, which OCI's grammar contains.

    A name that fits already stays as it is. Any other is mapped and gets 8 hex digits of its sha256, so that no two models
    ever share an image.
    """
    ascii_name = unicodedata.normalize("NFKD", model).encode("ascii", "ignore").decode().lower()
    mapped = _UNSAFE.sub("-", ascii_name).strip("-")[:_LONGEST].strip("-")
    if mapped == model:
        return mapped
    fingerprint = hashlib.sha256(model.encode()).hexdigest()[:8]
    return f"{mapped}-{fingerprint}" if mapped else f"model-{fingerprint}"
