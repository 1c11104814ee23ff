"""What the watch over predictive models holds when 1 and 10 million callers pass by, against what its constants allow; and whether it still sees abuse after them.

    python bench/watch_predictive_bounds.py [--millions 1,10] [--days 0.25] [--width 12] [--json FILE]

Each size in a process of its own, through the guard's own part (`patrol.py`), which hands over what came, tells the time and keeps what it knows on disk. Nine tenths of the rows are of callers who come once, each
with a device that nobody had before, twenty to a network; the others of 2,000 callers who come back. Then three campaigns begin beside them: one caller who walks around a decision, one who copies the model, and a
thousand who copy it together.

Exit code 1: something went over its bound, or a campaign of a single caller was not found.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from afterguard.guard.journal import Journal
from afterguard.guard.metrics import Metrics
from afterguard.guard.models import Models
from afterguard.guard.part import Place
from afterguard.guard.patrol import Patrol
from afterguard.watch import predictive, seasons
from afterguard.watch.alarm import Alarm
from afterguard.watch.event import Event
from afterguard.watch.scored import ones, recent, records, swapped
from afterguard.watch.scored.block import SCOPES, nbytes
from afterguard.watch.scored.ones import Ones
from afterguard.watch.scored.records import Records
from part_alone import Alone, peak, resident

START = 1_780_272_000.0
DAY = 86_400.0
PEOPLE = 2_000
STRANGERS = 0.9
AFTER = 1_800.0
KEEP = 7_200.0
"""Seconds of the traffic's time from one writing of the state to the next: the guard does it every five minutes; what it takes is the same."""
CAMPAIGNS = ("walk", "copy", "copy together")
SINGLE = ("walk", "copy")

# -- what the constants allow

NAME = 320
"""Bytes of a name, its place in a list and in a dict that has just grown."""
SHOWN = 500
"""Bytes of a row that is kept for evidence: two names, five numbers."""


def one_bytes(width: int) -> int:
    """Bytes of one asker."""
    few = Ones(width)
    return nbytes(few) // len(few.last)


