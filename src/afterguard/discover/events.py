"""What one log line says, in one shape for every format: who called which host and path, when, with what result.

In: fields as a format's reader found them. Out: `Event`. Client addresses live here only long enough to be counted;
nothing of an Event reaches a report except through tally.py, which redacts.
"""

from __future__ import annotations

import re

import msgspec

HOST = re.compile(r"\A(?=.{1,253}\Z)(?:[^\s/@:\[\]\"'<>(){},;=?&#%\\]+)\Z")
URL = re.compile(r"\A([a-zA-Z][a-zA-Z0-9+.-]{1,15})://([^/?#\s]*)([^?#\s]*)")


class Event(msgspec.Struct, frozen=True, gc=False):
    """One request, query or connection. Empty strings and zeros mean the log did not say."""

    line: int
    host: str = ""
    """Destination, lower case, no port, no trailing dot."""
    port: int = 0
    method: str = ""
    path: str = ""
    """Without query."""
    time: float | None = None
    zoned: bool = True
    dated: bool = True
    status: int = 0
    bytes: int = 0
    seconds: float = 0.0
    client: str = ""
    agent: str = ""
    media: str = ""
    upstream: str = ""
    """Where a reverse proxy sent it, host:port as written."""
    channel: str = "http"
    """http, dns, tls, audit, billing, none."""


PASSED = Event(0, channel="none")
"""A line of the log that belongs there and is no request."""


def host_of(text: str) -> tuple[str, int]:
    """Host and port from "HOST", "HOST:PORT", "[v6]:port" or "user@HOST"; ("", 0) when it is not a host."""
    text = text.strip().rpartition("@")[2]
    if text.startswith("["):
        name, _, tail = text[1:].partition("]")
        return name.lower(), _port(tail[1:])
    name, _, tail = text.partition(":")
    if tail and not tail.isdigit():
        return "", 0
    name = name.rstrip(".").lower()
    return (name, _port(tail)) if HOST.match(name) else ("", 0)


def split_target(target: str) -> tuple[str, int, str]:
    """Host, port and path without query of a request target: absolute URL, "host:443" of CONNECT, or a plain path."""
    found = URL.match(target)
    if found:
        host, port = host_of(found[2])
        return host, port or {"https": 443, "http": 80}.get(found[1].lower(), 0), found[3] or "/"
    if target.startswith("/"):
        return "", 0, target.partition("?")[0].partition("#")[0]
    name, slash, path = target.partition("/")
    host, port = host_of(name)
    return host, port, slash + path.partition("?")[0].partition("#")[0]


def _port(text: str) -> int:
    return int(text) if 0 < len(text) <= 5 and text.isascii() and text.isdigit() and int(text) < 65_536 else 0


def number(text: str) -> int:
    """A count of bytes or a status as logged; 0 for "-" and anything that is not a sane number."""
    text = text.strip()
    return int(text) if 0 < len(text) <= 15 and text.isascii() and text.isdigit() else 0
