"""The keys that sign what is attached to images, and that check it: PEM files, ECDSA on P-256 or Ed25519, by `cryptography`."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promoter.errors import UsageError
from promoter.machine.extras import install

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

KEY, PASSWORD = "PROMOTER_SIGNING_KEY", "PROMOTER_SIGNING_KEY_PASSWORD"
_NEW = "openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out record.key"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """`hint` is what cosign calls it: the SHA-256 of its DER form, in base64."""

    hint: str
    _key: Any = field(repr=False, compare=False)

    @classmethod
    def read(cls, file: Path, where: str) -> PublicKey:
        """From a PEM file; `where` is the key of promoter.yaml that names it.

        Raises:
            UsageError: it can't be read, or is not such a key.
        """
        try:
            text = file.read_bytes()
        except OSError as error:
            raise UsageError(f"{file}: {error.strerror}", hint=f"name a PEM file under {where}") from None
        _require_library()
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        try:
            return cls.of(load_pem_public_key(text))
        except (ValueError, UnsupportedAlgorithm):
            raise UsageError(
                f"{file} is not a public key in PEM", hint=f"{where} names one: openssl pkey -in KEY -pubout writes it"
            ) from None

    @classmethod
    def of(cls, key: PublicKeyTypes) -> PublicKey:
        """Raises: UsageError, if it is of another kind."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        _require_kind(key)
        der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return cls(base64.b64encode(hashlib.sha256(der).digest()).decode(), key)

    def made(self, signature: bytes, data: bytes) -> bool:
        """Whether its private key made this signature of the data."""
        from cryptography.exceptions import InvalidSignature

        try:
            self._key.verify(signature, data, *_algorithm(self._key))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class SigningKey:
    public: PublicKey
    _key: Any = field(repr=False, compare=False)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> SigningKey | None:
        """That of PROMOTER_SIGNING_KEY, which is PEM text or a file; None if it is not set.

        Raises:
            UsageError: it can't be used.
        """
        if not (given := environ.get(KEY)):
            return None
        _require_library()
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        password = environ.get(PASSWORD, "").encode() or None
        try:
            return cls.of(load_pem_private_key(_text(given), password))
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise UsageError(f"{KEY} is not a private key in PEM that {PASSWORD} opens", hint=f"{_NEW} makes one") from None

    @classmethod
    def of(cls, key: PrivateKeyTypes) -> SigningKey:
        """Raises: UsageError, if it is of another kind."""
        _require_kind(key)
        return cls(PublicKey.of(key.public_key()), key)

    def sign(self, data: bytes) -> bytes:
        """The same signature of the same data each time (RFC 6979, RFC 8032)."""
        signature: bytes = self._key.sign(data, *_algorithm(self._key))
        return signature


def _text(given: str) -> bytes:
    """The key itself, also with its line breaks written as `\\n`, or the file that has it."""
    if "-----BEGIN" in given:
        return given.replace("\\n", "\n").encode()
    try:
        return Path(given).read_bytes()
    except OSError as error:
        raise UsageError(
            f"{KEY} is neither PEM text nor a file: {error.strerror}", hint="set it to the text or a path"
        ) from None


def _require_library() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError:
        raise UsageError("signatures are made and checked by the package cryptography", hint=install("sign")) from None


def _require_kind(key: object) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    elliptic = isinstance(key, (ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey)) and key.curve.name == "secp256r1"
    if not elliptic and not isinstance(key, (ed25519.Ed25519PrivateKey, ed25519.Ed25519PublicKey)):
        raise UsageError(f"{type(key).__name__} signs nothing here", hint=f"use P-256 or Ed25519: {_NEW}")


def _algorithm(key: object) -> tuple[Any, ...]:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    if isinstance(key, ec.EllipticCurvePrivateKey):
        return (ec.ECDSA(hashes.SHA256(), deterministic_signing=True),)
    return (ec.ECDSA(hashes.SHA256()),) if isinstance(key, ec.EllipticCurvePublicKey) else ()
