"""The watch over predictive models: every campaign is told, by itself and spread over many callers; ordinary weeks are quiet; memory and clocks stay in bounds."""

from __future__ import annotations

import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from predictive_traffic import DAY, START, WIDTH, World, mixed

from afterguard.errors import AfterguardError
from afterguard.watch.alarm import Alarm
from afterguard.watch.event import Event
from afterguard.watch.predictions import hashed
from afterguard.watch.predictive import Predictive
from afterguard.watch.scored.ones import Ones

BEGIN = START + 0.8 * DAY


def run(events: Iterator[Event]) -> list[Alarm]:
    watch = Predictive()
    return [alert for event in events for alert in watch.feed(event)]


def told(alerts: list[Alarm]) -> Counter[str]:
    return Counter(alert.hit.kind for alert in alerts)


@pytest.mark.parametrize("seed", [11, 12])
def test_ordinary_days_and_weeks_are_quiet(seed: int) -> None:
    found = run(World(seed).ordinary(9, 900))
    assert not found, [(one.hit.kind, one.hit.rule) for one in found]


def walk(world: World, callers: int) -> list[Event]:
    """Small steps over the boundary."""
    point, out = world.point(), []
    for n in range(60):
        row = point + 0.12 * world.chance.normal(size=WIDTH)
        out.append(world.event(row, BEGIN + 300 * n, f"walker{n % callers}", 2))
    return out


def copy(world: World, callers: int, queries: int = 1_500) -> list[Event]:
    """Uniform inputs over the whole range."""
    return [
        world.event(world.chance.uniform(-3.5, 3.5, size=WIDTH), BEGIN + 40 * n, f"copier{n % callers}")
        for n in range(queries)
    ]


def sweep(world: World) -> list[Event]:
    out, row = [], world.usual()
    for n in range(400):
        row = row.copy()
        row[n % WIDTH] = -3 + 6 * (n // WIDTH) / 50
        out.append(world.event(row, BEGIN + 60 * n, "sweeper"))
    return out


def follow(world: World) -> list[Event]:
    """Unlike inputs, all next to the decision."""
    return [
        world.event(world.point() + 0.05 * world.chance.normal(size=WIDTH), BEGIN + 60 * n, "follower")
        for n in range(250)
    ]


def probe(world: World) -> list[Event]:
    """Thirty records, four times each with a grain of noise."""
    out = []
    for n in range(40):
        record = world.usual()
        out += [
            world.event(record + 0.05 * world.chance.normal(size=WIDTH), BEGIN + 400 * n + 5 * k, "prober", n % 5)
            for k in range(4)
        ]
    return out


def harvest(world: World) -> list[Event]:
    return [world.event(world.usual(), BEGIN + 20 * n, "harvester") for n in range(3_500)]


CAMPAIGNS: dict[str, tuple[str, Callable[[World], list[Event]]]] = {
    "walk": ("evasion_walk", lambda world: walk(world, 1)),
    "walk over 20 callers": ("evasion_walk", lambda world: walk(world, 20)),
    "copy": ("model_extraction", lambda world: copy(world, 1)),
    "copy over 1000 callers": ("model_extraction", lambda world: copy(world, 1_000)),
    "sweep": ("model_extraction", sweep),
    "boundary": ("model_extraction", follow),
    "membership": ("membership_probing", probe),
    "harvest": ("label_harvesting", harvest),
}


@pytest.mark.parametrize("name", CAMPAIGNS)
@pytest.mark.parametrize("seed", [21])
def test_campaigns_are_told(name: str, seed: int) -> None:
    world = World(seed)
    kind, make = CAMPAIGNS[name]
    ordinary = list(world.ordinary(1.6, 1_800))
    found = run(mixed(iter(ordinary), make(world)))
    assert kind in told(found), told(found)
    mine = next(one for one in found if one.hit.kind == kind)
    assert mine.hit.rule and mine.hit.would_change and mine.exchanges


def swapped(world: World, repeats: float) -> Iterator[Event]:
    past: list[tuple[np.ndarray, str]] = []
    for n in range(3_000):
        if n == 1_500:
            world.shift += 1.2
        row = world.usual()
        if past and world.chance.random() < repeats:
            row, _ = past[int(world.chance.integers(0, len(past)))]
        past = [*past, (row, "")][-500:]
        yield world.event(row, START + 30 * n, f"u{n % 300}")


@pytest.mark.parametrize("repeats", [0.05, 0.0])
def test_a_silent_swap_is_told_and_a_named_one_is_not(repeats: float) -> None:
    world = World(31, has_text=False)
    assert "model_swap" in told(run(swapped(world, repeats)))
    named = World(31, has_text=False)

    def with_version() -> Iterator[Event]:
        for n, event in enumerate(swapped(named, repeats)):
            named.version = "2" if n >= 1_499 else "1"
            yield event

    assert "model_swap" not in told(run(with_version()))


def test_drift_is_told_from_a_season_and_from_a_few_callers() -> None:
    world = World(41)
    first = list(world.ordinary(9, 900))

    def moved() -> Iterator[Event]:
        for event in world.ordinary(2, 900, START + 9 * DAY):
            yield Event(
                **{
                    **{name: getattr(event, name) for name in Event.__struct_fields__},
                    "features": (event.features[0] + 3.5, *event.features[1:]),
                }
            )

    kinds = told(run(iter([*first, *moved()])))
    assert kinds["input_drift"] and not kinds["poisoning_suspected"], kinds
    again = World(42)
    base = list(again.ordinary(10.5, 900))
    rows = [again.usual() + np.r_[4.0, np.zeros(WIDTH - 1)] for _ in range(500)]
    poison = [again.event(row, START + 9.3 * DAY + 60 * n, f"feeder{n % 4}") for n, row in enumerate(rows)]
    kinds = told(run(mixed(iter(base), poison)))
    assert kinds["poisoning_suspected"], kinds


def test_odd_events_are_taken() -> None:
    watch = Predictive()
    values = (float("nan"), float("inf"), -float("inf"), 1e308, -1e308, 0.0)
    for n in range(3_000):
        features = tuple(values[(n + k) % 6] for k in range(1 + n % 5))
        watch.feed(
            Event(
                float(10_000 - n),
                id=str(n),
                features=features,
                score=values[n % 6],
                decision=str(n % 3),
                key=f"k{n % 50}",
            )
        )


def test_a_million_distinct_callers_and_wide_rows_stay_in_bounds() -> None:
    chance = np.random.default_rng(5)
    watch = Predictive()
    tracemalloc.start()
    wide = chance.normal(size=(50, 1_000))
    for n in range(2_000):
        watch.feed(
            Event(
                START + n,
                id=str(n),
                model=f"m{n % 3}",
                features=tuple(wide[n % 50] + n),
                score=0.5,
                decision="a",
                key=f"k{n}",
            )
        )
    half = tracemalloc.get_traced_memory()[0]
    for n in range(2_000, 3_500):
        watch.feed(
            Event(
                START + n,
                id=str(n),
                model=f"m{n % 3}",
                features=tuple(wide[n % 50] + n),
                score=0.5,
                decision="a",
                key=f"k{n}",
            )
        )
    end = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert end < 1.2 * half and end < 120 << 20, (half >> 20, end >> 20)


NUMBERS = st.one_of(st.floats(width=64), st.integers(0, 2**32 - 1).map(hashed), st.sampled_from([0.0, 1.0, 1e308]))
TIMES = st.one_of(
    st.floats(START, START + 50), st.sampled_from([float("nan"), float("inf"), -5.0, 0.0, START + 1e9, 1e300])
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            TIMES, st.lists(NUMBERS, max_size=5), st.one_of(st.none(), st.floats()), st.text(max_size=3), st.text(max_size=2)
        ),
        max_size=60,
    ),
    st.integers(0, 3),
)  # fmt: skip
def test_whatever_comes_is_taken_and_kept(rows: list[Any], width: int) -> None:
    watch = Predictive()
    for time, features, score, decision, caller in rows:
        some = tuple(features if width == 0 else (features * 3)[:width])
        watch.feed(Event(time, id=caller, features=some, score=score, decision=decision, key=caller, network="n"))
    watch.tick(START + 100)
    again = Predictive.restored(watch.kept())
    assert again.standing() == watch.standing() and again.refused == watch.refused


