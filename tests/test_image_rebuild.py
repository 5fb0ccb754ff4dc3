"""A version's image in a second repository, and on a second runtime: copied with its digest, rebuilt alongside the first."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from promoter.errors import AuthError, RefusedError
from promoter.image.assemble import Packing
from promoter.image.base import BaseImage, Platform
from promoter.image.layout import LayoutRepository
from promoter.image.oci import Repository, sha256
from promoter.image.publish import Publisher, listing_tag, runtime_key
from promoter.image.reference import ImageReference
from promoter.image.registry import RegistryRepository
from promoter.models import Embed, Image, Origin, Role
from tests.support import fake_registry as fake
from tests.support.models import FILES, listing, model_version, store
from tests.support.registry_server import RegistryServer, registry_server
from tests.test_image_publish import CHANGED, NAME, TAG, base_layout

__all__ = ["registry_server"]

ENV = {"DOCKER_CONFIG": "/nowhere"}
KNOWN = model_version(listing(etag="e"))
Repositories = Callable[[str], Repository]


@pytest.fixture(params=["layout", "registry"])
def repositories(request: pytest.FixtureRequest, tmp_path: Path) -> Repositories:
    """Empty repositories by name: of one layout, or of one registry."""
    if request.param == "layout":
        return lambda name: LayoutRepository(tmp_path / "images", name)
    server: RegistryServer = request.getfixturevalue("registry_server")
    team = uuid.uuid4().hex
    return lambda name: RegistryRepository(ImageReference.parse(f"{server.host}/{team}/{name}"), env=ENV)


@pytest.fixture
def runtime(tmp_path: Path) -> BaseImage:
    return BaseImage(base_layout(tmp_path / "runtime"), "linux-amd64")


def unused(*_: object) -> BaseImage | None:
    raise AssertionError("the runtime was asked for, and perhaps built")


def origins(image: Image) -> list[tuple[Role, Origin]]:
    return [(blob.role, blob.origin) for blob in image.blobs]


# -- promotion between repositories -----------------------------------------------------------------------------------


def test_an_image_of_an_earlier_environment_is_copied_with_its_digest(repositories: Repositories, runtime: BaseImage) -> None:
    staging, production = repositories("staging"), repositories("production")
    first = Publisher(staging, "registry.example/staging", lambda *_: runtime).ensure(KNOWN, store().open)
    assert origins(first) == [(role, Origin.SENT) for role in (Role.CONFIG, Role.RUNTIME, Role.RUNTIME, Role.MODEL)]
    assert first.sent == first.total_size == sum(blob.size for blob in first.blobs)

    publisher, read = Publisher(production, NAME, unused, elsewhere=[staging]), store()
    assert publisher.find(KNOWN) is None
    expected = publisher.expect(KNOWN)
    assert expected
    assert (expected.repository, expected.digest, expected.copied_from) == (NAME, first.digest, staging.name)
    assert production.read_manifest(TAG) is None
    copied = publisher.ensure(KNOWN, read.open)
    assert copied == replace(first, repository=NAME)
    assert (copied.copied_from, copied.sent, read.opened) == (staging.name, 0, [])
    moved = Origin.THERE if isinstance(production, LayoutRepository) else Origin.MOUNTED
    assert {origin for _, origin in origins(copied)} == {moved}
    for tag in (TAG, listing_tag(KNOWN, TAG)):
        assert production.read_manifest(str(tag)) == staging.read_manifest(TAG)
    again = publisher.ensure(KNOWN, read.open)
    assert (again.reused, again.copied_from, read.opened) == (True, "", [])


def test_an_image_of_another_kind_of_repository_is_copied_through(
    registry_server: RegistryServer, runtime: BaseImage, tmp_path: Path
) -> None:
    layout = LayoutRepository(tmp_path / "staging", "staging")
    remote = RegistryRepository(ImageReference.parse(f"{registry_server.host}/{uuid.uuid4().hex}"), env=ENV)
    first = Publisher(layout, "staging", lambda *_: runtime).ensure(KNOWN, store().open)
    for target, source in ((remote, layout), (LayoutRepository(tmp_path / "production", NAME), remote)):
        copied = Publisher(target, NAME, unused, elsewhere=[source]).ensure(KNOWN, store().open)
        assert (copied.digest, copied.sent) == (first.digest, first.total_size)
        for blob in copied.blobs:
            assert target.has_blob(blob.digest)


@pytest.mark.parametrize("etag", [None, "e2"])
def test_an_image_whose_files_changed_since_is_not_copied(repositories: Repositories, etag: str | None) -> None:
    staging, production = repositories("staging"), repositories("production")
    Publisher(staging, "staging", lambda *_: None).ensure(KNOWN, store().open)
    with pytest.raises(RefusedError, match="the files of fraud-detector:7 are sha256:") as error:
        Publisher(production, NAME, unused, elsewhere=[staging]).ensure(
            model_version(listing(CHANGED, etag=etag)), store(CHANGED).open
        )
    assert staging.name in error.value.message
    assert production.read_manifest(TAG) is None


def test_an_earlier_environment_that_can_not_be_asked_is_reported(tmp_path: Path) -> None:
    """Another image of the same version in production than in staging is what nobody wants."""
    with fake.fake_registry(fake.FakeRegistry()) as server:
        server.fail("GET /v2/team/staging/", 403, code="DENIED", times=9)
        mine, staging = (
            RegistryRepository(ImageReference.parse(f"{server.host}/team/{name}"), env=ENV) for name in ("model", "staging")
        )
        with pytest.raises(AuthError, match="team/staging"):
            Publisher(mine, NAME, unused, elsewhere=[staging]).ensure(KNOWN, store().open)
        assert server.manifests == {}


@pytest.mark.parametrize("request_line", ["POST /v2/team/model/", "PATCH /v2/team/model/", "PUT /v2/team/model/manifests/"])
def test_a_copy_that_fails_leaves_no_tag(request_line: str) -> None:
    with fake.fake_registry(fake.FakeRegistry(mounts=False)) as server:
        mine, staging = (
            RegistryRepository(ImageReference.parse(f"{server.host}/team/{name}"), env=ENV) for name in ("model", "staging")
        )
        first = Publisher(staging, NAME, lambda *_: None).ensure(KNOWN, store().open)
        server.fail(request_line, 507, times=9)
        publisher = Publisher(mine, NAME, unused, elsewhere=[staging])
        with pytest.raises(RefusedError, match="507"):
            publisher.ensure(KNOWN, store().open)
        assert server.manifests == {}
        server.faults.clear()
        assert publisher.ensure(KNOWN, store().open) == first


# -- rebuilt ----------------------------------------------------------------------------------------------------------


def test_a_rebuilt_image_stands_alongside_the_first_and_sends_its_model_once(
    repositories: Repositories, runtime: BaseImage, tmp_path: Path
) -> None:
    target = repositories("model")
    first = Publisher(target, NAME, lambda *_: runtime).ensure(KNOWN, store().open)
    patched = BaseImage(base_layout(tmp_path / "patched", env="A=2"), "linux-amd64")
    key = sha256(patched.repository.read_manifest("linux-amd64") or b"")[7:15]
    publisher, read = Publisher(target, NAME, lambda *_: patched), store()
    rebuilt = publisher.rebuild(KNOWN, read.open)
    assert (rebuilt.tag, rebuilt.content_digest, rebuilt.reused) == (f"{TAG}-{key}", first.content_digest, False)
    assert rebuilt.digest != first.digest
    assert origins(rebuilt)[-1] == (Role.MODEL, Origin.THERE)
    assert read.opened == []
    assert publisher.rebuild(KNOWN, read.open) == replace(rebuilt, reused=True)
    # The version's own image stays the one that is found.
    assert publisher.ensure(KNOWN, read.open) == replace(first, reused=True)
    assert (read.opened, publisher.find(KNOWN)) == ([], replace(first, reused=True))


def test_a_rebuilt_image_is_the_same_where_the_first_one_never_was(
    repositories: Repositories, runtime: BaseImage, tmp_path: Path
) -> None:
    here, elsewhere = repositories("model"), LayoutRepository(tmp_path / "elsewhere", NAME)
    Publisher(here, NAME, lambda *_: None).ensure(KNOWN, store().open)
    digests = {Publisher(target, NAME, lambda *_: runtime).rebuild(KNOWN, store().open).digest for target in (here, elsewhere)}
    assert len(digests) == 1
    assert elsewhere.read_manifest(TAG) is None


@pytest.mark.parametrize("packing", [Packing(), Packing(model=Embed.URI)])
def test_of_an_image_without_a_model_layer_another_kind_can_be_rebuilt(
    tmp_path: Path, runtime: BaseImage, packing: Packing
) -> None:
    target = LayoutRepository(tmp_path / "target", NAME)
    first = Publisher(target, NAME, lambda *_: runtime, packing=Packing(model=Embed.URI)).ensure(KNOWN, store().open)
    patched = BaseImage(base_layout(tmp_path / "patched", env="A=2"), "linux-amd64")
    rebuilt = Publisher(target, NAME, lambda *_: patched, packing=packing).rebuild(KNOWN, store().open)
    assert rebuilt.content_digest == first.content_digest
    assert bool(rebuilt.size) == (packing.model is Embed.EMBED)


def test_changed_files_are_not_rebuilt(tmp_path: Path, runtime: BaseImage) -> None:
    target = LayoutRepository(tmp_path / "target", NAME)
    publisher = Publisher(target, NAME, lambda *_: runtime)
    publisher.ensure(KNOWN, store().open)
    with pytest.raises(RefusedError, match="are sha256:"):
        publisher.rebuild(model_version(listing(CHANGED)), store(CHANGED).open)
    with pytest.raises(RefusedError, match="it has no runtime"):
        Publisher(target, NAME, lambda *_: None).rebuild(KNOWN, store().open)


def test_the_key_of_a_runtime_is_in_its_tag_or_its_digest(tmp_path: Path) -> None:
    layout, platform = base_layout(tmp_path), Platform.parse("linux/amd64")
    manifest = layout.read_manifest("linux-amd64") or b""
    layout.create_manifest("runtime-0123456789abcdef", manifest)
    assert runtime_key(BaseImage(layout, "runtime-0123456789abcdef"), platform) == "01234567"
    for reference in ("linux-amd64", sha256(manifest)):
        assert runtime_key(BaseImage(layout, reference), platform) == sha256(manifest)[7:15]


# -- explained --------------------------------------------------------------------------------------------------------


def test_why_an_image_is_made_reused_or_copied(repositories: Repositories, runtime: BaseImage, tmp_path: Path) -> None:
    staging, production = repositories("staging"), repositories("production")
    mine = Publisher(staging, NAME, lambda *_: runtime)
    made = mine.explain(KNOWN, store().open)
    assert (made.image, made.reused, made.content) == (None, False, None)
    assert "one is made" in made.lines[0]

    first = mine.ensure(KNOWN, store().open)
    reused, unlisted = mine.explain(KNOWN, store().open, runtime), mine.explain(model_version(), store().open)
    assert (reused.image, reused.listing, reused.content) == (replace(first, reused=True), True, first.content_digest)
    assert reused.runtime_then == reused.runtime_now == unlisted.runtime_then
    assert not unlisted.listing
    assert "it is reused" in reused.lines[0]
    assert "their listing" in reused.lines[1]
    assert "were read" in unlisted.lines[1]

    copied = Publisher(production, NAME, unused, elsewhere=[staging]).explain(KNOWN, store().open)
    assert copied.elsewhere == staging.name
    assert "it is copied" in copied.lines[0]
    assert production.read_manifest(TAG) is None

    patched = BaseImage(base_layout(tmp_path / "patched", env="A=2"), "linux-amd64")
    on_today = Publisher(staging, NAME, lambda *_: patched)
    before = on_today.explain(KNOWN, store().open, patched)
    assert "--rebuild publishes" in before.lines[-1]
    rebuilt = on_today.rebuild(KNOWN, store().open)
    after = on_today.explain(KNOWN, store().open, patched)
    assert after.rebuilt == replace(rebuilt, reused=True)
    assert rebuilt.tag in after.lines[-1]
    with pytest.raises(RefusedError, match="are sha256:"):
        mine.explain(model_version(listing(CHANGED)), store({**FILES, **CHANGED}).open)
