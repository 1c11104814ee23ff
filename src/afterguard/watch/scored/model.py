"""Everything that is known of one predictive model's use, and what a block of its rows shows.

In: blocks of events in the order of time. Out: Alerts. Bounded by its parts: about 45 MB where all of them are full. Rows of another width than the model's are counted and not looked at, until STRANGE of them come in a row: then the model is another one, and is learned anew.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from afterguard.model import Confidence, Hit, Severity
from afterguard.watch.alarm import Alarm, Moment, of
from afterguard.watch.event import Event
from afterguard.watch.predictions import Row
from afterguard.watch.scored import alike, counts, crowds
from afterguard.watch.scored.alike import Found
from afterguard.watch.scored.block import SCOPES, Array, Block, Scales, block, width_of
from afterguard.watch.scored.corners import Corners
from afterguard.watch.scored.counts import Everybody
from afterguard.watch.scored.crowds import Crowds
from afterguard.watch.scored.ones import AT, Ones
from afterguard.watch.scored.recent import Recent
from afterguard.watch.scored.records import Harvest, Records
from afterguard.watch.scored.swapped import Swap, Swapped
from afterguard.watch.seasons import Seasons

ID = "scored"
WARM = 200
"""Rows before scales are trusted."""
STRANGE = 1_000
CHOICES = 64
DAY = 86_400.0
QUIET = {"evasion_walk": DAY}
"""Seconds until the same is told again of the same one; a week for what is not here."""
WEEK = 7 * DAY
WALK = ("AML.T0015", "AML.T0043", "CWE-693")
COPY = ("LLM10:2025", "LLM06:2026", "AML.T0024.002", "CWE-770")
POISON = ("LLM04:2025", "LLM05:2026", "AML.T0020", "AML.T0031", "CWE-349")
SWAP = ("LLM03:2025", "AML.T0010", "AML.T0018", "CWE-494")
KINDS = {
    "evasion_walk": (WALK, Severity.high, "the caller is a tester, or corrects one form in small steps"),
    "membership_probing": (
        ("AML.T0024.000", "CWE-359"),
        Severity.high,
        "the application tries small changes itself, for instance to explain a decision",
    ),
    "model_extraction": (COPY, Severity.high, "the owner's own test or monitoring"),
    "boundary": (
        COPY,
        Severity.high,
        "the caller is sent only doubtful cases, for instance a desk that reviews them",
    ),
    "label_harvesting": (COPY, Severity.medium, "a batch job of the owner's own"),
    "poisoning_suspected": (POISON, Severity.high, "a customer whose own customers change"),
}


class Model:
    """State of one model."""

    def __init__(self, name: str, width: int) -> None:
        self.name = name
        self.scales = Scales(width)
        self.ones = {scope: Ones(width) for scope in SCOPES}
        self.everybody = Everybody(width)
        self.crowds = Crowds()
        self.corners = Corners(width)
        self.records = Records(width)
        self.swapped = Swapped(width)
        self.seasons = Seasons(self.scales)  # type: ignore[arg-type]  # asks for names and is_text only
        self.recent = Recent()
        self.choices: dict[str, int] = {}
        self.told: dict[str, float] = {}
        """Kind and caller -> when it was told of."""
        self.strange = 0
        self.overlooked = 0

    def feed(self, events: Sequence[Event]) -> list[Alarm]:
        """What these rows show."""
        width = self.scales.width
        mine = [event for event in events if width_of(event.features) == width]
        if not mine:
            return self._other_width(events)
        self.strange = 0
        self.overlooked += len(events) - len(mine)
        return self._look(block(mine, self.scales))

    def _other_width(self, events: Sequence[Event]) -> list[Alarm]:
        self.strange += len(events)
        self.overlooked += len(events)
        if self.strange >= STRANGE:
            overlooked, width = self.overlooked, width_of(events[-1].features)
            Model.__init__(self, self.name, width)
            self.overlooked = overlooked
        return []

    def _look(self, rows: Block) -> list[Alarm]:
        is_warm = self.scales.seen >= WARM
        caps, numeric = self.scales.caps, self._numeric()
        choices = np.array([self._choice(one) for one in rows.decisions], dtype=np.int64)
        self.everybody.learn(rows)
        swaps, new = self.swapped.look(rows)
        out = [self._swap(one) for one in swaps]
        places = {scope: self._places(scope, rows) for scope in SCOPES}
        boxes = crowds.boxes_of(rows.standard)
        serials = {
            scope: np.where(at >= 0, self.ones[scope].serial[at], -1) for scope, at in places.items() if at is not None
        }
        self.recent.add(rows, serials, boxes)
        for scope, at in places.items():
            if at is not None:
                found = self._ones(scope, rows, at, choices, caps, numeric, is_warm)
                out += self._alerts(scope, found, float(rows.times[-1]))
        if self.scales.seen >= crowds.WARM:
            out += [self._crowd(one) for one in self.crowds.look(rows, boxes, new, choices)]
            harvest = self.records.look(rows, new, self.scales.deviation, self.corners.near)
            out += [self._harvest(harvest)] if harvest else []
        for copied in self.corners.look(rows, caps):
            out.append(
                self._alert(
                    "model_extraction", "many callers", copied.says, copied.moments, copied.callers, Severity.medium
                )
            )
        return out + self._seasonal(rows)

    def _choice(self, decision: str) -> int:
        """A number for each decision; those beyond CHOICES are one."""
        found = self.choices.get(decision)
        if found is None:
            found = len(self.choices)
            if found < CHOICES:
                self.choices[decision] = found
        return found

    def _numeric(self) -> Array:
        return np.flatnonzero((self.scales.deviation > 0) & ~np.array(self.scales.is_text or [False], dtype=bool))

    def _places(self, scope: str, rows: Block) -> Array | None:
        names = rows.who[scope]
        if not any(names):
            return None
        ones = self.ones[scope]
        found = ones.admit(names, float(rows.times[-1]))
        np.add.at(ones.asked, found[found >= 0], 1)
        return found

    def _ones(
        self, scope: str, rows: Block, at: Array, choices: Array, caps: Array, numeric: Array, is_warm: bool
    ) -> list[Found]:
        ones = self.ones[scope]
        fresh = alike.fresh(rows, at, ones)
        found = counts.look(rows, fresh, at, ones, self.everybody, numeric, is_warm=is_warm)
        return found + alike.look(rows, fresh, at, ones, choices, caps, self.corners.near, is_warm=is_warm)

    def _seasonal(self, rows: Block) -> list[Alarm]:
        out: list[Alarm] = []
        for n, values in enumerate(rows.values.tolist()):
            score = float(rows.scores[n])
            out += self.seasons.feed(
                Row(
                    rows.ids[n],
                    float(rows.times[n]),
                    rows.who["caller"][n],
                    tuple(values),
                    rows.decisions[n],
                    None if score != score else score,
                )
            )
        return [
            one._replace(
                hit=_renamed(one, f"{one.hit.cause}, model {self.name}"[:100], f"model {self.name}: {one.hit.rule}")
            )
            for one in out
        ]

    # -- alerts

    def _alerts(self, scope: str, found: list[Found], now: float) -> list[Alarm]:
        out = []
        ones = self.ones[scope]
        for place, kind, says in found:
            if 0 <= now - ones.told[place, AT[kind]] < QUIET.get(kind, WEEK):
                continue
            ones.told[place, AT[kind]] = now
            moments, callers = self.recent.of(scope, int(ones.serial[place]))
            if scope != "caller":
                if len(callers) < 2 or all(self._is_known(kind, name, now) for name in callers):
                    continue
                says = f"{len(callers)} callers or more, together: {says}"
            self._remember(kind, callers, now)
            name = ones.names[place]
            out.append(self._alert(kind, f"{scope} {name}", says, moments, callers or [name]))
        return out

    def _remember(self, kind: str, callers: Sequence[str], now: float) -> None:
        for name in callers:
            self.told[f"{kind} {name}"] = now
        while len(self.told) > 10_000:
            del self.told[next(iter(self.told))]

    def _is_known(self, kind: str, name: str, now: float) -> bool:
        return 0 <= now - self.told.get(f"{kind} {name}", -np.inf) < QUIET.get(kind, WEEK)

    def _alert(
        self,
        kind: str,
        who: str,
        says: str,
        moments: list[Moment],
        callers: Sequence[str],
        severity: Severity | None = None,
        confidence: Confidence = Confidence.medium,
    ) -> Alarm:
        taxonomies, usual, would_change = KINDS[kind]
        return of(
            "model_extraction" if kind == "boundary" else kind, ID, taxonomies, moments, severity=severity or usual, confidence=confidence,
            cause=f"{who}, model {self.name}"[:160], rule=f"model {self.name}, {who[:60]}: {says}", would_change=would_change, callers=callers,
        )  # fmt: skip

    def _crowd(self, one: crowds.Crowd) -> Alarm:
        moments, callers = self.recent.inside(one.box, one.since)
        return self._alert("evasion_walk", f"inputs around one point ({one.box:016x})", one.says, moments, callers)

    def _harvest(self, one: Harvest) -> Alarm:
        self._remember("membership_probing", one.callers, one.moments[-1][1] or 0.0)
        who = f"{len(one.names)} {one.scope}s together"
        return self._alert("membership_probing", who, one.says, one.moments, one.names)

    def _swap(self, one: Swap) -> Alarm:
        return of(
            "model_swap", ID, SWAP, one.moments, severity=Severity.high, confidence=one.confidence, cause=f"model {self.name}, version {one.version or 'unknown'}"[:100],
            rule=f"model {self.name}: {one.says}", would_change=one.would_change,
        )  # fmt: skip


def _renamed(alert: Alarm, cause: str, rule: str) -> Hit:

    return msgspec.structs.replace(alert.hit, cause=cause, rule=rule, detector=ID)
