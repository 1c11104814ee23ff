"""What each one did in a slice, counted: sums of the columns, and what was new to whom.

In: the columns of a slice, and which rows of a table its events belong to. Out: for each row and measure of that table how much it did; who is new to the application. What was ever seen together (a key and an
address, a user and a payee) is remembered here, of all applications in the same two memories.
"""

from __future__ import annotations

from typing import NamedTuple
from zlib import crc32

import numpy as np

from afterguard.watch.columns import AT, MEASURES, Column, Columns
from afterguard.watch.kinds import SCOPES
from afterguard.watch.seen import Numbers, Seen
from afterguard.watch.table import DAY, Table

JOURNEY = 7_200.0
"""Seconds in which nobody is in two countries by turns."""
NOVEL = {
    "key": (("new_addresses", "address"), ("new_places", "region"), ("new_places", "network"), ("new_places", "client"), ("new_documents", "document"), ("new_shapes", "shape"), ("new_payees", "payee")),
    "user": (("new_addresses", "address"), ("new_places", "region"), ("new_places", "network"), ("new_places", "client"), ("new_documents", "document"), ("new_shapes", "shape"), ("new_payees", "payee")),
    "address": (("new_documents", "document"), ("new_shapes", "shape"), ("new_payees", "payee"), ("identities", "who")),
    "device": (("new_addresses", "address"), ("new_documents", "document"), ("new_shapes", "shape"), ("new_payees", "payee"), ("identities", "user")),
    "network": (("new_documents", "document"), ("new_shapes", "shape"), ("new_payees", "payee"), ("identities", "who")),
    "client": (("new_documents", "document"), ("new_payees", "payee"), ("identities", "who")),
    "tenant": (("new_documents", "document"),),
    "app": (("new_documents", "document"),),
    "shape": (("identities", "who"),),
    "payee": (("identities", "who"),),
    "document": (("identities", "who"),),
}  # fmt: skip
"""What is new to whom: measure and the field whose values are counted once."""
READ = ("shape", "document", "template", "step")
"""Fields of which there are more values than of all others together."""
REPEATS = {"user": "template", "device": "template", "conversation": "step"}


class Active(NamedTuple):
    """Who of one scope did something in the slice."""

    rows: Numbers
    """Rows of the table, each once."""
    inverse: Numbers
    """Of each event that belongs to one: which of `rows`."""
    owners: Numbers
    """Which event that is. One with several documents or payees is there several times."""
    hashes: Numbers
    """The value by which it belongs to its row."""


def rows_of(table: Table, field: Column, now: float) -> Active:
    """A row for everybody there is room for."""
    place = table.admit(field.values, now)
    kept = place >= 0
    rows, inverse = np.unique(place[kept], return_inverse=True)
    return Active(rows, inverse, field.events[kept], field.hashes[kept])


