"""Signatures of an image by a key, as cosign stores them: in a Sigstore bundle that is attached to it, or under a tag.

https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md (tag, payload, annotation: what cosign 2 writes, and 3
with --new-bundle-format=false). In a bundle it is an in-toto statement about the image with the predicate type `SIGNED`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from promoter.errors import RefusedError
from promoter.image.attestation import BUNDLE, opened, pae
from promoter.image.oci import Descriptor, decode, objects, read_bytes, section
from promoter.image.referrers import EMPTY

if TYPE_CHECKING:
    from promoter.image.keys import PublicKey
    from promoter.image.referrers import Referrer
    from promoter.image.registry import RegistryRepository

SIGNED = "https://sigstore.dev/cosign/sign/v1"
PREDICATE = "dev.sigstore.bundle.predicateType"
"""The annotation of a bundle in a registry that shows whether it is a signature, so that others need not be read."""

PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE = "dev.cosignproject.cosign/signature"
_TYPE = "cosign container image signature"
_STATEMENTS = ("https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1")


@dataclass(frozen=True, slots=True)
class ImageSignature:
    """Who signed that the image with the digest `about` is theirs: signatures of the bytes `signed`."""

    about: str
    signed: bytes
    signatures: tuple[bytes, ...]

    def flaw(self, image: str, key: PublicKey) -> str:
        """Why it does not show that the key's owner signed the image; "" if it does."""
        if not any(key.made(one, self.signed) for one in self.signatures):
            return "another key made it"
        return "" if self.about == image else f"it is about {self.about[:19] or 'no image'}"


def flaws(repository: RegistryRepository, image: str, key: PublicKey) -> Iterator[str]:
    """What is wrong with each signature of the image with this digest, "" for nothing; read one after the other.

    Raises:
        AuthError, UnreachableError: as the registry answers.
    """
    for referrer in filter(_may_sign, repository.referrers.of(image)):
        if (flaw := _flaw_of_bundle(repository, referrer, image, key)) is not None:
            yield flaw
    tag = f"{image.replace(':', '-')}.sig"
    manifest = repository.read_manifest(tag)
    for layer in [] if manifest is None else objects(decode(manifest, tag), "layers", tag):
        yield _flaw_of_layer(repository, layer, image, key)


def _may_sign(referrer: Referrer) -> bool:
    """By the list. Where clients write it, cosign 2 puts its entry there with another type, and without annotations."""
    if referrer.artifact_type == BUNDLE:
        return referrer.annotations.get(PREDICATE, SIGNED) == SIGNED
    return referrer.artifact_type in ("", EMPTY)


def _flaw_of_bundle(repository: RegistryRepository, referrer: Referrer, image: str, key: PublicKey) -> str | None:
    """None: it is about something else than a signature."""
    try:
        media_type, content = repository.referrers.read(referrer)
        if media_type != BUNDLE:
            return None
        found = opened(media_type, content, f"{repository.name}@{referrer.digest}")
        statement = decode(found.statement, referrer.digest)
        if statement.get("_type") not in _STATEMENTS or statement.get("predicateType") != SIGNED:
            return None
        digests = [section(one, "digest").get("sha256") for one in objects(statement, "subject", referrer.digest)]
    except RefusedError as error:
        return error.message
    about = f"sha256:{digests[0]}" if len(digests) == 1 else ""
    return ImageSignature(about, pae(found.statement), found.signatures).flaw(image, key)


def _flaw_of_layer(repository: RegistryRepository, layer: Mapping[str, Any], image: str, key: PublicKey) -> str:
    try:
        payload = Descriptor.parse(layer, "a signature")
        if payload.media_type != PAYLOAD:
            return f"{payload.digest[:19]} is {payload.media_type!r}, no signature"
        made = base64.b64decode(str(section(layer, "annotations").get(SIGNATURE) or ""), validate=True)
        signed = read_bytes(repository, payload)
        critical = section(decode(signed, payload.digest), "critical")
    except binascii.Error:
        return f"the annotation {SIGNATURE} is not base64"
    except RefusedError as error:
        return error.message
    about = section(critical, "image").get("docker-manifest-digest") if critical.get("type") == _TYPE else None
    return ImageSignature(str(about or ""), signed, (made,)).flaw(image, key)
