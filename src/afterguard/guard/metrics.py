"""What the guard counts, in the text format that Prometheus reads.

In: events. Out: numbers, and the page /metrics. Names and meanings are in METRICS; docs/reference/metrics.md is checked against it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple

import msgspec


class Metric(NamedTuple):
    """One metric: kind, labels, meaning."""

    kind: str
    labels: tuple[str, ...]
    says: str
    is_switch: bool = False
    """A gauge that is on or off: of several workers' the largest counts, not the sum."""
    is_least: bool = False
    """Of several workers' the smallest counts: the guard has only what all of them have."""


METRICS = {
    "afterguard_requests_total": Metric("counter", ("route", "operation", "action", "mode"), "Exchanges by what was done."),
    "afterguard_would_total": Metric("counter", ("route", "action"), "Exchanges by what the policy would do if enforced."),
    "afterguard_hits_total": Metric("counter", ("route", "kind"), "Hits by kind."),
    "afterguard_unjudged_total": Metric("counter", ("route", "reason"), "Parts of exchanges that nobody could look at."),
    "afterguard_failures_total": Metric("counter", ("route", "reason", "passed"), "Exchanges the guard itself could not judge; passed says whether it failed open."),
    "afterguard_refused_total": Metric("counter", ("reason",), "Requests that are no HTTP or were too slow, and connections closed for it; they have no decision."),
    "afterguard_upstream_errors_total": Metric("counter", ("route", "reason"), "Upstreams that could not be reached or broke off."),
    "afterguard_client_gone_total": Metric("counter", ("route",), "Clients that left before the reply ended."),
    "afterguard_cache_hits_total": Metric("counter", ("route",), "Requests whose beginning was judged in an earlier turn."),
    "afterguard_cache_misses_total": Metric("counter", ("route",), "Requests that were judged from the beginning."),
    "afterguard_late_total": Metric("counter", ("route",), "Hits in streams whose place had already left."),
    "afterguard_rows_total": Metric("counter", ("route",), "Rows of features that predictive models were asked about."),
    "afterguard_scores_changed_total": Metric("counter", ("route", "how"), "Replies of predictive models whose scores were rounded or withheld."),
    "afterguard_log_lost_total": Metric("counter", (), "Decisions that could not be written."),
    "afterguard_log_waiting_bytes": Metric("gauge", (), "Decisions that wait for the disk; above 32 MiB further ones are lost."),
    "afterguard_log_written_total": Metric("counter", (), "Decisions written."),
    "afterguard_in_flight": Metric("gauge", ("route",), "Exchanges that are open."),
    "afterguard_judging_seconds": Metric("histogram", ("route",), "Time that judging added to an exchange."),
    "afterguard_exchange_seconds": Metric("histogram", ("route",), "Time from the first byte of a request to the last of its reply."),
    "afterguard_policy_info": Metric("gauge", ("policy", "mode"), "1 for the policy in force.", True),
    "afterguard_route_mode": Metric("gauge", ("route", "mode"), "1 for the mode that is in force on a route.", True),
    "afterguard_policy_created_timestamp_seconds": Metric("gauge", (), "When the policy in force was signed, or its file written. Seconds since the epoch.", True),
    "afterguard_policy_sequence": Metric("gauge", (), "Sequence of the bundle in force.", True),
    "afterguard_policy_valid_until_timestamp_seconds": Metric("gauge", (), "Until when the bundle in force is good. It stays in force, and is stale.", True),
    "afterguard_policy_pulled_timestamp_seconds": Metric("gauge", (), "When the source of the bundle was last in touch, and what it said was good.", True),
    "afterguard_policy_stale": Metric("gauge", (), "1 where the source of the bundle was not in touch for guard.policy_stale seconds, or the bundle has expired.", True),
    "afterguard_policy_pulls_total": Metric("counter", ("outcome",), "Looks at the source of the bundle by what came of them: changed, unchanged, unreachable, or why it was refused: unreadable, unsigned, untrusted, tampered, expired, older, forked, bad_policy."),
    "afterguard_rolled_back": Metric("gauge", (), "1 where the policy is kept in shadow: not promoted, or rolled back by itself.", True),
    "afterguard_approvals": Metric("gauge", ("state",), "What the action ask has held, by what became of it: pending, approved, denied, used, expired. The same at all that share it.", True),
    "afterguard_approvals_total": Metric("counter", ("route", "event"), "What happened to approvals here: asked, used; dropped because too many waited; forged where the shared state holds one that nobody with the guard's key made."),
    "afterguard_collected_total": Metric("counter", ("source", "outcome"), "What came to be judged off the path. Source: traces, logs (spans and log records), mirror (requests), envoy_tap (exchanges). Outcome: taken; of envoy_tap also cut, an exchange or a connection whose end was not seen, unreadable_WHY, a connection from there on, no_mount, not_removed, not_given_back and error_WHAT (the folder); not_ai, of no model or tool; rejected, too many for one request; later and refused (requests): the exporter was told to come again, or not to; too_long."),
    "afterguard_alarms_total": Metric("counter", ("kind",), "Alarms of the watch over time."),
    "afterguard_measures": Metric("gauge", (), "Measures of responders that hold.", True),
    "afterguard_measures_sequence": Metric("gauge", (), "Sequence of the sheet of measures in force, at every worker; 0 where there is none.", is_least=True),
    "afterguard_measures_created_timestamp_seconds": Metric("gauge", (), "When the sheet of measures in force was signed.", True),
    "afterguard_measures_pulled_timestamp_seconds": Metric("gauge", (), "When the source of the measures was last in touch, and what it said was good; 0 for never. Only where they are pulled.", True),
    "afterguard_measures_stale": Metric("gauge", (), "1 where the source of the measures was not in touch for guard.measures_stale seconds. Only where they are pulled.", True),
    "afterguard_measures_pulls_total": Metric("counter", ("outcome",), "Looks at the source of the measures by what came of them: changed, unchanged, unreachable, or why the sheet was refused."),
    "afterguard_measures_refused_total": Metric("counter", ("reason",), "Sheets of measures that were not taken: unreadable, unsigned, untrusted, tampered, older, forked; gone where the file of a sheet in force is missing. What held goes on."),
    "afterguard_measured_total": Metric("counter", ("route", "action"), "Exchanges that a measure of responders matched, by what was done."),
    "afterguard_names_info": Metric("gauge", ("key",), "1 for the key that pseudonyms are made with, by a hash of it: guards with the same one call a caller the same.", True),
    "afterguard_killed": Metric("gauge", (), "1 while the kill switch is on.", True),
}  # fmt: skip
BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
SERIES = 5_000
"""Label sets of one metric; what comes on top is counted under the label value `other`."""
Key = tuple[str, ...]


