"""Commits worded as a company wants them: templates, trailers, tickets and sign-offs, in every commit that promoter makes."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promoter import config
from promoter.commands.rollback import plan_rollback, rollback
from promoter.config.values import CommitConfig
from promoter.errors import ConfigError, UsageError
from promoter.gitops import Proposal
from promoter.promotion.message import Message, metric_lines, metrics_in
from tests.support.argo_world import FAILS, world
from tests.support.write_path import WritePath, path

__all__ = ["path"]

WORDED = """\
commit:
  subject: "{ticket}: {summary}"
  body: |
    Run {run}: {model} {previous} -> {version} in {environment} as {image} ({digest})
    {details}
  trailers: ["Change-Owner: risk", "Run: {run}"]
  sign-off: true
"""


NAMES = st.text(st.sampled_from("abc019_-./: "), min_size=1).filter(str.strip)  # what MLflow allows in a name
METRICS = st.dictionaries(NAMES, st.floats(), max_size=12)


@given(METRICS, METRICS)
def test_metrics_are_read_from_the_commit_that_has_them(before: dict[str, float], after: dict[str, float]) -> None:
    lines = metric_lines(before, after)
    assert metrics_in("\n".join(["image: nothing -> r.example.com/m:v1@sha256:0", "run: 0123456789", *lines])) == tuple(lines)


@pytest.fixture
def worded(path: WritePath) -> WritePath:
    path.config.write_text(path.config.read_text() + WORDED)
    return path


def message(path: WritePath) -> str:
    return path.git("log", "-1", "--format=%B", "main")


def test_a_promotion_has_the_templates_and_promoters_own_trailers(worded: WritePath) -> None:
    version = worded.register()
    done = worded.run("promote", f"{worded.model}@challenger", "--to", "staging", "--no-watch", "--trailer", "Ticket=OPS-7")
    assert done.returncode == 0, done.stderr
    text = message(worded)
    assert text.splitlines()[0] == f"OPS-7: Promote {worded.model} version {version} to staging"
    assert f"{worded.model}  -> {version} in staging as registry.example.com/models/{worded.model}:v{version}-" in text
    assert "\naccuracy: 0.9" in text, "what promoter writes itself"
    trailers = worded.trailers()
    author = worded.git("log", "-1", "--format=%an <%ae>", "main").strip()
    assert trailers["Model-Version"] == version
    assert trailers["Signed-off-by"] == author
    assert (trailers["Ticket"], trailers["Change-Owner"], len(trailers["Run"])) == ("OPS-7", "risk", 32)


def test_the_ticket_may_be_in_the_environment(worded: WritePath) -> None:
    worded.register()
    reference = f"{worded.model}@challenger"
    done = worded.run("promote", reference, "--to", "staging", "--no-watch", PROMOTER_TICKET="OPS-8")
    assert done.returncode == 0, done.stderr
    assert worded.trailers()["Ticket"] == "OPS-8"


def test_without_a_ticket_nothing_is_published(worded: WritePath) -> None:
    worded.register()
    before = worded.outside()
    done = worded.run("promote", f"{worded.model}@challenger", "--to", "staging", "--no-watch")
    assert (done.returncode, worded.outside()) == (2, before)
    assert "commits need a ticket here" in done.stderr
    assert "add --trailer Ticket=ID, or set PROMOTER_TICKET" in done.stderr


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("Ticket", "--trailer 'Ticket' is not KEY=VALUE"),
        ("Ti cket=1", "--trailer 'Ti cket=1' is not KEY=VALUE"),
        ("quarantined=m:1", "promoter writes the trailer quarantined itself"),
        ("Model-Version=9", "promoter writes the trailer Model-Version itself"),
    ],
)
def test_a_trailer_that_cannot_be_added_is_refused(path: WritePath, option: str, complaint: str) -> None:
    path.register()
    done = path.run("promote", f"{path.model}@challenger", "--to", "staging", "--no-watch", "--trailer", option)
    assert (done.returncode, path.commits()[1:]) == (2, [])
    assert complaint in done.stderr


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ('subject: "{tikcet} x"', "has an unknown field {tikcet}; did you mean 'ticket'?"),
        ('subject: "{version!r} x"', "has an unknown field {version}"),
        ('subject: "{version:>9}"', "has an unknown field {version}"),
        ('subject: "{0.__class__}"', "has an unknown field {0.__class__}"),
        ('subject: "{version"', "has a brace that is not part of a field; write {{ or }} for a brace"),
        ('trailers: ["no key"]', "string should match pattern"),
    ],
)
def test_a_wrong_template_is_named_with_its_line(path: WritePath, lines: str, complaint: str) -> None:
    path.config.write_text(path.config.read_text() + f"commit:\n  {lines}\n")
    with pytest.raises(ConfigError) as caught:
        config.load(path.config)
    assert complaint in caught.value.message
    assert str(caught.value.key).startswith("commit.")


def test_what_a_value_holds_is_no_template() -> None:
    wording = Message(CommitConfig(subject="{{literal}} {model}"))
    made = wording(Proposal({}, "s", facts={"model": "{version} of it"}), lambda: "")
    assert made.subject == "{literal} {version} of it"


def test_a_restore_has_the_ticket_of_what_it_undoes(tmp_path: Path) -> None:
    with world(tmp_path, os.environ, settings=WORDED) as one:
        one.behaviours["2"] = FAILS
        one.follow(one.promote(2, Ticket="OPS-9"))
        first, *_ = one.remote.message().splitlines()
        assert first.startswith("OPS-9: Restore fraud-detector version 1 in staging: version 2, ")
        assert "Signed-off-by: " in one.remote.message()


def test_a_rollback_is_worded_too(tmp_path: Path) -> None:
    with world(tmp_path, os.environ, settings=WORDED) as one:
        one.promote(2)
        clients = replace(one.clients, trailers=(("Ticket", "OPS-10"),))
        repository = clients.repository(one.environment.application)
        rollback(repository, plan_rollback(repository, one.environment, None))
        assert one.remote.message().splitlines()[0] == "OPS-10: Roll fraud-detector in staging back to version 1 (was 2)"
        without = one.clients.repository(one.environment.application)
        one.promote(3)
        with pytest.raises(UsageError, match="commits need a ticket here"):
            rollback(without, plan_rollback(without, one.environment, None))
