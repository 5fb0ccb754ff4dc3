"""A version's image: the same bits wherever it is made, made once, and never half."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from promoter.errors import RefusedError, UnreachableError, UsageError
from promoter.image.assemble import Packing
from promoter.image.base import BaseImage, open_base
from promoter.image.layout import LayoutRepository
from promoter.image.oci import CONFIG, INDEX, LAYER, MANIFEST, Descriptor, Repository, canonical, decode, read_bytes, sha256
from promoter.image.publish import Publisher, listing_tag
from promoter.image.reference import ImageReference, image_tag
from promoter.image.registry import RegistryRepository
from promoter.models import Embed, Image
from tests.support import fake_registry as fake
from tests.support.models import FILES, listing, model_version, store
from tests.support.registry_server import RegistryServer, registry_server
from tests.test_image_layout import assert_valid

if TYPE_CHECKING:
    from promoter.models import ModelVersion

__all__ = ["registry_server"]

NAME = "registry.example/fraud-detector"
TAG = "v7-20261122202015"
CHANGED = {**FILES, "requirements.txt": b"evil"}


def publishing(target: Repository, repository: str, base: BaseImage | None, platform: str = "linux/amd64") -> Publisher:
    """A publisher whose runtime is this image, whatever the version."""
    return Publisher(target, repository, lambda *_: base, platform)


@pytest.fixture(params=["layout", "registry"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Repository:
    """An empty repository of each kind."""
    if request.param == "layout":
        return LayoutRepository(tmp_path / "target", NAME)
    server: RegistryServer = request.getfixturevalue("registry_server")
    return RegistryRepository(ImageReference.parse(f"{server.host}/team/{uuid.uuid4().hex}"), env={"DOCKER_CONFIG": "/nowhere"})


def base_layout(
    path: Path, *, platform: tuple[str, str] = ("linux", "amd64"), env: str = "A=1", **changes: Any
) -> LayoutRepository:
    """A base image of two layers, with a Docker media type as `docker push` writes it."""
    layout = LayoutRepository(path, "base")
    layers = [b"first layer" + env.encode(), b"second layer"]
    config = canonical(
        {
            "os": platform[0],
            "architecture": platform[1],
            "config": {"Env": ["PATH=/bin", env, "MODEL_NAME=stale"], "Entrypoint": ["serve"], "Labels": {"a": "b"}},
            "rootfs": {"type": "layers", "diff_ids": [sha256(layer) for layer in layers]},
            "history": [{"created_by": "one"}, {"created_by": "two"}],
            **changes,
        }
    )
    types = ["application/vnd.docker.image.rootfs.diff.tar.gzip", LAYER]
    described = [
        Descriptor(media_type, layout.write_blob([layer], len(layer)), len(layer)).as_json()
        for media_type, layer in zip(types, layers, strict=True)
    ]
    config_json = Descriptor(CONFIG, layout.write_blob([config], len(config)), len(config)).as_json()
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config_json, "layers": described}
    layout.create_manifest("-".join(platform), canonical(manifest))
    return layout


def image_parts(repository: Repository, reference: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The manifest and the config of a published image."""
    data = repository.read_manifest(reference)
    assert data is not None
    manifest = decode(data, "manifest")
    return manifest, decode(read_bytes(repository, Descriptor.parse(manifest["config"], "")), "config")


def test_an_image_is_base_plus_model_and_reports_what_it_is(target: Repository, tmp_path: Path) -> None:
    base = base_layout(tmp_path / "base")
    publisher = publishing(target, NAME, BaseImage(base, "linux-amd64"))
    assert publisher.find(model_version()) is None
    image = publisher.ensure(model_version(), store().open)
    assert (image.repository, image.tag, image.reused) == (NAME, TAG, False)
    assert publisher.find(model_version()) == replace(image, reused=True)

    manifest, config = image_parts(target, image.digest)
    base_manifest = base.read_manifest("linux-amd64") or b""
    assert manifest["annotations"] == {
        "org.opencontainers.image.created": "2026-11-22T20:20:15.934Z",
        "org.opencontainers.image.title": "fraud-detector",
        "org.opencontainers.image.version": "7",
        "org.opencontainers.image.base.digest": sha256(base_manifest),
        "io.github.model-promoter.content-digest": image.content_digest,
        "io.github.model-promoter.platform": "linux/amd64",
        "io.github.model-promoter.run-id": "4f1c2d3e",
    }
    assert [layer["mediaType"] for layer in manifest["layers"]] == [f"{LAYER}+gzip", LAYER, LAYER]
    assert manifest["layers"][-1]["size"] == image.size
    assert config["config"]["Env"] == [
        "PATH=/bin",
        "A=1",
        "MODEL_NAME=fraud-detector",
        "MODEL_VERSION=7",
        f"MODEL_DIGEST={image.content_digest}",
    ]
    assert config["config"]["Entrypoint"] == ["serve"]
    assert config["config"]["Labels"] == {"a": "b", **manifest["annotations"]}
    assert config["rootfs"]["diff_ids"][-1] == manifest["layers"][-1]["digest"]
    assert len(config["history"]) == len(config["rootfs"]["diff_ids"]) == len(manifest["layers"]) == 3
    for layer in manifest["layers"]:
        assert target.has_blob(layer["digest"])
    layer = read_bytes(target, Descriptor.parse(manifest["layers"][-1], ""))
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        assert sorted(member.name for member in tar if member.isfile()) == sorted(f"opt/model/{path}" for path in FILES)


