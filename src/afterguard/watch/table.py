"""Those of one scope (all keys, all shapes of text) that matter: what each did lately, what it usually does, what its peers do.

In: sums a row for one slice of time. Out: for each active row and measure how many times more than expected it did.

Theory of operation. A row holds, for each window, a sum that fades (weight 1/e after the window), and a usual day: a slow mean of
whole days that are over. Today is never part of what is usual. What a day may teach is clipped: at most twice the usual plus what
peers go over theirs, and once a row is known, the usual rises at most RISE a day. So whoever raises their rate slowly to make it usual leaves
it behind. `jump` is by how much rows go over their own usual now and then: the quantile 1 - 1/rows^0.7 of the excess, learnt over days.
The score of a row is (seen / everybody + jump) / (usual + jump): it needs both an excess over its own past and one that peers do not show.
`everybody` is how many times its usual the middle of the population does, without the top tenth: one abuser cannot hide behind himself.
One that is younger than LEARN days is expected to do what others did that were new within the last week (`newcomer`), those who came for a day and went included: what old and busy rows do says nothing of it.
`jump` is what the largest rows do; of a small row less is believed, in proportion to the square root of what is expected of it, as counts go (`wild`, the same quantile of the excess over that root).
Company: of a group (a text, a network, a payee) the identities that are new to the application are held against how many of an ordinary group's are (`company`), by their likelihood ratio. A button that everybody presses
has as many newcomers as everything has, however many press it; a template that only accounts made for the purpose send has nothing else.
One that came when the application was known already is on trial for MEMORY days: its own past excuses it no further than what the established do at most, and of consumption less is borne.
The alarm's limit is twice the highest score the population showed without alarm, and never lower than the rule's.

Memory is bounded as in Space-Saving (Metwally et al. 2005): when the table is full, rows with the least activity of the last day give way. Whoever does
more than one in `size` of all events of a day stays: of those that gave way it is remembered how much they did (`Forgotten`), or one event an hour would never add up beside thousands who come once a day.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import repeat

import numpy as np

from afterguard.watch.columns import AT, MEASURES
from afterguard.watch.forgotten import Forgotten
from afterguard.watch.kinds import ACCOUNT, NEVER, WINDOWS, Rule
from afterguard.watch.seen import Numbers

DAY = 86_400.0
HOUR = 3_600.0
LEARN = 3.0
"""Days until limits are trusted."""
FREE = 8.0
"""Days in which the past is taken as it is, a whole week and a day."""
MEMORY = 14.0
"""Days a usual day is the mean of."""
FRESH = 7 * DAY
RISE = 0.02
YEARS = 1_000 * DAY
"""What is older is as if it were not."""
FADE = 0.99
"""Of a peak, a day."""
WILD = 0.7
"""Times the rule's that the first days may teach as the highest score: what was wild then needs up to 1.4 times as much for a while."""
TRIED = 0.6
"""Of the rule's times, for those that came lately."""
BILL = ("cost", "tokens")
CONSUMED = ("requests", "tokens", "cost", "seconds", "new_shapes")
SLACK = 2.0
"""The limit over the highest score seen without alarm."""
TAIL = 0.7
LOOSEST = 3.0
"""Times the limit that is demanded at most of a measure whose alarm rings daily."""
PEERS = 8
"""Rows below which nothing is said of peers."""
CROWD = 30
"""Active rows below which nothing is said of everybody."""
SAMPLE = 1_000
GOES_ON = 0.25
"""Of what a day or a week had over the usual, so much of its pace must be there now."""
LOOK = (600.0, 1_800.0, HOUR, HOUR)
"""Seconds from one look at the population to the next, for each window."""
FIRST = 256
KEEPS = 10
"""Identities from which the company that a group keeps is looked at."""
PROOF = 20.0
"""Logarithm of how much likelier a group's newcomers are if they are no chance than if they are: one in 500 million."""
SPLIT = 12.0
"""The same for amounts just under a limit: one in 160,000, since few move as many as count."""
SPLITS = 3.5
"""Amounts just under a limit from which their share counts: four, the first of them fading."""
LITTLE = 0.02
"""The least share of amounts that is taken to lie just under a limit by chance."""
TOP = 0.9
"""Of what keeps company, at most so many are taken to be newcomers by nature."""
PERSONS = ("user", "key", "device")
"""Of these each is one, as a rule; behind an address or a network there may be a fair."""
CROWDS = ("client", "model", "tenant", "app", "prompt")
TAU = np.array(WINDOWS)
SHARE = (TAU / DAY)[:, None]
"""Of a usual day in each window."""


