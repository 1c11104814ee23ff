"""Limits of callers, in this process and in a real Redis."""

from __future__ import annotations

import asyncio

import pytest

from afterguard.guard import limits as limits_here
from afterguard.guard.limits import Local, Meter, Shared
from afterguard.policy.document import Limits


def test_requests_and_tokens_of_a_minute() -> None:
    async def work() -> None:
        meter = Meter(Local())
        limits = Limits(requests_per_minute=3, tokens_per_minute=100)
        assert [await meter.ask(limits, "a", 1, 30.0) for _ in range(3)] == [(0.0, "")] * 3
        assert await meter.ask(limits, "a", 1, 45.0) == (15.0, "requests_per_minute")
        assert await meter.ask(limits, "b", 1, 45.0) == (0.0, "")
        assert await meter.ask(limits, "a", 1, 61.0) == (0.0, "")
        await meter.spent(limits, "b", 100, 62.0)
        assert (await meter.ask(limits, "b", 1, 63.0))[1] == "tokens_per_minute"

    asyncio.run(work())


def test_size_and_requests_at_once() -> None:
    async def work() -> None:
        meter = Meter(Local())
        limits = Limits(request_bytes=10, concurrent=2)
        assert (await meter.ask(limits, "a", 11, 0.0))[1] == "request_bytes"
        meter.begin("a")
        meter.begin("a")
        assert (await meter.ask(limits, "a", 1, 0.0))[1] == "concurrent"
        meter.end("a")
        assert (await meter.ask(limits, "a", 1, 0.0))[1] == ""
        meter.end("a")
        assert meter.open == {}

    asyncio.run(work())


def test_callers_are_bounded() -> None:
    async def work() -> None:
        counts = Local(callers=10)
        for number in range(1_000):
            await counts.add(str(number), 0, 1, 0)
        assert len(counts._rows) == 10

    asyncio.run(work())


def test_two_workers_share_one_count(redis: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_here, "PATIENCE", 30.0)  # a busy machine is no lost Redis

    async def work() -> None:
        failures: list[int] = []
        one, two = (Meter(Shared(redis, lambda: failures.append(1))) for _ in range(2))
        limits = Limits(requests_per_minute=4)
        found = [await meter.ask(limits, "c", 1, 30.0) for _ in range(3) for meter in (one, two)]
        assert [which for _, which in found] == [""] * 4 + ["requests_per_minute"] * 2
        assert not failures
        for meter in (one, two):
            await meter.counts.close()  # type: ignore[attr-defined]

    asyncio.run(work())


def test_without_redis_each_worker_counts_alone_and_says_so() -> None:
    async def work() -> None:
        failures: list[int] = []
        meter = Meter(Shared("redis://127.0.0.1:1", lambda: failures.append(1)))
        limits = Limits(requests_per_minute=1)
        assert (await meter.ask(limits, "d", 1, 0.0))[1] == ""
        assert (await meter.ask(limits, "d", 1, 0.0))[1] == "requests_per_minute"
        assert len(failures) == 2
        await meter.counts.close()  # type: ignore[attr-defined]

    asyncio.run(work())
