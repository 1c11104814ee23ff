"""Access and proxy logs, line by line: nginx, Apache, ALB and ELB, Envoy, Squid, Zeek http and ssl, HTTP client lines.

In: one line of a recognised format. Out: an Event, or None when the line does not parse (the caller counts it). It reads
by shape rather than by position, because log formats are edited on every second server.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from afterguard.discover import stamps
from afterguard.discover.events import PASSED, Event, host_of, number, split_target

METHODS = "GET|POST|PUT|DELETE|HEAD|OPTIONS|PATCH|CONNECT|TRACE|PROPFIND"
TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"|\[([^\[\]]{0,200})\]|(\S+)')
REQUEST = re.compile(rf"\A({METHODS}|[A-Z]{{3,12}}) (\S+)(?: (HTTP|H2C|h2)\S*)?\Z")
ADDRESS = re.compile(r"\A(?:\d{1,3}(?:\.\d{1,3}){3}|\[?[0-9a-fA-F:]*:[0-9a-fA-F:.]+\]?)(?::\d{1,5})?\Z")
NAMED = re.compile(r"\A([A-Za-z_][\w.:-]{0,40})[=:](.+)\Z")
HOST_PORT = re.compile(r"\A(?:[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]{1,62}(?::\d{1,5})?\Z")
COMBINED = re.compile(
    rf'\A((?:\d{{1,3}}\.){{3}}\d{{1,3}}|[0-9a-fA-F]{{0,4}}:[0-9a-fA-F:.]+) \S+ \S{{1,200}} \[([^\]]{{20,40}})\] "({METHODS}) (\S{{1,8000}}) HTTP/[\d.]{{1,3}}" (\d{{3}}) (\d{{1,15}}|-)(?: "([^"\\]*)" "([^"\\]*)")?\s*\Z'
)
SQUID = re.compile(
    rf"\A\s*(?:\S+ )?(\d{{9,10}}\.\d+)\s+(-?\d+)\s+(\S+)\s+([A-Z_]+)/(\d{{3}})\s+(\d+)\s+({METHODS}|NONE|[A-Z]+)\s+(\S+)\s+(\S+)\s+(\S+?)(?:\s+(\S+))?\s*\Z"
)
SENT = re.compile(rf"\b({METHODS}) (https?://[^\s\"'<>]+)(?:[\"']? ?\"?(?:HTTP/[\d.]+)? ?(\d{{3}})?)")


AGENT = re.compile(r"\A[A-Za-z][\w.!+-]*(?: [A-Za-z][\w.-]*)?(?:/[\w.]|\b.*[;(]| )")
UPSTREAM_URL = re.compile(r"\A(?:tcp|http|https|grpc|fcgi)://[^/\s]+\Z")
DURATION = re.compile(r"\A(\d{1,7}\.\d{1,9}|\d{1,9}(?:\.\d{1,9})?(?=[mµu]?s\Z))([mµu]?s|)\Z")
UNITS = {"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}
WITH_STATUS = re.compile(r'"[A-Z]{3,12} \S+ HTTP/[\d.]+" \d{3}\b')
GIN = re.compile(
    rf'(?:\[GIN\] ?)?(\d{{4}}/\d{{2}}/\d{{2}} - \d{{2}}:\d{{2}}:\d{{2}}) \| *(\d{{3}}) \| *([\d.]+[mµn]?s|[\dhm.]+s) *\| *(\S+) *\| *({METHODS}) +"([^"\s]*)"'
)
SECONDS = {"rt", "request_time", "urt", "upstream_response_time", "duration", "time", "elapsed", "uht", "took"}
UPSTREAMS = {"upstream", "upstream_addr", "us", "ua", "backend", "proxy", "upstream_host", "uaddr", "to"}
HOSTS = {"host", "http_host", "server_name", "vhost", "authority", "server", "proxy_host", "ssl_server_name", "sni"}


def read_combined(line: int, text: str) -> Event | None:
    """The common and combined formats as shipped, by position because they are most of what is read; else None."""
    found = COMBINED.match(text)
    stamp = stamps.read(found[2]) if found else None
    if found is None or stamp is None:
        return None
    client, _, method, target, status, size, _, agent = found.groups()
    host, port, path = split_target(target)
    return Event(
        line, host, port, method, path, stamp.seconds, stamp.zoned, stamp.dated, int(status), number(size), 0.0,
        client, (agent or "")[:300],
    )  # fmt: skip


def read_text(line: int, text: str) -> Event | None:
    """nginx, Apache, ALB, ELB, Envoy text and Squid's combined format: any line with a quoted request and a time."""
    plain = read_combined(line, text)
    if plain is not None:
        return plain
    tokens = [_Token(*_group(found), found.start()) for found in TOKEN.finditer(text[:16384])]
    at = next((i for i, one in enumerate(tokens) if one.quote == '"' and REQUEST.match(one.text)), -1)
    if at < 0:
        return _without_request(tokens)
    stamp = next((found for one in tokens if one.quote != '"' and (found := stamps.read(one.text))), None)
    if stamp is None and not WITH_STATUS.match(text, tokens[at].start):
        return None
    method, target = tokens[at].text.split(" ", 2)[:2]
    host, port, path = split_target(target)
    after = _after(tokens[at + 1 :])
    if not after.status:
        after = after._replace(**_before(tokens[:at]))
    if not host:
        host, port = after.host or _vhost(tokens[:at])
    return Event(
        line, host, port, method, path, stamp.seconds if stamp else None, bool(stamp and stamp.zoned),
        bool(stamp and stamp.dated), after.status, after.bytes, after.seconds, _client(tokens), after.agent, after.media,
        after.upstream,
    )  # fmt: skip


