"""What every sink has: the settings that all share, the one signature, and the ways a destination can say no.

In: nothing. Out: `Settings`, `Sink`, `Item`, `Sent`, `Limits`, `Unavailable`, `Unfit`. It sends nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Protocol

import msgspec
from msgspec import Meta

from afterguard.export.secret import Secret
from afterguard.export.spool.bound import LANES, Lane, Spool

Identifier = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
Seconds = Annotated[float, Meta(ge=0, le=86_400)]


class Canary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An alert sent now and then only to see whether it arrives."""

    every: Annotated[float, Meta(gt=0, le=86_400)] = 300.0
    """Seconds between two."""
    within: Annotated[float, Meta(gt=0, le=86_400)] = 60.0
    """Seconds in which it must be there; later is an alert to the other sinks."""
    file: str = ""
    """A file in which the destination writes what it got, read for the canary's id."""
    url: str = ""
    """An address whose answer holds the canary's id when it has arrived; {id} stands for it."""
    token: Secret | None = None
    """Sent to that address as `Authorization: Bearer`."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind"):
    """What may be said of any sink."""

    name: Identifier
    """What it is called, for ever: its spool lies in a folder of that name."""
    lanes: Annotated[tuple[Lane, ...], Meta(min_length=1)] = LANES
    """What it is sent: alert, audit, telemetry."""
    encode: str = "json"
    """The format of an event: json (as it is), ocsf, ocsf-1.9, ecs, cim, cef, leef, otlp or stix."""
    spool_mb: Annotated[int, Meta(ge=1, le=1 << 20)] = 1024
    """Megabytes that may wait on disk."""
    audit: Literal["block", "shed"] = "block"
    """What happens to audit events when the spool is full: their producer waits, or they are shed and counted."""
    patience: Seconds = 30.0
    """Seconds that the producer of an alert waits for room before it gets an error."""
    batch: Annotated[int, Meta(ge=0, le=100_000)] = 0
    """Events sent at once, at most; 0: what the kind takes."""
    linger: Annotated[float, Meta(ge=-1, le=3_600)] = -1.0
    """Seconds that audit and telemetry wait for others to be sent together; -1: what suits the kind. Alerts never wait."""
    tries: Annotated[int, Meta(ge=1, le=1_000)] = 12
    """Times that one event is sent again when the destination takes the others; then it is a dead letter."""
    wait: Annotated[float, Meta(gt=0, le=3_600)] = 60.0
    """Seconds between two tries at most, when the destination is away."""
    timeout: Annotated[float, Meta(gt=0, le=600)] = 15.0
    """Seconds for one conversation with the destination."""
    canary: Canary | None = None


def opened_spool(folder: Path, settings: Settings, wait: float = 0.0) -> Spool:
    """The sink's spool, for this process alone; another one has `wait` seconds to let go of it. Raises UsageError."""
    return Spool(
        folder / settings.name,
        max_bytes=settings.spool_mb << 20,
        is_audit_shed=settings.audit == "shed",
        patience=settings.patience,
        wait=wait,
    )


class Item(NamedTuple):
    """One event as it is sent."""

    id: str
    """The same however often it is sent: what a destination drops duplicates by."""
    at: float
    """When it was put; seconds since the epoch, UTC."""
    severity: str
    key: str
    """Whom it is about: events with the same key stay in order where a destination has partitions."""
    body: bytes
    lane: str = "audit"


class Sent(NamedTuple):
    """What the destination said of a batch. What is not named here arrived."""

    again: tuple[int, ...] = ()
    """Positions that it did not take now."""
    poison: dict[int, str] = {}  # noqa: RUF012 - never written to
    """Positions that it will never take, and why."""
    wait: float = 0.0
    """Seconds it asked to be left alone."""
    receipt: int = 0
    """Not 0: it has the batch, and `confirmed` will say when it is safe there."""


class Limits(NamedTuple):
    """What fits."""

    events: int
    """Events in a batch."""
    size: int
    """Bytes in a batch."""
    event: int
    """Bytes of one event; a longer one has its texts cut."""
    text: int = 0
    """Bytes of one text in an event, 0 for no limit of its own."""
    linger: float = 0.0
    window: int = 32
    """Batches that may wait for their receipts."""
    confirm: float = 300.0
    """Seconds in which a receipt must be confirmed; then everything unconfirmed is sent again."""


class Sink(Protocol):
    """A destination. Used by one thread."""

    limits: Limits

    def send(self, batch: Sequence[Item]) -> Sent:
        """Hand over a batch. Raises Unavailable when none of it was taken and all of it may be later, Unfit when something in it is wrong and nobody says what."""
        ...

    def confirmed(self) -> set[int]:
        """Receipts that have become safe since the last call. Raises Unavailable when those outstanding will never."""
        ...

    def has(self, id: str) -> bool | None:
        """Whether an event is there, read back from the destination; None: it cannot be asked."""
        ...

    def renew(self) -> None:
        """Forget receipts: what they stood for is sent again."""
        ...

    def close(self) -> None: ...


class Unavailable(Exception):
    """The destination takes nothing now."""

    def __init__(self, why: str, wait: float = 0.0, *, is_lost: bool = False) -> None:
        super().__init__(why)
        self.wait = wait
        self.is_lost = is_lost
        """What it took and has not confirmed is lost with it, and goes again."""


class Unfit(Exception):
    """Something in a batch is wrong or too large: it goes again in halves, and what fails alone is a dead letter."""


class Plain:
    """What most sinks answer: no receipts, and no way to be asked."""

    def confirmed(self) -> set[int]:
        """None are outstanding."""
        return set()

    def has(self, id: str) -> bool | None:
        """It cannot be asked."""
        return None

    def renew(self) -> None:
        """There are none."""

    def close(self) -> None:
        """Nothing is held."""
