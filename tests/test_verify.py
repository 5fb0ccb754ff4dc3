"""`promoter verify` against a real registry, Git and Argo CD: what it takes, and everything that it refuses."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from promoter.commands.verify import exit_code, verify_environment, verify_image
from promoter.errors import ExitCode, RefusedError, UsageError
from promoter.image.attestation import BUNDLE, IN_TOTO, opened, stored
from promoter.image.keys import SigningKey
from promoter.image.oci import MANIFEST, Descriptor, canonical
from promoter.promotion import record
from promoter.promotion.record import Record
from promoter.promotion.verification import Result, Verified
from tests.support.argo_world import FAILS
from tests.support.faults import Answer, always, changed
from tests.support.recorded import Recorded, recorded
from tests.support.registry_server import RegistryServer, registry_server

__all__ = ["registry_server"]

Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def pem(key: Key) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.fixture
def it(tmp_path: Path, registry_server: RegistryServer) -> Iterator[Recorded]:
    with recorded(tmp_path, registry_server.host, os.environ) as made:
        yield made


def sign(it: Recorded, key: Key) -> None:
    """Records are signed from now on, and checked by the key."""
    (it.it.folder / "record.pub").write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    it.configure("record: {key: record.pub}\n", PROMOTER_SIGNING_KEY=pem(key))


def results(one: Verified) -> dict[str, Result]:
    return {check.of: check.result for check in one.checks}


def verified(it: Recorded) -> Verified:
    (one,) = verify_environment(it.it.clients, it.it.environment)
    return one


def attach(it: Recorded, version: int, statement: bytes, key: SigningKey | None, annotations: dict[str, str]) -> None:
    """What somebody who may push puts next to the image."""
    manifest = it.repository.read_manifest(it.images[version])
    assert manifest
    image = Descriptor(MANIFEST, it.images[version], len(manifest))
    it.repository.referrers.attach(image, *stored(statement, key), annotations, {})


def replaced(it: Recorded, version: int, change: Callable[[dict[str, Any]], None], key: Key | None) -> Verified:
    """The answer about a copy of the version's record in which something was changed, in place of the record itself."""
    found = it.repository.referrers.of(it.images[version])[0]
    statement = json.loads(opened(*it.repository.referrers.read(found), "it").statement)
    change(statement)
    predicate = statement["predicate"]
    annotations = {
        **found.annotations,
        record.COMMIT: predicate["git"]["commit"],
        record.ENVIRONMENT: predicate["environment"],
        "changed": "yes",
    }
    attach(it, version, canonical(statement), SigningKey.of(key) if key else None, annotations)
    (one,) = (one for one in it.repository.referrers.of(it.images[version]) if "changed" in one.annotations)
    every = verify_image(it.it.clients, f"{it.name}@{it.images[version]}")
    assert exit_code(tuple(one for one in every if one.digest == found.digest)) is ExitCode.DONE
    return next(verified for verified in every if verified.digest == one.digest)


@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()])
def test_a_signed_record_is_true(it: Recorded, key: Key) -> None:
    sign(it, key)
    it.it.follow(it.promote(2))
    one = verified(it)
    assert set(results(one).values()) == {Result.PASSED}
    assert set(results(one)) == {"signature", "image", "commit", "Git", "outcome", "cluster"}
    assert (exit_code((one,)), one.environment, one.verdict) == (ExitCode.DONE, "staging", "live")
    ((media_type, content),) = it.stored(2)
    assert media_type == BUNDLE
    assert stored(opened(media_type, content, "it").statement, SigningKey.of(key)) == (media_type, content), "no chance in it"


