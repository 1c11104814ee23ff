"""What `respond` tells the SOC's sinks, as a command does it: read the sinks file first, leave what was done, deliver, say what came of it.

In: --sinks FILE, a case with its journal. Out: events handed over, and words. What could not be handed over is said, and told by the next command that names the sinks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from afterguard.cli.respond_places import Desk
from afterguard.errors import EXIT_GATE, AfterguardError, UsageError
from afterguard.safe import terminal

if TYPE_CHECKING:
    from afterguard.export.settings import Sinks
    from afterguard.jobs.handover import Leaving
    from afterguard.respond.act import Act
    from afterguard.respond.journal import Line
    from afterguard.store.cases import Held

DRAIN = 10.0
"""Seconds that sinks get for what was done; what is left stays in their spools."""


class Outbox(NamedTuple):
    """The sinks that are told, None for none."""

    file: Path | None
    found: Sinks | None = None

    @property
    def spools(self) -> Path:
        assert self.file is not None and self.found is not None
        return self.found.spools(self.file)

    def leave(self, desk: Desk, held: Held, acts: Sequence[Act], lines: Sequence[Line]) -> int:
        """Leave what is new in the journal, while it is held. The exit code that goes with it."""
        if self.found is None:
            return 0
        from afterguard.jobs import handover

        try:
            events, sinks = handover.leave_new(held.case, acts, lines, desk.room.place(held.case.id), self.found, self.spools)  # fmt: skip
        except (AfterguardError, OSError) as error:
            desk.session.say(terminal(f"respond: THE SINKS WERE NOT TOLD: {error}; the journal has it, and the next command with --sinks tells it"))  # fmt: skip
            return EXIT_GATE
        if events and not sinks:
            desk.session.say(f"respond: {events} events, and no sink that takes the lane audit")
        elif events:
            desk.session.say(f"respond: {events} events for {sinks} sinks")
        return 0

    @contextmanager
    def open(self) -> Iterator[Leaving | None]:
        """An outlet for the alerts of a command that goes on for a while, with delivery meanwhile; None where nobody is told."""
        if self.found is None:
            yield None
            return
        from afterguard.jobs import handover

        with handover.meanwhile(self.found, self.spools):
            yield handover.Leaving(self.found, self.spools)

    def deliver(self, desk: Desk) -> None:
        """Deliver, once the journal is free again. What waits is said, and lost is nothing."""
        if self.found is None:
            return
        from afterguard.jobs import handover

        try:
            handed = handover.deliver(self.found, self.spools, DRAIN)
        except AfterguardError as error:
            desk.session.say(terminal(f"respond: not delivered now: {error}; {error.hint}"))
            return
        if handed.is_elsewhere:
            desk.session.say("respond: another process has these spools, and takes them in")
        elif handed.waits:
            desk.session.say(f"respond: {handed.waits} events wait for their destination; afterguard export status --sinks {self.file}")  # fmt: skip


def outbox(desk: Desk, file: Path | None, *, is_dry: bool = False) -> Outbox:
    """The sinks of a file, looked at before anything is done. Raises UsageError."""
    if file is None:
        return Outbox(None)
    if is_dry:
        raise UsageError("a dry run does nothing that sinks could be told of", hint="leave out --sinks", slug="bad-usage")  # fmt: skip
    if desk.session.common.offline:
        raise UsageError("sinks need the network", hint="leave out --offline", slug="bad-usage")
    from afterguard.export.settings import load_sinks

    return Outbox(file, load_sinks(file))
