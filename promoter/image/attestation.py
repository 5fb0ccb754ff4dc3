"""A statement as it is stored next to an image: by itself, or signed in the DSSE envelope of a Sigstore bundle, as by cosign.

https://github.com/secure-systems-lab/dsse/blob/master/protocol.md (what is signed) and envelope.md;
https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_bundle.proto (0.3: a public key by its hint).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from promoter.errors import RefusedError
from promoter.image.oci import canonical, decode, objects, section

if TYPE_CHECKING:
    from promoter.image.keys import PublicKey, SigningKey

IN_TOTO = "application/vnd.in-toto+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_HINT = "made by another program, or changed: delete it, and promoter reconcile attaches the record again"


@dataclass(frozen=True, slots=True)
class Attested:
    """A statement, and the signatures of its envelope; none if it is stored by itself. `hint` names the key."""

    statement: bytes
    signatures: tuple[bytes, ...] = ()
    hint: str = ""

    def signed_by(self, key: PublicKey) -> bool:
        signed = pae(self.statement)
        return any(key.made(signature, signed) for signature in self.signatures)


def stored(statement: bytes, key: SigningKey | None) -> tuple[str, bytes]:
    """Media type and content: a bundle, or without a key the statement itself. The same two give the same bytes."""
    if key is None:
        return IN_TOTO, statement
    envelope = {
        "payload": _base64(statement),
        "payloadType": IN_TOTO,
        "signatures": [{"sig": _base64(key.sign(pae(statement)))}],
    }
    material = {"publicKey": {"hint": key.public.hint}}
    return BUNDLE, canonical({"mediaType": BUNDLE, "verificationMaterial": material, "dsseEnvelope": envelope})


def opened(media_type: str, content: bytes, where: str) -> Attested:
    """What is stored.

    Raises:
        RefusedError: it is neither of the two; `where` names it.
    """
    if media_type == IN_TOTO:
        return Attested(content)
    if media_type != BUNDLE:
        raise RefusedError(f"{where} is {media_type!r}, neither a statement nor a bundle", hint=_HINT)
    bundle = decode(content, where)
    envelope = section(bundle, "dsseEnvelope")
    if envelope.get("payloadType") != IN_TOTO:
        raise RefusedError(f"{where} has no envelope of an in-toto statement", hint=_HINT)
    signatures = tuple(_bytes(one, "sig", where) for one in objects(envelope, "signatures", where))
    hint = section(section(bundle, "verificationMaterial"), "publicKey").get("hint")
    return Attested(_bytes(envelope, "payload", where), signatures, str(hint or ""))


def pae(statement: bytes) -> bytes:
    """The bytes that are signed: DSSE's pre-authentication encoding."""
    kind = IN_TOTO.encode()
    return b" ".join((b"DSSEv1", str(len(kind)).encode(), kind, str(len(statement)).encode(), statement))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(value: Mapping[str, Any], key: str, where: str) -> bytes:
    try:
        return base64.b64decode(str(value.get(key) or ""), validate=True)
    except (binascii.Error, ValueError):
        raise RefusedError(f"{where}: {key!r} is not base64", hint=_HINT) from None
