"""How long cases took: the real thing from what alerts and journals say, drills from what they measured. The two are never in one list.

In: a room, cases, the store. Out: `Timed` rows and their middle. It carries nothing out.
"""

from __future__ import annotations

import statistics
from typing import NamedTuple

from afterguard.errors import AfterguardError
from afterguard.jobs import respond as job
from afterguard.respond.drill import DRILLED, Drilled
from afterguard.respond.exercise import Timed, timed
from afterguard.store import alerts
from afterguard.store.cases import Cases
from afterguard.store.connection import Connection


class Middle(NamedTuple):
    """Medians in seconds; None where no case says."""

    detect: float | None
    contain: float | None


def times(room: job.Room, cases: Cases, tenant: str, app: str) -> tuple[list[Timed], list[str]]:
    """A row for each real case, and what could not be told of others."""
    rows: list[Timed] = []
    unclear: list[str] = []
    for one in cases.list(tenant, app, every=True):
        if one.status == "merged" or one.drill:
            continue
        try:
            rows.append(timed(one, cases.get(one.id).alerts, contained(room, one.id)))
        except AfterguardError as error:
            unclear.append(f"{one.id}: {error}")
    return rows, unclear


def drills(store: Connection, tenant: str, app: str = "") -> tuple[Drilled, ...]:
    """Every drill that is over, oldest first."""
    return tuple(one for one in alerts.said(store, tenant, DRILLED, Drilled) if not app or one.app == app)


def drilled(one: Drilled) -> Timed:
    """The times of a drill, from its first byte on."""
    return Timed(one.case or f"drill {one.run}", one.app, one.kinds, one.began, one.alert, one.contained, is_drill=True)


def contained(room: job.Room, case: str) -> float | None:
    """When the first act of containment was proven; None where none was. Raises AfterguardError for a journal that does not verify."""
    if not room.journal_file(case).exists():
        return None
    found = job.read_journal(room, case)
    acts = {act.id for act in job.planned(found.lines) if act.phase == "contain"}
    return min((line.at for line in found.lines if line.what == "done" and line.act in acts), default=None)


def middle(rows: list[Timed]) -> Middle:
    """Medians over the cases that say."""
    detect = [one.detect for one in rows if one.detect is not None]
    contain = [one.contain for one in rows if one.contain is not None]
    return Middle(statistics.median(detect) if detect else None, statistics.median(contain) if contain else None)
