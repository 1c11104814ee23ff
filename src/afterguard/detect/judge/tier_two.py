"""Tier two: a small transformer for what tier one cannot settle, a few windows at most.

In: a text, its origin, the places tier one found most suspicious, and something that runs the network. Out: `Second`: class logits of the
deciding window and where it is. Pure: the network is a function given by the caller (judges.py makes one of an ONNX file). About
13 ms a window of 128 word pieces on one core; never more than WINDOWS windows, and none after `stop` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from afterguard.detect.judge.tier_one import ORIGINS, Reading
from afterguard.detect.judge.wordpiece import END, START, pieces

Run = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]
"""(ids, mask), both (windows, pieces) -> logits (windows, classes)."""
WINDOWS = 4
REACH = 1_200
"""Characters read for one window at most."""
BEFORE = 160
"""Characters before a suspicious place that belong to its window."""
FIRST_UNUSED = 1
"""Origins are told by the unused words of the vocabulary, ids 1 to 5."""


class TierTwo(NamedTuple):
    """The network and what it reads."""

    run: Run
    vocabulary: Mapping[str, int]
    length: int
    """Word pieces of a window, marks included."""


class Second(NamedTuple):
    """What tier two saw. [start, end) are characters of the deciding window. `windows` were read; `is_whole` when that was all of the text."""

    logits: NDArray[np.float32]
    start: int
    end: int
    windows: int
    is_whole: bool


def margin(logits: NDArray[np.float32]) -> float:
    """Log odds of attack."""
    top = float(logits.max())
    return float(np.log(np.exp(logits[1:] - top).sum() + 1e-30) - np.log(np.exp(logits[0] - top) + 1e-30))


def read(
    text: str, origin: str, first: Reading | None, two: TierTwo, stop: Callable[[], bool] = lambda: False
) -> Second | None:
    """The deciding window of a text; None where there is nothing to read or no time left."""
    room = two.length - 3
    best: Second | None = None
    count = 0
    done: list[tuple[int, int]] = []
    for centre in _places(text, first):
        if any(low <= centre < high for low, high in done):
            continue
        if stop() or count == WINDOWS:
            break
        low = max(0, centre - BEFORE) if len(text) > room else 0
        found = pieces(text[low : low + REACH], two.vocabulary, room)
        ids, ends = found.ids[:room], found.end[:room]
        if not ids:
            continue
        whole = low == 0 and len(found.ids) <= room and len(text) <= REACH
        row = np.array(
            [[two.vocabulary[START], FIRST_UNUSED + ORIGINS.index(origin), *ids, two.vocabulary[END]]], np.int64
        )
        logits = two.run(row, np.ones_like(row))[0]
        count += 1
        high = low + ends[-1]
        done.append((low, high))
        if best is None or margin(logits) > margin(best.logits):
            best = Second(logits, low + found.start[0], high, count, whole)
        if whole:
            break
    return best._replace(windows=count) if best else None


def _places(text: str, first: Reading | None) -> Sequence[int]:
    """Where to look, the most suspicious first; the beginning last."""
    if first is None or len(text) < 400:
        return [0]
    order = np.argsort(-first.margins, kind="stable")[: 8 * WINDOWS]
    return [int(first.spans[at, 0]) for at in order] + [0]
