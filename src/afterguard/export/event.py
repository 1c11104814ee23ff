"""An event between a producer and a sink: JSON in the spool, encoded and fitted to the destination when it is sent.

In: an Alert, another struct of the model or a mapping; or the JSON of one. Out: `Item`s. An event's `id` stays as it is however often it is sent. A longer event than the destination takes has its texts cut (fit.py); it is never dropped for its length
unless even that does not help. What a format has no shape for (it knows alerts, cases and lines of the decision log) goes as JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

import msgspec

from afterguard.errors import AfterguardError, UsageError
from afterguard.export.fit import Limit, fit
from afterguard.export.formats import Format, read
from afterguard.export.sink import Item, Limits
from afterguard.model import SEVERITIES, Alert

Event = Alert | msgspec.Struct | Mapping[str, Any]
Encode = Callable[[bytes, dict[str, Any], Limit], tuple[bytes, bool]]
"""The JSON of an event, the same decoded, a limit -> what a sink sends for it, and whether it was cut."""

_any = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()


class Unencodable(Exception):
    """An event that cannot be sent, ever."""


def spooled(event: Event) -> tuple[str, bytes]:
    """Its id and the JSON that waits in the spool. Raises UsageError for what is no JSON."""
    try:
        body = _encoder.encode(event)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(
            f"an event cannot be written as JSON: {error}", hint="a struct or a mapping", slug="bad-event"
        ) from None
    if isinstance(event, Alert):
        # A later revision of an alert is another message: a destination that drops duplicates must take it.
        return (f"{event.id}.{event.revision}" if event.revision > 1 else event.id), body
    found = event.get("id") if isinstance(event, Mapping) else getattr(event, "id", "")
    is_fit = isinstance(found, str) and 0 < len(found.encode("utf-8", "replace")) <= 200
    return (str(found) if is_fit else "ev-" + sha256(body).hexdigest()[:32]), body


def as_json(body: bytes, event: dict[str, Any], limit: Limit) -> tuple[bytes, bool]:
    """The event as it is: what a sink sends where no other format is asked for."""
    if len(body) <= min(limit.total, limit.leaf or limit.total):
        return body, False
    return fit(event, _encoder.encode, limit)


def in_format(format: Format) -> Encode:
    """The encoder of a format."""

    def encode(body: bytes, event: dict[str, Any], limit: Limit) -> tuple[bytes, bool]:
        thing = read(body)
        return as_json(body, event, limit) if thing is None else format.fitted(thing, limit)

    return encode


def item(id: str, at: float, lane: str, body: bytes, encode: Encode, limits: Limits) -> tuple[Item, bool]:
    """The event as it is sent, and whether its texts were cut to fit. Raises Unencodable."""
    try:
        event = _any.decode(body)
        if not isinstance(event, dict):
            raise Unencodable("it is no JSON object")
        out, is_cut = encode(body, event, Limit(limits.event, limits.text))
    except (
        msgspec.MsgspecError, ValueError, TypeError, KeyError, AttributeError, RecursionError, AfterguardError,
    ) as error:  # fmt: skip
        raise Unencodable(f"{type(error).__name__}: {error}"[:300]) from None
    severity = event.get("severity")
    return Item(id, at, severity if severity in SEVERITIES else "info", _key(event), out, lane), is_cut


def _key(event: dict[str, Any]) -> str:
    """Whom it is about: the first entity, else the fingerprint, else the application."""
    entities = event.get("entities")
    if isinstance(entities, list) and entities and isinstance(entities[0], dict):
        return f"{entities[0].get('kind', '')}:{entities[0].get('name', '')}"[:200]
    return str(event.get("fingerprint") or event.get("app") or "")[:200]
