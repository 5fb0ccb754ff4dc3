"""What is reported of promotions that really go: every channel, from the beginning of a release to its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from promoter import config
from promoter.commands.freeze import Freezing, freeze
from promoter.commands.promote import promote
from promoter.commands.reconcile import Action, Reconciler
from promoter.commands.reject import Rejection, plan_rejection, reject
from promoter.demo.sandbox import Behaviour, PodStatus
from promoter.errors import AuthError, ExitCode, RefusedError, SupersededError, UnreachableError
from promoter.hosting.forge import address_of
from promoter.models import Application, ForgeKind, Release
from promoter.notify import links
from promoter.notify.outbox import Outbox
from promoter.promotion.announce import Announcer
from promoter.promotion.clients import Clients
from promoter.promotion.ending import End, Ended, Opened
from promoter.promotion.steps import Steps, silent
from promoter.verdict import Verdict
from tests.support.argo_world import FAILS, TIMING, World, world
from tests.support.faults import UNAUTHENTICATED, always
from tests.support.forge_repository import ForgeRepository
from tests.support.forge_server import ForgeServer, forge_server, hub
from tests.support.notice_channels import PLANTED, SECRET, Channels, there
from tests.support.pull_requests import edit, settings, variables
from tests.support.write_path import WritePath, path

__all__ = ["hub", "path", "there"]

GITHUB = "- github: {}\n"
PAGES = "mlflow: {web-url: https://mlflow.example.com}\nargocd: {web-url: https://argocd.example.com}\n"
RUN = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "acme/gitops",
    "GITHUB_RUN_ID": "77",
}


def ready(it: World, **changes: object) -> list[str]:
    """The world with an outbox of the test's own; returns what that reports."""
    said: list[str] = []
    it.clients = replace(it.clients, outbox=Outbox(said.append, **changes))  # type: ignore[arg-type] # fields of Outbox
    return said


def test_promotions_are_reported_from_beginning_to_end(tmp_path: Path, there: Channels, hub: ForgeServer) -> None:
    more = there.configuration() + GITHUB + PAGES + settings(hub, ForgeKind.GITHUB)
    with world(tmp_path, {**os.environ, **there.environ, **variables(hub), **RUN}, settings=more) as it:
        said = ready(it)
        details = "image: nothing -> r.example.com/fraud:v2\nrun: 0123\naccuracy: 0.79 -> 0.81\nf1: nan"
        good = it.promote(2, details=details, Overridden_Gates="metrics auc, by ada: the test set is broken")
        assert it.follow(good).exit_code is ExitCode.DONE
        it.behaviours["3"] = FAILS
        bad = it.promote(3)
        ending = it.follow(bad)
        it.clients.outbox.close()
    assert ending.exit_code is ExitCode.RESTORED
    assert said == []
    live, restored, thread = there.messages
    assert live["text"].startswith("✅ fraud-detector version 1 → 2 in staging: live. live: ")
    assert restored["text"].startswith(
        "↩️ fraud-detector version 2 → 3 in staging: failed, Git restored. aborted (analysis failed)"
    )
    assert f"Git is restored to version 2 by {str(ending.restored)[:10]}" in restored["text"]
    assert thread["thread_ts"] == restored["ts"]
    assert all(json.dumps(line)[1:-1] in json.dumps(thread["blocks"]) for line in ending.verdict.evidence[:3])
    assert [len(there.at(path)) for path in ("/teams/", "/hook/", "/own/")] == [2, 2, 4]
    told = [one.value for one in there.at("/own/")]
    assert [one["type"].removeprefix("promotion.") for one in told] == ["started", "live", "started", "restored"]
    assert [one["data"]["metrics"] for one in told] == ["accuracy: 0.79 → 0.81, f1: nan"] * 2 + [""] * 2
    assert "accuracy: 0.79 → 0.81, f1: nan" in json.dumps([live["blocks"], there.at("/teams/")[0].value], ensure_ascii=False)
    overridden = [one["data"]["sentence"].partition("; gates overridden: ")[2] for one in told]
    assert overridden == ["metrics auc, by ada: the test set is broken", "", "", ""]
    assert {link["name"]: link["url"] for link in told[-1]["data"]["links"]} == {
        "commit": f"{hub.url}/org/repository/commit/{bad.commit.sha}",
        "commit that restores": f"{hub.url}/org/repository/commit/{ending.restored}",
        "Argo CD": "https://argocd.example.com/applications/argocd/fraud-detector-staging",
        "MLflow": "https://mlflow.example.com/#/models/fraud-detector/versions/3",
        "run": "https://github.com/acme/gitops/actions/runs/77",
    }
    assert hub.deployments.of(good.commit.sha) == (["pending", "success"], [["in_progress", "success"]])
    assert hub.deployments.of(bad.commit.sha) == (["pending", "failure"], [["in_progress", "failure", "inactive"]])
    assert [one["environment"] for one in hub.deployments.made] == ["staging", "staging"]


