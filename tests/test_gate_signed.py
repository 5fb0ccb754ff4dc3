"""signed and attested: the words of their refusals, and what is next to an image in a real container registry."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from promoter import config
from promoter.config.gates import GatesSection
from promoter.errors import ConfigError, GatesError, RefusedError, UnreachableError, UsageError
from promoter.image.cosign import flaws
from promoter.image.keys import PublicKey
from promoter.image.reference import ImageReference
from promoter.image.registry import RegistryRepository
from promoter.promotion.gates import override
from promoter.promotion.gates.places import records_of
from promoter.promotion.gates.signed import attested, signed
from tests.support.faults import Answer, always
from tests.support.mlflow_server import mlflow_server
from tests.support.recorded import Recorded, push, recorded
from tests.support.registry_server import RegistryServer, registry_server
from tests.support.signing import (
    Key,
    attach_bundle,
    list_as_cosign_2_does,
    private_pem,
    public_pem,
    put_signatures,
    sign_as_bundle,
    sign_under_tag,
    signature_layer,
)
from tests.support.write_path import WritePath, path, unique_name
from tests.test_gate_rules import ENVIRONMENT, shown

__all__ = ["mlflow_server", "path", "registry_server"]

DIGEST = f"sha256:{'a' * 64}"
OURS, OTHERS = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


# -- the words --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("digest", "found", "line"),
    [
        ("", [], "refused signed: its image is not built yet, so nobody has signed it"),
        (DIGEST, [], "refused signed: its image (sha256:aaaaaaaaaaaa) is signed by nobody"),
        (DIGEST, [""], "passed signed: its image (sha256:aaaaaaaaaaaa) is signed with cosign.pub"),
        (DIGEST, ["another key made it", ""], "passed signed: its image (sha256:aaaaaaaaaaaa) is signed with cosign.pub"),
        (
            DIGEST,
            ["another key made it", "it is about no image"],
            "refused signed: its image (sha256:aaaaaaaaaaaa) is not signed with cosign.pub: another key made it; "
            "it is about no image",
        ),
        (
            DIGEST,
            ["another key made it"] * 5,
            "refused signed: its image (sha256:aaaaaaaaaaaa) is not signed with cosign.pub: another key made it and 2 more",
        ),
    ],
)
def test_signed(digest: str, found: list[str], line: str) -> None:
    assert shown([signed("cosign.pub", digest, found)]) == [line]


@pytest.mark.parametrize(
    ("digest", "found", "line"),
    [
        ("", [], "refused attested staging: its image is not built yet, so it has no record"),
        (DIGEST, [], "refused attested staging: its image (sha256:aaaaaaaaaaaa) has no record that it was live there"),
        (DIGEST, [""], "passed attested staging: its image (sha256:aaaaaaaaaaaa) has a true record that it was live there"),
        (
            DIGEST,
            ["signature: not signed"],
            "refused attested staging: its image (sha256:aaaaaaaaaaaa) has no true record that it was live there: "
            "signature: not signed",
        ),
    ],
)
def test_attested(digest: str, found: list[str], line: str) -> None:
    assert shown([attested("staging", digest, found)]) == [line]


def test_nothing_is_read_behind_a_signature_that_counts() -> None:
    def found() -> Iterator[str]:
        yield ""
        raise AssertionError("read")

    assert signed("cosign.pub", DIGEST, found()).detail.endswith("is signed with cosign.pub")


@pytest.mark.parametrize(("gate", "value"), [("signed", {"key": "cosign.pub"}), ("attested", {"environment": "staging"})])
def test_what_is_signed_is_overridden_only_where_it_is_named(gate: str, value: dict[str, str]) -> None:
    chosen = override.of([gate], "the key is lost", "ada")
    for who in (None, {"default": "anyone"}, {gate: "never"}, {gate: ["grace"], "default": ["ada"]}):
        with pytest.raises(RefusedError, match=f"ada may not override {gate} in 'production'"):
            chosen.require_allowed(GatesSection.model_validate({gate: value, "override": who}), ENVIRONMENT)
    chosen.require_allowed(GatesSection.model_validate({gate: value, "override": {gate: ["ada"]}}), ENVIRONMENT)


@pytest.mark.parametrize(
    ("gates", "told"),
    [
        (
            "signed: {identity: ci@example.com, issuer: https://accounts.example.com}",
            "promoter.yaml:{line}: gates.signed: takes no keyless signatures (identity, issuer): sign with cosign sign --key, "
            "and name the public key under key",
        ),
        ("signed: {key: none.pub}", "promoter.yaml:{line}: gates.signed.key: no such file: 'none.pub'"),
        ("signed: {key: ../key.pub}", "promoter.yaml:{line}: gates.signed.key: '../key.pub' lies outside the repository"),
        (
            "attested: {environment: dev}",
            "promoter.yaml:{line}: environments[1].gates.attested: 'production' can't come after 'dev'",
        ),
        (
            "attested: {environment: staging}",
            "promoter.yaml:{line}: environments[1].gates.attested: needs record.key: anybody who may push images could attach a "
            "record that is not signed",
        ),
    ],
)
def test_what_can_not_be_checked_is_refused_in_the_configuration(path: WritePath, gates: str, told: str) -> None:
    text = path.config.read_text()
    if gates.startswith("signed"):
        path.config.write_text(text := f"{text}gates:\n  {gates}\n")
    else:
        path.edit(path.config, "- name: production\n", f"- name: production\n  gates:\n    {gates}\n")
        text = path.config.read_text()
    with pytest.raises(ConfigError) as caught:
        config.load(path.config)
    line = 1 + next(number for number, one in enumerate(text.splitlines()) if gates.split(":")[0] in one)
    assert str(caught.value).startswith(told.format(line=line)), str(caught.value)


# -- signatures in a registry -----------------------------------------------------------------------------------------


@pytest.fixture
def repository(registry_server: RegistryServer) -> RegistryRepository:
    return RegistryRepository(ImageReference.parse(f"{registry_server.host}/models/{unique_name()}"))


def found(repository: RegistryRepository, image: str, folder: Path, key: Key = OURS) -> list[str]:
    (folder / "cosign.pub").write_bytes(public_pem(key))
    return list(flaws(repository, image, PublicKey.read(folder / "cosign.pub", "gates.signed.key")))


@pytest.mark.parametrize("key", [OURS, ed25519.Ed25519PrivateKey.generate()])
@pytest.mark.parametrize("sign", [sign_as_bundle, sign_under_tag])
def test_a_signature_counts_if_the_key_made_it_of_this_image(
    repository: RegistryRepository, tmp_path: Path, sign: Callable[..., None], key: Key
) -> None:
    one, other = push(repository, 1), push(repository, 2)
    assert found(repository, one, tmp_path, key) == []
    sign(repository, one, key)
    assert found(repository, one, tmp_path, key) == [""]
    assert found(repository, one, tmp_path, OTHERS) == ["another key made it"]
    sign(repository, other, key, about=one)
    assert found(repository, other, tmp_path, key) == [f"it is about {one[:19]}"]


def test_several_signatures_are_read_one_after_the_other(repository: RegistryRepository, tmp_path: Path) -> None:
    image = push(repository, 1)
    sign_under_tag(repository, image, OTHERS, OURS)
    sign_as_bundle(repository, image, OTHERS)
    assert found(repository, image, tmp_path) == ["another key made it", "another key made it", ""]


def test_what_the_key_signed_for_something_else_does_not_count(repository: RegistryRepository, tmp_path: Path) -> None:
    image, other = push(repository, 1), push(repository, 2)
    record = "https://model-promoter.github.io/promotion/v1"
    sign_as_bundle(repository, image, OURS, predicate=record)
    assert found(repository, image, tmp_path) == []
    sign_as_bundle(repository, other, OURS, predicate=record, annotated="https://sigstore.dev/cosign/sign/v1")
    sign_under_tag(repository, other, OURS, kind="a wish")
    assert found(repository, other, tmp_path) == ["it is about no image"]


def test_what_cosign_itself_has_signed_counts(repository: RegistryRepository, tmp_path: Path) -> None:
    """Its own signatures of this very image; the registry lists no referrers, so that cosign wrote the list."""
    known = json.loads((Path(__file__).parent / "data" / "cosign" / "signatures.json").read_text())
    (tmp_path / "cosign.pub").write_text(known["public key"])
    key = PublicKey.read(tmp_path / "cosign.pub", "gates.signed.key")
    image = push(repository, 1)
    assert image == known["image"]
    attach_bundle(repository, image, known["bundle"].encode(), "https://sigstore.dev/cosign/sign/v1")
    list_as_cosign_2_does(repository, image)
    assert list(flaws(repository, image, key)) == [""]
    put_signatures(repository, image, [signature_layer(repository, known["payload"].encode(), known["signature"])])
    assert list(flaws(repository, image, key)) == ["", ""]
    put_signatures(repository, image, [signature_layer(repository, known["payload"].encode() + b"\n", known["signature"])])
    assert list(flaws(repository, image, key)) == ["", "another key made it"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda layer: layer | {"annotations": {"dev.cosignproject.cosign/signature": "?"}}, "is not base64"),
        (lambda layer: {key: value for key, value in layer.items() if key != "annotations"}, "another key made it"),
        (lambda layer: layer | {"mediaType": "text/plain"}, "is 'text/plain', no signature"),
        (lambda layer: layer | {"size": 3}, ""),
        (lambda layer: layer | {"size": 2**40}, "too many for a document"),
    ],
)
def test_a_damaged_signature_does_not_count_and_keeps_none_from_counting(
    repository: RegistryRepository, tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]], told: str
) -> None:
    image = push(repository, 1)
    attach_bundle(repository, image, b"[" * 9, "https://sigstore.dev/cosign/sign/v1")
    sign_under_tag(repository, image, OURS)
    tag = f"{image.replace(':', '-')}.sig"
    [good] = json.loads(repository.read_manifest(tag) or b"")["layers"]
    put_signatures(repository, image, [change(good), good])
    [bundle, damaged, last] = found(repository, image, tmp_path)
    assert bundle
    assert damaged
    assert told in damaged
    assert last == ""


# -- before anything is built, and once it is signed ------------------------------------------------------------------


def test_an_image_that_nobody_signed_is_refused_by_name_before_anything_is_built(
    path: WritePath, registry_server: RegistryServer
) -> None:
    path.edit(path.config, "registry.example.com", registry_server.host)
    path.edit(path.config, "  layout: oci:images\n", "")
    (path.folder / "cosign.pub").write_bytes(public_pem(OURS))
    path.config.write_text(path.config.read_text() + "gates: {signed: {key: cosign.pub}}\n")
    reference = f"{path.model}:{path.register()}"
    repository = RegistryRepository(ImageReference.parse(f"{registry_server.host}/models/{path.model}"))
    tip = path.tip
    assert refusal(path, reference) == "its image is not built yet, so nobody has signed it"
    assert path.tip == tip
    assert requests.get(f"http://{registry_server.host}/v2/models/{path.model}/tags/list", timeout=30).status_code == 404
    done = path.run("image", reference, "-o", "json")
    assert done.returncode == 0, done.stderr
    image = json.loads(done.stdout)["image"]["digest"]
    assert refusal(path, reference) == f"its image ({image[:19]}) is signed by nobody"
    sign_under_tag(repository, image, OTHERS)
    assert refusal(path, reference) == f"its image ({image[:19]}) is not signed with cosign.pub: another key made it"
    assert path.tip == tip
    sign_as_bundle(repository, image, OURS)
    outcome = path.promote(reference)
    assert (outcome.commit, outcome.release.digest) == (path.tip, image)


def refusal(path: WritePath, reference: str) -> str:
    """Of the only gate that refuses."""
    with pytest.raises(GatesError) as caught:
        path.promote(reference)
    assert caught.value.exit_code == 20
    head, _, detail = caught.value.message.partition(": signed: ")
    assert head == f"{reference} is refused in 'staging'"
    return detail


# -- records ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def it(tmp_path: Path, registry_server: RegistryServer) -> Iterator[Recorded]:
    with recorded(tmp_path, registry_server.host, os.environ) as made:
        (made.it.folder / "record.pub").write_bytes(public_pem(OURS))
        made.configure("record: {key: record.pub}\n", PROMOTER_SIGNING_KEY=private_pem(OURS))
        yield made


def records(it: Recorded, version: int) -> list[str]:
    """What is wrong with each record that this version was live in staging, as an environment behind it asks."""
    return list(records_of(it.it.clients, it.it.environment, "staging", it.images[version]))


def test_a_true_record_that_it_was_live_is_demanded(it: Recorded) -> None:
    assert records(it, 2) == []
    it.it.follow(it.promote(2))
    assert it.kinds(2) == ["live"]
    assert records(it, 2) == [""]
    assert records(it, 3) == []
    assert list(records_of(it.it.clients, it.it.environment, "elsewhere", it.images[2])) == []


def test_a_record_of_another_key_does_not_count(it: Recorded) -> None:
    it.configure("", PROMOTER_SIGNING_KEY=private_pem(OTHERS))
    it.it.follow(it.promote(2))
    assert it.kinds(2) == ["live"]
    [flaw] = records(it, 2)
    assert flaw.startswith("signature: not made by the key ")


def test_where_argo_cd_does_not_answer_nothing_passes(it: Recorded) -> None:
    it.it.follow(it.promote(2))
    with it.it.argocd.fault(always(Answer(503, b"{}"))), pytest.raises(UnreachableError):
        records(it, 2)


def test_a_key_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "cosign.pub").write_text("none")
    with pytest.raises(UsageError, match="is not a public key in PEM"):
        PublicKey.read(tmp_path / "cosign.pub", "gates.signed.key")
