"""Fuzzing of the guard's HTTP/2 (guard/http2.py): valid conversations, then frames changed, doubled, reordered and left out, bytes flipped, cut at any place, over several connections of one process, while time passes.

    python bench/fuzz_http2.py [--seconds 3600] [--seed 1] [--folder bench/out/fuzz-http2] [--replay FILE]

The connection runs on an event loop whose clock is an argument, behind a transport that keeps what is written. After each conversation: no exception came out, what was written is frames, nothing follows the farewell, every handler is over,
no byte counts as held, no task and no timer that does something is left; a conversation that nobody changed is echoed whole. In between: the process does not grow. What breaks this is written down as a file that `--replay` takes, made smaller first, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from afterguard.guard import grpc_call, http2, http2_frames
from afterguard.guard.http2_frames import (
    CONTINUATION,
    DATA,
    GOAWAY,
    HEADERS,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
)

OPENING = b"\x83\x86\x44\x04/a/%d\x41\x01x"
"""`:method POST`, `:scheme http`, `:path /a/N`, `:authority x` in HPACK: the path says what the handler does."""
KNOWN = b"\x83\x86\xbf\xbe"
"""The same by what the table remembers, as Envoy says it from the second stream on."""
ROOM = 12 << 20
CAP = 1 << 20
SIZES = (0, 1, 50, 50, 50, 3_000, 3_000, 70_000, 900_000)
http2.CONNECTIONS = 3
GROWTH = 64 << 20
"""Bytes that the process may grow after its first minute."""
SLOW = 5.0
"""Seconds of processor time that no conversation may take."""
ECHO = 0


class Step(NamedTuple):
    """One thing that happens: bytes, or `lost`, `paused`, `resumed`, `leave`, or seconds that pass."""

    line: int
    what: str
    data: bytes = b""
    seconds: float = 0.0


class Talk(NamedTuple):
    """One conversation."""

    steps: list[Step]
    replies: dict[tuple[int, int], bytes] | None
    """Of a conversation that nobody changed: connection and stream -> what it has to echo."""


# -- the loop and the wire


class Clock(asyncio.SelectorEventLoop):
    """An event loop whose time only passes when it is told to."""

    now = 1_000.0

    def time(self) -> float:
        return self.now


class Wire(asyncio.Transport):
    """Keeps what is written, and closes like a socket."""

    def __init__(self, loop: asyncio.AbstractEventLoop, line: http2.Connection) -> None:
        super().__init__()
        self.loop, self.line = loop, line
        self.out = bytearray()
        self.waiting = 0
        self.is_over = False

    def write(self, data: Any) -> None:
        assert not self.is_over or self.line._is_closed, "written after the end"
        self.out += data
        if self.line.is_paused:
            self.waiting += len(data)

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return self.is_over

    def close(self) -> None:
        if not self.is_over:
            self.is_over = True
            self.loop.call_soon(self.line.connection_lost, None)

    abort = close


async def handle(call: grpc_call.Call) -> None:
    """What a handler may do, by the path."""
    kind = int(call.path.rpartition("/")[2] or 0) % 8 if call.path.rpartition("/")[2].isdigit() else 0
    if kind == 1:
        await asyncio.sleep(3_600)
    if kind == 2:
        raise grpc_call.Refused(grpc_call.INVALID, "no\n\x00é" * 40)
    if kind == 3:
        raise ValueError("a fault of the handler")
    if kind == 4:
        return
    if kind == 5:  # writing down what was
        call.part()
        await asyncio.sleep(5.0)
        return
    while (one := await call.read(20.0)) is not None:
        if kind == 6:
            await asyncio.sleep(1.0)
        if kind == 7:
            await call.write(b"y" * 100_000)
        await call.write(one)


# -- valid conversations


def settings(rng: random.Random) -> bytes:
    rows = [
        (3, 100),
        (4, rng.choice((0, 1, 1_000, 65_535, 1 << 20))),
        (5, rng.choice((16_384, 1 << 18, (1 << 24) - 1))),
        (1, rng.choice((0, 4_096))),
    ]
    return frame(SETTINGS, 0, 0, b"".join(key.to_bytes(2, "big") + value.to_bytes(4, "big") for key, value in rng.sample(rows, rng.randrange(4))))  # fmt: skip


def stream(rng: random.Random, number: int, kind: int, is_whole: bool) -> tuple[list[bytes], bytes]:
    """The frames of one stream, and what it says."""
    block = OPENING % kind
    if rng.random() < 0.3:  # a header that is remembered, as clients have them
        block += b"\x40\x03abc\x03def"
    if not is_whole and rng.random() < 0.3:
        block = KNOWN
    frames: list[bytes] = []
    cut = rng.randrange(1, len(block))
    if rng.random() < 0.3:
        frames += [frame(HEADERS, 0, number, block[:cut]), frame(CONTINUATION, 4, number, block[cut:])]
    elif rng.random() < 0.3:
        frames.append(frame(HEADERS, 4 | 8 | 32, number, b"\x03" + b"\0\0\0\0\x10" + block + b"\0\0\0"))
    else:
        frames.append(frame(HEADERS, 4, number, block))
    bodies = [
        rng.randbytes(rng.choice(SIZES[:-1] if is_whole else SIZES)) for _ in range(rng.choice((0, 1, 2, 3, 3, 12)))
    ]
    said = b"".join(b"\0" + len(one).to_bytes(4, "big") + one for one in bodies)
    at = 0
    while at < len(said):
        size = rng.choice((1, 5, 300, 5_000, 60_000, 60_000))
        piece, at = said[at : at + size], at + size
        frames.append(frame(DATA, 8, number, b"\x02" + piece + b"\0\0") if rng.random() < 0.1 else frame(DATA, 0, number, piece))  # fmt: skip
        if len(frames) > 300:
            frames += [frame(DATA, 0, number, said[place : place + 200_000]) for place in range(at, len(said), 200_000)]
            break
    frames.append(frame(HEADERS, 5, number, b"\0\x01t\x01v") if rng.random() < 0.2 else frame(DATA, 1, number))
    return frames, said


def conversation(rng: random.Random, line: int, is_whole: bool) -> tuple[list[bytes], dict[tuple[int, int], bytes]]:
    """Frames of several streams, woven into each other, blocks whole."""
    several = []
    replies = {}
    for number in range(1, 2 * rng.randrange(1, 6), 2):
        kind = ECHO if rng.random() < 0.5 else rng.randrange(8)
        frames, said = stream(rng, number, kind, is_whole)
        several.append(frames)
        if kind == ECHO:
            replies[line, number] = said
    others = [frame(PING, 0, 0, b"12345678"), frame(WINDOW_UPDATE, 0, 0, (1 << 20).to_bytes(4, "big")), frame(PRIORITY, 0, 1, b"\0\0\0\0\x05"), frame(SETTINGS, 1, 0), frame(99, 7, 3, b"what nobody knows")]  # fmt: skip
    out = [http2_frames.PREFACE, settings(rng)]
    begun = 0
    open_block = False
    while any(several):
        if not open_block and rng.random() < 0.1:
            out.append(rng.choice(others))
        places = [place for place, some in enumerate(several[: begun + 1]) if some]
        place = begun if open_block else rng.choice(places or [begun])
        one = several[place].pop(0)
        out.append(one)
        open_block = one[3] == HEADERS and not one[4] & 4
        if place == begun and not open_block:
            begun = min(begun + 1, len(several) - 1)
    out += [frame(WINDOW_UPDATE, 0, 0, (1 << 29).to_bytes(4, "big"))]
    return out, replies


# -- changes


def changed(rng: random.Random, frames: list[bytes]) -> list[bytes]:
    """Some of them otherwise."""
    frames = list(frames)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        at = rng.randrange(len(frames))
        way = rng.randrange(9) if rng.random() < 0.99 else 9
        one = bytearray(frames[at])
        if way == 0 and one:
            one[rng.randrange(len(one))] ^= 1 << rng.randrange(8)
        elif way == 1 and one:
            one[rng.randrange(min(9, len(one)))] = rng.choice((0, 1, 2, 4, 5, 8, 9, 32, 127, 128, 255))
        elif way == 2:
            del one[rng.randrange(len(one) + 1) :]
        elif way == 3:
            frames.insert(at, bytes(one))
            continue
        elif way == 4:
            other = rng.randrange(len(frames))
            frames[at], frames[other] = frames[other], frames[at]
            continue
        elif way == 9 and len(one) < 100:  # a flood
            frames[at:at] = [bytes(one)] * 2_100
            continue
        elif way == 5 and len(frames) > 1:
            del frames[at]
            continue
        elif way == 6:
            frames.insert(at, any_frame(rng))
            continue
        elif way == 7 and len(one) > 9:  # another payload of the right length
            one[9:] = rng.randbytes(len(one) - 9)
        else:
            one[:3] = rng.choice((0, 4, 5, 9, 16_384, 262_144, 262_145, 1 << 23)).to_bytes(3, "big")
        frames[at] = bytes(one)
    return frames


def any_frame(rng: random.Random) -> bytes:
    """One that may be anything."""
    kind = rng.choice((*range(10), 10, 255))
    number = rng.choice((0, 1, 2, 3, 5, 7, 9, 99, (1 << 31) - 1))
    if kind in (RST_STREAM, WINDOW_UPDATE):
        return frame(kind, 0, number, rng.choice((0, 1, 8, 65_536, (1 << 31) - 1, (1 << 32) - 1)).to_bytes(4, "big"))
    if kind == SETTINGS:
        key, value = rng.choice((1, 2, 3, 4, 5, 6, 99)), rng.choice((0, 1, 16_384, 65_535, (1 << 24) - 1, (1 << 31) - 1, (1 << 32) - 1))  # fmt: skip
        return frame(
            SETTINGS, rng.choice((0, 0, 1)), rng.choice((0, 0, 0, 1)), key.to_bytes(2, "big") + value.to_bytes(4, "big")
        )
    if kind == PING:
        return frame(PING, rng.choice((0, 1)), 0, rng.choice((http2.FAREWELL, b"12345678", b"1")))
    block = OPENING % rng.randrange(9) if rng.random() < 0.5 else rng.randbytes(rng.randrange(60))
    return frame(kind, rng.choice((0, 1, 4, 5, 8, 13, 32, 45, 255)), number, block)


def cut(rng: random.Random, data: bytes) -> list[bytes]:
    """The bytes in pieces."""
    if rng.random() < 0.2:
        return [data]
    if len(data) < 600 and rng.random() < 0.5:
        return [data[at : at + 1] for at in range(len(data))]
    places = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(40)))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


def talk(rng: random.Random) -> Talk:
    """One conversation over one to four connections."""
    is_whole = rng.random() < 0.15
    lines: list[list[Step]] = []
    replies: dict[tuple[int, int], bytes] = {}
    for line in range(rng.choice((1, 1, 2, 3) if is_whole else (1, 1, 2, 4))):
        frames, said = conversation(rng, line, is_whole)
        replies |= said
        data = b"".join(frames if is_whole else changed(rng, frames))
        lines.append([Step(line, "data", piece) for piece in cut(rng, data)])
    steps: list[Step] = []
    while any(lines):
        some = rng.choice([one for one in lines if one])
        steps.append(some.pop(0))
        if rng.random() < 0.1:
            steps.append(Step(0, "time", seconds=0.0 if is_whole else rng.choice((0.0, 1.1, 11.0, 31.0, 1_000.0))))
        if not is_whole and rng.random() < 0.05:
            steps.append(Step(some[0].line if some else 0, rng.choice(("lost", "paused", "resumed", "leave"))))
    return Talk(steps, replies if is_whole else None)


# -- what must hold


async def settle(loop: Clock, seconds: float = 0.0) -> None:
    """Let everything run that can, and then so much time pass."""
    loop.now += seconds
    for _ in range(6):
        await asyncio.sleep(0)


async def held(loop: Clock, one: Talk) -> None:
    """Run it; AssertionError, or whatever came out, where something does not hold."""
    faults: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, told: faults.append(told))
    room = http2.Held(ROOM)
    count = 1 + max((step.line for step in one.steps), default=0)
    lines = [http2.Connection(handle, CAP, room) for _ in range(count)]
    wires = [Wire(loop, line) for line in lines]
    for line, wire in zip(lines, wires, strict=True):
        line.connection_made(wire)
    for step in one.steps:
        line, wire = lines[step.line], wires[step.line]
        if step.what == "time":
            await settle(loop, step.seconds)
        elif line.gone.is_set():
            continue
        elif step.what == "data":
            line.data_received(step.data)
            await asyncio.sleep(0)
        elif step.what == "lost":
            wire.close()
            await settle(loop)
        elif step.what == "leave":
            line.leave()
        elif step.what == "paused":
            line.pause_writing()
        else:
            wire.waiting = 0
            line.resume_writing()
        assert room.room.left >= 0, "more held than there is room"
    if one.replies is not None:
        await over(loop, one.replies, wires)
    await settle(loop, 1.5)
    for wire in wires:
        wire.close()
    for _ in range(8):  # a handler that is writing down what was has its own time-outs
        await settle(loop, 40.0)
    for line, wire in zip(lines, wires, strict=True):
        assert not line.calls and not line.waiting, f"streams left: {list(line.calls)}"
        written(bytes(wire.out))
    assert room.room.left == ROOM, f"{ROOM - room.room.left} bytes still count as held"
    assert not room.lines, "connections left"
    assert len(asyncio.all_tasks(loop)) == 1, "tasks left"
    assert not faults, faults


async def over(loop: Clock, replies: dict[tuple[int, int], bytes], wires: list[Wire]) -> None:
    """Each stream that nobody changed has its own bytes back."""
    for _ in range(40):
        await settle(loop, 0.0)
        for wire in wires:
            if not wire.is_over and not wire.line.is_leaving:  # a peer that reads opens windows
                wire.line.data_received(frame(WINDOW_UPDATE, 0, 0, (1 << 16).to_bytes(4, "big")) + b"".join(frame(WINDOW_UPDATE, 0, number, (1 << 20).to_bytes(4, "big")) for number in list(wire.line.calls)))  # fmt: skip
    for (line, number), said in replies.items():
        got = b"".join(
            data for kind, _, stream_, data in written(bytes(wires[line].out)) if kind == DATA and stream_ == number
        )
        assert got == said, f"stream {number} of connection {line}: {len(got)} of {len(said)} bytes came back"


def written(data: bytes) -> list[tuple[int, int, int, bytes]]:
    """What was written, as frames; nothing after a farewell that ends all."""
    out = []
    at = 0
    while at < len(data):
        assert len(data) - at >= 9, "half a frame was written"
        size = int.from_bytes(data[at : at + 3], "big")
        assert len(data) - at - 9 >= size and size <= http2.FRAME_CAP, "a frame that is cut or too large"
        assert not out or out[-1][0] != GOAWAY or out[-1][3][4:8] == bytes(4), "something follows the farewell"
        out.append(
            (data[at + 3], data[at + 4], int.from_bytes(data[at + 5 : at + 9], "big"), data[at + 9 : at + 9 + size])
        )
        at += 9 + size
    return out


def broken(one: Talk) -> str:
    """Why it does not hold, or ""."""
    loop = Clock()
    asyncio.set_event_loop(loop)
    began = time.process_time()
    try:
        loop.run_until_complete(held(loop, one))
        return "" if time.process_time() - began < SLOW else "it took too long"
    except Exception as error:  # whatever comes out is the finding
        return f"{type(error).__name__}: {str(error)[:2_000]}"
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def smaller(one: Talk, why: Callable[[Talk], str]) -> Talk:
    """Fewer steps that break it as well."""
    steps, size = one.steps, max(1, len(one.steps) // 2)
    while size:
        at = 0
        while at < len(steps):
            less = Talk(steps[:at] + steps[at + size :], one.replies)
            if one.replies is None and less.steps and why(less):
                steps = less.steps
            else:
                at += size
        size //= 2
    return Talk(steps, one.replies)


def write(folder: Path, one: Talk, why: str, seed: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{seed}.json"
    path.write_text(
        json.dumps({"why": why, "steps": [[s.line, s.what, s.data.hex(), s.seconds] for s in one.steps]}, indent=1)
    )
    return path


def replay(path: Path) -> Talk:
    return Talk([Step(line, what, bytes.fromhex(data), seconds) for line, what, data, seconds in json.loads(path.read_text())["steps"]], None)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3_600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("bench/out/fuzz-http2"))
    parser.add_argument("--replay", type=Path)
    chosen = parser.parse_args()
    if chosen.replay:
        sys.exit(broken(replay(chosen.replay)) or 0)
    until = time.monotonic() + chosen.seconds
    runs = found = said = 0
    first = 0
    while time.monotonic() < until and found < 20:
        name = f"{chosen.seed}-{runs}"
        one = talk(random.Random(name))
        why = broken(one)
        runs += 1
        if why:
            found += 1
            print(f"{name}: {why}\n  {write(chosen.folder, smaller(one, broken), why, name)}", flush=True)
        if runs % 500 == 0:
            gc.collect()
            resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
            first = first or (resident if runs >= 2_000 else 0)
            if first and resident - first > GROWTH:
                sys.exit(f"the process grew from {first >> 20} to {resident >> 20} MiB")
            if time.monotonic() > until - chosen.seconds + 60 * (said + 1):
                said += 1
                print(f"{runs:,} conversations, {found} faults, {resident >> 20} MiB", flush=True)
    print(f"{runs:,} conversations, {found} faults")
    if found:
        sys.exit(1)


if __name__ == "__main__":
    main()
