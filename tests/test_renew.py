"""init --diff: a scaffold of an earlier version is brought to this one, and nothing that people changed is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promoter import config
from promoter.commands.renew import Renewal, plan_renewal, renew
from promoter.commands.scaffold import template
from promoter.commands.scaffold.record import RECORD, read
from promoter.commands.scaffold.update import updates
from promoter.errors import ConfigError, RefusedError, UsageError
from promoter.gitops.checkout import Checkout, blob_id
from promoter.models import Serving
from tests.support.scaffolds import release_into, scaffold, wanted

ROLLOUT, SERVICES, ENVIRON = "base/rollout.yaml", "base/services.yaml", dict(os.environ)
SHIPPED = template.files
Change = Callable[[str, bytes], bytes | None]


def git(folder: Path, *arguments: str) -> str:
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
    who = ["-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main"]
    command = ["git", *who, "-C", str(folder), *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout


def commit(folder: Path) -> None:
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "x")


def version(monkeypatch: pytest.MonkeyPatch, change: Change, more: Mapping[str, bytes] | None = None) -> None:
    """Another version of promoter, whose templates differ."""

    def files() -> Iterator[tuple[str, bytes]]:
        for path, content in [*SHIPPED(), *(more or {}).items()]:
            if (changed := change(path, content)) is not None:
                yield path, changed

    monkeypatch.setattr(template, "files", files)


def older(path: str, content: bytes) -> bytes | None:
    """Without services.yaml; a rollout with another first and another last line."""
    if path == SERVICES:
        return None
    return b"# of an earlier version\n" + content + b"# the end\n" if path == ROLLOUT else content


def edit(folder: Path, path: str, old: str, new: str) -> None:
    text = (folder / path).read_text()
    assert old in text
    (folder / path).write_text(text.replace(old, new))


def renewed(folder: Path) -> Renewal:
    found = plan_renewal(folder, None, ENVIRON)
    renew(found)
    return found


def test_what_was_written_just_now_would_not_change(tmp_path: Path) -> None:
    scaffold(tmp_path, wanted())
    scaffold(tmp_path, wanted("fraud"))
    scaffold(tmp_path, wanted(environments=("canada",)))
    commit(tmp_path)
    found = plan_renewal(tmp_path, None, ENVIRON)
    assert (found.updates, [one.model for one in found.record.scaffolds]) == ((), ["churn", "fraud", "churn"])
    for one in config.load(tmp_path / config.FILE).environments:
        release_into(tmp_path, one)
    assert plan_renewal(tmp_path, None, ENVIRON).updates == ()


def test_edits_stay_and_what_nobody_touched_becomes_the_newer_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as then:
        version(then, older, {"base/left.yaml": b"a: 1\n", "base/kept.yaml": b"a: 1\n", "base/gone.yaml": b"a: 1\n"})
        scaffold(tmp_path, wanted())
    commit(tmp_path)
    edit(tmp_path, ROLLOUT, "minReadySeconds: 5", "minReadySeconds: 99")
    edit(tmp_path, "promoter.yaml", "models:", "# ours\nmodels:")
    (tmp_path / "base/kept.yaml").write_text("a: 2\n")
    (tmp_path / "base/gone.yaml").unlink()
    (tmp_path / "base/availability.yaml").unlink()

    found = plan_renewal(tmp_path, None, ENVIRON)
    assert {one.path: one.conflict for one in found.updates} == {
        ROLLOUT: "",
        SERVICES: "",
        "base/left.yaml": "",
        "base/kept.yaml": "it is not part of the scaffold any more, and was changed",
    }
    renew(found)
    text = (tmp_path / ROLLOUT).read_text()
    assert "minReadySeconds: 99" in text
    assert "earlier version" not in text
    assert (tmp_path / SERVICES).read_bytes() == dict(SHIPPED())[SERVICES]
    assert not (tmp_path / "base/left.yaml").exists()
    assert not (tmp_path / "base/availability.yaml").exists(), "somebody deleted it"
    assert (tmp_path / "base/kept.yaml").read_text() == "a: 2\n"
    assert "# ours" in (tmp_path / "promoter.yaml").read_text()
    assert [one.path for one in renewed(tmp_path).updates] == ["base/kept.yaml"], "it is named until somebody decides"


def test_the_same_lines_are_a_conflict_until_a_person_has_decided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as then:
        version(then, older)
        scaffold(tmp_path, wanted())
    commit(tmp_path)
    edit(tmp_path, ROLLOUT, "# of an earlier version", "# of ours")
    before = (tmp_path / ROLLOUT).read_bytes()
    for _ in range(2):
        [conflict] = renewed(tmp_path).conflicts
        assert (conflict.path, conflict.conflict) == (ROLLOUT, "both changed the same lines")
        assert "-# of ours" in conflict.diff
        assert (tmp_path / ROLLOUT).read_bytes() == before
    (tmp_path / ROLLOUT).write_bytes(dict(SHIPPED())[ROLLOUT])
    assert plan_renewal(tmp_path, None, ENVIRON).updates == ()


def test_a_merged_file_is_merged_again_by_the_next_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No commit contains what it is to be compared with: the record does."""
    with monkeypatch.context() as then:
        version(then, older)
        scaffold(tmp_path, wanted())
    commit(tmp_path)
    edit(tmp_path, ROLLOUT, "minReadySeconds: 5", "minReadySeconds: 99")
    renewed(tmp_path)
    assert list(read((tmp_path / RECORD).read_bytes()).texts) == [ROLLOUT]
    with monkeypatch.context() as later:
        version(later, lambda path, content: content + b"# newest\n" if path == ROLLOUT else content)
        assert renewed(tmp_path).conflicts == ()
    text = (tmp_path / ROLLOUT).read_text()
    assert text.endswith("# newest\n")
    assert "minReadySeconds: 99" in text


