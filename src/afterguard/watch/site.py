"""The watch over one application: a slice of events in, alarms out.

In: all events of a slice, in order of time. Out: Alerts. The result depends on the set of events of each slice alone, never on which
process saw them first: brains that share their events raise what one brain would.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from afterguard.watch.alarm import Alarm, Why
from afterguard.watch.budgets import Budget, Budgets, peak
from afterguard.watch.columns import AT, MEASURES, Column, Columns
from afterguard.watch.cooling import Cooling
from afterguard.watch.counting import Active, Counting, rows_of
from afterguard.watch.event import Event
from afterguard.watch.heavy import Heavy
from afterguard.watch.kinds import ONES, SCOPES, WINDOWS, Rule, measures
from afterguard.watch.releases import Releases
from afterguard.watch.replies import Replies
from afterguard.watch.season import Season
from afterguard.watch.seen import Numbers, Seen
from afterguard.watch.storm import Storms
from afterguard.watch.table import DAY, FREE, LEARN, PEERS, Table
from afterguard.watch.telling import EVIDENCE, Teller
from afterguard.watch.topics import Topics

SIZES = {"tenant": 2_000, "client": 1_000, "model": 500, "prompt": 1_000, "app": 1, "network": 5_000}
SIZE = 10_000
UNSURE = 3.0
"""How many times the limit is demanded while too little is known."""
QUIET = 1.5
"""Days in which nothing is raised but budgets, and no score is taken into limits: there is no past to compare with."""
LEAST = 3_000
"""Events below which an application counts as unknown."""
LARGE = 0.2
"""Of the application's requests of a day: one with more is no single one."""
CAUTION = 1.5
"""How many times the limit is demanded of those."""
WEEK = 7
OFTEN = 1
"""Days of the last week on which an alarm rang before, from which it is taken to be how this application is."""
HARMLESS = (2.0, 2.0, 3.0, 4.0)
"""How many times the limit is demanded, a window, of a device that many share where tools do nothing: a new terminal for the public meets them all within its first week, who tries stolen names is quicker."""
WORTH = 0.01
"""Of what the application uses in a day: of money and tokens a single one's excess below that is no denial of wallet, however unusual."""
BUTTONS = frozenset({"campaign", "cost_anomaly", "refund_pattern"})
YOUNG = 1.5
"""How many times the limit is demanded in one's own first week."""
PANEL = 5
"""Replies of one caller in a slice that say how a model answers."""
BROUGHT = frozenset({"refused", "hits", "invalid", "heavy", "off_topic"})
"""Measures that every so many requests show, whoever sends them."""
ALONG = 3.0
"""Times the application's own share of them that is borne in one."""
FEW_MOVES = 100.0
"""Actions a day below which an application has no usual share of amounts just under a limit."""
SURGE = 2.5
"""Times as many active identities as usual that are worth one notice."""
FEW = ("client", "model", "prompt", "tenant", "app")
"""Scopes whose rows rise and fall with the whole population."""


