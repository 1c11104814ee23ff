"""The other guards that take the same measures -> at how many of them a sheet is in force, by their own word.

In: names with addresses, or files with what one says at /metrics; the sequence of a sheet. Out: a `Reach`. Only a guard that answers now, says that it has this sheet or a newer one, and is not switched off counts; the
others are named, with what they said last and when.

Theory of operation. Guards are asked at the same time, once a second at most. A sheet is waited for `wait` seconds; who did not have it by then is asked on, and not waited for again: one site that is away must
not hold up the next act at all the others.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from afterguard import files
from afterguard.jobs import points
from afterguard.jobs.points import Point, spell

LEAST = 1.0
"""Seconds between two times that guards are asked."""
WHOLE = 4.0
"""Seconds for each to answer."""
CAP = 4 << 20


class Seen(msgspec.Struct, frozen=True):
    """What a guard said when it last said anything."""

    at: float
    sequence: int


class Reach(NamedTuple):
    """Where a sheet is in force."""

    have: int
    of: int
    lack: tuple[str, ...]
    """A sentence for each guard that does not have it."""
    is_settled: bool
    """Whether nobody is waited for any more."""

    @property
    def says(self) -> str:
        """Who lacks it, "" where nobody does."""
        return "".join(f"; {one}" for one in self.lack)


class Fleet:
    """Guards beside the one that is probed. `ask` asks those at addresses."""

    def __init__(
        self,
        named: Mapping[str, str],
        ask: Callable[[Sequence[str]], Sequence[Point]],
        memory: Path,
        wait: float,
        clock: Callable[[], float],
    ) -> None:
        self.named, self.ask, self.memory, self.wait, self.clock = dict(named), ask, memory, wait, clock
        self.seen = _remembered(memory)
        self._points: dict[str, Point] = {}
        self._asked = float("-inf")
        self._began: dict[int, float] = {}
        self._late: set[str] = set()

    def points(self) -> dict[str, Point]:
        """What each says now, by name."""
        if not 0.0 <= self.clock() - self._asked < LEAST:
            remote = {name: place for name, place in self.named.items() if "://" in place}
            found = dict(zip(remote, self.ask([*remote.values()]), strict=True)) if remote else {}
            self._points = {name: found.get(name) or self._read(name, place) for name, place in self.named.items()}
            self._asked = self.clock()
            self._remember()
        return self._points

    def reach(self, sequence: int, names: str = "") -> Reach:
        """Where a sheet is in force. `names`: the key that callers have to be named with, where it speaks of some."""
        return self._reach(sequence, lambda name, one: self._lacks(name, one, sequence) or _idle(name, one, names))

    def lifted(self, sequence: int, before: int) -> Reach:
        """Where what a sheet no longer holds is gone; a guard that still has sequence `before`, or an older one, never had it."""
        return self._reach(sequence, lambda name, one: self._lacks(name, one, sequence, before))

    def _reach(self, sequence: int, lacks: Callable[[str, Point], str]) -> Reach:
        found = self.points()
        lack = {name: why for name, one in found.items() if (why := lacks(name, one))}
        began = self._began.setdefault(sequence, self._asked)
        is_settled = self._late.issuperset(lack) or self.clock() - began >= self.wait
        if is_settled:
            self._late |= lack.keys()
        self._late -= found.keys() - lack.keys()
        return Reach(len(found) - len(lack), len(found), tuple(lack.values()), is_settled)

    def _lacks(self, name: str, one: Point, sequence: int, before: int = -1) -> str:
        """Why a guard does not count; "" where it does."""
        if one.problem:
            seen = self.seen.get(name)
            if seen is None:
                return f"{name} was never seen: {one.problem}"
            return f"{name} last seen {spell(self.clock() - seen.at)} ago held {_sheet(seen.sequence)}: {one.problem}"
        if one.measures >= sequence or one.measures <= before:
            return ""
        stale = f", and was last in touch with its source {spell(one.measures_pulled)} ago"
        return f"{name} holds {_sheet(one.measures)}{stale if one.is_measures_stale else ''}"

    def _read(self, name: str, place: str) -> Point:
        """What a guard wrote, or somebody who asked it; what is older than `wait` is what was last seen of it."""
        try:
            page, at = files.named(Path(place), CAP), os.stat(place).st_mtime
        except OSError as error:
            return Point(place, problem=f"{place} cannot be read: {files.why(error)}")
        found = points.point(place, page.decode("utf-8", "replace"), at)
        if found.problem or self.clock() - at <= self.wait:
            return found
        self.seen[name] = Seen(at, found.measures)
        return Point(place, problem=f"{place} is no newer")

    def _remember(self) -> None:
        now = self.clock()
        fresh = {name: Seen(now, one.measures) for name, one in self._points.items() if not one.problem}
        if not fresh:
            return
        self.seen |= fresh
        with contextlib.suppress(OSError):  # it is remembered until this process ends
            self.memory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            files.put(self.memory, msgspec.json.encode(self.seen))


def _idle(name: str, one: Point, names: str) -> str:
    """Why a sheet that is in force at a guard does nothing there; "" where it does."""
    if one.is_killed:
        return f"{name} has its kill switch on"
    if names and one.names != names:
        return f"{name} names callers with another guard.key, and does not know this one"
    return ""


def _sheet(sequence: int) -> str:
    return f"sequence {sequence}" if sequence else "no sheet"


def _remembered(file: Path) -> dict[str, Seen]:
    try:
        return msgspec.json.decode(files.named(file, CAP), type=dict[str, Seen])
    except (OSError, msgspec.MsgspecError):
        return {}
