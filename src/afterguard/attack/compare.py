"""Two runs of an attack: which families really give way more often than before, which less, and of which that cannot be told yet.

In: two Assessments of one application. Out: `Comparison`.

Theory of operation. Of each family the trials of those forms count that both runs tried: another form is another attack. They count as many as they are worth (effective.py), rounded down, so that ten trials of one form do not pass for ten. Their rates are compared by Fisher's exact test
(shares.by_chance). Fifty families would raise a false alarm in every second run, so the level is shared among them, but only among those that could reach it at all: with few trials or without a success on either side no outcome could have been significant, and such a family takes nothing from the others
(Tarone 1990); among the rest the level goes by Holm (1979). What is not significant is no proof of sameness: a family whose rate may have risen by more than `ROOM` is said to be open, with the trials it would take.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import msgspec

from afterguard.attack.assessment import Assessment
from afterguard.attack.effective import effective
from afterguard.model import Family, Severity
from afterguard.shares import Share, by_chance, difference, wilson

LEVEL = 0.05
"""Chance of one false alarm among all families of a comparison."""
ROOM = 0.25
"""A rise that is not ruled out and larger than this is not called the same."""
ENOUGH = 40
"""Trials beyond which no more is asked for."""


class Change(StrEnum):
    """What became of a family."""

    worse = "worse"
    better = "better"
    same = "same"
    open = "open"
    """Too few trials to tell."""
    apart = "apart"
    """Nothing to compare: assessed in one run only, or with other forms."""


class Pair(msgspec.Struct, frozen=True, omit_defaults=True):
    """One family in both runs."""

    technique: str
    title: str
    severity: Severity
    change: Change
    before: tuple[int, int]
    """Successes and trials, of the forms that both runs tried."""
    after: tuple[int, int]
    worth: tuple[float, float]
    """Independent trials they are worth, before and after."""
    chance: float
    """How likely it is that equal rates differ as much (two-sided)."""
    corrected: float
    """The same, for all families together."""
    low: float
    high: float
    """95 % interval of the rise of the rate."""
    needs: int = 0
    """Trials of the later run from which a full rise would show, where it is open; 0 where none would."""
    new_forms: tuple[str, ...] = ()
    """Forms that succeeded and that the earlier run did not try: neither better nor worse."""


class Comparison(msgspec.Struct, frozen=True):
    """Two runs."""

    target: str
    before: str
    after: str
    """Ids of the runs."""
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...] = ()
    """What makes the runs hard to compare."""
    format: str = "afterguard.attack-diff/1"

    @property
    def worse(self) -> tuple[Pair, ...]:
        """Families that really give way more often."""
        return tuple(one for one in self.pairs if one.change is Change.worse)


class _Counted(NamedTuple):
    """A family in both runs with the trials that can be compared."""

    old: Family
    new: Family
    before: tuple[int, int]
    after: tuple[int, int]
    worth: tuple[float, float]

    def shares(self) -> tuple[Share, Share]:
        """As independent trials."""
        return _whole(self.before, self.worth[0]), _whole(self.after, self.worth[1])


def compare(old: Assessment, new: Assessment) -> Comparison:
    """What changed between two runs, worst first."""
    by = {one.technique: one for one in old.families}
    counted = [_counted(by.get(one.technique, Family(one.technique)), one) for one in new.families]
    levels = corrected([one.shares() for one in counted])
    pairs = [_pair(one, level) for one, level in zip(counted, levels, strict=True)]
    order = list(Change)
    ranked = sorted(pairs, key=lambda one: (order.index(one.change), one.corrected, one.technique))
    return Comparison(new.target, old.run, new.run, tuple(ranked), _notes(old, new))


def corrected(shares: Sequence[tuple[Share, Share]], level: float = LEVEL) -> list[float]:
    """The chance of each pair, for all of them together (Tarone, then Holm); 1 for one that could reach no level."""
    least = [_least(*one) for one in shares]
    k = next((k for k in range(1, len(shares) + 1) if sum(one <= level / k for one in least) <= k), max(1, len(shares)))
    able = sorted((by_chance(*shares[at]), at) for at, one in enumerate(least) if one <= level / k)
    out, worst = [1.0] * len(shares), 0.0
    for rank, (chance, at) in enumerate(able):
        worst = max(worst, min(1.0, chance * (len(able) - rank)))
        out[at] = worst
    return out


def _least(one: Share, other: Share) -> float:
    """The smallest chance that these many trials and successes could have given, however they had fallen."""
    hits = one.part + other.part
    if not one.of or not other.of:
        return 1.0
    ends = (max(0, hits - other.of), min(one.of, hits))
    return min(by_chance(wilson(part, one.of), wilson(hits - part, other.of)) for part in ends)


def _counted(old: Family, new: Family) -> _Counted:
    common = sorted(old.forms.keys() & new.forms.keys())
    if not old.forms or not new.forms:  # A result without forms: all that there is.
        whole = [(one.succeeded, one.share.of) for one in (old, new)]
        return _Counted(old, new, whole[0], whole[1], (old.effective or whole[0][1], new.effective or whole[1][1]))
    sums = [_sum([one.forms[form] for form in common]) for one in (old, new)]
    worth = [effective(one.forms[form][1] for form in common) for one in (old, new)]
    return _Counted(old, new, sums[0], sums[1], (worth[0], worth[1]))


def _sum(rows: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return sum(part for part, _ in rows), sum(of for _, of in rows)


def _whole(counted: tuple[int, int], worth: float) -> Share:
    part, of = counted
    n = math.floor(worth + 1e-9)
    return wilson(round(part / of * n), n) if of and n else wilson(0, 0)


def _pair(one: _Counted, level: float) -> Pair:
    old, new = one.shares()
    low, high = difference(old, new) if old.of and new.of else (-1.0, 1.0)
    change, needs = _change(old, new, level, high), 0
    if change is Change.open:
        needs = next((n for n in range(new.of + 1, ENOUGH + 1) if by_chance(old, wilson(n, n)) <= LEVEL), 0)
    tried = one.old.forms.keys()
    fresh = tuple(form for form, (part, _) in sorted(one.new.forms.items()) if part and tried and form not in tried)
    return Pair(
        one.new.technique, one.new.title or one.new.technique, one.new.severity, change, one.before, one.after, one.worth, by_chance(old, new), level, low, high, needs, fresh,
    )  # fmt: skip


def _change(old: Share, new: Share, level: float, high: float) -> Change:
    if not old.of or not new.of:
        return Change.apart
    if level <= LEVEL:
        return Change.worse if new.rate > old.rate else Change.better
    return Change.same if high <= ROOM else Change.open


def _notes(old: Assessment, new: Assessment) -> tuple[str, ...]:
    rows = []
    if old.target != new.target:
        rows.append(f"these are two applications: {old.target} and {new.target}")
    if old.through != new.through:
        rows.append(f"the earlier run went {old.through}, the later one {new.through}: what differs may be the guard")
    rows += [f"the {which} run ended early: {one.stopped}" for which, one in (("earlier", old), ("later", new)) if one.stopped]  # fmt: skip
    return tuple(rows)
