"""Recorded traffic -> assets: access, proxy and DNS logs, audit trails, billing exports and HAR files of any size.

In: a file's first bytes, then its lines. Out: Assets, and one Coverage row per file for what did not parse. Content decides
which reader runs, never the name. Lines that show no sign of AI pass through one native scan and are not parsed.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from functools import cache

from afterguard.catalog import load
from afterguard.detect.prefilter import Pattern, Prefilter
from afterguard.discover import access_logs
from afterguard.discover.events import Event
from afterguard.discover.tally import Tally
from afterguard.files import Line, Note
from afterguard.model import Asset, Coverage

BLOCK = 1 << 20
Reader = Callable[[int, str], Event | None]
SQUID = re.compile(rb"^\s*\d{9,10}\.\d{3}\s+-?\d+\s+\S+\s+[A-Z_]+/\d{3} ")
QUOTED = re.compile(rb'"(?:[A-Z]{3,12}) \S+(?: (?:HTTP|H2C|h2)[^"]*)?"')
TIME = re.compile(rb"\d{2}/[A-Z][a-z]{2}/\d{4}:\d{2}:\d{2}:\d{2}|\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}")


def recognise(path: str, head: bytes) -> str:
    """The kind of traffic a file holds from its first bytes (64 KiB are enough), "" when it holds none."""
    lines = [line for line in head[:65536].split(b"\n")[:-1] or [head] if line.strip()][:50]
    if not lines:
        return ""
    if _share(SQUID, lines) >= 0.5:
        return "squid"
    quoted = [line for line in lines if QUOTED.search(line) and TIME.search(line)]
    if len(quoted) * 2 >= len(lines):
        return "access"
    return ""


def _share(pattern: re.Pattern[bytes], lines: list[bytes]) -> float:
    return sum(1 for line in lines if pattern.search(line)) / len(lines)


READERS: dict[str, Reader] = {"access": access_logs.read_text, "squid": access_logs.read_squid}
SHAPES: dict[str, re.Pattern[bytes]] = {"access": QUOTED, "squid": SQUID}


def read(kind: str, path: str, lines: Iterator[Line], note: Note) -> Iterator[Asset]:
    """Assets seen in a log of a kind that `recognise` named, with one Coverage row for what did not parse."""
    tally = Tally(path)
    broken = 0
    for block, numbers, starts in _blocks(lines):
        for at in _interesting(block, starts):
            end = starts[at + 1] - 1 if at + 1 < len(starts) else len(block)
            event = READERS[kind](numbers[at], block[starts[at] : end].decode("utf-8", "replace"))
            if event is None:
                broken += 1
            else:
                tally.add(event)
    if broken:
        note(Coverage(path, "bad_syntax", "lines that are not what the rest of this log is", count=broken))
    yield from tally.assets()


def _blocks(lines: Iterator[Line]) -> Iterator[tuple[bytes, list[int], list[int]]]:
    held: list[bytes] = []
    numbers: list[int] = []
    starts: list[int] = []
    size = 0
    for line in lines:
        held.append(line.data)
        numbers.append(line.number)
        starts.append(size)
        size += len(line.data) + 1
        if size >= BLOCK:
            yield b"\n".join(held), numbers, starts
            held, numbers, starts, size = [], [], [], 0
    if held:
        yield b"\n".join(held), numbers, starts


def _interesting(block: bytes, starts: list[int]) -> list[int]:
    """Indexes of the lines with a sign of AI in them."""
    found = {bisect_left(starts, match.end) - 1 for match in prefilter().scan(block)}
    return sorted(found)


@cache
def prefilter() -> Prefilter:
    """One scan for every host and path of the catalog."""
    hosts = {row["match"].rpartition("*")[2].lstrip(".") for row in load("signals/hosts")["hosts"]}
    ends = "|".join(sorted(re.escape(one) for one in hosts if one))
    paths = {one for row in load("signals/paths")["paths"] for one in [max(re.split(r"\*+", row["shape"]), key=len)]}
    return Prefilter(
        [
            Pattern("host", f"(?:{ends})", ignore_case=True),
            Pattern("path", "(?:" + "|".join(sorted(re.escape(one) for one in paths)) + ")"),
        ]
    )
