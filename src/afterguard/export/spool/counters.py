"""Counts that survive a kill: 64-bit numbers in a small mapped file.

In: names. Out: numbers to read and to set. A store of eight aligned bytes is never half done, and the kernel keeps the page when the process is killed; `flush` makes it survive a power cut too. The file is laid
out whole when it is made, so that a full disk stops no counting. It will not count below zero.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from pathlib import Path

from afterguard.errors import UsageError

MAGIC = 0x31534E54434741
"""`AGCTNS1`: the first number of the file."""
SLOTS = 128


class Counters:
    """Numbers by name, in one file."""

    def __init__(self, path: Path, names: Sequence[str], *, is_read_only: bool = False) -> None:
        self._place = {name: number for number, name in enumerate(names, 1)}
        if len(names) >= SLOTS:
            raise ValueError("too many counters")
        handle = os.open(path, os.O_RDONLY if is_read_only else os.O_RDWR | os.O_CREAT, 0o600)
        try:
            size = os.fstat(handle).st_size
            if size not in (0, SLOTS * 8) or (is_read_only and not size):
                raise _strange(path)
            if not size:
                # Written, not only reserved: a hole would need a block later, perhaps when there is none.
                os.write(handle, MAGIC.to_bytes(8, "little") + bytes(SLOTS * 8 - 8))
                os.fsync(handle)
            access = mmap.ACCESS_READ if is_read_only else mmap.ACCESS_WRITE
            self._map = mmap.mmap(handle, SLOTS * 8, access=access)
        finally:
            os.close(handle)
        self._numbers = memoryview(self._map).cast("Q")
        if self._numbers[0] != MAGIC:
            self.close()
            raise _strange(path)
        self.is_dirty = False

    def __getitem__(self, name: str) -> int:
        return int(self._numbers[self._place[name]])

    def __setitem__(self, name: str, value: int) -> None:
        self._numbers[self._place[name]] = max(0, value)
        self.is_dirty = True

    def add(self, name: str, more: int = 1) -> None:
        """Count. The caller holds the lock of whoever else counts the same."""
        self[name] = self[name] + more

    def all(self) -> dict[str, int]:
        """Every number by name."""
        return {name: self[name] for name in self._place}

    def flush(self) -> None:
        """Onto the disk."""
        self.is_dirty = False
        self._map.flush()

    def close(self) -> None:
        """Let go of the file."""
        self._numbers.release()
        self._map.close()


def _strange(path: Path) -> UsageError:
    return UsageError(
        f"{path} does not hold a spool's counters",
        hint="move the folder away; what its segment files hold can be read again by a new spool",
        slug="spool-broken",
    )
