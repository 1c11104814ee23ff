"""The spool of one sink: three lanes and the dead letters under one bound of bytes, one lock file, one file of counts.

In: lane, id and body from any thread. Out: records from the most urgent lane that has some, for one reading thread. Theory of operation:

- `put` writes to the file before it returns, so that a killed process loses nothing that was put. Alerts are also on the disk (fdatasync) before it returns; audit and telemetry within one turn of `sync`, which
  somebody calls at least every 50 ms.
- Telemetry fills at most 80 % of the bound, audit 90 %, alerts all of it. Where telemetry finds no room it is shed. Where audit finds none, unread telemetry is shed for it; then its producer waits. Where an alert finds none,
  unread telemetry, then unread audit is shed for it; only then its producer waits, and after `patience` gets an error. A disk without room is a bound that came early.
- What is shed, missing, torn or refused is counted in a mapped file at once, which needs no room.
- Sequence numbers never go back: what the counts say was put and the files do not hold shows as a gap, and is counted as missing.
"""

from __future__ import annotations

import errno
import os
import threading
import time
import types
from pathlib import Path
from typing import Literal

from afterguard.errors import AfterguardError, Unreachable, UsageError
from afterguard.export.spool.counters import Counters
from afterguard.export.spool.log import Log
from afterguard.export.spool.reader import Reader
from afterguard.export.spool.record import Record

fcntl: types.ModuleType | None
try:
    import fcntl
except ImportError:  # a system without flock: keeping to one process is the operator's
    fcntl = None

Lane = Literal["alert", "audit", "telemetry"]
LANES: tuple[Lane, ...] = ("alert", "audit", "telemetry")
LOGS = (*LANES, "dead")
SHARE = {"alert": 1.0, "audit": 0.9, "telemetry": 0.8, "dead": 0.1}
"""Of the bound, up to which a lane may fill the spool. Dead letters have a tenth of their own."""
EACH = ("next", "acked", "delivered", "shed", "missing", "refused", "poison")
ONCE = ("torn", "trimmed", "told", "canaries", "canaries_seen", "canaries_missed", "retries", "failures", "redriven")
NAMES = tuple(f"{log}.{what}" for log in LOGS for what in EACH) + ONCE
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
LATE = 0.035
"""Seconds after which a producer syncs what it finds unsynced."""
FLUSH = 0.5
"""Seconds between two writings of the counts to the disk. A killed process loses none; a power cut may lose this much of them, and what they counted is seen again as a gap, or sent again."""
PAUSE = 0.05
"""Seconds between two looks whether a disk has room again."""


class SpoolFull(Unreachable):
    """No room for a record that may not be shed."""