def test_the_same_version_is_the_same_image_bit_for_bit_wherever_it_is_read(target: Repository, tmp_path: Path) -> None:
    """Two stores list it with other ETags, addresses and order; tags and aliases moved in between."""
    here = publishing(target, NAME, open_base(f"oci:{base_layout(tmp_path / 'base').name[4:]}"))
    elsewhere_layout = LayoutRepository(tmp_path / "elsewhere", "other.example/name")
    elsewhere = publishing(elsewhere_layout, "other.example/name", open_base(f"oci:{tmp_path / 'base'}:linux-amd64"))
    proxied = replace(
        model_version(tuple(reversed(listing(etag="etag"))), uri="mlflow-artifacts:/1"),
        aliases=("champion",),
        tags={"status": "approved"},
        description="the best",
    )
    first, second = here.ensure(model_version(), store().open), elsewhere.ensure(proxied, store().open)
    assert first.digest == second.digest
    assert target.read_manifest(first.tag) == elsewhere_layout.read_manifest(second.tag)


def test_scratch_is_the_model_alone_and_its_digest_never_changes(tmp_path: Path) -> None:
    layout = LayoutRepository(tmp_path, NAME)
    image = publishing(layout, NAME, open_base("scratch"), "linux/arm64/v8").ensure(model_version(), store().open)
    manifest, config = image_parts(layout, TAG)
    assert len(manifest["layers"]) == len(config["history"]) == 1
    assert (config["os"], config["architecture"], config["variant"]) == ("linux", "arm64", "v8")
    assert image.digest == "sha256:cd035f51bf80164fc3976c315198b0b325d4ef5afab64560aa26deb1182932e6"


def test_a_published_version_is_reused_whatever_todays_base(target: Repository, tmp_path: Path) -> None:
    first = publishing(target, NAME, BaseImage(base_layout(tmp_path / "a"), "linux-amd64")).ensure(
        model_version(), store().open
    )
    patched = BaseImage(base_layout(tmp_path / "b", env="A=2"), "linux-amd64")
    gone = BaseImage(LayoutRepository(tmp_path / "gone", "x"), "v1")
    for base in (patched, gone, None):
        assert publishing(target, NAME, base).ensure(model_version(), store().open) == replace(first, reused=True)


def test_a_listing_that_did_not_change_is_not_read_again(target: Repository) -> None:
    version = model_version(listing(etag="e1"))
    publisher, first_read, again = publishing(target, NAME, None), store(), store()
    first = publisher.ensure(version, first_read.open)
    assert sorted(first_read.opened) == sorted(FILES)
    assert publisher.ensure(version, again.open) == replace(first, reused=True)
    assert again.opened == []


@pytest.mark.parametrize(
    "seen",
    [
        model_version(listing()),
        model_version(listing(etag="e2")),
        model_version(listing(etag="e1"), uri="s3://elsewhere"),
        model_version(tuple(replace(file, etag=f"W/{file.etag}") for file in listing(etag="e1"))),
        model_version((*listing(etag="e1")[1:], listing()[0])),
    ],
    ids=["no ETags", "other ETags", "another address", "weak ETags", "one without"],
)
def test_a_listing_that_proves_nothing_is_read_and_still_is_the_image(target: Repository, seen: ModelVersion) -> None:
    publisher, read = publishing(target, NAME, None), store()
    first = publisher.ensure(model_version(listing(etag="e1")), store().open)
    assert publisher.ensure(seen, read.open) == replace(first, reused=True)
    assert sorted(read.opened) == sorted(FILES)
    # Strong ETags from there are known from now on; without them nothing can be.
    once_more = store()
    publisher.ensure(seen, once_more.open)
    assert bool(once_more.opened) == (listing_tag(seen, TAG) is None)


