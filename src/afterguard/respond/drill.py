"""What a live-fire drill showed: what the guard held off, what had its way and was told, what had its way and nobody was told of, and how long it all took. Pure.

In: how the trials of an attack ended, when each of its requests was sent, what the guard wrote of them, what somebody was told. Out: `Drilled`, as text or Markdown. It sends nothing and knows no clock.

Theory of operation. The guard does not know trials, the attack does not know decisions; what joins them is the time: requests of a drill are sent one after the other, by a caller who does nothing else, so a line of that caller belongs to the request during which it was written down. A trial was told where an alert that
left stands for one of its exchanges. What is tried once containment holds shows the containment and says nothing of the guard's rules: it is counted apart.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

import msgspec

from afterguard.attack.assessment import Known
from afterguard.attack.trial import Result, Verdict
from afterguard.model import SEVERITIES, Severity
from afterguard.safe import line, markdown
from afterguard.watch.triage import Sighting

SLACK = 0.01
"""Seconds that a line may be away from its request."""
CUT = 0.001
"""A line's time is cut to milliseconds."""
CONTROL = "control/"
DRILLED = "drilled"
"""What is said in the store of a drill that is over."""
Outcome = Literal["held_off", "had_its_way", "resisted", "unknown"]


class Asked(NamedTuple):
    """A request of the drill that was answered."""

    trial: str
    began: float
    ended: float


class Heard(NamedTuple):
    """What the guard wrote of an exchange."""

    exchange: str
    time: float
    mode: str
    is_held_off: bool
    sightings: tuple[Sighting, ...] = ()


class Tried(msgspec.Struct, frozen=True):
    """One trial."""

    trial: str
    outcome: Outcome
    seen: tuple[str, ...] = ()
    """Kinds of hits the guard wrote down."""
    is_told: bool = False
    is_after: bool = False
    """Whether it began once containment held."""
    reason: str = ""


class Row(msgspec.Struct, frozen=True):
    """A technique, over its trials before containment."""

    technique: str
    title: str
    severity: Severity
    held_off: int
    told: int
    """Had its way, and somebody was told."""
    untold: int
    """Had its way, and nobody was told."""
    resisted: int
    """Passed the guard, and the application did not give way."""
    unseen: int
    """Of those, without a hit of the guard."""
    unknown: int


class Act(msgspec.Struct, frozen=True):
    """What became of one act of the playbook."""

    step: str
    target: str
    state: str
    says: str


class Drilled(msgspec.Struct, frozen=True, tag_field="format", tag="afterguard.drill/1"):
    """A drill that is over. Times are seconds since its first byte, None where it did not come to that."""

    run: str
    target: str
    app: str
    began: float
    """Its first byte at the guard: seconds since the epoch, UTC."""
    identities: tuple[str, ...]
    requests: int
    alert: float | None
    contained: float | None
    undone: float | None
    """Until everything was taken back and the guard said so."""
    rows: tuple[Row, ...]
    trials: tuple[Tried, ...]
    modes: tuple[str, ...] = ()
    alerts: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    case: str = ""
    playbook: str = ""
    containment: str = ""
    """In words: dry run, contained, what it waits for, why not."""
    acts: tuple[Act, ...] = ()
    after: int = 0
    """Requests once containment held."""
    after_refused: int = 0
    strangers: int = 0
    """Lines of its callers that no request of it explains."""
    stopped: str = ""
    is_first_day: bool = False
    """Whether no watch had learnt here what is usual."""
    left: int = 0
    """What was planted and is not known to be gone."""
    problems: tuple[str, ...] = ()

    @property
    def untold(self) -> tuple[Row, ...]:
        """What had its way and nobody was told of, the gravest first."""
        return tuple(sorted((one for one in self.rows if one.untold), key=lambda one: -SEVERITIES.index(one.severity)))


class Joined(NamedTuple):
    """Lines by the trial they belong to, and how many belong to none."""

    of: dict[str, list[Heard]]
    strangers: int


def joined(asked: Sequence[Asked], heard: Iterable[Heard]) -> Joined:
    """Which line is of which trial: of the request during which it was written, else of one that is no more than SLACK away. Requests follow each other, so that the next one may begin within SLACK."""
    starts = [one.began - SLACK for one in asked]
    out: dict[str, list[Heard]] = {}
    strangers = 0
    for one in heard:
        last = bisect_right(starts, one.time) - 1
        near = [(max(each.began - one.time - CUT, one.time - each.ended, 0.0), -at) for at in range(max(0, last - 1), last + 1) if (each := asked[at])]  # fmt: skip
        away, at = min(near, default=(math.inf, 0))
        if away > SLACK:
            strangers += 1
        else:
            out.setdefault(asked[-at].trial, []).append(one)
    return Joined(out, strangers)


def tried(
    ends: Sequence[tuple[str, Result]],
    asked: Sequence[Asked],
    lines: Joined,
    is_told: Callable[[Heard], bool],
    contained: float | None,
) -> tuple[Tried, ...]:
    """What became of each trial."""
    began = {one.trial: one.began for one in reversed(asked)}
    out = []
    for trial, result in ends:
        mine = lines.of.get(trial, [])
        outcome: Outcome = _outcome(result, mine)
        seen = tuple(dict.fromkeys(hit.kind for one in mine for hit in one.sightings))
        is_after = contained is not None and began.get(trial, 0.0) >= contained
        out.append(Tried(trial, outcome, seen, any(map(is_told, mine)), is_after, result.reason))
    return tuple(out)


