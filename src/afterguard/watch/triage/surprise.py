"""Whether hits of one identity, conversation, document or cause are more than chance makes of a noisy detector.

In: requests and hits. Out: surprise in nats, by how much the counts exceed what the application shows anyway.

Theory of operation. A detector that fires in 5 % of a million requests makes fifty thousand hits a day, and no person reads those. What a person should read is that one identity has nine hits in ten requests. For each application and kind the share of requests
that hit is learnt and fades over RATE days. For each identity (conversation, document) with a hit, requests and hits of the last day are kept, fading. With n requests, h hits and a share p, Chernoff's bound says P(h or more of n) <= exp(-n KL(h/n || p)); n KL is the surprise. p is never less than what
this identity itself did before, so that one that pastes odd mails all year is known for it. It is an alert where surprise exceeds ln(all identities of a day) + MARGIN: then chance makes fewer than one in e^MARGIN days.
A kind that is hardly ever seen needs no concentration: its share is so small that one hit is a surprise.
Memory: at most `size` rows; those that were quiet longest give way.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import msgspec

DAY = 86_400.0
RATE = 7.0
MARGIN = 4.0
"""Chance cries once in e^4 = 55 days."""
PRIOR = {"high": 1e-7, "medium": 1e-5, "low": 1e-3}
"""Share of requests that is expected to hit before anything is known, by the detector's own confidence, and how many requests that is worth: SURE."""
SURE = 20_000.0
OWN = 14.0
KNOWN = 5.0
"""Hits of a kind from which its share is what was counted."""
ANY = ""
"""All kinds together."""
PASSED = "passed "
"""Before a kind: those of it that had their way."""
KINDS = 3.0
"""Nats that a single kind must exceed more, for there are some twenty of them."""


class Rate(msgspec.Struct):
    """How often one kind hits in one application. Both sums fade over RATE days."""

    hits: float = 0.0
    at: float = 0.0
    first: float = 0.0


class Row(msgspec.Struct):
    """One identity, conversation, document or cause with hits. Sums fade over a day; `before` over OWN days, without the last one."""

    first: float
    last: float
    requests: float = 0.0
    hits: dict[str, float] = {}
    before_requests: float = 0.0
    before_hits: dict[str, float] = {}
    stages: set[int] = set()
    staged: float = 0.0


def bound(hits: float, requests: float, share: float) -> float:
    """n KL(h/n || p) in nats; 0 where there are no more than expected."""
    n, h = max(requests, hits), hits
    if n <= 0 or h <= n * share:
        return 0.0
    q, p = min(h / n, 1 - 1e-12), min(max(share, 1e-12), 1 - 1e-12)
    return n * (q * math.log(q / p) + (1 - q) * math.log((1 - q) / (1 - p)))


class Rates:
    """Shares of requests that hit, a kind."""

    def __init__(self) -> None:
        self.requests: dict[str, Rate] = {}
        self.kinds: dict[tuple[str, str], Rate] = {}

    def ask(self, app: str, time: float) -> None:
        """Count one request."""
        _add(self.requests.setdefault(app, Rate(at=time, first=time)), time)

    def hit(self, app: str, kind: str, time: float) -> None:
        """Count one hit."""
        _add(self.kinds.setdefault((app, kind), Rate(at=time, first=time)), time)

    def share(self, app: str, kind: str, confidence: str) -> float:
        """Of requests that hit. While there are hardly any hits, what the detector's confidence promises."""
        asked, hit = self.requests.get(app), self.kinds.get((app, kind))
        n, h = asked.hits if asked else 0.0, hit.hits if hit else 0.0
        if h >= KNOWN:
            return min(0.9, (h + 1) / (n + 1))
        return (h + PRIOR.get(confidence, PRIOR["medium"]) * SURE) / (n + SURE)

    def seen(self, app: str, kind: str) -> float:
        """Hits of a kind, fading."""
        one = self.kinds.get((app, kind))
        return one.hits if one else 0.0

    def begun(self, app: str, time: float) -> float:
        """Since when an application is known."""
        asked = self.requests.get(app)
        return asked.first if asked else time

    def is_new(self, app: str, time: float) -> bool:
        """Whether too little is known of an application to say what is rare in it."""
        return time - self.begun(app, time) < DAY

    def a_day(self, app: str, kind: str, time: float, least: float = 0.0) -> float:
        """Hits of a kind in a usual day; `least`: days that the past is taken to be at least, where one hit of a young application must not count as twenty a day."""
        hit, asked = self.kinds.get((app, kind)), self.requests.get(app)
        return hit.hits / max(least, _days(time - asked.first)) if hit and asked else 0.0

    def asked(self, app: str, time: float) -> float:
        """Requests of a usual day."""
        one = self.requests.get(app)
        return max(1.0, one.hits / _days(time - one.first)) if one else 1.0


