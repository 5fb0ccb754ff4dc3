"""The channels under `notices:`, each with the variables that hold its secrets."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from promoter.config.section import Section
from promoter.models import NoticeKind


def _named(name: str) -> tuple[AfterValidator, WithJsonSchema]:
    """A variable of a closed list, with a suffix where one wants several: what any other one holds must not be sent away."""
    pattern = rf"^{name}(_[A-Za-z0-9_]+)?$"

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"has to be {name}, or that with a suffix: {name}_TEAM")
        return value

    return AfterValidator(check), WithJsonSchema({"type": "string", "pattern": pattern})


_SlackToken = Annotated[str, *_named("SLACK_BOT_TOKEN")]
_SlackUrl = Annotated[str, *_named("SLACK_WEBHOOK_URL")]
_TeamsUrl = Annotated[str, *_named("TEAMS_WEBHOOK_URL")]
_WebhookUrl = Annotated[str, *_named("NOTICES_URL")]
_WebhookSecret = Annotated[str, *_named("NOTICES_SECRET")]


class SlackSection(Section):
    """A bot's token with a channel, or the URL of an incoming webhook; each in the variable that is named."""

    channel: str | None = Field(None, min_length=1, description="The channel's id (C0123456789), or its name.")
    token_from: _SlackToken | None = Field(None, description="Variable that holds the bot's token.")
    url_from: _SlackUrl | None = Field(None, description="Variable that holds an incoming webhook's URL.")
    api_url: str | None = Field(None, pattern=r"^https?://", description="https://slack.com/api, or GovSlack's.")

    @model_validator(mode="after")
    def _one_way(self) -> SlackSection:
        if (self.token_from is None) == (self.url_from is None):
            raise ValueError("needs either token-from, with channel, or url-from")
        if (self.channel is None) != (self.token_from is None):
            raise ValueError("channel goes with token-from: an incoming webhook has its own")
        return self


class TeamsSection(Section):
    """A webhook of Microsoft Teams' Workflows."""

    url_from: _TeamsUrl = Field(description="Variable that holds the webhook's URL.")


class WebhookSection(Section):
    """A custom webhook, signed according to Standard Webhooks."""

    url_from: _WebhookUrl = Field(description="Variable that holds its URL.")
    secret_from: _WebhookSecret = Field(description="Variable that holds the secrets, one on each line, the newest first.")


class GitHubSection(Section):
    """Commit statuses and deployments on GitHub, with the token of pull requests."""

    deployments: bool = Field(True, description="Deployments, in addition to the commit statuses.")


ChannelSection = SlackSection | TeamsSection | WebhookSection | GitHubSection


class NoticeSection(Section):
    """One channel that gets notices about promotions."""

    slack: SlackSection | None = None
    teams: TeamsSection | None = None
    webhook: WebhookSection | None = None
    github: GitHubSection | None = None
    kinds: Annotated[tuple[Annotated[NoticeKind, Field(strict=False)], ...], Field(strict=False)] = Field(
        tuple(NoticeKind), min_length=1, description="Kinds of notices that it gets; all by default."
    )
    environments: tuple[str, ...] = Field((), strict=False, description="Names of environments; all by default.")

    @property
    def name(self) -> str:
        """The key of the channel's section."""
        return next(iter(self._channels))

    @property
    def channel(self) -> ChannelSection:
        """Where the notices go."""
        return self._channels[self.name]

    @property
    def variables(self) -> dict[str, str]:
        """The variables that hold the channel's secrets, by the key that names each."""
        return {key: value for key, value in self.channel if key.endswith("_from") and value}

    @property
    def _channels(self) -> dict[str, ChannelSection]:
        return {name: section for name, section in self if isinstance(section, ChannelSection)}

    @model_validator(mode="after")
    def _one_channel(self) -> NoticeSection:
        if len(self._channels) != 1:
            raise ValueError("needs exactly one of slack, teams, webhook and github")
        return self
