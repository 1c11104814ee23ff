"""What the sinks over HTTP share: where to, with which certificates, and what an answer's status means.

In: a request. Out: a reply that says yes, else Unavailable or Unfit. The address in the settings is the only one that is spoken to; net.py follows no redirect.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Annotated, NoReturn, Protocol

from msgspec import Meta

from afterguard import net
from afterguard.errors import Unreachable
from afterguard.export.sink import Settings, Unavailable, Unfit

UNFIT = (400, 413, 415, 422)
AGAIN = 30.0
"""Seconds before the next try where somebody must do something first: credentials, a missing index."""


class TooLarge(Unavailable):
    """Its answer has more bytes than are read."""


class Web(Settings, frozen=True, kw_only=True):
    """What may be said of any sink over HTTP."""

    url: Annotated[str, Meta(min_length=8)]
    """Its address."""
    ca_file: str = ""
    """Certificates that vouch for it; empty: the system's."""
    cert_file: str = ""
    """Our own certificate, where it asks for one."""
    key_file: str = ""
    """The key of that certificate."""
    proxy: str = ""
    """http://HOST:PORT of a proxy that opens tunnels."""
    plain: bool = False
    """Leave to speak without TLS beyond this machine."""


class Reached(Protocol):
    """Settings that say how to get somewhere, of a sink or a pull."""

    @property
    def url(self) -> str: ...
    @property
    def ca_file(self) -> str: ...
    @property
    def cert_file(self) -> str: ...
    @property
    def key_file(self) -> str: ...
    @property
    def proxy(self) -> str: ...
    @property
    def plain(self) -> bool: ...
    @property
    def timeout(self) -> float: ...


class Door:
    """The way to one destination."""

    def __init__(self, settings: Reached) -> None:
        self._settings = settings
        self._way: net.Way | None = None

    def ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        unfit: tuple[int, ...] = UNFIT,
    ) -> net.Reply:
        """The reply of status 2xx. Raises Unavailable, or Unfit where the status says that the body is at fault."""
        reply = self.tell(method, url, headers, body)
        if not 200 <= reply.status < 300:
            self.refuse(reply, unfit)
        return reply

    def refuse(self, reply: net.Reply, unfit: tuple[int, ...] = UNFIT) -> NoReturn:
        """Raise what a reply that says no means."""
        why = f"{self._settings.url}: {reply.status} {_excerpt(reply.body)}"
        if reply.status in unfit:
            raise Unfit(why)
        asked = retry_after(reply.headers.get("retry-after", ""), time.time())
        if not asked and reply.status in (401, 403, 404, 405, 501):
            asked = AGAIN
        raise Unavailable(why, asked)

    def tell(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> net.Reply:
        """The reply, whatever its status. Raises Unavailable where there is none."""
        told = self._settings
        try:
            return net.ask(
                method, url, allow={net.host_of(url)}, headers=headers, body=body, way=self._ways(),
                whole=told.timeout, silence=min(told.timeout, 10.0), is_plain=told.plain,
            )  # fmt: skip
        except Unreachable as error:
            raise (TooLarge if error.slug == "too-large" else Unavailable)(str(error)) from None

    def _ways(self) -> net.Way:
        if self._way is None:
            told = self._settings
            name = told.ca_file
            try:
                context = ssl.create_default_context(cafile=told.ca_file or None)
                if name := told.cert_file:
                    context.load_cert_chain(told.cert_file, told.key_file or None)
            except OSError as error:
                raise Unavailable(f"{told.url}: {name} holds no certificate that can be used: {error.strerror or error}", AGAIN) from None  # fmt: skip
            self._way = net.Way(context, told.proxy)
        return self._way


def retry_after(value: str, now: float) -> float:
    """Seconds to wait: the header counts them or names a date (RFC 9110, 10.2.3); 0 where it says nothing."""
    value = value.strip()
    if value.isdigit():
        return float(min(int(value[:9]), 86_400))
    try:
        return min(86_400.0, max(0.0, parsedate_to_datetime(value).timestamp() - now))
    except (TypeError, ValueError, OverflowError, IndexError):
        return 0.0


def joined(url: str, path: str) -> str:
    """An address below another."""
    return url.rstrip("/") + path


def _excerpt(body: bytes) -> str:
    text = body[:200].decode("utf-8", "replace")
    return "".join(one if one.isprintable() else " " for one in text)
