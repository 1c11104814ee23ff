"""The watch over time in figures: which campaigns it finds, how soon, and how often it cries for nothing.

    python bench/watch_figures.py [--engine MODULE:NAME] [--seeds 1001-1003] [--per-day 1000000] [--json FILE] [--merge FILE ...]

An engine is anything that gives an object with `feed(event) -> list of alerts` and `tick(now)`; the peer (`threshold.py`) runs beside it over the same events. Seeds 1 to 20 are for
development, 1001 and on for figures. Each seed: days to learn from, days without campaigns (every alert there is false), days with every kind of campaign, first with few identities, then spread
over a thousand.

What counts:
- Detected: alerts within the campaign's time (and an hour or a tenth of it more) name values that together cover a fifth of its requests: its accounts, devices, networks, payees, its template.
  A campaign that changes a model is named by its application, without a person, in words that fit.
- Noticed: only the application was named, or less than a fifth. Not counted as detected.
- False: an alert that names nothing of any campaign, or only an application in which none is running.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import re
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

sys.path.insert(0, str(Path(__file__).parent))

from afterguard.watch.event import Event
from threshold import Watch as Peer
from traffic import DAY, Campaign, Plan, Stream
from traffic.apps import APPS, BY_NAME
from traffic.people import key_of_app
from traffic.rows import name_of

ENOUGH = 0.2
IDENTITIES = ("key", "user", "address", "network", "device", "conversation", "payee")
ORDINARY = {name for app in APPS for name, _ in app.clients} | {
    "openai-python",
    "java-client",
    "probe",
    "searchbot",
    "tablet-app",
}
WORD = re.compile(r"[\w.\-]+")
PERSON = re.compile(r"[kuandcp][0-9a-f]{9,16}")
SUBJECTS = ("entities", "entity", "group", "groups", "pattern", "names", "subject", "app", "model")


# -- what an alert says


def said(alert: Any) -> set[str]:
    """Every value an alert names: those in its entities where it has any, otherwise all it holds. Numbers also in hexadecimal, as sketches and shapes are written."""
    parts = [getattr(alert, name) for name in SUBJECTS if hasattr(alert, name)]
    has = any(hasattr(alert, name) for name in SUBJECTS[:-2])
    return set(leaves(parts if has else plain(alert)))


def plain(alert: Any) -> Any:
    return alert if isinstance(alert, tuple) else msgspec.to_builtins(alert)


def leaves(value: Any) -> Iterable[str]:
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, str):
        yield value
        yield from WORD.findall(value)
    elif isinstance(value, int):
        yield from (str(value), f"{value:x}", f"{value:016x}")
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from leaves(name)
            yield from leaves(one)
    elif isinstance(value, list | tuple | set | frozenset):
        for one in value:
            yield from leaves(one)
    elif hasattr(value, "__struct_fields__") or hasattr(value, "__dataclass_fields__"):
        yield from leaves(msgspec.to_builtins(value))


def words_of(alert: Any) -> str:
    """Its kind and cause, wherever they stand (an `Alarm` of a series holds them in its hit)."""
    hit = getattr(alert, "hit", alert)
    return f"{getattr(hit, 'kind', '')} {getattr(hit, 'cause', '')}".lower()


def kind_of(alert: Any) -> str:
    return str(getattr(getattr(alert, "hit", alert), "kind", type(alert).__name__))


# -- what is true


@dataclass
class Truth:
    """The rows of one campaign, by what names them."""

    campaign: Campaign
    rows: int = 0
    named: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    """Values that name it -> its rows that carry them."""
    carried: Counter[str] = field(default_factory=Counter)
    """Any identity -> how many of its rows carry it."""
    hit_at: float = math.inf
    """When a detector first said something of one of its rows."""

    def note(self, event: Event, is_hit: bool = False) -> None:
        if is_hit:
            self.hit_at = min(self.hit_at, event.time)
        for name in self.campaign.names:
            for value in values(event, name):
                self.named[value].add(self.rows)
        for name in IDENTITIES:
            self.carried.update(values(event, name))
        self.rows += 1

    @property
    def last(self) -> float:
        return self.campaign.end + max(3_600.0, 360.0 * self.campaign.hours)


def values(event: Event, name: str) -> list[str]:
    """What stands in this column, as alerts may write it."""
    if name == "app":
        return []
    if name == "payee":
        return [move.payee for move in event.moves]
    value = getattr(event, name)
    if not value or value in ORDINARY:
        return []
    return [str(value), f"{value:x}", f"{value:016x}"] if isinstance(value, int) else [value]


@dataclass
class Said:
    """One alert, as far as the examination needs it."""

    time: float
    kind: str
    words: str
    names: set[str]
    is_again: bool = False
    """Whether it revises one that was told before: what it adds counts as named, and it is no alert more."""


@dataclass
class Found:
    """How one campaign fared."""

    seed: int
    kind: str
    variant: str
    slow: bool
    identities: int
    requests: int
    minutes: float | None = None
    """From its first harm to the alert that made it named well enough."""
    from_hit: float | None = None
    """Minutes from its first hit, of a detector or an alarm of the watch that names it, to the first alert that does; where the engine tells of hits."""
    noticed: bool = False
    fits: bool = False
    """Whether kind or cause of an alert that named it use one of the words one would expect."""
    alerts: int = 0
    kinds: dict[str, int] = field(default_factory=dict)


@dataclass
class Seed:
    """One engine over one seed."""

    engine: str
    seed: int
    events: int
    per_day: int
    seconds: float
    learning_alerts: int
    quiet_days: float
    examined_days: float
    false_quiet: int
    false_examined: int
    false_kinds: dict[str, int]
    false_samples: list[str]
    campaigns: list[Found]


# -- the run


@dataclass
class Examined:
    """An engine while it is being fed."""

    name: str
    engine: Any
    alerts: list[Said] = field(default_factory=list)
    alarms: list[Said] = field(default_factory=list)
    """What went into it, where it is one that turns hits and alarms into alerts: it has `hits(event)` and `alarms`."""
    seconds: float = 0.0
    next_tick: float = 0.0

    def feed(self, events: list[Event]) -> None:
        began = time.process_time()
        feed, tick, due = self.engine.feed, self.engine.tick, self.next_tick
        got: list[tuple[float, Any]] = []
        for event in events:
            if event.time >= due:
                got += [(event.time, alert) for alert in tick(event.time) or ()]
                due = event.time + 60
            for alert in feed(event) or ():
                got.append((event.time, alert))
        self.next_tick = due
        self.seconds += time.process_time() - began
        self.alerts += [heard(at, alert) for at, alert in got]
        if alarms := getattr(self.engine, "alarms", None):
            self.alarms += [heard(at, alarm) for at, alarm in alarms]
            alarms.clear()


def heard(at: float, alert: Any) -> Said:
    """An alert or alarm, as the examination needs it."""
    return Said(at, kind_of(alert), words_of(alert), said(alert), getattr(alert, "is_again", False))


def examine(
    seed: int, plan: Plan, engines: dict[str, Callable[[], Any]], tell: Callable[[str], None], minutes: float = math.inf
) -> list[Seed]:
    """All engines over the same events; after so many minutes what has been seen by then is judged, and campaigns that are not over are left out."""
    until = time.monotonic() + 60 * minutes
    reached = plan.end
    stream = Stream(seed, plan)
    truths = {one.number: Truth(one) for one in stream.campaigns}
    running = [Examined(name, make()) for name, make in engines.items()]
    hits = next((one.engine.hits for one in running if hasattr(one.engine, "hits")), None)
    count, day = 0, 0
    for events, labels in stream.blocks():
        for at, number in enumerate(labels):
            if number:
                truths[number].note(events[at], hits is not None and bool(hits(events[at])))
        for one in running:
            one.feed(events)
        count += len(events)
        if events and (events[-1].time - plan.start) // DAY > day:
            day = int((events[-1].time - plan.start) // DAY)
            reached = events[-1].time if time.monotonic() > until else plan.end
            tell(
                f"seed {seed}: day {day} of {plan.days}, {count:,} events, alerts: {', '.join(f'{one.name} {len(one.alerts)}' for one in running)}"
            )
        if reached < plan.end:
            break
    return [judged(one, stream, seed, count, list(truths.values()), reached) for one in running]


def judged(
    run: Examined, stream: Stream, seed: int, count: int, truths: list[Truth], reached: float = math.inf
) -> Seed:
    """What its alerts were worth, up to the moment that was reached."""
    reached = min(reached, stream.plan.end)
    later = [alert for alert in run.alerts if alert.time >= stream.quiet_from]
    wrong = [
        alert for alert in later if not alert.is_again and not any(explains(truth, alert, seed) for truth in truths)
    ]
    return Seed(
        engine=run.name,
        seed=seed,
        events=count,
        per_day=stream.plan.per_day,
        seconds=run.seconds,
        learning_alerts=sum(not alert.is_again for alert in run.alerts) - sum(not alert.is_again for alert in later),
        quiet_days=max(0.0, min(reached, stream.examined_from) - stream.quiet_from) / DAY,
        examined_days=max(0.0, reached - stream.examined_from) / DAY,
        false_quiet=sum(alert.time < stream.examined_from for alert in wrong),
        false_examined=sum(alert.time >= stream.examined_from for alert in wrong),
        false_kinds=dict(Counter(alert.kind for alert in wrong)),
        false_samples=[f"day {(alert.time - stream.plan.start) / DAY:.2f}: {alert.words[:300]} | {' '.join(sorted(alert.names))[:300]}" for alert in wrong[:: max(1, len(wrong) // 40)]],
        campaigns=[fared(truth, later, run.alarms, seed) for truth in truths if truth.rows and truth.campaign.end <= reached],
    )  # fmt: skip


def fared(truth: Truth, alerts: list[Said], alarms: list[Said], seed: int) -> Found:
    """One campaign against all alerts of its time; `alarms` went into them."""
    one = truth.campaign
    out = Found(seed, one.kind, one.variant, one.slow, one.identities, truth.rows)
    covered: set[int] = set()
    harm = one.facts.get("harm", one.start)
    for alert in alerts:
        if not one.start <= alert.time <= truth.last:
            continue
        rows, fits = named_rows(truth, alert, seed), is_fitting(one, alert)
        if not rows:
            out.noticed |= is_of_app(alert, one, seed)
            continue
        out.alerts += not alert.is_again
        out.noticed = True
        out.fits |= fits
        out.kinds[alert.kind] = out.kinds.get(alert.kind, 0) + 1
        if out.from_hit is None and alarms:
            out.from_hit = max(0.0, (alert.time - first_hit(truth, alarms, alert.time, seed)) / 60)
        covered |= rows
        if out.minutes is None and len(covered) >= ENOUGH * truth.rows - 0.5:
            out.minutes = max(0.0, (alert.time - harm) / 60)
    return out


def is_fitting(one: Campaign, alert: Said) -> bool:
    """Whether its kind or cause use one of the words one would expect."""
    return any(word in alert.words for word in one.words)


def named_rows(truth: Truth, alert: Said, seed: int) -> set[int]:
    """The rows of a campaign that an alert names."""
    one = truth.campaign
    if "app" in one.names and is_fitting(one, alert) and is_of_app(alert, one, seed):
        return set(range(truth.rows))
    return set().union(*(truth.named[name] for name in alert.names if name in truth.named))


def first_hit(truth: Truth, alarms: list[Said], until: float, seed: int) -> float:
    """When a detector or the watch first said something of a campaign, before an alert did."""
    for alarm in alarms:
        if alarm.time >= min(until, truth.hit_at):
            break
        if alarm.time >= truth.campaign.start and named_rows(truth, alarm, seed):
            return alarm.time
    return min(until, truth.hit_at)


@lru_cache
def app_keys(seed: int) -> frozenset[str]:
    """Credentials that all requests of an application carry: they name the application, no person."""
    return frozenset(name_of("key", int(key_of_app(app, seed))) for app in APPS)


def is_of_app(alert: Said, one: Campaign, seed: int) -> bool:
    """Whether it names the application or its model, and no person or machine."""
    app = BY_NAME[one.app]
    if not alert.names & {app.name, app.model, name_of("key", int(key_of_app(app, seed)))}:
        return False
    return not any(PERSON.fullmatch(name) for name in alert.names - app_keys(seed))


def explains(truth: Truth, alert: Said, seed: int) -> bool:
    """Whether the campaign is a reason for this alert, named well enough or not."""
    one = truth.campaign
    if not truth.rows or not one.start <= alert.time <= one.end + DAY:
        return False
    named = alert.names - app_keys(seed)
    if one.sends and any(name in truth.named for name in named):
        return True
    # A company's address or a team's key that a good part of it came through: not of much use to act on, but not invented either.
    many = min(0.05 * truth.rows, 30)
    if one.sends and alert.time <= truth.last and any(truth.carried.get(name, 0) >= max(1, many) for name in named):
        return True
    return alert.time <= truth.last and is_of_app(alert, one, seed)


# -- the report


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % interval of a share."""
    if not n:
        return 0.0, 1.0
    z, p = 1.96, hits / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, (middle - half) / (1 + z * z / n)), min(1.0, (middle + half) / (1 + z * z / n))


