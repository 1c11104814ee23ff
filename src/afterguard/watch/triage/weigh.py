"""How much an alert matters: likelihood x blast radius x money.

In: an alert's own severity, the chance that it is true, how many it touches, what its kind can cost. Out: risk of 0 to 100 and the severity that goes with it.

The scale is logarithmic in the expected loss: 20 more is ten times as much. Where nobody priced a kind, VALUE stands in its place, so that an unpriced alert keeps the severity of its detector as long as it is at least as likely true as not; that is an order of work and no price, and Alert.money stays empty.
"""

from __future__ import annotations

import math

from afterguard.model import Confidence, Range, Severity

VALUE = {Severity.info: 100.0, Severity.low: 2_000.0, Severity.medium: 20_000.0, Severity.high: 200_000.0, Severity.critical: 2_000_000.0}  # fmt: skip
FROM = ((80, Severity.critical), (60, Severity.high), (40, Severity.medium), (20, Severity.low))
START = {Confidence.high: (9.0, 1.0), Confidence.medium: (3.0, 2.0), Confidence.low: (1.0, 3.0)}
"""Beta prior of how often a detector of that confidence is right; what people say of its alerts is added."""
COUNTED = ("identity", "key", "conversation", "document", "device", "payee")


def likelihood(confidence: Confidence, confirmed: int, refuted: int) -> float:
    """Chance that an alert is what it says, after so many were confirmed and refuted."""
    a, b = START[confidence]
    return (a + confirmed) / (a + b + confirmed + refuted)


def risk(severity: Severity, likely: float, touched: dict[str, int], money: Range | None) -> tuple[int, Severity]:
    """Risk from 0 to 100, and the severity it means."""
    value = max(money.mid, 1.0) if money is not None else VALUE[severity]
    blast = max((touched.get(kind, 0) for kind in COUNTED), default=0)
    expected = likely * value * (1 + math.log10(max(1, blast)))
    points = round(max(0.0, min(100.0, 20 * math.log10(1 + expected / 100))))
    return points, next((name for least, name in FROM if points >= least), Severity.info)
