"""Events for a sink from a process that does not hold its spool: files beside it, which whoever holds the spool takes in.

In: events with their ids, of a command that ends soon. Out: a file in the sink's `inbox`, on the disk when `leave` returns; the events in their lanes, once there is room. A file stays until the disk has all of it in the spool, so that a crash
lets some come twice, with the same id, and loses none.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from afterguard import files
from afterguard.errors import Unreachable, UsageError
from afterguard.export.event import Event, spooled
from afterguard.export.sink import Settings
from afterguard.export.spool.bound import Lane, Spool

log = logging.getLogger("afterguard.export")
FOLDER = "inbox"
CAP = 16 << 20
"""Bytes of one file."""
ROOM = 64 << 20
"""Bytes that may wait in one inbox."""


class Left(msgspec.Struct, frozen=True):
    """One event that waits."""

    lane: Lane
    id: str
    event: msgspec.Raw


def leave(folder: Path, sinks: Sequence[Settings], lane: Lane, events: Sequence[Event]) -> int:
    """Leave events for every sink of the lane; for how many sinks. Raises AfterguardError where the disk does not take them: then nothing says they were handed over."""
    rows = [Left(lane, id, msgspec.Raw(body)) for id, body in map(spooled, events)]
    data = b"".join(msgspec.json.encode(one) + b"\n" for one in rows)
    mine = [one for one in sinks if lane in one.lanes]
    for one in mine if rows else ():
        try:
            _put(folder / one.name / FOLDER, data)
        except OSError as error:
            raise Unreachable(f"{folder / one.name} takes no events: {error.strerror or error}", hint="look at the disk; the events stay where they came from", slug="spool-broken") from None  # fmt: skip
    return len(mine) if rows else 0


def _put(place: Path, data: bytes) -> None:
    """A file whole or not at all, and on the disk."""
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    if len(data) > CAP or len(data) + _waiting(place) > ROOM:
        raise OSError(28, "what waits in the inbox is too much: does anything deliver?")
    _written(place, f"{time.time_ns():020d}-{os.getpid()}", data)


def _waiting(place: Path) -> int:
    """Bytes that wait; a file that is taken in meanwhile waits no more."""
    size = 0
    for one in place.glob("*.jsonl"):
        with contextlib.suppress(FileNotFoundError):
            size += one.stat().st_size
    return size


def _written(place: Path, name: str, data: bytes) -> None:
    files.put(place / f"{name}.jsonl", data)
    at = os.open(place, os.O_RDONLY)
    try:
        os.fsync(at)
    finally:
        os.close(at)


def is_left(spool: Spool) -> bool:
    """Whether somebody left something."""
    try:
        with os.scandir(spool.folder / FOLDER) as found:
            return any(one.name.endswith(".jsonl") for one in found)
    except OSError:
        return False


def take_in(spool: Spool) -> int:
    """Put what was left into its lanes, the oldest first; how many. Stops where there is no room; what is not in yet stays for the next call."""
    count = 0
    try:
        for file in sorted((spool.folder / FOLDER).glob("*.jsonl")):
            with file.open("rb") as handle:
                data = handle.read(CAP)
            rows = data.splitlines(keepends=True)
            for at, row in enumerate(rows):
                is_in = _offer(spool, row, file)
                if is_in is None:
                    if at:  # what is in the spool would else come again at each call, and the rest never
                        spool.sync()
                        _written(file.parent, file.stem, b"".join(rows[at:]))
                    return count
                count += is_in
            spool.sync()
            file.unlink(missing_ok=True)
    except (OSError, Unreachable) as error:
        log.error("%s: what was left for it waits: %s", spool.folder, error)
    return count


def _offer(spool: Spool, row: bytes, file: Path) -> bool | None:
    """Whether an event was taken; None where there is no room for it now."""
    try:
        one = msgspec.json.decode(row, type=Left)
        return spool.offer(one.lane, one.id, bytes(one.event))
    except (msgspec.MsgspecError, ValueError, RecursionError, UsageError) as error:
        log.error("%s: an event that can never be taken in: %s", file, error)
        return False