@pytest.mark.full
@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()])
def test_cosign_accepts_the_same_and_nothing_else(it: Recorded, key: Key) -> None:
    """By the command of docs/records.md."""
    if not (cosign := shutil.which("cosign")):
        pytest.skip("cosign is missing: .ci/cosign builds it")

    root = it.it.folder / "trusted_root.json"
    root.write_text('{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}')

    def accepted(kind: str, digest: str) -> bool:
        command = [cosign, "verify-attestation", "--key", str(it.it.folder / "record.pub"), "--insecure-ignore-tlog"]
        command += ["--new-bundle-format", "--type", kind, "--allow-http-registry", f"{it.name}@{digest}"]
        command += ["--trusted-root", str(root)]  # or cosign asks Sigstore for the one of its own services
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    sign(it, key)
    it.it.follow(it.promote(2))
    assert accepted(record.PREDICATE, it.images[2])
    assert not accepted("https://example.com/another/v1", it.images[2])
    assert not accepted(record.PREDICATE, it.images[1])
    other = ed25519.Ed25519PrivateKey.generate().public_key()
    (it.it.folder / "record.pub").write_bytes(other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert not accepted(record.PREDICATE, it.images[2])


def test_without_a_key_git_and_argo_cd_are_asked_and_the_rest_is_not_known(it: Recorded) -> None:
    it.it.follow(it.promote(2))
    one = verified(it)
    assert results(one).pop("signature") is Result.UNKNOWN
    assert [check.of for check in one.checks if check.result is not Result.PASSED] == ["signature"]
    assert exit_code((one,)) is ExitCode.DONE
    assert [media_type for media_type, _ in it.stored(2)] == [IN_TOTO]


def test_a_record_changed_by_one_byte_is_refused(it: Recorded) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    sign(it, key)
    it.it.follow(it.promote(2))

    def measured(statement: dict[str, Any]) -> None:
        statement["predicate"]["analysis"][0]["metrics"][0]["measurements"][0] = "9"

    found = it.repository.referrers.of(it.images[2])[0]
    media_type, content = it.repository.referrers.read(found)
    bundle = json.loads(content)
    signature = bundle["dsseEnvelope"]["signatures"]
    statement = json.loads(opened(media_type, content, "it").statement)
    measured(statement)
    forged = json.loads(stored(canonical(statement), SigningKey.of(key))[1])
    forged["dsseEnvelope"]["signatures"] = signature
    manifest = it.repository.read_manifest(it.images[2])
    assert manifest
    image = Descriptor(MANIFEST, it.images[2], len(manifest))
    it.repository.referrers.attach(image, BUNDLE, canonical(forged), {**found.annotations, "changed": "yes"}, {})
    every = verify_environment(it.it.clients, it.it.environment)
    assert [results(one)["signature"] for one in every] == [Result.PASSED, Result.REFUSED]
    assert exit_code(every) is ExitCode.REFUSED


def test_a_blob_changed_in_the_registry_is_refused(it: Recorded, registry_server: RegistryServer) -> None:
    it.it.follow(it.promote(2))
    statement = it.stored(2)[0][1]
    (file,) = (file for file in registry_server.root.rglob("data") if file.is_file() and file.read_bytes() == statement)
    file.write_bytes(statement.replace(b'"exitCode":0', b'"exitCode":1'))
    one = verified(it)
    assert results(one) == {"content": Result.REFUSED}


def test_another_identity_is_refused_and_none_too(it: Recorded) -> None:
    key, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    sign(it, key)
    it.it.follow(it.promote(2))
    forged = replaced(it, 2, lambda _: None, other)
    assert results(forged)["signature"] is Result.REFUSED
    it.it.follow(it.promote(3))
    unsigned = replaced(it, 3, lambda _: None, None)
    assert results(unsigned)["signature"] is Result.REFUSED


def test_a_record_of_another_digest_is_refused(it: Recorded) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    sign(it, key)
    it.it.follow(it.promote(2))

    def moved(statement: dict[str, Any]) -> None:
        statement["subject"][0]["digest"]["sha256"] = it.images[3].removeprefix("sha256:")

    assert results(replaced(it, 2, moved, key))["image"] is Result.REFUSED


def test_a_commit_that_is_not_on_the_branch_is_refused(it: Recorded) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    sign(it, key)
    before = it.it.remote.tip()
    gone = it.promote(2)
    it.it.follow(gone)
    it.it.remote.force(before)
    (one,) = verify_image(it.it.clients, f"{it.name}:v2-20261101T090000Z")
    assert results(one)["commit"] is Result.REFUSED
    assert exit_code((one,)) is ExitCode.REFUSED


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("people", "requestedBy"), "mallory"),
        (("model", "version"), "3"),
        (("model", "run"), "run-9"),
        (("git", "committed"), "2026-01-01T00:00:00Z"),
        (("overridden",), "metrics: fine"),
    ],
)
def test_what_git_has_is_compared(it: Recorded, path: tuple[str, ...], value: str) -> None:
    it.it.follow(it.promote(2))

    def change(statement: dict[str, Any]) -> None:
        place = statement["predicate"]
        for key in path[:-1]:
            place = place[key]
        assert place[path[-1]] != value
        place[path[-1]] = value

    assert Result.REFUSED in results(replaced(it, 2, change, None)).values()


