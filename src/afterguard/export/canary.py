"""The canary: an alert sent only to see whether it arrives, and how long that takes.

In: a spool, a sink that can perhaps be asked, settings that perhaps say where to look. Out: how many were seen, how many not in time, and the seconds of the last. A sink that says yes and forgets is noticed by this, and by nothing else. Where nobody can
be asked, a canary counts as accepted, which the status says in that word: it is no proof of arrival.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from afterguard import net
from afterguard.errors import AfterguardError
from afterguard.export.event import spooled
from afterguard.export.secret import told
from afterguard.export.sink import Canary, Sink
from afterguard.export.spool.bound import Spool, SpoolFull
from afterguard.model import Alert, Confidence, Severity

KIND = "export-canary"
LOOK = 1.0
"""Seconds between two looks for one, at most; the first come sooner."""
TAIL = 4 << 20
"""Bytes at the end of a file that are searched."""
Alarm = Callable[[str, str], None]
"""Title and what is known: told to the other sinks."""


@dataclass
class Watched:
    """The canary of one sink."""

    name: str
    settings: Canary
    spool: Spool
    alarm: Alarm
    clock: Callable[[], float] = time.monotonic
    out: dict[str, float] = field(default_factory=dict)
    """Id -> when it was put."""
    due: float = -1e9
    looked: float = -1e9
    last: float = -1.0
    """Seconds that the last one took; -1: none was seen yet."""
    is_blind: bool = False
    """Nobody can be asked."""

    def turn(self, sink: Sink) -> None:
        """Send one when it is time; look for those that are out."""
        now = self.clock()
        if now >= self.due:
            self.due = now + self.settings.every
            self._send(now)
        if self.out and now - self.looked >= min(LOOK, (now - min(self.out.values())) / 8):
            self.looked = now
            for id, since in list(self.out.items()):
                self._look(sink, id, since)

    def _send(self, now: float) -> None:
        alert = canary(self.name, time.time())
        id, body = spooled(alert)
        try:
            taken = self.spool.offer("alert", id, body)
        except (SpoolFull, AfterguardError):
            taken = None
        if taken:
            self.spool.counts.add("canaries")
            self.out[id] = now

    def _look(self, sink: Sink, id: str, since: float) -> None:
        is_there = found(self.settings, sink, id)
        passed = self.clock() - since
        self.is_blind = is_there is None
        if is_there:
            self.last = passed
            self.spool.counts.add("canaries_seen")
            del self.out[id]
        elif is_there is None and not self.spool.backlog("alert"):
            self.last = passed
            del self.out[id]
        elif passed > self.settings.within:
            self.spool.counts.add("canaries_missed")
            del self.out[id]
            self.alarm(
                f"Sink {self.name} did not deliver a canary",
                f"{id} was not there after {passed:.0f} seconds; alerts sent to {self.name} may not arrive either",
            )


def found(settings: Canary | None, sink: Sink, id: str) -> bool | None:
    """Whether a canary is at the destination, by the file or address that the settings name, else by the sink itself; None: nobody can be asked."""
    if settings is not None and settings.file:
        return _is_in_file(Path(settings.file), id.encode())
    if settings is not None and settings.url:
        return _is_at_url(settings, id)
    try:
        return sink.has(id)
    except Exception:  # the destination's own trouble shows when it is sent something
        return False


def _is_at_url(settings: Canary, id: str) -> bool:
    url = settings.url.replace("{id}", id)
    try:
        token = told(settings.token)
        headers = {"authorization": f"Bearer {token}"} if token else {}
        reply = net.get(url, allow={net.host_of(url)}, headers=headers)
    except AfterguardError:
        return False
    # An answer that only repeats the question proves nothing.
    asked = url.encode() if "{id}" in settings.url else b""
    return reply.status == 200 and id.encode() in (reply.body.replace(asked, b"") if asked else reply.body)


def canary(sink: str, now: float) -> Alert:
    """The alert itself."""
    id = "al-" + secrets.token_hex(16)
    return Alert(
        id=id,
        fingerprint=id,
        kind=KIND,
        title=f"Canary of Afterguard for sink {sink}: nothing is to be done",
        severity=Severity.info,
        confidence=Confidence.high,
        first_seen=now,
        last_seen=now,
        observed=now,
        app="afterguard",
    )


def _is_in_file(path: Path, id: bytes) -> bool:
    if not re.fullmatch(rb"[A-Za-z0-9._-]+", id):
        return False
    try:
        with path.open("rb") as handle:
            size = os.fstat(handle.fileno()).st_size
            handle.seek(max(0, size - TAIL))
            return id in handle.read(TAIL)
    except OSError:
        return False
