"""Microsoft Teams: an Adaptive Card to a webhook of the Workflows app, once a promotion has ended: it can't be updated.

Texts go into TextRuns, which show them as they are: Adaptive Cards know no Markdown there, and a mention needs an entity of the
card. Sources: adaptivecards.io/schemas/1.4.0/adaptive-card.json; learn.microsoft.com, "Create incoming webhooks with Workflows"
and "Limits and specifications for Microsoft Teams" (28 KB a message).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from promoter.models import NoticeKind
from promoter.notify.endpoint import Endpoint
from promoter.notify.notice import Notice

_COLOURS = {
    NoticeKind.LIVE: "good",
    NoticeKind.RESTORED: "warning",
    NoticeKind.FAILED: "attention",
    NoticeKind.NEEDS_PERSON: "attention",
}


def message(notice: Notice) -> dict[str, Any]:
    """A message whose only attachment is the card."""
    body = [
        _text(notice.title, weight="bolder", size="medium", color=_COLOURS.get(notice.kind, "default")),
        _text(notice.sentence),
        *([_text(notice.metrics)] if notice.metrics else []),
        *(_text(f"• {line}", size="small") for line in notice.evidence),
    ]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "fallbackText": "A notice of promoter: this client shows no Adaptive Cards of version 1.4.",  # it may hold Markdown
        "body": body,
        "actions": [{"type": "Action.OpenUrl", "title": link.name, "url": link.url} for link in notice.links],
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


@dataclass
class Teams:
    endpoint: Endpoint
    name: str = "Teams"
    reports_start: ClassVar[bool] = False
    can_be_asked: ClassVar[bool] = False

    def send(self, notice: Notice) -> str:
        answer = self.endpoint.send("POST", body=message(notice))
        if not answer.ok:
            raise self.endpoint.refusal(answer)
        return f"{answer.status}: taken"


def _text(text: str, **style: str) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text, **style}]}
