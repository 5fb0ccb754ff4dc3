"""plan against a real MLflow server and a real Git remote: what it shows, what it leaves alone, what it refuses."""

from __future__ import annotations

import json
import socket

import pytest

from promoter.cli.text import plan_text
from promoter.commands.plan import UNBUILT, Plan, promotion_id
from promoter.errors import ConfigError, ExitCode, PromoterError, RefusedError, UnreachableError, UsageError
from promoter.kustomize.render import tool
from promoter.promotion.gates.golden import UNJUDGED
from tests.support.write_path import KUSTOMIZATION, OVERLAY, RELEASE, WritePath, path

__all__ = ["path"]


def test_a_plan_and_a_dry_run_write_nothing(path: WritePath) -> None:
    path.register()
    before = path.outside()
    planned = path.run("plan", f"{path.model}@challenger", "--to", "staging")
    dry = path.run("promote", f"{path.model}@challenger", "--to", "staging", "--dry-run")
    assert (planned.returncode, dry.returncode) == (0, 0), planned.stderr + dry.stderr
    assert planned.stdout == dry.stdout
    assert path.outside() == before


def test_the_plan_as_json_is_one_document_with_these_fields(path: WritePath) -> None:
    path.register()
    path.promote(f"{path.model}:1")
    path.register()
    done = path.run("plan", f"{path.model}@challenger", "--to", "staging", "-o", "json")
    made = json.loads(done.stdout)
    assert list(made) == [
        "environment",
        "reference",
        "version",
        "image",
        "before",
        "after",
        "changes",
        "diff",
        "rendered",
        "commit",
        "warnings",
        "workloads",
        "built",
        "gates",
        "hash",
        "checks",
    ]
    assert list(made["after"]) == ["model", "version", "model_digest", "repository", "tag", "digest"]
    assert (made["before"]["version"], made["after"]["version"]) == ("1", "2")
    assert made["image"] is None
    assert made["commit"] == path.tip
    assert [(change["file"], change["key"]) for change in made["changes"]] == [
        (KUSTOMIZATION, "images[inference-service].newTag"),
        (KUSTOMIZATION, "images[inference-service].digest"),
        (RELEASE, "data.modelVersion"),
        (RELEASE, "data.modelDigest"),
    ]
    assert all(list(change) == ["file", "key", "old", "new"] for change in made["changes"])


def test_an_image_that_is_not_built_yet_is_reported(path: WritePath) -> None:
    path.register()
    made = path.plan(f"{path.model}@challenger")
    assert made.image is None
    assert made.after.digest == made.after.model_digest == ""
    assert {change.new for change in made.changes if "igest" in change.key} == {UNBUILT}
    assert UNBUILT in plan_text(made)


def test_both_differences_are_shown(path: WritePath) -> None:
    if tool() is None:
        pytest.skip("neither kustomize nor kubectl is here")
    path.register()
    path.promote(f"{path.model}:1")
    path.register()
    path.promote(f"{path.model}:2")
    made = path.plan(f"{path.model}:1", rendering=True)
    assert made.image is not None
    assert made.diff.startswith(f"--- a/{KUSTOMIZATION}\n+++ b/{KUSTOMIZATION}\n")
    assert f"+++ b/{RELEASE}\n" in made.diff
    assert made.rendered is not None
    assert made.rendered.startswith("--- rendered now\n+++ rendered then\n")
    assert f"image: registry.example.com/models/{path.model}:{made.image.tag}@{made.image.digest}\n" in made.rendered
    assert '+        model-version: "1"\n' in made.rendered
    assert made.diff in plan_text(made)


def test_what_is_already_there_is_reported(path: WritePath) -> None:
    path.register()
    path.promote(f"{path.model}:1")
    made = path.plan(f"{path.model}:1")
    assert made.already_there
    assert made.diff == ""
    assert plan_text(made) == f"{path.model} version 1 to staging: already there, nothing to change\n"


def test_a_bare_name_means_the_alias_of_the_environment(path: WritePath) -> None:
    path.register()
    path.register(alias=None)
    assert path.plan(path.model).version.version == "1"
    path.server.set_stage(path.model, "2", "Production")
    path.edit("promoter.yaml", "alias: challenger", "alias: stage/Production")
    assert path.plan(path.model).version.version == "2"
    path.edit("promoter.yaml", "  alias: stage/Production\n", "")
    with pytest.raises(RefusedError, match="names no version, and environment 'staging' follows no alias"):
        path.plan(path.model)


