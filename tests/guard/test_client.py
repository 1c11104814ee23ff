"""Requests taken from the connection itself: their order, their bodies, clients that are slow, old, or gone; and that nothing of an exchange is left behind."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import socket
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from afterguard.guard.batch import Batch, Cork
from afterguard.guard.connection import Reply
from afterguard.guard.garbage import Collector
from afterguard.guard.gate import Gate, GatedConnection

if "guard_running" not in sys.modules:
    _spec = importlib.util.spec_from_file_location("guard_running", Path(__file__).with_name("running.py"))
    assert _spec and _spec.loader
    sys.modules["guard_running"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["guard_running"])
running: Any = sys.modules["guard_running"]

CHAT = "/openai/v1/chat/completions"
WATCHED = "/watch/v1/chat/completions"


@pytest.fixture(scope="module")
def stand_in() -> Iterator[Any]:
    with running.stand_in() as made:
        yield made


@pytest.fixture(scope="module")
def guard(stand_in: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    mounts = {"openai": f"{stand_in.origin}/openai", "watch:openai": f"{stand_in.origin}/openai"}
    policy = running.rules(head="mode: enforce\nroutes:\n  'watch*': {mode: observe}")
    with running.guard("", tmp_path_factory.mktemp("client"), policy, mounts=mounts) as made:
        yield made


def settled(guard: Any) -> int:
    """How many lines there are, when all of them are written."""
    running.until(lambda: guard.metric("afterguard_requests_total") == len(guard.lines()))
    return len(guard.lines())


@pytest.mark.parametrize("path", [CHAT, WATCHED])
def test_pipelined_requests_are_answered_in_order(guard: Any, path: str) -> None:
    words = ["first", "second", "third"]
    sent = b"".join(running.post(path, running.chat(f"[[say: {word}]]")) for word in words)
    said = running.talk(guard.port, sent)
    assert said.count(b"HTTP/1.1 200") == 3
    places = [said.find(word.encode()) for word in words]
    assert -1 not in places and places == sorted(places)


def test_thousands_behind_a_slow_one_are_answered(guard: Any) -> None:
    first = running.post(CHAT, running.chat("Hi [[long: 5]] [[slow: 0.05]]", stream=True))
    refused = running.post(CHAT, running.chat("x", model=running.BLOCK))
    said = b""
    with socket.create_connection(("127.0.0.1", guard.port), 20) as line:
        threading.Thread(target=line.sendall, args=(first + refused * 1_500,), daemon=True).start()
        while said.count(b"HTTP/1.1 400") < 1_500:
            piece = line.recv(1 << 20)
            assert piece, said[-300:]
            said += piece
    assert said.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("path", [CHAT, WATCHED])
def test_a_request_cut_at_every_place_is_one_request(guard: Any, path: str) -> None:
    sent = running.post(path, running.chat("[[say: whole]]"), "connection: close")
    for at in range(1, len(sent), 23):
        with socket.create_connection(("127.0.0.1", guard.port), 10) as line:
            line.sendall(sent[:at])
            line.sendall(sent[at:])
            said = b"".join(iter(lambda: line.recv(1 << 16), b""))
        assert said.startswith(b"HTTP/1.1 200") and b"whole" in said


@pytest.mark.parametrize("path", [CHAT, WATCHED])
def test_a_client_that_asks_first_is_told_to_go_on(guard: Any, path: str) -> None:
    head, _, body = running.post(path, running.chat("[[say: yes]]"), "expect: 100-continue").partition(b"\r\n\r\n")
    with socket.create_connection(("127.0.0.1", guard.port), 10) as line:
        line.sendall(head + b"\r\n\r\n")
        assert line.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        line.sendall(body)
        assert line.recv(1 << 16).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("path", [CHAT, WATCHED])
def test_an_old_client_gets_no_chunks(guard: Any, path: str) -> None:
    sent = running.post(path, running.chat("[[say: old]]", stream=True)).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    head, _, body = running.talk(guard.port, sent).partition(b"\r\n\r\n")
    assert b"chunked" not in head and b"connection: close" in head.lower()
    assert body.startswith(b"data: ") and body.rstrip().endswith(b"[DONE]")


@pytest.mark.parametrize("path", [CHAT, WATCHED])
def test_more_than_the_cap_is_refused_and_the_connection_goes_on(guard: Any, path: str) -> None:
    long = running.post(path, b'"' + b"x" * (33 << 20) + b'"')
    said = running.talk(guard.port, long + running.post(path, running.chat("[[say: after]]")), 30)
    assert said.startswith(b"HTTP/1.1 413") and b"afterguard_too_large" in said


@pytest.mark.parametrize("path", [CHAT, WATCHED])
def test_a_client_that_leaves_takes_the_upstream_with_it(guard: Any, path: str) -> None:
    known = settled(guard)
    body = running.chat("Hi [[long: 400]] [[slow: 0.02]]", stream=True)
    with socket.create_connection(("127.0.0.1", guard.port), 5) as line:
        line.sendall(running.post(path, body))
        line.recv(1000)
    (one,) = running.until(lambda: guard.lines()[known:])
    reasons = [row["reason"] for row in one["unmapped"]["afterguard"]["unjudged"]]
    assert "upstream_cancelled" in reasons
    assert guard.metric("afterguard_in_flight") == 0
    assert guard.metric("afterguard_upstream_errors_total") == 0, "nothing is wrong with the upstream"


def test_a_client_that_leaves_behind_pipelined_requests_is_known_to_have_left(guard: Any) -> None:
    known = settled(guard)
    slow = running.post(WATCHED, running.chat("Hi [[long: 400]] [[slow: 0.02]]", stream=True))
    with socket.create_connection(("127.0.0.1", guard.port), 5) as line:
        line.sendall(slow + running.post(WATCHED, running.chat("[[say: never]]")))
        line.recv(1000)
    (one,) = running.until(lambda: guard.lines()[known:])
    assert "upstream_cancelled" in [row["reason"] for row in one["unmapped"]["afterguard"]["unjudged"]]
    assert guard.metric("afterguard_in_flight") == 0


class Long(running.Said):  # type: ignore[misc]
    """A reply that does not come to its end."""

    async def chunk(self) -> bytes:
        if len(self.chunks) < 10:
            await asyncio.sleep(5)
        return bytes(await super().chunk())


class Slow(running.Got):  # type: ignore[misc]
    """A client that stops reading after the first write."""

    connection: Any = None

    def write(self, data: Any) -> None:
        super().write(data)
        if self.connection is not None and not self.connection.is_stuck:
            self.connection.pause_writing()


def test_a_slow_client_makes_the_upstream_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[str] = []
    monkeypatch.setattr(Reply, "hold", lambda reply: held.append("wait"))
    monkeypatch.setattr(Reply, "go_on", lambda reply: held.append("go"))
    door = running.Door(tmp_path, lambda asked: Long([b"a" * 1_000] * 20), mode="observe")

    async def work() -> None:
        got = Slow()
        gate = Gate()
        gate.door = door.proxy
        config: Any = SimpleNamespace(gate=gate, loaded_app=door.proxy)
        state: Any = SimpleNamespace(connections=set(), tasks=set())
        connection = got.connection = GatedConnection(config, state, {})
        connection.connection_made(got)
        connection.data_received(running.post(CHAT, running.chat("hello")))
        while "wait" not in held:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        del held[:]
        connection.resume_writing()
        assert held == ["go"]
        connection.connection_lost(None)

    door.run(work)


def test_writes_of_a_turn_of_the_loop_are_one(tmp_path: Path) -> None:
    class Wire(asyncio.Transport):
        def __init__(self) -> None:
            super().__init__()
            self.got: list[bytes] = []

        def write(self, data: Any) -> None:
            self.got.append(bytes(data))

        def writelines(self, rows: Any) -> None:
            self.got.append(b"".join(rows))

        def is_closing(self) -> bool:
            return False

    async def work() -> list[bytes]:
        batch, wire = Batch(asyncio.get_running_loop()), Wire()
        cork = Cork(batch, wire)
        for piece in (b"one", b"two", b"three"):
            cork.write(piece)
        await asyncio.sleep(0)
        cork.write(b"x" * 70_000)
        cork.write(b"y")
        await asyncio.sleep(0)
        cork.write(b"last")
        cork.flush()
        return wire.got

    got = asyncio.run(work())
    assert b"".join(got) == b"onetwothree" + b"x" * 70_000 + b"ylast" and len(got) <= 5


EXCHANGES = {
    "whole": (running.chat("hello"), lambda _: running.Said([running.reply("hi")])),
    "streamed": (running.chat("hello", stream=True), lambda _: running.Said(running.events("hi you"), kind=running.EVENTS)),
    "refused": (running.chat("hello", model=running.BLOCK), lambda _: running.Said([running.reply("hi")])),
    "masked": (running.chat("hello"), lambda _: running.Said([running.reply(f"it is {running.KEY}")])),
    "malformed": (b"{", lambda _: running.Said([b"{"])),
}  # fmt: skip


MADE_HERE = ("GatedConnection", "Client", "Gate", "Batch", "Cork")
"""What the door of a test makes for each request, and a guard once, or once a connection."""


@pytest.mark.parametrize("mode", ["observe", "enforce"])
@pytest.mark.parametrize("name", list(EXCHANGES))
def test_an_exchange_leaves_no_cycles(tmp_path: Path, name: str, mode: str) -> None:
    body, answer = EXCHANGES[name]
    door = running.Door(tmp_path, answer, mode=mode)
    left: Counter[str] = Counter()

    async def work() -> None:
        for _ in range(3):
            await door.ask(body)
            await asyncio.sleep(0.01)
        gc.collect()
        gc.set_debug(gc.DEBUG_SAVEALL)
        for _ in range(20):
            await door.ask(body)
        await asyncio.sleep(0.01)
        gc.collect()
        ours = [type(one).__name__ for one in gc.garbage if type(one).__module__.startswith("afterguard.")]
        left.update(one for one in ours if one not in MADE_HERE)

    gc.disable()
    try:
        door.run(work)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert not left


def test_what_is_set_aside_was_looked_through() -> None:
    class Knot:
        """Holds itself."""

        alive = 0

        def __init__(self) -> None:
            self.self = self
            Knot.alive += 1

        def __del__(self) -> None:
            Knot.alive -= 1

    thresholds = gc.get_threshold()
    gc.disable()
    try:
        collector = Collector(0.0)
        for moment in range(5):
            for _ in range(10):
                Knot()
            collector.tick(float(moment), is_idle=False)
        assert Knot.alive == 0
        held = Knot()
        collector.tick(5.0, is_idle=False)
        del held
        collector.tick(6.0, is_idle=False)
        assert Knot.alive == 1, "set aside while it was alive"
        collector.tick(3_600.0, is_idle=True)
        assert Knot.alive == 0
        held = Knot()
        collector.tick(3_601.0, is_idle=False)
        del held
        collector.tick(3_600.0 * 8, is_idle=False)
        assert Knot.alive == 0, "after six hours nobody waits for idleness"
    finally:
        gc.unfreeze()
        gc.enable()
        gc.set_threshold(*thresholds)
