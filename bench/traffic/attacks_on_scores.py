"""Campaigns against the predictive models: walking around a decision, copying the model, asking who was in its data, moving its data, swapping it.

In: `Days` and a `Campaign`. Out: its rows.
"""

from __future__ import annotations

import numpy as np

from . import scores, texts
from .apps import BY_NAME, FEATURES
from .campaign import Campaign
from .crew import crew, each_of, evenly, scripted
from .days import Days
from .draw import Ints, named
from .people import keys
from .rows import Rows
from .scores import Matrix


def asked(days: Days, one: Campaign, rows: Rows, x: Matrix) -> Rows:
    """The model's answers to these cases."""
    rows = {name: column for name, column in rows.items() if name != "conversation"}
    speaks, _, _ = texts.spoken(BY_NAME[one.app], days, rows["time"])
    return scores.predicted(BY_NAME[one.app], one.rng("scores"), rows, speaks, np.round(x, 3))


def cases(one: Campaign, who: Ints) -> Matrix:
    """Ordinary cases, one for each number."""
    return scores.ordinary(
        BY_NAME[one.app], one.rng("cases"), named(who, one.seed, one.number, "case"), np.full(len(who), 14.0)
    )


def evasion_walk(days: Days, one: Campaign) -> Rows:
    """One bad case again and again, changed a little each time until it passes. Spread: each account tries a few steps; thirty devices."""
    each = max(1, round(one.intensity * (5 if one.spread else 70)))
    who = each_of(one, each)
    rng, n = one.rng(), len(who)
    w, size = scores.weights(one.app), FEATURES[one.app]
    begin = np.nan_to_num(cases(one, np.array([0]))[0])
    # Start where the model says no, go downhill in small uncertain steps, turn round where it says yes.
    begin = np.asarray(begin + w * (1.8 - scores.linear(one.app, begin)) / float(w @ w), dtype=np.float64)
    step = np.arange(n) % min(70, n)
    down = 3.0 * (1 - np.abs((step / 14) % 2 - 1))
    x = begin - np.outer(down, w) / float(w @ w) + rng.normal(0, 0.03, (n, size))
    x[:, -2:] = np.round(np.abs(begin[-2:]))
    rows = crew(days, one, who, devices=30 if one.spread else 1) | {"time": evenly(one, n)}
    return asked(days, one, rows, x)


def boundary_extraction(days: Days, one: Campaign) -> Rows:
    """Copying the model: a grid over the features, then points along the border. Spread: a few questions each, out of twelve rented networks."""
    who = each_of(one, one.intensity * (8 if one.spread else 4_000))
    rng, n = one.rng(), len(who)
    w, size = scores.weights(one.app), FEATURES[one.app]
    x: Matrix = rng.integers(-4, 5, (n, size)).astype(np.float64) * 0.75
    x[:, 0] += 3.6
    late = np.arange(n) > n // 2
    x -= np.outer(np.where(late, scores.linear(one.app, x), 0.0), w) / float(w @ w)
    x[late] += rng.normal(0, 0.05, (int(late.sum()), size))
    rows = crew(days, one, who, networks=12 if one.spread else 1) | {"time": evenly(one, n)}
    return asked(days, one, rows, x)


def membership_harvest(days: Days, one: Campaign) -> Rows:
    """Was this case in the data: the same cases asked again and again, exactly and a hair beside. Spread: forty devices."""
    each = max(5, round(one.intensity * (10 if one.spread else 900)))
    who = each_of(one, each)
    rng, n = one.rng(), len(who)
    x = cases(one, np.arange(n // 5 + 1))[np.arange(n) // 5]  # drawn once: a case asked again is the same case
    beside = np.arange(n) % 5 > 2
    x[beside] += rng.normal(0, 0.004, (int(beside.sum()), x.shape[1]))
    rows = crew(days, one, who, devices=40 if one.spread else 1) | {"time": scripted(one, who, each)}
    return asked(days, one, rows, x)


def label_harvest(days: Days, one: Campaign) -> Rows:
    """Slow: a partner has a whole table of foreign cases labelled, to train a model of its own. Spread: under a thousand names of applicants."""
    who = each_of(one, one.intensity * (8 if one.spread else 7_000))
    rng, n = one.rng(), len(who)
    x = np.round(rng.normal(0, 1.1, (n, FEATURES[one.app])), 3)
    x[:, 0] += 3.6
    x[:, -2:] = np.floor(np.abs(x[:, -2:]) * 4)
    rows = crew(days, one, who, networks=1) | {"time": evenly(one, n)}
    # The worst partner is the smallest one: most of what comes with its key is the campaign.
    rows["key"] = np.full(n, keys(BY_NAME[one.app], one.seed, rng, named([1], "partner"), np.array([0.98]))[0])
    return asked(days, one, rows, x)


def feature_poison(days: Days, one: Campaign) -> Rows:
    """Slow: cases that move one feature a little further every day, so that a model learning from them follows. Spread: from a thousand accounts in twelve rented networks."""
    who = each_of(one, one.intensity * (14 if one.spread else 900))
    rng, n = one.rng(), len(who)
    time = evenly(one, n)
    who = np.asarray(rng.permutation(who))
    x = cases(one, np.arange(n))
    x[:, 4] += 0.4 + 3.0 * (time - one.start) / (3600 * one.hours)
    rows = crew(days, one, who, networks=12 if one.spread else 0) | {"time": time}
    return asked(days, one, rows, x)


def score_swap(one: Campaign, rows: Rows, here: np.ndarray) -> Rows:
    """Another model behind the same name and version. Spread: for one case in seven, by user."""
    swapped = here & np.array([score is not None for score in rows["score"].tolist()])
    if one.spread:
        swapped &= named(rows["address"], "slice") % np.uint64(7) == 0
    if not swapped.any():
        return rows
    rows["campaign"][swapped] = one.number
    made = scores.columns(BY_NAME[one.app], np.array(rows["features"][swapped].tolist(), dtype=float), swapped=True)
    rows["score"][swapped] = made["score"]
    rows["decision"][swapped] = made["decision"]
    return rows
