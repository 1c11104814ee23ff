"""Whether a model still answers as it did: length, refusals, pace and the sketches of its replies, for each model, system prompt and version.

In: replies in order of time. Out: `Change` when chunks in a row are far from what is usual. A chunk is at least CHUNK replies and ten minutes, and few of them are of one caller.

Theory of operation. A stream has a level (what its chunks are around, less the hour of the day) and, at three scales, a fading mean of how far chunks are from it: of one chunk, of about twelve, of about sixty.
How wild each of these usually is, is learnt from the stream itself at that scale, as it is and beside the number of replies: whatever seasons the hours do not explain is in it, and a calm weekend of small chunks is no change; both must be far off. A change of everybody's replies shows in single chunks; one of a part of the
callers (another model behind one server of seven) is small in every chunk, but adds up in the longer means, where chance cancels out.
A new prompt or version is another stream: what its owner announced is no drift. It takes over how wild replies of this model are and needs a few chunks of its own, not days, so a release does not blind the watch.
After a change was told the new way is learnt as quickly; when replies are again as they were before it, that is told as a return.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from afterguard.watch.event import Event
from afterguard.watch.seen import Numbers

CHUNK = 150
MOST = 1_000
"""Replies of a chunk that are looked at."""
PART = 0.02
"""Of a chunk that one caller's replies are at most."""
SHORTEST = 600.0
SEEN = 2
"""Chunks of this hour of a working day or of a weekend before anything is said: nobody knows what a first weekend is like."""
LEAST = 15
"""Chunks before anything is said, of this stream or of the one it takes after."""
DAYS = 1.5
SETTLE = 6
"""Chunks that make the level of a stream whose wildness is known already."""
ROW = 3
"""Chunks in a row that must be far off."""
FAR = 6.0
DOUBT = 8.0
"""Of a spread that was seen so many times only, half is luck."""
PACE = 0.002
"""Of the level for each chunk: slower than the longest mean, or what changes for some would be taken for usual before it adds up."""
STREAMS = 200
VERSIONS = 8
"""Of one model and prompt; with more of them a version says nothing."""
RETURN = 14 * 86_400.0
NAMES = ("answer length", "refusal rate", "seconds a token", "wording of replies")
SCALES = np.array([1.0, 1 / 12, 1 / 60])
"""Weight of the newest chunk."""
FLOORS = np.array([[0.2, 0.06, 0.9, 0.0], [0.05, 0.03, 0.3, 0.0], [0.04, 0.02, 0.2, 0.0]])
"""Smallest change that counts: in natural logarithms, in share, in logarithms."""
SMALLEST = np.array([0.02, 0.01, 0.08, 0.01])
"""Of a single chunk no spread is taken to be below this."""
DAY = 24
HOURS = 2 * DAY
"""Of a working day, then of a day of the weekend: with fewer people the jobs of the night are a larger part of what is answered."""
WORDED = 6
"""Hours that share one mean of wording."""
Key = tuple[str, str, str]


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
    """The version before it, where another one was announced; else the same."""
    is_return: bool = False
    """Whether replies are again as they were before the last change."""


