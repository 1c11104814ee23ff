"""Brains that share Redis watch as one, also when Redis goes and comes back."""

from __future__ import annotations

import asyncio
import functools
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from afterguard.guard import together
from afterguard.guard.journal import Journal
from afterguard.guard.lookout import Lookout, joint
from afterguard.guard.metrics import Metrics
from afterguard.guard.part import Place
from afterguard.guard.together import Together, key
from afterguard.watch import live
from afterguard.watch.alarm import Alarm
from afterguard.watch.event import Event
from afterguard.watch.live import Watch, decoded
from afterguard.watch.site import Settings

from . import redis_here

START = 1_780_272_000.0
DAY = 86_400.0


@pytest.fixture
def empty(redis: str) -> Iterator[str]:
    import redis as client

    with client.Redis.from_url(redis) as one:
        one.flushall()
    yield redis


def traffic() -> list[Event]:
    """Three and a half days of fifty people, then one who is refused again and again and one who moves in with a thousand faces."""
    rng = random.Random(1)

    def event(at: float, who: int, shape: int, outcome: str = "ok") -> Event:
        return Event(at, f"{at:.4f}", app="s", key="k", user=f"u{who}", address=f"a{who}", network=f"n{who}", device=f"d{who}", client="web", model="m", prompt="p", shape=shape, outcome=outcome, seconds=1.0, input_tokens=100, output_tokens=100, answer_size=400)  # fmt: skip

    events = [event(START + 3.6 * DAY * rng.random(), rng.randrange(50), rng.getrandbits(50)) for _ in range(4_000)]
    events += [event(START + 3.4 * DAY + 3_600 * rng.random(), 77, rng.getrandbits(50), "refused") for _ in range(60)]
    events += [event(START + 3.5 * DAY + 6_000 * rng.random(), 1_000 + n, 4_711) for n in range(400)]
    return sorted(events, key=lambda one: one.time)


@pytest.fixture(autouse=True)
def long_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half an hour in place of five minutes, so that days pass quickly."""
    monkeypatch.setattr(live, "PATIENCE", 1_800.0)


def told(alerts: list[Alarm]) -> set[tuple[str, str]]:
    return {(alert.hit.kind, alert.hit.cause) for alert in alerts}


@functools.cache
def one_brain() -> list[Alarm]:
    events = traffic()
    watch, alerts = Watch(bits=1 << 22), []
    for event in events:
        alerts += watch.feed(event)
    return alerts + watch.tick(events[-1].time + 9_000)


def joined(url: str, name: str, failed: Callable[[str], None]) -> Together[Watch]:
    """A brain with a small memory: what it knows is kept at every step here, and of the ordinary one that is much."""
    brain = joint(url, name, failed, Settings())
    brain.make = lambda: Watch(Settings(), bits=1 << 22)
    return brain


def minutes(events: list[Event], length: float = 1_800.0) -> list[tuple[float, list[Event]]]:
    out: dict[float, list[Event]] = {}
    for event in events:
        out.setdefault((event.time // length + 1) * length, []).append(event)
    return sorted(out.items())


async def two_brains(
    url: str, events: list[Event], dies_at: float = 0.0, faults: tuple[tuple[float, Callable[[], object]], ...] = ()
) -> tuple[list[Alarm], list[str]]:
    """`faults`: from when on what happens, once."""
    failures: list[str] = []
    brains = [joined(url, name, failures.append) for name in ("one", "two")]
    alerts: list[Alarm] = []
    last = 0.0
    waiting = list(faults)
    for now, some in minutes(events):
        last = now
        if waiting and now > waiting[0][0]:
            waiting.pop(0)[1]()
        if dies_at and now > dies_at and len(brains) == 2:
            dead = brains.pop(0)
            await dead._redis.delete(key("watch", "judge"))  # as if its ten seconds were over
            await dead._redis.aclose()
        parts = [some[n :: len(brains)] for n in range(len(brains))]
        for part, brain in zip(parts[::-1], brains[::-1], strict=True):
            alerts += await brain.step(part, now)
    for late in (last + 9_000, last + 18_000):
        for brain in brains:
            alerts += await brain.step([], late)
    for brain in brains:
        await brain.close()
        assert not brain.dropped
    return alerts, failures


def test_two_brains_raise_what_one_raises(empty: str) -> None:
    events = traffic()
    alone = one_brain()
    together, failures = asyncio.run(two_brains(empty, events))
    assert failures == []
    assert {"refusal_burst", "campaign_of_new"} <= {kind for kind, _ in told(alone)}
    assert told(together) == told(alone)


def test_another_goes_on_where_the_judge_died(empty: str) -> None:
    events = traffic()
    alerts, failures = asyncio.run(two_brains(empty, events, dies_at=START + 3.45 * DAY))
    assert failures == []
    assert told(alerts) == told(one_brain())
    assert len(alerts) == len(told(alerts)), "nothing is told twice"


@pytest.fixture
def coming() -> Iterator[redis_here.Redis]:
    """A Redis that may go and come back."""
    if redis_here.SERVER is None:
        pytest.skip(redis_here.MISSING)
    one = redis_here.Redis()
    one.start()
    yield one
    one.kill()


def url_of(one: redis_here.Redis) -> str:
    return f"redis://127.0.0.1:{one.port}"


def test_redis_lost_and_back_empty_costs_no_alarm_and_doubles_none(coming: redis_here.Redis) -> None:
    """Both campaigns fall into the outage. What the judge sees of them alone is told at once, the rest when Redis is back, each once."""
    events = traffic()
    faults = ((START + 3.42 * DAY, coming.kill), (START + 3.58 * DAY, coming.start))
    alerts, failures = asyncio.run(two_brains(url_of(coming), events, faults=faults))
    assert set(failures) == {"watch_redis"}
    assert told(alerts) >= told(one_brain())
    assert len(alerts) == len(told(alerts)), "nothing is told twice"


def test_a_redis_that_lost_everything_between_two_looks_is_given_it_again(coming: redis_here.Redis) -> None:
    """Another brain gets the lease of the empty Redis; it goes on with what the judge of before knows."""
    events = traffic()
    alerts, failures = asyncio.run(
        two_brains(url_of(coming), events, faults=((START + 3.3 * DAY, lambda: coming.talk(b"FLUSHALL\r\n")),))
    )
    assert failures == []
    assert told(alerts) == told(one_brain())


def test_a_batch_whose_answer_was_lost_is_handed_over_once(
    coming: redis_here.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Redis that hangs takes the batch when it wakes, after its sender gave up and kept it."""
    monkeypatch.setattr(together, "PATIENCE", 0.3)
    events = traffic()[:100]

    async def work() -> None:
        failures: list[str] = []
        brain = joint(url_of(coming), "one", failures.append)
        await brain.step(events[:10], START + 60)
        coming.hang(True)
        for at in (10, 40, 70):
            await brain.step(events[at : at + 30], START + 120)
        coming.hang(False)
        assert failures and brain.is_away
        await asyncio.sleep(0.2)
        await brain.step([], START + 180)
        assert not brain.is_away and not brain.dropped
        await brain.close()

    asyncio.run(work())
    assert coming.events() == [event.id for event in events]


