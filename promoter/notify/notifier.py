"""Which channel gets which notice. Every notice passes here, loses its secrets, and waits in the outbox."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from promoter.config.notices import ChannelSection, GitHubSection, NoticeSection, SlackSection, TeamsSection, WebhookSection
from promoter.errors import PromoterError, UsageError
from promoter.errors.redaction import redact
from promoter.models import NoticeKind
from promoter.notify import slack, webhook
from promoter.notify.endpoint import Endpoint, require_https
from promoter.notify.github import GitHubDeployments, Target
from promoter.notify.notice import Notice
from promoter.notify.outbox import Outbox, Sent
from promoter.notify.slack import Slack, SlackWebhook
from promoter.notify.teams import Teams
from promoter.notify.webhook import Webhook
from promoter.transport.credential import PLAIN_HTTP, Credential, origins

_SLACK_API = "SLACK_API_URL"


class Channel(Protocol):
    """`reports_start`: it can later update a start with its end. `can_be_asked`: which notices it got, from any process."""

    @property
    def name(self) -> str: ...
    @property
    def reports_start(self) -> bool: ...
    @property
    def can_be_asked(self) -> bool: ...

    def send(self, notice: Notice) -> str:
        """What came of it, in words.

        Raises:
            UnreachableError: no answer, or a refusal. UsageError: the channel does not support this notice.
            AuthError: no token is available.
        """
        ...


@dataclass(frozen=True, slots=True)
class Route:
    """A channel and the notices it gets: these kinds, about these environments. `name` is its own among all routes."""

    name: str
    channel: Channel
    kinds: frozenset[NoticeKind]
    environments: frozenset[str]

    def takes(self, notice: Notice, *, remembered: bool) -> bool:
        """`remembered`: this same process would otherwise send it again at the next look."""
        if notice.standing and not (remembered or self.channel.can_be_asked):
            return False
        if notice.kind is NoticeKind.STARTED and not self.channel.reports_start:
            return False
        if not notice.commit and isinstance(self.channel, GitHubDeployments):
            return False
        return notice.kind in self.kinds and (not self.environments or notice.environment in self.environments)


@dataclass(frozen=True, slots=True)
class Tested:
    """What became of one test notice."""

    channel: str
    sent: bool
    detail: str


@dataclass(frozen=True)
class Notifier:
    """`missing` are the channels that can't be used as they are configured, with the reason of each."""

    routes: Sequence[Route]
    outbox: Outbox
    missing: Sequence[Tested] = ()

    @property
    def silent(self) -> bool:
        """No channel is configured."""
        return not self.routes

    def notify(self, notice: Notice) -> None:
        """Returns at once; a notice that can't be sent is reported on stderr only."""
        fit = notice.fit(redact.prose)
        for route in self.routes:
            if route.takes(fit, remembered=self.outbox.lasting) and self.outbox.is_news(_sent(route, fit)):
                self.outbox.put(route.name, partial(self._send, route, fit))

    def test(self, notice: Notice) -> list[Tested]:
        """Sends it to every channel now, whatever kinds they are configured for."""
        fit = notice.fit(redact.prose)
        return [*(self._tested(route, fit) for route in self.routes), *self.missing]

    def _send(self, route: Route, notice: Notice) -> None:
        if not (tested := self._tested(route, notice)).sent:
            self.outbox.forget(_sent(route, notice))
            self.outbox.say(f"notice not sent: {tested.detail}")

    def _tested(self, route: Route, notice: Notice) -> Tested:
        try:
            return Tested(route.name, True, redact.prose(route.channel.send(notice)))
        except PromoterError as error:
            return Tested(route.name, False, redact.prose(error.message))


def _sent(route: Route, notice: Notice) -> Sent:
    return route.name, notice.id, notice.content


def connect(
    configured: Sequence[NoticeSection],
    environ: Mapping[str, str],
    outbox: Outbox,
    repository: Callable[[str], Target],
    shared: frozenset[str],
) -> Notifier:
    """The notifier of this configuration; a channel whose variables are missing is reported once, and left out.

    `repository` and `shared` are as `GitHub` has them.
    """
    redact.learn_environment(environ, [name for one in configured for name in one.variables.values()])
    routes, missing = [], []
    for number, one in enumerate(configured):
        name = f"{one.name} (notices[{number}])"
        try:
            channel = _channel(one.channel, environ, repository, shared)
        except UsageError as error:
            outbox.say_once(f"warning: no notices to {name}: {redact.prose(error.message)}")
            missing.append(Tested(name, False, redact.prose(error.message)))
        else:
            routes.append(Route(name, channel, frozenset(one.kinds), frozenset(one.environments)))
    return Notifier(routes, outbox, missing)


def _channel(
    section: ChannelSection, environ: Mapping[str, str], repository: Callable[[str], Target], shared: frozenset[str]
) -> Channel:
    """Raises: UsageError, if a variable is missing or can't be used."""
    match section:
        case GitHubSection():
            return GitHubDeployments(repository, section.deployments, shared)
        case SlackSection(url_from=None):
            return _slack_bot(section, environ)
        case SlackSection():
            return SlackWebhook(Endpoint("Slack", _url(environ, section.url_from or "")))
        case TeamsSection():
            return Teams(Endpoint("Teams", _url(environ, section.url_from)))
        case WebhookSection():
            keys = webhook.keys_of(_value(environ, section.secret_from), section.secret_from)
            return Webhook(Endpoint("the webhook", _url(environ, section.url_from)), keys)


def _slack_bot(section: SlackSection, environ: Mapping[str, str]) -> Slack:
    variable = section.token_from or ""
    token, api = _value(environ, variable), (section.api_url or slack.API).rstrip("/")
    if not (token.isascii() and token.isprintable()):
        raise UsageError(f"{variable} is not a Slack token", hint="copy it again: it begins with xoxb-")
    where = slack_origins(environ)
    bind = f"if it is an API of Slack, name it where the token is set: {_SLACK_API}={api}"
    return Slack(Endpoint("Slack", api), Credential(token, where, None, variable, bind), section.channel or "")


def slack_origins(environ: Mapping[str, str]) -> frozenset[str]:
    """Where a bot's token may be sent."""
    return origins([slack.API, slack.GOV_API, environ.get(_SLACK_API, "")], environ.get(PLAIN_HTTP, ""))


def _url(environ: Mapping[str, str], variable: str) -> str:
    return require_https(_value(environ, variable), variable, environ.get(PLAIN_HTTP, ""))


def _value(environ: Mapping[str, str], variable: str) -> str:
    if not (value := environ.get(variable, "").strip()):
        raise UsageError(f"{variable} is not set", hint="set it where promoter runs, or take the channel out")
    return value
