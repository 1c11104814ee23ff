"""The doors inside an application while the Redis behind them hangs, goes and comes back empty: what clients saw stands in docs/how-to/doors.md."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from limited import until_refused

from afterguard import clients
from afterguard.clients.openai import OpenAI

if "guard_running" not in sys.modules:
    _spec = importlib.util.spec_from_file_location("guard_running", Path(__file__).parents[1] / "running.py")
    assert _spec and _spec.loader
    sys.modules["guard_running"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["guard_running"])
running: Any = sys.modules["guard_running"]
inside: Any = running.module(Path(__file__).with_name("test_inside.py"))
redis_here: Any = running.module(Path(__file__).parents[1] / "redis_here.py")
WAIT = f"use {running.KEY}"
pytestmark = pytest.mark.skipif(redis_here.SERVER is None, reason=redis_here.MISSING)
LIMIT = 12
"""Requests a minute: more than any caller here has who is not to be refused."""
LIMITED = f"limits: {{per: identity, requests_per_minute: {LIMIT}, tokens_per_minute: 1000000}}"
Send = Callable[[str, str], int]
"""(text, who) -> status."""


@pytest.fixture(scope="module")
def redis() -> Iterator[Any]:
    one = redis_here.Redis()
    one.start()
    yield one
    one.kill()


@contextlib.contextmanager
def way(door: str, one: Any) -> Iterator[Send]:
    """A client before this door."""
    if door == "httpx":
        with running.stand_in() as provider, OpenAI(base_url=provider.origin + "/openai/v1", api_key="k", max_retries=0) as client:  # fmt: skip

            def asked(text: str, who: str) -> int:
                try:
                    inside.ask(client.with_options(api_key=who), text)
                except openai.APIStatusError as error:
                    return error.status_code
                return 200

            yield asked
        return
    make, served, _ = inside.APPS[door]
    with served(make(one)) as url, httpx.Client() as client:
        yield lambda text, who: client.post(url + "/chat", json={"question": text}, headers={"authorization": f"Bearer {who}"}).status_code  # fmt: skip


def several(send: Send, who: str, count: int = 6) -> tuple[set[int], float]:
    """Statuses, and the seconds of the slowest."""
    statuses, slowest = set(), 0.0
    for number in range(count):
        began = time.perf_counter()
        statuses.add(send(f"When does depot {number} open?", who))
        slowest = max(slowest, time.perf_counter() - began)
    return statuses, slowest


@pytest.mark.parametrize("fails", ["open", "closed"])
@pytest.mark.parametrize("door", ["httpx", "asgi", "wsgi"])
def test_redis_lost_and_back(
    door: str, fails: str, redis: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is refused for it, limits hold in this process, and the next request after its return is as before."""
    head = f"mode: enforce\non_error: {fails}\n{LIMITED}"
    policy = running.rules(running.rule("ask-it", "ask", "request", {"hit.kind": "secret_in_input"}), head=head)
    turn = itertools.count()
    more = inside.chats(folder=tmp_path) if door != "httpx" else {}
    one = inside.Here(tmp_path, policy, redis=f"redis://127.0.0.1:{redis.port}/0", watch=True, on_error=fails, **more)
    monkeypatch.setattr(clients, "_made", [one.made])
    try:
        with way(door, one) as send:
            assert several(send, "before")[0] == {200} and redis.counts()
            assert send(WAIT, "before") == 400
            try:
                redis.hang(True)
                statuses, hung = several(send, "hung")
                assert statuses == {200}
                redis.kill()
                statuses, away = several(send, "away")
                assert statuses == {200} and send(WAIT, "away") == 400
                much = until_refused(lambda: send("Hello", "much"), LIMIT)
                assert {*much[:-1]} == {200} and much[-1] == 429, "this process counts alone"
                assert b'"redis"' in clients.metrics()
            finally:
                redis.start()
            running.until(lambda: several(send, f"back {next(turn)}", 1)[0] == {200} and redis.counts())
            assert send(WAIT, "back") == 400
            print(f"{door} {fails}: hung {hung * 1000:.0f} ms, away {away * 1000:.0f} ms at most")
    finally:
        one.made.inside.close()
    lines = one.lines()
    assert len(lines) >= 6 + 1 + 6 + 6 + 1 + len(much) + 2 and sum(line["action"] == "throttle" for line in lines) >= 1