def test_dead_endpoints_and_planted_secrets_change_nothing(
    tmp_path: Path, there: Channels, capfd: pytest.CaptureFixture[str]
) -> None:
    """The same release is restored twice: everybody is notified, then nobody who listens."""
    environ = {**os.environ, **there.environ, "PLANTED_TOKEN": "planted-value-0123456789"}
    pod = (
        "denied: https://robot:planted-userinfo@registry.example.com Bearer planted-bearer-0123456789 planted-value-0123456789"
    )
    with world(tmp_path, environ, settings=there.configuration()) as it:
        it.behaviours["2"] = Behaviour(ready_after=None, waiting=PodStatus("ErrImagePull", message=pod))
        said = ready(it)
        alive = it.follow(it.promote(2))
        it.clients.outbox.close()
        received, messages = there.said, len(there.messages)
        unsent = ready(it, patience=0.3)
        there.faults["/"] = "hang"
        dead = it.follow(it.promote(2))
        it.clients.outbox.close()
    assert dead.exit_code is alive.exit_code is ExitCode.RESTORED
    assert "planted" in alive.verdict.summary + str(alive.verdict.evidence)
    assert (messages, said) == (2, [])
    names = ("slack (notices[0])", "slack (notices[1])", "teams (notices[2])", "webhook (notices[3])")
    assert sorted(unsent) == [f"notice not sent: {name} did not take it within 0.3 s" for name in names]
    assert b"planted" not in received
    assert b"ErrImagePull" in received
    out, err = capfd.readouterr()
    assert out == ""
    assert PLANTED not in err
    assert SECRET not in err


def test_a_release_that_is_held_is_reported_once_however_often_it_is_found(tmp_path: Path, there: Channels) -> None:
    with world(
        tmp_path, {**os.environ, **there.environ}, lines="  on-failure: hold\n", settings=there.configuration("own")
    ) as it:
        ready(it, lasting=True)
        it.behaviours["2"] = FAILS
        it.promote(2)
        it.settle()
        for _ in range(2):
            Reconciler(it.clients, silent, timing=TIMING, clock=it.clock).run(it.clients.config.environments)
        it.clients.outbox.close()
    (told,) = [one.value["data"] for one in there.at("/own/")]
    assert (told["kind"], told["version"], told["previous"]) == ("needs-a-person", "2", "1")
    assert told["sentence"].endswith("on-failure: hold; Git stays as it is")


def test_a_watch_that_breaks_off_is_reported(tmp_path: Path, there: Channels) -> None:
    with world(tmp_path, {**os.environ, **there.environ}, settings=there.configuration("own")) as it:
        ready(it)
        committed = it.promote(2)
        with it.argocd.fault(always(UNAUTHENTICATED)), pytest.raises(AuthError):
            it.follow(committed)
        it.clients.outbox.close()
    assert [one.value["type"] for one in there.at("/own/")] == ["promotion.started", "promotion.failed"]


class _Refused:
    """A terminal at which the watching ends."""

    def verdict(self, verdict: Verdict) -> None:
        raise AuthError("the token has expired", hint="make another one")

    def say(self, text: str) -> None: ...


def test_a_watch_of_reconcile_that_breaks_off_is_reported_once(tmp_path: Path, there: Channels) -> None:
    with world(tmp_path, {**os.environ, **there.environ}, settings=there.configuration("own")) as it:
        ready(it, lasting=True)
        it.behaviours["2"] = FAILS
        it.promote(2)
        it.settle()
        reconciler = Reconciler(it.clients, silent, lambda _: _Refused(), timing=TIMING, clock=it.clock)
        (done,) = reconciler.run(it.clients.config.environments)
        it.clients.outbox.close()
    assert (done.action, done.detail, done.exit_code) == (Action.FAILED, "the token has expired", ExitCode.AUTH)
    assert [one.value["type"] for one in there.at("/own/")] == ["promotion.failed"]


# -- without a release that is followed -------------------------------------------------------------------------------


