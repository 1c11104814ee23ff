"""Walks and extraction that are spread over many callers, none of whom stands out.

In: Rows with standardised values. Out: Alerts of kind evasion_walk (many callers ask about almost the same input, and the decision turns among them) and model_extraction (queries begin to fill the corners of the input space, in every direction at
once; drift moves in one). Bounded: CELLS cells, a sample of SAMPLE rows, the last RARE rare rows.

Theory of operation. The space is cut into boxes by rows rounded to whole deviations (with a shift of half a box in a second cut, so that no border hides a crowd). A box is an alert where within WINDOW many different inputs of several
callers fall into it, with more than one decision, and far more than it usually gets or than boxes get. Rare is a row farther from the middle, in the metric of the sample, than 95 % of it; extraction is a share of rare rows well above 5 % whose directions
are spread evenly: the mean of their unit vectors is near zero, and so is what any one direction explains of them.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter, OrderedDict, deque
from typing import NamedTuple

import numpy as np

from afterguard.model import Confidence, Severity
from afterguard.watch.alert import Alert, Moment, of
from afterguard.watch.predictions import Row

ID = "spread"
WALK = ("AML.T0015", "AML.T0043", "CWE-693")
COPY = ("LLM10:2025", "LLM06:2026", "AML.T0024.002", "CWE-770")
WARM = 1_000
CELLS = 4_000
WINDOW = 6 * 3600.0
CALLERS = 64
LEAST = 14
FEW = 6
"""Callers below which a crowd is not spread."""
MIXED = 0.15
TIMES = 8.0
SAMPLE = 1_500
LEAST_SAMPLE = 400
RARE = 240
BATCH = 1_000
"""Rows after which the share of rare ones is judged."""
USUAL = 0.05
DEVIATIONS = 6.0
EVEN = 0.25
"""Length of the mean direction of rare rows up to which they go everywhere."""
QUIET = 24 * 3600.0


class Cell:
    """One box."""

    __slots__ = ("born", "callers", "decisions", "ids", "inputs", "since", "told", "total")

    def __init__(self, born: float) -> None:
        self.born = self.since = born
        self.total = 0
        """Different inputs since it was born."""
        self.told = False
        self.forget(born)

    def forget(self, now: float) -> None:
        """A new window."""
        self.since = now
        self.inputs: set[int] = set()
        self.callers: dict[str, None] = {}
        self.decisions: Counter[str] = Counter()
        self.ids: deque[Moment] = deque(maxlen=200)


class _Metric(NamedTuple):
    """How far a row is, as the sample has it."""

    middle: np.ndarray
    root: np.ndarray
    limit: float


class Spread:
    """State of one model."""

    def __init__(self) -> None:
        self._cells: OrderedDict[int, Cell] = OrderedDict()
        self._rows = 0
        self._sample: list[np.ndarray] = []
        self._metric: _Metric | None = None
        self._rare: deque[tuple[np.ndarray, str, Moment]] = deque(maxlen=RARE)
        self._counted = self._far = self._strange = 0
        self._quiet = -math.inf

    def feed(self, row: Row, standard: np.ndarray) -> list[Alert]:
        """Count a row."""
        self._rows += 1
        now = row.time or 0.0
        out = self._crowds(row, standard, now) if self._rows > WARM else []
        out += self._corners(row, standard, now)
        self._keep(row, standard)
        return out

    # -- boxes

    def _crowds(self, row: Row, standard: np.ndarray, now: float) -> list[Alert]:
        mark = zlib.crc32(standard.tobytes())
        for shift in (0.0, 0.5):
            key = zlib.crc32(np.floor(standard + shift).astype(np.int16).tobytes(), int(shift * 2))
            cell = self._cells.get(key)
            if cell is None:
                cell = self._cells[key] = Cell(now)
                while len(self._cells) > CELLS:
                    self._cells.popitem(last=False)
            self._cells.move_to_end(key)
            if not 0 <= now - cell.since <= WINDOW:
                cell.forget(now)
            if mark in cell.inputs or len(cell.inputs) > 4_000:
                continue
            cell.inputs.add(mark)
            cell.total += 1
            cell.decisions[row.decision] += 1
            if row.caller and len(cell.callers) < CALLERS:
                cell.callers[row.caller] = None
            cell.ids.append((row.id, row.time))
            if self._is_crowd(cell, now):
                cell.told = True
                return [self._walk(cell)]
        return []

    def _is_crowd(self, cell: Cell, now: float) -> bool:
        count = len(cell.inputs)
        if cell.told or count < LEAST or len(cell.callers) < FEW or len(cell.decisions) < 2:
            return False
        minority = cell.decisions.most_common(2)[1][1]
        before = cell.total - count
        windows = max(1.0, (cell.since - cell.born) / WINDOW)
        usual = max(before / windows, self._usual())
        return minority >= MIXED * count and count >= TIMES * usual

    def _usual(self) -> float:
        """Inputs that a box has: the mean over the most recent ones, but for the fullest twentieth."""
        counts = sorted(len(one.inputs) for one, _ in zip(reversed(self._cells.values()), range(200)))
        kept = counts[: max(1, len(counts) * 19 // 20)]
        return sum(kept) / len(kept)

    def _walk(self, cell: Cell) -> Alert:
        shares = ", ".join(f"{name or '(none)'} {count}" for name, count in cell.decisions.most_common(3))
        return of(
            "evasion_walk", ID, WALK, list(cell.ids), severity=Severity.high, confidence=Confidence.medium,
            cause="inputs around one point by many callers", callers=tuple(cell.callers),
            rule=f"{len(cell.inputs)} almost identical inputs by {len(cell.callers)} callers or more within {WINDOW / 3600:.0f} hours, with different decisions ({shares}); usual are {self._usual():.1f}",
            would_change="one popular product or form that many customers fill in alike",
        )  # fmt: skip

    # -- corners

    def _keep(self, row: Row, standard: np.ndarray) -> None:
        if self._sample and len(self._sample[0]) != len(standard):
            self._strange += 1
            if self._strange < WARM:  # rows of another width do not push the sample out until they are what comes
                return
            self._sample.clear()
            self._metric = None
        self._strange = 0
        if len(self._sample) < SAMPLE:
            self._sample.append(standard)
        else:
            place = zlib.crc32(f"{self._rows}:{row.id}".encode("utf-8", "replace")) % self._rows
            if place < SAMPLE:
                self._sample[place] = standard
        is_due = self._rows in (WARM, 2 * WARM, 4 * WARM) or self._rows % 10_000 == 0 or self._metric is None
        if is_due and len(self._sample) >= LEAST_SAMPLE and self._rows >= WARM and self._rows % 100 == 0:
            self._metric = _metric(np.array(self._sample))

    def _corners(self, row: Row, standard: np.ndarray, now: float) -> list[Alert]:
        metric = self._metric
        if metric is None or len(metric.middle) != len(standard) or len(standard) < 3:
            return []
        white = (standard - metric.middle) @ metric.root
        length = float(np.sqrt(white @ white))
        self._counted += 1
        if length > metric.limit:
            self._far += 1
            self._rare.append((white / length, row.caller, (row.id, row.time)))
        if self._counted < BATCH:
            return []
        counted, far, self._counted, self._far = self._counted, self._far, 0, 0
        error = math.sqrt(USUAL * (1 - USUAL) * (1 / counted + 1 / SAMPLE))
        if (far / counted - USUAL) / error < DEVIATIONS or now - self._quiet < QUIET:
            return []
        recent = list(self._rare)[-min(far, RARE) :]
        directions = np.array([one for one, _, _ in recent])
        drift = float(np.linalg.norm(directions.mean(axis=0)))
        main = float(np.linalg.eigvalsh(directions.T @ directions / len(directions))[-1])
        if drift > EVEN or main > max(3.0 / len(standard), 0.5):
            return []
        self._quiet = now
        callers = Counter(who for _, who, _ in recent if who)
        return [
            of(
                "model_extraction", ID, COPY, [moment for _, _, moment in recent], severity=Severity.medium, confidence=Confidence.medium,
                cause="queries in every corner of the input space", callers=tuple(callers) if len(callers) >= FEW else (),
                rule=f"{far / counted:.0%} of the last {counted} inputs are as rare as {USUAL:.0%} usually are, and they go in every direction (mean direction {drift:.2f}); {len(callers)} callers among the last {len(recent)}",
                would_change="a test with made-up inputs, or several new kinds of customers at once",
            )
        ]  # fmt: skip


def _metric(rows: np.ndarray) -> _Metric:
    """Middle, whitening matrix of the shrunk covariance, and the distance that 5 % of the rows exceed."""
    middle = np.median(rows, axis=0)
    width = rows.shape[1]
    covariance = np.atleast_2d(np.cov(np.clip(rows - middle, -6, 6), rowvar=False))
    weight = min(1.0, 0.05 + width / len(rows))
    shrunk = (1 - weight) * covariance + weight * np.diag(np.diag(covariance)) + 1e-3 * np.eye(width)
    values, vectors = np.linalg.eigh(shrunk)
    root = vectors @ np.diag(np.maximum(values, 1e-6) ** -0.5) @ vectors.T
    lengths = np.sqrt((((rows - middle) @ root) ** 2).sum(axis=1))
    return _Metric(middle, root, float(np.quantile(lengths, 1 - USUAL)))
