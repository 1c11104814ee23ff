"""The watch over the lines of one drill: whose they are, and alerts that say that they are a drill's.

In: a drill, logs, what a watch takes. Out: alerts, marked, and what the guard wrote of each exchange. It keeps no state and teaches nobody.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from afterguard.errors import UsageError
from afterguard.guard import who
from afterguard.jobs.prove import Guard
from afterguard.jobs.watch import Watch
from afterguard.model import DRILL_TITLE, Alert, Drill
from afterguard.respond.drill import Heard
from afterguard.tap.tail import Cursor
from afterguard.targets import template
from afterguard.targets.document import Target
from afterguard.watch.triage import Sighting, is_probe, of_drill, traffic
from afterguard.watch.triage.sighting import decided


def callers(target: Target, guard: Guard, named: Sequence[str]) -> tuple[str, ...]:
    """Pseudonyms under which the guard will know the drill: as named, else those of the keys the target file sends to the guard itself. Raises UsageError."""
    if named:
        return tuple(dict.fromkeys(named))
    if urlsplit(target.url).netloc != guard.parts.netloc:
        raise UsageError(f"{target.host} is not the guard itself: in its log the attack has the name of the application's key", hint="--identity NAME: actor.user.uid of the log's lines for an instance with a key of its own", slug="no-drill-identity")  # fmt: skip
    found = []
    for identity in target.knows.identities or ("",):
        told = template.filled(target.headers, {"identity": identity})
        rows = [(name.lower().encode(), value.encode("latin-1")) for name, value in told.items()]
        found.append(who.who(rows, lambda value: who.pseudonym(guard.key, value))[0])
    if not all(found):
        raise UsageError("the target sends no key: in the guard's log nobody could tell the drill from others", hint="headers: {authorization: Bearer ${DRILL_KEY}} in the target file, a key of its own", slug="no-drill-identity")  # fmt: skip
    return tuple(dict.fromkeys(found))


class Beside(Watch):
    """The watch, over the lines of one drill alone. Its alerts are marked."""

    def __init__(self, drill: Drill, logs: Sequence[Path], *given: Any, **more: Any) -> None:
        super().__init__(logs, *given, **more)
        self.drill = drill
        self.heard: list[Heard] = []
        self.alarms: list[Sighting] = []
        self.is_first_day = False
        """Whether no watch has learnt yet what is usual in this application."""
        for tail in self.tails:
            with contextlib.suppress(OSError):
                found = os.stat(tail.path)
                tail.cursor = Cursor(found.st_ino, found.st_size)

    def save(self) -> None:
        """What a drill saw teaches nobody, and its log is read once."""
        if self.outlet is not None:
            self.outlet.sync()
        self._saved = self.wall()

    def _is_mine(self, line: dict[str, Any]) -> bool:
        return not is_probe(line) and bool(of_drill(line, (self.drill,)))

    def _heard(self, line: dict[str, Any], found: list[Sighting]) -> None:
        if line.get("class_uid") != 6003:
            self.alarms += found
            return
        about, (exchange, mode, is_held_off) = traffic(line), decided(line)
        assert about is not None
        self.is_first_day = self.is_first_day or self.triage.rates.is_new(about.app, about.time)
        self.heard.append(Heard(exchange, about.time, mode, is_held_off, tuple(found)))

    def _marked(self, alert: Alert) -> Alert:
        # Its own id: the same cause in real traffic is another alert.
        name = f"al-{self.drill.run}{alert.id[3 + len(self.drill.run) :]}"
        incident = f"in-{self.drill.run}{alert.case[3 + len(self.drill.run) :]}" if alert.case else ""
        return msgspec.structs.replace(
            alert, id=name, case=incident, title=DRILL_TITLE + alert.title, drill=self.drill.run
        )