@pytest.fixture
def announcer(tmp_path: Path, there: Channels) -> Announcer:
    """Of an environment whose repository is on github.com."""
    files = {
        "staging.yaml": "kind: Application\nmetadata: {name: fraud-staging, namespace: argocd}\nspec:\n  project: default\n"
        "  source: {repoURL: git@github.com:acme/gitops.git, path: overlays/staging, targetRevision: main}\n",
        "promoter.yaml": "models:\n  fraud:\n    image: r.example.com/fraud\nenvironments:\n- name: staging\n"
        "  application: staging.yaml\n" + there.configuration("own", "teams"),
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    clients = Clients(config.load(tmp_path / "promoter.yaml"), {**there.environ, **RUN}, outbox=Outbox(lasting=True))
    return Announcer(clients, clients.config.environments[0])


def test_a_pull_request_waits_for_people_once(announcer: Announcer, there: Channels) -> None:
    release = Release("fraud", "7", "", "r.example.com/fraud", "v7", "sha256:" + "7" * 64)
    opened = Opened(
        5, "https://github.com/acme/gitops/pull/5", "Promote fraud version 7", "promoter/staging/fraud", "c" * 40, "opened"
    )
    announcer.proposed(release, opened, replace(release, version="6"), ["accuracy: 0.79 -> 0.81", "f1: 0.7"])
    announcer.proposed(release, replace(opened, done="unchanged"), release)
    announcer.proposed(release, None, release)
    announcer.unmerged(release, opened, Ended(End.CLOSED, "pull request #5 was closed without being merged"))
    announcer.clients.outbox.close()
    waits, closed = [one.value["data"] for one in there.at("/own/")]
    assert (waits["kind"], waits["version"], waits["previous"], waits["sentence"]) == (
        "needs-a-person",
        "7",
        "6",
        "a pull request waits for review: Promote fraud version 7",
    )
    assert waits["metrics"] == "accuracy: 0.79 → 0.81, f1: 0.7"
    assert (closed["kind"], closed["id"]) == ("failed", waits["id"])
    assert waits["links"][0] == {"name": "pull request", "url": opened.url}


def test_what_reconcile_is_refused_needs_a_person_and_what_passes_does_not(announcer: Announcer, there: Channels) -> None:
    for error in (
        RefusedError("fraud:7 is quarantined in 'staging'", hint="promote another version"),
        UnreachableError("MLflow can't be reached"),
        SupersededError("another release was faster"),
        AuthError("MLflow refuses the token"),
    ):
        announcer.refused(error)
    announcer.clients.outbox.close()
    told = [one.value["data"] for one in there.at("/own/")]
    assert [(one["kind"], one["evidence"]) for one in told] == [("needs-a-person", ["promote another version"]), ("failed", [])]
    assert told[0]["title"] == "✋ fraud in staging: needs a person"


def test_links_lead_to_pages_without_credentials() -> None:
    app = Application("fraud staging", "default", "argocd", "", "", "")
    assert links.application("https://u:p@cd.example.com/root/?x=1", app) == (
        "https://cd.example.com/root/applications/argocd/fraud%20staging"
    )
    assert (
        links.model_version("https://u:p@ml.example.com/", "a/b c", "3")
        == "https://ml.example.com/#/models/a%2Fb%20c/versions/3"
    )
    assert links.model_version("sqlite:///x.db", "m", "3") == ""
    azure = {"TF_BUILD": "True", "SYSTEM_COLLECTIONURI": "https://dev.azure.com/org/", "SYSTEM_TEAMPROJECT": "My Project"}
    assert links.run({**azure, "BUILD_BUILDID": "9"}) == "https://dev.azure.com/org/My%20Project/_build/results?buildId=9"
    assert links.run(azure) == ""


@pytest.mark.parametrize(
    ("url", "page"),
    [
        ("git@github.com:acme/gitops.git", "https://github.com/acme/gitops"),
        ("https://token@github.com/acme/gitops", "https://github.com/acme/gitops"),
        ("ssh://git@ghe.example.com/acme/gitops.git", "https://ghe.example.com/acme/gitops"),
        ("git@ssh.dev.azure.com:v3/org/My Project/gitops", "https://dev.azure.com/org/My%20Project/_git/gitops"),
        ("https://org.visualstudio.com/project/_git/gitops", "https://org.visualstudio.com/project/_git/gitops"),
    ],
)
def test_the_page_of_a_repository(url: str, page: str) -> None:
    assert address_of(url, {"GITHUB_SERVER_URL": "https://ghe.example.com"} if "ghe" in url else {}).web_url == page


def test_a_promotion_by_pull_request_shows_that_it_waits(path: WritePath, there: Channels) -> None:
    with forge_server(ForgeRepository(path.remote)) as server:
        more = settings(server, ForgeKind.GITHUB) + there.configuration("own")
        edit(path.config, ("  alias: challenger\n", "  alias: challenger\n  write: pull-request\n"), more=more)
        version = path.register()
        for _ in range(2):
            clients = path.clients(**variables(server), **there.environ)
            opened = promote(clients, path.plan(f"{path.model}:{version}"), Steps()).pull_request
            clients.outbox.close()
    assert opened is not None
    (told,) = [one.value["data"] for one in there.at("/own/")]
    assert (told["kind"], told["environment"], told["version"]) == ("needs-a-person", "staging", version)
    assert {"name": "pull request", "url": opened.url} in told["links"]


# -- the command ------------------------------------------------------------------------------------------------------


def test_a_command_ends_the_same_with_dead_endpoints(tmp_path: Path, there: Channels) -> None:
    more = there.configuration("slack", "hook", "teams", "own") + "watch: {stable-for: 0}\n"
    with world(tmp_path, {**os.environ, **there.environ}, settings=more) as it:
        it.promote(2)
        it.settle()
        command = [sys.executable, "-m", "promoter", "watch", "staging", "-c", str(it.folder / "promoter.yaml")]
        alive = subprocess.run(command, capture_output=True, text=True, env=it.clients.environ, check=False)
        nowhere = {name: value.replace(there.url, "http://127.0.0.1:1") for name, value in there.environ.items()}
        environ = {**it.clients.environ, **nowhere, "SLACK_API_URL": there.environ["SLACK_API_URL"], "NOTICES_URL": ""}
        there.faults["/slack/"] = [(302, {"Location": f"{there.url}/stolen"}, b"")] * 10
        dead = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
    assert (alive.returncode, alive.stdout) == (dead.returncode, dead.stdout)
    assert alive.stdout.startswith("fraud-detector version 2 in staging: live.")
    assert [len(there.at(name)) for name in ("/hook/", "/teams/", "/own/")] == [1, 1, 2]
    unsent = [line for line in dead.stderr.splitlines() if "notice" in line]
    assert unsent[0] == "warning: no notices to webhook (notices[3]): NOTICES_URL is not set"
    assert sorted(unsent[1:]) == [
        "notice not sent: Slack at http://127.0.0.1:1 can't be reached: [Errno 111] Connection refused",
        f"notice not sent: Slack at {there.url} answered 302: chat.postMessage: no reason given",
        f"notice not sent: Slack at {there.url} answered 302: chat.postMessage: no reason given",
        "notice not sent: Teams at http://127.0.0.1:1 can't be reached: [Errno 111] Connection refused",
    ]
    assert not there.at("/stolen")


def test_notify_test_shows_what_each_channel_answered(announcer: Announcer, there: Channels) -> None:
    config = announcer.clients.config.root / "promoter.yaml"
    config.write_text(config.read_text() + "- teams: {url-from: TEAMS_WEBHOOK_URL_OF_NOBODY}\n")
    command = [sys.executable, "-m", "promoter", "notify", "test", "-c", str(config)]
    environ = {**os.environ, **there.environ}
    done = subprocess.run([*command, "-o", "json"], capture_output=True, text=True, env=environ, check=False)
    assert done.returncode == ExitCode.UNREACHABLE
    assert [(one["channel"], one["sent"], one["detail"]) for one in json.loads(done.stdout)] == [
        ("webhook (notices[0])", True, "204: taken"),
        ("teams (notices[1])", True, "202: taken"),
        ("teams (notices[2])", False, "TEAMS_WEBHOOK_URL_OF_NOBODY is not set"),
    ]
    assert "nothing was promoted" in there.at("/teams/")[0].body.decode()
    assert done.stderr == "warning: no notices to teams (notices[2]): TEAMS_WEBHOOK_URL_OF_NOBODY is not set\n"


def test_what_a_person_decides_is_told_with_the_reason(tmp_path: Path, there: Channels, hub: ForgeServer) -> None:
    more = there.configuration() + GITHUB + PAGES + settings(hub, ForgeKind.GITHUB)
    with world(tmp_path, {**os.environ, **there.environ, **variables(hub)}, settings=more) as it:
        said = ready(it)
        it.promote(2)
        repository = it.clients.repository(it.environment.application)
        planned = plan_rejection(repository, Rejection(it.environment, "2", None, "labels are mixed up", "ada"))
        rejected = reject(it.clients, planned)
        lifting = plan_rejection(repository, Rejection(it.environment, "2", None, "they are not", "ada", lift=True))
        reject(it.clients, lifting)
        freeze(it.clients, Freezing(it.environment, "ben", "the shop is full"))
        freeze(it.clients, Freezing(it.environment, "ben", "the shop is full"))
        freeze(it.clients, Freezing(it.environment, "", thaw=True))
        it.clients.outbox.close()
    assert said == []
    told = [one.value for one in there.at("/own/")]
    assert [(one["type"].removeprefix("promotion."), one["data"]["sentence"]) for one in told] == [
        ("rejected", "rejected by ada: labels are mixed up; back to version 1"),
        ("allowed", "allowed again by ada: they are not"),
        ("frozen", "frozen until it is thawed by ben: the shop is full"),
        ("thawed", "thawed"),
    ]
    assert told[0]["data"]["title"] == "🚫 fraud-detector version 2 in staging: rejected"
    assert told[2]["data"]["title"] == "🧊 fraud-detector in staging: frozen"
    links = {link["name"]: link["url"] for link in told[0]["data"]["links"]}
    assert links["commit"] == f"{hub.url}/org/repository/commit/{rejected.commit}"
    assert len(there.messages) == 4
