"""Brains that share Redis watch predictive models as one; callers that stood out are known to all; what is known outlives each of them; Redis lost is said."""

from __future__ import annotations

import asyncio
import functools
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "watch"))
sys.path.insert(0, str(Path(__file__).parent))
import running
from predictive_traffic import World, mixed
from test_predictive import copy, walk

from afterguard.guard.journal import Journal
from afterguard.guard.metrics import Metrics
from afterguard.guard.models import Models
from afterguard.guard.part import Place
from afterguard.guard.patrol import FILE, Patrol, joint
from afterguard.guard.suspects import STREAM as SUSPECTS
from afterguard.guard.suspects import Suspect, Suspects
from afterguard.guard.together import key
from afterguard.model import Severity
from afterguard.watch.alarm import Alarm, of
from afterguard.watch.event import Event
from afterguard.watch.predictive import Predictive


@pytest.fixture
def empty(redis: str) -> Iterator[str]:
    import redis as client

    with client.Redis.from_url(redis) as one:
        one.flushall()
    yield redis


@functools.cache
def traffic() -> list[Event]:
    """A day and a half, in which one walks around a decision over twenty callers, and a thousand copy the model."""
    world = World(21)
    ordinary = list(world.ordinary(1.6, 1_800))
    first = list(mixed(iter(ordinary), walk(world, 1)))
    return sorted(mixed(iter(first), copy(world, 1_000)), key=lambda one: one.time)


def told(alerts: list[Alarm]) -> list[tuple[str, str, str]]:
    return sorted((alert.hit.kind, alert.hit.cause, alert.hit.rule) for alert in alerts)


@functools.cache
def one_brain() -> list[Alarm]:
    events = traffic()
    watch = Predictive()
    alerts = [alert for event in events for alert in watch.feed(event)]
    return alerts + watch.tick(events[-1].time + 100)


async def two_brains(url: str, events: list[Event], dies_at: float = 2.0) -> tuple[list[Alarm], list[str]]:
    """Rows go to either brain by turns, half an hour at once, and reach Redis in another order than that of their times."""
    failures: list[str] = []
    brains = [joint(url, name, failures.append) for name in ("one", "two")]
    alerts: list[Alarm] = await brains[0].step([], events[0].time)  # the judge, whose turn comes last
    begin, end, now = 0, len(events), 0.0
    while begin < end:
        now = events[begin].time + 1_800
        stop = next((n for n in range(begin, end) if events[n].time >= now), end)
        some, begin = events[begin:stop], stop
        if len(brains) == 2 and begin / end > dies_at:
            dead = brains.pop(0)
            if dead.judging is not None:
                await dead._keep(dead.judging, now)
            await dead._redis.delete(key("scored", "judge"))  # as if its ten seconds were over
            await dead._redis.aclose()
        for n, brain in reversed(list(enumerate(brains))):
            alerts += await brain.step(some[n :: len(brains)], now)
    for brain in brains:
        alerts += await brain.step([], now + 3_600)
        await brain.close()
    return alerts, failures


@pytest.mark.parametrize("dies_at", [2.0, 0.6])
def test_two_brains_raise_what_one_raises(empty: str, dies_at: float) -> None:
    events = traffic()
    alone = one_brain()
    assert {"evasion_walk", "model_extraction"} <= {kind for kind, _, _ in told(alone)}
    together, failures = asyncio.run(two_brains(empty, events, dies_at))
    assert failures == [] and told(together) == told(alone)


def test_callers_that_stood_out_are_known_to_all_brains_also_to_one_that_comes_later(empty: str) -> None:
    hit = of("evasion_walk", "t", (), [("id", 1.0)], severity=Severity.high, cause="c", rule="r", would_change="w", callers=("bad",)).hit  # fmt: skip
    heard: list[Suspect] = []

    async def work() -> None:
        one = Suspects(empty, lambda why: None, 0.0)
        await one.tell([Suspect("fraud", time.time(), hit)])
        two = Suspects(empty, lambda why: None, time.time() - 100)
        heard.extend(await two.heard())
        assert await two.heard() == []
        await one.close()
        await two.close()

    asyncio.run(work())
    models = Models()
    for one in heard:
        models.suspect(one.route, one.hit, one.time)
    assert models.suspected("fraud", ("", "bad"), "now")[0].kind == "evasion_walk"
    assert not models.suspected("other", ("bad",), "now")


def test_entries_that_are_none_are_counted_and_stop_nobody(empty: str) -> None:
    import redis as client

    with client.Redis.from_url(empty) as one:
        one.xadd(key("scored", "events"), {b"e": b"\xc1\xff"})
        one.xadd(key("scored", "events"), {b"other": b"x"})
        one.xadd(SUSPECTS, {b"s": b"\x93\x01\x02\x03"})
        one.set("afterguard:scored:state", b"nothing")
        one.set("afterguard:scored:place", b"0")
    failures: list[str] = []

    async def work() -> list[Alarm]:
        brain, suspects = joint(empty, "one", failures.append), Suspects(empty, failures.append, 0.0)
        assert await suspects.heard() == []
        found = await brain.step(traffic()[:50], time.time())
        await brain.close()
        await suspects.close()
        return found

    assert asyncio.run(work()) == []
    assert sorted(failures) == ["scored_entry", "scored_entry", "scored_entry", "scored_state"]


def test_without_redis_each_watches_its_own_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    failures: list[str] = []

    async def work() -> Predictive:
        brain = joint("redis://127.0.0.1:9", "one", failures.append)
        await brain.step(traffic()[:300], traffic()[300].time)
        await brain.step([], traffic()[300].time + 60)
        await brain.close()
        return brain.alone

    alone = asyncio.run(work())
    assert alone.standing()[0]["rows"] == 300
    assert failures and "alone" in caplog.text and caplog.text.count("does not answer") == 1


def test_what_is_known_outlives_a_restart_and_a_damaged_file_is_said(tmp_path: Path) -> None:
    def patrol() -> Patrol:
        return Patrol(Place(tmp_path, Journal(tmp_path / "log"), Metrics(), running.pseudonym), Models())

    one = patrol()
    one._events = traffic()[:500]
    asyncio.run(one.close())
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0
    assert patrol().watch.standing() == one.watch.standing()
    (tmp_path / FILE).write_bytes(b"no state")
    again = patrol()
    assert again.watch.standing() == []
    assert again.metrics.numbers["afterguard_failures_total"] == {("all", "scored_state", "yes"): 1.0}


def test_a_watch_that_fails_is_counted_and_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Patrol(Place(tmp_path, Journal(tmp_path / "log"), Metrics(), running.pseudonym), Models())
    before = one.watch
    monkeypatch.setattr(Predictive, "tick", lambda self, now: 1 / 0)
    asyncio.run(one.step(5.0))
    assert one.watch is not before
    assert one.metrics.numbers["afterguard_failures_total"] == {("all", "scored:ZeroDivisionError", "yes"): 1.0}


def test_a_fault_of_ours_is_not_taken_for_a_lost_redis(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    failures: list[str] = []
    monkeypatch.setattr(Predictive, "tick", lambda self, now: 1 / 0)

    async def work() -> None:
        brain = joint(empty, "one", failures.append)
        await brain.step([], time.time() - 60)  # it waits for a judge of before
        with pytest.raises(ZeroDivisionError):
            await brain.step([], time.time())
        await brain.close()

    asyncio.run(work())
    assert failures == []