def bounds(width: int) -> dict[str, int]:
    """Bytes that each part of one model holds at most."""
    row = 600 + 40 * width
    askers = len(SCOPES) * ones.capacity(width) * one_bytes(width)
    names = len(SCOPES) * ones.capacity(width) * NAME + 10_000 * NAME
    evidence = recent.KEPT * SHOWN
    inputs = swapped.INPUTS * (400 + 40 * width)
    weeks = (seasons.PARTS + 2) * seasons.ROWS * row
    asked = nbytes(Records(width)) + (len(SCOPES) * records.NAMES + records.MOST_WHOLE // 2 + records.SHOWN) * NAME
    state = askers + names + evidence + inputs + weeks + asked
    return {
        "askers": askers,
        "names": names,
        "evidence": evidence,
        "inputs seen twice": inputs,
        "weeks": weeks,
        "records": asked,
        "events": (Patrol.waiting + predictive.MOST) * (1_500 + 40 * width),
        "on disk": state,
        "while keeping": 3 * state,
    }


# -- traffic


class Crowd:
    """Rows of strangers, of callers who come back, and of campaigns."""

    def __init__(self, callers: int, days: float, width: int) -> None:
        self.rng = np.random.default_rng(1)
        self.width = width
        self.mix = np.eye(width) + 0.3 * self.rng.normal(size=(width, width))
        self.weights = self.rng.normal(size=width) / 2
        self.a_second = callers / STRANGERS / (days * DAY)
        self.callers = self.events = 0

    def step(self, at: float) -> list[Event]:
        """The rows of the second that begins at `at`."""
        rng = self.rng
        count = int(rng.poisson(self.a_second))
        values = rng.normal(size=(count, self.width)) @ self.mix
        who = np.where(rng.random(count) < STRANGERS, -1, (PEOPLE * rng.random(count) ** 2).astype(int)).tolist()
        times = np.sort(at + rng.random(count)).tolist()
        return [self.event(row, moment, one) for row, moment, one in zip(values, times, who, strict=True)]

    def event(self, row: np.ndarray, at: float, who: int, name: str = "") -> Event:
        """One row of caller `who`, -1 for one who was never there."""
        self.events += 1
        if who < 0 and not name:
            self.callers += 1
            who = PEOPLE + self.callers
        name = name or f"{who:016x}"
        score = float(1 / (1 + np.exp(-row @ self.weights)))
        return Event(
            time=at, id=f"{self.events:032x}", app="bench", route="bench", key=f"k{name}", device=f"d{name}", network=f"n{name if who < 0 else who // 20}", model="m", version="1", operation="predict",
            features=tuple(row.tolist()), score=score, decision="no" if score > 0.5 else "yes",
        )  # fmt: skip

    def campaigns(self, since: float, at: float) -> list[Event]:
        """Of one second, `since` seconds after they began: a step of the walk every twenty seconds, a row of each copy every second."""
        out = []
        if int(since) % 20 == 0:
            row = self._point if since else self._begin()
            out.append(self.event(row + 0.12 * self.rng.normal(size=self.width), at, -1, "walk"))
        for name in ("copy", f"copy together {int(self.rng.integers(1_000))}"):
            out.append(self.event(self.rng.uniform(-3.5, 3.5, size=self.width), at, -1, name))
        return out

    def _begin(self) -> np.ndarray:
        """A usual row next to the decision."""
        row = self.rng.normal(size=self.width) @ self.mix
        self._point: np.ndarray = row - self.weights * float(row @ self.weights) / float(self.weights @ self.weights)
        return self._point


# -- one size


class Looked(Alone, Patrol):
    """The guard's part, alone."""


def names(alert: Alarm, campaign: str) -> bool:
    """Whether an alarm names somebody of a campaign."""
    who = " ".join((*alert.hit.identifiers, alert.hit.cause))
    return f"k{campaign}" in who and (campaign != "copy" or any(one == "kcopy" for one in alert.hit.identifiers))


class Run:
    """One size."""

    def __init__(self, callers: int, days: float, width: int, folder: Path) -> None:
        self.callers = callers
        self.empty = resident()
        self.part = Looked(Place(folder, Journal(folder / "decisions.jsonl"), Metrics(), lambda text: text), Models())
        self.crowd = Crowd(callers, days, width)
        self.taken = 0.0
        self.kept = 0
        self.marks: list[tuple[int, float]] = []

    async def pass_by(self) -> dict[str, Any]:
        """All of it: the callers, then the campaigns beside more of them."""
        at, keep, mark, begun = START, START + KEEP, 0.0, 0.0
        while not begun or at < begun + AFTER:
            events = self.crowd.step(at)
            if not begun and self.crowd.callers >= self.callers:
                begun = at
                self._mark()
            if begun:
                events += self.crowd.campaigns(at - begun, at)
            at += 1.0
            began = time.process_time()
            self.part.take(events)
            await self.part.step(at)
            self.taken += time.process_time() - began
            if at >= keep:
                self.kept, keep = max(self.kept, self.part.write()), at + KEEP
            if self.crowd.callers >= mark * self.callers:
                self._mark()
                mark += 0.05
        self.kept = max(self.kept, self.part.write())
        self._mark()
        return self.found(begun)

    def _mark(self) -> None:
        self.marks.append((self.crowd.callers, round((resident() - self.empty) / 2**20, 1)))
        print(f"{self.marks[-1][0]:12,} callers, {self.crowd.events:11,} rows: {self.marks[-1][1]:7,.0f} MiB more than the empty process", file=sys.stderr, flush=True)  # fmt: skip

    def found(self, begun: float) -> dict[str, Any]:
        """What it gave."""
        (model,) = self.part.watch.models.values()
        told = {name: [at for at, alert in self.part.alerts if names(alert, name)] for name in CAMPAIGNS}
        false = [(at, alert) for at, alert in self.part.alerts if not any(names(alert, name) for name in CAMPAIGNS)]
        return {
            "callers": self.crowd.callers,
            "rows": self.crowd.events,
            "rows_a_second": round(self.crowd.events / self.taken),
            "empty_mib": round(self.empty / 2**20, 1),
            "resident_mib": self.marks,
            "peak_mib": peak(self.empty),
            "end_mib": self.marks[-1][1],
            "askers": sum(map(nbytes, model.ones.values())),
            "kept_mb": round(self.kept / 1e6, 1),
            "minutes_to_find": {name: round((at[0] - begun) / 60, 1) if at else None for name, at in told.items()},
            "false_alarms": dict(Counter(alert.hit.kind for _, alert in false)),
            "false_said": [f"{(at - START) / DAY:.2f} {alert.hit.rule[:300]}" for at, alert in false][:40],
            "standing": self.part.watch.standing(),
        }


def over(one: dict[str, Any], width: int) -> list[str]:
    """What went over its bound, and which campaign was not found."""
    allowed = bounds(width)
    whole = sum(size for part, size in allowed.items() if part not in ("on disk", "while keeping"))
    limits = (
        ("askers", one["askers"], allowed["askers"]),
        ("on disk", one["kept_mb"] * 1e6, allowed["on disk"]),
        ("resident at the end", one["end_mib"] * 2**20, whole),
        ("resident at most", one["peak_mib"] * 2**20, whole + allowed["while keeping"]),
    )
    out = [f"{what}: {is_:,.0f} of {may:,.0f} bytes" for what, is_, may in limits if is_ > may]
    return out + [f"campaign not found: {name}" for name in SINGLE if one["minutes_to_find"][name] is None]


def show(one: dict[str, Any], width: int) -> None:
    """One size in words."""
    allowed = bounds(width)
    print(f"{one['callers']:,} callers in {one['rows']:,} rows, {one['rows_a_second']:,} rows/s of processor time")
    print(f"  resident beside the empty process ({one['empty_mib']:.0f} MiB): {one['end_mib']:.0f} MiB at the end, {one['peak_mib']:.0f} MiB at most")  # fmt: skip
    print(f"  askers {one['askers'] / 2**20:.1f} of {allowed['askers'] / 2**20:.1f} MiB, kept on disk {one['kept_mb']:.1f} of {allowed['on disk'] / 1e6:.0f} MB")  # fmt: skip
    print(f"  found after minutes: {one['minutes_to_find']}; false alarms {one['false_alarms']}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--millions", default="1,10")
    parser.add_argument("--days", type=float, default=0.25)
    parser.add_argument("--width", type=int, default=12)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", type=float, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            run = Run(int(chosen.one * 1e6), chosen.days, chosen.width, Path(folder))
            print(json.dumps(asyncio.run(run.pass_by())))
        return
    print({part: f"{size / 2**20:,.0f} MiB" for part, size in bounds(chosen.width).items()})
    broken, all_ = [], []
    for millions in chosen.millions.split(","):
        words = ["--one", millions, "--days", str(chosen.days), "--width", str(chosen.width)]
        done = subprocess.run([sys.executable, __file__, *words], stdout=subprocess.PIPE, check=True)
        one = json.loads(done.stdout)
        show(one, chosen.width)
        all_.append(one)
        broken += [f"{millions} million: {what}" for what in over(one, chosen.width)]
    if chosen.json:
        chosen.json.write_text(json.dumps(all_, indent=1))
    if broken:
        sys.exit("\n".join(broken))


if __name__ == "__main__":
    main()
