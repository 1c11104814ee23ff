"""How long cases took: from what alerts and journals say, drills and the real thing alike.

In: a room, cases. Out: `Timed` rows and their middle. It carries nothing out.
"""

from __future__ import annotations

import statistics
from typing import NamedTuple

from afterguard.errors import AfterguardError
from afterguard.jobs import respond as job
from afterguard.respond.exercise import Timed, timed
from afterguard.store.cases import Cases


class Middle(NamedTuple):
    """Medians in seconds; None where no case says."""

    detect: float | None
    contain: float | None


def times(room: job.Room, cases: Cases, tenant: str, app: str, *, is_drill: bool = False) -> tuple[list[Timed], list[str]]:  # fmt: skip
    """A row for each case, and what could not be told of others."""
    rows: list[Timed] = []
    unclear: list[str] = []
    for one in cases.list(tenant, app, every=True):
        if one.status == "merged":
            continue
        try:
            rows.append(timed(one, cases.get(one.id).alerts, contained(room, one.id), is_drill=is_drill))
        except AfterguardError as error:
            unclear.append(f"{one.id}: {error}")
    return rows, unclear


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
