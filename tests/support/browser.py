"""A browser without a screen, spoken to over the DevTools protocol (https://chromedevtools.github.io/devtools-protocol/)."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

AXE = Path(__file__).parents[2] / ".tools/axe/node_modules/axe-core/axe.min.js"


def program() -> str | None:
    """The browser of this machine; None without one."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@dataclass
class Page:
    """One tab. `requests` are the addresses that it asked for, `complaints` what its console and its policy have against the page."""

    _to: IO[bytes]
    _from: IO[bytes]
    _session: str = ""
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    _loaded: bool = False
    _last: int = 0

    def open(self, url: str, width: int, scheme: str, height: int = 900) -> None:
        """Loads the page as wide as that, for people who prefer that colour scheme (light, dark)."""
        self._loaded = False
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Page.navigate", url=url)
        while not self._loaded:
            self._read()

    def value(self, expression: str) -> Any:
        """What a piece of JavaScript gives; the page itself may have none, a debugger may."""
        done = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def picture(self, *, whole: bool = False) -> bytes:
        """As PNG: what is seen, or the whole page."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"])

    def call(self, method: str, **params: Any) -> Mapping[str, Any]:
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        self._to.write(json.dumps(message | ({"sessionId": self._session} if self._session else {})).encode() + b"\0")
        self._to.flush()
        while (answer := self._read()).get("id") != self._last:
            pass
        assert "error" not in answer, f"{method}: {answer['error']}"
        found: Mapping[str, Any] = answer["result"]
        return found

    def attach(self) -> None:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def _read(self) -> dict[str, Any]:
        content = bytearray()
        while not content.endswith(b"\0"):
            if not (byte := self._from.read(1)):
                raise EOFError("the browser has ended")
            content += byte
        message: dict[str, Any] = json.loads(content[:-1])
        event, params = message.get("method"), message.get("params", {})
        if event == "Page.loadEventFired":
            self._loaded = True
        elif event == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif event == "Log.entryAdded":
            self.complaints.append(params["entry"]["text"])
        elif event == "Runtime.consoleAPICalled" or event == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params)[:500])
        return message


@contextmanager
def browser() -> Iterator[Page]:
    """A browser of its own, with a profile of its own; it ends with the block."""
    there, here = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [
            *("bash", "-c", f'exec "$@" 3<&{there[0]} 4>&{here[1]}', "bash", str(program())),
            *("--headless=new", "--remote-debugging-pipe", f"--user-data-dir={profile}", "--no-sandbox", "--disable-gpu"),
            *("--no-first-run", "--hide-scrollbars", "--disable-dev-shm-usage", "about:blank"),
        ]
        process = subprocess.Popen(
            command,
            pass_fds=(there[0], here[1]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": profile},
        )
        os.close(there[0])
        os.close(here[1])
        with os.fdopen(there[1], "wb") as to, os.fdopen(here[0], "rb") as answers:
            try:
                page = Page(to, answers)
                page.attach()
                yield page
            finally:
                process.terminate()
                process.wait(60)
