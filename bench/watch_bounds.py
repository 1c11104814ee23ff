"""What the watch over time holds when 1, 10 and 100 million identities pass by, against what its constants allow; and whether it still sees abuse after them.

    python bench/watch_bounds.py [--millions 1,10,100] [--days 5] [--json FILE]

Each size in a process of its own, through the guard's own part (`lookout.py`), which hands over what came, tells the time and keeps what it knows on disk. Nine tenths of the traffic are strangers who come
once, each with a key, a user, an address, a network, a device, a conversation and two documents that nobody had before, every second with a new payee, most with a text of their own; the others
are 5,000 people who come back. The days have a morning and a night. When the identities have gone by, two campaigns begin beside them: a key that pays one new payee after another, and a template that a thousand new identities send.

Exit code 1: something went over its bound, or a campaign was not found. 100 million take about an hour.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from afterguard.guard.journal import Journal
from afterguard.guard.lookout import Lookout
from afterguard.guard.metrics import Metrics
from afterguard.guard.part import Part, Place
from afterguard.model import Severity
from afterguard.watch import cooling, forgotten, live, seen, site, storm, topics
from afterguard.watch.alarm import Alarm
from afterguard.watch.event import Event, Move
from afterguard.watch.kept import MEASURED, ROWS
from afterguard.watch.kinds import KINDS, SCOPES, measures
from afterguard.watch.table import Table
from part_alone import Alone, peak, resident

START = 1_780_272_000.0
DAY = 86_400.0
STEP = 10.0
"""Seconds of the traffic's time from one look of the guard to the next."""
KEEP = 6 * 3_600.0
"""The same from one writing of the state to the next: the guard does it every ten minutes; what it takes is the same."""
PEOPLE = 5_000
STRANGERS = 0.9
PAYING = 0.5
A_STRANGER = 8 + PAYING
"""Identities of one stranger."""
AFTER = 6 * 3_600.0
"""Seconds that the campaigns last, while strangers go on passing by."""
VELOCITY = ("key 0000000000000007", "user 0000000000000007", "a 0000000000000007", "dev 0000000000000007", "m0")
TEMPLATE = 0x5EED


# -- what the constants allow

NAME = 320
"""Bytes of a row's name: two short texts' worth, its place in a list and in a dict that has just grown."""
ENTRY = 700
"""Bytes of one entry of what was told, with its names."""
EVENT = 2_500
"""Bytes of one event with its texts, and of its row in the columns while a slice is judged."""
ALARM = 25_000
"""Bytes of an alarm with a hundred moments."""
FIT = 40
"""Bytes of a number in a list that grows."""
REST = 24 << 20
"""Bytes of what is small: replies by model and prompt, samples of heavy requests, topics, seasons, and the arrays of one slice."""


def table_bytes() -> dict[str, int]:
    """Bytes of the full table of each scope, without the names."""
    out = {}
    for scope in SCOPES:
        rows = site.SIZES.get(scope, site.SIZE)
        table = Table(scope, measures(scope), 1)
        each = sum(getattr(table, name).nbytes for name in ROWS)
        out[scope] = rows * each + sum(getattr(table, name).nbytes for name in MEASURED) + 2 * forgotten.CELLS * 4
    return out


def bounds() -> dict[str, int]:
    """Bytes of what one application's watch knows, at most."""
    rows = sum(site.SIZES.get(scope, site.SIZE) for scope in SCOPES)
    return {
        "tables": sum(table_bytes().values()),
        "names": rows * NAME,
        "pairs": 4 * seen.BITS // 8,
        "told": (2 * cooling.CAP + 20_000) * ENTRY,
        "rest": REST,
    }


def passing(events: int, alarms: int, questions: int) -> int:
    """Bytes of what is there for a while: events of slices that are open, alarms that are held to come together, how well the questions of the last hour fitted."""
    return events * EVENT + alarms * ALARM + questions * FIT


MOST = {
    "events": Part.waiting + live.MOST + live.SITES * live.FEW,
    "alarms": len(KINDS) * storm.HELD,
    "questions": live.SITES * topics.MOST,
}
"""How many of these the constants allow."""


