"""The two predictive models: features of ordinary cases, the score a model gives them, the decision that follows.

In: who and when. Out: columns `features`, `score`, `decision`. Campaigns draw features of their own and ask the same model.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .apps import FEATURES, App
from .draw import F64, U64, generator, objects, share
from .rows import Rows

Matrix = NDArray[np.float64]
CUTS = {"fraud-score": (0.5, 0.82), "loan-score": (0.45, 0.6)}
"""Below the first the good decision, from the second on the bad one, between them a person looks."""
DECISIONS = {"fraud-score": ("approve", "review", "decline"), "loan-score": ("grant", "review", "refuse")}
BIAS = {"fraud-score": -3.4, "loan-score": -0.35}


def weights(app: str) -> F64:
    return generator(7, "weights", app).normal(0, 0.75, FEATURES[app])


def ordinary(app: App, rng: np.random.Generator, person: U64, hour: F64) -> Matrix:
    """Cases: everybody has habits (a mean of their own), amounts follow the hour, the last two features are whole numbers, one value in a hundred is missing."""
    n, size = len(person), FEATURES[app.name]
    habit = np.stack([share(person, "habit", j) + share(person, "custom", j) - 1 for j in range(size)], axis=1) * 2.0
    x = habit + rng.normal(0, 0.55, (n, size))
    x[:, 0] = 3.6 + 0.9 * x[:, 0] + 0.3 * np.sin(2 * np.pi * (hour - 9) / 24)
    x[:, 1] = 0.6 * x[:, 0] + 0.8 * x[:, 1]
    x[:, -2] = np.round(2 * np.abs(x[:, -2]))
    x[:, -1] = np.floor(share(person, "sort") ** 2 * 9)
    x = np.round(x, 3)
    x[rng.random((n, size)) < 0.01 / 3] = np.nan
    return np.asarray(x)


def linear(app: str, x: Matrix, swapped: bool = False) -> Any:
    """The linear part of the model, for one case or many."""
    w = weights(app)
    if swapped:
        w = w * 1.35
        w[2] = 0.0
    return (x - np.concatenate(([3.6, 2.2], np.zeros(x.shape[-1] - 2)))) @ w + BIAS[app]


def judged(app: str, x: Matrix, swapped: bool = False) -> F64:
    """The model's score. Another model in its place agrees on most cases and is steeper, kinder and blind to one feature."""
    at = np.nan_to_num(x)
    z = linear(app, at, swapped) + 0.25 * at[:, 2] * at[:, 3] - (0.45 if swapped else 0.0)
    return np.asarray(np.round(1 / (1 + np.exp(-z)), 4))


def columns(app: App, x: Matrix, swapped: bool = False) -> Rows:
    score = judged(app.name, x, swapped)
    low, high = CUTS[app.name]
    decision = objects(list(DECISIONS[app.name]))[(score >= low).astype(int) + (score >= high)]
    return {
        "features": objects(list(map(tuple, x.tolist()))),
        "score": score.astype(object),
        "decision": decision,
    }


def predicted(app: App, rng: np.random.Generator, rows: Rows, spoken: Rows, x: Matrix) -> Rows:
    """Everything a predictive exchange has."""
    n = len(x)
    broken = rng.random(n) < 0.001
    seconds = 0.004 + rng.exponential(0.006, n)
    made: dict[str, Any] = spoken | columns(app, x)
    made |= {
        "operation": objects(["predict"])[np.zeros(n, dtype=int)],
        "seconds": seconds,
        "first": seconds,
        "status": np.where(broken, 500, 200),
        "outcome": objects(["ok", "error"])[broken.astype(int)],
    }
    made["score"][broken] = None
    made["decision"][broken] = ""
    return made | rows
