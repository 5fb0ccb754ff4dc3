"""Notices on their way: what each channel gets, what never leaves, and that nobody waits for a dead endpoint."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import replace

import pytest

from promoter.config.notices import NoticeSection
from promoter.errors import UnreachableError, UsageError
from promoter.errors.redaction import Redactor
from promoter.models import NoticeKind
from promoter.notify import github, slack, teams
from promoter.notify.endpoint import Endpoint, require_https
from promoter.notify.github import Target
from promoter.notify.notice import LONGEST_SENTENCE, LONGEST_URL, MOST_LINES, Link, Notice
from promoter.notify.notifier import Notifier, connect
from promoter.notify.outbox import Outbox
from promoter.notify.webhook import keys_of
from promoter.transport.credential import Credential, origins
from promoter.transport.session import Limits
from tests.support.forge_server import TOKEN as GITHUB_TOKEN
from tests.support.forge_server import ForgeServer, hub
from tests.support.notice_channels import (
    CARD,
    CHANNEL,
    LARGEST_CARD,
    PLANTED,
    SECRET,
    SIGNATURE,
    SLACK,
    Channels,
    there,
)

__all__ = ["hub", "there"]

COMMIT = "c" * 40
BEGUN = Notice("0123456789abcdef", NoticeKind.STARTED, "production", "fraud-detector", "2", "it is watched", "1", COMMIT)
RESTORED = replace(
    BEGUN,
    kind=NoticeKind.RESTORED,
    sentence="aborted (analysis failed): the Rollout is aborted; Git is restored to version 1 by dddddddddd",
    evidence=("metric success-rate: 0.4",),
    links=(Link("commit", f"https://github.com/acme/gitops/commit/{COMMIT}"), Link("run", "https://ci.example.com/1")),
)
HOSTILE = "<!channel> @here *@everyone* [x](https://evil.example) <@U012> <at>all</at> `a`\r\n::error::\x1b[2J‮ &amp;"


def section(**keys: object) -> NoticeSection:
    return NoticeSection.model_validate(keys)


def configured(there: Channels, *names: str) -> list[NoticeSection]:
    bot = {"token-from": "SLACK_BOT_TOKEN", "channel": CHANNEL, "api-url": f"{there.url}/slack"}
    known = {
        "slack": section(slack=bot),
        "hook": section(slack={"url-from": "SLACK_WEBHOOK_URL"}),
        "teams": section(teams={"url-from": "TEAMS_WEBHOOK_URL"}),
        "own": section(webhook={"url-from": "NOTICES_URL", "secret-from": "NOTICES_SECRET"}),
    }
    return [known[name] for name in names or known]


def notifier(
    there: Channels,
    *names: str,
    outbox: Outbox | None = None,
    environ: Mapping[str, str] | None = None,
    said: list[str] | None = None,
) -> Notifier:
    box = outbox or Outbox((said if said is not None else []).append)
    return connect(configured(there, *names), environ or there.environ, box, not_on_github, frozenset())


def not_on_github(url: str) -> Target:
    raise UsageError(f"{url} is not on GitHub")


def tell(to: Notifier, *notices: Notice) -> None:
    for notice in notices:
        to.notify(notice)
    to.outbox.close()


# -- what each channel gets -------------------------------------------------------------------------------------------


def test_slack_has_one_message_that_is_updated_with_the_evidence_in_its_thread(there: Channels) -> None:
    tell(notifier(there, "slack"), BEGUN, RESTORED)
    message, thread = there.messages
    assert [one.path.rpartition("/")[2] for one in there.at("/slack/")] == [
        "conversations.history",
        "chat.postMessage",
        "chat.update",
        "chat.postMessage",
    ]
    assert message["text"].startswith("↩️ fraud-detector version 1 → 2 in production: failed, Git restored. aborted")
    assert (thread["thread_ts"], thread["reply_broadcast"]) == (message["ts"], True)
    assert "metric success-rate: 0.4" in json.dumps(thread["blocks"])
    assert f"https://github.com/acme/gitops/commit/{COMMIT}" in json.dumps(message["blocks"])


def test_another_process_goes_on_with_the_message_that_slack_has(there: Channels) -> None:
    tell(notifier(there, "slack"), BEGUN)
    tell(notifier(there, "slack"), BEGUN, RESTORED)
    tell(notifier(there, "slack"), BEGUN, RESTORED)
    assert [one["thread_ts"] for one in there.messages if "thread_ts" in one] == [there.messages[0]["ts"]]
    assert len(there.messages) == 2


def test_without_the_right_to_read_the_channel_slack_gets_a_message_from_each_process(there: Channels) -> None:
    there.reads_history = False
    tell(notifier(there, "slack"), BEGUN)
    tell(notifier(there, "slack"), replace(BEGUN, kind=NoticeKind.LIVE))
    assert len(there.messages) == 2


def test_what_cannot_be_updated_is_notified_of_ends_only(there: Channels) -> None:
    tell(notifier(there, "hook", "teams"), BEGUN, RESTORED)
    (card,) = there.at("/teams/")
    (message,) = there.at("/hook/")
    assert "metric success-rate: 0.4" in card.body.decode()
    assert "metric success-rate: 0.4" in message.body.decode()


def test_the_webhook_is_signed_as_standard_webhooks_has_it(there: Channels) -> None:
    other = base64.b64encode(b"an older secret").decode()
    environ = there.environ | {"NOTICES_SECRET": f"{SECRET}\nwhsec_{other}\n"}
    for _ in range(2):  # processes
        tell(notifier(there, "own", environ=environ), RESTORED)
    first, second = there.at("/own/")
    headers = first.headers
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + first.body
    keys = base64.b64decode(SECRET.removeprefix("whsec_")), b"an older secret"
    expected = ["v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() for key in keys]
    assert headers["webhook-signature"].split() == expected
    assert headers["webhook-id"] == second.headers["webhook-id"]
    assert first.value["type"] == "promotion.restored"
    told = first.value["data"]
    assert (told["model"], told["version"], told["previous"], told["commit"]) == ("fraud-detector", "2", "1", COMMIT)


@pytest.mark.parametrize(
    ("kinds", "status", "deployment"),
    [
        ((NoticeKind.STARTED, NoticeKind.LIVE), ["pending", "success"], ["in_progress", "success"]),
        ((NoticeKind.STARTED, NoticeKind.RESTORED), ["pending", "failure"], ["in_progress", "failure", "inactive"]),
        ((NoticeKind.STARTED, NoticeKind.SUPERSEDED), ["pending", "error"], ["in_progress", "inactive"]),
        ((NoticeKind.NEEDS_PERSON, NoticeKind.NEEDS_PERSON), ["failure"], ["failure"]),
    ],
)
def test_github_has_a_status_and_one_deployment(
    hub: ForgeServer, kinds: tuple[NoticeKind, ...], status: list[str], deployment: list[str]
) -> None:
    config = [section(github={})]
    repository = Target(hub.github, "org", "repository", lambda: Credential(GITHUB_TOKEN, origins([hub.github])))
    for kind in kinds:  # each from a process of its own
        made = connect(config, {}, Outbox(), lambda _: repository, frozenset())
        tell(made, replace(RESTORED, kind=kind))
    assert hub.deployments.of(COMMIT) == (status, [deployment])
    (made_once,) = hub.deployments.made
    assert (made_once["environment"], made_once["task"]) == ("production", "promote")


def test_hostile_texts_stay_text_and_the_longest_fit_everywhere() -> None:
    long = "😀" * 5000
    links = tuple(Link(name, f"https://example.com/{'a' * (LONGEST_URL - 20)}") for name in "abcde")
    notice = replace(
        RESTORED,
        model=HOSTILE,
        version=HOSTILE,
        previous=HOSTILE,
        sentence=HOSTILE + long,
        metrics=HOSTILE + long,
        evidence=(HOSTILE + long,) * 50,
        links=links,
    ).fit(Redactor().prose)
    assert len(notice.sentence) == LONGEST_SENTENCE
    assert notice.evidence[-1] == f"and {50 - MOST_LINES} more"
    for validator, value in (
        (SLACK, slack.message(notice, evidence=True)),
        (SLACK, slack.reply(notice)),
        (CARD, teams.message(notice)),
    ):
        assert list(validator.iter_errors(value)) == []
    card = json.dumps(teams.message(notice), ensure_ascii=False)
    assert len(card.encode()) <= LARGEST_CARD
    assert all(ord(char) >= 32 and char != "‮" for char in card)
    text = slack.message(notice, evidence=True)["text"]
    assert "<" not in text
    assert "&lt;!channel&gt; @here" in text  # link_names is off: a name alone mentions nobody
    bodies = [github.status(notice, "production"), github.deployment(notice, "production"), *github.deployment_statuses(notice)]
    assert all(len(body["description"]) <= 140 for body in bodies)


# -- what never leaves ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("pull https://bob:hunter2@registry.example.com/x failed", "pull https://registry.example.com/x failed"),
        ("Authorization: Bearer abcdefghijklmnop1234", "Authorization: Bearer ***"),
        ("401 for ghp_abcdefghijklmnopqrstuvwx", "401 for ***"),
        ("posted to https://hooks.slack.com/services/T0/B0/xyz", "posted to https://hooks.slack.com/***"),
        ("GET /blob?sv=1&sig=abc%2Fdef&x=2", "GET /blob?sv=1&sig=***&x=2"),
        ("the value is Sup3rSecretValue here", "the value is *** here"),
        ("and the path T000/B000/token-path too", "and the path *** too"),
        ("by db-password-9876 of the URL", "by *** of the URL"),
        ("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl expired", "*** expired"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- left", "*** left"),
        ("metric success-rate: 0.4, threshold 0.95; token bucket empty", "metric success-rate: 0.4, threshold 0.95; token bucket empty"),
    ],
)  # fmt: skip
def test_secrets_are_known_by_value_and_by_their_looks(text: str, shown: str) -> None:
    environ = {
        "ANY_TOKEN": "Sup3rSecretValue",
        "HOOK": "https://hooks.example.com/T000/B000/token-path",
        "DATABASE": "postgres://u:db-password-9876@db/x",
        "ENVIRONMENT": "threshold 0.95",
    }
    redactor = Redactor()
    redactor.learn_environment(environ, ["HOOK"])
    assert redactor.prose(text) == shown


def test_planted_secrets_reach_no_channel(there: Channels) -> None:
    environ = there.environ | {"ARGOCD_AUTH_TOKEN": "planted-argocd-token", "GITHUB_TOKEN": "planted-github-token"}
    every = " ".join((*environ.values(), "https://u:planted-userinfo@h/x", "Bearer planted-bearer-0123456789"))
    links = (Link("run", "https://ci.example.com/?token=planted-github-token"),)
    said: list[str] = []
    tell(
        notifier(there, environ=environ, said=said),
        replace(RESTORED, model=every, sentence=every, metrics=every, evidence=(every,), links=links),
    )
    assert len(there.asked) == 6
    assert b"planted" not in there.said
    assert SECRET.encode() not in there.said
    assert said == []


# -- dead endpoints ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["refused", "hang", "500", "redirect", "garbage", "nested", "gone"])
def test_a_dead_endpoint_is_one_line_on_stderr(there: Channels, fault: str) -> None:
    reply = {
        "500": (500, {}, f"no route to /hook/{PLANTED}".encode()),
        "redirect": (302, {"Location": f"{there.url}/stolen"}, b""),
        "garbage": (400, {"Content-Type": "text/html"}, b"\xff\xfe\x1b[2J<html>" * 50_000),
        "nested": (404, {}, b"[" * 250_000),
        "gone": (404, {"Content-Encoding": "gzip"}, b"no gzip"),
    }
    there.faults["/"] = "hang" if fault == "hang" else [reply[fault]] * 400 if fault in reply else []
    environ = dict(there.environ)
    if fault == "refused":
        environ = {name: value.replace(there.url, "http://127.0.0.1:1") for name, value in environ.items()}
        environ["SLACK_API_URL"] = there.environ["SLACK_API_URL"]
    said: list[str] = []
    tell(notifier(there, outbox=Outbox(said.append, patience=0.5), environ=environ), RESTORED)
    assert len(said) == (3 if fault == "refused" else 4)  # Slack's API has no address that is a secret
    assert all(line.startswith("notice not sent: ") and "\n" not in line and "\x1b" not in line for line in said)
    assert not [secret for secret in (PLANTED, SIGNATURE) if secret in "".join(said)]
    assert not there.at("/stolen")


def test_no_answer_shows_scheme_and_host_only() -> None:
    for limits, url in (
        (Limits(total=0), "http://127.0.0.1:1/services/T0/B0/xyz"),
        (Limits(total=0), "https://127.0.0.1:1/T0?sig=x"),
    ):
        with pytest.raises(UnreachableError) as caught:
            Endpoint("Slack", url, limits=limits).send("POST", body={})
        assert url.rpartition(":1/")[0] in caught.value.message
        assert "T0" not in caught.value.message + caught.value.hint


def test_a_server_that_asks_to_come_back_is_asked_again(there: Channels) -> None:
    there.faults["/teams/"] = [(429, {"Retry-After": "0"}, b""), (503, {"Retry-After": "0"}, b"")]
    said: list[str] = []
    tell(notifier(there, "teams", said=said), RESTORED)
    assert (len(there.at("/teams/")), said) == (3, [])


def test_what_may_have_arrived_is_sent_again_only_where_it_can_be_dropped(there: Channels) -> None:
    there.faults["/"] = "cut"
    said: list[str] = []
    tell(notifier(there, "teams", "hook", "own", outbox=Outbox(said.append, patience=1.0)), RESTORED)
    assert (len(there.at("/teams/")), len(there.at("/hook/"))) == (1, 1)
    assert len(there.at("/own/")) > 1


def test_a_server_that_asks_to_come_back_tomorrow_is_given_up(there: Channels) -> None:
    there.faults["/teams/"] = [(429, {"Retry-After": "86400"}, b"slow down")]
    said: list[str] = []
    tell(notifier(there, "teams", said=said), RESTORED)
    assert said == [f"notice not sent: Teams at {there.url} answered 429: slow down"]


def test_a_dead_channel_does_not_hold_up_another(there: Channels) -> None:
    there.faults["/teams/"] = "hang"
    said: list[str] = []
    tell(notifier(there, outbox=Outbox(said.append, patience=0.5)), BEGUN, RESTORED)
    assert said == ["notice not sent: teams (notices[2]) did not take it within 0.5 s"]
    assert len(there.messages) == 2
    assert len(there.at("/own/")) == 2


def test_more_than_a_hundred_do_not_wait_for_a_dead_channel() -> None:
    said: list[str] = []
    outbox, begun, goes_on = Outbox(said.append, patience=0.0), threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        goes_on.wait()

    for _ in range(101):
        outbox.put("Teams", hang)
    assert said == ["notice not sent: 100 wait for Teams already"]
    assert begun.wait(10)
    goes_on.set()


def test_a_process_ends_although_an_endpoint_hangs(there: Channels) -> None:
    program = f"""
