"""What one finding or one incident adds to the expected loss, so that work can be ranked by money.

In: a model. Out: name -> expected loss a year. Findings of one driver share what the driver adds, by strength; incidents
share what the look-back adds over what the priors alone would say, by the events they count for.
"""

from __future__ import annotations

import numpy as np

from afterguard.risk import chain as chains
from afterguard.risk.portfolio import Model, Priced


def deltas(model: Model) -> dict[str, float]:
    """Fingerprint or incident id -> expected loss a year it adds (never negative), dearest first."""
    out: dict[str, float] = {}
    for one in model.priced:
        for name, amount in (*_findings(one), *_incidents(one)):
            out[name] = out.get(name, 0.0) + amount
    return dict(sorted(out.items(), key=lambda row: (-row[1], row[0])))


def _findings(one: Priced) -> list[tuple[str, float]]:
    rows = []
    for move in one.chain.moves:
        named = frozenset(chains.name_of(finding) for finding in move.findings)
        added = float(np.mean(one.yearly * (1.0 - one.chain.share_left(named, {}))))
        total = sum(chains.strength(finding) for finding in move.findings)
        rows += [(chains.name_of(finding), added * chains.strength(finding) / total) for finding in move.findings]
    return rows


def _incidents(one: Priced) -> list[tuple[str, float]]:
    added = max(0.0, float(np.mean((one.process.rate - one.chain.unseen) * one.cost)))
    counted = {
        incident.id: weight for seen in one.chain.observed for incident, weight in zip(seen.incidents, seen.each)
    }
    total = sum(counted.values())
    return [(name, added * weight / total) for name, weight in counted.items()]
