"""The HTTP client of the control plane: one request, with an end in time, size and destination. The data path has its own (guard/upstream.py).

In: an address, the hosts that may be spoken to. Out: a `Reply`, or `Unreachable` with a sentence. It follows no redirect, keeps no cookie, unpacks nothing, and sends nothing it was not given.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple, NoReturn
from urllib.parse import unquote, urlsplit

from afterguard.errors import Unreachable, UsageError

CONNECT = 5.0
"""Seconds for the connection, and for each silence after it."""
WHOLE = 15.0
"""Seconds for everything."""
CAP = 8 << 20
"""Bytes of a body."""
SLUGS = ("unreachable", "too-slow", "too-large", "broke-off", "no-http", "no-tls")
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Reply(NamedTuple):
    """What came back. Names of headers are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes
    cookies: tuple[str, ...] = ()
    """Each Set-Cookie as it came: of several headers of a name, `headers` has the last."""


class Way(NamedTuple):
    """How to get there."""

    tls: ssl.SSLContext | None = None
    proxy: str = ""
    """http://HOST:PORT of a proxy that opens tunnels; loopback is reached without it."""


def get(
    url: str,
    *,
    allow: Collection[str],
    headers: Mapping[str, str] | None = None,
    way: Way = Way(),  # noqa: B008 - an immutable tuple
    cap: int = CAP,
    whole: float = WHOLE,
    is_plain: bool = False,
) -> Reply:
    """The reply to a GET: see `ask`."""
    return ask("GET", url, allow=allow, headers=headers, way=way, cap=cap, whole=whole, is_plain=is_plain)


def ask(
    method: str,
    url: str,
    *,
    allow: Collection[str],
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    way: Way = Way(),  # noqa: B008 - an immutable tuple
    cap: int = CAP,
    whole: float = WHOLE,
    silence: float = CONNECT,
    is_plain: bool = False,
    is_end: Callable[[bytes], bool] | None = None,
) -> Reply:
    """The reply to one request. `allow`: HOST or HOST:PORT; `is_plain`: without TLS too, beyond loopback; `silence`: seconds without a byte; `is_end` sees each piece of the body and says whether it was the last,
    for streams that their server leaves open. Raises UsageError for an address that may not be asked, Unreachable for whatever goes wrong on the way: its slug is one of SLUGS."""
    target = checked(url, allow, is_plain=is_plain)
    connection = _connection(url, way)
    connection.timeout = silence
    until = time.monotonic() + whole
    held: list[socket.socket] = []
    connection._create_connection = _dialling(held, until)  # type: ignore[attr-defined]
    # A peer that says a letter now and then never runs into a time-out of the socket; this one ends it.
    alarm = threading.Timer(whole, _cut, (held,))
    alarm.daemon = True
    alarm.start()
    try:
        connection.request(method, target, body, headers={"accept-encoding": "identity", **(headers or {})})
        with connection.getresponse() as reply:
            body = _read(reply, cap, url, is_end)
        if time.monotonic() > until:
            raise TimeoutError("it took too long")
        cookies = tuple(reply.msg.get_all("set-cookie") or ())
        return Reply(reply.status, {k.lower(): v for k, v in reply.getheaders()}, body, cookies)
    except (OSError, http.client.HTTPException, ValueError) as error:
        if time.monotonic() >= until or isinstance(error, TimeoutError):
            _away(url, "it took too long", "too-slow")
        # What is wrong with a header is told with the header, which may be a secret.
        is_header = isinstance(error, UnicodeEncodeError) or str(error).startswith("Invalid header")
        _away(url, "a header that HTTP cannot carry" if is_header else str(error) or type(error).__name__, _slug(error))
    finally:
        alarm.cancel()
        connection.close()
        for line in held:
            line.close()


def checked(url: str, allow: Collection[str], *, is_plain: bool = False) -> str:
    """The path and query of an address that may be asked. Raises UsageError."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    if (
        parts.scheme not in ("http", "https")
        or not host
        or parts.username
        or not url.isascii()
        or not url.isprintable()
    ):
        raise UsageError(
            f"{url[:200]!r} is no address to get something from", hint="https://HOST/PATH", slug="bad-address"
        )
    if parts.scheme == "http" and host not in LOOPBACK and not is_plain:
        raise UsageError(f"{host} is asked without TLS", hint=f"https://{host}{parts.path}", slug="bad-address")
    if host not in allow and f"{host}:{port or (443 if parts.scheme == 'https' else 80)}" not in allow:
        raise UsageError(
            f"{host} is not among the hosts that may be asked",
            hint=f"allowed: {', '.join(sorted(allow)) or 'none'}",
            slug="bad-address",
        )
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def host_of(url: str) -> str:
    """The host of an address, "" where it has none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _connection(url: str, way: Way) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    proxy = urlsplit(way.proxy) if way.proxy and host not in LOOPBACK else None
    place = (proxy.hostname or "", proxy.port or 80) if proxy else (host, port)
    made: http.client.HTTPConnection
    if parts.scheme == "https":
        context = way.tls or ssl.create_default_context()
        made = http.client.HTTPSConnection(place[0], place[1], timeout=CONNECT, context=context)
    else:
        made = http.client.HTTPConnection(place[0], place[1], timeout=CONNECT)
    if proxy:
        made.set_tunnel(host, port or 443, _proxy_headers(proxy.username, proxy.password))
    return made


def _proxy_headers(user: str | None, password: str | None) -> dict[str, str]:
    if user is None:
        return {}
    from base64 import b64encode

    told = f"{unquote(user)}:{unquote(password or '')}"
    return {"proxy-authorization": "Basic " + b64encode(told.encode()).decode()}


def _read(reply: http.client.HTTPResponse, cap: int, url: str, is_end: Callable[[bytes], bool] | None) -> bytes:
    # With nobody to see the pieces, larger ones are cheaper.
    more = reply.read1 if is_end else reply.read
    body = bytearray()
    while piece := more(64 << 10):
        if len(body) + len(piece) > cap:
            _away(url, f"more than {cap >> 20} MiB", "too-large")
        body += piece
        if is_end and is_end(piece):
            return bytes(body)
    if reply.length:
        _away(url, "it broke off", "broke-off")
    return bytes(body)


def _slug(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return "no-tls"
    if isinstance(error, http.client.IncompleteRead):
        return "broke-off"
    is_gone = isinstance(error, (OSError, http.client.RemoteDisconnected))
    return "unreachable" if is_gone else "no-http"


def _dialling(held: list[socket.socket], until: float) -> Callable[..., socket.socket]:
    """Connects, and keeps a handle on the line: the client lets go of its own while it shakes hands and while a reply without a length comes in."""

    def dial(*told: Any, **more: Any) -> socket.socket:
        line = socket.create_connection(*told, **more)
        held.append(line.dup())
        if time.monotonic() >= until:
            line.close()
            raise TimeoutError("it took too long")
        return line

    return dial


def _cut(held: list[socket.socket]) -> None:
    for line in held:
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)


def _away(url: str, why: str, slug: str = "unreachable") -> NoReturn:
    raise Unreachable(f"{url[:200]} does not answer: {why[:200]}", hint="is it there?", slug=slug)
