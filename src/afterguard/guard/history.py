"""Conversations the guard has already judged: applications send the whole history with every turn, and only what is new in it costs anything.

In: decoded request bodies. Out: `Known`, the longest judged beginning of a body, verified message by message, never by a hash alone. Bounded by entries and characters, least recently used
first, over all routes. It keeps decoded messages in memory, never on disk, and only of requests that were let through: what was refused is new again the next time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from afterguard.detect import Past
from afterguard.model import Exchange, Hit, Text, ToolCall, ToolSpec, Unjudged
from afterguard.wire.parts import Parts

LISTS = ("messages", "contents", "input")
"""Where bodies keep the conversation."""
BESIDE = (
    "system",
    "instructions",
    "systemInstruction",
    "system_instruction",
    "tools",
    "functions",
    "toolConfig",
    "preamble",
)
"""What is read once for the whole conversation."""
ENTRIES = 20_000
CHARACTERS = 64 << 20


class Kept(NamedTuple):
    """The pieces of a conversation, to go on from."""

    texts: tuple[Text, ...]
    calls: tuple[ToolCall, ...]
    tools: tuple[ToolSpec, ...]
    unjudged: tuple[Unjudged, ...]
    tool_names: dict[str, str]
    turn: int

    def parts(self, known: int) -> Parts:
        """As they were, of `known` messages."""
        parts = Parts()
        parts.texts, parts.calls, parts.tools = list(self.texts), list(self.calls), list(self.tools)
        parts.unjudged, parts.tool_names = list(self.unjudged), dict(self.tool_names)
        parts.turn, parts.known = self.turn, known
        return parts


class Known(NamedTuple):
    """A judged beginning of a conversation."""

    items: Sequence[Any]
    beside: tuple[Any, ...]
    kept: Kept
    """What was read from these items."""
    past: Past
    hits: tuple[Hit, ...]
    size: int
    """Characters it keeps alive, roughly."""


class History:
    """Judged conversations of one process, policy aside: what a policy makes of hits is asked anew each time."""

    def __init__(self, entries: int = ENTRIES, characters: int = CHARACTERS) -> None:
        self.entries = entries
        self.characters = characters
        self.size = 0
        self._rows: OrderedDict[int, Known] = OrderedDict()
        self._last: tuple[Any, list[int | None]] = (None, [])
        """The conversation that was looked for last, and the hashes of its messages: most are put right after."""

    def __len__(self) -> int:
        return len(self._rows)

    def find(self, route: str, body: Any) -> Known | None:
        """The longest known beginning of a conversation."""
        items = listed(body)
        if len(items) < 2 or not self._rows:
            return None
        beside = _beside(body)
        rows = self._rows
        marks: list[int | None] = [None] * len(items)
        self._last = (items, marks)
        # A turn adds a few messages, so the beginning that was judged last is found after as many looks, however long it is.
        for length in range(len(items), 0, -1):
            key = _key(route, items, length, marks)
            known = rows.get(key)
            if known is not None and known.beside == beside and items[:length] == known.items:
                rows.move_to_end(key)
                return known
        return None

    def put(
        self,
        route: str,
        body: Any,
        parts: Parts,
        exchange: Exchange,
        past: Past,
        hits: Sequence[Hit],
        known: Known | None = None,
    ) -> None:
        """Remember a request that was judged and let through. `parts` and `exchange` are what was read from it, going on from `known`."""
        items = listed(body)
        if not items:
            return
        size = 200 * len(items) + exchange.bytes
        if size > self.characters // 4:
            return
        key = _key(route, items, len(items), self._last[1] if self._last[0] is items else [None] * len(items))
        self._last = (None, [])
        if known is not None:
            # The same messages, once in memory.
            items = [*known.items, *items[len(known.items) :]]
        kept = Kept(
            exchange.texts, exchange.calls, exchange.tools, exchange.unjudged, dict(parts.tool_names), parts.turn
        )
        old = self._rows.pop(key, None)
        self.size += size - (old.size if old else 0)
        beside = known.beside if known is not None else _beside(body)
        self._rows[key] = Known(items, beside, kept, past, tuple(hits), size)
        while len(self._rows) > self.entries or self.size > self.characters:
            _, gone = self._rows.popitem(last=False)
            self.size -= gone.size


def _beside(body: Any) -> tuple[Any, ...]:
    return tuple(body.get(name) for name in BESIDE)


def listed(body: Any) -> list[Any]:
    """The messages of a body, [] where it has none."""
    if isinstance(body, dict):
        for name in LISTS:
            items = body.get(name)
            if isinstance(items, list):
                return items
    return []


def _key(route: str, items: Sequence[Any], length: int, marks: list[int | None]) -> int:
    """A hash of how a conversation of `length` messages begins and ends; `marks` keeps those of messages. Two that share it are told apart
    by comparing them, and the later one stays."""
    key = hash((route, length))
    for index in {0, min(1, length - 1), max(0, length - 2), length - 1}:
        mark = marks[index]
        if mark is None:
            mark = marks[index] = _mark(items[index])
        key = hash((key, index, mark))
    return key


def _mark(item: Any) -> int:
    try:
        if type(item) is dict and len(item) == 2 and type(item.get("content")) is str:
            return hash((item["content"], str(item.get("role"))[:40]))
        return hash(msgspec.json.encode(item))
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError, OverflowError):
        return 0
