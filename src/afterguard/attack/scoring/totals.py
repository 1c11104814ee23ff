"""What a technique measured over all its trials.

In: results. Out: figures with intervals. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from afterguard.attack.scoring import figures
from afterguard.attack.trial import Figure, Result, Verdict
from afterguard.shares import wilson

OF_EACH = frozenset({"queries", "change", "cost", "moved", "at-stake", "controls-turned"})
"""Figures of single rows, which say something only together."""
COUNTS = frozenset({"decided-otherwise", "changes-seen", "granted-so", "labelled"})
"""Figures of trials that add up."""


class Measured(msgspec.Struct, frozen=True):
    """The figures of one technique."""

    technique: str
    figures: tuple[Figure, ...]


def measured(technique: str, results: Sequence[Result], has_money: bool) -> Measured:
    """Those of one technique."""
    own = _together([figure for result in results for figure in result.figures if figure.name not in OF_EACH])
    turned = [result for result in results if result.verdict is Verdict.succeeded and _values(result, "change")]
    rows = [result for result in results if _values(result, "queries") and result.verdict is not Verdict.not_assessed]
    if not rows:
        return Measured(technique, tuple(own))
    own.append(Figure("queries", _middle(rows, "queries"), of=len(rows)))
    if turned:
        stray = wilson(round(sum(one for each in turned for one in _values(each, "controls-turned"))), sum(figure.of for each in turned for figure in each.figures if figure.name == "controls-turned"))  # fmt: skip
        own.append(Figure("controls-turned", stray.rate, stray.low, stray.high, stray.of))
        own.append(Figure("change", _middle(turned, "change"), of=len(turned)))
        own.append(Figure("cost", _middle(turned, "cost"), of=len(turned)))
    return Measured(technique, (*own, *(_money(rows) if has_money else ())))


def _together(some: Sequence[Figure]) -> list[Figure]:
    """Counts of several trials as one; every other figure stays by itself."""
    counts: dict[str, Figure] = {}
    for one in some:
        if one.name in COUNTS:
            had = counts.get(one.name, Figure(one.name, 0))
            counts[one.name] = Figure(one.name, had.value + one.value, of=had.of + one.of)
    return [*counts.values(), *(one for one in some if one.name not in COUNTS)]


def _money(rows: Sequence[Result]) -> tuple[Figure, ...]:
    turned = [value for one in rows if one.verdict is Verdict.succeeded for value in _values(one, "moved")]
    held = [value for one in rows if one.verdict is Verdict.resisted for value in _values(one, "at-stake")]
    found = figures.moved(turned, held)
    return (
        Figure("moved", found.total, of=found.turned),
        Figure("moved-per-1000", found.per_thousand, found.low, found.high, found.tries),
    )


def _values(result: Result, name: str) -> list[float]:
    return [figure.value for figure in result.figures if figure.name == name]


def _middle(results: Sequence[Result], name: str) -> float:
    return float(np.median([value for one in results for value in _values(one, name)]))
