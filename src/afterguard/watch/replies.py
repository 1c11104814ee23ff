"""Whether a model still answers as it did: length, refusals, pace and the sketches of its replies, for each model and system prompt.

In: replies in order of time. Out: `Change` when several chunks in a row are far from what chunks of this model and prompt were. A chunk is at
least CHUNK replies and ten minutes. The spread between chunks, learnt over days, holds the seasons. After a change is told, the new
way is learnt from the start. What other models or prompts do is another stream: a release that changes the prompt is no drift.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np

from afterguard.watch.event import Event
from afterguard.watch.seen import Numbers

CHUNK = 150
SHORTEST = 600.0
LEAST = 15
"""Chunks before anything is said."""
DAYS = 1.5
ROW = 3
"""Chunks in a row that must be far off."""
FAR = 6.0
SETTLED = 4
"""Chunks until a version is the known one."""
STREAMS = 200
NAMES = ("answer length", "refusal rate", "seconds a token", "wording of replies")
FLOORS = np.array([0.2, 0.06, 0.9, 0.0])
"""Smallest change that counts: in natural logarithms, in share, in logarithms."""


class Change(NamedTuple):
    """One stream answers differently."""

    model: str
    prompt: str
    what: str
    usual: float
    seen: float
    far: float
    since: float
    days: float
    version: str
    before: str


class Stream:
    """One model under one system prompt."""

    def __init__(self, now: float) -> None:
        self.begun = now
        self.since = 0.0
        self.count = 0
        self.parts = np.zeros((2, 3))
        self.bits = np.zeros(65)
        self.chunks = 0
        self.mean = np.zeros(4)
        self.spread = np.zeros(4)
        self.words = np.zeros(64)
        self.far = 0
        self.first_far = 0.0
        self.version = ""
        self.versions: list[str] = []
        """Of the last chunks that were as usual; the one before them counts as known, since a release falls into the middle of a chunk."""
        self.latest = ""


class Replies:
    """All streams of one application."""

    def __init__(self) -> None:
        self.streams: OrderedDict[tuple[str, str], Stream] = OrderedDict()

    def look(self, events: list[Event], now: float) -> list[Change]:
        """Changes that became certain in this slice."""
        groups: dict[tuple[str, str], list[Event]] = {}
        for event in events:
            if event.model and event.outcome in ("ok", "refused") and (event.answer_size or event.output_tokens):
                groups.setdefault((event.model, event.prompt), []).append(event)
        found = (self._add(key, some, now) for key, some in groups.items())
        return [change for change in found if change is not None]

    def _add(self, key: tuple[str, str], events: list[Event], now: float) -> Change | None:
        stream = self.streams.pop(key, None) or Stream(now)
        self.streams[key] = stream
        while len(self.streams) > STREAMS:
            self.streams.popitem(last=False)
        stream.since = stream.since or events[0].time
        stream.latest = events[-1].version
        rows = np.array(
            [(np.log1p(e.answer_size or 4 * e.output_tokens), e.outcome == "refused", _pace(e)) for e in events]
        )
        kept = np.isfinite(rows)
        stream.parts += np.stack([np.where(kept, rows, 0).sum(axis=0), kept.sum(axis=0)])
        sketches = np.array([e.answer & 0xFFFFFFFFFFFFFFFF for e in events if e.answer], dtype=np.uint64)
        if len(sketches):
            raw = sketches.astype(">u8").view(np.uint8).reshape(-1, 8)
            stream.bits[:64] += np.unpackbits(raw, axis=1).sum(axis=0)
            stream.bits[64] += len(sketches)
        stream.count += len(events)
        if stream.count < CHUNK or now - stream.since < SHORTEST:
            return None
        return self._end_chunk(key, stream, now)

    def _end_chunk(self, key: tuple[str, str], stream: Stream, now: float) -> Change | None:
        words = stream.bits[:64] / max(1.0, stream.bits[64])
        seen = np.append(stream.parts[0] / np.maximum(1, stream.parts[1]), 0.0)
        seen[3] = float(((words - stream.words) ** 2).sum()) if stream.chunks and stream.bits[64] else stream.mean[3]
        began, stream.count, stream.since = stream.since, 0, 0.0
        stream.parts[:] = 0
        stream.bits[:] = 0
        known = stream.chunks >= LEAST and now - stream.begun >= DAYS * 86_400
        far = _far(stream, seen) if known else np.zeros(4)
        if far.max() > FAR:
            stream.far += 1
            stream.first_far = stream.first_far or began
            return self._told(key, stream, seen, far, now) if stream.far >= ROW else None
        stream.far, stream.first_far = 0, 0.0
        stream.versions = [*stream.versions, stream.latest][-SETTLED:]
        stream.version = stream.versions[0]
        _learn(stream, seen, words)
        return None

    def _told(self, key: tuple[str, str], stream: Stream, seen: Numbers, far: Numbers, now: float) -> Change:
        worst = int(far.argmax())
        usual, new = float(stream.mean[worst]), float(seen[worst])
        if worst in (0, 2):
            usual, new = float(np.exp(usual)), float(np.exp(new))
        days = (now - stream.begun) / 86_400
        change = Change(*key, NAMES[worst], usual, new, float(far.max()), stream.first_far, days, stream.latest, stream.version)  # fmt: skip
        self.streams[key] = Stream(now)
        return change


def _pace(event: Event) -> float:
    return (
        float(np.log(event.seconds / event.output_tokens)) if event.seconds > 0 and event.output_tokens > 0 else np.nan
    )


def _far(stream: Stream, seen: Numbers) -> Numbers:
    moved = np.abs(seen - stream.mean)
    least = np.array([0.02, 0.01, 0.08, 0.01])
    far: Numbers = np.where(moved >= FLOORS, moved / np.maximum(np.sqrt(stream.spread), least), 0.0)
    return far


def _learn(stream: Stream, seen: Numbers, words: Numbers) -> None:
    stream.chunks += 1
    pace = max(1 / stream.chunks, 0.005)
    if stream.chunks == 1:
        stream.mean, stream.words = seen.copy(), words.copy()
        return
    moved = seen - stream.mean
    stream.mean = stream.mean + moved * pace
    stream.spread = stream.spread + (np.minimum(moved**2, 16 * stream.spread + 0.01) - stream.spread) * pace
    stream.words = stream.words + (words - stream.words) * pace


def kept(stream: Stream) -> dict[str, Any]:
    """Its fields, arrays as lists."""
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in vars(stream).items()}


def restored(fields: dict[str, Any]) -> Stream:
    """A stream from its fields."""
    stream = Stream(0.0)
    for name, value in fields.items():
        setattr(stream, name, np.array(value) if isinstance(getattr(stream, name), np.ndarray) else value)
    return stream
