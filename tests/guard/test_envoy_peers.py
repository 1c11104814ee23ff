"""Peers of the door ext_proc that are no Envoy, and messages made by chance: refused and counted, never a crash, nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ports import free_port

grpc = pytest.importorskip("grpc")
pytest.importorskip("hpack")

from afterguard.detect import Context  # noqa: E402
from afterguard.guard import ext_proc, http2, http2_frames  # noqa: E402
from afterguard.guard.brain import Brain  # noqa: E402
from afterguard.guard.desk import Desk  # noqa: E402
from afterguard.guard.door import Given  # noqa: E402
from afterguard.guard.envoy_exchange import Disorder  # noqa: E402
from afterguard.guard.envoy_messages import SERVICE, ProcessingRequest, ProcessingResponse  # noqa: E402
from afterguard.guard.metrics import Metrics  # noqa: E402
from afterguard.guard.route import Mounts, Route  # noqa: E402
from afterguard.policy.load import load  # noqa: E402

if "guard_running" not in sys.modules:
    _spec = importlib.util.spec_from_file_location("guard_running", Path(__file__).with_name("running.py"))
    assert _spec and _spec.loader
    sys.modules["guard_running"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["guard_running"])
running: Any = sys.modules["guard_running"]
MOUNT = (("x-afterguard-mount", "openai"),)
HEADERS = {":method": "POST", ":path": "/v1/chat/completions", ":authority": "x", "content-type": "application/json"}


def headers(kind: str = "request_headers", *, last: bool = False, shown: bool = False, **more: str) -> bytes:
    made = ProcessingRequest(observability_mode=shown)
    found = getattr(made, kind)
    rows = HEADERS if kind == "request_headers" else {":status": "200", "content-type": "application/json"}
    for name, value in (rows | {key.replace("_", "-"): value for key, value in more.items()}).items():
        found.headers.headers.add(key=name.encode(), raw_value=value.encode())
    found.end_of_stream = last
    return bytes(made.SerializeToString())


def body(data: bytes, kind: str = "request_body", *, last: bool = True, shown: bool = False) -> bytes:
    made = ProcessingRequest(observability_mode=shown)
    found = getattr(made, kind)
    found.body, found.end_of_stream = data, last
    return bytes(made.SerializeToString())


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("peers")
    door = free_port()
    mounts = {"openai": "http://127.0.0.1:9"}
    with running.guard(
        "", folder, running.rules(head="mode: enforce"), f"--door=ext_proc=127.0.0.1:{door}", mounts=mounts
    ) as one:
        one.door = door
        yield one
        assert one.is_alive()
        assert "Traceback" not in (folder / "said.txt").read_text()


def talk(guard: Any, *messages: bytes, metadata: Any = MOUNT, wait: float = 10.0) -> tuple[list[Any], Any]:
    """What the door answers to these messages, and how the stream ended."""
    with grpc.insecure_channel(
        f"127.0.0.1:{guard.door}",
        options=[("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)],
    ) as line:
        call = line.stream_stream(f"/{SERVICE}/Process")(iter(messages), metadata=metadata, timeout=wait)
        got = []
        try:
            got += [ProcessingResponse.FromString(one) for one in call]
        except grpc.RpcError:
            pass
        return got, call.code()


def test_a_stream_that_begins_well_is_answered(guard: Any) -> None:
    got, code = talk(guard, headers(), body(running.chat("Hello")))
    assert [one.WhichOneof("one") for one in got] == ["request_headers", "request_body"] and code is grpc.StatusCode.OK
    got, code = talk(guard, headers(), body(running.chat("Hello", model=running.BLOCK)))
    assert got[-1].immediate_response.status.code == 400 and code is grpc.StatusCode.OK


@pytest.mark.parametrize(
    "messages",
    [
        (b"\xff\xff\xff\xff",), (b"",), (b"\x12\x00\xff",), (body(b"{}"),), (headers("response_headers"),),
        (headers(), headers()), (headers(), body(b"{}"), body(b"{}")), (headers(), body(b"{}", "response_body")),
        (headers(), body(b"{}"), headers("response_headers"), headers("response_headers")), (headers(), b"\x08"),
        (headers(**{f"h{n}": "x" for n in range(2_000)}),), (headers(big="x" * 300_000),),
    ],
    ids=range(12),
)  # fmt: skip
def test_garbage_and_disorder_are_refused_and_counted(guard: Any, messages: tuple[bytes, ...]) -> None:
    before = guard.metric("afterguard_failures_total", "bad_peer")
    _, code = talk(guard, *messages)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert guard.metric("afterguard_failures_total", "bad_peer") > before
    running.until(lambda: guard.metric("afterguard_in_flight") == 0)


def test_a_mount_that_is_not_there_and_other_services_are_refused(guard: Any) -> None:
    assert talk(guard, headers(), metadata=(("x-afterguard-mount", "nowhere"),))[1] is grpc.StatusCode.NOT_FOUND
    with grpc.insecure_channel(f"127.0.0.1:{guard.door}") as line:
        with pytest.raises(grpc.RpcError) as raised:
            line.unary_unary("/other.Service/Do")(b"", timeout=5)
        assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert line.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=5) == b"\x08\x01"


def test_a_message_larger_than_the_cap_never_gets_in(guard: Any) -> None:
    assert talk(guard, headers(), body(b"x" * (40 << 20)))[1] is grpc.StatusCode.RESOURCE_EXHAUSTED
    running.until(lambda: guard.metric("afterguard_in_flight") == 0)


def test_a_stream_that_never_ends_is_kept_only_up_to_the_cap(guard: Any) -> None:
    piece = b"data: {}\n\n" * 100_000
    before = guard.rss()
    many = (
        headers(shown=True),
        body(b"{}", shown=True),
        headers("response_headers", shown=True),
        *[body(piece, "response_body", last=False, shown=True)] * 200,
    )
    got, code = talk(guard, *many, wait=60)
    assert not got and code is grpc.StatusCode.OK
    line = running.until(
        lambda: [
            one
            for one in guard.lines()
            if any(row["reason"] == "too_long" for row in one["unmapped"]["afterguard"].get("unjudged", ()))
        ]
    )
    assert line and guard.rss() - before < 200 << 20


def test_peers_that_open_streams_and_say_nothing_do_not_keep_others_out(guard: Any) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{guard.door}") as line:
        calls = [
            line.stream_stream(f"/{SERVICE}/Process")(iter(lambda: time.sleep(60), None), metadata=MOUNT)
            for _ in range(20)
        ]
        assert talk(guard, headers(), body(running.chat("Hello")))[1] is grpc.StatusCode.OK
        for call in calls:
            call.cancel()


def test_a_silent_stream_ends(guard: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    hold = threading.Event()

    def never() -> Iterator[bytes]:
        hold.wait(20)
        yield b""

    with grpc.insecure_channel(f"127.0.0.1:{guard.door}") as line:
        call = line.stream_stream(f"/{SERVICE}/Process")(never(), metadata=MOUNT)
        with pytest.raises(grpc.RpcError) as raised:
            next(call)
        hold.set()
        assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert guard.metric("afterguard_failures_total", "slow_peer") >= 1


# By chance.

BRAIN = Brain(Context(running.pseudonym), load(running.rules(head="mode: enforce")), key=b"k" * 32)
CHUNKS = st.sampled_from(
    [
        b"",
        b"{}",
        b"data: {}\n\n",
        b"\xff\x00",
        b'data: {"choices": [{"delta": {"content": "x"}}]}\n\n',
        b"data: [DONE]\n\n",
        running.chat("Hello"),
        running.chat("x", model=running.BLOCK),
    ]
)
TYPES = st.sampled_from(
    [
        b"application/json",
        b"text/event-stream",
        b"application/x-ndjson",
        b"application/vnd.amazon.eventstream",
        b"",
        b"\xff",
    ]
)


@st.composite
def message(draw: Any) -> bytes:
    kind = draw(
        st.sampled_from(
            [
                "request_headers",
                "request_body",
                "request_trailers",
                "response_headers",
                "response_body",
                "response_trailers",
            ]
        )
    )
    made = ProcessingRequest()
    found = getattr(made, kind)
    found.SetInParent()
    if kind.endswith("headers"):
        rows = [
            (b":status", draw(st.sampled_from([b"200", b"99999", b"x", b"500"]))),
            (b"content-type", draw(TYPES)),
            (b"content-length", draw(st.sampled_from([b"5", b"-1", b"99999999999999999999", b"\xb2"]))),
        ]
        rows += draw(st.lists(st.tuples(st.binary(max_size=8), st.binary(max_size=8)), max_size=3))
        rows += [(b"content-encoding", draw(st.sampled_from([b"gzip", b"identity", b"none-such", b"br"])))] * draw(
            st.integers(0, 1)
        )
        for name, value in rows:
            found.headers.headers.add(key=name, raw_value=value)
    elif kind.endswith("body"):
        found.body = draw(CHUNKS)
    if not kind.endswith("trailers"):
        found.end_of_stream = draw(st.booleans())
    return bytes(made.SerializeToString())


@given(
    st.lists(st.one_of(message(), message(), message(), st.binary(max_size=40)), max_size=12),
    st.sampled_from(["open", "closed"]),
    st.sampled_from(["enforce", "observe"]),
    st.booleans(),
)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_comes_in_whatever_order_is_answered_or_refused(
    messages: list[bytes], fails: str, mode: str, shown: bool
) -> None:
    async def whole() -> None:
        desk = Desk(BRAIN, None, Metrics(), lambda: "id")
        route = Route("openai", "openai", "http://nowhere", mode=mode, on_error=fails)
        BRAIN.limit("")
        door = ext_proc.ExtProc(Given(desk, Mounts([route])), "127.0.0.1:0")
        exchange: Any = None
        try:
            for number, raw in enumerate([headers(), *messages]):
                kind, found, _ = ext_proc._read(raw)
                if number == 0:
                    asked = door._asked({"x-afterguard-mount": "openai"}, found, is_shown=shown)
                    assert asked is not None
                    exchange = door._opened(asked)
                    answer = await exchange.begin_request(found.end_of_stream)
                else:
                    answer = exchange.more_time(kind, found)
                    assert answer is None or answer.HasField("override_message_timeout")
                    answer = await exchange.receive(kind, found)
                assert (answer is None) == shown and (shown or answer.WhichOneof("one"))
                if exchange.is_over:
                    break
        except Disorder:
            pass
        await exchange.end()
        await desk.close()
        assert door.room.left == ext_proc.ROOM

    asyncio.run(whole())


GREETING = http2_frames.PREFACE + http2_frames.frame(http2_frames.SETTINGS, 0, 0)


class Wire:
    """A connection that takes everything."""

    def __init__(self) -> None:
        self.sent = b""

    def write(self, data: bytes) -> None:
        self.sent += data

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    abort = resume_reading = close


def framed(raw: bytes) -> bytes:
    return http2_frames.frame(http2_frames.DATA, 0, 0, b"\0" + len(raw).to_bytes(4, "big") + raw)


WAYS = {
    "whole": (headers(), body(running.chat("hello")), headers("response_headers", content_length="9"), body(running.reply("hi"), "response_body")),
    "refused": (headers(), body(running.chat("hello", model=running.BLOCK))),
    "shown": (headers(shown=True), body(running.chat("hello"), shown=True), headers("response_headers", shown=True), body(running.reply("hi"), "response_body", shown=True)),
    "left": (headers(), body(running.chat("hello"))),
    "disorder": (headers(), headers()),
}  # fmt: skip


@pytest.mark.parametrize("name", WAYS)
def test_an_exchange_leaves_no_cycles(name: str) -> None:
    """What a garbage collector would have to find grows until it runs, and pauses everybody when it does."""

    async def whole() -> Counter[str]:
        desk = Desk(BRAIN, None, Metrics(), lambda: "id")
        route = Route("openai", "openai", "http://nowhere", mode="enforce")
        BRAIN.limit("")
        door = ext_proc.ExtProc(Given(desk, Mounts([route])), "127.0.0.1:0")
        line = door._connection()
        wire = Wire()
        line.connection_made(wire)  # type: ignore[arg-type]
        line.data_received(GREETING)
        told = [(":method", "POST"), (":path", ext_proc.PROCESS), ("x-afterguard-mount", "openai")]

        async def ask(stream: int) -> None:
            block = b"".join(b"\0" + bytes((len(k),)) + k.encode() + bytes((len(v),)) + v.encode() for k, v in told)
            line.data_received(http2_frames.frame(http2_frames.HEADERS, 4, stream, block))
            for raw in WAYS[name]:
                data = framed(raw)
                line.data_received(data[:5] + stream.to_bytes(4, "big") + data[9:])
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            if name == "left":
                line.data_received(http2_frames.frame(http2_frames.RST_STREAM, 0, stream, b"\0\0\0\x08"))
            await asyncio.sleep(0.01)
            assert not line.calls and not desk.open

        await ask(1)
        gc.collect()
        gc.set_debug(gc.DEBUG_SAVEALL)
        for number in range(3, 43, 2):
            await ask(number)
        gc.collect()
        gc.set_debug(0)
        line.connection_lost(None)
        await desk.close()
        return Counter(type(one).__name__ for one in gc.garbage if type(one).__module__.startswith("afterguard."))

    gc.disable()
    try:
        assert not asyncio.run(whole())
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


# HTTP/2 below gRPC.

OPENING = b"\x83\x86\x44\x04/a/b\x41\x01x"  # :method POST, :scheme http, :path /a/b, :authority x


def said(guard: Any, data: bytes, wait: float = 3.0) -> list[tuple[int, int, bytes]]:
    """(kind, stream, payload) of every frame the door sends to these bytes until it closes or is silent."""
    raw, out = running.talk(guard.door, data, wait), []
    while len(raw) >= 9:
        size = int.from_bytes(raw[:3], "big")
        out.append((raw[3], int.from_bytes(raw[5:9], "big"), raw[9 : 9 + size]))
        raw = raw[9 + size :]
    return out


def error(found: list[tuple[int, int, bytes]]) -> int:
    """The error code with which the connection was ended, -1 where it was not."""
    return next((int.from_bytes(data[4:8], "big") for kind, _, data in found if kind == http2_frames.GOAWAY), -1)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", http2_frames.PROTOCOL),
        (GREETING + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01", http2_frames.FRAME_SIZE),
        (GREETING + http2_frames.frame(http2_frames.DATA, 0, 1, b"x"), http2_frames.PROTOCOL),
        (GREETING + http2_frames.frame(http2_frames.DATA, 0, 0, b"x"), http2_frames.PROTOCOL),
        (GREETING + http2_frames.frame(http2_frames.HEADERS, 4, 2, OPENING), http2_frames.PROTOCOL),
        (GREETING + http2_frames.frame(http2_frames.HEADERS, 4, 1, b"\xff\xff\xff\xff\xff\xff\xff"), http2_frames.COMPRESSION),
        (GREETING + http2_frames.frame(http2_frames.HEADERS, 0, 1, OPENING) + http2_frames.frame(http2_frames.PING, 0, 0, b"x" * 8), http2_frames.PROTOCOL),
        (GREETING + http2_frames.frame(http2_frames.HEADERS, 0, 1, OPENING) + http2_frames.frame(http2_frames.CONTINUATION, 0, 1, b"\x00" * 16_000) * 5, http2_frames.CALM),
        (GREETING + http2_frames.frame(http2_frames.PING, 0, 0, b"x" * 8) * 2_100, http2_frames.CALM),
        (GREETING + http2_frames.frame(http2_frames.SETTINGS, 0, 0) * 2_100, http2_frames.CALM),
        (GREETING + b"".join(http2_frames.frame(http2_frames.HEADERS, 4, n, OPENING) + http2_frames.frame(http2_frames.RST_STREAM, 0, n, b"\0\0\0\x08") for n in range(1, 4_400, 2)), http2_frames.CALM),
        (GREETING + http2_frames.frame(http2_frames.WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"), http2_frames.FLOW_CONTROL),
        (GREETING + http2_frames.frame(http2_frames.SETTINGS, 0, 0, b"\0\x04\xff\xff\xff\xff"), http2_frames.FLOW_CONTROL),
        (GREETING + http2_frames.frame(http2_frames.PUSH_PROMISE, 4, 1, b"\0\0\0\x02"), http2_frames.PROTOCOL),
        (GREETING + http2_frames.frame(http2_frames.HEADERS, 4 | 8, 1, b"\xff" + OPENING), http2_frames.PROTOCOL),
    ],
    ids=range(15),
)  # fmt: skip
def test_what_breaks_http2_ends_the_connection_with_its_code(guard: Any, data: bytes, code: int) -> None:
    assert error(said(guard, data)) == code
    assert talk(guard, headers(), body(running.chat("Hello")))[1] is grpc.StatusCode.OK


def test_frames_in_bites_are_read_alike(guard: Any) -> None:
    import socket

    data = GREETING + http2_frames.frame(http2_frames.HEADERS, 5, 1, OPENING)
    with socket.create_connection(("127.0.0.1", guard.door), 10) as line:
        for at in range(len(data)):
            line.sendall(data[at : at + 1])
        line.settimeout(3)
        got = b""
        while b"grpc-status" not in got:
            got += line.recv(4096)
    assert b"grpc-status\x0212" in got


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=30),
            st.builds(
                http2_frames.frame, st.integers(0, 12), st.integers(0, 255), st.integers(0, 7),
                st.one_of(st.binary(max_size=40), st.just(OPENING), st.just(b"\0\0\0\0\x01x")),
            ),
        ),
        max_size=12,
    )
)  # fmt: skip
@settings(max_examples=400, deadline=None)
def test_any_frames_end_a_connection_or_are_read(frames: list[bytes]) -> None:
    async def whole() -> None:
        async def echo(call: Any) -> None:
            while (message := await call.read()) is not None:
                await call.write(message)

        held = http2.Held(1 << 20)
        line = http2.Connection(echo, 1 << 20, held)
        line.connection_made(Wire())  # type: ignore[arg-type]
        for piece in [GREETING, *frames]:
            line.data_received(piece)
            await asyncio.sleep(0)
        line.connection_lost(None)
        assert not held.lines and not line.calls and held.room.left == 1 << 20

    asyncio.run(whole())