class Counting:
    """Of one application."""

    def __init__(self, app: str, seen: Seen, read: Seen) -> None:
        self.seen, self.read = seen, read
        self.salt = np.uint64(crc32(app.encode("utf-8", "replace")))

    def turn(self, now: float) -> None:
        """Before a slice: forget what is too old."""
        self.seen.turn(now)
        self.read.turn(now)

    def newcomers(self, columns: Columns, now: float) -> None:
        """Put down the events of identities that were first seen today or yesterday."""
        who = columns.fields["who"]
        mine = _pairs(self.salt, 1, who.hashes, who.hashes)
        first_today = np.unique(who.hashes[~self.seen.is_marked(mine)])
        self.seen.mark(mine)
        # All events of an identity that is new today count as of a new one, once for each group it turns up in.
        day = np.uint64(now // DAY)
        self.seen.mark(_pairs(self.salt, 2, first_today, first_today ^ day))
        known = np.isin(who.hashes, first_today)
        for when in _lately(day):
            known |= self.seen.is_marked(_pairs(self.salt, 2, who.hashes, who.hashes ^ when))
        places = np.flatnonzero(known)
        columns.fields["new"] = Column([who.values[i] for i in places.tolist()], who.events[places], who.hashes[places])
        columns.measures[columns.fields["new"].events, AT["newcomers"]] = 1

    def strangers(self, columns: Columns, now: float) -> None:
        """Put down actions of a known user from where nothing fits: device, network and region are all new to this one since yesterday, and so is the payee where there is one."""
        user, payee, day = columns.fields["user"], columns.fields["payee"], np.uint64(now // DAY)
        if not len(user.events):
            return
        strange = np.ones(len(columns.events), dtype=bool)
        # To one that is new, or came back after weeks and is forgotten, everything is new.
        strange[columns.fields["new"].events] = False
        for number, name in enumerate(("device", "network", "region")):
            strange &= self._is_new_to(user, columns.fields[name], 3 + 2 * number, len(columns.events), day)
        # A traveller with a new telephone pays whom he always paid.
        is_new = self._is_new_to(user, payee, 9, len(columns.events), day)
        strange[payee.events] &= is_new[payee.events]
        columns.measures[:, AT["strange_moves"]] = columns.measures[:, AT["moves"]] * strange

    def _is_new_to(self, user: Column, other: Column, number: int, count: int, day: np.uint64) -> Numbers:
        """For each event, whether its user and this value came together for the first time today or yesterday."""
        whose = np.zeros(count, dtype=np.uint64)
        whose[user.events] = user.hashes
        has = np.zeros(count, dtype=bool)
        has[user.events] = True
        both = has[other.events]
        events, mine, theirs = other.events[both], whose[other.events[both]], other.hashes[both]
        new = self.seen.new(_pairs(self.salt, number, mine, theirs))
        self.seen.mark(_pairs(self.salt, number + 1, mine[new], theirs[new] ^ day))
        late = np.zeros(len(events), dtype=bool)
        for when in _lately(day):
            late |= self.seen.is_marked(_pairs(self.salt, number + 1, mine, theirs ^ when))
        answer = np.zeros(count, dtype=bool)
        answer[events[late]] = True
        return answer

    def amounts(self, table: Table, columns: Columns, who: Active, now: float) -> Numbers:
        """How much each row did of each measure of its table: (rows, measures)."""
        count = len(who.rows)
        amounts = np.zeros((count, len(table.columns)), dtype=np.float32)
        for at, measure in enumerate(table.columns):
            values = columns.measures[who.owners, measure]
            if measure == 0 or values.any():
                amounts[:, at] = np.bincount(who.inverse, weights=values, minlength=count)
        wanted = {MEASURES[c]: at for at, c in enumerate(table.columns)}
        self._novel(table, columns, who, wanted, amounts)
        if "active_hours" in wanted:
            hour = int(now // 3_600)
            amounts[:, wanted["active_hours"]] = table.hour[who.rows] != hour
            table.hour[who.rows] = hour
        if "even_gaps" in wanted:
            amounts[:, wanted["even_gaps"]] = _even(table, columns, who)
        if "switches" in wanted:
            amounts[:, wanted["switches"]] = _switches(table, columns, who)
        return amounts

    def _novel(self, table: Table, columns: Columns, who: Active, wanted: dict[str, int], amounts: Numbers) -> None:
        """Add what each came together with for the first time, and what it did again."""
        row_of = np.full(len(columns.events), -1, dtype=np.int64)
        row_of[who.owners] = who.inverse
        hash_of = np.zeros(len(columns.events), dtype=np.uint64)
        hash_of[who.owners] = who.hashes
        single = len(np.unique(who.owners)) == len(who.owners)
        parts = []
        for number, (name, other) in enumerate(_novel_of(table.scope)):
            if name not in wanted or not len(columns.fields[other].events):
                continue
            of_row, of_hash, theirs = _meet(columns.fields[other], row_of, hash_of, who, single)
            pairs = _pairs(self.salt, 16 * SCOPES.index(table.scope) + number + 64, of_hash, theirs)
            is_read = other in READ or table.scope in READ
            parts.append((wanted[name], name == "repeats", is_read, of_row, pairs))
        for memory, which in ((self.seen, False), (self.read, True)):
            mine = [part for part in parts if part[2] is which]
            if not mine:
                continue
            new = memory.new(np.concatenate([pairs for *_, pairs in mine]))
            start = 0
            for at, is_repeat, _, of_row, pairs in mine:
                fresh = new[start : start + len(pairs)]
                amounts[:, at] += np.bincount(of_row, weights=~fresh if is_repeat else fresh, minlength=len(who.rows))
                start += len(pairs)


def _lately(day: np.uint64) -> set[np.uint64]:
    """Today and yesterday."""
    return {day, max(day, np.uint64(1)) - np.uint64(1)}


def _pairs(salt: np.uint64, number: int, first: Numbers, second: Numbers) -> Numbers:
    """One 64-bit number for (application, what is counted, who, value)."""
    with np.errstate(over="ignore"):
        key = (salt << np.uint64(12)) ^ np.uint64(number)
        pairs: Numbers = ((first << np.uint64(32)) | (second & np.uint64(0xFFFFFFFF))) + key * np.uint64(
            0x9E3779B97F4A7C15
        )
        return pairs


def _novel_of(scope: str) -> tuple[tuple[str, str], ...]:
    rows: tuple[tuple[str, str], ...] = NOVEL.get(scope, ())
    if any(measure == "identities" for measure, _ in rows):
        rows = (*rows, ("new_identities", "new"))
    return (*rows, ("repeats", REPEATS[scope])) if scope in REPEATS else rows


def _meet(
    other: Column, row_of: Numbers, hash_of: Numbers, who: Active, single: bool
) -> tuple[Numbers, Numbers, Numbers]:
    """(row, its hash, the other's hash) for each value of `other` in an event of a row."""
    if single:
        rows = row_of[other.events]
        kept = rows >= 0
        return rows[kept], hash_of[other.events[kept]], other.hashes[kept]
    # Several of this scope in one event (documents, payees): the other has one value an event.
    value = np.zeros(len(hash_of), dtype=np.uint64)
    has = np.zeros(len(hash_of), dtype=bool)
    value[other.events], has[other.events] = other.hashes, True
    kept = has[who.owners]
    return who.inverse[kept], who.hashes[kept], value[who.owners[kept]]


def _even(table: Table, columns: Columns, who: Active) -> Numbers:
    """Gaps that are within a tenth of the gap before, and half a second or more, a row."""
    rows, times = who.rows, columns.times[who.owners]
    order = np.lexsort((times, who.inverse))
    row, at = who.inverse[order], times[order]
    first = np.append(True, row[1:] != row[:-1])
    before = np.append(0.0, at[:-1])
    before[first] = table.at[rows[row[first]]]
    gap = np.where(before > 0, at - before, 0.0)
    previous = np.append(0.0, gap[:-1])
    previous[first] = table.gap[rows[row[first]]]
    even = (gap >= 0.5) & (previous >= 0.5) & (np.abs(gap - previous) <= 0.1 * previous)
    last = np.append(first[1:], True)
    table.at[rows[row[last]]] = at[last]
    table.gap[rows[row[last]]] = gap[last]
    return np.bincount(row, weights=even, minlength=len(rows))


def _switches(table: Table, columns: Columns, who: Active) -> Numbers:
    """Events from another region than the one before them, less than JOURNEY seconds earlier, a row."""
    rows, region = who.rows, columns.fields["region"]
    of_event = np.zeros(len(columns.events), dtype=np.uint64)
    of_event[region.events] = region.hashes
    told = of_event[who.owners] > 0
    if not told.any():
        return np.zeros(len(rows))
    row, at, place = who.inverse[told], columns.times[who.owners][told], of_event[who.owners][told]
    order = np.lexsort((at, row))
    row, at, place = row[order], at[order], place[order]
    first = np.append(True, row[1:] != row[:-1])
    before, since = np.append(np.uint64(0), place[:-1]), np.append(0.0, at[:-1])
    before[first], since[first] = table.place[rows[row[first]]], table.placed[rows[row[first]]]
    switched = (before > 0) & (before != place) & (at - since < JOURNEY)
    last = np.append(first[1:], True)
    table.place[rows[row[last]]], table.placed[rows[row[last]]] = place[last], at[last]
    return np.bincount(row, weights=switched, minlength=len(rows))
