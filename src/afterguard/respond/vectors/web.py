"""A store's HTTP interface: one JSON request, its reply as the type that is expected.

In: an address, headers, a path. Out: a decoded reply, or Unreachable with what it said. Replies have a largest size and an end in time (net); what is no JSON of that shape is refused.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import quote

import msgspec

from afterguard import net
from afterguard.errors import Unreachable
from afterguard.respond.vectors.store import failed

CAP = 64 << 20
"""Bytes of a reply: a page of points with long vectors and texts."""
WHOLE, SILENCE = 60.0, 30.0
JSON = "application/json"
T = TypeVar("T")


class Door:
    """An address."""

    def __init__(self, url: str, headers: Mapping[str, str], *, is_plain: bool = False, ca_file: str = "") -> None:
        self.url, self.headers, self.is_plain = url.rstrip("/"), dict(headers), is_plain
        try:
            self.way = net.Way(ssl.create_default_context(cafile=ca_file)) if ca_file else net.Way()
        except OSError:
            raise failed(f"{ca_file} cannot be read, or holds no certificate", "check the path and its permissions") from None  # fmt: skip

    def ask(self, method: str, path: str, kind: type[T], body: bytes | None = None, content: str = JSON) -> T:
        """A reply. Raises UsageError, Unreachable."""
        found = self.look(method, path, kind, body, content)
        if found is None:
            raise failed(f"{net.host_of(self.url)} says 404 to {path}")
        return found

    def look(self, method: str, path: str, kind: type[T], body: bytes | None = None, content: str = JSON) -> T | None:
        """A reply; None where there is no such thing."""
        headers = {"content-type": content, **self.headers}
        try:
            reply = net.ask(method, self.url + path, allow=[net.host_of(self.url)], headers=headers, body=body, way=self.way, cap=CAP, whole=WHOLE, silence=SILENCE, is_plain=self.is_plain)  # fmt: skip
        except Unreachable as error:
            raise failed(f"{error}") from None
        if reply.status == 404:
            return None
        if not 200 <= reply.status < 300:
            raise failed(f"{net.host_of(self.url)} says {reply.status}: {reply.body[:300].decode('utf-8', 'replace')}", "look at what it says there")  # fmt: skip
        try:
            return msgspec.json.decode(reply.body, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise failed(f"{net.host_of(self.url)} does not answer as such a store does: {error}", "is it the store that respond.yaml says?") from None  # fmt: skip


def segment(text: str) -> str:
    """A name as a part of a path."""
    return quote(text, safe="")