class Spool:
    """One sink's."""

    def __init__(
        self, folder: Path, *, max_bytes: int, is_audit_shed: bool = False, patience: float = 30.0, wait: float = 0.0
    ) -> None:
        """`wait`: seconds for another process to let go of it. Raises UsageError where one has it or the folder cannot be used."""
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._guard = _locked(folder, wait)
            self.counts = Counters(folder / "counts", NAMES)
            segment = max(64 << 10, min(8 << 20, max_bytes // 32))
            self._logs = {name: Log(folder / name, segment, self.counts[f"{name}.next"]) for name in LOGS}
        except OSError as error:
            raise UsageError(
                f"{folder} cannot hold a spool: {error.strerror}",
                hint="give another folder in the sinks file",
                slug="spool-broken",
            ) from None
        self.folder = folder
        self.max_bytes = max_bytes
        self.patience = patience
        self._is_audit_shed = is_audit_shed
        self._lock = threading.Lock()
        self._syncing = threading.Lock()
        """Held while one thread syncs: another that asks for the same must not return before it is done."""
        self._room = threading.Condition(self._lock)
        self._is_closed = False
        self.longest_unsynced = 0.0
        """Seconds that anything was in a file and not yet on the disk, at most so far."""
        self._dirty_since = 0.0
        """When the first record was written that no sync has begun with; 0: there is none."""
        self._flushed = 0.0
        self._readers: dict[str, Reader] = {}
        for name, log in self._logs.items():
            log.next = max(log.next, self.counts[f"{name}.acked"] + 1)
            self._readers[name] = Reader(log, self._lock, self.counts[f"{name}.acked"])
            self.counts.add("torn", log.torn)

    # -- what producers call

    def put(self, lane: Lane, id: str, body: bytes) -> bool:
        """Whether it was taken; False where it was shed, which is counted. Waits for room where the lane says so. Raises SpoolFull for what found none in time, which is counted as refused."""
        until = time.monotonic() + self.patience
        while (taken := self.offer(lane, id, body)) is None:
            with self._room:
                if self._is_closed or (lane == "alert" and time.monotonic() >= until):
                    raise self._refused(lane)
                self._room.wait(PAUSE)
        return taken

    def offer(self, lane: Lane, id: str, body: bytes) -> bool | None:
        """As `put`, but None where it would have to wait for room."""
        size = len(body) + 256
        with self._lock:
            if self._is_closed:
                raise self._refused(lane)
            while not (self._fits(lane, size) and self._wrote(lane, id, body)):
                if self._made_room(lane):
                    continue
                if lane == "alert" or (lane == "audit" and not self._is_audit_shed):
                    return None
                self.counts.add(f"{lane}.shed")
                return False
            is_late = self._dirty_since > 0 and time.monotonic() - self._dirty_since > LATE
        # A producer that leaves whoever syncs no time does it itself.
        if is_late or lane == "alert":
            self.sync()
        return True

    def _fits(self, lane: str, size: int) -> bool:
        used = sum(self._logs[one].size for one in LANES)
        return used + size <= SHARE[lane] * self.max_bytes

    def _wrote(self, lane: str, id: str, body: bytes) -> bool:
        """False where the disk is full."""
        log = self._logs[lane]
        try:
            log.append(id, body)
        except ValueError as error:
            raise UsageError(str(error), hint="send less in one event", slug="spool-full") from None
        except OSError as error:
            if error.errno in FULL:
                return False
            raise Unreachable(
                f"{self.folder} cannot be written: {error.strerror}", hint="look at the disk", slug="spool-broken"
            ) from None
        self.counts[f"{lane}.next"] = log.next
        self._dirty_since = self._dirty_since or time.monotonic()
        return True

    def _made_room(self, lane: str) -> bool:
        """Shed what is less urgent and that nobody has begun to read; False where there is none."""
        for less in reversed(LANES[LANES.index(lane) + 1 :]):
            reader = self._readers[less]
            first = self._logs[less]
            waiting = next((n for n, one in enumerate(first.segments) if not one.is_hole and one.first >= reader.expected), None)  # fmt: skip
            if waiting is None:
                continue
            # Counted before it is gone: a kill in between counts twice rather than never.
            before = first.count(waiting) if first.segments[waiting].path != reader.path else 0
            self.counts.add(f"{less}.shed", before)
            gone = first.evict(reader.expected - 1, reader.path)
            if gone != before:
                self.counts.add(f"{less}.shed", gone - before)
            if gone:
                return True
        return False

    def _refused(self, lane: str) -> AfterguardError:
        self.counts.add(f"{lane}.refused")
        why = "is closed" if self._is_closed else f"has no room for another {lane}"
        return SpoolFull(
            f"the spool {self.folder} {why}",
            hint="see `afterguard export status`: is its sink down, is the disk full?",
            slug="spool-full",
        )

    def sync(self) -> None:
        """Put what was written onto the disk. Raises Unreachable where the disk refuses; what was not yet on it may be lost then, and shows as missing."""
        with self._syncing:
            since, broken = self._synced()
        now = time.monotonic()
        if since:
            self.longest_unsynced = max(self.longest_unsynced, now - since)
        if self.counts.is_dirty and now - self._flushed >= FLUSH:
            self._flushed = now
            self.counts.flush()
        if broken:
            raise Unreachable(
                f"{self.folder} is not on the disk: {broken}", hint="look at the disk", slug="spool-broken"
            )

    def _synced(self) -> tuple[float, str]:
        """(since when it was dirty, what the disk said where it refused)."""
        with self._lock:
            handles = [(log, handle) for log in self._logs.values() for handle in log.unsynced()]
            since, self._dirty_since = self._dirty_since, 0.0
        broken = ""
        for log, handle in handles:
            try:
                os.fdatasync(handle)
            except OSError as error:
                broken = str(error.strerror)
                with self._lock:
                    log.failed()
            finally:
                os.close(handle)
        return since, broken

    # -- what the one reading thread calls

    def read(self, lane: str, most: int, most_bytes: int) -> list[Record]:
        """The next records of a lane."""
        reader = self._readers[lane]
        out = reader.read(most, most_bytes)
        self._note(lane)
        return out

    def peek(self, lane: str) -> Record | None:
        """The next record of a lane, not yet taken."""
        return self._readers[lane].peek()

    def age(self, lane: str, record: Record) -> float:
        """Seconds since a record just read was put."""
        return self._readers[lane].age(record)

    def _note(self, lane: str) -> None:
        reader = self._readers[lane]
        if reader.missing:
            with self._lock:
                self.counts.add(f"{lane}.missing", reader.missing)
            reader.missing = 0

    def acknowledge(self, lane: str, seq: int, delivered: int) -> None:
        """Everything up to `seq` is settled, `delivered` of it at the destination."""
        log = self._logs[lane]
        with self._room:
            self.counts.add(f"{lane}.delivered", delivered)
            self.counts[f"{lane}.acked"] = max(seq, self.counts[f"{lane}.acked"])
            segments = log.segments
            if len(segments) > 1 and segments[1].first <= seq + 1:
                # The cursor first: without it the files' going would look like damage.
                self.counts.flush()
                if log.drop_before(seq + 1, self._readers[lane].path):
                    self._room.notify_all()

    def rewind(self) -> None:
        """Read again what was read and not acknowledged."""
        for lane in LANES:
            self.lay_back(lane)

    def lay_back(self, lane: str) -> None:
        """Read a lane again from its cursor."""
        self._readers[lane].rewind(self.counts[f"{lane}.acked"])

    def bury(self, lane: str, id: str, body: bytes) -> None:
        """A dead letter. Where the dead have no room, the oldest of them are shed for it, counted."""
        with self._lock:
            self.counts.add(f"{lane}.poison")
            dead = self._logs["dead"]
            while dead.size + len(body) + 256 > SHARE["dead"] * self.max_bytes:
                self.counts.add("dead.shed", gone := dead.evict(0, None))
                if not gone:
                    break
            if not self._wrote("dead", id, body):
                self.counts.add("dead.shed")

    def exhume(self, most: int) -> list[Record]:
        """Dead letters, oldest first, each until it is acknowledged."""
        return self.read("dead", most, 8 << 20)

    # -- what anybody may ask

    def backlog(self, lane: str) -> int:
        """Records that are not settled yet."""
        with self._lock:
            log = self._logs[lane]
            acked = self.counts[f"{lane}.acked"]
            holes = sum(max(0, one.first + one.hole - 1 - max(acked, one.first - 1)) for one in log.segments if one.is_hole)  # fmt: skip
            return max(0, log.next - 1 - acked - holes)

    def size(self) -> int:
        """Bytes on disk, dead letters among them."""
        with self._lock:
            return sum(one.size for one in self._logs.values())

    def close(self) -> None:
        """Put everything onto the disk and let go. Producers that wait are refused."""
        with self._room:
            self._is_closed = True
            self._room.notify_all()
        try:
            self.sync()
        finally:
            with self._lock:
                for log in self._logs.values():
                    log.close()
            for reader in self._readers.values():
                reader.close()
            self.counts.flush()
            self.counts.close()
            os.close(self._guard)


def _locked(folder: Path, wait: float) -> int:
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    until = time.monotonic() + wait
    while fcntl is not None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:
            if time.monotonic() >= until:
                os.close(handle)
                raise UsageError(
                    f"{folder} is in use by another process",
                    hint="one process feeds a sink; give the other a sinks file with another folder",
                    slug="spool-in-use",
                ) from None
        time.sleep(PAUSE)
    return handle
