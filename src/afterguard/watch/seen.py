"""Whether a pair (this key, that address) was ever seen before: a Bloom filter of two generations, whole arrays at a time.

In: 64-bit numbers that stand for pairs. Out: which of them are new. It never calls a known pair new, and it may call a new one known (one in four when both
generations are full): an error can only keep an alarm from being raised. Where a pair taken for known would raise one, it is marked: three numbers stand for it, and an error is one in a hundred. Memory is `2 * bits / 8` bytes whatever comes; a generation ends when
it is half full or a week old, so a pair is forgotten one to two generations after it was last seen.
"""

from __future__ import annotations

import numpy as np

BITS = 1 << 27
PROBES = 3
WEEK = 7 * 86_400.0
FULL = 0.5
MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
"""Of splitmix64 (Steele, Lea, Flood 2014)."""
MARKS = tuple(np.uint64(one) for one in (0x5851F42D4C957F2D, 0x14057B7EF767814F, 0x2545F4914F6CDD1D))

Numbers = np.ndarray


def mixed(numbers: Numbers) -> Numbers:
    """64 bits in which every bit of the number counts."""
    z = numbers.astype(np.uint64)
    z = (z ^ (z >> np.uint64(30))) * MIX[0]
    z = (z ^ (z >> np.uint64(27))) * MIX[1]
    return z ^ (z >> np.uint64(31))


class Seen:
    """The pairs of the last one to two generations."""

    def __init__(self, bits: int = BITS) -> None:
        self.bits = bits
        self.young = np.zeros(bits // 8, dtype=np.uint8)
        self.old = np.zeros(bits // 8, dtype=np.uint8)
        self.since = 0.0
        self.added = 0

    def new(self, pairs: Numbers) -> Numbers:
        """True for the first occurrence of each pair that was not seen before. All are seen afterwards."""
        answer = np.zeros(len(pairs), dtype=bool)
        unique, first = np.unique(mixed(pairs), return_index=True)
        places = self._places(unique)
        in_young, in_old = _has(self.young, places), _has(self.old, places)
        answer[first[~(in_young | in_old)]] = True
        fresh = places[:, ~in_young]
        np.bitwise_or.at(self.young, (fresh >> np.uint64(3)).ravel(), _bit(fresh).ravel())
        self.added += fresh.shape[1]
        return answer

    def mark(self, pairs: Numbers) -> None:
        """Remember these so well that `is_marked` can be built on."""
        for one in MARKS:
            self.new(pairs ^ one)

    def is_marked(self, pairs: Numbers) -> Numbers:
        """True for each pair that was marked. Nothing is added."""
        known = np.ones(len(pairs), dtype=bool)
        for one in MARKS:
            places = self._places(mixed(pairs ^ one))
            known &= _has(self.young, places) | _has(self.old, places)
        return known

    def _places(self, numbers: Numbers) -> Numbers:
        step = (numbers >> np.uint64(32)) | np.uint64(1)
        return np.stack([(numbers + np.uint64(i) * step) & np.uint64(self.bits - 1) for i in range(PROBES)])

    def turn(self, now: float) -> None:
        """End a generation that is full or old. Between slices, never within one: or of what somebody is known by half would be forgotten, and the other half not."""
        if not self.since:
            self.since = now
        # 1 - exp(-probes * added / bits) is the share of bits that are set.
        full = self.added * PROBES > -np.log(1 - FULL) * self.bits
        if full or now - self.since > WEEK:
            self.old, self.young = self.young, np.zeros(self.bits // 8, dtype=np.uint8)
            self.since, self.added = now, 0


def _bit(places: Numbers) -> Numbers:
    return np.uint8(1) << (places & np.uint64(7)).astype(np.uint8)


def _has(field: Numbers, places: Numbers) -> Numbers:
    found: Numbers = ((field[places >> np.uint64(3)] & _bit(places)) != 0).all(axis=0)
    return found