class Numbers(msgspec.Struct):
    """What one process has counted, by metric and label values."""

    numbers: dict[str, dict[Key, float]]
    histograms: dict[str, dict[Key, list[float]]]


class Metrics:
    """Numbers by name and labels. One thread."""

    def __init__(self) -> None:
        self.numbers: dict[str, dict[Key, float]] = {name: {} for name in METRICS}
        self.histograms: dict[str, dict[Key, list[float]]] = {
            n: {} for n, m in METRICS.items() if m.kind == "histogram"
        }

    def add(self, name: str, *labels: str, by: float = 1.0) -> None:
        """Count."""
        rows = self.numbers[name]
        if labels not in rows and len(rows) >= SERIES:
            labels = tuple("other" for _ in labels)
        rows[labels] = rows.get(labels, 0.0) + by

    def set(self, name: str, value: float, *labels: str) -> None:
        """Put a gauge."""
        self.numbers[name][labels] = value

    def time(self, name: str, seconds: float, *labels: str) -> None:
        """Add to a histogram."""
        rows = self.histograms[name]
        row = rows.get(labels)
        if row is None:
            row = rows[labels] = [0.0] * (len(BOUNDS) + 2)
        row[bisect_left(BOUNDS, seconds)] += 1
        row[-1] += seconds

    def all(self) -> Numbers:
        """Everything counted."""
        return Numbers(self.numbers, self.histograms)

    def join(self, other: Numbers, *, counters_only: bool = False) -> None:
        """Add what another process counted; gauges are left out of what is over."""
        for name, rows in other.numbers.items():
            metric, own = METRICS[name], self.numbers[name]
            if counters_only and metric.kind == "gauge":
                continue
            for labels, value in rows.items():
                before = own.get(labels)
                if before is None:
                    own[labels] = value
                elif metric.is_least:
                    own[labels] = min(before, value)
                else:
                    own[labels] = max(before, value) if metric.is_switch else before + value
        for name, timed in other.histograms.items():
            for labels, row in timed.items():
                sums = self.histograms[name].setdefault(labels, [0.0] * len(row))
                sums[:] = [one + two for one, two in zip(sums, row, strict=True)]

    def page(self) -> bytes:
        """The text of /metrics."""
        return "".join(self._lines()).encode()

    def _lines(self) -> Iterator[str]:
        for name, metric in METRICS.items():
            yield f"# HELP {name} {metric.says}\n# TYPE {name} {metric.kind}\n"
            if metric.kind == "histogram":
                for labels, row in self.histograms[name].items():
                    yield from _histogram(name, metric.labels, labels, row)
            else:
                for labels, value in self.numbers[name].items():
                    yield f"{name}{_labels(metric.labels, labels)} {value:.15g}\n"


def _histogram(name: str, names: tuple[str, ...], labels: Key, row: list[float]) -> Iterator[str]:
    total = 0.0
    for bound, count in zip((*BOUNDS, None), row):
        total += count
        le = "+Inf" if bound is None else f"{bound:g}"
        yield f"{name}_bucket{_labels((*names, 'le'), (*labels, le))} {total:g}\n"
    yield f"{name}_sum{_labels(names, labels)} {row[-1]:.9g}\n{name}_count{_labels(names, labels)} {total:g}\n"


def _labels(names: tuple[str, ...], values: Key) -> str:
    if not names:
        return ""
    pairs = (f'{n}="{_escaped(v)}"' for n, v in zip(names, values))
    return "{" + ",".join(pairs) + "}"


def _escaped(value: str) -> str:
    return value[:200].replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
