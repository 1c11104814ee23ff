"""Rows of one asker that are almost the same: walks around a decision, and records asked about again and again with a grain of noise.

In: a block and the places of its askers. Out: what stands out, as (place, kind, words). A row is near when its distance to one of the asker's last RING different rows is below `near` (root mean square, in deviations; two random rows are
about 1.4 apart); rows that are the same do not count. A walk is a chain of near rows with few strangers between, in which the decision turns. Near rows form groups (single linkage): a walk is one group that moves, a form that is corrected one small
group, a probe of membership many small groups. Only near rows cost more than array arithmetic.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from afterguard.watch.scored.block import Array, Block
from afterguard.watch.scored.ones import RING, Ones

NEAR = 0.3
STRANGERS = 4
"""Other rows between two steps of a walk, at most: walks are interleaved."""
GAP = 6 * 3600.0
STEPS, TURNS = 15, 2
SURE = 6.0
"""Standard deviations by which a chain must be denser than near rows are without a walk: who has habits asks alike."""
KNOWN = 20
MEMBERS = 3
"""Different rows that make a neighbourhood."""
WHOLE = 20
SHARE = 0.6


class Found(NamedTuple):
    """One that stands out."""

    place: int
    kind: str
    says: str


def fresh(block: Block, places: Array, ones: Ones) -> Array:
    """Numbers of the rows of known askers that are none of their last ones, by asker and in the order of time."""
    rows = np.flatnonzero(places >= 0)
    known = (ones.ring_marks[places[rows]] == block.marks[rows, None]).any(axis=1)
    rows = rows[~known]
    order = np.lexsort((rows, block.marks[rows], places[rows]))
    at, mark = places[rows][order], block.marks[rows][order]
    again = np.append(False, (at[1:] == at[:-1]) & (mark[1:] == mark[:-1])) if len(at) else np.zeros(0, bool)
    rows = rows[order[~again]]
    found: Array = rows[np.lexsort((rows, places[rows]))]
    return found


def look(
    block: Block, rows: Array, places: Array, ones: Ones, choices: Array, caps: Array, near: float, *, is_warm: bool
) -> list[Found]:
    """Remember these rows (of `fresh`); what stands out."""
    if not len(rows):
        return []
    own, here = places[rows], block.places[rows]
    rank = _rank(own)
    found: list[Found] = []
    group = ones.different[own] + rank
    if is_warm:
        distance, nearest = _nearest(here, own, rank, ones, caps)
        near_rows = np.flatnonzero(distance < near * near)
        ones.near += len(near_rows)
        ones.compared += int((group > 0).sum())
        found = _chains(block.times[rows], own, group, ones, choices[rows], near_rows, nearest)
    at = (ones.different[own] + rank) % RING  # of more than RING rows the last stay
    ones.ring[own, at], ones.ring_marks[own, at] = here, block.marks[rows]
    ones.ring_choice[own, at], ones.ring_group[own, at] = choices[rows], group
    np.add.at(ones.different, own, 1)
    return found


def _rank(own: Array) -> Array:
    """How many rows of the same asker come before, in an order where they stand together."""
    starts = np.append(0, np.flatnonzero(own[1:] != own[:-1]) + 1)
    out: Array = np.arange(len(own)) - np.repeat(starts, np.diff(np.append(starts, len(own))))
    return out


def _nearest(here: Array, own: Array, rank: Array, ones: Ones, caps: Array) -> tuple[Array, Array]:
    """(mean squared distance, which) of the nearest earlier row: a place in the ring, or RING + how many rows before in this block."""
    with np.errstate(invalid="ignore", over="ignore"):
        away = ones.ring[own] - here[:, None, :]
        away *= away
        np.minimum(away, caps, out=away)
        distances = away.mean(axis=2)
    nearest = distances.argmin(axis=1)
    best = distances[np.arange(len(own)), nearest]
    for lag in range(1, min(RING, int(rank.max())) + 1):
        rows = np.flatnonzero(rank >= lag)
        apart = here[rows] - here[rows - lag]
        apart *= apart
        distance = np.minimum(apart, caps).mean(axis=1)
        closer = distance < best[rows]
        best[rows[closer]] = distance[closer]
        nearest[rows[closer]] = RING + lag
    return best, nearest


def _chains(
    times: Array, own: Array, group: Array, ones: Ones, choices: Array, near: Array, nearest: Array
) -> list[Found]:
    """Put near rows into their groups (`group` holds the number of each row, and of its group afterwards) and chains."""
    found: list[Found] = []
    number = group.copy()
    for n in near.tolist():
        place, which = int(own[n]), int(nearest[n])
        if which < RING:
            group[n], before = ones.ring_group[place, which], int(ones.ring_choice[place, which])
        else:
            earlier = n - (which - RING)
            group[n], before = group[earlier], int(choices[earlier])
        _join(ones, place, int(group[n]))
        if _step(ones, place, int(number[n]), before, int(choices[n]), float(times[n])):
            says = f"{ones.steps[place]} different, almost identical inputs in a row; the decision turned {ones.turns[place]} times"
            found.append(Found(place, "evasion_walk", says))
    for place in np.unique(own[near]).tolist():
        share = ones.whole[place] * MEMBERS / max(1, int(ones.different[place]))
        if ones.whole[place] >= WHOLE and share >= SHARE:
            says = f"asked about {ones.whole[place]} records at least {MEMBERS} times each, every time a little changed; {ones.asked[place]} queries"
            found.append(Found(place, "membership_probing", says))
    return found


def _join(ones: Ones, place: int, group: int) -> None:
    """One more row of a group. Counts are kept for as many groups as rows are remembered."""
    at = group % RING
    if ones.member_of[place, at] != group:
        ones.member_of[place, at], ones.members[place, at] = group, 1
    ones.members[place, at] += 1
    ones.whole[place] += ones.members[place, at] == MEMBERS


def _step(ones: Ones, place: int, ordinal: int, before: int, choice: int, time: float) -> bool:
    """A near row; whether the chain is now a walk."""
    strayed = ordinal - int(ones.stepped[place]) - 1
    is_new = not ones.steps[place] or strayed >= STRANGERS or not -60.0 <= time - ones.walked[place] <= GAP
    if is_new:
        ones.steps[place], ones.turns[place], ones.choice[place], ones.from_row[place] = 1, 0, before, ordinal - 1
    ones.steps[place] += 1
    ones.turns[place] += ones.choice[place] != choice
    ones.choice[place], ones.stepped[place], ones.walked[place] = choice, ordinal, time
    ones.near_rows[place] += 1
    steps, rows = int(ones.steps[place]), ordinal + 1 - int(ones.from_row[place])
    if steps < STEPS or ones.turns[place] < TURNS:
        return False
    usual = _usual(ones, place, steps, ordinal + 1 - rows)
    return steps >= rows * usual + SURE * math.sqrt(rows * usual * (1 - usual))


def _usual(ones: Ones, place: int, steps: int, before: int) -> float:
    """The share of rows that are near without a walk: the asker's own before this chain where enough is known, at least everybody's."""
    everybody = (ones.near + 1) / (ones.compared + 20)
    own = (int(ones.near_rows[place]) - steps) / before if before >= KNOWN else 0.0
    return min(0.95, max(everybody, own))
