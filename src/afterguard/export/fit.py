"""An event into a destination's limits: texts are cut, with a pointer to the whole; the event itself is never dropped.

In: a noun (or a decoded line), its encoder, a limit. Out: bytes within the limit, and whether anything was cut. What names a thing (ids,
times, class, severity) is cut last of all. Nothing is cut that fits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import msgspec

T = TypeVar("T")
CAPS = ((32_000, 2_000), (8_000, 500), (2_000, 100), (500, 50), (200, 20), (80, 5), (48, 1), (40, 0))
"""(bytes of a text, elements of a list or map), from mild to harsh."""
SHORT = 64
"""A text up to this many bytes may be a name: it stays whole until the last steps."""


class Limit(NamedTuple):
    """What a destination takes."""

    total: int
    """Bytes of one event."""
    leaf: int = 0
    """Bytes of one text, 0 for no limit of its own."""
    column: int = 0
    """Bytes of one top-level field with all that is in it, 0 for none."""


LIMITS = {
    "file": Limit(16_000_000),
    "elastic": Limit(10_000_000, leaf=32_766),
    "sentinel": Limit(900_000, leaf=32_766, column=32_766),
    "splunk": Limit(1_000_000),
    "syslog": Limit(64_000),
    "syslog-udp": Limit(7_800),
    "wazuh": Limit(64_000),
    "kafka": Limit(1_000_000),
    "nats": Limit(1_000_000),
    "otlp": Limit(4_000_000),
    "webhook": Limit(1_000_000),
}
"""Destination -> limit, below what it takes, so that a frame and its headers go beside the event."""


class Fitted(NamedTuple):
    """An event that fits."""

    data: bytes
    was_cut: bool


def fit(thing: T, encode: Callable[[T], bytes], limit: Limit) -> Fitted:
    """The encoded thing within the limit. Raises ValueError where the limit is too small for an event's name itself."""
    data = encode(thing)
    if _fits(data, limit):
        return Fitted(data, False)
    plain = msgspec.to_builtins(thing)
    pointer = _name(plain)
    for text, items in CAPS:
        data = encode(_back(_capped(plain, text, items, pointer), thing))
        if _fits(data, limit):
            return Fitted(data, True)
    raise ValueError(f"no event fits into {limit}")


def _back(plain: Any, thing: T) -> T:
    return plain if isinstance(thing, dict) else msgspec.convert(plain, type(thing))


def _name(plain: Any) -> str:
    """What the whole event can be found by."""
    if not isinstance(plain, dict):
        return ""
    meta = plain.get("metadata")
    held = plain.get("id") or (meta.get("uid") if isinstance(meta, dict) else "") or ""
    return str(held)[:50]


def _fits(data: bytes, limit: Limit) -> bool:
    if len(data) > limit.total:
        return False
    small = min(limit.leaf or limit.total, limit.column or limit.total)
    if len(data) <= small or not data.startswith(b"{"):
        return True
    event = msgspec.json.decode(data)
    if limit.column and any(len(msgspec.json.encode(held)) > limit.column for held in event.values()):
        return False
    return not limit.leaf or _longest(event) <= limit.leaf


def _longest(held: Any) -> int:
    if isinstance(held, str):
        return len(held.encode("utf-8", "surrogatepass"))
    inner = held.values() if isinstance(held, dict) else held if isinstance(held, list) else ()
    return max(map(_longest, inner), default=0)


def _capped(held: Any, text: int, items: int, pointer: str, depth: int = 0) -> Any:
    if isinstance(held, str):
        return cut(held, text, pointer)
    if isinstance(held, (list, tuple)):
        return [_capped(one, text, items, pointer, depth + 1) for one in held[:items]]
    if isinstance(held, dict):
        kept = list(held.items())[: max(items, KEYS if depth else len(held))]
        return {cut(key, max(text, SHORT), ""): _capped(one, text, items, pointer, depth + 1) for key, one in kept}
    return held


KEYS = 20
"""Fields that stay at the least in a map inside an event; of the event itself all stay."""


def cut(text: str, limit: int, pointer: str) -> str:
    """A text in at most `limit` bytes of UTF-8; a cut one ends by saying so and where the whole is."""
    data = text.encode("utf-8", "replace")
    if len(data) <= max(limit, SHORT if limit > 40 else 0):
        return text if len(data) == len(text.encode("utf-8", "surrogatepass")) else data.decode()
    mark = f"... [cut, {len(data)} bytes in {pointer}]" if pointer and limit >= 160 else "..."
    return data[: limit - len(mark.encode())].decode("utf-8", "ignore") + mark
