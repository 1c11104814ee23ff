"""Recorded traffic -> what has already happened: every exchange through every detector, hits merged into incidents.

In: paths of logs. Out: model.Lookback. It streams: memory does not grow with the log. It sends nothing and keeps no original text;
a caller that may keep originals passes `seen`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from afterguard import files, tap
from afterguard.detect import Context, look
from afterguard.detect.detector import Opinion
from afterguard.jobs.change_request import change_request
from afterguard.jobs.sightings import Sightings
from afterguard.model import Coverage, Exchange, Hit, Lookback
from afterguard.watch.analytics import Analytics
from afterguard.watch.distinct import Distinct
from afterguard.watch.merge import Merger

Progress = Callable[[int, int], None]
"""Called now and then with (exchanges, bytes) so far."""
Seen = Callable[[Exchange, Sequence[Hit]], None]
"""Called with each exchange in which a detector saw something more than inventory, and what it saw."""
STEP = 2_000
NAMES_CAP = 1_000
COVERAGE_CAP = 10_000


class Tally:
    """What one look-back counts."""

    def __init__(
        self,
        app: str,
        pseudonym: Callable[[str], str],
        seen: Seen | None = None,
        opinion: Opinion | None = None,
    ) -> None:
        self.context = Context(pseudonym, opinion)
        self.seen = seen
        self.merger = Merger(app)
        self.analytics = Analytics(pseudonym)
        self.sightings = Sightings()
        self.exchanges = self.bytes = self.assumed = self.without_prompt = 0
        self.first: float | None = None
        self.last: float | None = None
        self.unjudged: Counter[str] = Counter()
        self.models: Counter[str] = Counter()
        self.protocols: Counter[str] = Counter()
        self.inventory: dict[str, Distinct] = {}
        self.coverage: list[Coverage] = []
        self.left_out = 0

    def note(self, row: Coverage) -> None:
        """Keep a Coverage row, up to a cap; beyond it they are counted."""
        if len(self.coverage) < COVERAGE_CAP:
            self.coverage.append(row)
        else:
            self.left_out += 1

    def add(self, exchange: Exchange) -> None:
        """Judge and count one exchange."""
        self.exchanges += 1
        self.bytes += exchange.bytes
        self._when(exchange)
        self.protocols[exchange.protocol] += 1
        if exchange.model and (exchange.model in self.models or len(self.models) < NAMES_CAP):
            self.models[exchange.model] += 1
        for part in exchange.unjudged:
            self.unjudged[part.reason] += 1
        self.without_prompt += is_blind(exchange)
        self.sightings.feed(exchange)
        over = self.context.over_budget
        hits = list(look(exchange, self.context))
        self.unjudged["budget"] += self.context.over_budget - over
        for hit in hits:
            if hit.kind == "inventory":
                self._present(hit)
            else:
                self.merger.add(exchange, hit)
        self.analytics.feed(exchange, hits)
        if self.seen is not None and any(hit.kind != "inventory" for hit in hits):
            self.seen(exchange, [hit for hit in hits if hit.kind != "inventory"])

    def finish(self) -> None:
        """Merge what only the whole log shows."""
        for alert in self.analytics.finish():
            for exchange_id, time in alert.exchanges:
                self.merger.feed(alert.hit, exchange_id, time)

    def _when(self, exchange: Exchange) -> None:
        if exchange.time is None:
            return
        self.assumed += not exchange.time_zone_known
        self.first = exchange.time if self.first is None else min(self.first, exchange.time)
        self.last = exchange.time if self.last is None else max(self.last, exchange.time)

    def _present(self, hit: Hit) -> None:
        for name in hit.data_classes:
            counted = self.inventory.setdefault(name, Distinct())
            for identifier in hit.identifiers:
                counted.add(identifier)


NOT_LOGGED = {"prompt_not_logged", "response_not_logged"}


def is_blind(exchange: Exchange) -> bool:
    """Whether the log holds the event but not what was said."""
    if any(part.reason in NOT_LOGGED for part in exchange.unjudged):
        return True
    return not exchange.texts and exchange.prediction is None and exchange.protocol != "unknown"


def lookback(
    paths: Sequence[Path],
    *,
    app: str,
    pseudonym: Callable[[str], str],
    mapping: Any = None,
    clock: Callable[[], float] | None = None,
    progress: Progress | None = None,
    limits: files.Limits = files.DEFAULT,
    seen: Seen | None = None,
    opinion: Opinion | None = None,
) -> Lookback:
    """Judge every exchange of every log. `clock` gives seconds for the duration only; `opinion` is the learned judge, None leaves it out.
    Raises UsageError for a missing path."""
    began = clock() if clock else 0.0
    tally = Tally(app, pseudonym, seen, opinion)
    for entry in files.walk(list(paths), tally.note, limits):
        for exchange in tap.read(entry.full, entry.path, tally.note, mapping=mapping, limits=limits):
            tally.add(exchange)
            if progress and tally.exchanges % STEP == 0:
                progress(tally.exchanges, tally.bytes)
    if progress:
        progress(tally.exchanges, tally.bytes)
    return result(tally, (clock() - began) if clock else 0.0)


def request_for(tally: Tally) -> str:
    """The change request, where prompts or replies were never logged; "" where they mostly were."""
    blind = tally.without_prompt
    if not tally.exchanges or blind * 2 < tally.exchanges:
        return ""
    days = (tally.last - tally.first) / 86_400 if tally.first is not None and tally.last is not None else 0.0
    return change_request(
        tally.merger.app,
        seen=tally.exchanges,
        blind=blind,
        days=days,
        protocols=list(tally.protocols),
        models=list(tally.models),
    )


def result(tally: Tally, seconds: float) -> Lookback:
    """The counted state as one struct."""
    tally.finish()
    return Lookback(
        exchanges=tally.exchanges,
        incidents=tuple(tally.merger.incidents()),
        unjudged={reason: count for reason, count in sorted(tally.unjudged.items()) if count},
        inventory={name: len(seen) for name, seen in sorted(tally.inventory.items())},
        first_seen=tally.first,
        last_seen=tally.last,
        models=dict(tally.models.most_common()),
        protocols=dict(tally.protocols.most_common()),
        coverage=(*tally.coverage, *_left_out(tally)),
        bytes=tally.bytes,
        seconds=seconds,
        time_zone_assumed=tally.assumed,
        change_request=request_for(tally),
        assets=tally.sightings.assets(),
    )


def _left_out(tally: Tally) -> list[Coverage]:
    return (
        [Coverage("(logs)", "cap", "further rows of what was not read", count=tally.left_out)] if tally.left_out else []
    )
