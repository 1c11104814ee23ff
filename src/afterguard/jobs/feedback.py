"""What SIEMs say of our alerts, into the store: each verdict once, the newest holds, and nothing new is hidden by it.

In: what was heard, a store, the time. Out: rows that triage asks, and `Outcome`, which counts what was not taken and why. A pull goes page by page: first the rows, then how far it got, so that a crash repeats a page, whose verdicts are known by then.

Theory of operation. A verdict is known by the document it stands in, the alert, the revision and what it says: read again, or touched again, it changes nothing. Of two that differ the later one holds; the other is told. It is taken for the state of the alert that was judged: where the alert has a later revision
by now, what the document shows of it is the measure of what has grown since; where it does not show that, the verdict teaches and hides nothing. `Undetermined`, or an alert opened again, takes back only what stood in the same document before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from afterguard import files
from afterguard.export.feedback import Found, Heard, Seen, read
from afterguard.export.pulls import Cursor, Pull, opened
from afterguard.model import SEVERITIES, Alert
from afterguard.store import alerts as stored
from afterguard.store.database import Store
from afterguard.watch.triage import HIDING, MEANS, UNDETERMINED, Disposition, disposed

AHEAD = 300.0
"""Seconds that a time may be ahead of this machine's clock; a later one is no time."""
SHOWN = 100
PAGES = 200
"""Pages that one pull reads; the next one goes on."""


class Older(msgspec.Struct, frozen=True):
    """A verdict that a later one stands against."""

    alert: str
    what: str
    who: str
    stands: str
    by: str


class Outcome(msgspec.Struct):
    """What became of everything that was read."""

    documents: int = 0
    applied: dict[str, int] = {}
    """Disposition -> alerts."""
    withdrawn: int = 0
    """Taken back where it had been said."""
    behind: int = 0
    """Of those applied: the alert has grown past what was judged, and nobody says how far: they teach, and hide nothing."""
    known: int = 0
    older: int = 0
    conflicts: list[Older] = []
    """Of these at most SHOWN."""
    absent: int = 0
    """Alerts that this store never had."""
    drilled: int = 0
    """Alerts of drills, of which nothing is taken."""
    silent: int = 0
    unknown: dict[str, int] = {}
    unnamed: int = 0
    strange: int = 0
    unread: int = 0


class Key(NamedTuple):
    """What a verdict is known by."""

    fingerprint: str
    ref: str
    what: str
    revision: int


