"""Brains that share Redis watch as one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import pytest

from afterguard.guard.lookout import joint
from afterguard.guard.together import key
from afterguard.watch import live
from afterguard.watch.alert import Alert
from afterguard.watch.event import Event
from afterguard.watch.live import Watch
from afterguard.watch.site import Settings

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


def told(alerts: list[Alert]) -> set[tuple[str, str]]:
    return {(alert.hit.kind, alert.hit.cause) for alert in alerts}


def one_brain(events: list[Event]) -> list[Alert]:
    watch, alerts = Watch(bits=1 << 22), []
    for event in events:
        alerts += watch.feed(event)
    return alerts + watch.tick(events[-1].time + 9_000)


def minutes(events: list[Event], length: float = 1_800.0) -> list[tuple[float, list[Event]]]:
    out: dict[float, list[Event]] = {}
    for event in events:
        out.setdefault((event.time // length + 1) * length, []).append(event)
    return sorted(out.items())


async def two_brains(url: str, events: list[Event], dies_at: float = 0.0) -> tuple[list[Alert], list[str]]:
    failures: list[str] = []
    settings = Settings()
    brains = [joint(url, name, failures.append, settings) for name in ("one", "two")]
    alerts: list[Alert] = []
    last = 0.0
    for now, some in minutes(events):
        last = now
        if dies_at and now > dies_at and len(brains) == 2:
            dead = brains.pop(0)
            await dead._redis.delete(key("watch", "judge"))  # as if its ten seconds were over
            await dead._redis.aclose()
        parts = [some[n :: len(brains)] for n in range(len(brains))]
        for part, brain in zip(parts[::-1], brains[::-1], strict=True):
            alerts += await brain.step(part, now)
    for brain in brains:
        alerts += await brain.step([], last + 9_000)
        await brain.close()
    return alerts, failures


def test_two_brains_raise_what_one_raises(empty: str) -> None:
    events = traffic()
    alone = one_brain(events)
    together, failures = asyncio.run(two_brains(empty, events))
    assert failures == []
    assert {"refusal_burst", "campaign_of_new"} <= {kind for kind, _ in told(alone)}
    assert told(together) == told(alone)


def test_another_goes_on_where_the_judge_died(empty: str) -> None:
    events = traffic()
    alerts, failures = asyncio.run(two_brains(empty, events, dies_at=START + 3.45 * DAY))
    assert failures == []
    assert told(alerts) == told(one_brain(events))
    assert len(alerts) == len(told(alerts)), "nothing is told twice"


def test_without_redis_each_watches_its_own() -> None:
    failures: list[str] = []

    async def work() -> list[Alert]:
        brain = joint("redis://127.0.0.1:9", "one", failures.append)
        brain.alone = Watch(bits=1 << 20)
        first = await brain.step(traffic()[:10], START + 60)
        await brain.close()
        return first

    assert asyncio.run(work()) == []
    assert failures
