"""image: finds or publishes a version's image without touching an environment, and reports why."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from promoter.cli.text import publication_text, reasons_text
from promoter.commands.image import Publication, Reasons, explain, publish
from promoter.errors import AuthError, RefusedError, UsageError
from promoter.models import Origin, Role
from promoter.promotion.steps import Steps
from tests.support import azure
from tests.support import fake_registry as fake
from tests.support.fake_registry import digest
from tests.support.internet import internet
from tests.support.write_path import WritePath, path
from tests.test_image_publish import base_layout

__all__ = ["path"]


def published(path: WritePath, reference: str = "", *, to: str | None = None, rebuild: bool = False) -> Publication:
    return publish(path.clients(), reference or f"{path.model}@challenger", Steps(), to=to, rebuild=rebuild)


def explained(path: WritePath, reference: str = "", *, to: str | None = None) -> Reasons:
    return explain(path.clients(), reference or f"{path.model}@challenger", Steps(), to=to)


def runtime(path: WritePath, folder: Path, env: str = "A=1") -> None:
    """From now on models are put on an image of two layers."""
    base_layout(folder, env=env)
    text = path.config.read_text()
    line = next(line for line in text.splitlines() if line.startswith("  runtime: "))
    path.edit("promoter.yaml", line, f"  runtime: oci:{folder}:linux-amd64")


def rows(text: str) -> dict[str, str]:
    pairs = (line.strip().partition("  ") for line in text.splitlines())
    return {name: value.strip() for name, _, value in pairs}


def test_the_first_time_it_is_published_and_then_found(path: WritePath) -> None:
    path.register(b"12345")
    tip = path.tip
    first = published(path)
    assert path.image_digest(first.image.tag) == first.image.digest
    assert [blob.role for blob in first.image.blobs] == [Role.CONFIG, Role.MODEL]
    assert first.sent == first.total_size == sum(blob.size for blob in first.image.blobs) > first.image.size > 0
    again = published(path, f"{path.model}:1")
    assert (again.image, again.sent, again.total_size) == (replace(first.image, reused=True), 0, first.total_size)
    assert {blob.origin for blob in again.image.blobs} == {Origin.THERE}
    assert path.tip == tip


def test_people_read_what_was_reused_and_how_much_was_sent(path: WritePath, tmp_path: Path) -> None:
    runtime(path, tmp_path / "runtime")
    path.register()
    assert rows(publication_text(published(path)))["runtime"] == "2 sent (26 B)"
    path.register()
    second = published(path)
    told = rows(publication_text(second))
    assert told["model"].startswith("1 sent (")
    assert (told["published"], told["runtime"]) == ("now", "2 already there (26 B)")
    assert (told["repository"], told["tag"], told["digest"]) == (second.image.repository, second.image.tag, second.image.digest)
    assert rows(publication_text(published(path)))["published"] == "already"


def test_another_runtime_is_explained_and_gets_an_image_of_its_own_when_asked_for(path: WritePath, tmp_path: Path) -> None:
    path.register()
    runtime(path, tmp_path / "runtime")
    first = published(path)
    runtime(path, tmp_path / "patched", env="A=2")
    assert "the published image stays; --rebuild publishes an image on that one" in reasons_text(explained(path))
    assert published(path).image == replace(first.image, reused=True)
    rebuilt = published(path, rebuild=True).image
    assert rebuilt.tag.startswith(f"{first.image.tag}-")
    assert (rebuilt.reused, rebuilt.content_digest) == (False, first.image.content_digest)
    assert f"{rebuilt.tag} is on that one" in reasons_text(explained(path))
    assert path.image_digest(first.image.tag) == first.image.digest


def test_a_rebuilt_image_is_promoted_by_its_tag_and_stays(path: WritePath, tmp_path: Path) -> None:
    path.register()
    runtime(path, tmp_path / "runtime")
    own = path.promote(f"{path.model}:1").image
    runtime(path, tmp_path / "patched", env="A=2")
    rebuilt = published(path, rebuild=True).image
    assert path.promote(f"{path.model}:1").commit is None

    options = ("--to", "staging", "--no-watch", "--no-render", "-o", "json")
    done = path.run("promote", f"{path.model}:1", "--tag", rebuilt.tag, *options)
    outcome = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, outcome["commit"]) == (0, path.tip)
    assert (outcome["release"]["tag"], outcome["release"]["digest"]) == (rebuilt.tag, rebuilt.digest)
    assert {change["new"] for change in outcome["changes"]} == {rebuilt.tag, rebuilt.digest}

    again = path.promote(f"{path.model}:1")
    assert (again.commit, again.release.digest) == (None, rebuilt.digest)
    back = path.run("promote", f"{path.model}:1", "--tag", own.tag, *options)
    assert json.loads(back.stdout.splitlines()[-1])["release"]["digest"] == own.digest


@pytest.mark.parametrize(
    ("tag", "code", "message"),
    [
        ("v1-20200101000000-0f3a51c2", 20, "is published as registry.example.com/models/"),
        ("not a tag", 2, "'not a tag' is not a tag"),
        (f"v1@sha256:{64 * '0'}", 2, "is not a tag"),
    ],
)
def test_a_tag_that_names_no_image_is_refused(path: WritePath, tag: str, code: int, message: str) -> None:
    path.register()
    before = path.outside()
    done = path.run("promote", f"{path.model}:1", "--to", "staging", "--tag", tag, "--no-watch", "--no-render")
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert path.outside() == before


def test_a_tag_of_another_version_is_refused(path: WritePath) -> None:
    path.register()
    other = published(path).image.tag
    path.register()
    done = path.run("promote", f"{path.model}:2", "--to", "staging", "--tag", other, "--no-watch", "--no-render")
    assert done.returncode == 20
    assert f":{other} is the image of {path.model}:1, not of {path.model}:2" in done.stderr


def test_an_environment_chooses_the_alias(path: WritePath) -> None:
    path.register(alias="challenger")
    assert published(path, path.model, to="staging").version == "1"
    with pytest.raises(UsageError, match=r"promoter\.yaml has no environment 'nowhere'"):
        published(path, to="nowhere")
    with pytest.raises(UsageError, match=r"promoter\.yaml has no model 'other'"):
        published(path, "other:1")


def test_explaining_changes_nothing(path: WritePath) -> None:
    path.register()
    before = path.outside()
    first = explained(path)
    assert (first.reused, first.version) == (False, "1")
    assert "no image is published as" in reasons_text(first)
    assert path.outside() == before
    published(path)
    before = path.outside()
    second = explained(path)
    assert second.reused
    assert "it is reused" in reasons_text(second)
    assert path.outside() == before


def test_the_command_prints_it_for_programs(path: WritePath) -> None:
    path.register()
    done = path.run("image", f"{path.model}@challenger", "-o", "json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["model"], told["version"]) == (path.model, "1")
    assert path.image_digest(told["image"]["tag"]) == told["image"]["digest"]
    assert told["sent"] == told["total_size"] == sum(blob["size"] for blob in told["image"]["blobs"])
    both = path.run("image", f"{path.model}:1", "--explain", "--rebuild")
    assert (both.returncode, both.stdout) == (UsageError.exit_code, "")
    reasons = path.run("image", f"{path.model}:1", "--explain")
    assert "it is reused" in reasons.stdout


def test_a_tag_with_other_content_is_refused_in_both(path: WritePath) -> None:
    path.register(path.model.encode())
    image = published(path).image
    (file,) = [file for file in path.server.artifacts.rglob("weights.bin") if file.read_bytes() == path.model.encode()]
    file.write_bytes(b"changed")
    for ask in (published, explained):
        with pytest.raises(RefusedError, match=image.content_digest):
            ask(path)


def test_an_azure_registry_takes_it_and_no_secret_is_shown(
    path: WritePath, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole command as a process of its own; every secret that the stand-ins know begins with `s3cret`."""
    path.register()
    path.edit("promoter.yaml", "\n  layout: oci:images", "")
    path.edit("promoter.yaml", f"registry.example.com/models/{path.model}", "contoso.azurecr.io/team/model")
    variables = {
        "AZURE_TENANT_ID": azure.TENANT,
        "AZURE_CLIENT_ID": azure.CLIENT,
        "AZURE_CLIENT_SECRET": azure.CLIENT_SECRET,
        "AZURE_POD_IDENTITY_AUTHORITY_HOST": "http://127.0.0.1:1",
    }
    names = ("contoso.azurecr.io", "login.microsoftonline.com")
    folder = tmp_path_factory.mktemp("internet")
    with internet(folder, names) as world, fake.fake_registry(fake.FakeRegistry()) as backend:
        acr = azure.AzureRegistry(names[0], backend.host, "https://containerregistry.azure.net")
        world.services.update({names[0]: acr, names[1]: azure.entra})
        world.reach(monkeypatch)
        done = path.run("image", f"{path.model}:1", "-o", "json", **variables)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert digest(backend.manifests[told["image"]["tag"]]) == told["image"]["digest"]
        wrong = path.run("image", f"{path.model}:1", **variables | {"AZURE_CLIENT_SECRET": "s3cret-and-wrong"})
        assert (wrong.returncode, wrong.stdout) == (AuthError.exit_code, "")
        assert "AADSTS7000215" in wrong.stderr
    written = b"".join([*backend.manifests.values(), *backend.blobs.values()])
    assert "s3cret" not in done.stdout + done.stderr + wrong.stderr
    assert b"s3cret" not in written