def test_without_a_record_only_what_is_missing_is_written(tmp_path: Path) -> None:
    """As in a scaffold of a version that kept none."""
    scaffold(tmp_path, wanted(named=False))
    commit(tmp_path)
    (tmp_path / RECORD).unlink()
    edit(tmp_path, ROLLOUT, "minReadySeconds: 5", "minReadySeconds: 99")
    (tmp_path / SERVICES).unlink()
    with pytest.raises(UsageError, match="what this repository was made for is not known"):
        plan_renewal(tmp_path, None, ENVIRON)
    with pytest.raises(UsageError, match="with a server of your own"):
        plan_renewal(tmp_path, wanted(serving=Serving.OWN), ENVIRON)
    found = plan_renewal(tmp_path, wanted(), ENVIRON)
    assert {one.path: one.conflict for one in found.updates} == {ROLLOUT: "what it was made from is not known", SERVICES: ""}
    renew(found)
    assert "minReadySeconds: 99" in (tmp_path / ROLLOUT).read_text()
    assert (tmp_path / SERVICES).exists()
    assert [one.path for one in plan_renewal(tmp_path, None, ENVIRON).updates] == [ROLLOUT]


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", "\xff", *(f'{{"format": {n}, "promoter": "9", "scaffolds": [], "files": {{}}}}' for n in (1, 2))],
)
def test_a_record_that_is_something_else_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / RECORD).write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"\.promoter-scaffold\.json"):
        plan_renewal(tmp_path, None, ENVIRON)


LINES = st.lists(st.sampled_from([b"a\n", b"b\n", b"c\n", b"\n"]), max_size=8).map(b"".join)


@given(base=LINES, mine=LINES, new=LINES)
def test_a_line_that_a_person_added_stays(base: bytes, mine: bytes, new: bytes) -> None:
    """Whatever both did: the result has every line that the person added, or the file stays as it is."""
    mine = mine.replace(b"a", b"person")
    checkout = Checkout(Path("/nowhere"), ENVIRON)
    found = updates({"f": blob_id(base)}, {"f": new}, {"f": mine}.get, {"f": base}.get, checkout.merged)
    after = next((one.after or b"" for one in found if not one.conflict), mine)
    assert after.count(b"person") >= mine.count(b"person")


@pytest.mark.parametrize("kind", ["clone", "worktree"])
def test_a_blob_is_found_wherever_the_repository_is(tmp_path: Path, kind: str) -> None:
    (tmp_path / "main/deep").mkdir(parents=True)
    (tmp_path / "main/deep/f").write_bytes(b"x\n")
    commit(tmp_path / "main")
    folder = tmp_path / "main/deep"
    if kind == "worktree":
        git(tmp_path / "main", "worktree", "add", "--quiet", str(tmp_path / "other"))
        folder = tmp_path / "other/deep"
    assert git(tmp_path / "main", "hash-object", "deep/f").strip() == blob_id(b"x\n")
    assert Checkout(folder, ENVIRON).blob(blob_id(b"x\n")) == b"x\n"
    assert Checkout(folder, ENVIRON).blob(blob_id(b"y\n")) is None
    assert Checkout(tmp_path, ENVIRON).blob(blob_id(b"x\n")) is None


def test_the_command_shows_the_diff_and_writes_with_yes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as then:
        version(then, older)
        scaffold(tmp_path, wanted())
    commit(tmp_path)

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "promoter", "init", str(tmp_path), "--diff", *more]
        return subprocess.run(command, capture_output=True, text=True, check=True)

    shown = run()
    assert "-# of an earlier version\n" in shown.stdout
    assert "2 files would change" in shown.stderr
    assert git(tmp_path, "status", "--porcelain") == ""
    written = json.loads(run("--yes", "-o", "json").stdout)
    assert (written["written"], [one["path"] for one in written["files"]]) == (True, [ROLLOUT, SERVICES])
    assert "no files would change" in run().stderr


@pytest.mark.parametrize("path", ["../outside.txt", "base/../../outside.txt", "/etc/outside.txt", ".git/config"])
def test_a_record_that_names_a_file_elsewhere_reads_and_removes_nothing(tmp_path: Path, path: str) -> None:
    """Whoever may push writes the record."""
    folder = tmp_path / "repository"
    scaffold(folder, wanted())
    outside = tmp_path / "outside.txt"
    outside.write_text("theirs\n")
    record = json.loads((folder / RECORD).read_text())
    record["files"][path] = blob_id(b"theirs\n")
    (folder / RECORD).write_text(json.dumps(record))
    with pytest.raises(RefusedError, match="is left alone"):
        renew(plan_renewal(folder, None, ENVIRON))
    assert outside.read_text() == "theirs\n"


@pytest.mark.parametrize("link", ["base", "base/rollout.yaml"])
def test_nothing_is_written_through_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: str) -> None:
    folder, outside = tmp_path / "repository", tmp_path / "outside"
    scaffold(folder, wanted())
    (folder / link).rename(outside)
    (folder / link).symlink_to(outside)
    version(monkeypatch, older)
    with pytest.raises(RefusedError, match=f"{link} is a link"):
        renew(plan_renewal(folder, None, ENVIRON))


def test_a_link_that_leads_nowhere_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository/promoter.yaml").symlink_to(tmp_path / "outside.yaml")
    with pytest.raises(RefusedError, match=r"promoter\.yaml is a link"):
        scaffold(tmp_path / "repository", wanted())
    assert not (tmp_path / "outside.yaml").exists()
