"""The door for an Envoy that taps: a folder in memory into which it writes what passes between it and a model, 16 KiB at a time. Nothing waits for it, and no stream is opened for a request.

In: files of Envoy's tap transport socket, one a connection, `CLUSTER_NUMBER.pb_length_delimited`, as `guard envoy-config --observe --taps FOLDER` has them written. Out: a decision for each exchange,
judged afterwards. What is read is not kept: it is taken out of the file while the connection lives, and the file is removed behind it.

Theory of operation. One process reads, the one that holds FOLDER/.lock; when it ends, another goes on from FOLDER/.marks, which says for each file where the last whole exchange ended. Files are read
in turn, record by record, and the exchanges of a record are judged before the next one is read: what cannot be judged in time waits in the folder, and when that is full Envoy writes no more
(and waits for nothing either). The rest of a connection that is cut off so, or whose bytes make no sense, is lost and counted.
A name may come again when Envoy was restarted: a file that is shorter than what was read of it, or whose bytes are no records, is read from its beginning.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import re
import stat
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
from google.protobuf.message import DecodeError

from afterguard.guard import probe
from afterguard.guard.desk import Late
from afterguard.guard.door import Given, Room, folder_of_taps
from afterguard.guard.envoy_config import cluster
from afterguard.guard.envoy_messages import TraceWrapper
from afterguard.guard.envoy_talk import FIRST, Broken, Heard, Mark, Talk
from afterguard.guard.passage import typed
from afterguard.guard.route import Route
from afterguard.wire.endpoint import endpoint

fcntl: types.ModuleType | None
try:
    import fcntl
except ImportError:  # a system without flock: one process
    fcntl = None

NAME = re.compile(r"(.{1,200})_([0-9]{1,20})\.pb_length_delimited\Z")
LOOK = 0.2
"""Seconds between two looks."""
FILES = 4_096
"""Connections that are followed at once; further ones wait."""
RECORD = 64 << 20
"""Bytes of one record: 16 KiB and one event, which is what one write or read of Envoy's carried."""
ROOM = 256 << 20
"""Bytes of exchanges under way, over all connections."""
TURN = 64
"""Records of one file before it is another's turn."""
STALE = 1_200.0
"""Seconds after which nothing more is expected of a file: longer than Envoy lets a connection be silent or live."""
GIVE_WAY = 0.005
"""Seconds between two exchanges while others are open at other doors: they are on somebody's way, and this is not."""
LONGEST = 86_400.0
"""Seconds that an exchange is believed to have taken."""
DRAIN = 5.0
"""Seconds for what is there when the guard stops."""
TORN = 10.0
"""Seconds after which half a record is not believed to become whole where the folder was full: Envoy writes nothing more into a file where that failed. Else its rest comes with the next record or the end: Envoy holds back up to 4 KiB."""
HOLE = 1 << 20
"""Bytes that are read before they are taken out of a file, where there is room."""
PAGE = 4_096
"""Bytes that can be taken out."""


class Tap:
    """One file."""

    def __init__(self, path: Path, route: Route | None, room: Room, mark: Mark) -> None:
        self.path, self.route, self.room = path, route, room
        self.offset = mark.offset
        """Up to where it was read."""
        self.hole = mark.offset
        """Up to where it was taken out."""
        self.talk = Talk(room, mark)
        self.is_broken = False
        self.is_torn = False
        """It ends with half a record."""
        self.was_full = False
        """There was no room for more of it at some time."""
        self.touched = time.monotonic()

    @property
    def done(self) -> int:
        """Up to where nothing of it is needed any more."""
        return self.offset if self.is_broken else min(self.offset, self.talk.mark.offset)

    @property
    def is_over(self) -> bool:
        """Nothing more comes of it."""
        silent = time.monotonic() - self.touched
        return self.talk.is_closed or silent > STALE or (self.is_torn and self.was_full and silent > TORN)

    def again(self) -> list[Heard]:
        """Read it from its beginning; what was under way before."""
        left = self.talk.end()
        self.offset = self.hole = 0
        self.talk, self.is_broken = Talk(self.room), False
        return left


class Record(NamedTuple):
    """A record of a file."""

    start: int
    end: int
    data: bytes


