"""What an image is called: registry, repository, tag and digest, and the tag that a model version always has."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING

from promoter.errors import UsageError
from promoter.image.oci import is_digest

if TYPE_CHECKING:
    from promoter.models import ModelVersion

DOCKER_HUB = "docker.io"

# The grammar of https://github.com/distribution/reference (reference.go); digests are sha256, the one that every registry has.
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_REGISTRY = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]{{1,5}})?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_LONGEST_NAME = 255


@dataclass(frozen=True, slots=True)
class ImageReference:
    """An image, or with neither tag nor digest an image repository: `registry` is `host[:port]`."""

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> ImageReference:
        """`[host[:port]/]path[:tag][@digest]`, with Docker's defaults: no host is Docker Hub, one word there is `library/word`.

        Raises:
            UsageError: it is not a reference.
        """
        # The digest is looked at first, and alone: what stands before an @ may be somebody's password.
        rest, at, digest = text.partition("@")
        if at and not is_digest(digest):
            raise _bad(f"'{digest}' is not a sha256 digest")
        registry, path = _split_registry(rest)
        repository, colon, tag = path.partition(":")
        if registry == DOCKER_HUB and "/" not in repository:
            repository = f"library/{repository}"
        if not _REGISTRY.fullmatch(registry):
            raise _bad(f"'{registry}' is not a host or host:port")
        if not _REPOSITORY.fullmatch(repository) or len(registry) + 1 + len(repository) > _LONGEST_NAME:
            raise _bad(f"'{repository}' is not a repository: lower-case words, separated by one of . _ - or /")
        if colon:
            checked_tag(tag)
        return cls(registry, repository, tag or None, digest or None)

    @property
    def name(self) -> str:
        """Registry and repository, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def _split_registry(name: str) -> tuple[str, str]:
    """Docker's rule: the first word is a host if it looks like no repository could: a dot, a port, upper case, `localhost`."""
    head, slash, rest = name.partition("/")
    if not slash or not ("." in head or ":" in head or head == "localhost" or head != head.lower()):
        return DOCKER_HUB, name
    return (DOCKER_HUB if head == "index.docker.io" else head), rest


def _bad(why: str) -> UsageError:
    return UsageError(
        f"not an image reference: {why}", hint="write it as registry.example.com/team/image:tag, without https://"
    )


def checked_tag(tag: str) -> str:
    """The tag. Raises: UsageError, if it is not valid."""
    if not _TAG.fullmatch(tag):
        raise _bad(f"'{tag}' is not a tag: letters, digits, _ . - and at most 128 of them")
    return tag


def image_tag(version: ModelVersion) -> str:
    """`v<version>-<UTC time the version was created>`: the same for this version on every machine, for ever.

    Raises:
        UsageError: the version holds characters that no tag can.
    """
    tag = f"v{version.version}-{version.created.astimezone(UTC):%Y%m%d%H%M%S}"
    if not _TAG.fullmatch(tag):
        raise UsageError(
            f"model version {version.reference} can't be an image tag: '{tag}'",
            hint="a tag is made of letters, digits, _ . - and at most 128 of them",
        )
    return tag