def test_live_is_refused_of_what_git_has_as_aborted(it: Recorded) -> None:
    it.it.follow(it.promote(2))
    it.it.behaviours["3"] = FAILS
    it.it.follow(it.promote(3))
    (aborted,) = verify_image(it.it.clients, f"{it.name}@{it.images[3]}")
    assert (aborted.verdict, exit_code((aborted,))) == ("aborted", ExitCode.DONE)
    found = it.repository.referrers.of(it.images[3])[0]
    statement = json.loads(opened(*it.repository.referrers.read(found), "it").statement)
    statement["predicate"]["verdict"]["kind"], statement["predicate"]["restored"] = "live", None
    attach(it, 3, canonical(statement), None, {**found.annotations, record.VERDICT: "live"})
    every = verify_image(it.it.clients, f"{it.name}@{it.images[3]}")
    assert [results(one)["outcome"] for one in every] == [Result.PASSED, Result.REFUSED]


def test_live_is_refused_where_argo_cd_shows_something_else(it: Recorded) -> None:
    it.it.follow(it.promote(2))

    def runs_another(manifest: dict[str, Any]) -> None:
        template = manifest["spec"].get("template", {"spec": {"containers": []}})
        for container in template["spec"]["containers"]:
            container["image"] = container["image"].replace(it.images[2], it.images[1])

    with it.it.argocd.fault(changed(runs_another, "resource")):
        one = verified(it)
    assert [check.of for check in one.checks if check.result is Result.REFUSED] == ["cluster"], one.checks
    with it.it.argocd.fault(always(Answer(503))):
        unknown = verified(it)
    assert (results(unknown)["cluster"], exit_code((unknown,))) == (Result.UNKNOWN, ExitCode.UNREACHABLE)


def test_what_has_no_record_says_so(it: Recorded) -> None:
    with pytest.raises(RefusedError, match="has no record of"):
        verify_environment(it.it.clients, it.it.environment)
    with pytest.raises(RefusedError, match="has no record"):
        verify_image(it.it.clients, f"{it.name}@{it.images[3]}")
    with pytest.raises(RefusedError, match="has no image nothing"):
        verify_image(it.it.clients, f"{it.name}:nothing")
    with pytest.raises(UsageError, match="neither an environment nor an image"):
        verify_image(it.it.clients, it.name)


def test_a_key_that_is_none_is_named(it: Recorded, tmp_path: Path) -> None:
    it.configure("", PROMOTER_SIGNING_KEY=str(tmp_path / "none"))
    assert it.it.follow(it.promote(2)).exit_code is ExitCode.DONE
    assert any("PROMOTER_SIGNING_KEY is neither PEM text nor a file" in text for text in it.it.said)
    rsa = subprocess.run(["openssl", "genrsa", "2048"], capture_output=True, text=True, check=True).stdout
    with pytest.raises(UsageError, match="signs nothing here"):
        SigningKey.from_environ({"PROMOTER_SIGNING_KEY": rsa})


def test_the_same_record_is_signed_to_the_same_bytes() -> None:
    key = SigningKey.of(ec.generate_private_key(ec.SECP256R1()))
    assert stored(b"{}", key) == stored(b"{}", replace(key))
    assert Record.__slots__
