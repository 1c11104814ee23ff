"""The upstream client against peers that behave, and peers that do not; real sockets throughout."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import threading
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ports import free_port
from soon import soon

from afterguard.errors import UsageError
from afterguard.guard import tls
from afterguard.guard.batch import Batch, Cork
from afterguard.guard.connection import UNREAD, Connection, Limits, Reply
from afterguard.guard.upstream import (
    Unsendable,
    Upstream,
    UpstreamBroken,
    UpstreamUnreachable,
    forwardable,
    origin,
    tunnel,
)

JSON = [(b"Content-Type", b"application/json")]


async def whole(reply: Reply) -> bytes:
    pieces = []
    while piece := await reply.chunk():
        pieces.append(piece)
    return b"".join(pieces)


async def get(upstream: Upstream, target: bytes = b"/", body: bytes = b"{}") -> tuple[int, bytes]:
    reply = await upstream.send(b"POST", target, JSON, body)
    return reply.status, await whole(reply)


@contextlib.asynccontextmanager
async def pool(url: str, **options: Any) -> Any:
    made = Upstream(url, **options)
    try:
        yield made
    finally:
        await made.close()
        assert made._slots == 0 or made._open == set()


def broken(net: Any, url: str, method: bytes = b"POST", **options: Any) -> tuple[str, bytes]:
    """The reason, and what had come by then."""

    async def work() -> tuple[str, bytes]:
        got = b""
        async with pool(url, **options) as upstream:
            try:
                reply = await upstream.send(method, b"/", JSON, b"{}")
                while piece := await reply.chunk():
                    got += piece
            except UpstreamBroken as error:
                return error.reason, got
            return "", got

    return net.run(work())


# What goes out.


def test_a_request_and_its_reply(net: Any, peer: Any) -> None:
    server = peer(net.always(net.answer(b"hello", b"X-Request-ID: A1", b"Set-Cookie: a", b"Set-Cookie: b")))

    async def work() -> Reply:
        async with pool(server.url + "/base/") as upstream:
            headers = [*JSON, (b"Host", b"evil"), (b"content-length", b"999"), (b"Transfer-Encoding", b"chunked")]
            reply = await upstream.send(b"POST", b"/v1/chat?x=1", headers, b'{"a":1}')
            assert await whole(reply) == b"hello"
            assert reply.ended
            assert await reply.chunk() == b""
            return reply

    reply = net.run(work())
    assert (reply.status, reply.reason, reply.trailers) == (200, b"OK", [])
    assert reply.headers == [
        (b"X-Request-ID", b"A1"), (b"Set-Cookie", b"a"), (b"Set-Cookie", b"b"), (b"Content-Length", b"5"),
    ]  # fmt: skip
    host = b"host: 127.0.0.1:%d\r\n" % server.port
    first = b"POST /base/v1/chat?x=1 HTTP/1.1\r\n" + host
    assert server.requests == [first + b'Content-Type: application/json\r\ncontent-length: 7\r\n\r\n{"a":1}']


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        (b"POST", b"/", [(b"a", b"b\r\nx: y")]),
        (b"POST", b"/", [(b"a", b"b\nx: y")]),
        (b"POST", b"/", [(b"a", b"b\rx")]),
        (b"POST", b"/", [(b"a", b"b\0")]),
        (b"POST", b"/", [(b"a\r\nb", b"c")]),
        (b"POST", b"/", [(b"a: b", b"c")]),
        (b"POST", b"/", [(b"a b", b"c")]),
        (b"POST", b"/", [(b"", b"c")]),
        (b"POST", b"/ HTTP/1.1\r\n\r\n", []),
        (b"POST", b"/a b", []),
        (b"POST", b"http://other/", []),
        (b"PO ST", b"/", []),
        (b"", b"/", []),
        (b"POST", b"/../admin", []),
        (b"POST", b"/x/%2E%2e/../admin", []),
        (b"POST", b"/..%2fadmin", []),
        (b"POST", b"/..%5cadmin", []),
    ],
)
def test_one_request_can_not_be_made_two(net: Any, peer: Any, method: bytes, target: bytes, headers: Any) -> None:
    server = peer(net.always(net.answer()))

    async def work() -> None:
        async with pool(server.url + "/base") as upstream:
            with pytest.raises(Unsendable):
                await upstream.send(method, target, headers, b"")

    net.run(work())
    assert server.count == 0


@given(st.lists(st.tuples(st.binary(max_size=8), st.binary(max_size=12)), max_size=4), st.binary(max_size=8))
def test_no_header_and_no_target_adds_a_line(headers: list[tuple[bytes, bytes]], target: bytes) -> None:
    upstream = Upstream("http://localhost")
    try:
        head = upstream._head(b"POST", b"/" + target, headers, b"body")
    except Unsendable:
        return
    assert head.endswith(b"content-length: 4\r\n\r\n")
    assert head.count(b"\r\n\r\n") == 1
    lines = head[:-4].split(b"\r\n")
    assert len(lines) <= len(headers) + 3
    assert all(line.partition(b":")[0] for line in lines)


def test_what_may_pass_on() -> None:
    headers = [
        (b"Host", b"a"), (b"Connection", b"close, X-Private, Content-Length"), (b"X-Private", b"1"),
        (b"Keep-Alive", b"5"), (b"TE", b"trailers"), (b"Upgrade", b"h2c"), (b"Content-Length", b"3"),
        (b"Proxy-Authorization", b"x"), (b"Set-Cookie", b"a"), (b"set-cookie", b"b"), (b"Authorization", b"k"),
    ]  # fmt: skip
    kept = forwardable(headers, (b"host",))
    assert [name for name, _ in kept] == [b"Content-Length", b"Set-Cookie", b"set-cookie", b"Authorization"]
    assert forwardable([(b"connection", b"keep-alive"), (b"a", b"b")]) == [(b"a", b"b")]


@pytest.mark.parametrize(
    ("url", "authority", "base", "port"),
    [
        ("https://api.openai.com", b"api.openai.com", b"", 443),
        ("https://API.openai.com:443/v1/", b"api.openai.com", b"/v1", 443),
        ("http://[::1]:8080", b"[::1]:8080", b"", 8080),
        ("http://h:80", b"h", b"", 80),
    ],
)
def test_origins(url: str, authority: bytes, base: bytes, port: int) -> None:
    found = origin(url)
    assert (found.authority, found.base, found.port) == (authority, base, port)


@pytest.mark.parametrize(
    "url",
    ["", "api.openai.com", "ftp://a", "https://", "https://u:secret@h", "https://h?x=1", "https://h/#a", "http://h:99999",
     "http://h:0", "https://h /", "https://h\r\nx", "https://[::1"],
)  # fmt: skip
def test_what_is_no_origin(url: str) -> None:
    with pytest.raises(UsageError) as error:
        origin(url)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("url", ["https://p:1", "p:1", "http://", "http://p:1/path", "http://p:x", "http://u:secret@"])
def test_what_is_no_proxy(url: str) -> None:
    with pytest.raises(UsageError) as error:
        tunnel(url)
    assert "secret" not in str(error.value)


def test_tls_needs_a_context() -> None:
    with pytest.raises(UsageError):
        Upstream("https://api.openai.com")


# Framing of replies.


def test_informational_replies_are_passed_over(net: Any, peer: Any) -> None:
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    server = peer(net.always(early + net.answer(b"hi", b"A: b")))

    async def work() -> Reply:
        async with pool(server.url) as upstream:
            first = await upstream.send(b"GET", b"/", [], b"")
            assert await whole(first) == b"hi"
            second = await upstream.send(b"GET", b"/", [], b"")
            assert await whole(second) == b"hi"
            return second

    reply = net.run(work())
    assert (reply.status, reply.reason) == (200, b"OK")
    assert reply.headers == [(b"A", b"b"), (b"Content-Length", b"2")]
    assert server.count == 1
    assert b"content-length" not in server.requests[0]


def test_chunks_with_extensions_and_trailers(net: Any, peer: Any) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"
    server = peer(net.always(head + b"5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 1\r\nGrpc: 2\r\n\r\n"))

    async def work() -> Reply:
        async with pool(server.url) as upstream:
            for _ in range(2):
                reply = await upstream.send(b"POST", b"/", [], b"x")
                assert await whole(reply) == b"hello world"
            return reply

    assert net.run(work()).trailers == [(b"X-Sum", b"1"), (b"Grpc", b"2")]
    assert server.count == 1


def test_the_same_reply_cut_at_every_place(net: Any, peer: Any) -> None:
    reply = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 Fine\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n1\r\nd\r\n0\r\nT: u\r\n\r\n"
    )
    cuts = iter(range(1, len(reply)))

    def script(line: Any) -> None:
        while line.request():
            cut = next(cuts)
            line.send(reply[:cut])
            time.sleep(0.001)
            line.send(reply[cut:])

    server = peer(script)

    async def work() -> set[Any]:
        found = set()
        async with pool(server.url) as upstream:
            for _ in range(1, len(reply)):
                one = await upstream.send(b"POST", b"/", [], b"x")
                body = await whole(one)
                found.add((one.status, one.reason, tuple(one.headers), body, tuple(one.trailers)))
        return found

    assert net.run(work()) == {
        (200, b"Fine", ((b"A", b"b"), (b"Transfer-Encoding", b"chunked")), b"abcd", ((b"T", b"u"),))
    }
    assert server.count == 1


def test_a_body_that_ends_with_the_connection(net: Any, peer: Any) -> None:
    server = peer(net.once(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nuntil the end"))
    assert broken(net, server.url) == ("", b"until the end")
    old = peer(net.once(b"HTTP/1.0 200 OK\r\n\r\nold"))
    assert broken(net, old.url) == ("", b"old")


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_replies_without_a_body(net: Any, peer: Any, status: bytes) -> None:
    server = peer(net.always(b"HTTP/1.1 " + status + b"\r\nETag: x\r\n\r\n"))

    async def work() -> None:
        async with pool(server.url) as upstream:
            assert await get(upstream) == (int(status[:3]), b"")
            assert await get(upstream) == (int(status[:3]), b"")

    net.run(work())
    assert server.count == 1


def test_head_has_a_length_and_no_body(net: Any, peer: Any) -> None:
    server = peer(net.once(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", close=False))

    async def work() -> None:
        async with pool(server.url) as upstream:
            reply = await upstream.send(b"HEAD", b"/", [], b"")
            assert (reply.status, await whole(reply)) == (200, b"")
            assert reply.ended

    net.run(work())


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (b"banana\r\n\r\n", "framing"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "framing"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "framing"),
        (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", "framing"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "framing"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "framing"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello", "framing"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "framing"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "framing"),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n", "framing"),
        (b"HTTP/1.1 200 OK\r\nA: b\x01\r\nContent-Length: 0\r\n\r\n", "framing"),
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nabc", "status"),
        (b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n", "status"),
        (b"HTTP/1.1 000 Odd\r\nContent-Length: 0\r\n\r\n", "status"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 40, "status"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70000, "headers"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20000 + b"Content-Length: 0\r\n\r\n", "headers"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", "truncated"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "truncated"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "truncated"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX\r\n", "framing"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n", "framing"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nT: " + b"u" * 700_000, "headers"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;" + b"u" * 700_000, "headers"),
        (b"", "no_answer"),
    ],
)  # fmt: skip
def test_replies_that_are_broken(net: Any, peer: Any, reply: bytes, reason: str) -> None:
    server = peer(net.once(reply))
    assert broken(net, server.url)[0] == reason
    assert server.count == 1


def test_a_head_just_under_the_cap(net: Any, peer: Any) -> None:
    server = peer(net.once(net.answer(b"x" * 200_000, b"A: " + b"b" * 60000)))
    assert broken(net, server.url) == ("", b"x" * 200_000)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 60), st.booleans())
def test_no_bytes_raise_or_hang(noise: bytes, cut: int, chunked: bool) -> None:
    start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" if chunked else b"HTTP/1.1 200 OK\r\n"
    connection = wired()
    reply = Reply(b"", b"", False)
    connection.begin(reply)
    for piece in (start[:cut], start[cut:] + noise):
        if not connection.transport.closed:  # type: ignore[attr-defined]
            connection.data_received(piece)
    connection.connection_lost(None)
    assert reply.done


class Wire:
    """A transport that only remembers; for feeding the parser directly."""

    closed = paused = False

    def write(self, data: bytes) -> None: ...

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


def wired() -> Connection:
    class Loop:
        time = staticmethod(time.monotonic)
        call_soon = staticmethod(lambda callback: None)

    upstream = Upstream("http://localhost")
    upstream.loop = Loop()  # type: ignore[assignment]
    connection = Connection(upstream)
    connection.transport = Wire()  # type: ignore[assignment]
    connection.cork = Cork(Batch(upstream.loop), connection.transport)
    return connection


def test_many_tiny_chunks_take_linear_time() -> None:
    piece = b"1\r\na\r\n" * 200_000
    connection = wired()
    reply = Reply(b"", b"", False)
    connection.begin(reply)
    connection.data_received(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    with soon():
        connection.data_received(piece)
        connection.data_received(b"0\r\n\r\n")
    assert reply.unread == 200_000 and reply.done


# Connections that end.


def test_a_reset_in_the_middle(net: Any, peer: Any) -> None:
    def script(line: Any) -> None:
        line.request()
        line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        time.sleep(0.1)
        line.reset()

    assert broken(net, peer(script).url) == ("reset", b"half")


def test_a_reset_while_reading_to_the_end(net: Any, peer: Any) -> None:
    def script(line: Any) -> None:
        line.request()
        line.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        time.sleep(0.1)
        line.reset()

    assert broken(net, peer(script).url) == ("reset", b"half")


def test_a_connection_is_used_again_and_the_last_one_first(net: Any, peer: Any) -> None:
    server = peer(net.always(net.answer()))

    async def work() -> None:
        async with pool(server.url) as upstream:
            await asyncio.gather(*(get(upstream) for _ in range(4)))
            opened = server.count
            last = list(upstream._idle)[-1]
            for _ in range(20):
                assert await get(upstream) == (200, b"hello")
            assert server.count == opened == 4
            assert list(upstream._idle)[-1] is last

    net.run(work())


def test_no_connection_is_used_again_after(net: Any, peer: Any) -> None:
    for reply in (
        net.answer(b"hello", b"Connection: close"),
        net.answer(b"hello") + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        net.answer(b"hello") + b"\0\0\0",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ):
        server = peer(net.once(reply, close=False))

        async def work(url: str = server.url) -> None:
            async with pool(url) as upstream:
                assert await get(upstream) == (200, b"hello")
                assert await get(upstream) == (200, b"hello")

        net.run(work())
        assert server.count == 2


def test_bytes_nobody_asked_for_close_the_connection(net: Any, peer: Any) -> None:
    go = threading.Event()

    def script(line: Any) -> None:
        while line.request():
            line.send(net.answer())
            if line.number == 1:
                go.wait(5)
                line.send(net.answer(b"stale"))

    server = peer(script)

    async def work() -> None:
        async with pool(server.url) as upstream:
            assert await get(upstream) == (200, b"hello")
            go.set()
            await asyncio.sleep(0.1)
            assert not upstream._open
            assert await get(upstream) == (200, b"hello")

    net.run(work())
    assert server.count == 2


def test_the_race_with_an_idle_timeout_is_retried_once(net: Any, peer: Any) -> None:
    def script(line: Any) -> None:
        if line.number == 1:
            line.request()
            line.send(net.answer(b"first"))
            line.request()
            line.reset()
        else:
            net.always(net.answer(b"second"))(line)

    server = peer(script)

    async def work() -> None:
        async with pool(server.url) as upstream:
            assert await get(upstream) == (200, b"first")
            assert await get(upstream) == (200, b"second")

    net.run(work())
    assert (server.count, len(server.requests)) == (2, 3)


def test_no_retry_on_a_new_connection_or_after_a_byte_or_after_a_while(net: Any, peer: Any) -> None:
    def fresh(line: Any) -> None:
        line.request()

    def byte(line: Any) -> None:
        line.request()
        line.send(net.answer())
        line.request()
        line.send(b"H")

    def slow(line: Any) -> None:
        line.request()
        line.send(net.answer())
        line.request()
        time.sleep(1.2)

    for script, requests, reason in ((fresh, 1, "no_answer"), (byte, 2, "truncated"), (slow, 2, "no_answer")):
        server = peer(script)

        async def work(url: str = server.url, requests: int = requests) -> str:
            async with pool(url) as upstream:
                with pytest.raises(UpstreamBroken) as error:
                    for _ in range(requests):
                        await get(upstream)
                return error.value.reason

        assert net.run(work()) == reason
        assert len(server.requests) == requests


def test_a_peer_that_closes_idle_connections_at_random(net: Any, peer: Any) -> None:
    def script(line: Any) -> None:
        for _ in range(1 + line.number % 3):
            if not line.request():
                return
            line.send(net.answer(b"%d" % line.number))

    server = peer(script)

    async def client(upstream: Upstream) -> int:
        done = 0
        for _ in range(30):
            status, _ = await get(upstream)
            done += status == 200
            await asyncio.sleep(0)
        return done

    async def work() -> None:
        async with pool(server.url) as upstream:
            assert await asyncio.gather(*(client(upstream) for _ in range(8))) == [30] * 8

    net.run(work())


def test_cancelling_closes_the_upstream_at_once(net: Any, peer: Any) -> None:
    closed: list[float] = []

    def script(line: Any) -> None:
        what = line.request()
        if b"/stream" in what:
            line.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        assert line.gone()
        closed.append(time.monotonic())

    server = peer(script)

    async def before_the_head(upstream: Upstream) -> float:
        task = asyncio.create_task(upstream.send(b"POST", b"/wait", [], b"x"))
        await asyncio.sleep(0.05)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return time.monotonic()

    async def in_the_stream(upstream: Upstream) -> float:
        reply = await upstream.send(b"POST", b"/stream", [], b"x")
        assert await reply.chunk() == b"hello"
        reply.cancel()
        at = time.monotonic()
        with pytest.raises(UpstreamBroken, match="cancelled"):
            await reply.chunk()
        reply.cancel()
        return at

    async def work() -> None:
        for how in (before_the_head, in_the_stream):
            async with pool(server.url) as upstream:
                at = await how(upstream)
                while not closed:
                    await asyncio.sleep(0.005)
                    assert time.monotonic() - at < 5
                closed.clear()
                assert not upstream._idle and not upstream._open

    net.run(work())


def test_cancelling_a_whole_reply_leaves_the_connection_alone(net: Any, peer: Any) -> None:
    server = peer(net.always(net.answer()))

    async def work() -> None:
        async with pool(server.url) as upstream:
            reply = await upstream.send(b"POST", b"/", [], b"x")
            reply.cancel()
            assert await get(upstream) == (200, b"hello")

    net.run(work())
    assert server.count == 1


def test_an_early_answer_to_a_request_still_being_sent(net: Any, peer: Any) -> None:
    def script(line: Any) -> None:
        line.sock.recv(100)
        line.send(net.answer(b"too large", status=b"413 Too Large"))
        time.sleep(0.2)

    server = peer(script)

    async def work() -> None:
        async with pool(server.url) as upstream:
            assert await get(upstream, body=b"x" * 30_000_000) == (413, b"too large")
            assert not upstream._idle

    net.run(work())


def test_a_large_body_arrives_whole(net: Any, peer: Any) -> None:
    server = peer(net.always(net.answer()))
    body = bytes(range(256)) * 8000

    async def work() -> None:
        async with pool(server.url) as upstream:
            await get(upstream, body=body)

    net.run(work())
    assert server.requests[0].endswith(b"\r\n\r\n" + body)


# Time, and pressure.


def test_time_outs(net: Any, peer: Any) -> None:
    def silent(line: Any) -> None:
        line.request()
        line.gone()

    def half(line: Any) -> None:
        line.request()
        line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        line.gone()

    quick = Limits(first_byte=0.2, idle_read=0.2)
    assert broken(net, peer(silent).url, limits=quick) == ("timeout", b"")
    assert broken(net, peer(half).url, limits=quick) == ("timeout", b"half")


def test_idle_connections_are_closed(net: Any, peer: Any) -> None:
    server = peer(net.always(net.answer()))

    async def work() -> None:
        async with pool(server.url, limits=Limits(idle=0.1)) as upstream:
            await get(upstream)
            assert len(upstream._open) == 1
            await asyncio.sleep(0.4)
            assert not upstream._open and not upstream._idle and upstream._slots == 0
            assert upstream._sweeping is None
            await get(upstream)

    net.run(work())
    assert server.count == 2


def test_a_slow_reader_of_a_large_reply_takes_little_memory(net: Any, peer: Any) -> None:
    megabyte = b"x" * (1 << 20)
    sent = [0]

    def script(line: Any) -> None:
        line.request()
        line.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (200 << 20))
        for _ in range(200):
            line.send(megabyte)
            sent[0] += len(megabyte)

    server = peer(script)

    async def work() -> None:
        async with pool(server.url) as upstream:
            reply = await upstream.send(b"GET", b"/", [], b"")
            await asyncio.sleep(0.5)
            waiting = sent[0]
            assert waiting < 30 << 20
            got = 0
            for _ in range(10):
                got += len(await reply.chunk())
                assert reply.unread <= UNREAD + (1 << 20)
                await asyncio.sleep(0.01)
            while piece := await reply.chunk():
                got += len(piece)
            assert got == 200 << 20

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    net.run(work())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60 << 10


def test_a_reader_that_never_comes_back_is_given_up(net: Any, peer: Any) -> None:
    def script(line: Any) -> None:
        line.request()
        line.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (50 << 20) + b"x" * (1 << 20))
        assert line.gone()

    async def work() -> None:
        async with pool(peer(script).url, limits=Limits(unread=0.3)) as upstream:
            reply = await upstream.send(b"GET", b"/", [], b"")
            await asyncio.sleep(0.8)
            assert await reply.chunk()
            with pytest.raises(UpstreamBroken, match="stalled"):
                await reply.chunk()

    net.run(work())


def test_a_reply_read_late_frees_its_connection_early(net: Any, peer: Any) -> None:
    body = b"x" * (UNREAD + 100_000)
    server = peer(net.always(net.answer(body)))

    async def work() -> None:
        async with pool(server.url) as upstream:
            late = []
            for _ in range(3):
                reply = await upstream.send(b"GET", b"/", [], b"")
                first = await reply.chunk()
                while not reply.done:
                    first += await reply.chunk()
                late.append((reply, first))
                await asyncio.sleep(0.02)
            for reply, first in late:
                assert first + await whole(reply) == body

    net.run(work())
    assert server.count == 1


def test_only_so_many_connections(net: Any, peer: Any) -> None:
    def script(line: Any) -> None:
        while line.request():
            time.sleep(0.02)
            line.send(net.answer())

    server = peer(script)

    async def work() -> None:
        async with pool(server.url, limits=Limits(connections=2, waiting=8)) as upstream:
            results = await asyncio.gather(*(get(upstream) for _ in range(10)))
            assert results == [(200, b"hello")] * 10
            assert server.count == 2 and upstream._slots == 2
            many = await asyncio.gather(*(get(upstream) for _ in range(15)), return_exceptions=True)
            busy = [one for one in many if isinstance(one, UpstreamUnreachable)]
            assert busy and all(one.reason == "busy" for one in busy)
            assert many.count((200, b"hello")) == 15 - len(busy) >= 10

    net.run(work())


def test_waiting_ends_and_hands_on(net: Any, peer: Any) -> None:
    go = threading.Event()

    def script(line: Any) -> None:
        while line.request():
            go.wait(5)
            line.send(net.answer(b"hello", b"Connection: close"))

    server = peer(script)

    async def work() -> None:
        async with pool(server.url, limits=Limits(connections=1, connect=0.3)) as upstream:
            first = asyncio.create_task(get(upstream))
            await asyncio.sleep(0.05)
            waiting = [asyncio.create_task(get(upstream)) for _ in range(3)]
            await asyncio.sleep(0.05)
            waiting[0].cancel()
            with pytest.raises(UpstreamUnreachable, match="busy"):
                await waiting[1]
            with pytest.raises(UpstreamUnreachable, match="busy"):
                await waiting[2]
            more = [asyncio.create_task(get(upstream)) for _ in range(3)]
            await asyncio.sleep(0.02)
            more[0].cancel()
            go.set()
            assert await first == (200, b"hello")
            assert await asyncio.gather(*more[1:]) == [(200, b"hello")] * 2
            await asyncio.sleep(0.05)
            assert upstream._slots == 0 and not upstream._queue

    net.run(work())


# Reaching it.


def test_why_it_can_not_be_reached(net: Any, peer: Any, authority: Any) -> None:
    def hang(line: Any) -> None:
        while line._more():
            pass

    context = tls.client_context()
    quick = Limits(connect=0.3)
    reasons = {
        f"http://127.0.0.1:{free_port()}": "refused",
        "http://no-such-host.invalid": "dns",
        peer(hang).url.replace("http:", "https:"): "timeout",
        peer(lambda line: line.reset()).url.replace("http:", "https:"): "tls",
        peer(lambda line: line.send(b"not TLS at all\r\n\r\n")).url.replace("http:", "https:"): "tls",
    }

    async def why(url: str) -> str:
        async with pool(url, tls=context, limits=quick) as upstream:
            with pytest.raises(UpstreamUnreachable) as error:
                await upstream.send(b"POST", b"/", [], b"x")
            assert upstream._slots == 0
            return error.value.reason

    for url, reason in reasons.items():
        found = net.run(why(url))
        assert found == reason or (reason == "dns" and found == "timeout"), url


def test_tls_with_a_private_authority_and_a_client_certificate(net: Any, peer: Any, authority: Any) -> None:
    server_files, client_files = authority.issue("server"), authority.issue("client")
    plain = peer(net.always(net.answer()), tls.server_context(*server_files))
    mutual = peer(net.always(net.answer()), tls.server_context(*server_files, client_ca=str(authority.ca)))
    known = tls.client_context(ca=str(authority.ca))
    shown = tls.client_context(ca=str(authority.ca), certificate=client_files[0], key=client_files[1])

    async def ask(url: str, context: Any) -> Any:
        async with pool(url, tls=context) as upstream:
            try:
                return [await get(upstream), await get(upstream)]
            except (UpstreamUnreachable, UpstreamBroken) as error:
                return error.reason

    good = [(200, b"hello")] * 2
    assert net.run(ask(plain.url, known)) == good
    assert net.run(ask(plain.url.replace("127.0.0.1", "localhost"), known)) == good
    assert net.run(ask(plain.url, tls.client_context())) == "tls"
    assert net.run(ask(mutual.url, shown)) == good
    assert net.run(ask(mutual.url, known)) in ("tls", "reset")
    assert len(mutual.requests) == 2


def test_tls_back_pressure_and_cancel(net: Any, peer: Any, authority: Any) -> None:
    sent = [0]

    def script(line: Any) -> None:
        line.request()
        line.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (100 << 20))
        for _ in range(100):
            line.send(b"x" * (1 << 20))
            sent[0] += 1 << 20

    server = peer(script, tls.server_context(*authority.issue("pressure")))

    async def work() -> None:
        async with pool(server.url, tls=tls.client_context(ca=str(authority.ca))) as upstream:
            reply = await upstream.send(b"GET", b"/", [], b"")
            await asyncio.sleep(0.3)
            assert sent[0] < 30 << 20
            got = len(await reply.chunk())
            got += len(await reply.chunk())
            assert got > UNREAD
            reply.cancel()

    net.run(work())


def test_through_a_proxy(net: Any, peer: Any, authority: Any) -> None:
    seen: list[bytes] = []
    secret = b"proxy-authorization: Basic dXNlcjpwOnc=\r\n"
    proxy = peer(net.proxy_script(seen, credentials=secret))
    plain = peer(net.always(net.answer()))
    secure = peer(net.always(net.answer()), tls.server_context(*authority.issue("behind")))
    with_credentials = proxy.url.replace("//", "//user:p%3Aw@")

    async def ask(url: str, through: str) -> Any:
        async with pool(url, tls=tls.client_context(ca=str(authority.ca)), proxy=through) as upstream:
            try:
                return [await get(upstream), await get(upstream)]
            except UpstreamUnreachable as error:
                return error.reason

    good = [(200, b"hello")] * 2
    assert net.run(ask(plain.url, with_credentials)) == good
    assert net.run(ask(secure.url, with_credentials)) == good
    assert seen[1].startswith(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nhost: 127.0.0.1:%d\r\n" % (secure.port, secure.port))
    assert len(seen) == 2 and b"authorization" not in secure.requests[0].lower()
    assert net.run(ask(plain.url, proxy.url)) == "proxy"
    assert net.run(ask(plain.url, f"http://127.0.0.1:{free_port()}")) == "proxy"
    assert len(plain.requests) == 2


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\n\r\nmore", b"garbage\r\n\r\n", b"", b"H" * 20000])
def test_a_proxy_that_talks_nonsense(net: Any, peer: Any, answer: bytes) -> None:
    proxy = peer(net.once(answer))

    async def work() -> str:
        async with pool("http://127.0.0.1:9", proxy=proxy.url) as upstream:
            with pytest.raises(UpstreamUnreachable) as error:
                await get(upstream)
            return error.value.reason

    assert net.run(work()) == "proxy"


def test_a_proxy_that_hangs(net: Any, peer: Any) -> None:
    def hang(line: Any) -> None:
        line.request()
        line.gone()

    async def work() -> None:
        async with pool("http://127.0.0.1:9", proxy=peer(hang).url, limits=Limits(connect=0.2)) as upstream:
            with pytest.raises(UpstreamUnreachable, match="timeout"):
                await get(upstream)

    net.run(work())


def test_closing_the_pool_ends_what_is_under_way(net: Any, peer: Any) -> None:
    def script(line: Any) -> None:
        line.request()
        line.gone()

    server = peer(script)

    async def work() -> None:
        upstream = Upstream(server.url, limits=Limits(connections=1))
        tasks = [asyncio.create_task(get(upstream)) for _ in range(2)]
        await asyncio.sleep(0.05)
        await upstream.close()
        first, second = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(first, UpstreamBroken) and isinstance(second, UpstreamUnreachable)
        with pytest.raises(UpstreamUnreachable):
            await get(upstream)

    net.run(work())
