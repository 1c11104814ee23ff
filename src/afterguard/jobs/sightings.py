"""AI seen at work in recorded traffic: models, providers and tools, with where they were first seen.

In: Exchanges. Out: Assets of source `lookback`, in bounded memory. It judges nothing.
"""

from __future__ import annotations

from afterguard.discover import signals
from afterguard.model import Asset, AssetKind, Certainty, Edge, Evidence, Exchange

NAMES = 2_000
"""Distinct names kept; a log with more holds something else than names."""


class Seen:
    """One name: first line, how often, first and last time."""

    __slots__ = ("count", "first", "last", "line", "path")

    def __init__(self, exchange: Exchange) -> None:
        self.path, self.line = exchange.source, exchange.line
        self.count = 0
        self.first = self.last = exchange.time

    def add(self, time: float | None) -> None:
        """Count one more."""
        self.count += 1
        if time is not None:
            self.first = time if self.first is None else min(self.first, time)
            self.last = time if self.last is None else max(self.last, time)


class Sightings:
    """Names seen so far, by kind."""

    def __init__(self) -> None:
        self.seen: dict[tuple[AssetKind, str], Seen] = {}

    def feed(self, exchange: Exchange) -> None:
        """Count what an exchange names."""
        if exchange.model:
            signal = signals.model(exchange.model)
            kind = AssetKind.embedding_model if signal and signal.kind is AssetKind.embedding_model else AssetKind.model
            self._add(kind, exchange.model[:200], exchange)
        for call in exchange.calls:
            self._add(AssetKind.tool, call.name[:120], exchange)

    def _add(self, kind: AssetKind, name: str, exchange: Exchange) -> None:
        one = self.seen.get((kind, name))
        if one is None:
            if not name or len(self.seen) >= NAMES:
                return
            one = self.seen[kind, name] = Seen(exchange)
        one.add(exchange.time)

    def assets(self) -> tuple[Asset, ...]:
        """One asset a name; a model whose family is known belongs to its provider."""
        return tuple(_asset(kind, name, one) for (kind, name), one in sorted(self.seen.items()))


def _asset(kind: AssetKind, name: str, one: Seen) -> Asset:
    signal = signals.model(name) if kind is not AssetKind.tool else None
    maker = (Edge("part_of", AssetKind.provider, signal.provider),) if signal and signal.provider else ()
    return Asset(
        kind,
        name,
        Certainty.declared,
        (Evidence(one.path, one.line, name, "lookback"),),
        edges=maker,
        attributes={"exchanges": str(one.count)},
        first_seen=one.first,
        last_seen=one.last,
    )
