"""A clock that is set wrong, and set right again, does not move a watch."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from afterguard.guard.journal import Journal
from afterguard.guard.lookout import Lookout
from afterguard.guard.metrics import Metrics
from afterguard.guard.part import Place
from afterguard.guard.steady import PATIENCE, SLACK, Steady
from afterguard.watch.event import Event

START = 1_780_272_000.0
YEAR = 365 * 86_400.0


def lived(walls: list[float], step: float = 10.0) -> list[float]:
    """The watch's time at each look, `step` seconds apart."""
    clock = Steady()
    return [wall - clock.off(wall, 5.0 + number * step) for number, wall in enumerate(walls)]


def test_a_year_ahead_and_back_is_not_seen() -> None:
    walls = [START + n * 10.0 + (YEAR if 5 <= n < 20 else 0.0) for n in range(30)]
    assert lived(walls) == [START + n * 10.0 for n in range(30)]


def test_a_machine_that_slept_is_believed_after_an_hour() -> None:
    count = int(PATIENCE / 10) + 10
    times = lived([START + n * 10.0 + (8 * 3_600 if n else 0.0) for n in range(count)])
    assert times[5] == START + 50 and times[-1] == START + (count - 1) * 10 + 8 * 3_600


def test_a_clock_set_back_for_good_is_taken_out_for_good() -> None:
    times = lived([START + n * 10.0 - (YEAR if n > 3 else 0.0) for n in range(1_000)])
    assert times == [START + n * 10.0 for n in range(1_000)]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.floats(-2 * YEAR, 2 * YEAR), max_size=30))
def test_no_jump_takes_the_time_back(jumps: list[float]) -> None:
    times = lived([START + n * 10.0 + jump for n, jump in enumerate(jumps)])
    assert all(later - sooner > 10.0 - 2 * SLACK for sooner, later in pairwise(times))


async def looked(one: Lookout, at: float, off: float, number: int) -> None:
    wall = START + at + off
    one._events = [Event(time=wall - 0.5, id=str(number), app="a", key="k")]
    await one.step(one.now(wall, 5.0 + at))


def test_events_of_a_wrong_clock_come_at_their_time(tmp_path: Path) -> None:
    metrics = Metrics()
    one = Lookout(Place(tmp_path, Journal(tmp_path / "decisions.jsonl"), metrics, str))

    async def work() -> None:
        for number in range(600):
            await looked(one, number * 1.0, YEAR if 200 <= number < 400 else 0.0, number)

    asyncio.run(work())
    (row,) = one.watch.standing()
    assert one.watch.minute == int((START + 599) // 60)
    assert (row["late"], row["ahead"], row["refused"]) == (0, 0, 0)
    assert metrics.numbers["afterguard_failures_total"] == {("all", "watch_clock", "yes"): 2.0}
