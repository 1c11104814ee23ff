"""Writes of one turn of the event loop, made together at its end: head and body in one piece, and one socket after the other.

In: bytes for transports. Out: the same bytes, written. Half of what a small exchange costs is asking the kernel; and where the peer sleeps, the first of many writes wakes it and the rest find it awake.
"""

from __future__ import annotations

import asyncio

JOINED = 64 * 1024
"""Bytes up to which pieces are copied into one; above, copying costs more than a second write."""


QUIET = 0.0005
"""Seconds without a write after which the next one does not wait for others."""


class Batch:
    """What waits to be written by the connections of one event loop."""

    __slots__ = ("corks", "last", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.corks: list[Cork] = []
        self.last = 0.0
        """When it was last asked to write, in the loop's time."""

    def flush(self) -> None:
        """Write what waits."""
        corks, self.corks = self.corks, []
        for cork in corks:
            cork.flush()


class Cork:
    """A transport whose writes wait for the end of this turn of the loop."""

    __slots__ = ("batch", "transport", "waiting")

    def __init__(self, batch: Batch, transport: asyncio.Transport) -> None:
        self.batch = batch
        self.transport = transport
        self.waiting: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Write soon; at once where there is nobody to wait for."""
        batch = self.batch
        if not self.waiting:
            if not batch.corks:
                now = batch.loop.time()
                is_quiet, batch.last = now - batch.last > QUIET, now
                if is_quiet and not self.transport.is_closing():
                    self.transport.write(data)
                    return
                batch.loop.call_soon(batch.flush)
            batch.corks.append(self)
        self.waiting.append(data)

    def flush(self) -> None:
        """Write what waits now."""
        waiting = self.waiting
        if not waiting:
            return
        self.waiting = []
        if self.transport.is_closing():
            return
        if len(waiting) == 1:
            self.transport.write(waiting[0])
        elif sum(map(len, waiting)) <= JOINED:
            self.transport.write(b"".join(waiting))
        else:
            self.transport.writelines(waiting)

    def close(self) -> None:
        """Write what waits, then close."""
        self.flush()
        self.transport.close()