def test_a_missing_alias_version_and_model_are_named(path: WritePath) -> None:
    path.register()
    with pytest.raises(UsageError, match=f"has no {path.model}@champion") as alias:
        path.plan(f"{path.model}@champion")
    assert alias.value.hint == f"the aliases of {path.model} are challenger (version 1)"
    with pytest.raises(UsageError, match=f"has no {path.model}:9"):
        path.plan(f"{path.model}:9")
    path.edit("promoter.yaml", path.model, "no-such-model")
    with pytest.raises(UsageError, match="has no registered model 'no-such-model'") as model:
        path.plan("no-such-model@challenger")
    assert {error.value.exit_code for error in (alias, model)} == {ExitCode.USAGE}


@pytest.mark.parametrize("reference", ["a/b/c", "../../etc/passwd", "name:latest", "name:1;id", "name@", "", "models:/m-1234"])
def test_what_names_no_model_version_is_refused(path: WritePath, reference: str) -> None:
    with pytest.raises(UsageError) as caught:
        path.plan(reference)
    assert caught.value.hint


@pytest.mark.parametrize("file", [KUSTOMIZATION, RELEASE])
def test_malformed_yaml_in_the_overlay_is_named_by_line(path: WritePath, file: str) -> None:
    path.register()
    whole = path.read(file)
    path.commit({file: whole + b"\n]\n"})
    with pytest.raises(ConfigError, match="not YAML") as caught:
        path.plan(f"{path.model}:1")
    assert caught.value.exit_code == ExitCode.USAGE
    assert caught.value.message.startswith(f"{file}:{len(whole.splitlines()) + 2}: ")


def test_malformed_promoter_yaml_is_named_by_line(path: WritePath) -> None:
    path.edit("promoter.yaml", "environments: #", "environments: [ #")
    done = path.run("plan", f"{path.model}:1", "--to", "staging")
    assert done.returncode == ExitCode.USAGE
    assert "error: promoter.yaml:1" in done.stderr
    assert "is not valid YAML" in done.stderr


@pytest.mark.parametrize(
    ("gone", "message"),
    [(KUSTOMIZATION, f"{OVERLAY}: kustomization.yaml is missing"), (RELEASE, f"{RELEASE}: the file is missing")],
)
def test_a_missing_file_of_the_overlay_is_named(path: WritePath, gone: str, message: str) -> None:
    path.register()
    path.commit({gone: None})
    with pytest.raises(ConfigError) as caught:
        path.plan(f"{path.model}:1")
    assert caught.value.message == message
    assert caught.value.hint


@pytest.mark.parametrize("escape", ["../elsewhere", "/etc", "overlays/../../elsewhere"])
def test_an_overlay_outside_of_the_repository_is_refused(path: WritePath, escape: str) -> None:
    path.edit("environments/staging.yaml", f"path: {OVERLAY}", f"path: {escape}")
    with pytest.raises(ConfigError, match="lies outside the repository") as caught:
        path.plan(f"{path.model}:1")
    assert caught.value.message.startswith("environments/staging.yaml:")
    assert caught.value.key == "spec.source.path"


@pytest.mark.parametrize(
    "links",
    [
        {KUSTOMIZATION: "/etc/passwd"},
        {RELEASE: "../../../../../../etc/hostname"},
        {OVERLAY: "/etc"},
        {"overlays": "base"},
    ],
)
def test_a_link_in_the_remote_is_not_followed(path: WritePath, links: dict[str, str]) -> None:
    path.register()
    path.commit(dict.fromkeys(links))
    path.commit(links)
    with pytest.raises(RefusedError, match="is a symbolic link, which promoter does not follow") as caught:
        path.plan(f"{path.model}:1")
    assert caught.value.hint == "name the real path, or put the file itself there"


def test_a_base_that_is_a_link_is_never_read(path: WritePath) -> None:
    if tool() is None:
        pytest.skip("neither kustomize nor kubectl is here")
    path.register()
    path.commit({"base": None})
    path.commit({"base": "/etc"})
    with pytest.raises(RefusedError, match="base is a symbolic link, which promoter does not follow"):
        path.plan(f"{path.model}:1", rendering=True)


