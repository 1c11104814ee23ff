"""The watch over time inside a guard: every exchange becomes an event of who asked what, when and at what cost.

In: sessions that are over, with their decisions. Out: see part.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from afterguard.guard.decision import Decision
from afterguard.guard.notice import Marks, client, event
from afterguard.guard.part import Part, Place
from afterguard.guard.price import Price, cost
from afterguard.guard.session import Session
from afterguard.guard.together import Together
from afterguard.watch.event import Event
from afterguard.watch.live import SLICE, Watch
from afterguard.watch.site import Settings

Failed = Callable[[str], None]
FILE = "usual"
GRACE = 3.0
KEEP = 600.0


class Lookout(Part[Watch]):
    """One process's part in the watch."""

    name = "watch"
    file_name = FILE

    def __init__(
        self,
        place: Place,
        *,
        marks: Marks = Marks(),  # noqa: B008 - an immutable tuple
        prices: tuple[Price, ...] = (),
        settings: Settings | None = None,
        redis: str = "",
        brain: str = "",
    ) -> None:
        self.marks, self.prices = marks, prices
        super().__init__(
            place,
            lambda: Watch(settings),
            lambda data: Watch.restored(data, settings),
            joint(redis, brain, self.failed, settings) if redis else None,
        )

    def events(self, session: Session, one: Decision) -> Sequence[Event]:
        """The exchange as one event."""
        at = client(dict(session.headers), session.peer, self.marks, self.pseudonym)
        paid = cost(self.prices, one.model, one.input_tokens or 0, one.output_tokens or 0)
        return (event(session, one, at, self.pseudonym, paid),)


def joint(url: str, brain: str, failed: Failed, settings: Settings | None = None) -> Together[Watch]:
    """The common watch of all that share a Redis."""
    return Together(
        url,
        brain,
        Lookout.name,
        lambda: Watch(settings),
        lambda data: Watch.restored(data, settings),
        failed,
        length=SLICE,
        grace=GRACE,
        keep=KEEP,
    )
