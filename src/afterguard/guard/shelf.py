"""Where approvals are kept: a file in the guard's folder for all processes of a host, or Redis (Valkey) for all replicas.

In: entries of approvals.py. Out: the same, for every process; a use that only one of them gets. It judges no entry but what it must: whether one is approved when a use of it is taken.

Theory of operation. The file is written anew and renamed over the old one, under a lock beside it; readers take no lock. In Redis what was asked, what was
settled and how often that was used are three hashes: guards write only the first, persons only the second, and a use is counted up in the third by one caller at a time. Another key counts
changes, so that a look costs one number while nothing happens. All keys are named after the guard's key, so that guards with another one do not meet.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from afterguard.guard.approvals import Approval, Shelf, is_genuine, surplus

fcntl: types.ModuleType | None
try:
    import fcntl
except ImportError:  # a system without flock: one process
    fcntl = None

NAME = "approvals.json"
FORMAT = "afterguard.approvals/1"
CAP = 64 << 20
"""Bytes of the file that are read."""
PATIENCE = 0.05
"""Seconds for which a use may keep an exchange waiting for Redis."""
LOOK = 1.0
"""Seconds that a look at everything may take; no exchange waits for that."""
TRIES = 20
change_of = Callable[[Approval], Approval]


class Kept(msgspec.Struct, omit_defaults=True):
    """What the file holds."""

    format: str = FORMAT
    dropped: int = 0
    approvals: list[Approval] = []


class InFile:
    """See Shelf."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._seen: tuple[int, int, int] | None = None

    def load(self) -> list[Approval] | None:
        """See Shelf."""
        stamp = self._stamp()
        if stamp == self._seen:
            return None
        found = self._read().approvals
        self._seen = stamp
        return found

    def add(self, new: Sequence[Approval], now: float) -> int:
        """See Shelf."""
        with self._changing() as kept:
            held = {one.id: one for one in kept.approvals}
            held.update((one.id, one) for one in new if one.id not in held or not held[one.id].verdict)
            gone, old = surplus(held.values(), now)
            kept.approvals = [one for one in held.values() if one.id not in gone and one.id not in old]
            kept.dropped += len(gone)
        return len(gone)

    def settle(self, identifier: str, change: change_of) -> Approval | None:
        """See Shelf."""
        with self._changing() as kept:
            return _changed(kept, identifier, change)

    def claim(self, identifier: str, now: float, key: bytes) -> Approval | None:
        """See Shelf."""
        with self._changing() as kept:
            one = next((one for one in kept.approvals if one.id == identifier), None)
            if one is None or one.state(now) != "approved" or not is_genuine(one, key):
                return None
            return _changed(kept, identifier, lambda one: _used(one, one.used + 1, now))

    def dropped(self) -> int:
        """See Shelf."""
        return self._read().dropped

    @contextlib.contextmanager
    def _changing(self) -> Iterator[Kept]:
        """What is kept, for this process alone; written where it differs afterwards."""
        with _locked(self.path.with_name(self.path.name + ".lock")):
            kept = self._read()
            before = list(kept.approvals)
            yield kept
            if kept.approvals != before:
                _replace(self.path, msgspec.json.encode(kept))

    def _read(self) -> Kept:
        try:
            with self.path.open("rb") as handle:
                return msgspec.json.decode(handle.read(CAP), type=Kept)
        except FileNotFoundError:
            return Kept()

    def _stamp(self) -> tuple[int, int, int]:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return 0, 0, 0
        return found.st_ino, found.st_mtime_ns, found.st_size


def _changed(kept: Kept, identifier: str, change: change_of) -> Approval | None:
    for number, one in enumerate(kept.approvals):
        if one.id == identifier:
            kept.approvals[number] = made = change(one)
            return made
    return None


def _used(one: Approval, used: int, now: float) -> Approval:
    return msgspec.structs.replace(one, used=used, last_used=now)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        _give(path)
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _replace(path: Path, data: bytes) -> None:
    """The file anew, whole or not at all, and on disk before it counts."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        _give(scratch)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def _give(path: Path) -> None:
    """What an administrator makes belongs to whom the folder belongs, or the guard could not read it."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