def byar(count: int) -> tuple[float, float]:
    """95 % interval of a count (Byar's approximation of Poisson's)."""
    low = 0.0 if not count else count * (1 - 1 / (9 * count) - 1.96 / (3 * math.sqrt(count))) ** 3
    more = count + 1
    return max(0.0, low), more * (1 - 1 / (9 * more) + 1.96 / (3 * math.sqrt(more))) ** 3


def recall(found: list[Found]) -> str:
    hits = sum(one.minutes is not None for one in found)
    low, high = wilson(hits, len(found))
    return f"{hits}/{len(found)} = {100 * hits / max(1, len(found)):.0f} % ({100 * low:.0f} to {100 * high:.0f})"


def rate(counts: list[int], days: list[float]) -> str:
    """Alerts a day, with an interval and the range over seeds."""
    total = sum(days)
    if not total:
        return "-"
    low, high = (edge / total for edge in byar(sum(counts)))
    each = [count / long for count, long in zip(counts, days, strict=True) if long]
    return f"{sum(counts) / total:.2f} ({low:.2f} to {high:.2f}; seeds {min(each):.2f} to {max(each):.2f})"


def report(runs: list[Seed]) -> str:
    return "\n".join(
        line
        for engine in dict.fromkeys(run.engine for run in runs)
        for line in section([run for run in runs if run.engine == engine])
    )


