"""Slack: with a bot's token one message for each promotion, updated, with the evidence in its thread; or an incoming webhook.

Texts go into `rich_text` blocks, whose text elements are shown as they are: nothing in them is a mention or a link.
Sources: docs.slack.dev, "chat.postMessage", "chat.update", "conversations.history", "Rich text block", "Message metadata".
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from promoter.errors import UnreachableError
from promoter.models import NoticeKind
from promoter.notify.endpoint import Answer, Endpoint
from promoter.notify.notice import Notice
from promoter.transport.credential import Credential

API, GOV_API = "https://slack.com/api", "https://slack-gov.com/api"

_EVENT = "promoter_notice"
_ID = re.compile(r"[CGD][A-Z0-9]{7,}")
_LOOKED_BACK = 7 * 24 * 3600  # seconds; a promotion that takes longer gets a message of its own
_NO_PREVIEWS = {"unfurl_links": False, "unfurl_media": False}
_AMPERSANDS = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})  # "Escaping text"


def message(notice: Notice, *, evidence: bool) -> dict[str, Any]:
    """Text and blocks; `text` is what notifications show."""
    sections = [
        _section({"type": "text", "text": notice.title, "style": {"bold": True}}),
        _section({"type": "text", "text": notice.sentence}),
        *([_section({"type": "text", "text": notice.metrics})] if notice.metrics else []),
    ]
    if evidence and notice.evidence:
        sections.append(_list(notice))
    if notice.links:
        parts: list[dict[str, Any]] = []
        for link in notice.links:
            parts += [
                *([{"type": "text", "text": "  ·  "}] if parts else []),
                {"type": "link", "url": link.url, "text": link.name},
            ]
        sections.append(_section(*parts))
    return _plain(f"{notice.title}. {notice.sentence}") | {"blocks": [_block(one) for one in sections]}


def reply(notice: Notice) -> dict[str, Any]:
    """The reply in the thread, with the evidence; it is also shown in the channel if somebody should act."""
    text = _section({"type": "text", "text": f"{notice.words}: {notice.sentence}"})
    blocks = [_block(one) for one in (text, *([_list(notice)] if notice.evidence else []))]
    return _plain(f"{notice.title}. {notice.sentence}") | {"blocks": blocks, "reply_broadcast": notice.alarming}


@dataclass
class SlackWebhook:
    """An incoming webhook: what it posted can't be updated, so it gets only how promotions end."""

    endpoint: Endpoint
    name: str = "Slack"
    reports_start: ClassVar[bool] = False
    can_be_asked: ClassVar[bool] = False

    def send(self, notice: Notice) -> str:
        answer = self.endpoint.send("POST", body=message(notice, evidence=True) | _NO_PREVIEWS)
        if not answer.ok:
            raise self.endpoint.refusal(answer)
        return f"{answer.status}: taken"


@dataclass(frozen=True, slots=True)
class _Posted:
    """A message and its content."""

    channel: str
    ts: str
    content: str


@dataclass
class Slack:
    """A bot in `channel`. Messages of other processes are found by their metadata, if the token may read the channel."""

    endpoint: Endpoint
    token: Credential
    channel: str
    now: Callable[[], float] = time.time
    name: str = "Slack"
    reports_start: ClassVar[bool] = True
    can_be_asked: ClassVar[bool] = True
    _posted: dict[str, _Posted] = field(default_factory=dict)

    def send(self, notice: Notice) -> str:
        there = self._posted.get(notice.id) or self._found(notice.id)
        if there and _is_current(there, notice):
            return "notified already"
        content = message(notice, evidence=False) | {"metadata": _metadata(notice)}
        if there is None:
            answer = self._call("chat.postMessage", {"channel": self.channel, **content, **_NO_PREVIEWS})
        else:
            answer = self._call("chat.update", {"channel": there.channel, "ts": there.ts, **content}, retry_lost=True)
        channel, ts = str(answer.get("channel")), str(answer.get("ts"))
        self._posted[notice.id] = _Posted(channel, ts, notice.content)
        if notice.evidence or notice.alarming:
            self._call("chat.postMessage", {"channel": channel, "thread_ts": ts, **reply(notice), **_NO_PREVIEWS})
        return f"message {ts} in {channel}"

    def _found(self, id: str) -> _Posted | None:
        """The message of this promotion that another process posted; None, too, if the channel can't be read."""
        if not _ID.fullmatch(self.channel):
            return None  # history is asked for by a channel's id
        oldest = f"{self.now() - _LOOKED_BACK:.0f}"
        params = {"channel": self.channel, "include_all_metadata": "true", "limit": "200", "oldest": oldest}
        try:
            answer = self.endpoint.send("GET", "/conversations.history", params=params, token=self.token)
        except UnreachableError:
            return None
        messages = answer.get("messages")
        for one in messages if isinstance(messages, list) else ():
            payload = _payload(one)
            if payload.get("id") == id and "ts" in one:
                return _Posted(self.channel, str(one["ts"]), str(payload.get("content")))
        return None

    def _call(self, method: str, body: dict[str, Any], *, retry_lost: bool = False) -> Answer:
        """Slack always answers 200; the body reports whether the call succeeded."""
        answer = self.endpoint.send("POST", f"/{method}", body=body, token=self.token, retry_lost=retry_lost)
        if not answer.ok or answer.get("ok") is not True:
            raise self.endpoint.refusal(answer, f"{method}: {answer.get('error') or answer.text or 'no reason given'}")
        return answer


def _is_current(there: _Posted, notice: Notice) -> bool:
    """Nothing new; also where a release that came to its end is watched once more."""
    return notice.kind is NoticeKind.STARTED or there.content == notice.content


def _metadata(notice: Notice) -> dict[str, Any]:
    return {"event_type": _EVENT, "event_payload": {"id": notice.id, "content": notice.content}}


def _payload(message: Any) -> dict[str, Any]:
    metadata = message.get("metadata") if isinstance(message, dict) else None
    payload = metadata.get("event_payload") if isinstance(metadata, dict) else None
    return payload if isinstance(payload, dict) and metadata and metadata.get("event_type") == _EVENT else {}


def _plain(text: str) -> dict[str, Any]:
    return {"text": text.translate(_AMPERSANDS), "parse": "none", "link_names": False}


def _block(element: dict[str, Any]) -> dict[str, Any]:
    return {"type": "rich_text", "elements": [element]}


def _section(*elements: dict[str, Any]) -> dict[str, Any]:
    return {"type": "rich_text_section", "elements": list(elements)}


def _list(notice: Notice) -> dict[str, Any]:
    lines = [_section({"type": "text", "text": line}) for line in notice.evidence]
    return {"type": "rich_text_list", "style": "bullet", "elements": lines}