class Stream:
    """One version of one model under one system prompt."""

    def __init__(self, now: float) -> None:
        self.begun = now
        """Since when its wildness is known; of one that takes after another, since that one is."""
        self.last = now
        self.since = 0.0
        self.numbers = np.zeros((0, 4))
        """Of each reply of the chunk that is not over: who asked, logarithm of the length, refused, logarithm of the seconds a token."""
        self.sketches = np.zeros(0, dtype=np.uint64)
        self.chunks = 0
        """Of the level."""
        self.known = 0
        """Of the wildness."""
        self.level = np.zeros(3)
        self.words = np.zeros(64)
        self.hours = np.zeros((HOURS, 3))
        self.hour_counts = np.zeros(HOURS)
        self.hour_words = np.zeros((HOURS // WORDED, 64))
        self.noise = np.zeros(len(SCALES))
        """One divided by how many replies each fading mean rests on, and the level."""
        self.level_noise = 0.0
        self.moved = np.zeros((len(SCALES), 3))
        self.moved_words = np.zeros((len(SCALES), 64))
        self.mean_words = np.zeros((2, len(SCALES)))
        self.spread = np.zeros((2, len(SCALES), 4))
        """As it is, and times the number of replies."""
        self.far = np.zeros(len(SCALES), dtype=np.int64)
        self.first_far = np.zeros(len(SCALES))
        self.before = ""
        """The version that spoke before it, until its own level was compared."""
        self.was = np.zeros(67)
        """Level and words before the last change."""
        self.was_at = 0.0
        """When that was told; 0 where it was announced."""


class Replies:
    """All streams of one application."""

    def __init__(self) -> None:
        self.streams: OrderedDict[Key, Stream] = OrderedDict()

    def look(self, events: list[Event], now: float) -> list[Change]:
        """Changes that became certain in this slice."""
        groups: dict[Key, list[Event]] = {}
        for event in events:
            if event.model and event.outcome in ("ok", "refused") and (event.answer_size or event.output_tokens):
                groups.setdefault((event.model, event.prompt, event.version), []).append(event)
        found = (self._add(key, some, now) for key, some in groups.items())
        return [change for change in found if change is not None]

    def _add(self, key: Key, events: list[Event], now: float) -> Change | None:
        key = key if key in self.streams else self._room(key, now)
        stream = self.streams.pop(key, None) or self._begin(key, now)
        stream.last = now
        self.streams[key] = stream
        while len(self.streams) > STREAMS:
            self.streams.popitem(last=False)
        stream.since = stream.since or events[0].time
        some = events[: MOST - len(stream.numbers)]
        if some:
            stream.numbers = np.concatenate([stream.numbers, np.array(list(map(_reply, some)))])
            sketches = np.array([event.answer & 0xFFFFFFFFFFFFFFFF for event in some], dtype=np.uint64)
            stream.sketches = np.concatenate([stream.sketches, sketches])
        if len(stream.numbers) < CHUNK or now - stream.since < SHORTEST:
            return None
        return _end_chunk(key, stream, now)

    def _room(self, key: Key, now: float) -> Key:
        """The stream of a version that is new: its own, or with very many of them at a time the one of all."""
        mates = [have for have in self.streams if have[:2] == key[:2]]
        if len(mates) < VERSIONS:
            return key
        if now - self.streams[mates[0]].last > RETURN:
            del self.streams[mates[0]]
            return key
        return (key[0], key[1], "")

    def _begin(self, key: Key, now: float) -> Stream:
        """A stream; where the model is known, it is as wild as that one."""
        stream = Stream(now)
        known = [(have, one) for have, one in self.streams.items() if have[0] == key[0] and one.known >= LEAST]
        if not known:
            return stream
        have, like = next((pair for pair in reversed(known) if pair[0][1] == key[1]), known[-1])
        stream.begun, stream.known = like.begun, like.known
        stream.spread, stream.mean_words = like.spread.copy(), like.mean_words.copy()
        stream.hours, stream.hour_counts = like.hours.copy(), like.hour_counts.copy()
        stream.hour_words = like.hour_words.copy()
        if have[1] == key[1] and like.chunks >= SETTLE:
            stream.before, stream.was = have[2], np.concatenate([like.level, like.words])
        return stream


def _end_chunk(key: Key, stream: Stream, now: float) -> Change | None:
    began, hour = stream.since, _hour(now)
    if hour >= DAY and not stream.hour_counts[hour]:
        stream.hours[hour] = stream.hours[hour - DAY]
        if not stream.hour_counts[DAY:].any():
            stream.hour_words[DAY // WORDED :] = stream.hour_words[: DAY // WORDED]
    kept = _shared_out(stream.numbers[:, 0])
    seen, words = _means(stream.numbers[kept, 1:], stream.sketches[kept])
    stream.numbers, stream.sketches, stream.since = stream.numbers[:0], stream.sketches[:0], 0.0
    seen = np.where(np.isfinite(seen), seen - stream.hours[hour], stream.level)
    words = stream.words if words is None else words - stream.hour_words[hour // WORDED]
    alone = 1 / int(kept.sum())
    if stream.chunks < SETTLE and stream.known >= LEAST:
        _settle(stream, seen, words, alone)
        return _announced(key, stream, now) if stream.chunks == SETTLE else None
    is_known = stream.known >= LEAST and now - stream.begun >= DAYS * 86_400
    if is_known and stream.hour_counts[hour] < SEEN:
        _learn(stream, seen, words, hour, alone)
        return None
    moved, moved_words = _shifted(stream, seen, words)
    stream.noise = (1 - SCALES) ** 2 * stream.noise + SCALES**2 * alone
    off = _far(stream, moved, (moved_words**2).sum(axis=1))
    far = np.where(_off(moved, (moved_words**2).sum(axis=1)) >= FLOORS, off, 0.0)
    is_far = (far.max(axis=1) > FAR) & is_known
    stream.first_far = np.where(is_far, np.where(stream.first_far > 0, stream.first_far, began), 0.0)
    stream.far = np.where(is_far, stream.far + 1, 0)
    stream.moved, stream.moved_words = moved, moved_words
    if stream.far.max() >= ROW:
        return _told(key, stream, far, now)
    if not is_known or far.max() <= FAR / 2:
        _learn(stream, seen, words, hour, alone)
        # What is strange, even if it is too little to tell, says nothing of how wild calm replies are.
        if not is_known or off.max() <= FAR / 2:
            _learn_spread(stream)
    return None


def _reply(event: Event) -> tuple[float, float, float, float]:
    who = event.user or event.device or event.key + event.address
    size = float(np.log1p(event.answer_size or 4 * event.output_tokens))
    has_pace = event.seconds > 0 and event.output_tokens > 0
    pace = float(np.log(event.seconds / event.output_tokens)) if has_pace else np.nan
    return float(crc32(who.encode("utf-8", "replace"))), size, float(event.outcome == "refused"), pace


def _shared_out(who: Numbers) -> Numbers:
    """Which replies count, a few of each caller: a probe that asks every minute is one in two hundred by day, one in ten at night. Unknown callers are none."""
    order = np.argsort(who, kind="stable")
    first = np.append(True, who[order][1:] != who[order][:-1])
    place = np.arange(len(who)) - np.maximum.accumulate(np.where(first, np.arange(len(who)), 0))
    kept = np.zeros(len(who), dtype=bool)
    kept[order[place < max(2, int(PART * len(who)))]] = True
    kept |= who == 0
    return kept


def _means(numbers: Numbers, sketches: Numbers) -> tuple[Numbers, Numbers | None]:
    """Of length, refusals and pace (NaN where there is none), and of each bit of the sketches."""
    there = np.isfinite(numbers)
    seen = np.where(there, numbers, 0).sum(axis=0) / np.where(there.any(axis=0), there.sum(axis=0), np.nan)
    told = sketches[sketches > 0].astype(">u8")
    return seen, np.unpackbits(told.view(np.uint8).reshape(-1, 8), axis=1).mean(axis=0) if len(told) else None


def _hour(now: float) -> int:
    """Which hour of a working day or of the weekend it is, in UTC."""
    days, second = divmod(now, 86_400)
    return int(second // 3_600) + DAY * ((days + 3) % 7 >= 5)  # 1970 began on a Thursday


def _settle(stream: Stream, seen: Numbers, words: Numbers, alone: float) -> None:
    """One more chunk of the level."""
    stream.chunks += 1
    stream.level_noise = (1 - 1 / stream.chunks) ** 2 * stream.level_noise + alone / stream.chunks**2
    stream.level = stream.level + (seen - stream.level) / stream.chunks
    stream.words = stream.words + (words - stream.words) / stream.chunks


def _shifted(stream: Stream, seen: Numbers, words: Numbers) -> tuple[Numbers, Numbers]:
    """The fading means of how far chunks are from the level, at each scale."""
    if not stream.chunks:
        return stream.moved, stream.moved_words
    moved = stream.moved + (seen - stream.level - stream.moved) * SCALES[:, None]
    moved_words = stream.moved_words + (words - stream.words - stream.moved_words) * SCALES[:, None]
    return moved, moved_words


def _far(stream: Stream, moved: Numbers, worded: Numbers) -> Numbers:
    """How many times its usual spread each measure is off, at each scale; the smaller of both ways to say what is usual."""
    alone = np.sqrt(SCALES / (2 - SCALES))[:, None]
    least = np.maximum(SMALLEST, np.sqrt(stream.spread[0, 0]) * (1, 1, 1, 0)) * alone
    least[:, 3] = SMALLEST[3] * SCALES
    doubt = np.where(SCALES < 1, np.sqrt(1 + DOUBT / np.maximum(1, stream.known * SCALES)), 1)[:, None]
    noise = (stream.noise + stream.level_noise)[:, None]
    plain = _off(moved, worded - stream.mean_words[0]) / (np.maximum(np.sqrt(stream.spread[0]), least) * doubt)
    worded_beside = worded - stream.mean_words[1] * noise[:, 0]
    by = np.sqrt(stream.spread[1] * np.hstack([noise, noise, noise, noise**2]))
    beside = _off(moved, worded_beside) / (np.maximum(by, 1e-9) * doubt)
    far: Numbers = np.minimum(plain, beside)
    return far


def _off(moved: Numbers, worded: Numbers) -> Numbers:
    off: Numbers = np.hstack([np.abs(moved), np.maximum(0, worded)[:, None]])
    return off


def _learn(stream: Stream, seen: Numbers, words: Numbers, hour: int, alone: float) -> None:
    """The level and its hours."""
    stream.chunks += 1
    pace = max(1 / stream.chunks, PACE)
    stream.level_noise = (1 - pace) ** 2 * stream.level_noise + pace**2 * alone
    _learn_hour(stream, seen, words, hour)
    stream.level = stream.level + (seen - stream.level) * pace
    stream.words = stream.words + (words - stream.words) * pace


def _learn_hour(stream: Stream, seen: Numbers, words: Numbers, hour: int) -> None:
    """By how much replies of this hour are off the level."""
    count = stream.hour_counts[hour] = stream.hour_counts[hour] + 1
    if stream.chunks > HOURS // 2:
        pace = max(0.02, 1 / (count + 2))
        stream.hours[hour] += (seen - stream.level) * pace
    if stream.chunks > 2 * HOURS:
        stream.hour_words[hour // WORDED] += (words - stream.words) * pace / WORDED


def _learn_spread(stream: Stream) -> None:
    """How wild calm replies are, at each scale."""
    stream.known += 1
    if stream.chunks == 1:
        return
    slow = max(1 / stream.known, 0.005)
    worded, noise = (stream.moved_words**2).sum(axis=1), stream.noise + stream.level_noise
    for way, by in ((0, np.ones(len(SCALES))), (1, noise)):
        stream.mean_words[way] += (worded / by - stream.mean_words[way]) * slow
        squares = np.hstack([stream.moved**2 / by[:, None], ((worded / by - stream.mean_words[way]) ** 2)[:, None]])
        have = stream.spread[way]
        most = 16 * have + (0.01 if way == 0 else 0.01 / np.maximum(by, 1e-9)[:, None] ** np.array([1, 1, 1, 2]))
        stream.spread[way] = have + (np.minimum(squares, most) - have) * slow


def _told(key: Key, stream: Stream, far: Numbers, now: float) -> Change:
    """What changed most, and the stream begins anew around its new level."""
    scale = int(np.where(stream.far >= ROW, far.max(axis=1), 0).argmax())
    worst = int(far[scale].argmax())
    level = np.concatenate([stream.level + stream.moved[scale], stream.words + stream.moved_words[scale]])
    # A longer mean has not arrived yet where replies are now.
    late = np.concatenate([stream.level + stream.moved[scale // 2], stream.words + stream.moved_words[scale // 2]])
    is_return = _is_return(stream, late, worst, now)
    usual, seen = _said(stream, level, worst, scale)
    days = (now - stream.begun) / 86_400
    change = Change(key[0], key[1], NAMES[worst], usual, seen, float(far[scale, worst]), float(stream.first_far[scale]), days, key[2], key[2], is_return)  # fmt: skip
    _restart(stream, now)
    return change


def _said(stream: Stream, level: Numbers, worst: int, scale: int) -> tuple[float, float]:
    """What was usual and what is now, in numbers one can read."""
    if worst == 3:
        return float(stream.mean_words[0, scale]), float((stream.moved_words[scale] ** 2).sum())
    usual, seen = float(stream.level[worst]), float(level[worst])
    return (float(np.exp(usual)), float(np.exp(seen))) if worst in (0, 2) else (usual, seen)


def _is_return(stream: Stream, level: Numbers, worst: int, now: float) -> bool:
    """Whether this is what was usual before the last change that was told."""
    if not stream.was_at or now - stream.was_at > RETURN:
        return False
    part = slice(3, 67) if worst == 3 else slice(worst, worst + 1)
    old, new = stream.was[part], level[part]
    have = np.concatenate([stream.level, stream.words])[part]
    return bool(np.linalg.norm(new - old) < np.linalg.norm(have - old) / 2)


def _restart(stream: Stream, now: float) -> None:
    stream.was, stream.was_at = np.concatenate([stream.level, stream.words]), now
    stream.chunks = 0
    stream.level, stream.words = np.zeros(3), np.zeros(64)
    _still(stream)


def _still(stream: Stream) -> None:
    stream.noise, stream.level_noise = np.zeros(len(SCALES)), 0.0
    stream.moved[:], stream.moved_words[:] = 0, 0
    stream.far[:], stream.first_far[:] = 0, 0


def _announced(key: Key, stream: Stream, now: float) -> Change | None:
    """Whether a version that was announced answers otherwise than the one before it."""
    before, stream.before = stream.before, ""
    if not before or before == key[2]:
        return None
    moved = np.zeros((len(SCALES), 3))
    moved[0] = stream.level - stream.was[:3]
    worded = np.zeros(len(SCALES))
    worded[0] = ((stream.words - stream.was[3:]) ** 2).sum()
    stream.noise[:] = stream.level_noise
    far = np.where(_off(moved, worded) >= FLOORS, _far(stream, moved, worded), 0.0)[0]
    if far.max() <= FAR:
        return None
    worst = int(far.argmax())
    usual, seen = (0.0, float(worded[0])) if worst == 3 else (float(stream.was[worst]), float(stream.level[worst]))
    if worst in (0, 2):
        usual, seen = float(np.exp(usual)), float(np.exp(seen))
    return Change(key[0], key[1], NAMES[worst], usual, seen, float(far[worst]), now, (now - stream.begun) / 86_400, key[2], before)  # fmt: skip


def kept(stream: Stream) -> dict[str, Any]:
    """Its fields, arrays as lists."""
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in vars(stream).items()}


def restored(fields: dict[str, Any]) -> Stream:
    """A stream from its fields."""
    stream = Stream(0.0)
    for name, value in fields.items():
        have = getattr(stream, name)
        if isinstance(have, np.ndarray):
            value = np.array(value, dtype=have.dtype).reshape(-1, *have.shape[1:])
        setattr(stream, name, value)
    return stream
