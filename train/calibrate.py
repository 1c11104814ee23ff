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
ORDINARY = {"dev_docs_code", "banking77", "vi_prompt_injection"}
"""Sets whose benign rows are what applications read all day."""
GLANCED = {"user": 0.1, "": 0.05}
"""Share of ordinary texts at which the glance may look, from users and from elsewhere. Users' attacks are short and ranked worse, so they get the larger share."""
SENT = {"user": 0.006, "": 0.002}
"""The same for the whole network."""
LONGER = 0.6
"""Log odds taken off for every e-fold number of windows: with it about as many ordinary texts of 200 B, 2 KB and 20 KB pass a border."""
PRIOR = 0.05
"""Share of attacks the probabilities assume; dev has many more than traffic."""
RATES = {"quiet": 0.001, "balanced": 0.004, "strict": 0.02}
"""False positives on dev that each point allows."""


def calibrated(sheet: dict[str, Any], folder: Path, rows: list[Row]) -> dict[str, Any]:
    """The three blocks for judge.json."""
    flat = {"low": dict.fromkeys(ORIGINS, -99.0), "longer": 0, "high": 99.0, "one": [1, 0], "both": [0, 1, 0]}
    flat |= {"glance": [1, 0, 0], "doubt": dict.fromkeys(ORIGINS, 0.0)}
    zero = dict.fromkeys(judging.POINTS, 0.5)
    (folder / "judge.json").write_text(
        json.dumps({**sheet, "calibration": flat, "points": zero, "tier_one_points": zero})
    )
    judges.load.cache_clear()
    by = judges.load(folder)
    assert by.two is not None
    first, windows = np.full(len(rows), -20.0), np.ones(len(rows))
    early, second = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    for at, row in enumerate(rows):
        seen = judging.look(row.text, row.origin, by)
        if seen is None:
            continue
        first[at], windows[at] = seen.margin, len(seen.reading.margins)
        two = tier_two.read(seen.text, row.origin, seen.reading, by.two)
        glance = tier_two.glance(seen.text, row.origin, seen.reading, by.two)
        if two is not None and glance is not None:
            early[at], second[at] = glance, tier_two.margin(two.logits)
    return fitted(rows, first, early, second, windows)


def fitted(
    rows: list[Row], first: np.ndarray, early: np.ndarray, second: np.ndarray, windows: np.ndarray
) -> dict[str, Any]:
    """From the log odds of tier one, of the glance and of tier two on dev, and how many windows tier one read."""
    attack = np.array([row.label != "benign" for row in rows])
    sets = np.array([row.source for row in rows])
    counts = ~np.isin(sets, list(LEFT_OUT)) & ~np.isnan(second)
    ordinary = ~attack & np.isin(sets, list(ORDINARY))
    user = np.array([row.origin == "user" for row in rows])
    groups = {origin: ordinary & (user if origin == "user" else ~user) for origin in ORIGINS}
    weight = np.where(attack, PRIOR / attack[counts].mean(), (1 - PRIOR) / (1 - attack[counts].mean()))
    longer = LONGER * np.log(windows)
    first, early, second = first - longer, early - longer, second - longer
    one = _logistic(first[counts, None], attack[counts], weight[counts])
    alone = one[0] * first + one[-1]

    low = _borders(first, groups, GLANCED)
    looked = counts & (first >= np.array([low[row.origin] for row in rows]))
    glance = _logistic(np.stack([first, early], 1)[looked], attack[looked], weight[looked])
    seen = np.where(looked, glance[0] * first + glance[1] * np.nan_to_num(early) + glance[2], alone)

    doubt = _borders(np.where(looked, seen, -99.0), groups, SENT)
    asked = looked & (seen >= np.array([doubt[row.origin] for row in rows]))
    both = _logistic(np.stack([first, second], 1)[asked], attack[asked], weight[asked])
    score = np.where(asked, both[0] * first + both[1] * np.nan_to_num(second) + both[2], seen)
    numbers = {"low": low, "longer": LONGER, "high": 99.0, "one": one, "glance": glance, "doubt": doubt, "both": both}
    return {
        "calibration": numbers,
        "points": _points(_sigmoid(score), attack, counts),
        "tier_one_points": _points(_sigmoid(seen), attack, counts),
    }


def _borders(odds: np.ndarray, groups: dict[str, np.ndarray], share: dict[str, float]) -> dict[str, float]:
    """By origin: what that share of the ordinary texts of its group exceeds."""
    return {name: float(np.quantile(odds[here], 1 - share.get(name, share[""]))) for name, here in groups.items()}


def _points(score: np.ndarray, attack: np.ndarray, counts: np.ndarray) -> dict[str, float]:
    benign = np.sort(score[counts & ~attack])
    return {name: float(np.nextafter(benign[int(len(benign) * (1 - rate)) - 1], 2)) for name, rate in RATES.items()}


def _logistic(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> list[float]:
    fit = LogisticRegression(C=1.0).fit(x, y, sample_weight=weight)
    return [*fit.coef_[0].tolist(), float(fit.intercept_[0])]


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))