from promoter.notify.endpoint import Endpoint
from promoter.notify.outbox import Outbox
Outbox(patience=0.2).put("Teams", lambda: Endpoint("Teams", {there.url + "/teams/x"!r}).send("POST", body={{}}))
print("done")
raise SystemExit(10)
"""
    there.faults["/teams/"] = "hang"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (10, "done\n")
    assert done.stderr == "notice not sent: Teams did not take it within 0.2 s\n"


def test_what_is_on_its_way_arrives_before_the_process_ends(there: Channels) -> None:
    program = f"""
from promoter.notify.endpoint import Endpoint
from promoter.notify.outbox import Outbox
Outbox(patience=30).put("own", lambda: Endpoint("own", {there.url + "/own/x"!r}).send("POST", body={{}}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert len(there.at("/own/x")) == 1


# -- who is notified of what ------------------------------------------------------------------------------------------


def test_a_channel_is_notified_of_its_kinds_and_environments(there: Channels) -> None:
    own = {"url-from": "NOTICES_URL", "secret-from": "NOTICES_SECRET"}
    only = section(webhook=own, kinds=["live"], environments=["production"])
    to = connect([only], there.environ, Outbox(), not_on_github, frozenset())
    live = replace(BEGUN, kind=NoticeKind.LIVE)
    tell(to, BEGUN, live, replace(live, environment="staging"))
    assert [(one.value["type"], one.value["data"]["environment"]) for one in there.at("/own/")] == [
        ("promotion.live", "production")
    ]


def test_a_process_that_goes_on_for_long_shows_how_things_stand_once(there: Channels) -> None:
    stands = replace(BEGUN, kind=NoticeKind.NEEDS_PERSON, standing=True)
    said: list[str] = []
    outbox = Outbox(said.append, lasting=True)
    there.faults["/own/"] = [(404, {}, b"")]
    for sentence in ("paused", "paused", "quarantined", "quarantined", "paused"):
        tell(notifier(there, "own", outbox=outbox), replace(stands, sentence=sentence))  # a notifier for each look
    assert [one.value["data"]["sentence"] for one in there.at("/own/")] == ["paused", "paused", "quarantined"]
    assert len(said) == 1  # what did not arrive is sent at the next look


def test_how_things_stand_is_not_reported_each_time_by_a_schedule(there: Channels) -> None:
    for _ in range(3):
        tell(notifier(there), replace(BEGUN, kind=NoticeKind.NEEDS_PERSON, sentence="paused", standing=True))
    assert len([one for one in there.messages if "thread_ts" not in one]) == 1  # Slack can be asked
    assert not [*there.at("/own/"), *there.at("/teams/"), *there.at("/hook/")]


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("TEAMS_WEBHOOK_URL", "", "TEAMS_WEBHOOK_URL is not set"),
        ("TEAMS_WEBHOOK_URL", "planted-nonsense", "TEAMS_WEBHOOK_URL does not contain a URL"),
        ("TEAMS_WEBHOOK_URL", "https://[planted", "TEAMS_WEBHOOK_URL does not contain a URL"),
        ("TEAMS_WEBHOOK_URL", "http://teams.example.com/planted", "TEAMS_WEBHOOK_URL is not https"),
        ("SLACK_BOT_TOKEN", "xoxb-planted\u2026", "SLACK_BOT_TOKEN is not a Slack token"),
        ("NOTICES_SECRET", "whsec_not base64", "NOTICES_SECRET contains a secret that is not valid base64 after whsec_"),
    ],
)
def test_a_channel_that_cannot_be_used_is_reported_once_and_left_out(
    there: Channels, variable: str, value: str, reason: str
) -> None:
    said: list[str] = []
    outbox = Outbox(said.append)
    for _ in range(2):
        tell(notifier(there, outbox=outbox, environ=there.environ | {variable: value}), BEGUN, RESTORED)
    (line,) = said
    assert line.startswith("warning: no notices to ")
    assert line.endswith(reason)
    assert there.at("/own/" if variable == "SLACK_BOT_TOKEN" else "/slack/")


def test_a_webhook_of_ones_own_is_http_only_where_that_is_allowed() -> None:
    url = "http://hooks.tools:8080/x"
    assert require_https(url, "HOOK", "mlflow.tools, hooks.tools:8080") == url
    assert require_https("http://127.0.0.1:8080/x", "HOOK") == "http://127.0.0.1:8080/x"
    with pytest.raises(UsageError, match="HOOK is not https") as refused:
        require_https(url, "HOOK", "mlflow.tools")
    assert refused.value.hint.endswith("PROMOTER_PLAIN_HTTP_HOSTS=hooks.tools:8080")
    assert keys_of("plain secret\n\n", "SECRET") == (b"plain secret",)
