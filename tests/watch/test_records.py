"""A harvest of membership that many do together: told once, by its devices; forms, retries, jobs of the night and sensors are none; memory stays in bounds."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import zstandard

sys.path.insert(0, str(Path(__file__).parent))
from predictive_traffic import DAY, START, WIDTH, World, mixed

from afterguard.watch.alarm import Alarm
from afterguard.watch.event import Event
from afterguard.watch.predictive import Predictive
from afterguard.watch.scored import records
from afterguard.watch.scored.block import Scales, block
from afterguard.watch.scored.records import Records

BEGIN = START + 2.1 * DAY


def told(events: Iterator[Event]) -> list[Alarm]:
    watch = Predictive(60.0)
    return [one for event in events for one in watch.feed(event) if one.hit.kind == "membership_probing"]


def asks(world: World, row: np.ndarray, at: float, who: int, devices: int, category: int = 1) -> Event:
    """One row of an account, at its place among the devices."""
    event = world.event(row, at, "app", category)
    return msgspec.structs.replace(event, user=f"account{who}", device=f"d{who % devices}", network=f"n{who}")


def harvest(world: World, devices: int, hair: float = 0.004) -> list[Event]:
    """Three hundred accounts in turn, a row each ten minutes: one record three times as it is, twice a hair beside."""
    out = []
    cases = [world.usual() for _ in range(300)]
    for ask in range(5):
        for who, case in enumerate(cases):
            row = case + hair * world.chance.normal(size=WIDTH) if ask > 2 else case
            out.append(asks(world, row, BEGIN + 600 * ask + 2 * who, who, devices))
    return out


@pytest.mark.parametrize(("devices", "hair", "scope"), [(40, 0.004, "device"), (300, 0.02, "caller")])
def test_a_harvest_by_many_is_told_with_who_does_it(devices: int, hair: float, scope: str) -> None:
    world = World(61)
    ordinary = list(world.ordinary(2.2, 1_600))
    found = told(mixed(iter(ordinary), harvest(world, devices, hair)))
    first = found[0].hit
    names = set(first.identifiers)
    assert len(names) >= 20 and names <= {f"d{n}" for n in range(40)} | {f"account{n}" for n in range(300)}
    assert first.cause.startswith(f"{len(names)} {scope}s together") and "hair" in first.rule and found[0].exchanges
    assert len(found) == 1 if scope == "device" else len(found) <= 2  # a second time where it is four times as many


def forms(world: World) -> list[Event]:
    """Other amounts for the same case, by many: one number moves a little."""
    out = []
    for who in range(300):
        row = world.usual()
        for ask in range(5):
            row = row.copy()
            row[0] += 0.02 * world.chance.normal()
            out.append(asks(world, row, BEGIN + 60 * ask + 7 * who, who, 300))
    return out


def retries(world: World) -> list[Event]:
    cases = [world.usual() for _ in range(300)]
    return [asks(world, case, BEGIN + 600 * ask + 2 * who, who, 40) for ask in range(5) for who, case in enumerate(cases)]  # fmt: skip


def corrections(world: World) -> list[Event]:
    """A job that scores all anew, once more with features a hair better, and again the next nights."""
    cases = [world.usual() for _ in range(400)]
    out = []
    for n, at in enumerate((BEGIN, BEGIN + 3_600, BEGIN + DAY, BEGIN + 2 * DAY)):
        rows = [case + 0.003 * n * world.chance.normal(size=WIDTH) for case in cases]
        out += [asks(world, row, at + 2 * who, who, 1) for who, row in enumerate(rows)]
    return out


@pytest.mark.parametrize("make", [forms, retries, corrections])
def test_forms_retries_and_corrections_by_many_are_none(make: object) -> None:
    world = World(62)
    ordinary = list(world.ordinary(2.2 if make is not corrections else 4.2, 1_600))
    found = told(mixed(iter(ordinary), make(world)))  # type: ignore[operator]
    assert not found, found[0].hit.rule


def sensors(world: World, days: int, many: int) -> Iterator[Event]:
    """Machines that ask every two hours with inputs that creep; on the last day there are twice as many of them."""
    rows = {n: world.usual() for n in range(2 * many)}
    for at in np.arange(START, START + days * DAY, 7_200):
        for n in range(many if at < START + (days - 1) * DAY else 2 * many):
            rows[n] = rows[n] + 0.006 * world.chance.normal(size=WIDTH)
            yield asks(world, rows[n], float(at) + 3 * n, n, 2 * many)


def test_inputs_that_creep_by_nature_are_their_own_measure() -> None:
    watch = Predictive(60.0)
    found = [one for event in sensors(World(63), 4, 520) for one in watch.feed(event) if " together" in one.hit.cause]
    assert not found, found[0].hit.rule
    (model,) = watch.models.values()
    assert min(model.records.days[:2]) >= 2 * records.LEAST  # without a past it would have been told


def filled(count: int) -> Records:
    """Records after so many random rows."""
    chance = np.random.default_rng(7)
    scales, some = Scales(6), Records(6)
    for first in range(0, count, 500):
        events = [
            Event(START + first + n, id=str(n), features=tuple(row), key="a")
            for n, row in enumerate(chance.normal(size=(500, 6)).tolist())
        ]
        rows = block(events, scales)
        some.look(rows, np.ones(500, bool), scales.deviation, 0.3)
    return some


def test_memory_is_bounded_and_the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MOST", 1_000)
    some = filled(5_000)
    assert len(some.values) == 1_000 < some.next and some.times.min() >= START + 3_900
    assert sum(len(one) for one in some.named.values()) <= 3 * records.NAMES and len(some.moments) <= records.SHOWN


def test_what_is_usual_grows_slowly_once_it_is_known() -> None:
    some = Records(3)
    for day in range(30):
        some._turn(START + day * DAY)
        some.cells = dict.fromkeys(range(100 if day < 10 else 400), 1)
    assert 100 <= max(some.days) < 100 * 1.1**21 and some.days == sorted(some.days) and len(some.days) == records.DAYS
    some._turn(START + 28.5 * DAY)  # a clock that runs backwards
    assert some.window * records.WINDOW >= START + 29 * DAY and some.cells
    some._turn(START)  # it was ahead for weeks
    assert some.window * records.WINDOW == START and not some.cells


def test_a_state_that_was_kept_before_there_were_records_is_read() -> None:
    world, watch = World(64), Predictive()
    for n in range(1_500):
        watch.feed(world.event(world.usual(), START + n, "a"))
    watch.tick(START + 2_000)
    state = msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(watch.kept()))
    ((_, _, (_, model)),) = state["models"]
    assert model.pop("records")
    old = zstandard.ZstdCompressor().compress(msgspec.msgpack.encode(state))
    again = Predictive.restored(old)
    assert again.standing() == watch.standing()
    (fresh,) = again.models.values()
    assert fresh.records.next == 0
    (kept,) = Predictive.restored(watch.kept()).models.values()
    (here,) = watch.models.values()
    assert kept.records.next == here.records.next > 0 and (kept.records.values == here.records.values).all()