def with_links(path: WritePath, links: dict[str, str]) -> Plan:
    """The plan in a repository whose base lies in shared/ too, and whose paths `links` are links."""
    if tool() is None:
        pytest.skip("neither kustomize nor kubectl is here")
    path.register()
    names = path.git("ls-tree", "-r", "--name-only", "main", "base/").split()
    path.commit({f"shared/{name}": path.read(name) for name in names})
    path.commit(dict.fromkeys(links))
    path.commit(links)
    return path.plan(f"{path.model}:1", rendering=True)


@pytest.mark.parametrize(
    "links",
    [
        {"base": "shared/base"},
        {"base": "other", "other": "shared/base"},
        {"base/rollout.yaml": "real.yaml", "base/real.yaml": "more.yaml"},
    ],
    ids=["a folder", "a link to a link", "a file"],
)
def test_a_link_inside_the_repository_is_followed(path: WritePath, links: dict[str, str]) -> None:
    path.commit({"base/more.yaml": path.read("base/rollout.yaml")})
    made = with_links(path, links)
    assert made.built
    assert made.warnings == (UNJUDGED,)


def test_a_linked_file_of_another_folder_is_refused_as_kustomize_refuses_it(path: WritePath) -> None:
    with pytest.raises(RefusedError, match="is not in or below") as caught:
        with_links(path, {"base/rollout.yaml": "../shared/base/rollout.yaml"})
    assert "--load-restrictor LoadRestrictionsNone" in caught.value.hint


def test_links_that_lead_to_each_other_leave_unknown_what_is_rendered(path: WritePath) -> None:
    made = with_links(path, {"base": "other", "other": "base"})
    assert "leads through more than 40 symbolic links" in made.warnings[-1]
    assert not made.built


def test_an_overlay_that_does_not_build_is_refused_unless_the_check_is_left_out(path: WritePath) -> None:
    if tool() is None:
        pytest.skip("neither kustomize nor kubectl is here")
    path.register()
    path.commit({"base/rollout.yaml": None})
    refused = path.run("promote", f"{path.model}:1", "--to", "staging", "--no-watch")
    assert refused.returncode == ExitCode.REFUSED
    assert "overlays/staging does not build" in refused.stderr
    assert "rollout.yaml" in refused.stderr
    assert "--no-render" in refused.stderr
    done = path.run("promote", f"{path.model}:1", "--to", "staging", "--no-watch", "--no-render")
    assert done.returncode == 0, done.stderr
    assert path.trailers()["Model-Version"] == "1"


def test_a_branch_that_is_not_there(path: WritePath) -> None:
    path.register()
    path.edit("environments/staging.yaml", "targetRevision: main", "targetRevision: release")
    with pytest.raises(RefusedError, match="has no branch release; it has main"):
        path.plan(f"{path.model}:1")


def test_an_empty_repository(path: WritePath) -> None:
    path.register()
    path.git("update-ref", "-d", "refs/heads/main")
    with pytest.raises(RefusedError, match="is empty: it has no branch main"):
        path.plan(f"{path.model}:1")


def test_a_remote_that_is_not_reached(path: WritePath, unused_port: int) -> None:
    path.register()
    path.edit("environments/staging.yaml", path.remote.as_uri(), f"http://git:s3cret-t0ken@127.0.0.1:{unused_port}/x.git")
    with pytest.raises(UnreachableError, match="can't be reached") as caught:
        path.plan(f"{path.model}:1")
    assert "s3cret-t0ken" not in caught.value.message + caught.value.hint


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_the_promotion_id_is_that_of_the_promotion(path: WritePath) -> None:
    path.register()
    made = path.plan(f"{path.model}:1")
    staging, release = made.environment, made.after
    production = path.clients().config.environment("production")
    same = promotion_id(staging, release, "blob")
    assert same == promotion_id(staging, path.plan(f"{path.model}:1").after, "blob")
    assert same != promotion_id(staging, release, "another blob")
    assert same != promotion_id(production, release, "blob")


def test_unknown_environment(path: WritePath) -> None:
    with pytest.raises(PromoterError, match=r"promoter\.yaml has no environment 'stagin'") as caught:
        path.plan(f"{path.model}:1", to="stagin")
    assert (caught.value.exit_code, caught.value.hint) == (ExitCode.USAGE, "did you mean 'staging'?")
