"""Calibration and operating points, from dev alone: which log odds are settled, how the two tiers are weighed, from which probability on each point alarms.

In: the sheet of the judge, its folder, dev rows. Out: the calibration, points and tier_one_points of judge.json. `sep_probes` is left out: its
attacks are innocuous questions. The band is set on ordinary texts: under 0.5 % of them may go to tier two.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from afterguard import judges
from afterguard.detect import judge as judging
from afterguard.detect.judge import tier_two
from afterguard.detect.judge.tier_one import ORIGINS
from compose import Row

LEFT_OUT = {"sep_probes"}
ORDINARY = {"dev_docs_code", "banking77", "vi_prompt_injection", "sep_probes"}
"""Sets whose benign rows are what applications read all day."""
SENT = {"user": 0.007, "": 0.003}
"""Share of ordinary texts that may go to tier two, from users and from elsewhere. Users' attacks are short and ranked worse, so they get the larger share."""
LONGER = 0.3
"""Log odds by which the border rises for every e-fold length: with it about as many ordinary texts of 200 B, 2 KB and 20 KB pass it."""
PRIOR = 0.05
"""Share of attacks the probabilities assume; dev has many more than traffic."""
RATES = {"quiet": 0.001, "balanced": 0.004, "strict": 0.02}
"""False positives on dev that each point allows."""


def calibrated(sheet: dict[str, Any], folder: Path, rows: list[Row]) -> dict[str, Any]:
    """The three blocks for judge.json."""
    flat = {"low": dict.fromkeys(ORIGINS, -99.0), "longer": 0, "high": 99.0, "one": [1, 0], "both": [0, 1, 0]}
    zero = dict.fromkeys(judging.POINTS, 0.5)
    (folder / "judge.json").write_text(
        json.dumps({**sheet, "calibration": flat, "points": zero, "tier_one_points": zero})
    )
    judges.load.cache_clear()
    by = judges.load(folder)
    assert by.two is not None
    first, second, windows = np.full(len(rows), -20.0), np.full(len(rows), np.nan), np.ones(len(rows))
    for at, row in enumerate(rows):
        seen = judging.look(row.text, row.origin, by)
        if seen is None:
            continue
        first[at], windows[at] = seen.margin, len(seen.reading.margins)
        two = tier_two.read(seen.text, row.origin, seen.reading, by.two)
        if two is not None:
            second[at] = tier_two.margin(two.logits)
    return fitted(rows, first, second, windows)


def fitted(rows: list[Row], first: np.ndarray, second: np.ndarray, windows: np.ndarray) -> dict[str, Any]:
    """From both tiers' log odds on dev, and how many windows tier one read."""
    attack = np.array([row.label != "benign" for row in rows])
    sets = np.array([row.source for row in rows])
    counts = ~np.isin(sets, list(LEFT_OUT)) & ~np.isnan(second)
    ordinary = ~attack & np.isin(sets, list(ORDINARY))
    low = {}
    longer = LONGER * np.log(windows)
    user = np.array([row.origin == "user" for row in rows])
    for origin in ORIGINS:
        here = ordinary & (user if origin == "user" else ~user)
        low[origin] = float(np.quantile((first - longer)[here], 1 - SENT.get(origin, SENT[""])))
    weight = np.where(attack, PRIOR / attack[counts].mean(), (1 - PRIOR) / (1 - attack[counts].mean()))
    one = _logistic(first[counts, None], attack[counts], weight[counts])
    inside = counts & (first >= np.array([low[row.origin] for row in rows]) + longer)
    both = _logistic(np.stack([first, second], 1)[inside], attack[inside], weight[inside])
    alone = _sigmoid(one[0] * first + one[-1])
    score = np.where(inside, _sigmoid(both[0] * first + both[1] * second + both[2]), alone)
    return {
        "calibration": {"low": low, "longer": LONGER, "high": 99.0, "one": one, "both": both},
        "points": _points(score, attack, counts),
        "tier_one_points": _points(alone, attack, counts),
    }


def _points(score: np.ndarray, attack: np.ndarray, counts: np.ndarray) -> dict[str, float]:
    benign = np.sort(score[counts & ~attack])
    return {name: float(np.nextafter(benign[int(len(benign) * (1 - rate)) - 1], 2)) for name, rate in RATES.items()}


def _logistic(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> list[float]:
    fit = LogisticRegression(C=1.0).fit(x, y, sample_weight=weight)
    return [*fit.coef_[0].tolist(), float(fit.intercept_[0])]


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))