# -- traffic


class Crowd:
    """Strangers and people who come back, minute by minute."""

    def __init__(self, identities: int, days: float, seed: int = 1) -> None:
        self.rng = np.random.default_rng(seed)
        self.identities = 0
        self.strangers = 0
        self.events = 0
        self.a_second = identities / A_STRANGER / STRANGERS / (days * DAY)

    def step(self, at: float, seconds: float) -> list[Event]:
        """The events of some seconds from `at`."""
        rng = self.rng
        season = 1 + 0.6 * math.sin(2 * math.pi * (at / DAY - 0.3))
        count = int(rng.poisson(self.a_second * season * seconds))
        times = np.sort(at + rng.random(count) * seconds).tolist()
        draws = rng.random((count, 3)).tolist()
        texts = rng.integers(1, 1 << 62, size=(count, 3)).tolist()
        people = (PEOPLE * rng.random(count) ** 2).astype(int).tolist()
        return [self._event(*one) for one in zip(times, draws, texts, people, strict=True)]

    def _event(self, at: float, draw: list[float], text: list[int], person: int) -> Event:
        self.events += 1
        is_stranger = draw[0] < STRANGERS
        if is_stranger:
            self.strangers += 1
            who = f"{self.strangers:016x}"
            network, conversation = f"n{who}", f"c{who}"
            payee = f"p{who}" if draw[1] < PAYING else ""
            documents = (f"x{who}", f"y{who}")
            self.identities += 8 + bool(payee)
            mark = "s"
        else:
            who, mark = f"{person:016x}", ""
            network, conversation = f"m{person // 10:x}", f"d{who}{int(at // DAY):x}"
            documents = (f"x{text[0] % 30_000}", f"x{text[2] % 30_000}")
            payee = f"shop{text[2] % 500}" if draw[1] < PAYING / 10 else ""
        shape = text[1] % 50 + 1 if draw[2] < 0.05 else text[1]
        return Event(
            time=at, id=f"{self.events:032x}", app="bench", key=f"key {mark}{who}", user=f"user {mark}{who}", address=f"a {mark}{who}", network=network, region="DE",
            device=f"dev {mark}{who}", client="browser", conversation=conversation, model="m", prompt="p", seconds=1.5, input_tokens=400, output_tokens=200, cost=0.001, asked=text[0], shape=shape,
            answer=text[2], asked_size=300, answer_size=800, documents=documents, moves=(Move("pay", 20 + draw[2] * 80, "EUR", payee),) if payee else (),
        )  # fmt: skip


def campaigns(at: float, seconds: float, begun: float, rng: np.random.Generator) -> Iterator[Event]:
    """Of some seconds: a payment each minute by one known key to payees that are new, and a template by a thousand identities that are."""
    for moment in np.arange(math.ceil(at / 60) * 60, at + seconds, 60):
        n = int(moment)
        who = "0000000000000007"
        yield Event(time=float(moment), id=f"v{n:x}", app="bench", key=f"key {who}", user=f"user {who}", address=f"a {who}", network="m0", region="DE", device=f"dev {who}", client="browser",
                    conversation=f"v{n // 3600:x}", model="m", prompt="p", seconds=1.5, input_tokens=400, output_tokens=200, cost=0.001, asked=int(rng.integers(1 << 62)), shape=int(rng.integers(1 << 62)),
                    answer=int(rng.integers(1 << 62)), moves=(Move("pay", 300.0, "EUR", f"mule {n:x}"),))  # fmt: skip
    for _ in range(int(rng.poisson(3_000 / AFTER * seconds))):
        who = f"t{int(rng.integers(1_000)):x}"
        yield Event(time=at + float(rng.random()) * seconds, id=f"t{rng.integers(1 << 62):x}", app="bench", key=f"key {who}", user=f"user {who}", address=f"a {who}", network=f"net {who}", region="DE",
                    device=f"dev {who}", client="browser", conversation=f"conv {who}", model="m", prompt="p", seconds=1.5, input_tokens=400, output_tokens=200, cost=0.001,
                    asked=int(rng.integers(1 << 62)), shape=TEMPLATE, answer=int(rng.integers(1 << 62)))  # fmt: skip


