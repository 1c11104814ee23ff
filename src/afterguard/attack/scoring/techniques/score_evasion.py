"""A refused row is changed until it is granted, led by the score: feature by feature, or along a slope that is felt out by small steps both ways.

Sources of the two ideas: coordinate search as in zeroth-order attacks (Chen et al. 2017), natural evolution strategies (Ilyas et al. 2018); here for rows of numbers and categories, with few queries.
"""

from __future__ import annotations

import math

from afterguard.attack.scoring import flip, space
from afterguard.attack.scoring.contract import Aim, Attack, Cell, Technique
from afterguard.attack.scoring.manner import seeded
from afterguard.attack.trial import Result, Verdict
from afterguard.model import Severity

SWEEPS = 2
PROBES = 3
REACH = 0.25
"""Of a span, how far a slope is felt out."""


def by_feature(aim: Aim, row: flip.Found, box: space.Box, draw: space.Draw) -> flip.Search:
    """Each feature to its ends; what helped, together; from there once more, with points between."""
    best, height = dict(row), -math.inf
    for sweep in range(SWEEPS):
        moves = space.ends(best, box) if not sweep else [{name: value} for name, value in space.anywhere(box, draw).items()]  # fmt: skip
        tried = space.affordable(aim, row, [space.put(best, box, move) for move in moves])
        if not tried:
            return None
        heard = yield [best, *tried] if not sweep else tried
        height = max(height, aim.value(heard.answers[0])) if not sweep else height
        answers = heard.answers[1:] if not sweep else heard.answers
        if (found := flip.first(aim, row, tried, answers)) is not None:
            return found
        helped = _helped(best, tried, [aim.value(one) for one in answers], height)
        together = space.affordable(aim, row, [space.put(best, box, helped)])
        if not helped or not together:
            return None
        heard = yield together
        if aim.is_wanted(heard.answers[0]):
            return together[0]
        if aim.value(heard.answers[0]) <= height:
            return None
        best, height = together[0], aim.value(heard.answers[0])
    return None


def _helped(best: flip.Found, tried: list[flip.Found], values: list[float], height: float) -> dict[str, Cell]:
    """Of each feature the value that brought most, where it brought anything."""
    found: dict[str, tuple[float, Cell]] = {}
    for one, value in zip(tried, values, strict=True):
        for name in space.changed(best, one):
            if value > max(height, found.get(name, (-math.inf, None))[0]):
                found[name] = (value, one[name])
    return {name: value for name, (_, value) in found.items()}


def by_slope(aim: Aim, row: flip.Found, box: space.Box, draw: space.Draw) -> flip.Search:
    """Small steps both ways in directions that are drawn say where the score goes; then a long step there. Categories are tried one by one."""
    spans = {name: place for name, place in box.items() if isinstance(place, space.Span)}
    best = dict(row)
    for _ in range(SWEEPS):
        ways = [{name: draw.choice([-1.0, 1.0]) for name in spans} for _ in range(PROBES)] if spans else []
        steps = [{name: space.value_of(best, name) + sign * way[name] * REACH * (spans[name].high - spans[name].low) for name in spans} for way in ways for sign in (1, -1)]  # fmt: skip
        others = [move for move in space.ends(best, box) if not spans.keys() & move.keys()]
        tried = [space.put(best, box, move) for move in (*steps, *others)]
        heard = yield tried
        values = [aim.value(one) for one in heard.answers]
        if (found := flip.first(aim, row, tried, heard.answers)) is not None:
            return found
        slope = {name: sum(way[name] * (values[2 * n] - values[2 * n + 1]) for n, way in enumerate(ways)) for name in spans}  # fmt: skip
        far = {name: spans[name].high if up > 0 else spans[name].low for name, up in slope.items() if up}
        liked = max(range(len(others)), key=lambda n: values[len(steps) + n], default=None)
        goal = far | (others[liked] if liked is not None else {})
        leaps = space.affordable(aim, row, [space.put(best, box, far), space.put(best, box, goal)])
        if not leaps:
            return None
        heard = yield leaps
        if (found := flip.first(aim, row, leaps, heard.answers)) is not None:
            return found
        best = max(zip(leaps, heard.answers, strict=True), key=lambda one: aim.value(one[1]))[0]
    return None


WAYS = {"by-feature": by_feature, "by-slope": by_slope}


def attack(aim: Aim, variant: str) -> Attack:
    return (yield from evaded(aim, WAYS[variant]))


def evaded(aim: Aim, way: flip.Way) -> Attack:
    """One row, looked for, made small, judged."""
    row = dict(aim.refused[aim.number % len(aim.refused)])
    draw = seeded(aim.seed)
    box = space.box(aim, row)
    if not box:
        return Result(Verdict.not_assessed, "nothing-to-change")
    count = flip.Counted()
    found = yield from count.of(way(aim, row, box, draw))
    if found is None:
        return flip.held(aim, row, count.rows)
    found = yield from count.of(flip.smaller(aim, row, found, box))
    return (yield from flip.judged(aim, row, found, draw, count.rows))


def trials(aim: Aim) -> int:
    """Each row once."""
    return min(len(aim.refused), 6 if aim.batch <= 1 else 20)


TECHNIQUE = Technique(
    id="score-evasion",
    title="A refused row is granted after small changes that follow the score",
    kind="evasion",
    severity=Severity.high,
    taxonomies=("AML.T0015", "AML.T0043", "CWE-693", "CWE-807"),
    fix="Take what a client can choose out of the decision, or verify it; give the decision without the score; let what was refused be asked again only with a delay, and hold the amount of all tries together against one limit.",
    rule="no-scores-for-probers",
    variants=tuple(WAYS),
    attack=attack,
    trials=trials,
    rows=56,
    steps=24,
    together=70,
    needs=frozenset({"changes", "scores", "refused"}),
)