@pytest.mark.parametrize("etag", [None, "e2"])
def test_files_changed_in_place_are_refused_and_nothing_is_overwritten(target: Repository, etag: str | None) -> None:
    publisher = publishing(target, NAME, None)
    first = publisher.ensure(model_version(listing(etag="e1")), store().open)
    changed = model_version(listing(CHANGED, etag=etag))
    with pytest.raises(RefusedError, match="the files of fraud-detector:7 are sha256:") as error:
        publisher.ensure(changed, store(CHANGED).open)
    assert first.content_digest in error.value.message
    assert error.value.message.count("sha256:") == 2
    assert publisher.find(changed) == replace(first, reused=True)
    assert listing_tag(changed, TAG) is None or target.read_manifest(listing_tag(changed, TAG) or "") is None


def test_a_tag_that_is_not_ours_is_refused(target: Repository) -> None:
    config = Descriptor(CONFIG, target.write_blob([b"{}"], 2), 2).as_json()
    foreign = canonical({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []})
    target.create_manifest(TAG, foreign)
    publisher, read = publishing(target, NAME, None), store()
    with pytest.raises(RefusedError, match="not published by promoter"):
        publisher.find(model_version())
    with pytest.raises(RefusedError, match="not published by promoter"):
        publisher.ensure(model_version(), read.open)
    assert read.opened == []
    assert target.read_manifest(TAG) == foreign


def test_a_tag_of_another_model_or_platform_is_refused_by_name(target: Repository) -> None:
    publishing(target, NAME, None, "linux/amd64").ensure(model_version(), store().open)
    with pytest.raises(RefusedError, match="is the image of fraud-detector:7, not of churn:7"):
        publishing(target, NAME, None).find(model_version(name="churn"))
    with pytest.raises(RefusedError, match="published for linux/amd64, not for linux/arm64"):
        publishing(target, NAME, None, "linux/arm64").find(model_version())


def test_two_promoters_at_once_end_with_one_image(target: Repository) -> None:
    """The second starts and ends while the first packs; their images differ in a run id."""
    publisher = publishing(target, NAME, None)
    results: list[Image] = []

    def slow(file: Any) -> Any:
        if not results:
            results.append(publishing(target, NAME, None).ensure(model_version(), store().open))
        return store().open(file)

    mine = publisher.ensure(replace(model_version(), run_id="another"), slow)
    assert mine == replace(results[0], reused=True)


# -- bases ------------------------------------------------------------------------------------------------------------


def with_index(layout: LayoutRepository, *platforms: tuple[str, str]) -> str:
    """An index of the layout's manifests for these platforms."""
    entries = []
    for os_name, architecture in platforms:
        manifest = layout.read_manifest(f"{os_name}-{architecture}") or b""
        described = Descriptor(MANIFEST, sha256(manifest), len(manifest)).as_json()
        entries.append(described | {"platform": {"os": os_name, "architecture": architecture}})
    layout.create_manifest("all", canonical({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}))
    return "all"


def test_of_an_index_the_manifest_for_our_platform_is_taken(tmp_path: Path) -> None:
    for platform in (("linux", "arm64"), ("linux", "amd64")):
        base = base_layout(tmp_path / "base", platform=platform, env=f"ARCH={platform[1]}")
    with_index(base, ("linux", "arm64"), ("linux", "amd64"))
    layout = LayoutRepository(tmp_path / "target", NAME)
    publishing(layout, NAME, open_base(f"oci:{tmp_path / 'base'}:all")).ensure(model_version(), store().open)
    assert "ARCH=amd64" in image_parts(layout, TAG)[1]["config"]["Env"]
    with pytest.raises(RefusedError, match="is for linux/arm64, linux/amd64, not for linux/s390x"):
        publishing(layout, NAME, open_base(f"oci:{tmp_path / 'base'}:all"), "linux/s390x").ensure(
            model_version(version="8"), store().open
        )


def test_a_base_for_another_platform_is_refused_by_name_before_anything_is_written(tmp_path: Path) -> None:
    base_layout(tmp_path / "base", platform=("linux", "arm64"))
    layout = LayoutRepository(tmp_path / "target", NAME)
    with pytest.raises(RefusedError, match="is for linux/arm64, not for linux/amd64"):
        publishing(layout, NAME, open_base(f"oci:{tmp_path / 'base'}")).ensure(model_version(), store().open)
    assert not (tmp_path / "target").exists()