def test_a_million_names_a_minute_do_not_push_out_who_asked_much() -> None:
    world = World(51, has_text=False)
    watch = Predictive()
    for n in range(120):
        watch.feed(world.event(world.usual(), START + n / 4, "steady"))
    for n in range(40_000):
        watch.feed(world.event(world.usual(), START + 30 + n * 60 / 1_000_000, f"name{n}"))
    watch.tick(START + 100)
    (model,) = watch.models.values()
    ones = model.ones["caller"]
    assert "steady" in ones.rows and len(ones.names) <= ones.size and ones.evicted > 30_000


def test_a_clock_that_runs_backwards_or_ahead_is_counted_and_stops_nothing() -> None:
    world = World(52, has_text=False)
    watch = Predictive()
    for n in range(300):
        at = START + n if n % 3 else START - n * 100
        watch.feed(world.event(world.usual(), at, "a"))
    watch.feed(world.event(world.usual(), START + 1e8, "a"))
    watch.tick(START + 400)
    assert watch.late and watch.ahead == 1 and watch.standing()[0]["rows"] == 300


def test_rows_of_another_width_are_counted_and_only_many_of_them_are_another_model() -> None:
    world = World(53, has_text=False)
    watch = Predictive()
    for n in range(600):
        row = world.usual()
        watch.feed(world.event(row, START + n, "a"))
        if n % 5 == 0:
            watch.feed(Event(START + n, id="w", route="fraud", model="fraud", features=(1.0, 2.0), score=0.5))
    watch.tick(START + 900)
    assert watch.standing()[0]["rows"] == 600 and watch.standing()[0]["overlooked"] == 120


def test_bytes_that_are_no_state_are_refused() -> None:
    good = Predictive().kept()
    for bad in (b"", b"x" * 40, good[:-3]):
        with pytest.raises(AfterguardError, match="cannot be read"):
            Predictive.restored(bad)


def test_since_when_one_asks_much_is_remembered_although_he_gave_way() -> None:
    ones = Ones(3)
    ones.size = 256
    for name, different in (("job", 300), ("small", 3)):
        ones.different[ones.admit([name], 1_000.0)] = different
    for number in range(400):
        ones.admit([f"s{number}"], 20_000.0 + number)
    assert "job" not in ones.rows and "small" not in ones.rows
    places = ones.admit(["job", "small"], 86_400.0)
    assert ones.first[places].tolist() == [1_000.0, 86_400.0] and list(ones.since) == ["job"]
    for number in range(3_000):
        name = f"much{number}"
        ones.different[ones.admit([name], 1e6 + 1e5 * number)] = 300
    assert len(ones.since) <= 1_000
