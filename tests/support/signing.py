"""Signs images with a key as cosign does, in the forms that its specification has, without promoter's own code for it."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import requests
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from promoter.image.oci import MANIFEST, Descriptor
from promoter.image.registry import RegistryRepository

Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

_BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"


def private_pem(key: Key) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_pem(key: Key) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def signature(key: Key, data: bytes) -> str:
    """In base64."""
    made = key.sign(data, ec.ECDSA(hashes.SHA256())) if isinstance(key, ec.EllipticCurvePrivateKey) else key.sign(data)
    return base64.b64encode(made).decode()


def sign_under_tag(repository: RegistryRepository, image: str, *keys: Key, about: str = "", kind: str = "") -> None:
    """As `cosign sign --key` of cosign 2: a manifest sha256-….sig with a layer for each signature."""
    layers = []
    for key in keys:
        critical = {
            "identity": {"docker-reference": repository.name},
            "image": {"docker-manifest-digest": about or image},
            "type": kind or "cosign container image signature",
        }
        payload = json.dumps({"critical": critical, "optional": None}).encode()
        layers.append(signature_layer(repository, payload, signature(key, payload)))
    put_signatures(repository, image, layers)


def signature_layer(repository: RegistryRepository, payload: bytes, made: str) -> dict[str, Any]:
    annotations = {"dev.cosignproject.cosign/signature": made}
    return {**_blob(repository, payload, _PAYLOAD), "annotations": annotations}


def put_signatures(repository: RegistryRepository, image: str, layers: list[dict[str, Any]]) -> None:
    """The manifest under the image's tag of signatures."""
    config = _blob(repository, b"{}", _CONFIG)
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}
    _put(repository, f"{image.replace(':', '-')}.sig", manifest)


def _put(repository: RegistryRepository, tag: str, manifest: dict[str, Any]) -> None:
    """Also in the place of what is there."""
    host, _, name = repository.name.partition("/")
    headers = {"Content-Type": manifest["mediaType"]}
    answer = requests.put(f"http://{host}/v2/{name}/manifests/{tag}", json.dumps(manifest), headers=headers, timeout=30)
    assert answer.status_code == 201, answer.text


def sign_as_bundle(
    repository: RegistryRepository,
    image: str,
    key: Key,
    *,
    about: str = "",
    predicate: str = "https://sigstore.dev/cosign/sign/v1",
    annotated: str = "",
) -> None:
    """As `cosign sign --key` of cosign 3: a bundle that is attached to the image; `annotated` as another predicate than it is of."""
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": (about or image).removeprefix("sha256:")}}],
        "predicateType": predicate,
        "predicate": {},
    }
    text, kind = json.dumps(statement).encode(), b"application/vnd.in-toto+json"
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(text), text)
    envelope = {
        "payload": base64.b64encode(text).decode(),
        "payloadType": kind.decode(),
        "signatures": [{"sig": signature(key, signed)}],
    }
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    hint = base64.b64encode(hashlib.sha256(der).digest()).decode()
    bundle = {"mediaType": _BUNDLE, "verificationMaterial": {"publicKey": {"hint": hint}}, "dsseEnvelope": envelope}
    attach_bundle(repository, image, json.dumps(bundle).encode(), annotated or predicate)


def attach_bundle(repository: RegistryRepository, image: str, bundle: bytes, predicate: str) -> None:
    manifest = repository.read_manifest(image)
    assert manifest
    annotations = {"dev.sigstore.bundle.content": "dsse-envelope", "dev.sigstore.bundle.predicateType": predicate}
    repository.referrers.attach(Descriptor(MANIFEST, image, len(manifest)), _BUNDLE, bundle, annotations, {})


def list_as_cosign_2_does(repository: RegistryRepository, image: str) -> None:
    """In the list that clients write: with the type of an empty configuration, and without annotations (seen with cosign 2.6.1)."""
    tag = image.replace(":", "-")
    index = json.loads(repository.read_manifest(tag) or b"")
    for entry in index["manifests"]:
        entry["artifactType"] = "application/vnd.oci.empty.v1+json"
        del entry["annotations"]
    _put(repository, tag, index)


def _blob(repository: RegistryRepository, content: bytes, media_type: str) -> dict[str, Any]:
    return Descriptor(media_type, repository.write_blob([content], len(content)), len(content)).as_json()
