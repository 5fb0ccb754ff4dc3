"""promote --plan HASH: exactly the plan that somebody has looked at, or a refusal that names what is another now."""

from __future__ import annotations

import json

import pytest

from promoter.commands.plan import Plan
from promoter.commands.plan_hash import checked, plan_hash, require_same
from promoter.commands.promote import promote
from promoter.errors import SupersededError, UsageError
from promoter.promotion.steps import Steps
from tests.support.write_path import KUSTOMIZATION, PROMOTION, WritePath, path

__all__ = ["path"]


def changed(made: Plan, expected: str) -> list[str]:
    """The parts that a refusal names."""
    try:
        require_same(made, expected)
    except SupersededError as error:
        said = error.message.partition(f"{expected} changed: ")[2]
        return [part.partition(":")[0] for part in said.split("; ")]
    return []


def test_the_same_plan_has_the_same_hash_and_each_change_is_named(path: WritePath) -> None:
    path.register(), path.register()
    first = f"{path.model}:1"
    path.promote(first)
    then = plan_hash(path.plan(f"{path.model}:2"))
    assert changed(path.plan(f"{path.model}:2"), then) == []
    path.server.set_alias(path.model, "champion", "2")
    assert plan_hash(path.plan(f"{path.model}@champion")) == then  # how it was named decides nothing
    path.register()
    assert changed(path.plan(f"{path.model}:3"), then) == ["version"]
    path.commit({KUSTOMIZATION: path.read(KUSTOMIZATION) + b"# somebody's remark\n"})
    made = path.plan(f"{path.model}:2")
    assert changed(made, then) == ["overlay"]
    then = plan_hash(made)
    path.commit({PROMOTION: path.read(PROMOTION) + b"# another\n"})
    assert changed(path.plan(f"{path.model}:2"), then) == ["overlay"]
    then = plan_hash(path.plan(f"{path.model}:2"))
    path.commit({"README.md": b"not the overlay\n"})
    path.config.write_text(path.config.read_text() + "gates: {tags: {status: [approved]}}\n")
    path.server.api("POST", "model-versions/set-tag", name=path.model, version="2", key="status", value="approved")
    assert changed(path.plan(f"{path.model}:2"), then) == ["policy", "gates"]


def test_it_is_safe_to_repeat_after_the_image_and_after_the_commit(path: WritePath) -> None:
    path.register()
    made = path.plan(f"{path.model}:1")
    then = plan_hash(made)
    clients = path.clients()
    clients.publisher(made.environment.model).ensure(
        made.version, lambda file: clients.model_registry.open(made.version, file), ""
    )
    built = path.plan(f"{path.model}:1")
    assert built.image is not None
    assert changed(built, then) == []
    path.apply(built)
    deployed = path.plan(f"{path.model}:1")
    assert deployed.already_there
    assert changed(deployed, then) == []
    path.register()
    assert changed(path.plan(f"{path.model}:2"), then) == ["version", "overlay"]


def test_what_changes_between_plan_and_commit_is_refused_too(path: WritePath) -> None:
    path.register()
    made = path.plan(f"{path.model}:1")
    tip = path.commit({KUSTOMIZATION: path.read(KUSTOMIZATION) + b"# somebody's remark\n"})
    with pytest.raises(SupersededError, match="changed since the plan"):
        promote(path.clients(), made, Steps(), pinned=True)
    assert path.tip == tip
    assert promote(path.clients(), made, Steps()).commit == path.tip


def test_the_command_takes_the_hash_that_the_plan_prints(path: WritePath) -> None:
    path.register(), path.register()
    printed = json.loads(path.run("plan", f"{path.model}:1", "--to", "staging", "--no-render", "-o", "json").stdout)
    command = ("promote", f"{path.model}:1", "--to", "staging", "--no-render", "--no-watch")
    tip = path.tip
    other = path.run("promote", f"{path.model}:2", *command[2:], "--plan", printed["hash"])
    assert (other.returncode, path.tip) == (21, tip), other.stderr
    assert f"version: {path.model}:2 of " in other.stderr
    done = path.run(*command, "--plan", printed["hash"])
    assert (done.returncode, path.tip != tip) == (0, True), done.stderr


@pytest.mark.parametrize("text", ["", "1", "1-0123456789abcdef", "2" + "-0123456789abcdef" * 5, "1" + "-0123456789ABCDEF" * 5])
def test_what_is_no_hash_of_a_plan(text: str) -> None:
    assert checked("1" + "-0123456789abcdef" * 5)
    with pytest.raises(UsageError, match="is not the hash of a plan"):
        checked(text)