def test_a_base_in_a_registry_gives_the_same_image(registry_server: RegistryServer, tmp_path: Path) -> None:
    local, name = base_layout(tmp_path / "base"), f"{registry_server.host}/base/{uuid.uuid4().hex}"
    remote = RegistryRepository(ImageReference.parse(name), env={"DOCKER_CONFIG": str(tmp_path)})
    manifest = local.read_manifest("linux-amd64") or b""
    for part in (decode(manifest, "")["config"], *decode(manifest, "")["layers"]):
        blob = Descriptor.parse(part, "")
        remote.write_blob(local.read_blob(blob), blob.size)
    remote.create_manifest("3.11", manifest)
    digests = {
        publishing(
            LayoutRepository(tmp_path / f"target-{number}", NAME), NAME, open_base(text, env={"DOCKER_CONFIG": str(tmp_path)})
        )
        .ensure(model_version(), store().open)
        .digest
        for number, text in enumerate([f"oci:{tmp_path / 'base'}", f"{name}:3.11", f"{name}@{sha256(manifest)}"])
    }
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rootfs": {"diff_ids": []}}, "does not list as many layers"),
        ({"os": "windows"}, "is for windows/amd64"),
    ],
)
def test_a_base_that_contradicts_itself_is_refused(tmp_path: Path, change: Mapping[str, Any], message: str) -> None:
    base_layout(tmp_path / "base", **change)
    with pytest.raises(RefusedError, match=message):
        publishing(LayoutRepository(tmp_path / "t", NAME), NAME, open_base(f"oci:{tmp_path / 'base'}")).ensure(
            model_version(), store().open
        )


def test_a_damaged_base_layer_is_refused_and_no_tag_is_written(target: Repository, tmp_path: Path) -> None:
    base = base_layout(tmp_path / "base")
    damaged = tmp_path / "base/blobs/sha256" / sha256(b"second layer")[7:]
    damaged.write_bytes(b"Second layer")
    with pytest.raises(RefusedError, match="does not match its digest"):
        publishing(target, NAME, BaseImage(base, "linux-amd64")).ensure(model_version(), store().open)
    assert target.read_manifest(TAG) is None
    assert not target.has_blob(sha256(b"second layer"))


@pytest.mark.parametrize("text", ["oci:/nowhere/at/all", "ghcr.io/team/base", "Not A Reference"])
def test_a_base_that_can_not_be_meant_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        open_base(text)


@pytest.mark.parametrize("text", ["linux", "", "linux/", "a/b/c/d"])
def test_a_platform_that_is_none_is_a_usage_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="is not a platform"):
        publishing(LayoutRepository(tmp_path, NAME), NAME, None, text)


