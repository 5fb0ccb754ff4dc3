"""Where a model version's files may be, apart from the tracking server: whoever may register a version can name any place.

A place is named in `image.sources`: a folder, or the beginning of a URI up to a whole part of its path.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from promoter.errors import RefusedError


@dataclass(frozen=True, slots=True)
class Sources:
    """`everywhere`: the operator named an MLflow store of this machine, which only this machine's users write to."""

    prefixes: Sequence[str] = ()
    everywhere: bool = False

    def require(self, uri: str) -> None:
        """Passes a URI that may be read.

        Raises:
            RefusedError: it is not below one of the prefixes.
        """
        if self.everywhere or any(_below(uri, prefix) for prefix in self.prefixes):
            return
        raise RefusedError(
            f"the files of the model version are in {uri}, which is neither on the tracking server nor in image.sources",
            hint=f"if models belong there, add the place to promoter.yaml: image: {{sources: ['{_place(uri)}']}}",
        )


def folder_of(uri: str) -> Path | None:
    """The folder of this machine that a URI or a plain path means, None for any other place."""
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path)) if parts.netloc in ("", "localhost") else None
    return Path(uri) if not parts.scheme else None


def _below(uri: str, prefix: str) -> bool:
    folder, root = folder_of(uri), folder_of(prefix)
    if folder is not None and root is not None:
        return folder.resolve().is_relative_to(root.resolve())
    if folder is not None or root is not None:
        return False
    here, there = urlsplit(uri), urlsplit(prefix)
    if (here.scheme, here.netloc) != (there.scheme, there.netloc) or here.query or here.fragment:
        return False
    parts, wanted = (one.path.strip("/").split("/") for one in (here, there))
    climbs = {".", ".."} & {unquote(part) for part in parts}
    return not climbs and (wanted == [""] or parts[: len(wanted)] == wanted)


def _place(uri: str) -> str:
    """What a person would probably name: the bucket or server, or the folder above."""
    parts = urlsplit(uri)
    return (
        f"{parts.scheme}://{parts.netloc}/" if parts.netloc and parts.scheme != "file" else uri.rstrip("/").rpartition("/")[0]
    )
