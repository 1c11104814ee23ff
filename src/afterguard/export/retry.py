"""When to try again: exponential back-off with jitter, and a breaker that lets one small try through.

In: the outcome of each try, a clock that never goes back, a draw between 0 and 1. Out: when the next may be, and how large. Pure: clock and chance are arguments.
"""

from __future__ import annotations

from dataclasses import dataclass

FIRST = 0.5
"""Seconds before the second try."""
OPENS = 5
"""Failures in a row after which the breaker is open."""
PROBE = 8
"""Events that a try under an open breaker risks."""
ASKED = 3_600.0
"""Seconds that a destination may ask for at most."""


@dataclass
class Retry:
    """The state of one destination."""

    most: float
    """Seconds between two tries."""
    failures: int = 0
    not_before: float = 0.0

    @property
    def state(self) -> str:
        """`up`, `failing` or `open`."""
        return "up" if not self.failures else "open" if self.failures >= OPENS else "failing"

    def failed(self, now: float, draw: float, asked: float = 0.0) -> None:
        """One more failure. `asked`: seconds the destination asked for, which count where they are more."""
        self.failures += 1
        wait = min(self.most, FIRST * 2.0 ** min(self.failures - 1, 20))
        # From half to all of it: those who were cut off together do not come back together.
        self.not_before = now + max(wait * (0.5 + draw / 2), min(asked, ASKED))

    def pause(self, now: float, seconds: float) -> None:
        """Wait without a failure."""
        self.not_before = max(self.not_before, now + min(seconds, ASKED))

    def worked(self) -> None:
        """It answers again."""
        self.failures = 0
        self.not_before = 0.0

    def most_now(self, count: int) -> int:
        """How many events the next try may carry."""
        return min(count, PROBE) if self.failures >= OPENS else count
