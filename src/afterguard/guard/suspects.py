"""Callers of predictive models that stood out, known to all brains that share Redis or Valkey.

In: suspects, from the brain that judges. Out: the same at every brain, also at one that comes later. Where Redis does not answer, each knows its own, and that is counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from afterguard.guard.together import BATCH, PATIENCE, away, connection, key
from afterguard.model import Hit

STREAM = key("scored", "suspects")
MOST = 2_000
"""Entries that the stream holds."""


class Suspect(msgspec.Struct, frozen=True, array_like=True):
    """Callers that stood out at one mount."""

    route: str
    time: float
    hit: Hit


class Suspects:
    """What one brain hears of, and tells."""

    def __init__(self, url: str, failed: Callable[[str], None], since: float) -> None:
        self._redis = connection(url)
        self.failed = failed
        self._heard_up_to: bytes = f"{max(0, int(since * 1000))}-0".encode()

    async def tell(self, some: Sequence[Suspect]) -> None:
        """Let the other brains know."""
        try:
            async with asyncio.timeout(PATIENCE):
                for one in some:
                    await self._redis.xadd(STREAM, {b"s": msgspec.msgpack.encode(one)}, maxlen=MOST, approximate=True)
        except away():
            self.failed("scored_redis")

    async def heard(self) -> list[Suspect]:
        """What was told since the last time."""
        try:
            async with asyncio.timeout(PATIENCE):
                found = await self._redis.xread({STREAM: self._heard_up_to}, count=BATCH)
        except away():
            self.failed("scored_redis")
            return []
        out = []
        for place, fields in found[0][1] if found else ():
            self._heard_up_to = place
            try:
                out.append(msgspec.msgpack.decode(fields[b"s"], type=Suspect))
            except (msgspec.MsgspecError, KeyError):
                self.failed("scored_entry")
        return out

    async def close(self) -> None:
        """Close the connection."""
        await self._redis.aclose()
