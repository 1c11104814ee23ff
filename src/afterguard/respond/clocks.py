"""Duties to report that a clock may run for. Dated data, asked before it is started, and never more than "possible duty, ask Legal".

In: catalog/clocks.yaml, a person's answers, the time they came to know. Out: `Running` clocks. It gives no legal advice and starts nothing by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from afterguard.policy.misfit import fitted

LABEL = "possible duty, ask Legal"
Day = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\d$")]


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something that has to be answered with yes."""

    id: str
    asks: str


class Deadline(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One report that may be due."""

    id: str
    what: str
    to: str
    hours: float = 0.0
    days: int = 0
    """Calendar days, where hours are 0."""
    business_days: int = 0
    months: int = 0
    only_if: str = ""
    """A further question."""
    note: str = ""


class Clock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One law."""

    id: str
    title: str
    starts: str
    """What it counts from, in words."""
    since: Day
    """From when it applies, as far as known."""
    source: str
    checked: Day
    """When somebody last looked, and how well: see `sure`."""
    sure: Literal["read in the text", "second hand", "not checked"]
    applies: list[Question]
    deadlines: list[Deadline]
    note: str = ""


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file."""

    format: Literal["afterguard.clocks/1"]
    clocks: list[Clock]


class Running(NamedTuple):
    """A clock that may be running."""

    clock: str
    deadline: str
    what: str
    to: str
    due: float
    """Seconds since the epoch, UTC."""
    left: float
    label: str
    source: str
    checked: str
    sure: str


class Found(NamedTuple):
    """What a look at the clocks gave."""

    running: tuple[Running, ...]
    unanswered: tuple[tuple[str, str, str], ...]
    """(clock, question id, question) that nobody answered: until then nothing is said of that clock."""
    not_applicable: tuple[str, ...]


def shipped() -> tuple[Clock, ...]:
    """Those of the catalogue."""
    return load((resources.files("afterguard.catalog") / "clocks.yaml").read_text(encoding="utf-8"), "clocks.yaml")


def load(text: str, name: str) -> tuple[Clock, ...]:
    """Clocks of a text. Raises UsageError."""
    return tuple(fitted(text, name, File, see="see catalog/clocks.yaml", slug="bad-clocks").clocks)


def running(clocks: Sequence[Clock], answers: Mapping[str, bool], aware: float, now: float) -> Found:
    """The clocks that may run since `aware`. A question without an answer keeps its clock from being spoken of; one no ends it."""
    rows: list[Running] = []
    open_: list[tuple[str, str, str]] = []
    none: list[str] = []
    for clock in clocks:
        asked = [answers.get(f"{clock.id}.{one.id}") for one in clock.applies]
        if False in asked:
            none.append(clock.id)
        elif None in asked:
            open_ += [
                (clock.id, one.id, one.asks) for one, said in zip(clock.applies, asked, strict=True) if said is None
            ]
        else:
            for one in clock.deadlines:
                said = answers.get(f"{clock.id}.{one.id}") if one.only_if else True
                if said is None:
                    open_.append((clock.id, one.id, one.only_if))
                elif said:
                    due = _due(one, aware)
                    rows.append(Running(clock.id, one.id, one.what, one.to, due, due - now, LABEL, clock.source, clock.checked, clock.sure))  # fmt: skip
    return Found(tuple(sorted(rows, key=lambda one: one.due)), tuple(open_), tuple(none))


def _due(one: Deadline, aware: float) -> float:
    start = datetime.fromtimestamp(aware, UTC)
    if one.hours:
        return (start + timedelta(hours=one.hours)).timestamp()
    if one.days:
        return (start + timedelta(days=one.days)).timestamp()
    if one.months:
        return _months(start, one.months).timestamp()
    day, left = start, one.business_days
    while left:  # weekends only: holidays differ by place, so the real date may be later
        day += timedelta(days=1)
        left -= day.weekday() < 5
    return day.timestamp()


def _months(start: datetime, months: int) -> datetime:
    year, month = divmod(start.month - 1 + months, 12)
    for day in range(start.day, 0, -1):
        try:
            return start.replace(year=start.year + year, month=month + 1, day=day)
        except ValueError:
            continue
    return start
