"""The small structures against exact counts."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np

from afterguard.watch.kinds import measures
from afterguard.watch.seen import Seen
from afterguard.watch.table import Table


def test_new_pairs_are_counted_almost_exactly() -> None:
    seen = Seen(bits=1 << 20)
    rng = np.random.default_rng(1)
    known: set[int] = set()
    found = exact = 0
    for _ in range(40):
        pairs = rng.integers(0, 60_000, 2_000, dtype=np.uint64)
        fresh = set(pairs.tolist()) - known
        known |= fresh
        exact += len(fresh)
        new = seen.new(pairs)
        found += int(new.sum())
        assert len(set(pairs[new].tolist())) == new.sum()
        assert set(pairs[new].tolist()) <= fresh, "a known pair is never new"
        assert not seen.new(pairs).any()
    assert exact * 0.99 <= found <= exact


def test_pairs_are_forgotten_after_two_generations() -> None:
    seen = Seen(bits=1 << 16)
    one = np.array([42], dtype=np.uint64)
    week = 7 * 86_400.0
    known = []
    for weeks in (0.1, 0.2, 1.5, 2.8, 4.5):
        seen.turn(weeks * week)
        if weeks != 2.8:
            known.append(not seen.new(one).any())
    assert known == [False, True, True, False], "known from the generation before, forgotten after two"


def test_a_full_memory_never_calls_a_known_pair_new() -> None:
    seen = Seen(bits=1 << 14)
    pairs = np.arange(3_000, dtype=np.uint64)
    seen.new(pairs)
    assert not seen.new(pairs[:500]).any()


def test_a_mark_is_hardly_ever_seen_where_there_is_none() -> None:
    seen = Seen(bits=1 << 16)
    seen.turn(1.0)
    seen.new(np.arange(15_000, dtype=np.uint64))
    seen.turn(8 * 86_400.0)
    seen.new(np.arange(15_000, 30_000, dtype=np.uint64))
    mine, others = np.arange(60_000, 60_100, dtype=np.uint64), np.arange(50_000, 60_000, dtype=np.uint64)
    seen.mark(mine)
    assert seen.is_marked(mine).all()
    assert seen.is_marked(others).mean() < 0.03 and seen.new(others).mean() < 0.85, "both generations are full"


def test_heavy_hitters_stay_among_ten_thousand_who_come_once() -> None:
    table = Table("user", measures("user"), size=500)
    rng = random.Random(1)
    exact: Counter[str] = Counter()
    now = 1_000.0
    for _ in range(200):
        now += 60
        names = [f"h{n}" for n in range(20) for _ in range(2)] + [f"o{rng.getrandbits(50)}" for _ in range(300)]
        exact.update(names)
        rows = table.admit(names, now)
        kept, inverse = np.unique(rows[rows >= 0], return_inverse=True)
        amounts = np.zeros((len(kept), len(table.columns)), dtype=np.float32)
        amounts[:, 0] = np.bincount(inverse, minlength=len(kept))
        table.add(kept, amounts, now)
    assert len(table.names) == 500 and len(table.rows) == 500
    for n in range(20):
        row = table.rows[f"h{n}"]
        assert table.sums[row, 3, 0] > 0.95 * exact[f"h{n}"], "over a week hardly anything has faded"
    assert all(table.rows[name] == row for row, name in enumerate(table.names))
