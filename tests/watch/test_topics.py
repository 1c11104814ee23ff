"""What an application is usually asked: bounded however much it is asked, and moved by the clock, not by the count."""

from __future__ import annotations

import numpy as np
import pytest

from afterguard.watch import topics
from afterguard.watch.topics import Topics


def test_a_flood_of_questions_takes_no_more_room_than_an_hour_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "MOST", 5_000)
    rng = np.random.default_rng(3)
    one = Topics()
    for second in range(60):
        one.far(rng.integers(0, 1 << 63, size=1_000, dtype=np.uint64), float(second), False)
    assert len(one.fits) == 5_000
    line = one.line
    one.far(rng.integers(0, 1 << 63, size=1_000, dtype=np.uint64), 3_700.0, False)
    assert not one.fits, "and the line was moved by them"
    assert abs(one.line - line) <= topics.STEP * 3_700 / topics.DAY + 1e-9