def _days(past: float) -> float:
    """How many days a sum that fades over RATE days holds, after so many seconds of steady counting."""
    return max(0.05, RATE * (1 - math.exp(-max(0.0, past) / (RATE * DAY))))


def _add(rate: Rate, time: float) -> None:
    rate.hits = rate.hits * math.exp(-max(0.0, time - rate.at) / (RATE * DAY)) + 1
    rate.at = max(rate.at, time)


class Actors:
    """Those that had a hit lately."""

    def __init__(self, size: int = 100_000) -> None:
        self.size = size
        self.rows: OrderedDict[tuple[str, str, str], Row] = OrderedDict()
        self.evicted = 0

    def ask(self, app: str, kind: str, name: str, time: float) -> None:
        """Count a request of one that is known for a hit."""
        row = self.rows.get((app, kind, name))
        if row is not None:
            fade(row, time)
            row.requests += 1

    def hit(self, app: str, kind: str, name: str, what: str, stage: int, time: float) -> Row:
        """Count a hit, and give its row. The request it belongs to is counted with `ask`, or here where it is the first."""
        key = (app, kind, name)
        row = self.rows.get(key)
        if row is None:
            row = self.rows[key] = Row(time, time, 1.0, {}, 0.0, {}, set(), time)
            if len(self.rows) > self.size:
                self.rows.popitem(last=False)
                self.evicted += 1
        else:
            self.rows.move_to_end(key)
            fade(row, time)
        row.hits[what] = row.hits.get(what, 0.0) + 1
        if time - row.staged > DAY:
            row.stages.clear()
        row.stages.add(stage)
        row.staged = time
        return row

    def surprise(self, row: Row, app: str, rates: Rates, confidence: str) -> float:
        """In nats, of all hits together or of the kind that is most astonishing."""
        every = sum(row.hits.values())
        own = sum(row.before_hits.values())
        most = _surprise(row, every, own, rates.share(app, ANY, confidence))
        for what, hits in row.hits.items():
            most = max(most, _surprise(row, hits, row.before_hits.get(what, 0.0), rates.share(app, what, confidence)) - KINDS)  # fmt: skip
        return most

    def burst(self, row: Row, begun: float) -> float:
        """In nats, by how much a cause was seen more often within the last day than on the days before; hits are a Poisson process. `begun`: since when the application is known."""
        days = OWN * (1 - math.exp(-(row.last - row.first) / (OWN * DAY))) - 1
        if days < 0.5 and row.first < begun + DAY:
            return 0.0  # It may have been there for years.
        usual = max(1.0, sum(row.before_hits.values()) / days if days >= 0.5 else 0.0)
        seen = sum(row.hits.values())
        return seen * math.log(seen / usual) - (seen - usual) if seen > usual else 0.0


def _surprise(row: Row, hits: float, before: float, share: float) -> float:
    own = before / row.before_requests if row.before_requests >= 20 else 0.0
    return bound(hits, row.requests, max(share, min(own, 0.9)))


def fade(row: Row, time: float) -> None:
    """Let the last day pass into what is known from before."""
    past = max(0.0, time - row.last)
    if past <= 0:
        return
    keep, own = math.exp(-past / DAY), math.exp(-past / (OWN * DAY))
    row.before_requests = row.before_requests * own + row.requests * (1 - keep)
    for what in list(row.hits):
        row.before_hits[what] = row.before_hits.get(what, 0.0) * own + row.hits[what] * (1 - keep)
        row.hits[what] *= keep
        if row.hits[what] < 1e-3:
            del row.hits[what]
    row.requests *= keep
    row.last = time
