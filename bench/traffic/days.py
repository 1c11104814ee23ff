"""What happens to everybody: seasons, holidays, releases, a marketing peak, an outage.

In: the plan and the seed. Out: how busy an application is at a moment, which prompt and version speak, and what is broken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from .apps import APPS, ZONES, App
from .draw import generator

DAY = 86_400.0
MONDAY = 1_780_272_000.0
"""1 June 2026, 00:00 UTC, a Monday."""


@dataclass(frozen=True)
class Plan:
    """How much traffic, for how long: first days to learn from, then days without campaigns, then days with them."""

    per_day: int = 1_000_000
    learn: int = 14
    quiet: int = 7
    examined: int = 14
    start: float = MONDAY
    kinds: tuple[str, ...] | None = None
    """Kinds of campaigns; None: all, (): none."""
    apps: tuple[str, ...] | None = None
    """Applications whose traffic and campaigns are drawn, each as it is among the others; None: all."""
    variants: tuple[str, ...] = ("few", "spread")
    spread: int = 1_000
    """Identities of a campaign that is spread."""

    @property
    def days(self) -> int:
        return self.learn + self.quiet + self.examined

    @property
    def end(self) -> float:
        return self.start + self.days * DAY

    @property
    def block(self) -> float:
        """Seconds that are drawn at once."""
        return 900.0 if self.per_day >= 200_000 else 3_600.0

    @property
    def scale(self) -> float:
        return self.per_day / 1_000_000


@dataclass(frozen=True)
class Release:
    """From when an application speaks with another prompt or an announced version; both shift style and length a little."""

    time: float
    prompt: str
    version: str
    style: int
    longer: float


@dataclass(frozen=True)
class Outage:
    app: str
    start: float
    end: float
    broken: float


@dataclass
class Days:
    """The calendar of one seed."""

    plan: Plan
    seed: int
    releases: dict[str, list[Release]] = field(default_factory=dict)
    peaks: list[tuple[float, float, float]] = field(default_factory=list)
    """(start, end, times as much), of the shop."""
    outages: list[Outage] = field(default_factory=list)
    holidays: set[tuple[str, int]] = field(default_factory=set)
    """(country, day)."""
    new_job: float = 0.0
    """From when another job runs each night, with a key nobody saw before."""
    launch: float = 0.0
    """From when the shop has another app, which some customers take to."""
    levels: dict[tuple[str, str, int], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for app in APPS:
            self.releases[app.name] = self._releases(app)
        rng = generator(self.seed, "days")
        plan = self.plan
        self.new_job = plan.start + DAY * float(rng.integers(plan.learn, max(plan.learn + 1, plan.days)))
        self.launch = plan.start + DAY * float(
            generator(self.seed, "launch").integers(plan.learn, max(plan.learn + 1, plan.days))
        )
        for first, last in (
            (0, plan.learn),
            (plan.learn, plan.learn + plan.quiet),
            (plan.learn + plan.quiet, plan.days),
        ):
            if last - first < 2:
                continue
            day = int(rng.integers(first + 1, last))
            start = plan.start + day * DAY + 3600 * float(rng.uniform(12, 16))
            self.peaks.append((start, start + 3600 * float(rng.uniform(3, 7)), float(rng.uniform(1.8, 3.2))))
            for _ in range(max(1, (last - first) // 7)):
                name = APPS[int(rng.integers(0, 5))].name
                start = plan.start + DAY * float(rng.uniform(first + 0.2, last - 0.2))
                self.outages.append(
                    Outage(name, start, start + 60 * float(rng.uniform(12, 50)), float(rng.uniform(0.4, 0.95)))
                )
            country = ("US", "DE", "IN")[int(rng.integers(0, 3))]
            self.holidays.add((country, int(rng.integers(first, last))))

    def _releases(self, app: App) -> list[Release]:
        rng = generator(self.seed, "releases", app.name)
        out = [Release(self.plan.start, f"s{int(rng.integers(1 << 60)):x}", app.version, 0, 1.0)]
        number = 0
        day = float(rng.uniform(3, 9))
        while day < self.plan.days:
            last = out[-1]
            hour = self.plan.start + (math.floor(day) + float(rng.uniform(0.35, 0.7))) * DAY
            number += 1
            if rng.random() < 0.4:
                version = f"{app.version}.{number}"
                out.append(Release(hour, last.prompt, version, number, last.longer * float(rng.uniform(0.88, 1.14))))
            else:
                prompt = f"s{int(rng.integers(1 << 60)):x}"
                out.append(
                    Release(hour, prompt, last.version, last.style, last.longer * float(rng.uniform(0.92, 1.09)))
                )
            day += float(rng.uniform(5, 13))
        return out

    def draws(self, app: str) -> bool:
        """Whether this application's traffic is wanted."""
        return self.plan.apps is None or app in self.plan.apps

    def busy(self, app: App, zone: int, time: float) -> float:
        """Requests a second of people of that zone, before chance."""
        country, offset, part = ZONES[zone]
        local = (time - self.plan.start) / 3600 + offset
        day, hour = divmod(local, 24)
        low = int(hour)
        curve = app.hours[low] * (1 - (hour - low)) + app.hours[(low + 1) % 24] * (hour - low)
        level = curve / sum(app.hours) * 24 * self.weekday(app, country, int(day))
        if app.name == "payments" and int(day) % 15 == 0:
            level *= 1.5
        if app.name == "shop-chat":
            level *= max((times for start, end, times in self.peaks if start <= time < end), default=1.0)
        return self.plan.per_day * app.share * part * level / DAY

    def weekday(self, app: App, country: str, day: int) -> float:
        where = (app.name, country, day)
        if where not in self.levels:
            self.levels[where] = self._weekday(app, country, day)
        return self.levels[where]

    def _weekday(self, app: App, country: str, day: int) -> float:
        level = app.weekend if day % 7 >= 5 else 1.0
        level *= 7 / (5 + 2 * app.weekend)
        if (country, day) in self.holidays:
            level *= 0.12 if app.weekend < 0.5 else 1.2
        return level * math.exp(0.05 * float(generator(self.seed, "day", app.name, country, day).standard_normal()))

    def peak(self, time: float) -> int:
        """Number of the marketing peak that is on, from 1; 0: none."""
        return next((at + 1 for at, (start, end, _) in enumerate(self.peaks) if start <= time < end), 0)

    def revision(self, app: str, time: float) -> int:
        """How many releases came before: buttons with suggested questions change with them."""
        return sum(release.time <= time for release in self.releases[app])

    def speaks(self, app: str, time: float) -> Release:
        return [release for release in self.releases[app] if release.time <= time][-1]
