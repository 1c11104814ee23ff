"""Tier two: a small transformer for what tier one cannot settle, a few windows at most.

In: a text, its origin, the places tier one found most suspicious, and something that runs the network. Out: `Second`: class logits of the
deciding window and where it is. Pure: the network is a function given by the caller (judges makes one of an ONNX file). About
13 ms a window of 128 word pieces on one core; never more than WINDOWS windows, and none after `stop` says so. `glance` asks the first layers alone about one
window, 1 to 4 ms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from afterguard.detect.judge.tier_one import ORIGINS, Reading
from afterguard.detect.judge.wordpiece import END, START, pieces

Run = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]
"""(ids, mask), both (windows, pieces) -> logits (windows, classes)."""
Glance = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]
"""The same to log odds of attack (windows), by the first layers alone."""
WINDOWS = 4
REACH = 1_200
"""Characters read for one window at most."""
BEFORE = 160
"""Characters before a suspicious place that belong to its window."""
SHORT = 500
"""Characters of a text that is read from its beginning first: most such texts fit into one window."""
FIRST_UNUSED = 1
"""Origins are told by the unused words of the vocabulary, ids 1 to 5."""


class TierTwo(NamedTuple):
    """The network and what it reads."""

    run: Run
    vocabulary: Mapping[str, int]
    length: int
    """Word pieces of a window, marks included."""
    glance: Glance | None = None
    glance_length: int = 0
    """Word pieces of the window that is glanced at."""


class Failed(Exception):
    """The network could not be run, or answered in another shape."""


class Second(NamedTuple):
    """What tier two saw. [start, end) are characters of the deciding window; `windows` were read, fewer than were due where `is_cut_short`."""

    logits: NDArray[np.float32]
    start: int
    end: int
    windows: int
    is_cut_short: bool


def margin(logits: NDArray[np.float32]) -> float:
    """Log odds of attack."""
    top = float(logits.max())
    return float(np.log(np.exp(logits[1:] - top).sum() + 1e-30) - np.log(np.exp(logits[0] - top) + 1e-30))


def glance(text: str, origin: str, first: Reading, two: TierTwo) -> float | None:
    """Log odds of attack of the most suspicious place, by the first layers; None where there is no glance or are no words. Raises Failed."""
    if two.glance is None:
        return None
    ids, _, _ = _window(text, _places(text, first)[0], two, two.glance_length - 3)
    if not ids:
        return None
    row = _marked(ids, origin, two)
    return float(two.glance(row, np.ones_like(row))[0])


def read(
    text: str, origin: str, first: Reading, two: TierTwo, stop: Callable[[], bool] = lambda: False
) -> Second | None:
    """The deciding window of a text; None where there are no words to read or no time left. Raises Failed."""
    room = two.length - 3
    best: Second | None = None
    seen: list[tuple[int, int]] = []
    cut_short = False
    for centre in _places(text, first):
        if len(seen) == WINDOWS or any(low <= centre < high for low, high in seen):
            continue
        if stop():
            cut_short = True
            break
        ids, low, high = _window(text, centre, two, room)
        if not ids:
            continue
        row = _marked(ids, origin, two)
        logits = two.run(row, np.ones_like(row))[0]
        seen.append((low, high))
        if best is None or margin(logits) > margin(best.logits):
            best = Second(logits, low, high, 0, False)
    return best._replace(windows=len(seen), is_cut_short=cut_short) if best else None


def short(text: str, origin: str, two: TierTwo) -> float | None:
    """Log odds of attack of a passage that fits into one window, by the whole network; None where there are no words. Raises Failed."""
    ids = pieces(text[:REACH], two.vocabulary, two.length - 3).ids[: two.length - 3]
    if not ids:
        return None
    row = _marked(ids, origin, two)
    return margin(two.run(row, np.ones_like(row))[0])


def _marked(ids: list[int], origin: str, two: TierTwo) -> NDArray[np.int64]:
    """(1, pieces): the window with its marks and its origin."""
    return np.array(
        [[two.vocabulary[START], FIRST_UNUSED + ORIGINS.index(origin), *ids, two.vocabulary[END]]], np.int64
    )


def _window(text: str, centre: int, two: TierTwo, room: int) -> tuple[list[int], int, int]:
    """(pieces, first and last character): a few pieces before the place, then as many as there is room for."""
    begin = max(0, centre - BEFORE)
    before = pieces(text[begin:centre], two.vocabulary)
    kept = min(len(before.ids), room // 4)
    after = pieces(text[centre : centre + REACH], two.vocabulary, room)
    ids = before.ids[len(before.ids) - kept :] + after.ids[: room - kept]
    if not ids:
        return [], centre, centre
    low = begin + before.start[-kept] if kept else centre
    high = centre + after.end[min(len(after.ids), room - kept) - 1] if after.ids else centre
    return ids, low, high


def _places(text: str, first: Reading) -> list[int]:
    """Where to look, the most suspicious first; the beginning last, and first where the text may well fit into one window."""
    order = np.argsort(-first.margins, kind="stable")[: 8 * WINDOWS]
    places = [int(first.start[at]) for at in order]
    return [0, *places] if len(text) < SHORT else [*places, 0]
