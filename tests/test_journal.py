"""The journal: what promoter's commits record, and that one module knows how."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

import promoter
from promoter.gitops import Commit, Proposal
from promoter.models import Application, Environment, Model, Release
from promoter.promotion import journal

MODEL = Model("fraud detector", "registry.example.com/fraud", "fraud", "release.yaml")
ENVIRONMENT = Environment(
    name="staging",
    model=MODEL,
    application=Application("fraud", "default", "argocd", "https://git.example.com/x.git", "overlays/x", "main"),
)
NEW = Release(
    "fraud detector", "8", "sha256:" + "8" * 64, "registry.example.com/fraud", "v8-20260101T000000Z", "sha256:" + "a" * 64
)
OLD = replace(NEW, version="7", tag="v7-20260101T000000Z")
OF_NEW = f"Model: fraud detector\nModel-Version: 8\nModel-Digest: {NEW.model_digest}\nImage: {NEW.image}\nEnvironment: staging"
OF_OLD = f"Model: fraud detector\nModel-Version: 7\nModel-Digest: {OLD.model_digest}\nImage: {OLD.image}\nEnvironment: staging"

ENTRIES = {
    "promotion": (journal.promotion(ENVIRONMENT, NEW, "0123abcd"), f"Promotion-Id: 0123abcd\n{OF_NEW}"),
    "restore": (
        journal.restore(ENVIRONMENT, OLD, "f" * 40, NEW, "analysis failed", quarantine=False),
        f"Restores: {'f' * 40}\n{OF_OLD}\nRollout-Abort: analysis failed\nFailed-Version: 8",
    ),
    "restore with quarantine": (
        journal.restore(ENVIRONMENT, OLD, "f" * 40, NEW, "analysis failed", quarantine=True),
        f"Restores: {'f' * 40}\n{OF_OLD}\nRollout-Abort: analysis failed\nFailed-Version: 8\nQuarantined: fraud detector:8",
    ),
    "rollback": (
        journal.rollback(ENVIRONMENT, OLD, "f" * 40, NEW),
        f"Restores: {'f' * 40}\n{OF_OLD}\nRolled-Back-Version: 8",
    ),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_what_is_written_is_read_back(name: str) -> None:
    entry, block = ENTRIES[name]
    proposal = Proposal({}, "Subject", "", entry.trailers())
    assert proposal.trailer_block == block, "the trailers of published repositories do not change"
    commit = Commit("a" * 40, (), "Subject", "A", datetime.now(UTC), proposal.read_back)
    assert journal.of(commit) == entry
    assert entry.is_of(ENVIRONMENT)
    assert entry.by_promoter


def test_what_a_commit_claims_to_deploy_and_undoes() -> None:
    assert [entry.release(MODEL) for entry, _ in ENTRIES.values()] == [NEW, OLD, OLD, OLD]
    assert [journal.quarantines(entry, MODEL.name) for entry, _ in ENTRIES.values()] == [False, False, True, False]
    assert all(
        re.search(journal.PATTERN.replace("\\(", "(").replace("\\)", ")").replace("\\|", "|"), block, re.M)
        for _, block in ENTRIES.values()
    )


def test_a_commit_of_a_person_records_nothing() -> None:
    commit = Commit("a" * 40, (), "Subject", "A", datetime.now(UTC), {"Reviewed-by": "B"})
    assert journal.of(commit) == journal.Entry()
    assert not journal.of(commit).by_promoter


def test_the_same_release_whatever_it_replaces() -> None:
    first, second = (dict(journal.promotion(ENVIRONMENT, NEW, id).trailers()) for id in ("1", "2"))
    assert journal.same_release(first, second)
    assert not journal.same_release(first, dict(journal.promotion(ENVIRONMENT, OLD, "1").trailers()))


def test_one_module_knows_the_keys_and_one_reads_what_git_deploys() -> None:
    source = {path: path.read_text() for path in Path(promoter.__file__).parent.rglob("*.py")}
    keys = re.findall(r'": "([A-Z][A-Za-z]*(?:-[A-Z][a-z]+)+)"', source[Path(journal.__file__)])
    assert len(keys) == 11  # Model, Image, Environment and others of one word are words of every message, too
    for key in (*keys, "Quarantined"):
        assert [path.name for path, text in source.items() if re.search(rf"['\"]{key}['\"]", text)] == ["journal.py"], key
    assert [path.name for path, text in source.items() if "deployed(read_overlay(" in text] == ["overlay.py"]