def _without_request(tokens: list[_Token]) -> Event | None:
    """A line of this log about something that was no HTTP request: a probe, a broken handshake, a TCP connection."""
    timed = any(stamps.read(one.text) for one in tokens if one.quote != '"')
    return PASSED if timed and any(one.quote == '"' for one in tokens) else None


class _Token(NamedTuple):
    text: str
    quote: str
    start: int


class _After(NamedTuple):
    """What follows the quoted request, read by shape."""

    status: int = 0
    bytes: int = 0
    agent: str = ""
    host: tuple[str, int] | None = None
    upstream: str = ""
    seconds: float = 0.0
    media: str = ""


def _group(found: re.Match[str]) -> tuple[str, str]:
    if found[1] is not None:
        return found[1], '"'
    return (found[2], "[") if found[2] is not None else (found[3], "")


def _after(tokens: list[_Token]) -> _After:
    bare = [one.text for one in tokens if not one.quote]
    counts = [number(one) for one in bare]
    status = counts[0] if counts and 100 <= counts[0] <= 599 else 0
    size = next((count for count in counts[1:] if count), 0) if status else max(counts, default=0)
    agent, host, upstream, media, seconds = "", None, "", "", 0.0
    for one in tokens:
        name, value = _named(one.text) if not one.quote or "=" in one.text else ("", one.text)
        value = value.strip('"')
        if name in SECONDS:
            seconds = max(seconds, _float(value))
        elif name in UPSTREAMS:
            upstream = value
        elif name in HOSTS:
            host = host_of(value)
        elif value.startswith(("application/", "text/")) and len(value) < 100:
            media = value
        elif one.quote and not agent and AGENT.match(value):
            agent = value[:300]
        elif UPSTREAM_URL.match(value):
            upstream = value.partition("://")[2]
        elif HOST_PORT.match(value) and not ADDRESS.match(value):
            host = host or host_of(value)
        elif not one.quote and ADDRESS.match(value) and ":" in value:
            upstream = upstream or value
        elif not one.quote and DURATION.match(value):
            seconds = max(seconds, _float(value))
    return _After(status, size, agent, host, upstream, seconds, media)


def _before(tokens: list[_Token]) -> dict[str, Any]:
    """Status, bytes and target of a load balancer, which writes them ahead of the request."""
    bare = [one.text for one in tokens if not one.quote]
    counts = [number(one) for one in bare]
    at = next((i for i, count in enumerate(counts) if 100 <= count <= 599 and len(bare[i]) == 3), -1)
    addresses = [one for one in bare if ADDRESS.match(one) and ":" in one]
    return {
        "status": counts[at] if at >= 0 else 0,
        "bytes": counts[-1] if at >= 0 else 0,
        "upstream": addresses[1] if len(addresses) > 1 else "",
        "seconds": max((_float(one) for one in bare), default=0.0),
    }


def _named(text: str) -> tuple[str, str]:
    found = NAMED.match(text)
    return (found[1].lower(), found[2]) if found else ("", text)


def _float(text: str) -> float:
    found = DURATION.match(text)
    return float(found[1]) * UNITS[found[2]] if found else 0.0


def _vhost(tokens: list[_Token]) -> tuple[str, int]:
    first = tokens[0].text if tokens and not tokens[0].quote else ""
    return host_of(first) if HOST_PORT.match(first) and not ADDRESS.match(first) else ("", 0)


def _client(tokens: list[_Token]) -> str:
    for one in tokens[:6]:
        if ADDRESS.match(one.text):
            return one.text.rpartition(":")[0] if one.text.count(":") == 1 else one.text
    return ""


def read_squid(line: int, text: str) -> Event | None:
    """Squid's native format: time elapsed client code/status bytes method URL user hierarchy/peer type."""
    found = SQUID.match(text[:16384])
    if not found:
        return read_text(line, text)
    seconds, elapsed, client, _, status, size, method, target, _, peer, media = found.groups()
    stamp = stamps.read(seconds)
    if stamp is None:
        return None
    host, port, path = split_target(target)
    return Event(
        line, host, port, method, path if method != "CONNECT" else "", stamp.seconds, True, True, int(status), number(size),
        max(0, int(elapsed[:12])) / 1000, client, "", media or "", peer.partition("/")[2],
    )  # fmt: skip


def read_gin(line: int, text: str) -> Event | None:
    """The log of Go servers built on Gin, Ollama among them."""
    found = GIN.search(text[:8192])
    if not found:
        return None
    when, status, took, client, method, target = found.groups()
    host, port, path = split_target(target)
    stamp = stamps.read(when.replace(" - ", " "))
    return Event(
        line, host, port, method, path, stamp.seconds if stamp else None, False, bool(stamp), int(status), 0, _float(took), client
    )  # fmt: skip


def read_client_log(line: int, text: str) -> Event | None:
    """A line an application wrote about a request it sent (a method and an absolute URL) or took (as servers log it)."""
    found = SENT.search(text[:8192])
    if not found:
        return read_gin(line, text) or (read_text(line, text) if WITH_STATUS.search(text[:8192]) else None)
    stamp = stamps.read(text.lstrip('[ ("')[:40])
    host, port, path = split_target(found[2])
    if not host:
        return None
    return Event(
        line, host, port, found[1], path, stamp.seconds if stamp else None, bool(stamp and stamp.zoned),
        bool(stamp and stamp.dated), number(found[3] or ""),
    )  # fmt: skip
