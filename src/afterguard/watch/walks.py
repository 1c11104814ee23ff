"""Evasion walks: one caller asks again and again with almost the same input until the decision turns.

In: Rows in the order of the log. Out: Alerts of kind evasion_walk; at run time (`is_live`) as soon as one is sure, else when the walk ends. Theory: a walk is a chain of different inputs of one caller, each near
the one before (Scales.distance below NEAR) - LEAST of them with more than one decision among them. Retries of the same input do
not count, nor do corrections of a form: they are few. Bounded: CALLERS_CAP callers, the least recent forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from afterguard.detect.detector import Pseudonym
from afterguard.model import Confidence, Severity
from afterguard.watch.alarm import Alarm, Moment, of
from afterguard.watch.predictions import Row, Scales

ID = "walks"
TAXONOMIES = ("AML.T0015", "AML.T0043", "CWE-693")
NEAR = 0.3
LEAST = 10
WARM = 200
"""Rows before scales are trusted."""
CALLERS_CAP = 20_000
IDS_CAP = 5_000
GAP = 6 * 3600.0
LOOK = 4
"""A row may be near any of the last LOOK rows of the walk, with fewer than LOOK strangers between: walks are interleaved."""


class Chain:
    """A caller's walk in progress."""

    __slots__ = ("decisions", "flips", "ids", "recent", "steps", "strayed", "time", "told")

    def __init__(self) -> None:
        self.recent: list[tuple[float, ...]] = []
        self.decisions: list[str] = []
        self.flips = 0
        self.steps = 0
        self.strayed = 0
        self.ids: list[Moment] = []
        self.time: float | None = None
        self.told = False


class Walks:
    """State of all callers."""

    def __init__(
        self, scales: Scales, pseudonym: Pseudonym, *, is_live: bool = False, callers: int = CALLERS_CAP
    ) -> None:
        self._scales = scales
        self._pseudonym = pseudonym
        self._is_live = is_live
        self._cap = callers
        self._chains: OrderedDict[str, Chain] = OrderedDict()
        self._rows = 0
        self._done: list[Alarm] = []

    def feed(self, row: Row) -> list[Alarm]:
        """Extend or end the caller's chain; what is sure by now."""
        self._rows += 1
        if not row.caller or self._rows < WARM:
            return []
        chain = self._chains.get(row.caller)
        if chain is None:
            chain = self._chains[row.caller] = Chain()
            if len(self._chains) > self._cap:
                gone, old = self._chains.popitem(last=False)
                self._end(gone, old)
        self._chains.move_to_end(row.caller)
        self._step(row, chain)
        chain = self._chains[row.caller]
        if self._is_live and not chain.told and _is_sure(chain):
            self._end(row.caller, chain)
            chain.told = True
        done, self._done = self._done, []
        return done

    def _step(self, row: Row, chain: Chain) -> None:
        if row.values in chain.recent:
            return
        late = row.time is not None and chain.time is not None and row.time - chain.time > GAP
        near = not late and any(self._scales.distance(row.values, other) < NEAR for other in chain.recent)
        if chain.recent and not near:
            chain.strayed += 1
            if chain.strayed < LOOK and not late:
                return
            self._end(row.caller, chain)
            chain = self._chains[row.caller] = Chain()
        if chain.decisions and row.decision != chain.decisions[-1]:
            chain.flips += 1
        chain.strayed = 0
        chain.steps += 1
        chain.time = row.time
        chain.recent = [*chain.recent, row.values][-LOOK:]
        chain.decisions = [row.decision]
        if len(chain.ids) < IDS_CAP:
            chain.ids.append((row.id, row.time))

    def _end(self, caller: str, chain: Chain) -> None:
        if chain.steps >= LEAST and chain.flips and not chain.told:
            shown = self._pseudonym(caller)[:12]
            self._done.append(
                of(
                    "evasion_walk",
                    ID,
                    TAXONOMIES,
                    chain.ids,
                    severity=Severity.high,
                    confidence=Confidence.high if _is_sure(chain) else Confidence.medium,
                    cause=f"caller {shown}",
                    rule=f"{chain.steps} different, almost identical inputs in a row by caller {shown}; the decision turned "
                    f"{chain.flips} times",
                    would_change="the caller is a tester, or corrects one form in small steps",
                    callers=(caller,) if self._is_live else (),
                )
            )

    def finish(self) -> Iterator[Alarm]:
        """Alerts of ended and unfinished walks."""
        for caller, chain in self._chains.items():
            self._end(caller, chain)
        self._chains.clear()
        yield from self._done


def _is_sure(chain: Chain) -> bool:
    return chain.flips >= 2 and chain.steps >= 15