def section(runs: list[Seed]) -> list[str]:
    found = [one for run in runs for one in run.campaigns]
    few, spread = [one for one in found if one.variant == "few"], [one for one in found if one.variant == "spread"]
    misses = Counter(
        f"{one.kind} ({one.variant}{', noticed' if one.noticed else ''})" for one in found if one.minutes is None
    )
    falses = Counter(kind for run in runs for kind, times in run.false_kinds.items() for _ in range(times))
    return [
        f"## {runs[0].engine}: {len(runs)} seeds ({', '.join(str(run.seed) for run in runs)}), {runs[0].per_day:,} requests a day",
        "",
        f"- recall: {recall(found)}; few identities {recall(few)}; spread {recall(spread)}; slow {recall([one for one in found if one.slow])}",
        f"- false alarms a day: without campaigns {rate([run.false_quiet for run in runs], [run.quiet_days for run in runs])}; beside campaigns {rate([run.false_examined for run in runs], [run.examined_days for run in runs])}",
        f"- false alarms by kind: {', '.join(f'{kind} {times}' for kind, times in falses.most_common()) or 'none'}; alerts while learning: {sum(run.learning_alerts for run in runs)}",
        f"- speed: {sum(run.events for run in runs) / max(1e-9, sum(run.seconds for run in runs)):,.0f} events a second on one core ({sum(run.events for run in runs):,} events)",
        *from_hits(found),
        f"- missed: {', '.join(f'{what} x{times}' for what, times in sorted(misses.items())) or 'none'}",
        "",
        "| campaign | few: found | minutes | spread: found | minutes | noticed | words fit | alerts each | by |",
        "|---|---|---|---|---|---|---|---|---|",
        *(line(kind, [one for one in found if one.kind == kind]) for kind in dict.fromkeys(one.kind for one in found)),
        "",
    ]  # fmt: skip


