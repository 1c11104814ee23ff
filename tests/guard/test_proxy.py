"""The door: what each mode lets through, what happens when the guard itself fails, and what a running guard does with a changed policy and the kill switch."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import importlib.util
import json
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

from afterguard.detect import NONE, Context, Past
from afterguard.detect.placeholders import Vault
from afterguard.guard import desk, inline
from afterguard.guard.brain import Brain
from afterguard.guard.pool import Busy
from afterguard.guard.route import Route
from afterguard.model import Exchange, Hit
from afterguard.policy.load import load

if "guard_running" not in sys.modules:
    _spec = importlib.util.spec_from_file_location("guard_running", Path(__file__).with_name("running.py"))
    assert _spec and _spec.loader
    sys.modules["guard_running"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["guard_running"])
running: Any = sys.modules["guard_running"]

KEY = running.KEY
SECRET = f"The key is {KEY} and it works."
ODD = (
    b'{ "model":"m" ,\n "messages" : [{"role":"user","content":"caf\\u00e9 1.50"}], "seed": 1.0e2, "temperature":0.10 }'
)
STREAM = running.EVENTS
WORDS = "one two three four five six seven eight nine ten and so on. " * 500
"""More than is judged on the event loop."""


def whole(text: str = SECRET) -> Any:
    return lambda asked: running.Said([running.reply(text)[:50], running.reply(text)[50:]])


def streamed(text: str = SECRET, join: int = 1) -> Any:
    def answer(asked: Any) -> Any:
        rows = running.events(text)
        return running.Said([b"".join(rows[at : at + join]) for at in range(0, len(rows), join)], kind=STREAM)

    return answer


class Sick(Brain):
    """Raises when it looks for the given time, and ever after."""

    looks = 0
    healthy = 0

    def inspect(self, exchange: Exchange, past: Past = NONE, *, is_last: bool = False) -> tuple[list[Hit], Past]:
        self.looks += 1
        if self.looks > self.healthy:
            raise ZeroDivisionError
        return super().inspect(exchange, past, is_last=is_last)


def sick(healthy: int = 0) -> Brain:
    brain = Sick(Context(running.pseudonym), load(running.rules()), key=b"k" * 32)
    brain.healthy = healthy
    return brain


def own(line: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = line["unmapped"]["afterguard"]
    return found


# Modes


@pytest.mark.parametrize("mode", ["observe", "shadow"])
@pytest.mark.parametrize("answer", [whole(), streamed(), streamed(join=4)])
def test_a_mode_that_only_looks_changes_no_byte(tmp_path: Path, mode: str, answer: Any) -> None:
    door = running.Door(tmp_path, answer, mode=mode)
    body = ODD.replace(b'"m"', b'"blockme"')
    got = door.one(body)
    assert got.status == 200
    assert got.body == b"".join(answer(None).chunks)
    assert door.source.asked[0].body == body
    (line,) = door.lines()
    assert own(line)["mode"] == mode and own(line)["would"] == "block" and own(line)["action"] == "flag"
    assert line["metadata"]["uid"] == got.id
    assert "secret_in_output" in {hit["kind"] for hit in own(line)["hits"]}
    assert door.metric("afterguard_would_total", "block") == 1


def test_shadow_says_what_would_have_been_masked(tmp_path: Path) -> None:
    door = running.Door(tmp_path, whole(), mode="shadow")
    door.one(ODD)
    (line,) = door.lines()
    assert (own(line)["would"], own(line)["action"]) == ("redact", "flag")
    assert line["policy"]["uid"] == "no-secrets" and not line["is_alert"]


def test_more_than_the_budget_is_written_down(tmp_path: Path) -> None:
    door = running.Door(tmp_path, whole(), mode="enforce")
    door.one(running.chat(" ".join(f"user{number}@example.org" for number in range(3_000))))
    (line,) = door.lines()
    assert "budget" in json.dumps(own(line)["unjudged"])


def test_observing_waits_for_no_judge(tmp_path: Path) -> None:
    async def slow(exchange: Exchange, past: Past) -> Any:
        await asyncio.sleep(2.0)
        return [], past

    door = running.Door(tmp_path, whole(), mode="observe", far=slow)
    began = time.perf_counter()
    got, took = door.run(lambda: _timed(door, running.chat(WORDS)))
    assert got.status == 200 and took < 1.8
    assert time.perf_counter() - began > 1.9, "it was judged after all, but later"
    assert len(door.lines()) == 1


async def _timed(door: Any, body: bytes) -> tuple[Any, float]:
    began = time.perf_counter()
    return await door.ask(body), time.perf_counter() - began


@pytest.mark.parametrize("answer", [whole(), streamed()])
def test_observing_survives_a_detector_that_raises(tmp_path: Path, answer: Any) -> None:
    door = running.Door(tmp_path, answer, mode="observe", brain=sick(), on_error="closed")
    got = door.one(ODD)
    assert got.status == 200 and got.body == b"".join(answer(None).chunks)
    (line,) = door.lines()
    assert own(line)["failed"] == "exception:ZeroDivisionError"
    assert door.metric("afterguard_failures_total", "exception:ZeroDivisionError") == 1


def test_what_cannot_be_judged_later_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "BEHIND", 3)

    async def slow(exchange: Exchange, past: Past) -> Any:
        await asyncio.sleep(0.02)
        return [], past

    door = running.Door(tmp_path, whole(), mode="observe", far=slow)
    door.run(lambda: asyncio.gather(*(door.ask(running.chat(f"{n} {WORDS}")) for n in range(20))))
    rows = [own(line) for line in door.lines()]
    assert len(rows) == 20 and len({line["metadata"]["uid"] for line in door.lines()}) == 20
    shed = [row for row in rows if row.get("failed") == "overload"]
    assert shed and len(shed) < 20
    assert door.metric("afterguard_failures_total", "overload") == len(shed)


def test_enforcing_acts(tmp_path: Path) -> None:
    door = running.Door(tmp_path, whole())
    got = door.one(ODD)
    assert KEY.encode() not in got.body and b"and it works." in got.body
    assert door.source.asked[0].body == ODD, "a request without a finding keeps its bytes"
    assert int(got.headers[b"content-length"]) == len(got.body)
    (line,) = door.lines()
    assert (own(line)["action"], line["action_id"], line["disposition_id"]) == ("redact", 4, 11)


def test_a_refused_request_reaches_nobody(tmp_path: Path) -> None:
    door = running.Door(tmp_path, whole())
    got = door.one(running.chat("hello", model=running.BLOCK))
    assert got.status == 400 and got.headers[b"x-should-retry"] == b"false" and got.id == "id-1"
    assert json.loads(got.body)["error"]["code"] == "afterguard_blocked"
    assert door.source.asked == []
    (line,) = door.lines()
    assert (own(line)["action"], line["status_code"], line["disposition_id"]) == ("block", "400", 2)


def test_a_share_is_the_same_conversations_every_time(tmp_path: Path) -> None:
    names = [f"conversation {n}" for n in range(120)]
    runs = []
    for folder in ("first", "second"):
        door = running.Door(tmp_path / folder, whole(), mode="share", share=0.3)

        async def everybody(door: Any = door) -> list[bool]:
            out = []
            for name in names:
                got = await door.ask(ODD, "/openai/v1/chat/completions", (b"x-conversation-id", name.encode()))
                out.append(KEY.encode() not in got.body)
            return out

        runs.append(door.run(everybody))
        expected = [door.brain.bucket(running.pseudonym(name)) < 0.3 for name in names]
        assert runs[-1] == expected
        acted = [own(line)["action"] == "redact" for line in door.lines()]
        assert acted == expected and {own(line)["would"] for line in door.lines()} == {"redact"}
    assert runs[0] == runs[1] and 15 < sum(runs[0]) < 60


@pytest.mark.parametrize(("share", "acts"), [(0.0, False), (1.0, True)])
def test_no_share_and_the_whole(tmp_path: Path, share: float, acts: bool) -> None:
    door = running.Door(tmp_path, streamed(), mode="share", share=share)
    assert (KEY not in running.told(door.one(ODD).body)) is acts


def test_the_policy_says_how_strict_a_route_is(tmp_path: Path) -> None:
    head = "mode: observe\non_error: open\nroutes:\n  open*: {mode: enforce, on_error: closed, budget: 70}\n  '*': {mode: shadow}"
    door = running.Door(tmp_path, whole(), running.rules(head=head), mode="")
    ruling = door.brain.ruling(door.route)
    assert (ruling.mode, ruling.is_open, ruling.budget) == ("enforce", False, 0.07)
    assert KEY.encode() not in door.one(ODD).body
    assert own(door.lines()[0])["mode"] == "enforce"


# Placeholders

HIDE = running.rule("hide-keys", "tokenise", "request", {"hit.kind": "secret_in_input"})


def echo(asked: Any) -> Any:
    """Says what it was told, as a model that quotes: whole, or in pieces of three letters."""
    body = json.loads(asked.body)
    text = "You said: " + body["messages"][-1]["content"]
    if body.get("stream"):
        return running.Said(running.events(text, 3), kind=STREAM)
    return running.Said([running.reply(text)])


class Small(Brain):
    """Remembers one value of a conversation, and its detectors are always over their budget."""

    def vault(self, route: Route, conversation: str) -> Vault:
        return Vault(self.key, route.app, conversation, limit=1)

    def inspect(self, exchange: Exchange, past: Past = NONE, *, is_last: bool = False) -> tuple[list[Hit], Past]:
        hits, after = super().inspect(exchange, past, is_last=is_last)
        return hits, after._replace(over=past.over + 1)


def test_what_can_not_come_back_and_what_was_not_looked_at_is_counted(tmp_path: Path) -> None:
    brain = Small(Context(running.pseudonym), load(running.rules(HIDE)), key=b"k" * 32)

    def answer(asked: Any) -> Any:
        said = json.loads(asked.body)["messages"][-1]["content"] + f" Take {KEY[:-4]}7kP2, or {KEY[:-4]}3mN8."
        return running.Said(running.events(said, 3), kind=STREAM)

    door = running.Door(tmp_path, answer, brain=brain)
    other = KEY[:-4] + "9xQ7"
    got = door.one(running.chat(f"Is {KEY} right, or {other}?", stream=True))
    assert (KEY in running.told(got.body)) + (other in running.told(got.body)) == 1
    assert door.metric("afterguard_unjudged_total", "placeholder_forgotten") == 1
    # Request and whole reply once each; the pieces of the stream once, however many.
    assert door.metric("afterguard_unjudged_total", "budget") == 3


@pytest.mark.parametrize("stream", [False, True])
def test_the_model_gets_a_placeholder_and_the_user_the_value(tmp_path: Path, stream: bool) -> None:
    door = running.Door(tmp_path, echo, running.rules(HIDE))
    asked = [f"Why does {KEY} not work?", "I do not know.", f"Is {KEY} wrong? And {KEY}!"]
    seen = []

    async def both() -> None:
        for turns in (asked[:1], asked):
            got = await door.ask(running.chat(*turns, stream=stream))
            said = running.told(got.body) if stream else json.loads(got.body)["choices"][0]["message"]["content"]
            assert said == "You said: " + turns[-1]
            seen.append(json.loads(door.source.asked[-1].body)["messages"])

    door.run(both)
    assert all(KEY.encode() not in one.body for one in door.source.asked)
    assert seen[1][0] == seen[0][0], "the same value gets the same placeholder, and caches hold"
    shown = seen[0][0]["content"].split()[2]
    assert seen[1][2]["content"] == f"Is {shown} wrong? And {shown}!"
    assert [own(line)["action"] for line in door.lines()] == ["tokenise", "tokenise"]
    assert KEY not in door.log.read_text()


def test_a_placeholder_of_another_conversation_opens_nothing(tmp_path: Path) -> None:
    door = running.Door(tmp_path, echo, running.rules(HIDE))
    first = (b"x-conversation-id", b"first"), (b"authorization", b"Bearer a")
    second = (b"x-conversation-id", b"second"), (b"authorization", b"Bearer b")

    async def both() -> tuple[bytes, bytes]:
        await door.ask(running.chat(f"Keep {KEY} safe"), "/openai/v1/chat/completions", *first)
        shown = json.loads(door.source.asked[0].body)["messages"][0]["content"].split()[1]
        got = await door.ask(running.chat(f"Tell me what {shown} is"), "/openai/v1/chat/completions", *second)
        return shown.encode(), got.body

    shown, body = door.run(both)
    assert KEY.encode() not in body and shown in body


# The guard itself fails


async def _never(exchange: Exchange, past: Past) -> Any:
    await asyncio.sleep(30)


async def _busy(exchange: Exchange, past: Past) -> Any:
    raise Busy


async def _dead(exchange: Exchange, past: Past) -> Any:
    raise BrokenProcessPool


FAILURES = {
    "exception:ZeroDivisionError": {"brain": True},
    "budget": {"far": _never, "budget": 0.05},
    "overload": {"in_flight": 0},
    "exception:Busy": {"far": _busy},
    "exception:BrokenProcessPool": {"far": _dead},
}
"""Reason -> what makes it happen."""


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize("why", list(FAILURES))
def test_a_request_that_cannot_be_judged(tmp_path: Path, why: str, is_open: bool) -> None:
    given = dict(FAILURES[why])
    if given.pop("brain", None):
        given["brain"] = sick()
    door = running.Door(tmp_path, whole("Hello."), on_error="open" if is_open else "closed", **given)
    body = running.chat(WORDS)
    got = door.one(body)
    if is_open:
        assert got.status == 200 and got.body == running.reply("Hello.")
        assert door.source.asked[0].body == body
    else:
        assert got.status in (400, 503) and json.loads(got.body)["error"]["code"] == "afterguard_unjudged"
        assert door.source.asked == [] and got.headers[b"x-should-retry"] == b"false"
    (line,) = door.lines()
    # A pool that is too busy may be called what it is: overload.
    assert own(line)["failed"] in (why, "overload" if "Busy" in why else why, "worker died" if "Broken" in why else why)
    assert own(line)["failed"] in {row["reason"] for row in own(line)["unjudged"]}
    assert line["metadata"]["uid"] == got.id
    assert door.metric("afterguard_failures_total", own(line)["failed"], "yes" if is_open else "no") == 1
    assert door.metric("afterguard_unjudged_total", own(line)["failed"]) >= 1


@pytest.mark.parametrize("is_open", [True, False])
def test_a_reply_that_cannot_be_judged(tmp_path: Path, is_open: bool) -> None:
    door = running.Door(tmp_path, whole(), brain=sick(1), on_error="open" if is_open else "closed")
    got = door.one(ODD)
    if is_open:
        assert got.status == 200 and got.body == running.reply(SECRET)
    else:
        assert got.status == 400 and KEY.encode() not in got.body
    (line,) = door.lines()
    assert own(line)["failed"] == "exception:ZeroDivisionError"
    assert door.metric("afterguard_failures_total", "yes" if is_open else "no") == 1


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize("size", [7, 100, 331, 5_000])
def test_a_stream_that_cannot_be_judged(tmp_path: Path, size: int, is_open: bool) -> None:
    """Open: every byte, in order and once, wherever the chunks were cut. Closed: a legal end, no secret."""
    data = b"".join(running.events(SECRET + " And more to follow, word by word."))

    def answer(asked: Any) -> Any:
        return running.Said([data[at : at + size] for at in range(0, len(data), size)], kind=STREAM)

    door = running.Door(tmp_path, answer, brain=sick(1), on_error="open" if is_open else "closed")
    got = door.one(ODD)
    (line,) = door.lines()
    assert own(line)["failed"] == "exception:ZeroDivisionError"
    assert got.status == 200
    if is_open:
        assert got.body == data
    else:
        assert KEY.encode() not in got.body and b"[DONE]" not in got.body
        assert b'"error"' in got.body.rpartition(b"data: ")[2]
        assert got.body.count(b'"finish_reason":"content_filter"') == 1


@pytest.mark.parametrize("is_open", [True, False])
def test_a_stream_whose_judge_is_too_slow(tmp_path: Path, is_open: bool) -> None:
    """The text is long and harmless, so that only the last look at the whole goes elsewhere, and takes too long."""
    calls = 0

    async def once(exchange: Exchange, past: Past) -> Any:
        nonlocal calls
        calls += 1
        await asyncio.sleep(30)

    data = b"".join(running.events(WORDS, 60))
    door = running.Door(
        tmp_path,
        lambda asked: running.Said([data], kind=STREAM),
        far=once,
        budget=0.05,
        on_error="open" if is_open else "closed",
    )
    got = door.one(ODD)
    assert calls == 1
    assert own(door.lines()[0])["failed"] == "budget"
    if is_open:
        assert got.body == data
    else:
        assert b"[DONE]" not in got.body and b'"error"' in got.body.rpartition(b"data: ")[2]


@pytest.mark.parametrize("is_open", [True, False])
def test_a_reply_that_is_too_long_to_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_open: bool) -> None:
    monkeypatch.setattr(inline, "REPLY_CAP", 10_000)
    body = running.reply("long " * 10_000)
    pieces = [body[at : at + 4_000] for at in range(0, len(body), 4_000)]
    said = running.Said(list(pieces))
    door = running.Door(tmp_path, lambda asked: said, on_error="open" if is_open else "closed")
    got = door.one(ODD)
    assert own(door.lines()[0])["failed"] == "too_long"
    if is_open:
        assert got.body == body
    else:
        assert got.status == 400 and said.is_cancelled


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize("answer", [whole(), streamed()])
def test_the_kill_switch_lets_everything_pass(tmp_path: Path, answer: Any, is_open: bool) -> None:
    """It is pulled when the guard harms the application: then a route that fails closed must open too, and nothing is changed."""
    door = running.Door(tmp_path, answer, on_error="open" if is_open else "closed")
    door.brain.is_killed = True
    body = running.chat("hello", model=running.BLOCK)
    got = door.one(body)
    assert got.status == 200 and got.body == b"".join(answer(None).chunks)
    assert door.source.asked[0].body == body
    (line,) = door.lines()
    assert "killed" in {row["reason"] for row in own(line)["unjudged"]}
    assert door.metric("afterguard_unjudged_total", "killed") == 1 and door.metric("afterguard_killed") == 1


def test_killed_while_it_observes_nothing_is_judged(tmp_path: Path) -> None:
    door = running.Door(tmp_path, whole(), mode="observe", brain=sick())
    door.brain.is_killed = True
    assert door.one(ODD).body == running.reply(SECRET)
    (line,) = door.lines()
    assert own(line).get("failed", "killed") == "killed"
    assert "killed" in {row["reason"] for row in own(line)["unjudged"]}


# A guard that runs


@pytest.fixture(scope="module")
def stand_in() -> Iterator[Any]:
    with running.stand_in() as one:
        yield one


@pytest.fixture(scope="module")
def guard(stand_in: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with running.guard(stand_in.origin, tmp_path_factory.mktemp("guard"), running.rules(head="mode: enforce")) as one:
        yield one


def ask(guard: Any, body: bytes, path: str = "/openai/v1/chat/completions") -> tuple[int, str, bytes]:
    """(status, decision, body)"""
    line = http.client.HTTPConnection("127.0.0.1", guard.port, timeout=10)
    try:
        return on(line, body, path)
    finally:
        line.close()


def on(
    line: http.client.HTTPConnection, body: bytes, path: str = "/openai/v1/chat/completions"
) -> tuple[int, str, bytes]:
    line.request("POST", path, body, {"content-type": "application/json", "authorization": "Bearer sk-test"})
    got = line.getresponse()
    return got.status, got.headers["x-afterguard-decision"], got.read()


def revision(guard: Any, body: bytes = running.chat("Hello [[say: hi]]")) -> str:
    found: str = guard.decided(ask(guard, body)[1])["policy"]["version"]
    return found


def test_a_changed_policy_holds_at_once_and_drops_nobody(guard: Any) -> None:
    before = revision(guard)
    line = http.client.HTTPConnection("127.0.0.1", guard.port, timeout=10)
    assert on(line, running.chat("a", model="later"))[0] == 200
    told: list[Any] = []
    slow = running.chat("x [[say: one two three four five six seven eight nine ten]] [[slow: 0.15]]", stream=True)
    stream = threading.Thread(target=lambda: told.append(ask(guard, slow)))
    stream.start()
    time.sleep(0.2)
    text = running.rules(
        running.rule("not-later", "block", "request", {"exchange.model": "later"}), name="changed", head="mode: enforce"
    )
    guard.policy.write_text(text)
    began = time.monotonic()
    running.until(lambda: revision(guard) != before)
    assert time.monotonic() - began < 10
    assert revision(guard).startswith("changed@")
    assert on(line, running.chat("a", model="later"))[0] == 400, "the same connection, another policy"
    line.close()
    stream.join(10)
    ((status, _, body),) = told
    assert status == 200 and running.told(body) == "one two three four five six seven eight nine ten"
    assert body.endswith(b"data: [DONE]\n\n")
    assert guard.metric("afterguard_policy_info", revision(guard)) == 1


def test_a_broken_policy_keeps_the_old_one(guard: Any) -> None:
    before, text = revision(guard), guard.policy.read_text()
    failed = guard.metric("afterguard_failures_total", "bad_policy")
    for number, broken in enumerate(("format: [", text.replace("action", "acton"), "", "\udcff"), 1):
        guard.policy.write_text(broken, errors="surrogateescape")
        running.until(lambda n=number: guard.metric("afterguard_failures_total", "bad_policy") == failed + n)
        assert revision(guard) == before
    guard.policy.write_text(text)
    assert guard.is_alive()


def test_a_stream_whose_text_is_throttled_is_stopped(tmp_path: Path) -> None:
    policy = running.rules(running.rule("slow-down", "throttle", "response", {"hit.kind": "secret_in_output"}))
    door = running.Door(tmp_path, streamed(), policy)
    got = door.one(running.chat("x", stream=True))
    assert KEY.encode() not in got.body and b'"content_filter"' in got.body and b"[DONE]" not in got.body


def test_a_policy_that_vanishes_stays_in_force(guard: Any) -> None:
    before = revision(guard)
    text = guard.policy.read_text()
    guard.policy.unlink()
    time.sleep(0.8)
    assert revision(guard) == before
    guard.policy.write_text(text)


def test_killed_and_back(guard: Any) -> None:
    refused = running.chat("x", model=running.BLOCK)
    assert ask(guard, refused)[0] == 400
    (guard.folder / "killed").touch()
    running.until(lambda: ask(guard, refused)[0] == 200)
    assert guard.metric("afterguard_killed") == 1
    secret = ask(guard, running.chat(f"x [[leak: {KEY}]]"))
    assert KEY.encode() in secret[2]
    (guard.folder / "killed").unlink()
    running.until(lambda: ask(guard, refused)[0] == 400)
    assert guard.metric("afterguard_killed") == 0


def test_routes_of_one_guard_differ(stand_in: Any, guard: Any) -> None:
    old = guard.policy.read_text()
    head = "mode: enforce\nroutes:\n  anthropic: {mode: shadow}\n  ollama: {mode: observe}"
    guard.policy.write_text(running.rules(name="routes", head=head))
    running.until(lambda: revision(guard).startswith("routes@"))
    question = running.chat(f"x [[leak: {KEY}]]", max_tokens=5, stream=False)
    for path, mode in (
        ("/openai/v1/chat/completions", "enforce"),
        ("/anthropic/v1/messages", "shadow"),
        ("/ollama/api/chat", "observe"),
    ):
        status, identifier, body = ask(guard, question, path)
        line = guard.decided(identifier)
        assert status == 200 and own(line)["mode"] == mode and own(line)["would"] == "redact"
        assert (KEY.encode() in body) is (mode != "enforce")
    guard.policy.write_text(old)


def test_what_the_upstream_compressed_stays_so_where_nothing_is_changed(guard: Any) -> None:
    """Observed, the reply passes as it came; the judge unpacks its own copy."""
    text = running.rules(name="watch", head="mode: observe")
    old = guard.policy.read_text()
    guard.policy.write_text(text)
    running.until(lambda: revision(guard).startswith("watch@"))
    for stream in (False, True):
        body = running.chat(f"x [[leak: {KEY}]] [[force: gzip]]", stream=stream)
        status, identifier, got = ask(guard, body)
        assert status == 200 and KEY in (
            running.told(gzip.decompress(got)) if stream else gzip.decompress(got).decode()
        )
        line = guard.decided(identifier)
        assert own(line)["would"] == "redact"
    guard.policy.write_text(old)
