"""A real Squid and a real LiteLLM in front of guards whose Redis hangs, goes and comes back empty, and whose brain is over its budget: what clients saw stands in docs/how-to/doors.md."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from limited import until_refused
from ports import free_port

if "guard_running" not in sys.modules:
    _spec = importlib.util.spec_from_file_location("guard_running", Path(__file__).with_name("running.py"))
    assert _spec and _spec.loader
    sys.modules["guard_running"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["guard_running"])
running: Any = sys.modules["guard_running"]
box: Any = running.module(Path(__file__).with_name("squid.py"))
through_squid: Any = running.module(Path(__file__).with_name("test_icap_squid.py"))
through_litellm: Any = running.module(Path(__file__).with_name("test_litellm.py"))
redis_here: Any = running.module(Path(__file__).with_name("redis_here.py"))
pytestmark = [
    pytest.mark.skipif(not box.is_here(), reason=box.MISSING),
    pytest.mark.skipif(redis_here.SERVER is None, reason=redis_here.MISSING),
]
ASK = "claude"
LIMIT = 40
"""Requests a minute: more than LiteLLM has in all, which has one key here and is one caller."""
LIMITED = f"limits: {{per: identity, requests_per_minute: {LIMIT}, tokens_per_minute: 1000000}}"
FAILS = ("open", "closed")
HOSTS = ("squid", "litellm")
IDLE = 1.0
"""Seconds after which a connection is not used again. Squid closes the client's side when the server's has been idle for five, and a request on its way then has no answer."""
Send = Callable[[str, str, str], tuple[int, str]]
"""(text, model, who) -> (status, what was said)."""


def sent(client: Any, **more: Any) -> Send:
    """By the SDK, which does not try again."""

    def send(text: str, model: str, who: str) -> tuple[int, str]:
        here = client if more else client.with_options(api_key=who)
        try:
            said = here.chat.completions.create(model=model, messages=[{"role": "user", "content": text}], **more)
        except openai.APIStatusError as error:
            return error.status_code, str(error)
        return 200, said.choices[0].message.content

    return send


class Place:
    """Guards, what may fail behind them, and ways to them."""

    def __init__(self, redis: Any) -> None:
        self.redis = redis
        self.guards: dict[str, Any] = {}
        self.ways: dict[tuple[str, str], Send] = {}


def policy(fails: str) -> str:
    head = f"mode: enforce\non_error: {fails}\n{LIMITED}"
    return str(running.rules(running.rule("ask-model", "ask", "request", {"exchange.model": ASK}), head=head))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, authority: Any) -> Iterator[Place]:
    """For both fail settings a guard with Redis and one with a millisecond to judge, a Squid before each, and one LiteLLM before all."""
    redis = redis_here.Redis()
    redis.start()
    found = Place(redis)
    kinds = {
        "redis": ("--redis", f"redis://127.0.0.1:{redis.port}/0"),
        "budget": ("--helpers", "1", "--budget-ms", "1"),
    }
    with contextlib.ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        stack.callback(redis.kill)
        patch.setenv("AFTERGUARD_GUARD_WATCH", "true")
        provider = stack.enter_context(running.stand_in())
        origin = f"https://localhost:{stack.enter_context(box.front(provider.origin, *authority.issue('front')))}"
        told = []
        for name, fails in [(f"{kind} {fails}", fails) for kind in kinds for fails in FAILS]:
            folder = tmp_path_factory.mktemp(name.replace(" ", "-"))
            door = free_port()
            flags = (f"--door=icap=127.0.0.1:{door}", "--gateway=litellm", "--on-error", fails, *kinds[name.split()[0]])
            mounts = {"openai": f"{origin}/openai"}
            guard = stack.enter_context(running.guard("", folder, policy(fails), *flags, mounts=mounts))
            found.guards[name] = guard
            lines = through_squid.lines(door, origin, guard.policy, "--on-error", fails)
            squid = stack.enter_context(box.squid(lines, authority, free_port()))
            client, _ = stack.enter_context(through_squid.client_of(authority, squid.url, origin, IDLE))
            found.ways["squid", name] = sent(client)
            told.append(through_litellm.snippet(folder, guard.url[7:], name.replace(" ", "-"), "--on-error", fails))
        folder = tmp_path_factory.mktemp("litellm")
        litellm = stack.enter_context(through_litellm.gateway(folder, provider.origin, "".join(told)))
        for name in found.guards:
            body = {"guardrails": [name.replace(" ", "-")]}
            found.ways["litellm", name] = sent(litellm.openai, extra_body=body)
        yield found


def several(send: Send, who: str, count: int = 6) -> tuple[set[int], float]:
    """Statuses, and the seconds of the slowest."""
    statuses, slowest = set(), 0.0
    for number in range(count):
        began = time.perf_counter()
        statuses.add(send(f"[[say: at eight]] When does depot {number} open?", "m", who)[0])
        slowest = max(slowest, time.perf_counter() - began)
    return statuses, slowest


@pytest.mark.parametrize("fails", FAILS)
@pytest.mark.parametrize("host", HOSTS)
def test_redis_lost_and_back(place: Place, host: str, fails: str) -> None:
    """Nobody is refused for it, what waits for a person goes on waiting, and the next request after its return is as before."""
    name = f"redis {fails}"
    send, guard = place.ways[host, name], place.guards[name]
    assert several(send, f"before {host}")[0] == {200}
    try:
        place.redis.hang(True)
        statuses, hung = several(send, f"hung {host}")
        assert statuses == {200}
        place.redis.kill()
        statuses, away = several(send, f"away {host}")
        assert statuses == {200}
        status, said = send("Please pay.", ASK, f"away {host}")
        assert status == 400 and running.SAYS in said
        if host == "squid":  # LiteLLM has one key here, which is one identity
            much = until_refused(lambda: send("Hello", "m", "much")[0], LIMIT)
            assert {*much[:-1]} == {200} and much[-1] == 429, "each process counts alone"
        assert guard.metric("afterguard_failures_total") > 0
    finally:
        place.redis.start()
    assert several(send, f"back {host}")[0] == {200}
    assert send("Please pay.", ASK, f"back {host}")[0] == 400
    print(f"{host} {fails}: hung {hung * 1000:.0f} ms, away {away * 1000:.0f} ms at most")
    assert guard.is_alive()


@pytest.mark.parametrize(("fails", "expected"), [("open", 200), ("closed", 400)])
@pytest.mark.parametrize("host", HOSTS)
def test_a_brain_over_its_budget(place: Place, host: str, fails: str, expected: int) -> None:
    """A text of 200 KB and a budget of a millisecond: it passes or is refused, as the route says, and the next one is judged."""
    name = f"budget {fails}"
    send, guard = place.ways[host, name], place.guards[name]
    before = guard.metric("afterguard_failures_total", "budget")
    words = " ".join(f"The depot in {host} number {number} opens at eight." for number in range(4_000))
    began = time.perf_counter()
    status, said = send(f"[[say: yes]] {words}", "m", "somebody")
    print(f"{host} {fails}: {status} after {(time.perf_counter() - began) * 1000:.0f} ms")
    assert status == expected, said[:300]
    running.until(lambda: guard.metric("afterguard_failures_total", "budget") > before, 15)
    assert send("[[say: at eight]] When do you open?", "m", "somebody")[0] == 200