def from_hits(found: list[Found]) -> list[str]:
    """How long a hit waited for its alert, where that is known."""
    minutes = sorted(one.from_hit for one in found if one.from_hit is not None)
    if not minutes:
        return []
    return [f"- from the first hit to the alert that names it: middle {statistics.median(minutes):.1f} minutes, nine of ten within {minutes[math.ceil(0.9 * len(minutes)) - 1]:.0f}, {sum(one < 1 for one in minutes)} of {len(minutes)} within one"]  # fmt: skip


def line(kind: str, found: list[Found]) -> str:
    cells = [kind + (" (slow)" if found[0].slow else "")]
    for variant in ("few", "spread"):
        some = [one for one in found if one.variant == variant]
        minutes = [one.minutes for one in some if one.minutes is not None]
        cells += [f"{len(minutes)}/{len(some)}", f"{statistics.median(minutes):,.0f}" if minutes else "-"]
    by = Counter(name for one in found for name, times in one.kinds.items() for _ in range(times))
    named = [one for one in found if one.kinds]
    cells += [f"{sum(one.noticed for one in found)}/{len(found)}", f"{sum(one.fits for one in named)}/{len(named)}"]
    cells += [
        f"{statistics.median([one.alerts for one in found]):.0f}",
        ", ".join(name for name, _ in by.most_common(3)),
    ]
    return f"| {' | '.join(cells)} |"


