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
        """Of requests that hit, the prior included."""
        asked, hit = self.requests.get(app), self.kinds.get((app, kind))
        prior = PRIOR.get(confidence, PRIOR["medium"])
        return ((hit.hits if hit else 0.0) + prior * SURE) / ((asked.hits if asked else 0.0) + SURE)

    def is_new(self, app: str, time: float) -> bool:
        """Whether too little is known of an application to say what is rare in it."""
        asked = self.requests.get(app)
        return asked is None or time - asked.first < DAY

    def a_day(self, app: str, kind: str) -> float:
        """Hits of a kind in a usual day."""
        hit = self.kinds.get((app, kind))
        return hit.hits / RATE if hit else 0.0

    def asked(self, app: str) -> float:
        """Requests of a usual day."""
        one = self.requests.get(app)
        return max(one.hits / RATE, 1.0) if one else 1.0


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

    def surprise(self, row: Row, what: str, share: float) -> float:
        """In nats, of one kind of hit."""
        own = row.before_hits.get(what, 0.0) / row.before_requests if row.before_requests >= 20 else 0.0
        return bound(row.hits.get(what, 0.0), row.requests, max(share, min(own, 0.9)))


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
