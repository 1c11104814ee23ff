"""How a model answers honest rows, before anything is tried: whether what it says can show anything at all.

In: rows, what was heard. Out: `Manner`. Of a model that answers at random, the same to everything, or by noise that any change of a row turns into another answer, no flipped decision shows anything.

Theory of operation. Some honest rows are asked once; some of them again, later; some again with one number changed by a thousandth of its spread (by one, where it is whole). Where the same row gets another decision, more often than once
in this sample, the model answers at random. Where changes that mean nothing move decisions as often, or scores as far, as going to another row does, what it says is noise, though the same row may get the same answer each time. Where
all scores and decisions are the same, it does not look.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from afterguard.attack.scoring import space
from afterguard.attack.scoring.contract import Aim, Answer, Cell

SAME = 1e-9
NOISE = 0.25
"""Of the difference between rows that a change without meaning may make."""
LEAST = 4
"""Honest rows with an answer, from which anything is said."""
ENOUGH = 6
"""Rows decided either way, below which more are asked."""
Rows = list[dict[str, Cell]]


class Manner(NamedTuple):
    """How a model answers."""

    odd: str = ""
    """Why nothing it says shows anything: says-the-same-to-everything, answers-at-random, any-change-changes-the-answer, no-answer-to-honest-rows, no-decision."""
    is_noisy: bool = False
    """Whether its decisions can be believed, and its scores cannot: they change as much with nothing as with everything."""


class Asked(NamedTuple):
    """The honest rows that are asked about: each once, some again, some a little changed."""

    rows: Rows
    again: Rows
    slight: Rows


def asked(aim: Aim) -> Asked:
    """Which rows: few where each is a request."""
    draw = seeded(f"{aim.seed} manner")
    order = draw.permutation(len(aim.rows)).tolist()
    rows = [dict(aim.rows[at]) for at in order[: 20 if aim.batch <= 1 else 160]]
    again, moved = (10, 20) if aim.batch <= 1 else (40, 80)
    return Asked(rows, rows[:again], [space.slight(aim, row, draw) for row in rows[:moved]])


def more(aim: Aim, had: int) -> Rows:
    """Further honest rows, where of one decision there were too few."""
    order = seeded(f"{aim.seed} manner").permutation(len(aim.rows)).tolist()
    return [dict(aim.rows[at]) for at in order[had : had + (20 if aim.batch <= 1 else 160)]]


def seeded(seed: str) -> space.Draw:
    """A generator of its own for each purpose."""
    return np.random.default_rng([zlib.crc32(seed.encode()), len(seed)])


def learned(aim: Aim, rows: Sequence[tuple[dict[str, Cell], Answer]]) -> Aim:
    """The aim with what honest rows were told."""
    decided = [(row, aim.is_wanted(answer)) for row, answer in rows]
    scored = [(answer.score, aim.is_wanted(answer)) for _, answer in rows if answer.score is not None]
    wanted, other = ([score for score, is_wanted in scored if is_wanted is way] for way in (True, False))
    toward = int(np.sign(np.mean(wanted) - np.mean(other))) if wanted and other else 0
    if not toward and aim.threshold is not None:
        toward = -1 if aim.is_below else 1
    return msgspec.structs.replace(
        aim,
        has_scores=bool(rows) and len(scored) >= 0.9 * len(rows) and len({score for score, _ in scored}) > 2,
        toward=toward,
        refused=tuple(row for row, is_wanted in decided if is_wanted is False),
        granted=tuple(row for row, is_wanted in decided if is_wanted),
        labels=frozenset(answer.label for _, answer in rows if answer.label),
        heard=tuple(rows),
    )


def manner(aim: Aim, first: Sequence[Answer], again: Sequence[Answer], slight: Sequence[Answer]) -> Manner:
    """What the answers say of the model; `again` and `slight` are about the first rows of `first`."""
    if len(first) < LEAST:
        return Manner("no-answer-to-honest-rows")
    if all(aim.is_wanted(one) is None for one in first):
        return Manner("no-decision")
    unlike = sum(_differ(aim, one, other) for one, other in zip(first, again, strict=False))
    if unlike > max(1, 0.1 * len(again)):
        return Manner("answers-at-random")
    if len({one.label for one in first}) <= 1 and _width([one.score for one in first]) <= SAME:
        return Manner("says-the-same-to-everything")
    between = list(zip(first, [*first[1:], first[0]], strict=True))
    turned = sum(_differ(aim, one, other) for one, other in zip(first, slight, strict=False))
    turns = sum(_differ(aim, one, other) for one, other in between) / len(between)
    if turned > 1 and turned / len(slight) >= NOISE * turns:
        return Manner("any-change-changes-the-answer")
    far = _middle(between)
    moved, repeated = (_middle(list(zip(first, some, strict=False))) for some in (slight, again))
    if far > SAME and moved >= NOISE * far and repeated <= SAME:
        return Manner("any-change-changes-the-answer")
    return Manner(is_noisy=far > SAME and max(moved, repeated) >= NOISE * far)


def _middle(pairs: Sequence[tuple[Answer, Answer]]) -> float:
    return float(np.median([_gap(one, other) for one, other in pairs])) if pairs else 0.0


def _differ(aim: Aim, one: Answer, other: Answer) -> bool:
    return one.label != other.label or aim.is_wanted(one) != aim.is_wanted(other)


def _gap(one: Answer, other: Answer) -> float:
    return abs(one.score - other.score) if one.score is not None and other.score is not None else 0.0


def _width(scores: Sequence[float | None]) -> float:
    have = [one for one in scores if one is not None]
    return max(have) - min(have) if have else 0.0
