"""What all workers of one guard have counted, so that any of them can answer for /metrics.

In: the numbers of this process. Out: their sum over every worker of the guard, those that are gone included. It counts nothing itself.

Theory of operation. Each worker writes its numbers to a file of its own, whole and by rename: now and then, whenever it answers for all, and when it leaves. When a worker has ended the
parent adds its file to `past` and then removes it; `past` names what it was made from. A reader reads the workers' files first and `past` after them, and leaves out whom `past` names:
so everybody is in the sum once, whatever happens in between, and nobody waits for anybody. What was once shown is in a file, so a counter does not go back when a worker is killed; what
it counted since its last writing is not in the sum. What is open or switched on (a gauge) ends with its worker.

The folder belongs to one parent and is removed with it; what a killed parent left is removed by the next guard, which sees that nobody holds its lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from pathlib import Path

import msgspec

from afterguard.guard.metrics import Metrics, Numbers

PAST, LOCK = "past", "lock"


class _Past(msgspec.Struct):
    """Numbers of workers that are gone, and the names of their files."""

    numbers: Numbers
    names: list[str]


class Board:
    """The files of one guard. Made by the parent before it forks; a worker calls `join` first."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError where there can be no such folder."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _sweep(folder)
        self.folder = folder / f"{os.getpid()}-{time.time_ns()}"
        self.folder.mkdir(mode=0o700)
        made = self.folder / (LOCK + ".new")
        self._lock = os.open(made, os.O_WRONLY | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        made.rename(self.folder / LOCK)
        self._name = ""
        self._written = b""

    def join(self) -> None:
        """This process counts."""
        self._name = f"{os.getpid()}-{time.time_ns()}"
        self._written = b""

    def keep(self, numbers: Metrics) -> None:
        """Write this worker's numbers where the others find them. Where there is no room the older ones stay."""
        data = msgspec.msgpack.encode(numbers.all())
        if data != self._written and _put(self.folder / self._name, data):
            self._written = data

    def total(self, own: Metrics) -> Metrics:
        """The sum over all workers, this one's numbers as they are now."""
        self.keep(own)
        rows = {name: found for name in self._names() if name != self._name and (found := self._read(name))}
        past = self._past()
        out = Metrics()
        out.join(past.numbers)
        out.join(own.all())
        for name, found in rows.items():
            if name not in past.names:
                out.join(found)
        return out

    def bury(self, pid: int) -> None:
        """For the parent: a worker has ended, and its counts stay."""
        names = [name for name in self._names() if name.partition("-")[0] == str(pid)]
        past = self._past()
        out = Metrics()
        out.join(past.numbers)
        for name in names:
            if name not in past.names and (found := self._read(name)):
                out.join(found, counters_only=True)
        still = [name for name in past.names if (self.folder / name).exists()]
        if names and _put(self.folder / PAST, msgspec.msgpack.encode(_Past(out.all(), [*still, *names]))):
            for name in names:
                with contextlib.suppress(OSError):  # its name in `past` keeps it from being counted twice
                    (self.folder / name).unlink()

    def close(self) -> None:
        """For the parent: the guard is over."""
        os.close(self._lock)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _names(self) -> list[str]:
        with contextlib.suppress(OSError):
            return [name for name in os.listdir(self.folder) if name[:1].isdigit() and "." not in name]
        return []

    def _read(self, name: str) -> Numbers | None:
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            return msgspec.msgpack.decode((self.folder / name).read_bytes(), type=Numbers)
        return None

    def _past(self) -> _Past:
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            return msgspec.msgpack.decode((self.folder / PAST).read_bytes(), type=_Past)
        return _Past(Numbers({}, {}), [])


def _put(place: Path, data: bytes) -> bool:
    """Whether the file now holds this."""
    new = place.with_name(place.name + ".new")
    try:
        new.write_bytes(data)
        new.replace(place)
    except OSError:
        return False
    return True


def _sweep(folder: Path) -> None:
    """Remove what guards left that were killed."""
    for lock in folder.glob("*/" + LOCK):
        with contextlib.suppress(OSError):
            held = os.open(lock, os.O_WRONLY)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)
            finally:
                os.close(held)
