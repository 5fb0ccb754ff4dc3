"""verify: whether the records of promotions next to an image are true: by their signatures, by Git, and by Argo CD."""

from __future__ import annotations

from typing import TYPE_CHECKING

from promoter.errors import ExitCode, RefusedError, UsageError
from promoter.image.reference import ImageReference
from promoter.models import Environment
from promoter.promotion import recorder, releases
from promoter.promotion.recorder import Records
from promoter.promotion.verification import Verified, verified

if TYPE_CHECKING:
    from promoter.promotion.clients import Clients


def exit_code(found: tuple[Verified, ...]) -> ExitCode:
    """20 if one is refused, else the code of what kept one from being checked."""
    if any(one.refused for one in found):
        return ExitCode.REFUSED
    return next((check.exit_code for one in found for check in one.checks if check.exit_code), ExitCode.DONE)


def verify_environment(clients: Clients, environment: Environment) -> tuple[Verified, ...]:
    """The records of the release that the environment deploys.

    Raises:
        RefusedError: it deploys no release, or its image has no record of that.
        PromoterError: as Git and the container registry answer.
    """
    repository = clients.repository(environment.application)
    committed = releases.current(repository, environment)
    release, commit = committed.release, committed.commit.sha
    records = Records(clients, release.repository)
    listed = recorder.of(records.listed(release.digest), environment, commit)
    if not listed:
        raise RefusedError(
            f"{release.image} has no record of {commit[:10]} in {environment.name!r}",
            hint=f"promoter reconcile {environment.name} adds it, from what Git and Argo CD have",
        )
    return tuple(verified(clients, records, release.digest, listed))


def verify_image(clients: Clients, reference: str) -> tuple[Verified, ...]:
    """Every record next to an image, REPOSITORY:TAG or REPOSITORY@DIGEST.

    Raises:
        UsageError: that is no image.
        RefusedError: it does not exist, or has no record.
        PromoterError: as the container registry answers.
    """
    name, _, digest = reference.partition("@")
    head, colon, tag = name.rpartition(":")
    tagged = bool(colon) and "/" not in tag
    repository = head if tagged else name
    ImageReference.parse(repository)
    if not digest and not tagged:
        raise UsageError(
            f"{reference!r} is neither an environment nor an image", hint="write REPOSITORY:TAG or REPOSITORY@DIGEST"
        )
    records = Records(clients, repository)
    image = digest or records.digest(tag)
    listed = records.listed(image)
    if not listed:
        raise RefusedError(f"{reference} has no record", hint="it was never promoted, or records are not attached here")
    return tuple(verified(clients, records, image, listed))