class Settings(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What an operator decides."""

    budgets: tuple[Budget, ...] = ()
    limits: tuple[float, ...] = (500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0)
    """Amounts above which somebody else looks: approvals, reports. Just under them is where fraud sits."""
    sizes: dict[str, int] = {}
    """Rows kept of each scope."""


class Site:
    """What is known of one application."""

    def __init__(self, app: str, settings: Settings, seen: Seen, read: Seen) -> None:
        self.app = app
        self.settings = settings
        self.counting = Counting(app, seen, read)
        self.tables = {
            scope: Table(scope, measures(scope), settings.sizes.get(scope, SIZES.get(scope, SIZE))) for scope in SCOPES
        }
        self.season = Season()
        self.topics = Topics()
        self.heavy = Heavy()
        self.replies = Replies()
        self.budgets = Budgets(settings.budgets)
        self.cooling = Cooling()
        self.storms = Storms()
        self.acts = False
        """Whether its tools do something. Where they do not, nobody asks from where."""
        self.begun = 0.0
        self.events = 0
        self.last = 0.0
        self.shift = 0.0
        """Seconds by which the times it is given are ahead of what clocks say."""
        self.releases = Releases()
        self.rang: list[int] = []
        """Days of the last week on which somebody was told to have done too much."""
        self.rises: dict[tuple[str, str, str], tuple[float, float]] = {}
        """(kind, scope, who) -> since when it stands out, and when it last did."""

    def is_learning(self, now: float) -> bool:
        """Whether too little is known of this application to trust limits."""
        return now - self.begun < LEARN * DAY or self.events < LEAST

    def judge(self, events: Sequence[Event], now: float) -> list[Alarm]:
        """Alarms of the slice that ends now."""
        self.begun = self.begun or events[0].time
        self.counting.turn(now)
        passed = max(0.0, now - self.last) if self.last else 0.0
        self.last = now
        self.events += len(events)
        columns = Columns(events, self.settings.limits)
        is_learning = self.is_learning(now)
        self._weigh(columns, now, is_learning)
        alerts = [alert for scope in SCOPES for alert in self._scope(scope, columns, now, passed)]
        alerts = self.storms.gather(alerts, now)
        alerts += self._surge(columns, now)
        alerts += self._spending(columns, now)
        panel = self._panel(columns, is_learning)
        alerts += [self._teller(now).changed(change, events) for change in self.replies.look(panel, now)]
        return alerts

    def _teller(self, now: float) -> Teller:
        return Teller(self.app, now, self.is_learning(now), self.shift)

    def _panel(self, columns: Columns, is_learning: bool) -> list[Event]:
        """Events by whose replies a model is judged: of callers that were there before, and a few of each, so that no campaign looks like another model."""
        who = columns.fields["who"]
        order = np.argsort(who.hashes, kind="stable")
        sorted_ = who.hashes[order]
        first = np.append(True, sorted_[1:] != sorted_[:-1])
        place = np.arange(len(order)) - np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
        chosen = np.zeros(len(columns.events), dtype=bool)
        chosen[who.events[order[place < min(PANEL, 1 + len(order) // 20)]]] = True
        if not is_learning:
            chosen[columns.fields["new"].events] = False
        return [columns.events[at] for at in np.flatnonzero(chosen).tolist()]

    def _weigh(self, columns: Columns, now: float, is_learning: bool) -> None:
        """What depends on the whole application: heavy requests, far-off questions, how many are active."""
        events = columns.events
        weights = np.array([(e.cost, e.output_tokens, e.seconds) for e in events])
        put = columns.measures
        put[:, AT["heavy"]] = self.heavy.look([e.model for e in events], weights, now, is_learning)
        asked = np.array([e.asked & 0xFFFFFFFFFFFFFFFF for e in events], dtype=np.uint64)
        told = np.flatnonzero(asked)
        put[told, AT["off_topic"]] = self.topics.far(asked[told], now, is_learning)
        self.releases.look(events, now)
        who = columns.fields["who"]
        self.season.add(len(np.unique(who.hashes)), now)
        self.counting.newcomers(columns, now)
        self.acts = self.acts or bool(put[:, AT["moves"]].any())
        if self.acts:
            self.counting.strangers(columns, now)

    def _scope(self, scope: str, columns: Columns, now: float, passed: float) -> list[Alarm]:
        field = columns.fields[scope]
        if not len(field.events):
            return []
        table = self.tables[scope]
        who = rows_of(table, field, now)
        if not len(who.rows):
            return []
        table.is_free, table.begun = now - self.begun < FREE * DAY, self.begun
        amounts = self.counting.amounts(table, columns, who, now)
        table.add(who.rows, amounts, now)
        table.look_at_all(now, self.is_learning(now))
        return self._judge_rows(table, columns, who, amounts, now, passed)

    def _judge_rows(
        self,
        table: Table,
        columns: Columns,
        who: Active,
        amounts: Numbers,
        now: float,
        passed: float,
    ) -> list[Alarm]:
        rows = who.rows
        crowd, large, share = self._crowd(table, rows)
        along = self._along(table)
        scores, excess, expected = table.score(
            rows, self.season.shape(now), self.season.rise(now), crowd, share, along, self._under()
        )
        is_learning = self.is_learning(now)
        limit = table.limits(rows) * (UNSURE if is_learning else 1.0) * self._doubts(table, now)
        least = self._floors(table)
        floors = least * (UNSURE if is_learning else 1.0)
        loud = (excess >= least) & (scores >= limit / 2)
        stands_out = loud & (excess >= floors) & (scores >= limit)
        # Of what did not happen in this slice there is no news, however full the longer windows are.
        over = stands_out & table.goes_on(rows) & (amounts > 0)[:, None, :]
        # What everybody does together is nobody's abuse: of such a row only misuse of the credential itself is told.
        over &= ~large[:, None, None] | table.is_account & ((excess >= 2 * floors) & (scores >= CAUTION * limit))
        # A past of a few days says little of busy hours.
        young = (table.days[rows] >= 1) & (table.days[rows] < WEEK)
        over[:, :2] &= ~young[:, None, None] | (scores >= YOUNG * limit)[:, :2]
        if now - self.begun < QUIET * DAY:
            over[:] = False
        else:
            # What stood out is no measure of what is quiet, told or not, but in the first days; nor is what everybody does together.
            quiet = np.where(
                (stands_out & (not table.is_free or is_learning)) | large[:, None, None] | ~np.isfinite(scores),
                0,
                scores,
            )
            table.learn(quiet.max(axis=0), passed, is_learning)
        self._rise(table, rows, loud, now)
        return self._alarms(table, columns, who, over, scores, expected, limit, now)

    def _floors(self, table: Table) -> Numbers:
        """By how much one must go over what is usual: of money and tokens by more where the application uses much."""
        whole = self.tables["app"]
        if table.scope not in ONES or not whole.names:
            return table.floors
        day = np.zeros(len(MEASURES), dtype=np.float32)
        day[whole.columns] = whole.usual[0]
        least: Numbers = np.where(table.is_bill, np.maximum(table.floors, WORTH * day[table.columns]), table.floors)
        return least

    def _doubts(self, table: Table, now: float) -> Numbers:
        """How many times the limit is demanded in each window of each measure: of a shared device where tools do nothing, and of new buttons after a release."""
        times = np.ones((len(WINDOWS), len(table.columns)), dtype=np.float32)
        for at, rule in enumerate(table.rule_of):
            if rule is None:
                continue
            if rule.measure == "identities" and table.scope == "device" and not self.acts:
                times[:, at] = HARMLESS
            elif table.scope == "shape" and rule.kind in BUTTONS and self.releases.is_fresh(now):
                times[:, at] = np.inf
        return times

    def _along(self, table: Table) -> Numbers:
        """How many of each measure a request of this application brings by itself, at most."""
        whole = self.tables["app"]
        share = np.zeros(len(MEASURES), dtype=np.float32)
        if whole.names and whole.usual[0, 0] > 0:
            share[whole.columns] = ALONG * whole.usual[0] / whole.usual[0, 0]
        kept: Numbers = np.where([MEASURES[c] in BROUGHT for c in table.columns], share[table.columns], 0)
        return kept

    def _under(self) -> float:
        """The share of this application's amounts that lie just under a limit; 1 where that is not known."""
        whole = self.tables["app"]
        if not whole.names or whole.usual[0, whole.moves] < FEW_MOVES:
            return 1.0
        return float(whole.usual[0, whole.under] / whole.usual[0, whole.moves])

    def _crowd(self, table: Table, rows: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        """Which of these rows rise and fall with everybody, which of them because they are a good part of the application (its own key, the address of its gateway), and the share of each in the requests of two hours."""
        whole = self.tables["app"]
        if not whole.names:
            return np.full(len(rows), table.scope in FEW), np.zeros(len(rows), dtype=bool), np.zeros(len(rows))
        share = np.minimum(1, table.sums[rows, 1, 0] / np.maximum(1, whole.sums[0, 1, 0]))
        if table.scope in FEW or len(table.names) < PEERS:
            return np.ones(len(rows), dtype=bool), np.zeros(len(rows), dtype=bool), share
        large: Numbers = table.usual[rows, 0] > max(LARGE * whole.usual[0, 0], LEAST / 10)
        return large, large, share

    def _is_common(self, table: Table, rows: Numbers) -> Numbers:
        """Which of these rows usually stand for a good part of the application: what they do may be anybody's, so an alarm about one explains no other."""
        whole = self.tables["app"]
        if table.scope in FEW or not whole.names:
            return np.ones(len(rows), dtype=bool)
        common: Numbers = table.usual[rows, 0] > LARGE * whole.usual[0, 0]
        return common

    def _rise(self, table: Table, rows: Numbers, loud: Numbers, now: float) -> None:
        """Remember since when somebody stands out; after a calm day it begins anew."""
        for row, _, at in np.argwhere(loud).tolist():
            rule = table.rule_of[at]
            if rule is not None:
                key = (rule.kind, table.scope, str(table.names[rows[row]]))
                since, last = self.rises.pop(key, (now, now))
                self.rises[key] = (since if now - last < DAY else now, now)
        while len(self.rises) > 20_000:
            del self.rises[next(iter(self.rises))]

    def _alarms(
        self,
        table: Table,
        columns: Columns,
        active: Active,
        over: Numbers,
        scores: Numbers,
        expected: Numbers,
        limit: Numbers,
        now: float,
    ) -> list[Alarm]:
        rows = active.rows
        common = self._is_common(table, rows)
        best: dict[tuple[int, int], tuple[float, int]] = {}
        for row, window, at in np.argwhere(over).tolist():
            ratio = float(scores[row, window, at] / limit[row, window, at])
            if ratio > best.get((row, at), (0.0, 0))[0]:
                best[row, at] = (ratio, window)
        alerts = []
        for (row, at), (ratio, window) in sorted(best.items(), key=lambda item: -item[1][0]):
            rule, who = table.rule_of[at], str(table.names[rows[row]])
            if rule is None or self.cooling.is_cold(rule.kind, table.scope, who, now):
                continue
            mine = active.owners[active.inverse == row]
            counted = mine[columns.measures[mine, table.columns[at]] > 0]
            events = [columns.events[i] for i in (counted if len(counted) else mine)[-EVIDENCE:]]
            if self.cooling.is_news(rule.kind, table.scope, who, events, now, is_cause=not common[row]):
                why = self._why(table, rule, int(rows[row]), window, at, float(scores[row, window, at]), expected[row], float(limit[row, window, at]), now)  # fmt: skip
                if table.scope in ONES and table.is_consumption[at] and self._rings_daily(now):
                    for scope in ONES:
                        self.tables[scope].loosen(ratio)
                shares = self._shares(table, int(rows[row]), window, at)
                alerts.append(self._teller(now).stands_out(rule, why, events, ratio, window, shares))
        return alerts

    def _shares(self, table: Table, row: int, window: int, at: int) -> tuple[float, float] | None:
        """The share of its events for which one stands out, and what is usual, where that is what counts."""
        if at == table.new:
            return table.newcomers(row, window)
        if at == table.under and table.is_split:
            return table.stays_under(row, window, self._under())
        return None

    def _rings_daily(self, now: float) -> bool:
        """Whether this is today's first alarm about how much a single one does, and another day of the last week had one: whoever wants to teach it that is told of every day."""
        today = int(now // DAY)
        days = [day for day in self.rang if day >= today - WEEK]
        self.rang = days if today in days else [*days, today]
        return today not in days and len(days) >= OFTEN

    def _why(
        self,
        table: Table,
        rule: Rule,
        row: int,
        window: int,
        at: int,
        score: float,
        expected: Numbers,
        limit: float,
        now: float,
    ) -> Why:
        who, usual = str(table.names[row]), float(expected[window, at])
        return Why(
            scope=table.scope,
            who=who,
            measure=rule.measure,
            usual=round(usual, 3),
            peers=round(float(table.peers(expected)[window, at]), 3),
            seen=round(float(table.sums[row, window, at]), 3),
            window=WINDOWS[window],
            since=self.rises.get((rule.kind, table.scope, who), (now, now))[0],
            until=now,
            times=round(score, 2),
            limit=round(limit, 2),
            learned=round(min(float(now - table.first[row]), now - self.begun) / DAY, 2),
            everybody=round(float(table.everybody[window, at]), 2),
            app=self.app,
        )

    def _surge(self, columns: Columns, now: float) -> list[Alarm]:
        rise, usual = self.season.rise(now), self.season.expected(now)
        if rise < SURGE or self.is_learning(now) or self.cooling.is_cold("traffic_surge", "app", self.app, now):
            return []
        self.cooling.is_news("traffic_surge", "app", self.app, [], now)
        return [self._teller(now).surge(rise, usual, SURGE, (now - self.begun) / DAY, columns.events)]

    def _spending(self, columns: Columns, now: float) -> list[Alarm]:
        found: list[Alarm] = []
        for place, budget in enumerate(self.budgets.budgets):
            field = columns.fields.get(budget.scope)
            if field is None:
                continue
            for who, amount in _used(budget, field, columns).items():
                if amount and budget.who in ("", who):
                    spent = self.budgets.add(place, who, amount, now)
                    if spent:
                        found.append(self._teller(now).spent(spent))
        return found


def _used(budget: Budget, field: Column, columns: Columns) -> dict[str, float]:
    """What each used in this slice; of concurrency the most at once among what ended in it."""
    mine: dict[str, list[int]] = {}
    for value, event in zip(field.values, field.events.tolist(), strict=True):
        mine.setdefault(str(value), []).append(event)
    if budget.measure != "concurrency":
        values = columns.measures[:, AT[budget.measure]]
        return {who: float(values[events].sum()) for who, events in mine.items()}
    spans = [(one.time - max(0.0, one.seconds), one.time) for one in columns.events]
    return {who: float(peak([spans[event] for event in events])) for who, events in mine.items()}
