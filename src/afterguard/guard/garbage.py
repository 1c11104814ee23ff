"""When the collector of cycles runs in a process that serves: never over what lives long, and not while somebody waits.

In: nothing. Out: nothing but fewer pauses. An exchange leaves no cycles behind (a test holds it to that), so there is next to nothing to collect; what is long-lived, judged conversations above
all, is walked over again and again for nothing, twenty thousand objects at a time, and everyone who is under way waits ten milliseconds for it. So twice a second what is young is looked through, and what is alive of it is set
aside, which costs nothing. All of it is looked through once an hour, when nobody is under way, and after six whoever is. What is set aside unlooked at would never be freed: an hour of resets and errors was 55 MB.
"""

from __future__ import annotations

import gc

YOUNG = 100_000
"""Objects that are made and not freed, between two looks."""
HOUR = 3_600.0
LATEST = 6 * HOUR


def settled() -> None:
    """What was made at the start stays for good."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 50, 1_000)


class Collector:
    """Called now and then."""

    def __init__(self, now: float) -> None:
        self.due = now + HOUR

    def tick(self, now: float, *, is_idle: bool) -> None:
        """Look through what is young and set aside what is alive; look through all of it where an hour is over and nobody waits."""
        if now >= self.due + LATEST - HOUR or (is_idle and now >= self.due):
            self.due = now + HOUR
            gc.unfreeze()
            gc.collect()
        else:
            gc.collect(1)
        gc.freeze()
