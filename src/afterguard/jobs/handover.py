"""What `respond` tells the SOC: what was done in a case and who agreed to it, out of its journal into the sinks.

In: a case, its plan, its journal's lines; the sinks file. Out: events in the inboxes of the sinks' spools, and, where no other process delivers, at their destinations. How far a journal was told is written beside it only after the disk has
what it led to: after a crash lines are told again, each with the id that it always has, and none is left out. It waits for no destination longer than `drain`.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from afterguard import files
from afterguard.errors import UsageError
from afterguard.export.exporter import Exporter
from afterguard.export.inbox import leave
from afterguard.export.settings import Sinks
from afterguard.model import Alert, Case
from afterguard.respond.act import Act
from afterguard.respond.deeds import deeds, name_of
from afterguard.respond.journal import Line

TOLD = "told.json"
CAP = 1 << 20


class Handed(NamedTuple):
    """Where events are."""

    waits: int
    """Events that had not reached their destination when the time was over."""
    is_elsewhere: bool = False
    """Whether another process holds the spools, and delivers."""


def leave_new(case: Case, acts: Sequence[Act], lines: Sequence[Line], place: Path, found: Sinks, spools: Path) -> tuple[int, int]:  # fmt: skip
    """Leave what the journal says since these sinks were last told; `place`: the case's folder, `spools`: theirs. How many events, for how many sinks. Raises AfterguardError where the disk does not take them; the next call then leaves them."""
    mark = hashlib.sha256(str(spools.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    told = _told(place)
    new = {name_of(case, line) for line in lines[told.get(mark, 0) :]}
    # Made from the beginning, for what a line means hangs on those before it.
    events = [one for one in deeds(case, acts, lines) if one.id in new]
    sinks = leave(spools, found.sinks, "audit", events)
    files.put(place / TOLD, msgspec.json.encode(told | {mark: len(lines)}))
    return len(events), sinks


def deliver(found: Sinks, spools: Path, drain: float) -> Handed:
    """Deliver what was left, unless another process does. Raises AfterguardError for sinks that cannot be opened."""
    exporter = _opened(found, spools)
    if exporter is None:
        return Handed(0, is_elsewhere=True)
    with exporter:
        exporter.drain(drain)
        waits = [sum(lane["backlog"] for lane in row["lanes"].values()) for row in exporter.counts().values()]
    return Handed(max(waits, default=0))


def _opened(found: Sinks, spools: Path) -> Exporter | None:
    """The sinks, None where another process has their spools."""
    try:
        return Exporter(found.sinks, spools, wait=0.0)
    except UsageError as error:
        if error.slug != "spool-in-use":
            raise
    return None


@contextlib.contextmanager
def meanwhile(found: Sinks, spools: Path) -> Iterator[None]:
    """Deliver what is left as long as the block lasts, unless another process does. Raises AfterguardError for sinks that cannot be opened."""
    with _opened(found, spools) or contextlib.nullcontext():
        yield


class Leaving:
    """The outlet of a watch that may not have the spools: its alerts are left beside them, lines of the log are not."""

    def __init__(self, found: Sinks, spools: Path) -> None:
        self.found, self.spools = found, spools

    def line(self, data: bytes, line: Mapping[str, Any], drill: str = "") -> None:
        """See Outlet."""

    def hand_over(self, alerts: Iterable[Alert]) -> None:
        """See Outlet. Raises AfterguardError where the disk does not take them."""
        leave(self.spools, self.found.sinks, "alert", tuple(alerts))

    def sync(self) -> None:
        """What is left is on the disk already."""


def _told(place: Path) -> dict[str, int]:
    """Spools -> lines of the journal that were handed over; what cannot be read says nothing, and everything is told again."""
    try:
        return msgspec.json.decode(files.named(place / TOLD, CAP), type=dict[str, int])
    except (OSError, msgspec.MsgspecError):
        return {}