# -- one size


class Looked(Alone, Lookout):
    """The guard's part, alone."""


def held(watch: live.Watch) -> dict[str, int]:
    """Bytes of each scope's table, and of the memory of pairs."""
    out = {
        scope: sum(getattr(table, name).nbytes for name in (*ROWS, *MEASURED)) + table.forgotten.cells.nbytes
        for one in watch.sites.values()
        for scope, table in one.tables.items()
    }
    return {**out, "pairs": sum(int(one.young.nbytes + one.old.nbytes) for one in (watch.seen, watch.read))}


class Run:
    """One size."""

    def __init__(self, identities: int, days: float, folder: Path) -> None:
        self.identities, self.days = identities, days
        self.empty = resident()
        journal = Journal(folder / "decisions.jsonl")
        self.part = Looked(Place(folder, journal, Metrics(), lambda text: text))
        self.crowd = Crowd(identities, days)
        self.taken = 0.0
        self.kept = 0
        self.most = {"events": 0, "alarms": 0, "questions": 0}
        """How many there were at once."""
        self.marks: list[tuple[int, float]] = []

    async def pass_by(self) -> dict[str, Any]:
        """All of it: the identities, then the campaigns beside more of them."""
        at, keep, mark, begun = START, START + KEEP, 0.0, 0.0
        rng = np.random.default_rng(2)
        while not begun or at < begun + AFTER:
            events = self.crowd.step(at, STEP)
            if not begun and self.crowd.identities >= self.identities:
                begun = at
                self._mark()
            if begun:
                events = sorted([*events, *campaigns(at, STEP, begun, rng)], key=lambda event: event.time)
            at += STEP
            await self._look(events, at)
            if at >= keep:
                self.kept, keep = max(self.kept, self.part.write()), at + KEEP
            if self.crowd.identities >= mark * self.identities:
                self._mark()
                mark += 0.05
        self.kept = max(self.kept, self.part.write())
        self._mark()
        return self.found(begun)

    async def _look(self, events: list[Event], now: float) -> None:
        begun = time.process_time()
        self.part.take(events)
        self._count(len(events))
        await self.part.step(now)
        self.taken += time.process_time() - begun

    def _count(self, new: int) -> None:
        watch = self.part.watch
        waiting = new + len(watch.open) + sum(map(len, watch.waiting.values()))
        held_ = sum(len(some) for one in watch.sites.values() for some in one.storms.held.values())
        fits = sum(len(one.topics.fits) for one in watch.sites.values())
        for name, count in (("events", waiting), ("alarms", held_), ("questions", fits)):
            self.most[name] = max(self.most[name], count)

    def _mark(self) -> None:
        self.marks.append((self.crowd.identities, round((resident() - self.empty) / 2**20, 1)))
        print(f"{self.marks[-1][0]:12,} identities, {self.crowd.events:11,} events: {self.marks[-1][1]:7,.0f} MiB more than the empty process", file=sys.stderr, flush=True)  # fmt: skip

    def found(self, begun: float) -> dict[str, Any]:
        """What it gave."""
        standing = self.part.watch.standing()[0]
        loud = [(at, alert) for at, alert in self.part.alerts if alert.hit.severity is not Severity.info]
        named = {name: [at for at, alert in loud if names(alert, name)] for name in ("velocity", "template")}
        false = Counter(
            alert.hit.kind for _, alert in loud if not names(alert, "velocity") and not names(alert, "template")
        )
        return {
            "identities": self.crowd.identities,
            "events": self.crowd.events,
            "events_a_second": round(self.crowd.events / self.taken),
            "empty_mib": round(self.empty / 2**20, 1),
            "resident_mib": self.marks,
            "peak_mib": peak(self.empty),
            "end_mib": self.marks[-1][1],
            "held": held(self.part.watch),
            "most": self.most,
            "kept_mb": round(self.kept / 1e6, 1),
            "minutes_to_find": {name: round((times[0] - begun) / 60, 1) if times else None for name, times in named.items()},
            "false_alarms": dict(false),
            "false_alarms_a_day": round(sum(false.values()) / (self.days + AFTER / DAY), 2),
            "standing": standing,
            "false_said": [f"{(at - START) / DAY:.2f} {alert.hit.kind}: {alert.hit.rule[:300]}" for at, alert in loud if not names(alert, "velocity") and not names(alert, "template")][:40],
        }  # fmt: skip