class InRedis:
    """See Shelf. Any call may raise what the client library raises."""

    def __init__(self, url: str, key: bytes, patience: float = PATIENCE) -> None:
        import redis

        def client(seconds: float) -> Any:
            return redis.Redis.from_url(url, socket_timeout=seconds, socket_connect_timeout=seconds)

        self._redis, self._quick = client(max(patience, LOOK)), client(patience)
        self._written_meanwhile: Any = redis.WatchError
        base = "afterguard:approvals:" + hmac.digest(key, b"afterguard approvals", "sha256").hex()[:16]
        self.asked, self.settled, self.uses = base, base + ":settled", base + ":uses"
        self.changes, self.gone = base + ":changes", base + ":dropped"
        self._seen: bytes | None = b"never"

    def load(self) -> list[Approval] | None:
        """See Shelf."""
        changes = self._redis.get(self.changes)
        if changes == self._seen:
            return None
        found = self._every()
        self._seen = changes
        return found

    def _every(self) -> list[Approval]:
        pipe = self._redis.pipeline(transaction=True)
        asked, settled, uses = pipe.hgetall(self.asked).hgetall(self.settled).hgetall(self.uses).execute()
        return [_read(data, uses.get(name), uses.get(name + AT)) for name, data in (asked | settled).items()]

    def add(self, new: Sequence[Approval], now: float) -> int:
        """See Shelf."""
        pipe = self._redis.pipeline(transaction=True)
        pipe.hset(self.asked, mapping={one.id: msgspec.json.encode(one) for one in new}).incr(self.changes).execute()
        waiting, old = surplus(self._every(), now)
        # Where another replica removes the same ones, each is counted by one of them.
        gone = int(self._redis.hdel(self.asked, *waiting)) if waiting else 0
        if gone:
            pipe.incrby(self.gone, gone)
        if old:
            uses = [name for one in old for name in (one, one + AT.decode())]
            pipe.hdel(self.asked, *old).hdel(self.settled, *old).hdel(self.uses, *uses)
        if gone or old:
            pipe.incr(self.changes).execute()
        return gone

    def settle(self, identifier: str, change: change_of) -> Approval | None:
        """See Shelf."""
        for _ in range(TRIES):
            with self._redis.pipeline() as pipe, contextlib.suppress(self._written_meanwhile):
                pipe.watch(self.settled)
                data = pipe.hget(self.settled, identifier) or pipe.hget(self.asked, identifier)
                if data is None:
                    return None
                uses = pipe.hmget(self.uses, identifier, identifier.encode() + AT)
                made = change(_read(data, *uses))
                pipe.multi()
                pipe.hset(self.settled, identifier, msgspec.json.encode(made)).incr(self.changes)
                if not made.used:
                    pipe.hdel(self.uses, identifier)
                pipe.execute()
                return made
        raise TimeoutError("others settle something all the time")

    def claim(self, identifier: str, now: float, key: bytes) -> Approval | None:
        """See Shelf. A use is counted before it is known whether there is one left: counting is what only one caller can do at a time."""
        name = identifier.encode()
        pipe = self._quick.pipeline(transaction=True)
        pipe.hget(self.settled, name).hincrby(self.uses, name, 1).hset(self.uses, name + AT, repr(now)).incr(
            self.changes
        )
        data, count, *_ = pipe.execute()
        one = None if data is None else msgspec.json.decode(data, type=Approval)
        if one is None or _used(one, count - 1, now).state(now) != "approved" or not is_genuine(one, key):
            return None
        return _used(one, count, now)

    def dropped(self) -> int:
        """See Shelf."""
        return int(self._redis.get(self.gone) or 0)


AT = b" at"
"""Behind an id: when a use was last taken."""


def _read(data: bytes, used: bytes | None, when: bytes | None) -> Approval:
    """An entry with its uses, which stand beside it."""
    one = msgspec.json.decode(data, type=Approval)
    return one if used is None else _used(one, min(int(used), one.uses), float(when or 0))


def shelf(folder: Path, redis: str, key: bytes, patience: float = PATIENCE) -> Shelf:
    """Redis where the guard has one, else the file in its folder."""
    return InRedis(redis, key, patience) if redis else InFile(folder)