class Feedback:
    """A store that takes verdicts."""

    def __init__(self, store: Store, tenant: str, clock: Callable[[], float]) -> None:
        self.store, self.tenant, self.clock = store, tenant, clock
        self.outcome = Outcome()
        self._newest: dict[str, Disposition] = {}
        self._said: dict[Key, float] = {}
        for one in sorted(stored.said(store.connection, tenant, "disposition", Disposition), key=lambda one: one.at):
            self._keep(one)

    def take(self, found: Found) -> None:
        """Everything of one file or page, all or nothing."""
        out, now = self.outcome, self.clock()
        out.documents += found.documents
        for name in ("silent", "unnamed", "strange", "unread"):
            setattr(out, name, getattr(out, name) + getattr(found, name))
        out.unknown = dict(Counter(out.unknown) + Counter(found.unknown))
        with self.store.connection.transaction():
            for one in sorted(found.heard, key=lambda one: _at(one, now)):
                self._one(one, now)

    def _one(self, one: Heard, now: float) -> None:
        alert = stored.named(self.store.connection, self.tenant, one.alert)
        if alert is None:
            self.outcome.absent += 1
            return
        if alert.drill:
            # What is said of our own attack would hide and teach about real ones with the same cause.
            self.outcome.drilled += 1
            return
        at, word = _at(one, now), one.word
        key = Key(alert.fingerprint, word.ref, word.what, one.revision)
        stands, said = self._newest.get(alert.fingerprint), self._said.get(key)
        is_dated = 0 < word.at <= now + AHEAD
        if word.what == UNDETERMINED:
            is_its_own = stands is not None and stands.ref == word.ref and stands.who.startswith(f"{word.system}:")
            if not is_dated or stands is None or not is_its_own or stands.what == UNDETERMINED or at <= stands.at:
                self.outcome.silent += 1
                return
            self.outcome.withdrawn += 1
        elif said is not None and (not is_dated or at <= said or stands is None or stands.what == word.what or stands.ref != word.ref):  # fmt: skip
            # Said before, and since then only touched: unless its own document said something else in between.
            self.outcome.known += 1
            return
        elif stands is not None and at <= stands.at:
            self._stands(one, stands)
            return
        else:
            self.outcome.applied[word.what] = self.outcome.applied.get(word.what, 0) + 1
        self._write(alert, one, at, now)

    def _stands(self, one: Heard, stands: Disposition) -> None:
        if stands.what == one.word.what:
            self.outcome.known += 1
            return
        self.outcome.older += 1
        if len(self.outcome.conflicts) < SHOWN:
            self.outcome.conflicts.append(Older(one.alert, one.word.what, _who(one), stands.what, stands.who))

    def _write(self, alert: Alert, one: Heard, at: float, now: float) -> None:
        word = one.word
        is_behind = one.revision < alert.revision if one.revision else alert.revision > 1 and alert.observed > at
        judged = as_seen(alert, one.seen) if is_behind and one.seen else alert
        is_blind = is_behind and one.seen is None and word.what in HIDING
        self.outcome.behind += is_blind
        row = disposed(judged, word.what, _who(one), at, _reason(one), at if is_blind else 0.0)
        row = msgspec.structs.replace(row, revision=one.revision, ref=word.ref)
        stored.say(self.store.connection, self.tenant, alert.app, "disposition", self.store.made(), now, row)
        if not is_behind:
            # An alert that has grown since is not what was judged: it does not carry the verdict.
            what = word.what if word.what != UNDETERMINED else ""
            stored.keep(self.store.connection, [msgspec.structs.replace(alert, disposition=what)])
        self._keep(row)

    def _keep(self, one: Disposition) -> None:
        self._newest[one.fingerprint] = one
        self._said[Key(one.fingerprint, one.ref, one.what, one.revision)] = one.at


def as_seen(alert: Alert, seen: Seen) -> Alert:
    """An alert as it stood when it was judged: never more than it is now."""
    severity = min(seen.severity, alert.severity, key=SEVERITIES.index)
    entities = tuple(one for one in alert.entities if one.kind not in MEANS or one.name in seen.means)
    last = max(alert.first_seen, min(seen.last_seen, alert.last_seen))
    return msgspec.structs.replace(alert, severity=severity, count=min(seen.count, alert.count), last_seen=last, entities=entities)  # fmt: skip


def _at(one: Heard, now: float) -> float:
    return min(one.word.at, now) if 0 < one.word.at <= now + AHEAD else now


def _who(one: Heard) -> str:
    return f"{one.word.system}:{one.word.who or 'unknown'}"[:200]


def _reason(one: Heard) -> str:
    return f"{one.word.system} {one.word.ref}: {one.word.reason or one.word.value}"[:500]


def pull(settings: Pull, place: Path, feedback: Feedback, most: int = PAGES) -> bool:
    """Ask a SIEM for what is new since the last time; `place` keeps how far that was. False where more is waiting. Raises AfterguardError where it does not answer: what came before stays."""
    asked = opened(settings, feedback.clock)
    cursor = _kept(place)
    for _ in range(most):
        page = asked.page(cursor)
        feedback.take(read(page.documents))
        cursor = page.cursor
        _save(place, cursor)
        if page.is_last:
            return True
    return False


def _kept(place: Path) -> Cursor:
    try:
        return msgspec.json.decode(place.read_bytes(), type=Cursor)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        # Without it everything is read again, and known.
        return Cursor()


def _save(place: Path, cursor: Cursor) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    files.put(place, msgspec.json.encode(cursor))


def taken(feedback: Feedback, files: Iterable[bytes]) -> Outcome:
    """The outcome of files."""
    for data in files:
        feedback.take(read(data))
    return feedback.outcome
