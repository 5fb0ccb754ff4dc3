"""Slack, Teams and somebody's own webhook on loopback. Every message is held against the published facts of its channel
(tests/data/notices); what does not fit is in `wrong`, which has to be empty in the end."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from jsonschema import Draft202012Validator

DATA = Path(__file__).parents[1] / "data" / "notices"
SLACK, CARD = (Draft202012Validator(json.loads((DATA / f"{name}.json").read_text())) for name in ("slack", "adaptive_card"))
LARGEST_CARD = 28 * 1024
CHANNEL = "C0123456789"

TOKEN = "xoxb-planted-bot-token-0123456789"
SECRET = "whsec_cGxhbnRlZC13ZWJob29rLXNlY3JldC0wMTIzNDU2Nzg5"
PLANTED = "planted-path-T00000000-B00000000"
SIGNATURE = "planted-query-signature-0123456789"


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    headers: Message
    body: bytes

    @property
    def value(self) -> Any:
        return json.loads(self.body)


Reply = tuple[int, dict[str, str], bytes]
_CUT: Reply = (0, {}, b"")


@dataclass
class Channels:
    """`faults` by the path's beginning: `hang`, `cut` the connection, or what is answered instead, once for each in the list."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    faults: dict[str, list[Reply] | str] = field(default_factory=dict)
    messages: list[dict[str, Any]] = field(default_factory=list)
    reads_history: bool = True
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def environ(self) -> dict[str, str]:
        """The variables that `configuration` names."""
        return {
            "SLACK_BOT_TOKEN": TOKEN,
            "SLACK_API_URL": f"{self.url}/slack",
            "SLACK_WEBHOOK_URL": f"{self.url}/hook/{PLANTED}",
            "TEAMS_WEBHOOK_URL": f"{self.url}/teams/{PLANTED}?sig={SIGNATURE}",
            "NOTICES_URL": f"{self.url}/own/{PLANTED}",
            "NOTICES_SECRET": SECRET,
        }

    def configuration(self, *names: str) -> str:
        """`notices:` of promoter.yaml with these channels (all, without names)."""
        lines = {
            "slack": f"slack: {{channel: {CHANNEL}, token-from: SLACK_BOT_TOKEN, api-url: {self.url}/slack}}",
            "hook": "slack: {url-from: SLACK_WEBHOOK_URL}",
            "teams": "teams: {url-from: TEAMS_WEBHOOK_URL}",
            "own": "webhook: {url-from: NOTICES_URL, secret-from: NOTICES_SECRET}",
        }
        return "notices:\n" + "".join(f"- {lines[name]}\n" for name in names or lines)

    def at(self, path: str) -> list[Asked]:
        return [one for one in self.asked if one.path.startswith(path)]

    @property
    def said(self) -> bytes:
        """All that was ever received but the headers that authorize."""
        return b"\n".join(one.body for one in self.asked)

    def answer(self, asked: Asked, query: Mapping[str, str]) -> Reply:
        self.asked.append(asked)
        fault = next((fault for start, fault in self.faults.items() if asked.path.startswith(start)), None)
        if fault == "hang":
            self.closing.wait()
            return 503, {}, b""
        if fault == "cut":
            return _CUT
        if isinstance(fault, list) and fault:
            return fault.pop(0)
        if asked.path.startswith("/slack/"):
            return 200, {}, json.dumps(self._slack(asked, query)).encode()
        if asked.path.startswith("/teams/"):
            self._check(CARD, asked.value)
            if len(asked.body) > LARGEST_CARD:
                self.wrong.append(f"a card of {len(asked.body)} bytes")
            return 202, {}, b""
        if asked.path.startswith("/hook/"):
            self._check(SLACK, asked.value)
            return 200, {}, b"ok"
        return 204, {}, b""

    def _slack(self, asked: Asked, query: Mapping[str, str]) -> dict[str, Any]:
        if asked.headers.get("Authorization") != f"Bearer {TOKEN}":
            return {"ok": False, "error": "invalid_auth"}
        method = asked.path.rpartition("/")[2]
        if method == "conversations.history":
            if not self.reads_history:
                return {"ok": False, "error": "missing_scope", "needed": "channels:history"}
            found = [one for one in self.messages if "thread_ts" not in one]
            return {"ok": True, "messages": found[::-1] if query["include_all_metadata"] == "true" else []}
        self._check(SLACK, asked.value)
        if method == "chat.update":
            self.wrong += [
                f"chat.update knows no {key}" for key in ("thread_ts", "unfurl_links", "unfurl_media") if key in asked.value
            ]
            (message,) = [one for one in self.messages if one["ts"] == asked.value["ts"]]
            message |= asked.value
        else:
            message = asked.value | {"ts": f"1790000000.{len(self.messages) + 1:06}"}
            self.messages.append(message)
        return {"ok": True, "channel": CHANNEL, "ts": message["ts"]}

    def _check(self, validator: Draft202012Validator, value: Any) -> None:
        self.wrong += [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(value)]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Who asked went away: that is what a client with a time limit does."""


@pytest.fixture
def there() -> Iterator[Channels]:
    """The channels, every message to which has been what it takes."""
    known = Channels()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            split = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, headers, content = known.answer(
                Asked(self.command, split.path, self.headers, body), dict(parse_qsl(split.query))
            )
            if known.closing.is_set() or not status:
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if status != 204:
                self.wfile.write(content)

        do_GET = do_POST = _serve

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = _Server(("127.0.0.1", 0), Handler)
    known.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield known
    finally:
        known.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
    assert not known.wrong, "\n".join(known.wrong)
