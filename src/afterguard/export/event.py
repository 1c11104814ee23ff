"""An event between a producer and a sink: JSON in the spool, encoded when it is sent, cut where a destination's limit asks for it.

In: an Alert, another struct of model.py or a mapping; or the JSON of one. Out: `Item`s. An event's `id` stays as it is however often it is sent. A longer event than fits has its texts cut, says so in `afterguard_cut`, and keeps its id,
by which the whole is found in Afterguard; it is never dropped for its length unless even that does not help.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

import msgspec

from afterguard.errors import AfterguardError, UsageError
from afterguard.export.sink import Item, Limits
from afterguard.model import SEVERITIES, Alert

Event = Alert | msgspec.Struct | Mapping[str, Any]
Encode = Callable[[Any], bytes]
"""An Alert or a mapping -> what a sink sends for it."""
CUTS = (4_096, 1_024, 256, 64)
"""Characters that are left of a text, tried in turn."""
KEPT = ("id", "format", "fingerprint", "revision", "severity", "confidence", "kind", "state")
CUT = "afterguard_cut"

_alert = msgspec.json.Decoder(Alert)
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


def as_json(event: Any) -> bytes:
    """The event as JSON on one line: what a sink sends where no other format is asked for."""
    return _encoder.encode(event)


def item(id: str, at: float, lane: str, body: bytes, encode: Encode, limits: Limits) -> tuple[Item, bool]:
    """The event as it is sent, and whether its texts were cut to fit. Raises Unencodable."""
    most = limits.event
    try:
        event = _any.decode(body)
        if not isinstance(event, dict):
            raise Unencodable("it is no JSON object")
        is_cut = len(body) > limits.text and _is_longer(event, limits.text)
        if is_cut:
            event = _cut(event, limits.text // 4)
            body = as_json(event)
        out = body if encode is as_json else encode(_struct(event, None if is_cut else body))
        is_cut = is_cut or len(out) > most
        for cut in CUTS if len(out) > most else ():
            shorter = _cut(event, cut)
            out = encode(shorter if encode is as_json else _struct(shorter, None))
            if len(out) <= most:
                break
        if len(out) > most:
            raise Unencodable(f"{len(out)} bytes, of which the destination takes {most}")
    except (
        msgspec.MsgspecError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        RecursionError,
        AfterguardError,
    ) as error:
        raise Unencodable(f"{type(error).__name__}: {error}"[:300]) from None
    severity = event.get("severity")
    return Item(id, at, severity if severity in SEVERITIES else "info", _key(event), out, lane), is_cut


def _struct(event: dict[str, Any], body: bytes | None) -> Any:
    """An Alert where it says it is one, else the mapping."""
    if event.get("format") != "afterguard.alert/1":
        return event
    if body is not None:
        return _alert.decode(body)
    return msgspec.convert({k: v for k, v in event.items() if k != CUT}, Alert)


def _is_longer(value: Any, most: int) -> bool:
    """Whether a text in it has more bytes."""
    if isinstance(value, str):
        return len(value) > most or len(value.encode("utf-8", "replace")) > most
    if isinstance(value, list):
        return any(_is_longer(one, most) for one in value)
    return isinstance(value, dict) and any(_is_longer(one, most) for one in value.values())


def _cut(event: dict[str, Any], most: int) -> dict[str, Any]:
    """A copy with long texts cut and long lists shortened, which says so."""
    out = {k: v if k in KEPT else _shorter(v, most, 8) for k, v in event.items()}
    out[CUT] = most
    return out


def _shorter(value: Any, most: int, deep: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= most else value[: most - 1] + "…"
    if not deep:
        return value if isinstance(value, (int, float, bool)) else None
    if isinstance(value, list):
        return [_shorter(one, most, deep - 1) for one in value[: max(4, most // 8)]]
    if isinstance(value, dict):
        return {str(k)[:most]: _shorter(v, most, deep - 1) for k, v in list(value.items())[: max(8, most // 8)]}
    return value


def _key(event: dict[str, Any]) -> str:
    """Whom it is about: the first entity, else the fingerprint, else the application."""
    entities = event.get("entities")
    if isinstance(entities, list) and entities and isinstance(entities[0], dict):
        return f"{entities[0].get('kind', '')}:{entities[0].get('name', '')}"[:200]
    return str(event.get("fingerprint") or event.get("app") or "")[:200]
