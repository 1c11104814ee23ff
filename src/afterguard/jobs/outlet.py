"""What `watch run` hands to the SOC: alerts at once, and the lines of the decision log where they are wanted.

In: alerts, lines as they were read. Out: events in the sinks' spools, each under the id it always has, so that what is read again after a crash is dropped by whoever drops duplicates. It waits for no destination, only for room in a spool; an alert that found none is an error, and the log is read again from where it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

import msgspec

from afterguard.export import approved
from afterguard.export.event import spooled
from afterguard.export.exporter import Exporter
from afterguard.export.spool.bound import Lane
from afterguard.model import Action, Alert

PASSED = (Action.allow, Action.flag)


class Sent(msgspec.Struct):
    """What was put into the spools. A crash can make it more than there is: read again is put again."""

    alerts: int = 0
    audit: int = 0
    telemetry: int = 0
    shed: int = 0
    """Lines that a full spool had no room for; the spool counts them too."""


class Outlet:
    """Sinks that are open, as a watch feeds them."""

    def __init__(self, exporter: Exporter, *, has_lines: bool = False) -> None:
        self.exporter = exporter
        self.has_lines = has_lines
        """Whether lines of the log go too, not only alerts."""
        self.sent = Sent()
        self._lines: list[tuple[Lane, str, bytes]] = []

    def line(self, data: bytes, line: Mapping[str, Any], drill: str = "") -> None:
        """Keep a line, and who agreed to something in it, until the alerts of this step have gone: a full lane of lines must not hold them up. That it is of a drill stands in it."""
        if self.has_lines:
            if drill:
                _own(line)["drill"] = drill
                data = msgspec.json.encode(line)
            self._lines.append((lane(line), name(data, line), data))
            self._lines += [("audit", *spooled(one)) for one in approved.deeds(line)]

    def hand_over(self, alerts: Iterable[Alert]) -> None:
        """Put alerts, then the lines. Raises AfterguardError where an alert or audit event found no room in time."""
        for one in alerts:
            self.exporter.put("alert", one)
            self.sent.alerts += 1
        lines, self._lines = self._lines, []
        for where, id, data in lines:
            if not self.exporter.put_json(where, id, data):
                self.sent.shed += 1
            elif where == "audit":
                self.sent.audit += 1
            else:
                self.sent.telemetry += 1

    def sync(self) -> None:
        """Everything put so far is on the disk. Raises AfterguardError where a disk does not take it."""
        self.exporter.sync()


def lane(line: Mapping[str, Any]) -> Lane:
    """Where a line belongs: audit for what was held off, approved, lost or an alarm; telemetry for all else."""
    if line.get("class_uid") != 6003:
        return "audit"
    return "telemetry" if _own(line).get("action", Action.allow) in PASSED else "audit"


def _own(line: Mapping[str, Any]) -> dict[str, Any]:
    """What is the guard's own in a line; something empty where there is nothing."""
    unmapped = line.get("unmapped")
    own = unmapped.get("afterguard") if isinstance(unmapped, dict) else None
    return own if isinstance(own, dict) else {}


def name(data: bytes, line: Mapping[str, Any]) -> str:
    """The id of a line: its own, else one made of its bytes. The same line has the same one however often it is read."""
    about = line.get("metadata")
    uid = about.get("uid") if isinstance(about, Mapping) else None
    is_fit = isinstance(uid, str) and 0 < len(uid.encode("utf-8", "replace")) <= 200
    return str(uid) if is_fit else "ln-" + sha256(data).hexdigest()[:32]