def _outcome(result: Result, mine: Sequence[Heard]) -> Outcome:
    if result.verdict is Verdict.succeeded:
        return "had_its_way"
    if result.reason == "blocked" or any(one.is_held_off for one in mine):
        return "held_off"
    return "resisted" if result.verdict is Verdict.resisted else "unknown"


def rows(techniques: Sequence[Known], trials: Sequence[Tried]) -> tuple[Row, ...]:
    """Every technique that was tried before containment held."""
    out = []
    for one in techniques:
        mine = [row for row in trials if row.trial.split("/")[0] == one.id and not row.is_after]
        if not mine:
            continue
        passed = [row for row in mine if row.outcome == "had_its_way"]
        resisted = [row for row in mine if row.outcome == "resisted"]
        told, held = sum(row.is_told for row in passed), sum(row.outcome == "held_off" for row in mine)
        unseen = sum(not row.seen for row in resisted)
        unknown = len(mine) - len(passed) - len(resisted) - held
        out.append(Row(one.id, one.title, one.severity, held, told, len(passed) - told, len(resisted), unseen, unknown))
    return tuple(out)


UNTRIED = "not known: no technique was tried"
STAGES = (("alert", "somebody was told"), ("contained", "contained and proven"), ("undone", "undone and proven"))


def text(one: Drilled) -> str:
    """For a terminal."""
    out = [f"drill {one.run}: {line(one.target)}, guard in mode {', '.join(one.modes) or 'unknown'}, {one.requests} requests" + (f"; ended because {line(one.stopped)}" if one.stopped else "")]  # fmt: skip
    out += [f"  first byte -> {says:<22} {_seconds(getattr(one, name))}" for name, says in STAGES]
    out.append(f"  containment: {line(one.containment)}" + (f"; {one.after_refused} of {one.after} requests after it were refused" if one.after else ""))  # fmt: skip
    found = [f"{row.technique} ({row.severity}, {row.untold} of {_all(row)})" for row in one.untold]
    out.append(f"GOT THROUGH AND NOBODY WAS TOLD: {', '.join(found) or ('nothing' if one.rows else UNTRIED)}")
    for says, name in (("got through, and told", "told"), ("held off by the guard", "held_off"), ("passed the guard; the application resisted", "resisted"), ("not known", "unknown")):  # fmt: skip
        found = [f"{row.technique} ({getattr(row, name)} of {_all(row)})" for row in one.rows if getattr(row, name)]
        out.append(f"  {says}: {', '.join(found) or 'nothing'}")
    out += [f"  {act.state:<8} {act.step}: {line(act.target)}: {line(act.says)}" for act in one.acts]
    return "\n".join(out + [f"  note: {line(row)}" for row in notes(one)]) + "\n"


def as_markdown(one: Drilled) -> str:
    """For whoever was not there."""
    out = [f"# Drill {one.run}: {markdown(one.target)}", "", f"Guard in mode {', '.join(one.modes) or 'unknown'}, {one.requests} requests of our own{f'; it ended because {markdown(one.stopped)}' if one.stopped else ''}. It was a drill: nobody attacked.", ""]  # fmt: skip
    out += [f"- first byte to {says}: {_seconds(getattr(one, name))}" for name, says in STAGES]
    out += [f"- containment: {markdown(one.containment)}" + (f"; {one.after_refused} of {one.after} requests after it were refused" if one.after else "")]  # fmt: skip
    out += ["", "## Got through, and nobody was told", ""]
    out += [f"- **{markdown(row.title)}** (`{row.technique}`, {row.severity}): {row.untold} of {_all(row)}" for row in one.untold] or ["Nothing." if one.rows else f"{UNTRIED.capitalize()}."]  # fmt: skip
    out += ["", "## All that was tried", "", "| technique | severity | held off | through, told | through, NOT told | resisted by the application | of these unseen | not known |", "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    out += [f"| {markdown(row.title)} | {row.severity} | {row.held_off} | {row.told} | {row.untold} | {row.resisted} | {row.unseen} | {row.unknown} |" for row in one.rows]  # fmt: skip
    if one.acts:
        out += ["", f"## What the playbook did (case `{one.case}`)", ""]
        out += [f"- {act.state}: {act.step}, {markdown(act.target)}: {markdown(act.says)}" for act in one.acts]
    return "\n".join([*out, "", "## Notes", "", *(f"- {markdown(row)}" for row in notes(one))]) + "\n"


def notes(one: Drilled) -> list[str]:
    """What has to be known to read it."""
    out = []
    if one.is_first_day:
        out.append("no watch has learnt here what is usual: alerts are those of an application's first day, when only what is sure and grave is told at once")  # fmt: skip
    if one.strangers:
        out.append(f"{one.strangers} lines of its callers fit no request of it: somebody else uses that key, or the clocks differ")  # fmt: skip
    if one.left:
        out.append(f"{one.left} things were planted and are not known to be gone: the attack's journal lists them")
    return out + list(one.problems)


def _all(row: Row) -> int:
    return row.held_off + row.told + row.untold + row.resisted + row.unknown


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f} s"
