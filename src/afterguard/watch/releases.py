"""When an application last spoke with another prompt or version.

In: the events of slices. Out: whether a release is fresh: what people press is new then, and nobody's campaign. A prompt counts once a good part of all that passes has it, so one caller's own prompt is no release. Bounded: SPOKEN of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from afterguard.watch.event import Event

PART = 0.2
"""Of a slice's events that must have it."""
HEARD = 20
"""Events of a slice that must have it."""
FRESH = 2 * 86_400.0
"""Seconds after a release in which many who send the same new text are no alarm; those that are new to the application are."""
SPOKEN = 500


class Releases:
    """See the file."""

    def __init__(self) -> None:
        self.spoken: dict[tuple[str, str, str], None] = {}
        """Models, prompts and versions that a good part of the application had."""
        self.last = 0.0
        """When it last had another one; the first is none."""

    def look(self, events: Sequence[Event], now: float) -> None:
        """Take the events of a slice."""
        counts = Counter((event.model, event.prompt, event.version) for event in events)
        for spoken, count in counts.items():
            if spoken not in self.spoken and count >= PART * len(events) and count >= HEARD:
                self.last = now if self.spoken else 0.0
                self.spoken[spoken] = None
        while len(self.spoken) > SPOKEN:
            del self.spoken[next(iter(self.spoken))]

    def is_fresh(self, now: float) -> bool:
        """Whether one was a little while ago."""
        return now - self.last < FRESH