def names(alert: Alarm, campaign: str) -> bool:
    """Whether an alarm names somebody of a campaign."""
    assert alert.why is not None
    who = (alert.why.who, *alert.hit.identifiers)
    if campaign == "velocity":
        return any(name in VELOCITY or name.startswith("mule ") for name in who)
    return str(TEMPLATE) in who or any(" t" in name for name in who)


def over(one: dict[str, Any]) -> list[str]:
    """What went over its bound, and which campaign was not found."""
    allowed, tables = bounds(), table_bytes()
    out = [
        f"table {scope}: {size:,} of {tables[scope]:,} bytes"
        for scope, size in one["held"].items()
        if scope != "pairs" and size > tables[scope]
    ]
    known = sum(allowed.values())
    there = known + passing(**one["most"])
    # While it is kept: a copy of each part, the packed whole in a buffer that doubles, and what leaves the compressor; and a third memory of pairs when a generation ends.
    limits = (
        ("pairs", one["held"]["pairs"], allowed["pairs"]),
        ("on disk", one["kept_mb"] * 1e6, known),
        ("resident at the end", one["end_mib"] * 2**20, there),
        ("resident at most", one["peak_mib"] * 2**20, there + 3 * known + allowed["pairs"] // 2),
    )
    out += [f"{what}: {is_:,.0f} of {may:,.0f} bytes" for what, is_, may in limits if is_ > may]
    return out + [f"campaign not found: {name}" for name, minutes in one["minutes_to_find"].items() if minutes is None]


def show(one: dict[str, Any]) -> None:
    """One size in words."""
    allowed, scopes = bounds(), {scope: size for scope, size in one["held"].items() if scope != "pairs"}
    print(
        f"{one['identities']:,} identities in {one['events']:,} events, {one['events_a_second']:,} events/s of processor time"
    )
    print(
        f"  resident beside the empty process ({one['empty_mib']:.0f} MiB): {one['end_mib']:.0f} MiB at the end, {one['peak_mib']:.0f} MiB at most"
    )
    print(
        f"  tables {sum(scopes.values()) / 2**20:.1f} of {allowed['tables'] / 2**20:.1f} MiB, pairs {one['held']['pairs'] / 2**20:.0f} of {allowed['pairs'] / 2**20:.0f} MiB, kept on disk {one['kept_mb']:.1f} of {sum(allowed.values()) / 1e6:.0f} MB; at once at most {one['most']}"
    )
    print(f"  found after minutes: {one['minutes_to_find']}; false alarms {sum(one['false_alarms'].values())} ({one['false_alarms_a_day']} a day) {one['false_alarms']}", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--millions", default="1,10,100")
    parser.add_argument("--days", type=float, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", type=float, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            print(json.dumps(asyncio.run(Run(int(chosen.one * 1e6), chosen.days, Path(folder)).pass_by())))
        return
    print({part: f"{size / 2**20:,.0f} MiB" for part, size in bounds().items()}, "and at most", MOST)
    broken, all_ = [], []
    for millions in chosen.millions.split(","):
        done = subprocess.run([sys.executable, __file__, "--one", millions, "--days", str(chosen.days)], stdout=subprocess.PIPE, check=True)  # fmt: skip
        one = json.loads(done.stdout)
        show(one)
        all_.append(one)
        broken += [f"{millions} million: {what}" for what in over(one)]
    if chosen.json:
        chosen.json.write_text(json.dumps(all_, indent=1))
    if broken:
        sys.exit("\n".join(broken))


if __name__ == "__main__":
    main()
