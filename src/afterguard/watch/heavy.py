"""Which requests are far heavier than usual for their model: cost, output, seconds.

In: one row a request. Out: True where any of the three is TIMES the 99th percentile of its model. The percentiles are learnt from the
last SAMPLE requests a model and rise or fall at most MOVES a day once known: many small requests of one campaign do not make everybody else's heavy.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from afterguard.watch.seen import Numbers

TIMES = 2.5
SAMPLE = 2_000
LEAST = 300
MODELS = 64
MOVES = 0.1
DAY = 86_400.0
FLOOR = np.array([0.01, 1_000.0, 20.0])
"""US dollars, tokens and seconds below which no request is heavy."""


class Heavy:
    """Percentiles of each model."""

    def __init__(self) -> None:
        self.lines: dict[str, list[float]] = {}
        self.sample: dict[str, list[list[float]]] = {}
        self.moved: dict[str, float] = {}

    def look(self, models: Sequence[str], weights: Numbers, now: float, is_learning: bool) -> Numbers:
        """True for each heavy request; `weights` has a row (cost, output tokens, seconds) for each."""
        answer = np.zeros(len(models), dtype=bool)
        names = np.array(models)
        for model in sorted(set(models))[:MODELS]:
            mine = names == model
            rows = weights[mine]
            line = self.lines.get(model)
            if line is not None:
                answer[mine] = (rows > np.maximum(FLOOR, TIMES * np.array(line))).any(axis=1)
            self._learn(model, rows, now, is_learning)
        return answer

    def _learn(self, model: str, rows: Numbers, now: float, is_learning: bool) -> None:
        if model not in self.sample and len(self.sample) >= MODELS:
            return
        sample = self.sample.setdefault(model, [])
        sample += rows[-SAMPLE:].tolist()
        line = self.lines.get(model)
        if len(sample) < (LEAST if line is None else SAMPLE):
            return
        seen = np.quantile(np.array(sample), 0.99, axis=0)
        if line is not None and not is_learning:
            step = min(0.5, MOVES * (now - self.moved[model]) / DAY)
            seen = np.clip(seen, np.array(line) * (1 - step), np.array(line) * (1 + step))
        old = seen if line is None else np.array(line)
        self.lines[model] = ((old * 0.8 + seen * 0.2) if line is not None else seen).tolist()
        self.sample[model], self.moved[model] = [], now
