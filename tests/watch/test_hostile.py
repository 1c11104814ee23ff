"""The watch over time under clocks that run wild and identities without number: nothing raises, nothing grows past its bound, who was known stays known."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from afterguard.watch import live
from afterguard.watch.budgets import Budget
from afterguard.watch.event import Event, Move
from afterguard.watch.live import Watch
from afterguard.watch.site import SIZE, Settings

START = 1_780_272_000.0
DAY = 86_400.0
YEAR = 365 * DAY
BITS = 1 << 20

OFFS = st.one_of(
    st.floats(-600, 3 * DAY),
    st.sampled_from([-YEAR, -DAY, -61.0, -1.0, 0.0, YEAR, 10 * YEAR, 1e12, math.nan, math.inf, -math.inf, -2 * START]),
)
STEPS = st.lists(st.tuples(st.sampled_from(["one", "many", "tick", "kept"]), OFFS), max_size=30)


def event(at: float, number: int, **more: object) -> Event:
    return Event(at, f"{number}", app="s", key=f"k{number % 7}", user=f"u{number % 30}", address="a", model="m", shape=number + 1, **more)  # type: ignore[arg-type]  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_no_order_of_times_breaks_it(steps: list[tuple[str, float]]) -> None:
    """Single events and runs of thirty from any time, ticks from any time, restarts in between. Its own time never runs backwards."""
    watch = Watch(bits=1 << 12)
    number, before = 0, -1
    for what, off in steps:
        for _ in range({"one": 1, "many": 30}.get(what, 0)):
            number += 1
            watch.feed(event(START + off, number))
        if what == "tick":
            watch.tick(START + off)
        if what == "kept":
            watch = Watch.restored(watch.kept())
        assert watch.minute >= before
        before = watch.minute
    waiting = len(watch.open) + sum(map(len, watch.waiting.values()))
    judged = sum(site.events for site in watch.sites.values())
    # Those that are far ahead and few are not believed; everything else was judged or waits, or was refused.
    assert number - 20 - watch.ahead - watch.refused <= waiting + judged <= number
    for site in watch.sites.values():
        for table in site.tables.values():
            assert all(math.isfinite(float(x)) for x in table.sums[: len(table.names)].ravel())


def test_after_a_jump_of_a_year_and_back_it_goes_on_with_the_right_time() -> None:
    """A believed year ahead: a few events of the right time are late, then it is believed again, over a restart too; alarms say the right time."""
    watch = Watch(Settings(budgets=(Budget("user", "requests", "hour", 100, "u1"),)), bits=BITS)
    for number in range(3_000):
        watch.feed(event(START + number, number))
    for number in range(30):
        watch.feed(event(START + YEAR + number, number))
    assert watch.minute * 60 > START + YEAR - 120
    said = [alert for number in range(60) for alert in watch.feed(event(START + DAY + number, number))]
    assert watch.late == live.TOGETHER - 1 and watch.shift >= YEAR - DAY and watch.shift % (7 * DAY) == 0
    watch = Watch.restored(watch.kept(), watch.settings)
    for number in range(600):
        said += watch.feed(event(START + DAY + 60 + number, 1 + 30 * number))
    said += watch.tick(START + DAY + 1_200)
    assert watch.late == live.TOGETHER - 1 and watch.sites["s"].events == 3_690 - watch.ahead
    gone = [alert for alert in said if alert.hit.kind == "budget_gone"]
    assert gone and gone[-1].why and START + DAY < gone[-1].why.until < START + 2 * DAY
    assert datetime.fromtimestamp(START + DAY, UTC).strftime("since %Y-%m-%d") in gone[-1].hit.rule


def hostile(number: int, at: float) -> Event:
    """An exchange in which nothing was ever seen before."""
    n = f"{number:x}"
    moves = tuple(Move("pay", 10.0, "USD", f"p{n}-{k}") for k in range(3))
    return Event(
        at, n, app=f"app{number % 40}" if number % 10 == 0 else "s", tenant=f"t{n}", key=f"k{n}", user=f"u{n}", address=f"a{n}", network=f"n{n}", region=f"r{n}", device=f"d{n}", client=f"c{n}",
        conversation=f"v{n}", model=f"m{n}", version=n, prompt=f"p{n}", shape=number + 1, asked=number * 7 + 1, answer=number + 1, answer_size=10, output_tokens=5, seconds=1.0, moves=moves,
        documents=tuple(f"x{n}-{k}" for k in range(3)), calls=(n,),
    )  # fmt: skip


def test_a_million_distinct_values_a_minute_stay_in_bounds_and_push_nobody_out() -> None:
    """Twelve thousand events in two and a half seconds, each with twenty values that nobody had before: nearly six million a minute. Whoever came all morning is still known."""
    watch = Watch(bits=BITS)
    rng = random.Random(1)
    for number in range(2_000):
        watch.feed(event(START + number * 5, rng.randrange(30)))
    for number in range(12_000):
        watch.feed(hostile(number, START + 10_000 + number / 5_000))
    watch.tick(START + 10_400)
    site = watch.sites["s"]
    assert all(len(table.names) <= table.size and len(table.last) <= table.size for table in site.tables.values())
    assert len(site.tables["key"].names) == SIZE
    assert set(site.tables["user"].rows) >= {f"u{n}" for n in range(30)}
    assert len(watch.sites) <= live.SITES + 1 and not watch.open
    assert all(len(one.replies.streams) <= 200 and len(one.heavy.sample) <= 64 for one in watch.sites.values())
    assert all(len(one.rises) <= 20_000 and len(one.cooling.told) <= 50_000 for one in watch.sites.values())


def test_a_state_kept_by_a_watch_that_was_ahead_is_restored() -> None:
    watch = Watch(bits=BITS)
    for number in range(40):
        watch.feed(event(START + YEAR, number))
    again = Watch.restored(watch.kept())
    again.feed(msgspec.structs.replace(event(START, 1), id="late"))
    assert again.minute == watch.minute and again.late == 1
