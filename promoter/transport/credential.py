"""A secret and where it may go. The operator binds both in the environment; nothing that promoter reads can add a place.

An origin is scheme, host and port (RFC 6454). https only, and plain http to this machine's loopback and to the hosts in
PROMOTER_PLAIN_HTTP_HOSTS.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from promoter.errors import AuthError, UsageError
from promoter.errors.redaction import redact

PLAIN_HTTP = "PROMOTER_PLAIN_HTTP_HOSTS"
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Credential:
    """`secret` may be sent to `origins` and nowhere else. With a user name it is a password, "" being one; else a bearer token.

    For errors: `name` is the variable or place it is from, `bind` what an operator does to bind it to one more place.
    """

    secret: str = field(repr=False)
    origins: frozenset[str]
    username: str | None = None
    name: str = "the credential"
    bind: str = "set the address in the same place as the secret"

    def __post_init__(self) -> None:
        redact.learn(self.secret, self._header().partition(" ")[2])

    def authorization(self, url: str) -> str:
        """The Authorization header for a request to `url`.

        Raises:
            AuthError: the secret is not for this place.
            UsageError: HTTP can't send it.
        """
        self.require(url)
        value = self._header()
        if not self.secret.strip().isprintable() or not value.isascii():
            raise UsageError(
                f"{self.name} contains a line break or a character that HTTP can't send",
                hint="set it again, without what a file or a terminal added to it",
            )
        return value

    def require(self, url: str) -> None:
        """Raises AuthError when the secret is not for this place."""
        here = origin(url)
        if here in self.origins:
            return
        plain = here.startswith("http://") and here.replace("http://", "https://", 1) in self.origins
        raise AuthError(
            f"{self.name} is not sent to {here}: it may be sent to {', '.join(sorted(self.origins)) or 'no place'}",
            hint=f"use https, or allow plain http: {PLAIN_HTTP}={urlsplit(here).netloc}" if plain else self.bind,
        )

    def _header(self) -> str:
        secret = self.secret.strip()
        if self.username is None:
            return f"Bearer {secret}"
        return "Basic " + base64.b64encode(f"{self.username}:{secret}".encode()).decode()


def origin(url: str) -> str:
    """Scheme, host and port, the port only if it is not the scheme's own; "" if it is not a URL of http or https."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return ""
    if not host or parts.scheme not in _PORTS:
        return ""
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}" + ("" if port in (None, _PORTS[parts.scheme]) else f":{port}")


def origins(addresses: Iterable[str], plain_http: str = "") -> frozenset[str]:
    """The origins of addresses that the operator named. `plain_http` lists the hosts that may be reached without TLS; any other
    address of that kind stands for its https one.
    """
    plain = hosts(plain_http)
    found = set()
    for one in filter(None, map(origin, addresses)):
        scheme, _, host = one.partition("://")
        secure = scheme == "https" or is_loopback(one) or host in plain or urlsplit(one).hostname in plain
        found.add(one if secure else f"https://{host}")
    return frozenset(found)


def hosts(text: str) -> frozenset[str]:
    """The hosts in a list, `host`, `host:port` or a URL each, with commas or blanks between them."""
    words = (re.sub(r"^https?://|/.*", "", word.lower()) for word in re.split(r"[,\s]+", text))
    return frozenset(filter(None, words))


def is_loopback(url: str) -> bool:
    """Whether it leads to this machine and nowhere else."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