def test_an_alarm_that_cannot_be_marked_is_told_and_not_told_again(
    coming: redis_here.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis goes between the raising of an alarm and its mark."""
    marking = Together._is_first
    went: list[float] = []

    async def goes(self: Together[Watch], alert: Alarm) -> bool:
        if not went:
            went.append(time.monotonic())
            coming.kill()
        return await marking(self, alert)

    monkeypatch.setattr(Together, "_is_first", goes)
    events = traffic()

    async def work() -> tuple[list[Alarm], list[Alarm]]:
        brain = joined(url_of(coming), "one", lambda _: None)
        before: list[Alarm] = []
        after: list[Alarm] = []
        for now, some in minutes(events):
            if went and not coming.answers():
                coming.start()
            (after if went else before).extend(await brain.step(some, now))
        for late in (9_000, 18_000):
            after += await brain.step([], events[-1].time + late)
        await brain.close()
        return before, after

    before, after = asyncio.run(work())
    alerts = [*before, *after]
    assert went and told(alerts) == told(one_brain()) and len(alerts) == len(told(alerts))


def test_what_no_common_watch_will_see_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "KEPT_BACK", 40)
    monkeypatch.setattr(together, "PIECE", 10)
    metrics = Metrics()
    place = Place(tmp_path, Journal(tmp_path / "decisions.jsonl"), metrics, str)
    one = Lookout(place, redis="redis://127.0.0.1:9", brain="one")

    async def work() -> None:
        one._events = traffic()[:100]
        await one.step(START + 60)
        assert metrics.numbers["afterguard_failures_total"] == {
            ("all", "watch_redis", "yes"): 1.0,
            ("all", "watch_not_shared", "yes"): 60.0,
        }
        await one.close()

    asyncio.run(work())
    assert metrics.numbers["afterguard_failures_total"]["all", "watch_not_shared", "yes"] == 100.0


def test_what_waits_is_a_few_batches_however_long_redis_is_away() -> None:
    async def work() -> None:
        brain = joint("redis://127.0.0.1:9", "one", lambda _: None)
        brain.alone = Watch(bits=1 << 12)
        events = traffic()
        for number in range(300):
            await brain.step(events[number : number + 1], START + number)
        assert len(brain._unsent) == 2 and not brain.dropped
        held = [event for _, _, data in brain._unsent for event in decoded(data)]
        assert held == events[:300] and len({number for number, _, _ in brain._unsent}) == 2
        await brain.close()
        assert brain.dropped == 300

    asyncio.run(work())


def test_without_redis_each_watches_its_own() -> None:
    failures: list[str] = []

    async def work() -> list[Alarm]:
        brain = joint("redis://127.0.0.1:9", "one", failures.append)
        brain.alone = Watch(bits=1 << 20)
        first = await brain.step(traffic()[:10], START + 60)
        await brain.close()
        return first

    assert asyncio.run(work()) == []
    assert failures
