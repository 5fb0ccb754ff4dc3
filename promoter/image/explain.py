"""Why a version's image is reused, copied or built again."""

from __future__ import annotations

from dataclasses import dataclass

from promoter.models import Image


@dataclass(frozen=True, slots=True)
class Explanation:
    """The explanation before anything is made: `image` is reused or copied, or None if one has to be made.

    `listing` is whether the listing of the files proved them unchanged, so that they were not read. `runtime_then`
    and `runtime_now` are digests of the runtime under the image, and of the one that a new image would get; "" if
    unknown. `rebuilt` is the version's image on the runtime of now, if there is one of its own.
    """

    tag: str
    image: Image | None
    listing: bool
    runtime_then: str
    runtime_now: str
    rebuilt: Image | None

    @property
    def elsewhere(self) -> str:
        """The repository that the image would be copied from, "" for none."""
        return self.image.copied_from if self.image else ""

    @property
    def content(self) -> str | None:
        """The content digest of the version's files, if there was an image to compare them with."""
        return self.image.content_digest if self.image else None

    @property
    def reused(self) -> bool:
        """Whether no image has to be made."""
        return self.image is not None

    @property
    def lines(self) -> tuple[str, ...]:
        """The reasons, one a line."""
        if self.image is None:
            return (f"no image is published as {self.tag}: one is made", self._runtime())
        where = f"{self.elsewhere}: it is copied, its digest unchanged" if self.elsewhere else "this repository: it is reused"
        how = "their listing is the one it was made from" if self.listing else "they were read to compare"
        return (f"{self.tag} is published in {where}", f"its files are those of the version: {how}", self._runtime())

    def _runtime(self) -> str:
        if not self.image:
            return f"runtime: {self.runtime_now or 'found or built when the image is made'}"
        then = self.runtime_then or "none (scratch)"
        if not self.runtime_now or self.runtime_now == self.runtime_then:
            return f"runtime: {then}"
        other = f"{self.rebuilt.tag} is on that one" if self.rebuilt else "--rebuild publishes an image on that one"
        return f"runtime: {then}; today's is {self.runtime_now}: the published image stays; {other}"