class Table:
    """All rows of one scope."""

    def __init__(self, scope: str, rules: Sequence[Rule], size: int) -> None:
        self.scope = scope
        self.rules = tuple(rules)
        self.size = size
        self.columns = [AT["requests"], *(AT[r.measure] for r in rules if r.measure != "requests")]
        self.new = next((at for at, c in enumerate(self.columns) if c == AT["new_identities"]), -1)
        """Where the identities new to the application stand; -1 where they are not counted."""
        if self.new >= 0:
            self.columns.append(AT["newcomers"])
        if scope == "app":
            self.columns += [AT["tokens"], AT["moves"]]  # nothing is said of them; single ones are held against them
        at = {MEASURES[c]: place for place, c in enumerate(self.columns)}
        self.under, self.moves = (at.get(name, -1) for name in ("under_limit", "moves"))
        """Where the amounts just under a limit stand, and all actions; -1 where they are not counted."""
        self.is_split = self.under >= 0 and self.moves >= 0 and scope not in CROWDS
        """Whether the share of those amounts says something: of what everybody sends it is the application's own."""
        self.rule_of = [next((r for r in rules if AT[r.measure] == c), None) for c in self.columns]
        self.floors = np.array([r.floors if r else (NEVER,) * 4 for r in self.rule_of], dtype=np.float32).T.copy()
        if scope in CROWDS:
            # What many do together comes in waves: two hours at least, and twice as much.
            self.floors *= 2
            self.floors[0] = NEVER
        self.times = np.array([r.times if r else NEVER for r in self.rule_of], dtype=np.float32)
        if scope in CROWDS:
            self.times *= 1.5
        self.least = np.where(np.isfinite(self.floors), self.floors / 5, 1.0).astype(np.float32)
        self.rows: dict[Hashable, int] = {}
        self.names: list[Hashable] = []
        self.is_free = True
        """Whether days teach without limit: in an application's first eight, so that a job of every Friday is known."""
        self.overlooked = 0
        self.evicted = 0
        self.forgotten = Forgotten()
        wide = (len(WINDOWS), len(self.columns))
        self.jump = np.zeros(wide, dtype=np.float32)
        self.wild = np.zeros(wide, dtype=np.float32)
        self.company = np.ones(len(WINDOWS), dtype=np.float32)
        """Share of requests by newcomers that groups have at most, by nature."""
        self.whole = np.ones(len(WINDOWS), dtype=np.float32)
        """The same of all groups together, lately: an advertisement brings newcomers everywhere."""
        self.everybody = np.ones(wide, dtype=np.float32)
        self.middle = np.zeros(wide, dtype=np.float64)
        self.middles = np.zeros(len(WINDOWS), dtype=np.int64)
        self.record = np.zeros(wide, dtype=np.float32)
        self.loose = 1.0
        """How many times the limit is demanded of how much one does, where that alarm rang on most days, about ever others."""
        self.looked = np.zeros(len(WINDOWS))
        self.newcomer = np.zeros(wide, dtype=np.float32)
        """What one that is new may do: the usual of an active peer."""
        self.established = np.zeros(wide, dtype=np.float32)
        """What those usually do at most that were there before and are no longer new."""
        self.begun = 0.0
        """When the application was first seen."""
        self.is_place = np.array([MEASURES[c] == "new_places" for c in self.columns])
        self.is_of_many = np.array([MEASURES[c].endswith("identities") for c in self.columns])
        self.is_account = np.array([r is not None and r.taxonomies[: len(ACCOUNT)] == ACCOUNT for r in self.rule_of])
        self.is_consumption = np.array([MEASURES[c] in CONSUMED for c in self.columns])
        self.is_bill = np.array([MEASURES[c] in BILL for c in self.columns])
        self.is_first = np.array([MEASURES[c].startswith("new_") for c in self.columns])
        self.make_room(min(FIRST, size))

    def make_room(self, rows: int) -> None:
        """Grow the arrays; what is there stays."""
        shape = (rows, len(WINDOWS), len(self.columns))
        have = len(self.names)
        for name, like in (
            ("sums", np.zeros(shape, dtype=np.float32)),
            ("usual", np.zeros((rows, shape[2]), dtype=np.float32)),
            ("today", np.zeros((rows, shape[2]), dtype=np.float32)),
            ("peak", np.zeros(shape, dtype=np.float32)),
            ("peak_today", np.zeros(shape, dtype=np.float32)),
            ("last", np.zeros(rows)),
            ("first", np.zeros(rows)),
            ("rolled", np.zeros(rows)),
            ("days", np.zeros(rows, dtype=np.float32)),
            ("hour", np.zeros(rows, dtype=np.int64)),
            ("gap", np.zeros(rows)),
            ("at", np.zeros(rows)),
            ("place", np.zeros(rows, dtype=np.uint64)),
            ("placed", np.zeros(rows)),
            ("owed", np.zeros(rows, dtype=np.float32)),
        ):
            if have:
                like[:have] = getattr(self, name)[:have]
            setattr(self, name, like)

    sums: Numbers
    usual: Numbers
    today: Numbers
    peak: Numbers
    peak_today: Numbers
    last: Numbers
    first: Numbers
    rolled: Numbers
    days: Numbers
    hour: Numbers
    gap: Numbers
    at: Numbers
    place: Numbers
    """Where the last event came from, and when."""
    placed: Numbers
    owed: Numbers
    """Requests in the day before it came, where it had given way in between: for its place among the others alone."""

    def admit(self, values: Sequence[Hashable], now: float) -> Numbers:
        """The row of each value, -1 where there is no room for it."""
        found = np.array(list(map(self.rows.get, values, repeat(-1))), dtype=np.int64)
        missing = np.flatnonzero(found < 0).tolist()
        if not missing:
            return found
        counts = Counter(map(values.__getitem__, missing))
        self._add(counts, np.unique(found[found >= 0]), now)
        found[missing] = list(map(self.rows.get, map(values.__getitem__, missing), repeat(-1)))
        self.overlooked += int((found < 0).sum())
        return found

    def _add(self, counts: Counter[Hashable], active: Numbers, now: float) -> None:
        new = list(counts)
        room = self.size - len(self.names)
        if len(new) > room:
            most = max(room, self.size // 4)
            if len(new) > most:
                new = sorted(new, key=lambda value: -counts[value])[:most]
            self._evict(len(new) - room, active, now, new)
        first = len(self.names)
        for value in new[: max(0, self.size - first)]:
            if len(self.names) == len(self.last):
                self.make_room(min(self.size, 2 * len(self.last)))
            self.rows[value] = len(self.names)
            self.names.append(value)
        self._clear(list(range(first, len(self.names))), now)
        came = [value for value in counts if value in self.rows]
        self.owed[[self.rows[value] for value in came]] = self.forgotten.of(came, now)

    def _evict(self, count: int, active: Numbers, now: float, new: list[Hashable]) -> None:
        """Give the rows with the least activity of the last day to the new ones."""
        have = len(self.names)
        lately = self.sums[:have, 2, 0] * np.exp(-(now - self.last[:have]) / DAY)
        lately += self.owed[:have] * np.exp(-(now - self.first[:have]) / DAY)
        weight = lately + self.usual[:have, 0] / 4
        weight[active] = np.inf
        count = min(count, int(np.isfinite(weight).sum()))
        if count <= 0:
            return
        places = np.argpartition(weight, count - 1)[:count]
        rows = places.tolist()
        self.forgotten.add([self.names[row] for row in rows], lately[places], now)
        for row in rows:
            value = new.pop()
            del self.rows[self.names[row]]
            self.names[row], self.rows[value] = value, row
        self._clear(rows, now)
        self.evicted += count

    def _clear(self, rows: Sequence[int], now: float) -> None:
        """Make them new. All at once: one by one it took a third of the time when most who come are strangers."""
        if not rows:
            return
        for name in ("sums", "usual", "today", "peak", "peak_today", "days", "gap", "at", "place", "placed", "owed"):
            getattr(self, name)[rows] = 0
        self.last[rows] = self.first[rows] = self.rolled[rows] = now
        self.hour[rows] = -1

    def add(self, rows: Numbers, amounts: Numbers, now: float) -> None:
        """What these rows (each once) did in the slice that ends now."""
        passed = np.maximum(0.0, now - self.last[rows])
        fade = np.exp(-passed[:, None] / TAU).astype(np.float32)
        self.sums[rows] = self.sums[rows] * fade[:, :, None] + amounts[:, None, :]
        self.last[rows] = now
        over = rows[now - self.rolled[rows] >= DAY]
        if len(over):
            self._end_day(over, now)
        self.today[rows] += amounts
        self.peak_today[rows] = np.maximum(self.peak_today[rows], self.sums[rows])

    def _end_day(self, rows: Numbers, now: float) -> None:
        """Take the day that is over into what is usual, clipped."""
        passed = np.floor(np.minimum(now - self.rolled[rows], YEARS) / DAY)[:, None]
        usual, day, known = self.usual[rows], self.today[rows], self.days[rows][:, None]
        jump = self.jump[2]
        learnt = np.minimum(day, 2 * usual + np.maximum(jump, self.least[2]))
        if not self.is_free:
            day = np.where(known >= LEARN, learnt, day)
        pace = 1.0 / np.minimum(known + 1, MEMORY)
        new = usual + (day - usual) * pace
        top = usual * (1 + RISE) ** passed + np.maximum(jump, self.least[2]) / 10
        if not self.is_free:
            new = np.where(known >= 2 * LEARN, np.minimum(new, top), new)
        self.usual[rows] = new * (1 - 1 / MEMORY) ** np.minimum(passed - 1, 60)
        self.peak[rows] = self._peak(rows, passed[:, :, None], known[:, :, None])
        self.today[rows] = 0
        self.peak_today[rows] = 0
        self.days[rows] += passed[:, 0]
        self.rolled[rows] += np.floor((now - self.rolled[rows]) / DAY) * DAY

    def _peak(self, rows: Numbers, passed: Numbers, known: Numbers) -> Numbers:
        """The busiest time of a window that is usual, clipped as days are: a job of the night is busy every night."""
        peak, seen = self.peak[rows], self.peak_today[rows]
        jump = np.maximum(self.jump, self.least)
        if not self.is_free:
            seen = np.where(known >= LEARN, np.minimum(seen, 2 * peak + jump), seen)
            seen = np.where(known >= 2 * LEARN, np.minimum(seen, peak * (1 + RISE) ** passed + jump / 5), seen)
        new: Numbers = np.maximum(peak * FADE**passed, seen)
        return new

    def expected(self, rows: Numbers, season: float) -> Numbers:
        """What is usual in each window and measure, from the own past, and of those that are young from their peers'."""
        usual: Numbers = self.usual[rows][:, None, :] * SHARE.astype(np.float32)
        usual[:, :2] *= max(1.0, season)
        return self._of_young(rows, np.maximum(usual, self.peak[rows]), self.newcomer, self.established)

    def expected_in(self, rows: Numbers, window: int) -> Numbers:
        """The same in one window, whatever the season."""
        usual = self.usual[rows] * np.float32(SHARE[window, 0])
        return self._of_young(
            rows, np.maximum(usual, self.peak[rows, window]), self.newcomer[window], self.established[window]
        )

    def _is_on_trial(self, rows: Numbers) -> Numbers:
        """Which came when the application was known already, less than MEMORY days ago: their own past excuses them no further than what peers do."""
        tried: Numbers = (self.first[rows] > self.begun + FREE * DAY) & (self.days[rows] < MEMORY)
        return tried

    def _of_young(self, rows: Numbers, usual: Numbers, newcomer: Numbers, established: Numbers) -> Numbers:
        """Those that are young are expected to do what their peers do."""
        days = self.days[rows]
        young, new = days < LEARN, days < 1
        tried = self._is_on_trial(rows)
        if tried.any():
            usual[tried] = np.minimum(usual[tried], np.maximum(newcomer, established))
        if young.any():
            usual[young] = np.maximum(usual[young], newcomer)
        if new.any():
            # Every place is new to one that is new; and few keys have no peers that show how much of the rest is.
            unfair = self.is_first if len(self.names) < CROWD and self.scope == "key" else self.is_place
            usual[new] = np.where(unfair, np.float32(1e9), usual[new])
        return usual

    def score(
        self,
        rows: Numbers,
        season: float,
        rise: float,
        crowd: Numbers,
        share: Numbers,
        along: Numbers | None = None,
        under: float = 1.0,
    ) -> tuple[Numbers, Numbers, Numbers]:
        """(score, excess, expected) a row, window and measure.

        `along`: how many of each measure a request brings by itself, at most: whoever sends far more has more of everything, and only the first is news.

        `under`: the share of the application's amounts that lie just under a limit.

        `rise`: how many times more are active than usual. It weighs on the rows in `crowd`, and on what many do together, less so where the row has a large `share` in what goes on: it may be the cause.
        """
        expected = self.expected(rows, season)
        if along is not None:
            expected = np.maximum(expected, self.sums[rows, :, :1] * along)
        jump = self.peers(expected)
        seen = self.sums[rows] / self.everybody
        if rise > 1:
            of_row = np.where(crowd, rise, np.maximum(1.0, rise * (1 - share)))[:, None, None].astype(np.float32)
            applies = self.is_of_many[None, None, :] | crowd[:, None, None]
            seen = np.where(applies, np.minimum(seen, self.sums[rows] / of_row), seen)
        scores, excess = (seen + jump) / (expected + jump), seen - expected
        if self.new >= 0:
            for have, kept in zip((scores, excess), self._kept_company(rows), strict=True):
                have[:, :, self.new] = np.maximum(have[:, :, self.new], kept)
        if self.is_split and under < 1:
            for have, kept in zip((scores, excess), self._stayed_under(rows, under), strict=True):
                have[:, :, self.under] = np.maximum(have[:, :, self.under], kept)
        return scores, excess, expected

    def peers(self, expected: Numbers) -> Numbers:
        """By how much the likes of rows of whom this is expected go over it now and then."""
        jump = np.minimum(self.jump, self.wild * np.sqrt(np.minimum(expected, 1e9) + self.least))
        most: Numbers = np.maximum(jump, self.least)
        return most

    def newcomers(self, row: int, window: int) -> tuple[float, float]:
        """The share of a group's requests that come from newcomers, and at most of groups by nature."""
        share = float(self.sums[row, window, -1] / max(1e-6, float(self.sums[row, window, 0])))
        return min(1.0, share), float(max(self.company[window], self.whole[window]))

    def stays_under(self, row: int, window: int, under: float) -> tuple[float, float]:
        """The share of one's amounts that lie just under a limit, and what is usual of it."""
        share = float(self.sums[row, window, self.under] / max(1e-6, float(self.sums[row, window, self.moves])))
        return min(1.0, share), float(self._under(np.array([row]), under)[0])

    def _under(self, rows: Numbers, under: float) -> Numbers:
        """Which share of their amounts is expected just under a limit: the application's, or their own where that is more."""
        own = self.usual[rows, self.under] / np.maximum(self.usual[rows, self.moves], 5.0)
        usual: Numbers = np.clip(np.maximum(own, under), LITTLE, 1 - 1e-6)
        return usual

    def _stayed_under(self, rows: Numbers, under: float) -> tuple[Numbers, Numbers]:
        """The same of amounts just under a limit, the excess in units of the rule's floor: who splits one knows it, and stays under it with most of what he moves."""
        sums = self.sums[rows]
        below, moves = sums[:, :, self.under], sums[:, :, self.moves]
        share = np.clip(below / np.maximum(moves, 1e-6), 1e-6, 1 - 1e-6)
        usual = self._under(rows, under)[:, None]
        sure = np.where(below >= SPLITS, moves * _proof(share, usual), 0.0)
        score: Numbers = (self.times[self.under] * sure / SPLIT).astype(np.float32)
        # Where the share counts, few are enough: so many, and not the rule's floor.
        excess = (below - moves * usual) / SPLITS * self.floors[:, self.under]
        return score, np.where(sure > 0, excess, 0.0).astype(np.float32)

    def _kept_company(self, rows: Numbers) -> tuple[Numbers, Numbers]:
        """How sure it is that a group has more newcomers than groups have by nature, and than it has itself, in units of the alarm's limit; and how many more."""
        sums = self.sums[rows]
        new, requests, by = sums[:, :, self.new], sums[:, :, 0], sums[:, :, -1]
        share = np.clip(by / np.maximum(requests, 1e-6), 1e-6, 1 - 1e-6)
        own = self.usual[rows, -1] / np.maximum(self.usual[rows, 0], 5.0)
        usual = np.clip(np.maximum(np.maximum(self.company, self.whole), own[:, None]), 0.02, 1 - 1e-6)
        proof = np.where(new >= KEEPS, new / share * _proof(share, usual), 0.0)
        score: Numbers = (self.times[self.new] * proof / PROOF).astype(np.float32)
        return score, (new * (1 - usual / share)).astype(np.float32)

    def _company(self, window: int, sums: Numbers, passed: float, is_learning: bool) -> None:
        """What share of newcomers groups have at most."""
        new, requests = sums[:, self.new], sums[:, 0]
        many = new >= KEEPS
        share = sums[:, -1] / np.maximum(1e-6, requests)
        # No group weighs more than a few: the texts of one campaign are not everybody.
        weight = np.minimum(requests, KEEPS)
        whole = float((share * weight).sum() / max(1e-6, float(weight.sum())))
        self.whole[window] = 1.0 if is_learning else min(TOP, whole)
        shares = share[many]
        seen = max(whole, float(_quantile(shares[:, None], 1 - 1 / len(shares) ** TAIL)[0]) if len(shares) else 0.0)
        have = float(self.company[window])
        if is_learning or have >= 1:
            self.company[window] = 1.0 if is_learning else min(TOP, seen)
        elif seen > have:
            self.company[window] = min(TOP, seen, have * (1 + 0.05 * passed / DAY))
        else:
            self.company[window] = have + (seen - have) * min(1.0, passed / (2 * DAY))

    def goes_on(self, rows: Numbers) -> Numbers:
        """Whether a window is still filled: what is over long since fades slowly out of the longer ones, and is no news."""
        over = self.sums[rows] - self.usual[rows][:, None, :] * SHARE.astype(np.float32)
        answer = np.ones(over.shape, dtype=bool)
        for window, short in ((2, 0), (3, 1)):
            answer[:, window] = over[:, short] >= over[:, window] * (WINDOWS[short] / WINDOWS[window] * GOES_ON)
        return answer

    def limits(self, rows: Numbers) -> Numbers:
        """At which score each row stands out, a window and measure. Of those on trial less consumption is borne: most that came lately do little."""
        tried = self._is_on_trial(rows) & (self.days[rows] >= 1) & (self.scope in PERSONS)
        borne = np.where(self.is_consumption, self.loose * np.where(tried, TRIED, 1)[:, None], 1).astype(np.float32)
        limit: Numbers = np.maximum(self.times, SLACK * self.record) * borne[:, None, :]
        return limit

    def loosen(self, ratio: float) -> None:
        """It rings daily: what rang, half as much again at most, is ordinary here."""
        self.loose = min(LOOSEST, self.loose * min(1.1 * ratio, 1.5))

    def learn(self, best: Numbers, passed: float, is_learning: bool) -> None:
        """Take the highest scores that raised no alarm into the limit."""
        faded = self.record * np.float32(np.exp(-passed / (10 * DAY)))
        self.loose = 1 + (self.loose - 1) * float(np.exp(-passed / (30 * DAY)))
        if is_learning:
            top = self.times * 2
        else:
            top = np.maximum(self.times / SLACK, faded) * (1 + (0.5 if self.is_free else 0.1) * passed / DAY)
            if self.is_free:
                top = np.minimum(top, np.maximum(self.times * WILD, faded))
        self.record = np.maximum(faded, np.minimum(best, top)).astype(np.float32)

    def look_at_all(self, now: float, is_learning: bool) -> None:
        """Measure the population: every slice over ten minutes, more rarely over longer windows."""
        count = len(self.names)
        for window, every in enumerate(LOOK):
            if now - self.looked[window] < every:
                continue
            passed = now - self.looked[window] if self.looked[window] else every
            self.looked[window] = now
            rows = np.flatnonzero(now - self.last[:count] <= max(WINDOWS[window], 600.0))
            if len(rows) < PEERS:
                self.everybody[window] = 1
                if window == len(WINDOWS) - 1:
                    self._newcomer(count, now, passed, is_learning)
                continue
            sample = rows[:: -(-len(rows) // SAMPLE)]
            fade = np.exp(-(now - self.last[sample]) / WINDOWS[window]).astype(np.float32)
            sums = self.sums[sample, window] * fade[:, None]
            if window == len(WINDOWS) - 1:
                self._newcomer(count, now, passed, is_learning)
            self._everybody(window, sums, passed, is_learning)
            self._jump(window, sample, sums, len(rows), passed, is_learning)
            if self.new >= 0:
                self._company(window, sums, passed, is_learning)

    def _newcomer(self, count: int, now: float, passed: float, is_learning: bool) -> None:
        """What one that is new may do is what others did that were new within the last week; those who came for one day only count too.

        It rises a tenth a day at most: the new networks of one campaign do not excuse each other.
        """
        over = np.flatnonzero((self.days[:count] < 1) & (now - self.rolled[:count] >= DAY))
        if len(over):
            self._end_day(over, now)
        known = np.flatnonzero(self.days[:count] >= 1)
        old = np.flatnonzero(self.days[:count] >= LEARN)
        old = old[~self._is_on_trial(old)]
        if len(old):
            old = old[:: -(-len(old) // (2 * SAMPLE))]
            usual = np.maximum(self.usual[old][:, None, :] * SHARE, self.peak[old])
            self.established = _quantile(usual, 1 - 1 / len(old) ** TAIL).astype(np.float32)
        fresh = known[now - self.first[known] <= FRESH]
        if len(fresh) >= CROWD:
            known = fresh
        if len(known):
            known = known[:: -(-len(known) // (2 * SAMPLE))]
            usual = np.maximum(self.usual[known][:, None, :] * SHARE, self.peak[known])
            seen = _quantile(usual, 1 - 1 / len(known) ** TAIL)
            if not is_learning and self.newcomer.any():
                seen = np.minimum(seen, (self.newcomer + self.least) * (1 + 0.1 * passed / DAY) - self.least)
            self.newcomer = seen.astype(np.float32)
            if self.scope in CROWDS and count < CROWD:
                # There are few of them: what the largest has is no measure of how many take up another one at once.
                self.newcomer[:, self.is_of_many] = 0

    def _everybody(self, window: int, sums: Numbers, passed: float, is_learning: bool) -> None:
        count = len(sums)
        if count < CROWD:
            self.everybody[window] = 1
            return
        kept = count - max(3, count // 10)
        middle = np.partition(sums, kept, axis=0)[:kept].mean(axis=0)
        usual = self.middle[window]
        self.middles[window] += 1
        pace = max(passed / (7 * DAY), 1 / self.middles[window])
        times = middle / (usual + 0.05 * np.maximum(self.jump[window], self.least[window]))
        self.everybody[window] = 1 if self.middles[window] < 10 else np.clip(times, 1, 20)
        self.middle[window] = usual + (np.minimum(middle, middle if is_learning else 2 * usual + 1e-3) - usual) * pace

    def _jump(self, window: int, rows: Numbers, sums: Numbers, count: int, passed: float, is_learning: bool) -> None:
        expected = self.expected_in(rows, window)
        excess = np.maximum(0, sums / self.everybody[window] - expected)
        for have, of in ((self.jump, excess), (self.wild, excess / np.sqrt(expected + self.least[window]))):
            seen = _quantile(of, 1 - 1 / count**TAIL)
            jump = have[window]
            up = seen if self.is_free else np.minimum(seen, jump * (1 + 0.05 * passed / DAY))
            # In the first days everything is an excess, since nothing is usual yet: that is forgotten sooner.
            down = jump + (seen - jump) * min(1.0, passed / ((1 if is_learning else 7) * DAY))
            have[window] = np.where(seen > jump, up, down)


def _proof(share: Numbers, usual: Numbers) -> Numbers:
    """Logarithm, for each of them, of how much likelier this share is by itself than by what is usual; 0 where it is no larger."""
    proof: Numbers = np.where(
        share > usual, share * np.log(share / usual) + (1 - share) * np.log((1 - share) / (1 - usual)), 0.0
    )
    return proof


def _quantile(values: Numbers, share: float) -> Numbers:
    """Of each column, without interpolation: half the cost of NumPy's own, which counts here."""
    place = min(len(values) - 1, int(np.ceil(share * (len(values) - 1))))
    found: Numbers = np.partition(values, place, axis=0)[place]
    return found
