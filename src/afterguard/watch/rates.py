"""Bursts and cost anomalies: an hour of one key or identity that is far outside of its own past.

In: Exchanges in the order of the log. Out: Alerts of kind burst and cost_anomaly. The baseline is the median and the median absolute
deviation of the subject's own hours; below LEAST_HOURS of them nothing is said. Bounded: SUBJECTS_CAP subjects, HOURS_CAP hours each,
ids only of the hour in progress and of hours that stood out.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from afterguard.detect.detector import Pseudonym
from afterguard.model import Exchange, Severity
from afterguard.watch.alarm import Alarm, Moment, of

ID = "rates"
BURST = ("LLM10:2025", "LLM06:2026", "AML.T0029", "CWE-770")
COST = ("LLM10:2025", "LLM06:2026", "AML.T0034", "CWE-770")
SUBJECTS_CAP = 5_000
HOURS_CAP = 5_000
IDS_CAP = 5_000
KEPT = 20
"""Hours that stood out, kept for a subject until the end."""
LEAST_HOURS = 24
LEAST_COUNT = {"key": 40.0, "identity": 40.0}
LEAST_COST = 5.0
"""US dollars an hour below which no cost stands out."""
TIMES = 6.0
DEVIATIONS = 8.0


class Hour:
    """One hour of one subject while it is counted."""

    __slots__ = ("cost", "count", "ids", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.count = 0
        self.cost = 0.0
        self.ids: list[Moment] = []


class Subject:
    """A key or identity: its past hours and the hour in progress."""

    __slots__ = ("costs", "counts", "hour", "kept")

    def __init__(self) -> None:
        self.counts: list[int] = []
        self.costs: list[float] = []
        self.hour = Hour(-1)
        self.kept: list[Hour] = []

    def close(self) -> None:
        """File the hour in progress."""
        hour = self.hour
        if not hour.count:
            return
        usual = statistics.median(self.counts[-200:]) if self.counts else 0
        dear = statistics.median(self.costs[-200:]) if self.costs else 0.0
        if hour.count > max(20, TIMES * usual) or hour.cost > max(1.0, TIMES * dear):
            self.kept = sorted([*self.kept, hour], key=lambda h: (-h.count, -h.cost, h.number))[:KEPT]
        if len(self.counts) < HOURS_CAP:
            self.counts.append(hour.count)
            self.costs.append(hour.cost)


class Rates:
    """State of all subjects."""

    def __init__(self, pseudonym: Pseudonym) -> None:
        self._pseudonym = pseudonym
        self._subjects: dict[tuple[str, str], Subject] = {}
        self.skipped = 0

    def feed(self, exchange: Exchange) -> None:
        """Count one exchange; those without a time are skipped."""
        if exchange.time is None:
            return
        number = int(exchange.time // 3600)
        for scope, name in (("key", exchange.key), ("identity", exchange.identity)):
            if name:
                self._count(scope, name, number, exchange)

    def _count(self, scope: str, name: str, number: int, exchange: Exchange) -> None:
        subject = self._subjects.get((scope, name))
        if subject is None:
            if len(self._subjects) >= SUBJECTS_CAP:
                self.skipped += 1
                return
            subject = self._subjects[scope, name] = Subject()
        if subject.hour.number != number:
            subject.close()
            subject.hour = Hour(number)
        hour = subject.hour
        hour.count += 1
        hour.cost += exchange.cost or 0.0
        if len(hour.ids) < IDS_CAP:
            hour.ids.append((exchange.id, exchange.time))

    def finish(self) -> Iterator[Alarm]:
        """Alerts, subject by subject."""
        for (scope, name), subject in sorted(self._subjects.items()):
            subject.close()
            subject.hour = Hour(-1)
            shown = name if scope == "key" else self._pseudonym(name)[:12]
            for hour in sorted(subject.kept, key=lambda h: h.number):
                count = outlier(hour.count, [float(c) for c in subject.counts], LEAST_COUNT[scope])
                if count:
                    yield _burst(scope, shown, hour, count)
                elif outlier(hour.cost, subject.costs, LEAST_COST):
                    yield _cost(scope, shown, hour, outlier(hour.cost, subject.costs, LEAST_COST))


def outlier(value: float, past: list[float], least: float) -> float:
    """How many times the median `value` is, 0 where it does not stand out or too little is known.

    Robust: (value - median) / (1.4826 * MAD), the deviation not below that of a Poisson count."""
    if len(past) < LEAST_HOURS or value < least:
        return 0.0
    middle = statistics.median(past)
    spread = 1.4826 * statistics.median(abs(x - middle) for x in past)
    spread = max(spread, middle**0.5, 0.05 * middle, 1e-9)
    if value < TIMES * middle or (value - middle) / spread < DEVIATIONS:
        return 0.0
    return value / max(middle, 1e-9)


def _burst(scope: str, shown: str, hour: Hour, times: float) -> Alarm:
    return of(
        "burst",
        ID,
        BURST,
        hour.ids,
        severity=Severity.medium,
        cause=f"{scope} {shown}",
        rule=f"{hour.count} requests in one hour by {scope} {shown}, {times:.0f} times its median hour",
        would_change="a batch job, a test or a launch in that hour",
    )


def _cost(scope: str, shown: str, hour: Hour, times: float) -> Alarm:
    return of(
        "cost_anomaly",
        ID,
        COST,
        hour.ids,
        severity=Severity.medium,
        cause=f"{scope} {shown}",
        rule=f"{hour.cost:.2f} US dollars in one hour by {scope} {shown}, {times:.0f} times its median hour",
        would_change="a batch job, or a change of model or price in that hour",
    )
