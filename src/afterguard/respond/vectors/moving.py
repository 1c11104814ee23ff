"""Points from where they are searched to a place beside it, and back, for stores that know no transaction.

In: a store that reads, writes and deletes pages. Out: how many points were moved.

Theory of operation. A page is copied, read again from the other place and compared with what was sent; only what is seen there, the same, is deleted here. A crash in between leaves points in both places, the
same in both, and doing it again mends that. A point that is in the other place and differs was written by somebody else meanwhile: on the way aside the newer one, which is searched, takes its place; on the
way back nothing is overwritten, and a person has to look.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from afterguard.respond.vectors.store import MOST, failed

PAGE = 256
PATIENCE = 600.0
"""Seconds for one document."""
ROUNDED = 1e-5
"""A share of a vector's length."""


class Point(NamedTuple):
    """One point."""

    id: str | int
    mark: str
    """Hash of all that has to be the same in the other place."""
    vector: tuple[float, ...]
    """Its vector, where the store rounds; () where it is in the mark or there is none."""
    kept: Any
    """The point, as its store takes it again."""


class Pages(Protocol):
    """A store that copies page by page; `aside` names the place beside the one that is searched."""

    def is_there(self, aside: bool) -> bool:
        """Whether there is such a place."""

    def make(self) -> None:
        """Make the place beside it, where there is none."""

    def page(self, document: str, aside: bool) -> list[Point]:
        """Up to PAGE points of a document."""

    def have(self, ids: Sequence[str | int], aside: bool) -> Mapping[str | int, Point]:
        """Those of some points that are there."""

    def put(self, points: Sequence[Point], aside: bool) -> None:
        """Write points that are not there; they are seen when it returns."""

    def drop(self, points: Sequence[Point], aside: bool) -> int:
        """Delete points as long as they are what they were; how many. They are not seen any more when it returns."""


def mark(*parts: object) -> str:
    """A hash of JSON-like things, in whatever order their keys come."""
    return hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()


def is_same(left: Point, right: Point) -> bool:
    """Whether two are one point: all alike, the numbers of the vector but for what single precision loses."""
    length = math.hypot(*left.vector)
    return left.mark == right.mark and len(left.vector) == len(right.vector) and all(abs(a - b) <= ROUNDED * length for a, b in zip(left.vector, right.vector, strict=True))  # fmt: skip


def move(pages: Pages, document: str, back: bool, clock: Callable[[], float] = time.monotonic) -> int:
    """Move a document. Raises Unreachable; nothing is lost then, and it can be done again."""
    if not pages.is_there(aside=back):
        return 0
    if not back:
        pages.make()
    elif not pages.is_there(aside=False):
        raise failed("the collection that it was taken from is gone", "make it again, then undo again")
    moved, end = 0, clock() + PATIENCE
    last: list[Point] = []
    while moved <= MOST and clock() < end:
        points = pages.page(document, aside=back)
        if not points:
            return moved
        if points == last:
            raise failed("points that were deleted are seen again", "look at the store, then do it again")
        _copied(pages, points, back)
        gone, last = pages.drop(points, aside=back), points
        if not gone:
            raise failed("it is written to while it is moved", "stop the ingest, then do it again")
        moved += gone
    raise failed(f"{moved} points were moved, and there are more", "do it again: it goes on from there")


def _copied(pages: Pages, points: Sequence[Point], back: bool) -> None:
    """Seen in the other place, the same. Raises Unreachable."""
    ids = [one.id for one in points]
    there = pages.have(ids, aside=not back)
    others = [there[one.id] for one in points if one.id in there and not is_same(there[one.id], one)]
    if others and back:
        raise failed(f"{len(others)} of its points were written again meanwhile, and are other than those aside", "keep one of them: delete it here or there, then undo again")  # fmt: skip
    if others:
        pages.drop(others, aside=True)
    wrong = {one.id for one in others}
    if new := [one for one in points if one.id not in there or one.id in wrong]:
        pages.put(new, aside=not back)
        there = pages.have(ids, aside=not back)
    if any(one.id not in there or not is_same(there[one.id], one) for one in points):
        raise failed("points that were copied are not seen there as they were", "nothing was taken away; look at the store")  # fmt: skip