class Taps:
    """The door. Made once a process; one process at a time reads."""

    def __init__(self, given: Given, folder: str) -> None:
        self.given = given
        self.desk = given.desk
        self.folder = Path(folder)
        self.routes = {cluster(one): one for one in given.mounts.routes.values()}
        self.room = Room(ROOM)
        self.taps: dict[str, Tap] = {}
        self.is_closing = False
        self._left: set[str] = set()
        """Files that cannot be removed."""
        self._marks: dict[str, Mark] = {}
        self._kept: dict[str, Mark] = {}
        self._lock: Any = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Begin to read; 0, for there is no port. Raises UsageError."""
        folder_of_taps(self.folder)
        self._task = asyncio.get_running_loop().create_task(self._run())
        return 0

    async def close(self) -> None:
        """Judge what is there, let another process go on."""
        self.is_closing = True
        if self._task is not None:
            await self._task
        if self._lock is not None:
            self._lock.close()

    async def _run(self) -> None:
        until = 0.0
        while True:
            is_more = False
            try:
                if self._is_ours():
                    is_more = await self._look()
            except Exception as error:  # the folder may go, or be full: it is said and tried again
                self._count(f"error_{type(error).__name__}")
            if self.is_closing:
                until = until or time.monotonic() + DRAIN
                if not is_more or time.monotonic() > until:
                    return
            if not is_more:
                await asyncio.sleep(LOOK)

    def _is_ours(self) -> bool:
        if self._lock is not None or fcntl is None:
            return True
        handle = (self.folder / ".lock").open("ab")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.close()
            return False
        self._lock = handle
        self._marks = _marks(self.folder / ".marks")
        return True

    # -- the folder

    async def _look(self) -> bool:
        """Read every file a little; whether there is more."""
        self._find()
        is_more, over = False, []
        for name, tap in list(self.taps.items()):
            if name in self._left:
                continue
            is_more |= await self._read(tap)
            if tap.is_over:
                await self._cut(tap, tap.talk.end())
                over.append((name, tap))
        if self.desk.journal is not None and not await self.desk.journal.settled():
            return is_more  # first the decisions, then how far: who is killed in between judges twice
        told = os.statvfs(self.folder)  # before anything is given back: what was full is full until then
        for tap in self.taps.values():
            tap.was_full |= not told.f_bavail
        for name, tap in over:
            self._over(name, tap)
        try:
            self._keep()
        finally:  # a folder that is full has no room for the marks before
            self._give_back(HOLE if told.f_bavail > told.f_blocks // 2 else PAGE)
        return is_more

    def _find(self) -> None:
        for name in sorted(os.listdir(self.folder)):
            match = NAME.match(name)
            if match is None or name in self.taps:
                continue
            if len(self.taps) >= FILES:
                return
            route = self.routes.get(match[1])
            if route is None:
                self._count("no_mount")
            self.taps[name] = Tap(self.folder / name, route, self.room, self._marks.pop(name, FIRST))

    def _over(self, name: str, tap: Tap) -> None:
        """Remove it."""
        if not tap.talk.is_closed:
            self._count("cut")
        try:
            tap.path.unlink(missing_ok=True)
        except OSError:
            self._left.add(name)  # it would be read again and again
            self._count("not_removed")
            return
        del self.taps[name]

    def _keep(self) -> None:
        """Write down how far it was read, for who goes on."""
        now = {name: tap.talk.mark for name, tap in self.taps.items() if not tap.is_broken}
        if now == self._kept:
            return
        beside = self.folder / ".marks.new"
        beside.write_bytes(msgspec.json.encode(now))
        beside.replace(self.folder / ".marks")
        self._kept = now

    def _give_back(self, least: int) -> None:
        """Take out of the files what was read: much at once, every page where less than half of the folder is left."""
        for tap in self.taps.values():
            done = tap.done - tap.done % PAGE
            if done - tap.hole >= least:
                start, tap.hole = tap.hole, done
                try:
                    handle = _opened(tap.path)
                except OSError:
                    self._count("not_given_back")
                    continue
                _take_out(handle, start, done)
                os.close(handle)

    # -- a file

    async def _read(self, tap: Tap) -> bool:
        """A few records; whether there is more."""
        try:
            handle = _opened(tap.path)
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                self._count("unreadable_file")
            tap.touched = -STALE
            return False
        try:
            told = os.fstat(handle)
            if not stat.S_ISREG(told.st_mode) or tap.route is None:
                return False
            if told.st_size < tap.offset:
                await self._anew(tap)
            return await self._follow(handle, told.st_size, tap)
        finally:
            os.close(handle)

    async def _follow(self, handle: int, size: int, tap: Tap) -> bool:
        try:
            for count, record in enumerate(_records(handle, tap.offset, size)):
                if count == TURN:
                    return True
                tap.touched = time.monotonic()
                await self._record(tap, record)
                tap.offset = record.end
                if tap.talk.mark.offset == record.start and not tap.talk.open:
                    tap.talk.mark = Mark(record.end, tap.talk.mark.seq)
                await asyncio.sleep(0)
        except DecodeError:
            if tap.is_broken:
                tap.offset = size
            else:
                await self._anew(tap)
                tap.is_broken = True  # once: what is no trace from its beginning is none
        tap.is_torn = tap.offset < size
        return False

    async def _record(self, tap: Tap, record: Record) -> None:
        """Raises DecodeError."""
        segment = TraceWrapper.FromString(record.data).socket_streamed_trace_segment
        kind = segment.WhichOneof("one")
        if kind is None:
            tap.is_broken = False  # the first record of a connection tells of its ends only
            return
        for event in segment.events.events if kind == "events" else [segment.event]:
            if tap.is_broken:
                tap.talk.is_closed |= event.WhichOneof("one") == "closed"
                continue
            try:
                found = tap.talk.take(event, record.start)
            except Broken as error:
                tap.is_broken = True
                self._count(f"unreadable_{error}")
                await self._cut(tap, [*tap.talk.done, *tap.talk.end()])
                continue
            for one in found:
                await self._judge(tap, one)

    async def _anew(self, tap: Tap) -> None:
        self._count("cut")
        await self._cut(tap, tap.again())

    async def _cut(self, tap: Tap, left: list[Heard]) -> None:
        """Exchanges that will not be whole."""
        for one in left:
            await self._judge(tap, one)

    async def _judge(self, tap: Tap, one: Heard) -> None:
        """Judge an exchange and write it down."""
        if tap.route is None or not one.method:
            one.leave()
            self._count("cut")
            return
        late = self._late(tap.route, one)
        try:
            await self.desk.settle(late)
        finally:
            one.leave()
        self._count("taken")
        await asyncio.sleep(GIVE_WAY if self.desk.open and not self.is_closing else 0)

    def _late(self, route: Route, one: Heard) -> Late:
        path, _, query = one.target.decode("latin-1").partition("?")
        base = urlsplit(route.upstream).path.rstrip("/")
        below = path[len(base) :] if path == base or path.startswith(base + "/") else path
        session = self.desk.session(route, endpoint(route.kind, one.method, below, query), one.asked.headers)
        session.only_look()
        session.status = one.status
        for words, side in ((one.asked, "request"), (one.given, "response")):
            if words.cut:
                session.parts.skip(words.cut, side, words.cut_size)
            elif not words.is_whole:
                session.parts.skip("truncated", side)
        kind, encoding = typed(one.given.headers)
        asked = next((value.decode("latin-1") for name, value in one.asked.headers if name == b"content-encoding"), "")
        now, took = time.perf_counter(), min(max(0.0, one.ended - one.began), LONGEST)
        cell = probe.sent(one.asked.headers, self.desk.brain.key, one.began)
        return Late(
            session, b"".join(one.asked.pieces), asked, one.status, kind, encoding, one.given.pieces,
            one.asked.size + one.given.size, now - took, now, one.began, cell,
        )  # fmt: skip

    def _count(self, outcome: str) -> None:
        self.desk.metrics.add("afterguard_collected_total", "envoy_tap", outcome)


def _opened(path: Path) -> int:
    """To read, and to take out what was read where that is allowed."""
    flags = os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        return os.open(path, os.O_RDWR | flags)
    except PermissionError:
        return os.open(path, os.O_RDONLY | flags)


def _records(handle: int, offset: int, size: int) -> Iterator[Record]:
    """The whole records of a file from `offset`. Raises DecodeError."""
    while offset < size:
        head = os.pread(handle, 10, offset)
        length, used = varint(head)
        if not used:
            if len(head) == 10:
                raise DecodeError("no length")
            return
        if length > RECORD:
            raise DecodeError("a record too long")
        end = offset + used + length
        if end > size:
            return
        yield Record(offset, end, os.pread(handle, length, offset + used))
        offset = end


def varint(data: bytes) -> tuple[int, int]:
    """(number at the beginning, bytes of it), 0 bytes where it does not end."""
    value = 0
    for place, byte in enumerate(data[:10]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, place + 1
    return 0, 0


def _marks(file: Path) -> dict[str, Mark]:
    """What the reader before wrote down."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, Mark])
    except (OSError, msgspec.MsgspecError):
        return {}


def _take_out(handle: int, start: int, end: int) -> None:
    """Give the memory of these bytes back, where the system can (Linux: fallocate, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE); else it comes back with the file."""
    with contextlib.suppress(AttributeError, OSError):
        fallocate = ctypes.CDLL(None, use_errno=True).fallocate
        fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_longlong, ctypes.c_longlong]
        fallocate(handle, 3, start, end - start)