# -- the command


def engine_at(path: str) -> Callable[[], Any]:
    """What `module:name` gives."""
    module, _, name = path.partition(":")
    found = getattr(importlib.import_module(module), name or "Watch")
    return found  # type: ignore[no-any-return]


def seeds_of(text: str) -> list[int]:
    out: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        out += range(int(first), int(last or first) + 1)
    return out


def read(paths: list[str]) -> list[Seed]:
    """Runs that were written with `--json`; those of one engine and seed, an application each, are one."""
    found: dict[tuple[str, int], Seed] = {}
    for path in paths:
        for run in json.loads(Path(path).read_text())["runs"]:
            one = msgspec.convert(run, Seed)
            have = found.get((one.engine, one.seed))
            found[one.engine, one.seed] = one if have is None else joined(have, one)
    return list(found.values())


def joined(one: Seed, other: Seed) -> Seed:
    """Two applications of one seed over the same days."""
    if (one.quiet_days, one.examined_days) != (other.quiet_days, other.examined_days):
        raise SystemExit(f"seed {one.seed}: runs of other lengths cannot be joined; give their files one by one")
    return Seed(
        one.engine,
        one.seed,
        one.events + other.events,
        one.per_day,
        one.seconds + other.seconds,
        one.learning_alerts + other.learning_alerts,
        one.quiet_days,
        one.examined_days,
        one.false_quiet + other.false_quiet,
        one.false_examined + other.false_examined,
        dict(Counter(one.false_kinds) + Counter(other.false_kinds)),
        [*one.false_samples, *other.false_samples],
        [*one.campaigns, *other.campaigns],
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The watch over time in figures.")
    parser.add_argument("--engine", action="append", default=[], help="MODULE:NAME, called without arguments")
    parser.add_argument("--no-peer", action="store_true", help="leave the peer out")
    parser.add_argument("--seeds", default="1001-1003")
    parser.add_argument("--per-day", type=int, default=1_000_000)
    parser.add_argument("--learn", type=int, default=14, help="days")
    parser.add_argument("--quiet", type=int, default=7, help="days without campaigns")
    parser.add_argument("--examined", type=int, default=14, help="days with campaigns")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="judge each seed after so long as far as it came"
    )
    parser.add_argument("--kinds", default="", help="only these campaigns, by comma")
    parser.add_argument("--apps", default="", help="only these applications, by comma")
    parser.add_argument("--variants", default="few,spread")
    parser.add_argument("--json", default="", help="write the runs there too")
    parser.add_argument("--merge", nargs="*", help="report these files instead of running")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    kinds, apps = (tuple(text.split(",")) if text else None for text in (args.kinds, args.apps))
    plan = Plan(
        args.per_day,
        args.learn,
        args.quiet,
        args.examined,
        kinds=kinds,
        apps=apps,
        variants=tuple(args.variants.split(",")),
    )
    engines: dict[str, Callable[[], Any]] = {path: engine_at(path) for path in args.engine}
    if not args.no_peer:
        engines["hourly limits (peer)"] = lambda: Peer(args.learn)
    runs = read(args.merge) if args.merge else []
    for seed in () if args.merge else seeds_of(args.seeds):
        runs += examine(seed, plan, engines, lambda text: print(text, file=sys.stderr, flush=True), args.minutes)
        if args.json:
            Path(args.json).write_text(
                json.dumps({"format": "afterguard.watch-figures/1", "runs": [asdict(run) for run in runs]}, indent=1)
            )
    print(report(runs))


if __name__ == "__main__":
    main()
