"""The server's side of HTTP/2 for gRPC, spoken to in raw frames over a real socket: what a hostile peer sends is refused with its code, costs little and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from soon import soon

pytest.importorskip("hpack")

from afterguard.guard import grpc_call, http2, http2_frames
from afterguard.guard.http2_frames import DATA, HEADERS, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame

HELLO = http2_frames.PREFACE + frame(SETTINGS, 0, 0)
OPENING = b"\x83\x86\x44\x04/a/b\x41\x01x"  # :method POST, :scheme http, :path /a/b, :authority x
Found = list[tuple[int, int, int, bytes]]
ROOM = 64 << 20


def message(body: bytes) -> bytes:
    return b"\0" + len(body).to_bytes(4, "big") + body


def opened(number: int, flags: int = 4) -> bytes:
    return frame(HEADERS, flags, number, OPENING)


def grown(size: int, stream: int = 0) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, size.to_bytes(4, "big"))


class Peer:
    """Both ends: a server whose handler is given, and a client that sends bytes."""

    def __init__(self, handler: Callable[[Any], Awaitable[None]], cap: int = 33 << 20, room: int = ROOM) -> None:
        self.codes: list[int] = []
        self.held = http2.Held(room, self.codes.append)
        self.handler, self.cap = handler, cap
        self.lines: list[http2.Connection] = []
        self.raw = b""

    async def __aenter__(self) -> Peer:
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(self._made, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        return self

    def _made(self) -> http2.Connection:
        self.lines.append(http2.Connection(self.handler, self.cap, self.held))
        return self.lines[-1]

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()
        self.server.close()
        for line in self.lines:
            await asyncio.wait_for(line.gone.wait(), 5)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not self.held.lines and not any(line.calls for line in self.lines)

    def say(self, *data: bytes) -> None:
        self.writer.write(b"".join(data))

    async def hear(self, until: Callable[[Found], bool], wait: float = 5.0) -> Found:
        """Frames (kind, flags, stream, payload) until there are enough, or the connection is over."""
        out: Found = []
        async with asyncio.timeout(wait):
            while not until(out):
                try:
                    piece = await self.reader.read(1 << 16)
                except ConnectionResetError:
                    break
                if not piece:
                    break
                raw = self.raw + piece
                while len(raw) >= 9 and len(raw) - 9 >= (size := int.from_bytes(raw[:3], "big")):
                    out.append((raw[3], raw[4], int.from_bytes(raw[5:9], "big"), raw[9 : 9 + size]))
                    raw = raw[9 + size :]
                self.raw = raw
        return out

    async def ended(self) -> int:
        """The code with which the connection ends."""
        found = await self.hear(lambda _: False)
        return next((int.from_bytes(data[4:8], "big") for kind, _, _, data in found if kind == http2_frames.GOAWAY), -1)


async def echo(call: Any) -> None:
    while (one := await call.read()) is not None:
        await call.write(one)


async def sleep(call: Any) -> None:
    await asyncio.sleep(3600)


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await work()

    asyncio.run(bounded())


def ends_with(code: int, *data: bytes, handler: Any = echo) -> None:
    async def whole() -> None:
        async with Peer(handler) as peer:
            peer.say(*data)
            assert await peer.ended() == code
            assert peer.codes == [code]

    run(whole)


REFUSALS = {
    "no settings first": (http2_frames.PROTOCOL, http2_frames.PREFACE + frame(http2_frames.PING, 0, 0, b"x" * 8)),
    "an acknowledgement first": (http2_frames.PROTOCOL, http2_frames.PREFACE + frame(SETTINGS, 1, 0)),
    "a reset of what was never opened": (http2_frames.PROTOCOL, HELLO + frame(RST_STREAM, 0, 9, b"\0\0\0\x08")),
    "a window of what was never opened": (http2_frames.PROTOCOL, HELLO + grown(9, 9)),
    "a window opened by nothing": (http2_frames.PROTOCOL, HELLO + opened(1) + grown(0, 1)),
    "a stream's window over its bound": (http2_frames.FLOW_CONTROL, HELLO + opened(1) + grown(http2_frames.WIDE, 1)),
    "windows over their bound by a setting": (http2_frames.FLOW_CONTROL, HELLO + opened(1) + grown(http2_frames.WIDE - 70_000, 1) + frame(SETTINGS, 0, 0, b"\0\x04\0\x02\0\0")),
    "settings by the thousand in one frame": (http2_frames.CALM, HELLO + frame(SETTINGS, 0, 0, b"\0\x04\0\0\0\x01" * 10_000)),
    "settings of half a row": (http2_frames.FRAME_SIZE, HELLO + frame(SETTINGS, 0, 0, b"\0\x04\0\0\0")),
    "an acknowledgement that says something": (http2_frames.FRAME_SIZE, HELLO + frame(SETTINGS, 1, 0, b"\0\x04\0\0\0\x01")),
    "data after the end": (http2_frames.CLOSED, HELLO + opened(1) + frame(DATA, 1, 1, message(b"a")) + frame(DATA, 0, 1, b"b")),
    "headers after the end": (http2_frames.CLOSED, HELLO + opened(1, 5) + opened(1, 5)),
    "trailers that are not the end": (http2_frames.PROTOCOL, HELLO + opened(1) + frame(HEADERS, 4, 1, b"\0\x01a\x01b")),
    "the number of a server's stream": (http2_frames.PROTOCOL, HELLO + opened(2)),
    "a block that another frame interrupts": (http2_frames.PROTOCOL, HELLO + frame(HEADERS, 0, 1, OPENING) + frame(DATA, 0, 1, b"x")),
    "a block another stream goes on with": (http2_frames.PROTOCOL, HELLO + frame(HEADERS, 0, 1, OPENING) + frame(http2_frames.CONTINUATION, 4, 3, b"")),
    "a continuation of nothing": (http2_frames.PROTOCOL, HELLO + frame(http2_frames.CONTINUATION, 4, 1, OPENING)),
    "continuations without end": (http2_frames.CALM, HELLO + frame(HEADERS, 0, 1, OPENING) + frame(http2_frames.CONTINUATION, 0, 1, b"\0\x01a\x01b" * 1_000) * 5),
    "continuations of nothing": (http2_frames.CALM, HELLO + frame(HEADERS, 0, 1, OPENING) + frame(http2_frames.CONTINUATION, 0, 1) * 2_100),
    "a block larger than the cap in one frame": (http2_frames.CALM, HELLO + frame(HEADERS, 4, 1, OPENING + b"\0\x01a\x01b" * 4_000)),
    "a list larger than the cap": (http2_frames.COMPRESSION, HELLO + frame(HEADERS, 4, 1, b"\x40\x01a\x7f\xa1\x1e" + b"x" * 4_000 + b"\xbe" * 8_000)),
    "table sizes by the thousand": (http2_frames.COMPRESSION, HELLO + frame(HEADERS, 4, 1, b"\x20" * 10_000 + OPENING)),
    "a table larger than is offered": (http2_frames.COMPRESSION, HELLO + frame(HEADERS, 4, 1, b"\x3f\xff\xff\x03" + OPENING)),
    "a number without end": (http2_frames.COMPRESSION, HELLO + frame(HEADERS, 4, 1, b"\xff" * 16_000)),
    "an index of nothing": (http2_frames.COMPRESSION, HELLO + frame(HEADERS, 4, 1, b"\x80")),
    "a string longer than the block": (http2_frames.COMPRESSION, HELLO + frame(HEADERS, 4, 1, b"\0\x7fa")),
    "padding longer than the frame": (http2_frames.PROTOCOL, HELLO + opened(1) + frame(DATA, 8, 1, b"\x05abc")),
    "padding of nothing": (http2_frames.PROTOCOL, HELLO + opened(1) + frame(DATA, 8, 1)),
    "a priority that is cut": (http2_frames.FRAME_SIZE, HELLO + frame(HEADERS, 4 | 32, 1, b"\0\0")),
    "data without bytes": (http2_frames.CALM, HELLO + opened(1) + frame(DATA, 0, 1) * 2_100),
    "data of padding alone": (http2_frames.CALM, HELLO + opened(1) + frame(DATA, 8, 1, b"\x03abc") * 2_100),
    "data that dribbles": (http2_frames.CALM, HELLO + opened(1) + frame(DATA, 0, 1, (1 << 20).to_bytes(5, "big")) + frame(DATA, 0, 1, b"x") * 2_100),
    "a dribble for a stream that is over": (http2_frames.CALM, HELLO + opened(1) + frame(RST_STREAM, 0, 1, b"\0\0\0\x08") + frame(DATA, 0, 1, b"x") * 2_100),
    "windows of a byte": (http2_frames.CALM, HELLO + grown(1) * 2_100),
    "a number used again": (http2_frames.CALM, HELLO + opened(3) + opened(1) * 2_100),
    "a larger frame than is taken": (http2_frames.FRAME_SIZE, HELLO + (300_000).to_bytes(3, "big") + b"\0\0\0\0\0\x01"),
    "a promise": (http2_frames.PROTOCOL, HELLO + frame(http2_frames.PUSH_PROMISE, 4, 1, b"\0\0\0\x02")),
    "resets as fast as streams": (http2_frames.CALM, HELLO + b"".join(opened(n) + frame(RST_STREAM, 0, n, b"\0\0\0\x08") for n in range(1, 4_400, 2))),
    "errors that make us reset": (http2_frames.CALM, HELLO + b"".join(opened(n) + frame(DATA, 0, n, b"\x01\0\0\0\0") for n in range(1, 4_400, 2))),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_what_breaks_http2_or_costs_too_little_ends_the_connection(name: str) -> None:
    code, data = REFUSALS[name]
    # What comes after the end counts as out of order only while the stream is answered; behind that it may have been on its way.
    with soon(5.0):  # a few hundred kilobytes must not buy seconds
        ends_with(code, data, handler=sleep if "after the end" in name else echo)


def test_more_than_the_window_ends_the_connection() -> None:
    ends_with(
        http2_frames.FLOW_CONTROL, HELLO + opened(1), frame(DATA, 0, 1, message(b"x" * 200_000)) * 21, handler=sleep
    )


def test_streams_that_are_reset_before_they_begin_leave_nothing() -> None:
    async def whole() -> None:
        async with Peer(echo) as peer:
            peer.say(HELLO)
            for start in (1, 1_001):  # under the flood, more than fits at once
                many = range(start, start + 1_000, 2)
                peer.say(b"".join(opened(n) + frame(RST_STREAM, 0, n, b"\0\0\0\x08") for n in many))
                await asyncio.sleep(0.3)
            assert not peer.lines[0].calls
            peer.say(opened(2_001), frame(DATA, 1, 2_001, message(b"hello")))
            found = await peer.hear(lambda out: any(one[1] & 1 and one[0] == HEADERS for one in out))
            assert (DATA, 0, 2_001, message(b"hello")) in found

    run(whole)


@pytest.mark.parametrize("again", [b"", frame(RST_STREAM, 0, 1, b"\0\0\0\x08")])
def test_what_is_being_written_down_is_not_cut_off(again: bytes) -> None:
    """A peer that resets twice, or resets and hangs up, must not make a decision disappear."""
    written: list[str] = []
    parting = asyncio.Event()

    async def careful(call: Any) -> None:
        try:
            while await call.read() is not None:
                pass
        finally:
            call.part()
            parting.set()
            await asyncio.sleep(0.2)
            written.append("down")

    async def whole() -> None:
        async with Peer(careful) as peer:
            peer.say(HELLO, opened(1))
            await asyncio.sleep(0.1)
            peer.say(frame(RST_STREAM, 0, 1, b"\0\0\0\x08"))
            await parting.wait()
            peer.say(again)
            await asyncio.sleep(0.05)
            peer.writer.transport.abort()
            await asyncio.sleep(0.3)
        assert written == ["down"]

    run(whole)


def test_a_handler_waits_for_messages_turns_and_others_and_is_cancelled_where_it_waits() -> None:
    """It is driven by the stream and not by a task: each kind of waiting ends with what was waited for, or with CancelledError once the peer has left."""
    seen: list[str] = []

    async def ask(call: Any) -> None:
        how = await call.read()
        try:
            if how == b"future":
                await asyncio.get_running_loop().create_future()
            elif how == b"task":
                await asyncio.ensure_future(asyncio.sleep(60))
            elif how == b"room":
                await call.write(b"x" * 70_000)
            elif how == b"turn":
                call.cancel()  # as when its own write breaks the connection
                seen.append("runs on")
                await asyncio.sleep(0)
            elif how == b"failing":
                await asyncio.ensure_future(asyncio.wait_for(asyncio.sleep(60), 0.01))
            elif how == b"well":
                await asyncio.sleep(0)
                await asyncio.ensure_future(asyncio.sleep(0.01))
                await asyncio.sleep(0.01)
            await call.read()
        except asyncio.CancelledError:
            seen.append(f"{how.decode()} cancelled")
            raise
        except TimeoutError:
            seen.append(f"{how.decode()} late")
        else:
            seen.append(f"{how.decode()} ended")

    async def whole() -> None:
        async with Peer(ask) as peer:
            peer.say(HELLO)
            ways = (b"future", b"task", b"room", b"message", b"turn", b"failing", b"well")
            for number, how in enumerate(ways):
                peer.say(opened(2 * number + 1), frame(DATA, 0, 2 * number + 1, message(how)))
            await asyncio.sleep(0.3)
            assert sorted(seen) == ["failing late", "runs on", "turn cancelled"]
            seen.clear()
            peer.say(frame(DATA, 1, 13))
            peer.say(*[frame(RST_STREAM, 0, number, b"\0\0\0\x08") for number in (1, 3, 5, 7)])
            await asyncio.sleep(0.3)
            assert sorted(seen) == [
                "future cancelled",
                "message cancelled",
                "room cancelled",
                "task cancelled",
                "well ended",
            ]
            assert not peer.lines[0].calls and not peer.lines[0].waiting

    run(whole)


def test_unread_bytes_of_all_streams_are_bounded_together() -> None:
    async def whole() -> None:
        async with Peer(sleep, room=8 << 20) as peer:
            peer.say(HELLO)
            for number in range(1, 41, 2):
                peer.say(opened(number), frame(DATA, 0, number, message(b"x" * 250_000)))
                peer.say(*[frame(DATA, 0, number, message(b"x" * 250_000))] * 3)
            found = await peer.hear(lambda out: sum(one[0] == RST_STREAM for one in out) > 2)
            assert any(b"too much" in one[3] for one in found) and peer.held.room.left >= 0
        assert peer.held.room.left == 8 << 20, "given back"

    run(whole)


def test_bodies_count_as_held_until_the_stream_ends() -> None:
    async def keep(call: Any) -> None:
        bodies = [await call.read() for _ in range(2)]
        await call.read()
        assert bodies

    async def whole() -> None:
        async with Peer(keep) as peer:
            body = message(b"x" * 1_000_000)
            pieces = [frame(DATA, 0, 1, body[at : at + 100_000]) for at in range(0, len(body), 100_000)]
            peer.say(HELLO, opened(1), frame(DATA, 0, 1, message(b"small" * 100)), *pieces)
            await asyncio.sleep(0.3)
            assert peer.held.room.left == ROOM - len(body)
        assert peer.held.room.left == ROOM

    run(whole)


def test_a_window_is_not_opened_before_what_came_is_read() -> None:
    async def whole() -> None:
        async with Peer(sleep) as peer:
            peer.say(HELLO, opened(1), *[frame(DATA, 0, 1, message(b"x" * 200_000))] * 20)
            await asyncio.sleep(0.3)
            call = peer.lines[0].calls[1]
            assert 0 <= call.room < grpc_call.WINDOW // 2
            for _ in range(20):
                assert len(await call.read() or b"") == 200_000
            assert call.room > grpc_call.WINDOW // 2

    run(whole)


def test_a_message_larger_than_the_window_comes_through() -> None:
    async def whole() -> None:
        async with Peer(echo) as peer:
            body = bytes(range(256)) * (40 << 10)  # 10 MiB
            peer.say(
                HELLO, grown(http2_frames.WIDE - 70_000), frame(SETTINGS, 0, 0, b"\0\x04\x7f\xff\xff\xff"), opened(1)
            )
            whole = message(body)
            sent, room, got = 0, grpc_call.WINDOW, b""
            while len(got) < len(whole):
                while room >= 16_000 and sent < len(whole):
                    piece = whole[sent : sent + 16_000]
                    peer.say(frame(DATA, 0, 1, piece))
                    sent, room = sent + len(piece), room - len(piece)
                for kind, _, stream, data in await peer.hear(bool):
                    room += int.from_bytes(data, "big") if kind == WINDOW_UPDATE and stream else 0
                    got += data if kind == DATA else b""
            assert got == whole

    run(whole)


def test_a_peer_that_takes_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_call, "STALL", 0.3)
    ways: list[str] = []

    async def answer(call: Any) -> None:
        try:
            await call.write(b"x" * 1_000)
        except TimeoutError:
            ways.append("late")
            raise

    async def whole() -> None:
        async with Peer(answer) as peer:
            peer.say(HELLO, frame(SETTINGS, 0, 0, b"\0\x04\0\0\0\0"), opened(1))
            await peer.hear(lambda out: any(one[0] == HEADERS and one[1] & 1 for one in out))
            assert ways == ["late"] and not peer.lines[0].waiting

    run(whole)


def test_a_window_below_zero_and_opened_again_lets_the_rest_go() -> None:
    async def whole() -> None:
        async with Peer(echo) as peer:
            peer.say(HELLO, opened(1), frame(DATA, 0, 1, message(b"y" * 60_000)))
            await peer.hear(lambda out: sum(len(one[3]) for one in out if one[0] == DATA) >= 60_000)
            peer.say(frame(SETTINGS, 0, 0, b"\0\x04\0\0\0\0"), frame(DATA, 1, 1, message(b"z" * 3_000)))
            await asyncio.sleep(0.2)
            assert peer.lines[0].calls[1].window == -60_005
            peer.say(grown(60_005, 1), grown(5_000, 1))
            found = await peer.hear(lambda out: any(one[0] == HEADERS for one in out))
            assert b"".join(one[3] for one in found if one[0] == DATA) == message(b"z" * 3_000)

    run(whole)


def test_a_peer_that_asks_and_does_not_read_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "FLOOD", 1 << 30)
    monkeypatch.setattr(http2, "OUT_CAP", 256 << 10)
    monkeypatch.setattr(http2, "PARTING", 0.2)

    async def whole() -> None:
        async with Peer(echo) as peer:
            peer.say(HELLO)
            for _ in range(400):
                peer.say(frame(http2_frames.PING, 0, 0, b"x" * 8) * 2_000)
                await asyncio.sleep(0)
                if peer.codes:
                    break
            await asyncio.wait_for(peer.lines[0].gone.wait(), 10)
            assert peer.codes == [http2_frames.CALM]

    run(whole)


def test_who_leaves_lets_streams_end_takes_those_on_their_way_and_then_no_new_ones() -> None:
    async def whole() -> None:
        async with Peer(echo) as peer:
            peer.say(HELLO, opened(1))
            await asyncio.sleep(0.1)
            peer.lines[0].leave()
            peer.say(opened(3), frame(DATA, 1, 3, message(b"on its way")))
            peer.say(frame(http2_frames.PING, 1, 0, http2.FAREWELL), opened(5), frame(DATA, 1, 1, message(b"last")))
            found = await peer.hear(lambda _: False)
            ends = [data for kind, _, _, data in found if kind == http2_frames.GOAWAY]
            assert ends == [b"\x7f\xff\xff\xff\0\0\0\0", b"\0\0\0\x03\0\0\0\0"]
            assert (DATA, 0, 3, message(b"on its way")) in found
            assert (RST_STREAM, 0, 5, b"\0\0\0\x07") in found
            assert (DATA, 0, 1, message(b"last")) in found and not peer.codes

    run(whole)


def test_who_leaves_does_not_wait_for_a_peer_that_answers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "PARTING", 0.2)

    async def whole() -> None:
        async with Peer(echo) as peer:
            peer.say(HELLO)
            await asyncio.sleep(0.1)
            peer.lines[0].leave()
            await asyncio.wait_for(peer.lines[0].gone.wait(), 2)

    run(whole)


def test_connections_are_bounded_and_idle_ones_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "CONNECTIONS", 1)
    monkeypatch.setattr(http2, "LOOK", 0.05)
    monkeypatch.setattr(http2, "IDLE", 0.3)

    async def whole() -> None:
        async with Peer(echo) as peer:
            await asyncio.sleep(0.05)
            reader, writer = await asyncio.open_connection("127.0.0.1", peer.port)
            with pytest.raises(ConnectionResetError):
                assert not await reader.read(100)
                raise ConnectionResetError
            writer.close()
            peer.say(HELLO)
            assert await peer.ended() == http2_frames.NO_ERROR
            assert peer.codes == [http2_frames.REFUSED]

    run(whole)


def test_a_greeting_may_not_be_drawn_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "LOOK", 0.05)
    monkeypatch.setattr(http2, "GREETING", 0.4)

    async def whole() -> None:
        async with Peer(echo) as peer:
            for at in range(8):
                peer.say(HELLO[at : at + 1])
                await asyncio.sleep(0.1)
                if peer.codes:
                    break
            await asyncio.wait_for(peer.lines[0].gone.wait(), 5)
            assert peer.codes == [http2_frames.PROTOCOL]

    run(whole)


def test_a_stream_that_says_nothing_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "LOOK", 0.05)
    ways: list[str] = []

    async def listen(call: Any) -> None:
        try:
            await call.read(0.2)
        except TimeoutError:
            ways.append("late")

    async def whole() -> None:
        async with Peer(listen) as peer:
            peer.say(HELLO, opened(1))
            await peer.hear(lambda out: any(one[0] == HEADERS for one in out))
            assert ways == ["late"]

    run(whole)


def test_a_peer_that_waits_for_nothing_is_read_in_turns_until_it_waits_for_something() -> None:
    async def whole() -> None:
        heard: asyncio.Queue[bytes] = asyncio.Queue()

        async def listen(call: Any) -> None:
            while (one := await call.read()) is not None:
                call.line.rests(is_awaited=one == b"answer me")
                heard.put_nowait(one)

        async with Peer(listen) as peer:
            time_of = asyncio.get_running_loop().time
            peer.say(HELLO, opened(1), frame(DATA, 0, 1, message(b"first")))
            assert await heard.get() == b"first"
            began = time_of()
            for number in range(5):
                peer.say(frame(DATA, 0, 1, message(b"%d" % number)))
                assert await heard.get() == b"%d" % number
            assert time_of() - began >= 4 * http2.REST, "late, but all is read"
            peer.say(*[frame(DATA, 0, 1, message(b"x" * 100_000))] * 20)
            assert [len(await heard.get()) for _ in range(20)] == [100_000] * 20
            peer.say(frame(DATA, 0, 1, message(b"answer me")))
            assert await heard.get() == b"answer me"
            peer.lines[0].rests(is_awaited=False)
            assert not peer.lines[0]._rests, "who waited once may wait again"

    run(whole)


def test_header_blocks_of_indexes_follow_the_table() -> None:
    """The same bytes mean something else once the table has changed, and must not be taken for what they were."""
    paths: list[str] = []

    async def note(call: Any) -> None:
        paths.append(call.path)

    async def whole() -> None:
        async with Peer(note) as peer:
            entry = b"\x83\x86\x44\x02/a"  # :path /a, into the table
            again = b"\x83\x86\xbe"  # the newest entry of the table
            blocks = [entry, again, again, b"\x83\x86\x44\x02/b", again, again]
            peer.say(HELLO, *[frame(HEADERS, 5, 2 * n + 1, block) for n, block in enumerate(blocks)])
            await peer.hear(lambda out: sum(one[0] == HEADERS for one in out) == len(blocks))
            assert paths == ["/a", "/a", "/a", "/b", "/b", "/b"]

    run(whole)


@pytest.mark.parametrize(
    "rows",
    [
        [(b"", b"x")],
        [(b"X-Big", b"x")],
        [(b"a", b"x"), (b":path", b"/")],
        [(b":path", b"/"), (b":path", b"/other")],
    ],
)
def test_headers_against_the_rules_are_none(rows: list[tuple[bytes, bytes]]) -> None:
    assert http2_frames.headers_of(rows) is None


def test_malformed_headers_reset_the_stream_alone() -> None:
    async def whole() -> None:
        async with Peer(echo) as peer:
            peer.say(HELLO, frame(HEADERS, 5, 1, OPENING + b"\0\x01A\x01x"), opened(3, 5))
            found = await peer.hear(lambda out: any(one[0] == HEADERS for one in out))
            assert (RST_STREAM, 0, 1, b"\0\0\0\x01") in found and not peer.codes

    run(whole)


KINDS = st.sampled_from(
    [DATA, DATA, HEADERS, RST_STREAM, SETTINGS, WINDOW_UPDATE, http2_frames.PING, http2_frames.CONTINUATION, 2, 7, 11]
)
PAYLOADS = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([OPENING, b"", message(b"{}"), message(b"x" * 300), b"\0\0\0\x08", b"\0\x04\0\0\0\0", b"\0\0\x40\0", b"x" * 8, b"\x3f\xe1\x1f" + OPENING]),
)  # fmt: skip


@given(
    st.lists(
        st.builds(frame, KINDS, st.sampled_from([0, 1, 4, 5, 8, 13, 36, 255]), st.integers(0, 9), PAYLOADS), max_size=40
    ),
    st.integers(1, 200),
)
@settings(max_examples=300, deadline=None)
def test_frames_by_chance_are_answered_or_refused_and_leave_nothing(frames: list[bytes], bite: int) -> None:
    async def whole() -> None:
        async with Peer(echo, room=1 << 20) as peer:
            data = HELLO + opened(1) + b"".join(frames)
            for at in range(0, len(data), bite):
                if peer.codes:
                    break
                peer.say(data[at : at + bite])
                if at % 7 == 0:
                    await asyncio.sleep(0)
            with contextlib.suppress(OSError):  # it may be over already
                peer.writer.write_eof()
                await peer.hear(lambda _: False)
        assert peer.held.room.left == 1 << 20

    run(whole)
