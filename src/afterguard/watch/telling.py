"""Alarms of the watch over time in words: what is usual, what was seen, since when, how sure.

In: what was found, and the application it was found in. Out: Alerts. It decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from afterguard.model import Confidence, Severity
from afterguard.watch.alarm import Alarm, Moment, Why, of
from afterguard.watch.budgets import Spent
from afterguard.watch.event import Event
from afterguard.watch.kinds import CONSUMPTION, SAID, WALLET, Rule
from afterguard.watch.replies import Change
from afterguard.watch.table import LEARN

ID = "watch"
EVIDENCE = 100
"""Exchanges an alarm points at."""
SHARES = {
    "new_identities": "of its requests come from identities that are new, of ordinary groups at most",
    "under_limit": "of its amounts lie just under a limit, as a rule",
}
"""Measures of which the share counts, in words."""


class Teller(NamedTuple):
    """Whose alarms they are, and at what time."""

    app: str
    now: float
    is_learning: bool
    """Whether too little is known of the application to be sure."""
    shift: float
    """Seconds by which the watch's times are ahead of what clocks say."""

    def when(self, time: float) -> str:
        """A time as clocks say it."""
        return datetime.fromtimestamp(time - self.shift, UTC).strftime("%Y-%m-%d %H:%M")

    def stands_out(
        self,
        rule: Rule,
        why: Why,
        events: Sequence[Event],
        ratio: float,
        window: int,
        shares: tuple[float, float] | None,
    ) -> Alarm:
        """One identity or group does far more than can be expected. `ratio`: score over limit; `shares`: the share of its events that are of this kind, and what is usual."""
        is_new = why.learned < LEARN
        sure = Confidence.high if ratio >= 2 and not is_new else Confidence.medium
        past = f"{why.learned:.1f} days are known of it" if is_new else f"learnt over {why.learned:.0f} days"
        said = (
            f"{why.scope} {why.who[:16]}: {why.seen:,.0f} {rule.says} within {SAID[window]}, usual {why.usual:,.1f} ({past}), "
            f"peers go {why.peers:,.1f} over theirs; since {self.when(why.since)}; {why.times:.1f} times what can be expected, "
            f"alarm from {why.limit:.1f}"
        )
        if shares is not None and shares[0] > shares[1]:
            said += f"; {shares[0]:.0%} {SHARES[rule.measure]} {shares[1]:.0%}"
        if why.everybody > 1.5:
            said += f"; everybody does {why.everybody:.1f} times the usual, which is taken out"
        return of(
            rule.kind, ID, rule.taxonomies, _moments(events), severity=rule.severity, confidence=Confidence.low if self.is_learning else sure,
            cause=f"{why.scope} {why.who}", rule=said, would_change=rule.would_change, why=why,
        )  # fmt: skip

    def surge(self, rise: float, usual: float, limit: float, days: float, events: Sequence[Event]) -> Alarm:
        """Many more are active than usual."""
        said = f"application {self.app}: {rise:.1f} times as many identities are active as usual at this hour of the week; alarms about single ones take this into account"
        why = Why("app", self.app, "active identities", usual, 0.0, usual * rise, 3_600.0, self.now, self.now, rise, limit, days, rise, self.app)  # fmt: skip
        return of("traffic_surge", ID, CONSUMPTION, _moments(events[:EVIDENCE]), severity=Severity.info, cause=f"app {self.app}", rule=said, would_change="a release, a campaign of marketing, an outage with retries", why=why)  # fmt: skip

    def spent(self, spent: Spent) -> Alarm:
        """A budget is gone, or will be."""
        budget = spent.budget
        is_gone = spent.gone <= self.now
        when = "is gone" if is_gone else f"at this pace is gone on {self.when(spent.gone)}"
        measure = "at once" if budget.measure == "concurrency" else budget.measure
        said = f"{budget.scope} {spent.who[:16]}: the budget of {budget.amount:,.2f} {measure} per {budget.per} {when}; {spent.used:,.2f} since {self.when(spent.since)} UTC"
        why = Why(budget.scope, spent.who, budget.measure, budget.amount, 0.0, spent.used, 0.0, self.now, spent.gone, spent.used / budget.amount if budget.amount else 0.0, 1.0, 0.0, app=self.app)  # fmt: skip
        return of(
            "budget_gone" if is_gone else "budget_forecast", ID, WALLET, [], severity=Severity.medium if is_gone else Severity.low,
            confidence=Confidence.high if is_gone else Confidence.medium, cause=f"{budget.scope} {spent.who}", rule=said,
            would_change="a larger budget, or a calmer pace", why=why,
        )  # fmt: skip

    def changed(self, change: Change, events: Sequence[Event]) -> Alarm:
        """A model answers otherwise than before."""
        is_told = bool(change.version) and change.version != change.before
        if is_told:
            version = f"its version went from {change.before or 'unnamed'} to {change.version}"
        elif change.is_return:
            version = "replies are again as they were before the last change"
        else:
            version = "its version says nothing of a change"
        said = (
            f"model {change.model}: {change.what} was {change.usual:.3g} over {change.days:.0f} days and is {change.seen:.3g} since "
            f"{self.when(change.since)}, {change.far:.0f} times the spread between its chunks; {version}"
        )
        who = f"{change.model} {change.prompt}".strip()
        why = Why("model", who, change.what, change.usual, 0.0, change.seen, 0.0, change.since, self.now, change.far, 6.0, change.days, app=self.app)  # fmt: skip
        mine = [event for event in events if event.model == change.model and event.prompt == change.prompt]
        return of(
            "response_drift", ID, ("LLM04:2025", "LLM05:2026", "AML.T0020", "CWE-349"), _moments(mine[:EVIDENCE]),
            severity=Severity.info if is_told or change.is_return else Severity.medium, confidence=Confidence.low if self.is_learning else Confidence.medium,
            cause=f"model {who}", rule=said, would_change="the provider or the owner announced another model, or the work changed", why=why,
        )  # fmt: skip


def _moments(events: Sequence[Event]) -> list[Moment]:
    return [(event.id, event.time) for event in events]