BROKEN = [
    {"layers": 1},
    {"layers": ["x"]},
    {"layers": [{"mediaType": LAYER, "digest": "sha256:../..", "size": 1}]},
    {"layers": [{"mediaType": LAYER, "digest": sha256(b""), "size": -1}]},
    {"layers": [{"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "digest": sha256(b""), "size": 1}]},
    {"config": None},
    {"manifests": "x"},
    {"manifests": [{"platform": 1}]},
]


@pytest.mark.parametrize("change", BROKEN, ids=[str(change)[:40] for change in BROKEN])
def test_a_base_whose_manifest_is_broken_is_refused(tmp_path: Path, change: Mapping[str, Any]) -> None:
    base = base_layout(tmp_path / "base")
    manifest = decode(base.read_manifest("linux-amd64") or b"", "")
    base.create_manifest("broken", canonical({**manifest, **change}))
    with pytest.raises(RefusedError) as error:
        publishing(LayoutRepository(tmp_path / "t", NAME), NAME, BaseImage(base, "broken")).ensure(
            model_version(), store().open
        )
    assert error.value.hint


# -- nothing half-published ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_line", "status"),
    [("POST /v2/", 507), ("PATCH /v2/", 507), ("PUT /v2/team/model/blobs/", 400), ("PUT /v2/team/model/manifests/", 400)],
)
def test_a_failure_at_any_request_leaves_no_tag_and_running_again_fixes_it(
    tmp_path: Path, request_line: str, status: int
) -> None:
    with fake.fake_registry(fake.FakeRegistry()) as server:
        repository = RegistryRepository(ImageReference.parse(f"{server.host}/team/model"), env={"DOCKER_CONFIG": str(tmp_path)})
        publisher = publishing(repository, NAME, BaseImage(base_layout(tmp_path / "base"), "linux-amd64"))
        server.fail(request_line, status, code="MANIFEST_INVALID", times=99)
        with pytest.raises(RefusedError, match=f"{status} MANIFEST_INVALID"):
            publisher.ensure(model_version(listing(etag="e")), store().open)
        assert server.manifests == {}
        server.faults.clear()
        image = publisher.ensure(model_version(listing(etag="e")), store().open)
        assert set(server.manifests) == {TAG, listing_tag(model_version(listing(etag="e")), TAG)}
        assert {sha256(manifest) for manifest in server.manifests.values()} == {image.digest}
        # The image itself is the last thing written but for its second tag.
        assert [call.path for call in server.asked("PUT")][-2].endswith(f"/manifests/{image_tag(model_version())}")


def test_who_may_read_the_image_but_not_push_can_use_it(tmp_path: Path) -> None:
    with fake.fake_registry(fake.FakeRegistry()) as server:
        repository = RegistryRepository(ImageReference.parse(f"{server.host}/team/model"), env={"DOCKER_CONFIG": str(tmp_path)})
        publisher = publishing(repository, NAME, None)
        first = publisher.ensure(model_version(), store().open)
        server.fail("PUT /v2/", 403, code="DENIED")
        assert publisher.ensure(model_version(listing(etag="e")), store().open) == replace(first, reused=True)


def test_no_secret_of_this_machine_is_published(tmp_path: Path) -> None:
    """The registry's login, and the credentials in the address that the model's files are read from."""
    auth = base64.b64encode(f"{fake.USERNAME}:{fake.PASSWORD}".encode()).decode()
    with fake.fake_registry(fake.FakeRegistry(bearer=True)) as server:
        (tmp_path / "config.json").write_text(json.dumps({"auths": {server.host: {"auth": auth}}}))
        repository = RegistryRepository(ImageReference.parse(f"{server.host}/team/model"), env={"DOCKER_CONFIG": str(tmp_path)})
        runtime = BaseImage(base_layout(tmp_path / "base"), "linux-amd64")
        for version, packing in (("7", Packing()), ("8", Packing(model=Embed.URI))):
            read_from = model_version(
                listing(etag="e"), version=version, uri="https://ann:s3cret@store.example/models?sig=s1gned"
            )
            publisher = Publisher(repository, NAME, lambda *_: runtime, packing=packing)
            publisher.ensure(read_from, store().open)
        stored = [*server.blobs.values(), *server.manifests.values(), *map(str.encode, server.manifests)]
    assert len(stored) >= 9
    for secret in (fake.PASSWORD, fake.TOKEN, auth, "s3cret", "s1gned", "store.example", server.host):
        assert not any(secret.encode() in data for data in stored)


def test_a_model_that_changes_or_vanishes_while_it_is_packed_leaves_no_tag(target: Repository) -> None:
    def grown(file: Any) -> Any:
        return store({path: data + b"more" for path, data in FILES.items()}).open(file)

    def vanished(file: Any) -> Any:
        raise FileNotFoundError(file.path)

    hostile: list[tuple[Callable[[Any], Any], type[Exception]]] = [(grown, RefusedError), (vanished, UnreachableError)]
    for open_file, error in hostile:
        with pytest.raises(error, match="model file"):
            publishing(target, NAME, None).ensure(model_version(), open_file)
        assert target.read_manifest(TAG) is None


ENSURE = """
import sys
from pathlib import Path
from promoter.image.layout import LayoutRepository
from promoter.image.base import open_base
from promoter.image.publish import Publisher
from tests.support.models import listing, model_version, store
print("ready", flush=True)
layout = LayoutRepository(Path(sys.argv[1]), sys.argv[3])
Publisher(layout, sys.argv[3], lambda *_: open_base("oci:" + sys.argv[2])).ensure(model_version(listing(etag="e")), store().open)
"""


def contents(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_killed_at_any_moment_and_run_again_it_ends_in_the_same_folder(tmp_path: Path) -> None:
    base_layout(tmp_path / "base")
    version, base = model_version(listing(etag="e")), open_base(f"oci:{tmp_path / 'base'}")
    publishing(LayoutRepository(tmp_path / "whole", NAME), NAME, base).ensure(version, store().open)
    command = [sys.executable, "-c", ENSURE, str(tmp_path / "killed"), str(tmp_path / "base"), NAME]
    killed = 0
    for milliseconds in (0, 1, 2, 3, 5, 8, 12, 20, 30, 50):
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        with process.stdout:
            try:
                process.wait(timeout=milliseconds / 1000)
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
                killed += process.wait() == -signal.SIGKILL
        if (tmp_path / "killed" / "oci-layout").exists():
            assert_valid(tmp_path / "killed")
    assert killed
    subprocess.run(command, check=True, capture_output=True)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert json.loads((tmp_path / "killed" / "index.json").read_text())["manifests"]
