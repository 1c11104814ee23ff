"""What every pull has: the settings that all share, how far it got, and one page of what it is asked for.

In: nothing. Out: `Pull`, `Cursor`, `Page`, `Puller`. Pages come in the order of when something was said, so that a cursor is a time and the name of the last document with it.
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple, NoReturn, Protocol

import msgspec
from msgspec import Meta

from afterguard.errors import Unreachable
from afterguard.export.sink import Identifier, Unavailable, Unfit
from afterguard.export.sinks.web import TooLarge

LATE = 300.0
"""Seconds that are read again each time: what a search did not show yet then."""


class Pull(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind"):
    """What may be said of any pull."""

    name: Identifier
    """What it is called: how far it got is kept under that name."""
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
    timeout: Annotated[float, Meta(gt=0, le=600)] = 60.0
    """Seconds for one answer."""
    size: Annotated[int, Meta(ge=1, le=1_000)] = 200
    """Documents of one page."""
    days: Annotated[float, Meta(gt=0, le=3_660)] = 30.0
    """How far back the first pull looks."""


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far a pull got."""

    time: float = 0.0
    """Of the last document, seconds since the epoch; 0 before the first."""
    key: str = ""
    """Its name, where the next page begins after it; "" where the last page was the end."""
    link: str = ""
    """Where the next page is, where the server names it itself."""


class Page(NamedTuple):
    """Some documents, and where the next ones begin."""

    documents: list[Any]
    cursor: Cursor
    is_last: bool


class Puller(Protocol):
    """A SIEM that is asked."""

    def page(self, cursor: Cursor) -> Page:
        """What comes after a cursor. Raises Unreachable."""
        ...


def away(error: Unavailable | Unfit, size: int = 0) -> NoReturn:
    """Raise what a person is told of a SIEM that says no; `size`: how many documents it was asked for."""
    if isinstance(error, TooLarge) and size:
        smaller = f"ask for fewer at once: `size: {max(1, size // 4)}` in the entry of the pull (it is {size})"
        alone = "one document alone is too large: leave it out of what is asked (`search`, `where` or `index` in the entry of the pull), and give an export of it to afterguard watch feedback FILE"
        raise Unreachable(str(error), hint=f"{smaller if size > 1 else alone}; nothing was skipped, the next pull goes on here", slug="no-feedback") from None  # fmt: skip
    wait = error.wait if isinstance(error, Unavailable) else 0.0
    hint = f"again in {wait:.0f} seconds; " if wait else ""
    raise Unreachable(str(error), hint=f"{hint}what was read so far is kept, the next pull goes on", slug="no-feedback") from None  # fmt: skip


def since(cursor: Cursor, now: float, days: float) -> float:
    """From when on to ask."""
    if not cursor.time:
        return max(0.0, now - days * 86_400)
    return cursor.time if cursor.key else max(0.0, cursor.time - LATE)


def reached(at: float, cursor: Cursor, now: float) -> float:
    """How far a pull got that came to the end: no time of a document takes it back, or past the present."""
    return max(cursor.time, min(at, now))
