"""What one caller may use: requests and tokens a minute, requests at once. In this process, or in Redis for several.

In: a policy's limits, who asks, a clock reading. Out: seconds to wait, 0 where there is room. Tokens are counted when the reply says how many there were, so that the next request pays for
the last. Where Redis does not answer, this process counts alone and says so in its metrics: a limit is never a reason for an outage.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from afterguard.model import Verdict
from afterguard.policy.document import Limits
from afterguard.policy.measures import Cap

if TYPE_CHECKING:
    from afterguard.guard.session import Session

CALLERS = 100_000
MINUTE = 60.0
PATIENCE = 0.05
"""Seconds to wait for Redis."""


class Used(NamedTuple):
    """What a caller used in a window."""

    requests: int
    tokens: int


class Counts(Protocol):
    """Where use is counted."""

    async def add(self, caller: str, window: int, requests: int, tokens: int) -> Used:
        """Add to a window of a caller; what it has used in it now."""


class Local:
    """Counts of this process, the least recently seen caller forgotten first."""

    def __init__(self, callers: int = CALLERS) -> None:
        self.callers = callers
        self._rows: OrderedDict[str, tuple[int, int, int]] = OrderedDict()

    async def add(self, caller: str, window: int, requests: int, tokens: int) -> Used:
        """See Counts."""
        at, seen, spent = self._rows.pop(caller, (window, 0, 0))
        if at != window:
            seen = spent = 0
        row = self._rows[caller] = (window, seen + requests, spent + tokens)
        while len(self._rows) > self.callers:
            self._rows.popitem(last=False)
        return Used(row[1], row[2])


class Shared:
    """Counts in Redis or Valkey, one hash a caller and window, gone by itself after two minutes."""

    def __init__(self, url: str, failed: Callable[[], None]) -> None:
        import redis.asyncio as redis

        self._redis: Any = redis.Redis.from_url(url, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE)
        self._local = Local()
        self.failed = failed

    async def add(self, caller: str, window: int, requests: int, tokens: int) -> Used:
        """See Counts. Falls back to this process's own counts."""
        mine = await self._local.add(caller, window, requests, tokens)
        name = f"afterguard:use:{caller}:{window}"
        try:
            async with asyncio.timeout(PATIENCE):
                pipe = self._redis.pipeline(transaction=False)
                pipe.hincrby(name, "r", requests)
                pipe.hincrby(name, "t", tokens)
                pipe.expire(name, 130)
                seen, spent, _ = await pipe.execute()
            return Used(int(seen), int(spent))
        except Exception:  # whatever a client library raises when its server is away
            self.failed()
            return mine

    async def close(self) -> None:
        """Close connections."""
        await self._redis.aclose()


class Meter:
    """Limits of one policy, counted."""

    def __init__(self, counts: Counts) -> None:
        self.counts = counts
        self.open: dict[str, int] = {}
        """Requests of a caller that are under way here."""

    async def ask(self, limits: Limits, caller: str, size: int, now: float) -> tuple[float, str]:
        """(seconds to wait, which limit), (0, "") where there is room. Counts the request."""
        if limits.request_bytes and size > limits.request_bytes:
            return -1.0, "request_bytes"
        if limits.concurrent and self.open.get(caller, 0) >= limits.concurrent:
            return 1.0, "concurrent"
        if not limits.requests_per_minute and not limits.tokens_per_minute:
            return 0.0, ""
        window = int(now // MINUTE)
        used = await self.counts.add(caller, window, 1, 0)
        left = MINUTE - now % MINUTE
        if limits.requests_per_minute and used.requests > limits.requests_per_minute:
            return left, "requests_per_minute"
        if limits.tokens_per_minute and used.tokens >= limits.tokens_per_minute:
            return left, "tokens_per_minute"
        return 0.0, ""

    async def capped(self, caps: Mapping[str, Cap], session: Session, size: int, now: float) -> Verdict | None:
        """The verdict on a caller who has used what responders left it; None for everybody else."""
        cap = caps.get(session.identity) if session.identity else None
        if cap is None:
            return None
        wait, which = await self.ask(cap.limits, f"{cap.id}:{session.identity}", size, now)
        return session.capped(cap.id, wait) if which else None

    async def spent(self, limits: Limits, caller: str, tokens: int, now: float) -> None:
        """A reply used tokens."""
        if limits.tokens_per_minute and tokens:
            await self.counts.add(caller, int(now // MINUTE), 0, tokens)

    def begin(self, caller: str) -> None:
        """A request of this caller is under way."""
        self.open[caller] = self.open.get(caller, 0) + 1

    def end(self, caller: str) -> None:
        """It has ended."""
        left = self.open.get(caller, 1) - 1
        if left > 0:
            self.open[caller] = left
        else:
            self.open.pop(caller, None)
