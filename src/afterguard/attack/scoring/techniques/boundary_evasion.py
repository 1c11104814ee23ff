"""A refused row is changed until it is granted, by decisions alone: with what granted rows have, or from corners of what can be changed; then a walk along the boundary makes the change small.

Source of the walk: decision-based attacks that feel out the boundary's direction by random probes (Chen, Jordan, Wainwright 2020); here for rows of numbers and categories, with few queries.
"""

from __future__ import annotations

from typing import Any

from afterguard.attack.scoring import flip, space
from afterguard.attack.scoring.contract import Aim, Attack, Technique
from afterguard.attack.scoring.techniques import score_evasion
from afterguard.model import Severity

BEGINNINGS = 10
PROBES = 4
WALK = 0.2
"""Of a span, how far a probe goes from the boundary."""
NEARER = 0.6


def from_granted(aim: Aim, row: flip.Found, box: space.Box, draw: space.Draw) -> flip.Search:
    """Begin with what rows have that were granted."""
    others = [aim.granted[at] for at in draw.permutation(len(aim.granted)).tolist()[:BEGINNINGS]]
    return (yield from walked(aim, row, box, draw, [space.between(row, other, box, 1.0) for other in others]))


def from_corners(aim: Aim, row: flip.Found, box: space.Box, draw: space.Draw) -> flip.Search:
    """Begin at the ends of everything that can be changed, and anywhere."""

    def corner() -> dict[str, Any]:
        return {name: (place.low if draw.random() < 0.5 else place.high) if isinstance(place, space.Span) else place[int(draw.integers(len(place)))] for name, place in box.items()}  # fmt: skip

    moves = [corner() for _ in range(BEGINNINGS - 3)] + [space.anywhere(box, draw) for _ in range(3)]
    return (yield from walked(aim, row, box, draw, [space.put(row, box, move) for move in moves]))


def walked(aim: Aim, row: flip.Found, box: space.Box, draw: space.Draw, begin: list[flip.Found]) -> flip.Search:
    """The nearest beginning that is granted, and from there nearer."""
    tried = space.affordable(aim, row, begin)
    if not tried:
        return None
    heard = yield tried
    granted = [one for one, answer in zip(tried, heard.answers, strict=True) if aim.is_wanted(answer)]
    if not granted:
        return None
    best = min(granted, key=lambda one: space.distance(aim, row, one))
    spans = {name: place for name, place in box.items() if isinstance(place, space.Span)}
    for _ in range((1 if aim.batch <= 1 else 3) if spans else 0):
        best = yield from _nearer(aim, row, best, box, spans, draw)
    return best


def _nearer(aim: Aim, row: flip.Found, best: flip.Found, box: space.Box, spans: dict[str, space.Span], draw: space.Draw) -> flip.Step:  # fmt: skip
    """Probes round a point say where granted rows lie; a step there, and back towards the row, is taken where it is granted and nearer."""
    ways = [{name: draw.uniform(-1, 1) * WALK * (span.high - span.low) for name, span in spans.items()} for _ in range(PROBES)]  # fmt: skip
    probes = [space.put(best, box, {name: space.value_of(best, name) + step for name, step in way.items()}) for way in ways]  # fmt: skip
    heard = yield probes
    signs = [1.0 if aim.is_wanted(answer) else -1.0 for answer in heard.answers]
    step = {name: sum(sign * way[name] for sign, way in zip(signs, ways, strict=True)) / PROBES for name in spans}
    ahead = space.put(best, box, {name: space.value_of(best, name) + step[name] for name in spans})
    tried = [space.between(row, one, box, NEARER) for one in (ahead, best)]
    heard = yield tried
    granted = [one for one, answer in zip(tried, heard.answers, strict=True) if aim.is_wanted(answer) and space.changed(row, one)]  # fmt: skip
    return min([best, *granted], key=lambda one: space.distance(aim, row, one))


WAYS = {"from-granted": from_granted, "from-corners": from_corners}


def attack(aim: Aim, variant: str) -> Attack:
    return (yield from score_evasion.evaded(aim, WAYS[variant]))


TECHNIQUE = Technique(
    id="boundary-evasion",
    title="A refused row is granted after small changes that follow decisions alone",
    kind="evasion",
    severity=Severity.high,
    taxonomies=("AML.T0015", "AML.T0043", "CWE-693", "CWE-807"),
    fix="Take what a client can choose out of the decision, or verify it; let what was refused be asked again only with a delay, and give a person the rows that come back almost the same.",
    rule="no-scores-for-probers",
    variants=tuple(WAYS),
    attack=attack,
    trials=score_evasion.trials,
    rows=56,
    steps=32,
    together=70,
    needs=frozenset({"changes", "both"}),
)
