"""What ran where, since when, by whom, and how it ended: answers of `history` and `where` against a script's own book."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
from typer.testing import CliRunner

from promoter.cli import app
from promoter.image.oci import sha256
from promoter.promotion.outcome import Act, End
from promoter.promotion.record import COMMIT, VERDICT
from promoter.promotion.recorder import Records
from tests.support.mlflow_server import MlflowServer
from tests.support.record_world import MEASURED, PERSON, RecordWorld, lived, promoter_cache, with_registry
from tests.support.registry_server import RegistryServer, registry_server
from tests.support.write_path import seed, unique_name

__all__ = ["registry_server"]
PROMOTIONS = 30


@pytest.fixture(scope="module")
def it(mlflow_server: MlflowServer, registry_server: RegistryServer, tmp_path_factory: pytest.TempPathFactory) -> RecordWorld:
    """One for all tests, made with nothing of this machine's own settings."""
    folder = tmp_path_factory.mktemp("record")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
        return lived(with_registry(seed(folder, mlflow_server, unique_name()), registry_server), 25, PROMOTIONS)


def asked(it: RecordWorld, cache: Path, *arguments: str) -> Any:
    """What the command line answers in JSON, in this process."""
    environ = it.path.environ | promoter_cache(cache)
    done = CliRunner(env=environ).invoke(app, [*it.path.command(*arguments)[3:], "-o", "json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def by_the_book(it: RecordWorld, name: str) -> list[tuple[object, ...]]:
    """Newest first."""
    lines = reversed(it.book[name])
    return [(one.commit, one.version, one.act, one.end, one.reason, one.by, one.quarantined, one.next) for one in lines]


def answered(entry: Mapping[str, Any]) -> tuple[object, ...]:
    ended = entry["outcome"]
    known = (entry["commit"], entry["version"], entry["act"], ended["end"], ended["reason"], ended["by"])
    return (*known, ended["quarantined"], ended["commit"])


def check_answers(it: RecordWorld, cache: Path) -> None:
    """Each question, answered as the script's book has it."""
    every = asked(it, cache, "history", "--all", "-n", "1000")
    assert len(every) == sum(len(lines) for lines in it.book.values())
    assert every == asked(it, cache, "history", "--model", it.path.model, "-n", "1000")
    for name in it.book:
        assert [answered(entry) for entry in every if entry["environment"] == name] == by_the_book(it, name)
        assert asked(it, cache, "history", name, "-n", "3") == [one for one in every if one["environment"] == name][:3]
    for place in asked(it, cache, "where", it.path.model):
        now = it.now(place["environment"])
        assert (place["state"], place["version"], place["commit"]) == (End.DEPLOYED, now.version, now.commit)
        assert place["run"] == it.runs[now.version]
        frozen = [note for note in place["notes"] if note.startswith("frozen until it is thawed")]
        assert len(frozen) == (place["environment"] in it.frozen)
    for version, run in it.runs.items():
        places = asked(it, cache, "where", f"{it.path.model}:{version}")
        assert [place["environment"] for place in places] == list(it.book)
        for place in places:
            lines = [line for line in it.book[place["environment"]] if line.version == version]
            newest = max(lines, key=lambda line: (line.end is End.DEPLOYED, lines.index(line)), default=None)
            assert place["run"] == run
            assert place["state"] == (newest.end if newest else "never deployed")
            assert place["commit"] == (newest.commit if newest else None)
            assert place["decision"] == it.against.get((place["environment"], version), "")


def test_every_question_is_answered_as_the_script_has_it_also_without_cache_and_tags(it: RecordWorld, tmp_path: Path) -> None:
    ends = {line.end for lines in it.book.values() for line in lines}
    assert ends == {End.DEPLOYED, End.REPLACED, End.ABORTED, End.ROLLED_BACK, End.REJECTED}
    assert {line.act for lines in it.book.values() for line in lines} == set(Act)
    cache = tmp_path / "cache"
    check_answers(it, cache)
    shutil.rmtree(cache)
    delete_tags(it)
    check_answers(it, cache)


def test_each_release_has_its_record_until_every_one_is_deleted(it: RecordWorld, tmp_path: Path) -> None:
    """Without them Git answers as before, and what only they had is not known."""
    clients, kinds = it.clients, dict[str, set[str]]()
    records = Records(clients, clients.config.models[it.path.model].repository)
    images = {records.digest(image) for image in tags(it)}
    assert len(images) == len({line.version for lines in it.book.values() for line in lines})
    for one in (one for image in images for one in records.listed(image)):
        kinds.setdefault(one.annotations[COMMIT], set()).add(one.annotations[VERDICT])
    for line in (line for lines in it.book.values() for line in lines):
        assert kinds[line.commit] == {"aborted" if line.end is End.ABORTED else "live"}, line
    aborted = next(line for line in it.book["staging"] if line.end is End.ABORTED)
    told = asked(it, tmp_path, "history", "staging", aborted.commit)["recorded"]
    assert {one["verdict"]["kind"] for one in told} == kinds[aborted.commit]
    for name in it.book:
        (verified,) = asked(it, tmp_path, "verify", name)
        assert {check["of"]: check["result"] for check in verified["checks"]} == {
            "signature": "not known",
            "image": "passed",
            "commit": "passed",
            "Git": "passed",
            "outcome": "passed",
            "cluster": "not known",
        }
    delete_records(it, images)
    check_answers(it, tmp_path)
    assert asked(it, tmp_path, "history", "staging", aborted.commit)["recorded"] == []
    done = it.path.run("verify", "staging", **promoter_cache(tmp_path))
    assert (done.returncode, "has no record of" in done.stderr) == (20, True)


def tags(it: RecordWorld) -> list[str]:
    """Those of the images that were ever deployed."""
    found = set()
    for name, lines in it.book.items():
        for line in lines:
            text = it.path.git("show", f"{line.commit}:overlays/{name}/kustomization.yaml")
            found.add(re.search(r"newTag: (\S+)", text)[1])  # type: ignore[index]
    return sorted(found)


def delete_records(it: RecordWorld, images: set[str]) -> None:
    """By the registry's own API, as a person cleans up."""
    repository = it.clients.attachments(it.clients.config.models[it.path.model].repository)
    host, _, path = repository.name.partition("/")
    for image in images:
        for one in repository.referrers.of(image):
            assert requests.delete(f"http://{host}/v2/{path}/manifests/{one.digest}", timeout=30).ok
        index = repository.read_manifest(image.replace(":", "-"))
        assert index is not None
        assert requests.delete(f"http://{host}/v2/{path}/manifests/{sha256(index)}", timeout=30).ok
        assert repository.referrers.of(image) == ()


def delete_tags(it: RecordWorld) -> None:
    """All that promoter wrote into MLflow."""
    server, model = it.path.server, it.path.model
    for version in it.runs:
        found = server.api("GET", "model-versions/get", name=model, version=version)["model_version"]
        for tag in found.get("tags", []):
            server.api("DELETE", "model-versions/delete-tag", name=model, version=version, key=tag["key"])


def test_one_entry_has_the_evidence_of_its_end(it: RecordWorld, tmp_path: Path) -> None:
    name, aborted = next((name, line) for name, lines in it.book.items() for line in lines if line.end is End.ABORTED)
    found = asked(it, tmp_path, "history", name, aborted.commit[:12])
    assert found["entry"]["commit"] == aborted.commit
    assert f"analysis fraud-detector-7d9-2-1: {MEASURED}" in found["ended"].splitlines()
    assert f"run: {it.runs[aborted.version]}" in found["message"].splitlines()
    assert "Promotion-Id" not in found["message"]
    shown = it.path.run("history", name, aborted.commit, **promoter_cache(tmp_path)).stdout
    assert f"quarantined: analysis failed: {MEASURED}" in shown
    done = it.path.run("history", name, "0123456789", **promoter_cache(tmp_path))
    assert (done.returncode, "no release came with a commit '0123456789'" in done.stderr) == (2, True)


def test_an_alias_is_where_its_version_is(it: RecordWorld, tmp_path: Path) -> None:
    version = it.now("production").version
    it.path.server.set_alias(it.path.model, "asked", version)
    places = asked(it, tmp_path, "where", f"{it.path.model}@asked")
    assert [place["version"] for place in places] == [version, version]
    assert places == asked(it, tmp_path, "where", f"{it.path.model}:{version}")


def test_without_mlflow_git_answers_and_the_run_is_not_known(it: RecordWorld, tmp_path: Path) -> None:
    nobody = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", **promoter_cache(tmp_path)}
    done = it.path.run("where", it.path.model, "-o", "json", **nobody)
    assert done.returncode == 4
    for place in json.loads(done.stdout):
        assert (place["version"], place["run"]) == (it.now(place["environment"]).version, None)
        assert "its run is not known" in place["notes"][0]
    shown = it.path.run("where", it.path.model, **nobody).stdout
    assert shown.count("MLflow run  not known") == 2
    assert "MLflow run" not in it.path.run("where", "no-such-model", **nobody).stdout


def test_a_release_that_a_merge_left_out_is_not_known(it: RecordWorld, tmp_path: Path) -> None:
    """The last test here: it adds to the branch."""
    left_out = it.merge_without_its_release("staging")
    found = asked(it, tmp_path, "history", "staging", "-n", "1000")
    entry = next(one for one in found if one["commit"] == left_out.commit)
    assert (entry["outcome"]["end"], "one side of a merge" in entry["outcome"]["reason"]) == (End.UNKNOWN, True)
    rest = [answered(one) for one in found if one is not entry]
    assert rest == by_the_book(it, "staging")


def test_who_asked_is_a_person(it: RecordWorld, tmp_path: Path) -> None:
    rolled = [one for one in asked(it, tmp_path, "history", "--all", "-n", "1000") if one["outcome"]["end"] == End.ROLLED_BACK]
    assert {one["outcome"]["by"] for one in rolled} == {PERSON}
