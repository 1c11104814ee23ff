"""Stream events that a log kept a line each, put together again.

In: decoded records in order. Out: one Exchange a reply. Several replies may be interleaved by their ids; at most OPEN are kept
open, the oldest is closed first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from afterguard.model import Exchange
from afterguard.tap.meta import columns
from afterguard.tap.record import Place, build, unknown
from afterguard.wire.deltas import Deltas, kind_of
from afterguard.wire.parts import Parts

OPEN = 8
WHOLE = {"messages", "prompt", "request", "input", "contents"}
"""A record with one of these holds its request too and is no fragment."""
PROTOCOLS = {"responses": "openai", "ollama": "openai", "converse": "bedrock", "plain": "openai", "": "openai"}


class Fragments:
    """State of one log."""

    def __init__(self) -> None:
        self.open: dict[str, tuple[Deltas, Place, dict[str, Any]]] = {}

    def takes(self, record: Any) -> bool:
        """Whether the record is a piece of a stream."""
        return isinstance(record, dict) and kind_of(record) != "" and not record.keys() & WHOLE

    def feed(self, record: dict[str, Any], place: Place) -> Iterator[Exchange]:
        """Take a piece; gives the replies that it ended."""
        kind = kind_of(record)
        identifier = record.get("id")
        name = f"{kind}:{identifier}" if kind == "openai" and isinstance(identifier, str) and identifier else kind
        held = self.open.get(name)
        if held and held[0].begins_anew(record):
            yield self._end(name)
            held = None
        if held is None:
            if len(self.open) >= OPEN:
                yield self._end(next(iter(self.open)))
            self.open[name] = held = (Deltas(), place._replace(size=0), columns(record))
        grown, first, known = held
        self.open[name] = (grown, first._replace(size=first.size + place.size), known)
        grown.feed(record)
        if grown.is_done:
            yield self._end(name)

    def close(self) -> Iterator[Exchange]:
        """The replies that the end of the log left open."""
        for name in list(self.open):
            yield self._end(name)

    def _end(self, name: str) -> Exchange:
        grown, place, known = self.open.pop(name)
        return finish(grown, place, known)


def finish(grown: Deltas, place: Place, known: dict[str, Any]) -> Exchange:
    """The Exchange of one streamed reply; its request is not in the log."""
    parts = Parts()
    if grown.id:
        known = {**known, "id": grown.id}
    parts.skip("prompt_not_logged", "request")
    if not grown.into(parts, "response"):
        return unknown(place, "unknown_shape" if not grown.kind else "response_not_logged", **known)
    return build(parts, known, PROTOCOLS.get(grown.kind, grown.kind), place)
