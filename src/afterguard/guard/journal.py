"""The decision log on disk: JSON lines, rotated by size, for a forwarder that is already there.

In: lines. Out: files `decisions.jsonl`, `.1`, `.2`... Lines of a few milliseconds are written together, in one append: what was answered before them is on disk
even after kill -9. Where the disk is full, lines are counted as lost; the count is written with the next line that finds room, and kept in a small file until then. A line
of which only a part found room is taken back.

Under an event loop a thread writes, so that a disk that stands still holds up no request. What waits for it is bounded; a line more is lost, and counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import queue
import threading
import types
from collections.abc import Callable
from pathlib import Path

import msgspec

fcntl: types.ModuleType | None
try:
    import fcntl
except ImportError:  # a system without flock: one process, one log
    fcntl = None

PAUSE = 0.005
"""Seconds that a line may wait for others. A write for each would be a twentieth of what a small exchange costs."""
MOST = 32 << 20
"""Bytes that may wait for a disk that stands still."""
CLOSING = 5.0
"""Seconds that it gets for them when the log is closed."""
LOOK = 64
"""Writes between two looks at what other processes did to the file."""
SIZE = 100 << 20
FILES = 10

log = logging.getLogger("afterguard.guard")


class Journal:
    """One file, open for appending."""

    def __init__(self, path: Path, size: int = SIZE, files: int = FILES) -> None:
        self.path = path
        self.size = size
        self.files = files
        self.lost = self._remembered()
        """Lines that are still to be told in the log, an earlier process's among them."""
        self.written = 0
        self._waiting: list[bytes] = []
        self._queue: queue.SimpleQueue[tuple[list[bytes], int] | Callable[[], object] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        """Of the file."""
        self._given = self._taken = 0
        """Bytes that the thread was ever given, and those it is done with: each counted by one side only."""
        self._over = self._told_over = 0
        """Lines for which nothing had room, and those of them that are counted among the lost."""
        self._lost_ever = 0
        self._handle = -1
        self._at = self._turns = 0
        self._is_torn = False
        """The file ends with a part of a line of ours."""

    @property
    def lost_ever(self) -> int:
        """Lines that this process lost, which only grows."""
        return self._lost_ever + self._over - self._told_over

    @property
    def waiting(self) -> int:
        """Bytes that wait for the disk."""
        return self._given - self._taken

    def write(self, line: bytes) -> None:
        """Write within PAUSE, at once where no event loop runs."""
        self._waiting.append(line)
        if len(self._waiting) == 1:
            try:
                asyncio.get_running_loop().call_later(PAUSE, self._hand_over)
            except RuntimeError:
                self.flush()

    def flush(self) -> None:
        """Write what waits, here and now."""
        lines, self._waiting = self._waiting, []
        with self._lock:
            self._put(lines)

    async def settled(self) -> bool:
        """Whether what was written until now is in the file, or counted as lost: who removes where it came from asks. False after CLOSING, where the disk stands still."""
        self._hand_over()
        if self._thread is None:
            return True
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        self._queue.put(functools.partial(loop.call_soon_threadsafe, done.set))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSING):
                await done.wait()
        return done.is_set()

    def close(self) -> None:
        """Write what waits and close the file."""
        self._hand_over()
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(CLOSING)
            if self._thread.is_alive():
                log.error("%s stands still: %d bytes of decisions are not in it", self.path, self.waiting)
                return
            self._thread = None
        self.flush()
        self._shut()

    def _hand_over(self) -> None:
        """Give what waits to the thread that writes."""
        lines, self._waiting = self._waiting, []
        if not lines:
            return
        if self.waiting > MOST:
            self._over += len(lines)
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="decisions", daemon=True)
            self._thread.start()
        size = sum(map(len, lines))
        self._given += size
        self._queue.put((lines, size))

    def _run(self) -> None:
        while (given := self._queue.get()) is not None:
            if callable(given):
                with contextlib.suppress(RuntimeError):  # the loop that asked is closed
                    given()
                continue
            lines, size = given
            with self._lock:
                try:
                    self._put(lines)
                except Exception:
                    log.exception("%d decisions are not in %s", len(lines), self.path)
                    self.lost += len(lines)
                    self._lost_ever += len(lines)
            self._taken += size

    def _put(self, lines: list[bytes]) -> None:
        """Append the lines; count those that found no room."""
        over = self._over - self._told_over
        self._told_over += over
        self._lost_ever += over
        self.lost += over
        if not lines:
            if over:
                self._remember()
            return
        before, ours, told = len(lines), self._is_torn, self.lost
        if told:
            lines.insert(0, msgspec.json.encode({"format": "afterguard.lost/1", "lost": told}) + b"\n")
        if ours:
            lines.insert(0, b"\n")
        kept = self._append(b"".join(lines))
        if told and kept > ours:
            self.lost -= told
        done = max(0, kept - ours - bool(told))
        self.written += done
        self.lost += before - done
        self._lost_ever += before - done
        if self.lost or told:
            self._remember()
        if self._at >= self.size:
            with contextlib.suppress(OSError):  # no room for a lock or a name: the next line tries again
                self._rotate()
        else:
            self._follow()

    def _append(self, data: bytes) -> int:
        """How many whole lines found room."""
        wrote = 0
        with contextlib.suppress(OSError):
            self._open()
            while wrote < len(data) and (part := os.write(self._handle, data[wrote:])):
                wrote += part
        self._at += wrote
        torn = wrote - data.rfind(b"\n", 0, wrote) - 1
        if wrote:
            self._is_torn = bool(torn) and not self._taken_back(torn)
        return data.count(b"\n", 0, wrote)

    def _taken_back(self, size: int) -> bool:
        """Cut our part of a line off the end; not where another process has written behind it, then the next write ends it."""
        with contextlib.suppress(OSError):
            end = os.lseek(self._handle, 0, os.SEEK_CUR)
            if os.fstat(self._handle).st_size == end:
                os.ftruncate(self._handle, end - size)
                self._at -= size
                return True
        return False

    def _shut(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _open(self) -> None:
        if self._handle >= 0:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._at = os.fstat(self._handle).st_size

    def _follow(self) -> None:
        """Now and then: whether another process has rotated the file, and how long it is with what others wrote."""
        self._turns += 1
        if self._turns % LOOK or self._handle < 0:
            return
        try:
            if os.fstat(self._handle).st_ino != os.stat(self.path).st_ino:
                self._shut()
            else:
                self._at = os.fstat(self._handle).st_size
        except OSError:
            self._shut()

    def _rotate(self) -> None:
        """Rename the files, unless another process has just done so."""
        mine = os.fstat(self._handle).st_ino
        self._shut()
        lock = os.open(self.path.with_name(self.path.name + ".lock"), os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            if fcntl is not None:
                fcntl.flock(lock, fcntl.LOCK_EX)
            if os.stat(self.path).st_ino == mine:
                self._renamed()
        except FileNotFoundError:
            pass
        finally:
            os.close(lock)

    def _renamed(self) -> None:
        for number in range(self.files - 1, 0, -1):
            older = self._numbered(number)
            if older.exists():
                if number + 1 >= self.files:
                    older.unlink()
                else:
                    older.replace(self._numbered(number + 1))
        self.path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")

    @property
    def _note(self) -> Path:
        return self.path.with_name(self.path.name + ".lost")

    def _remembered(self) -> int:
        try:
            return max(0, int(self._note.read_text()))
        except (OSError, ValueError):
            return 0

    def _remember(self) -> None:
        """An existing small file needs no new block on a full disk; where even that fails the count lives in memory and metrics."""
        try:
            if self.lost:
                self._note.write_text(f"{self.lost:>20}")
            else:
                self._note.unlink(missing_ok=True)
        except OSError:
            pass


def estimate(requests_a_day: float, bytes_a_line: float = 1_150.0) -> float:
    """Bytes a day the log will take."""
    return requests_a_day * bytes_a_line
