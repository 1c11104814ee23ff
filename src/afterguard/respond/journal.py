"""What was done, written before it is done: JSON lines, each chained to the one before by its hash and signed (Ed25519).

In: entries. Out: a file that anybody can verify offline with the public key in its first line. It is on disk before `write` returns. A torn last line was never acted upon: it is cut off and that is
written down. It judges nothing.
"""

from __future__ import annotations

import hashlib
import os
import time
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from afterguard.errors import UsageError

fcntl: types.ModuleType | None
try:
    import fcntl
except ImportError:  # a system without flock: one process
    fcntl = None

FORMAT = "afterguard.journal/1"
CAP = 64 << 20
PATIENCE = 1.0
"""Seconds to wait for another process."""


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line."""

    n: int
    at: float
    what: str
    """opened, planned, drill, requested, approved, denied, break_glass, asked, answered, begun, done, partly, failed, unsure, skipped, undo_begun, undo_partly, undone, expired, torn, ended."""
    who: str
    act: str = ""
    text: str = ""
    body: dict[str, Any] = {}
    before: str = ""
    """Hash of the line before."""
    hash: str = ""
    signature: str = ""


class Verified(NamedTuple):
    """What a look at a journal found."""

    lines: tuple[Line, ...]
    key: str
    problems: tuple[str, ...]
    torn: int
    """Bytes at the end that are no whole line."""

    @property
    def head(self) -> str:
        """Hash of the last line: kept elsewhere, it shows whether lines were taken off the end."""
        return self.lines[-1].hash if self.lines else ""


def verify(data: bytes, trusted: Sequence[str] = (), head: str = "") -> Verified:
    """Whether a journal is whole and signed; `trusted` keys, none: the one it names itself. Raises nothing."""
    whole, _, tail = data.rpartition(b"\n")
    lines: list[Line] = []
    problems: list[str] = []
    for number, raw in enumerate(whole.split(b"\n") if whole else []):
        try:
            lines.append(msgspec.json.decode(raw, type=Line))
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            problems.append(f"line {number + 1} cannot be read: {str(error)[:100]}")
            break
    key = str(lines[0].body.get("key", "")) if lines else ""
    if not lines or lines[0].body.get("format") != FORMAT:
        problems.append("it is no journal of afterguard respond")
    if trusted and key not in trusted:
        problems.append("it is signed with a key that is not trusted")
    problems += _broken(lines, key)
    if head and not problems and (not lines or head not in (one.hash for one in lines)):
        problems.append("lines are missing at its end: the hash kept elsewhere is not in it")
    return Verified(tuple(lines), key, tuple(problems), len(tail))


def _broken(lines: Sequence[Line], key: str) -> Iterator[str]:
    before = ""
    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
    except ValueError:
        yield "it names no key"
        return
    for number, one in enumerate(lines):
        if one.n != number or one.before != before:
            yield f"line {number + 1} does not follow the one before"
            return
        if hashed(one) != one.hash:
            yield f"line {number + 1} was changed"
            return
        try:
            public.verify(bytes.fromhex(one.signature), one.hash.encode())
        except (ValueError, InvalidSignature):
            yield f"line {number + 1}: its signature does not hold"
            return
        before = one.hash


def hashed(one: Line) -> str:
    """Hash of everything in a line but its hash and signature."""
    bare = msgspec.structs.replace(one, hash="", signature="")
    return hashlib.sha256(msgspec.json.encode(msgspec.to_builtins(bare), order="sorted")).hexdigest()


class Written(NamedTuple):
    """A journal that is only read: a dry run writes nothing."""

    lines: list[Line]


class Journal:
    """An open journal. One process at a time; `close` when done."""

    def __init__(self, path: Path, key: Ed25519PrivateKey, *, case: str, who: str, now: float) -> None:
        """Raises UsageError where another process has it, or it does not verify."""
        self.path, self.key = path, key
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._lock()
            found = self._read()
            self.lines = list(found.lines)
            if found.torn:
                os.ftruncate(self._file, self._size - found.torn)
            os.lseek(self._file, 0, os.SEEK_END)
            if not self.lines:
                self.write("opened", who, now, body={"format": FORMAT, "key": public_of(key), "case": case})
            if found.torn:
                self.write(
                    "torn", who, now, text=f"{found.torn} bytes of a line that was never acted upon were cut off"
                )
        except BaseException:
            os.close(self._file)
            raise

    def _lock(self) -> None:
        if fcntl is None:
            return
        until = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError:
                if time.monotonic() < until:
                    time.sleep(0.02)  # a command that a killed run was just starting holds it for a moment
                    continue
            raise UsageError(f"{self.path} is being written by another run", hint="wait for it, or end it", slug="journal-busy")  # fmt: skip

    def _read(self) -> Verified:
        self._size = os.fstat(self._file).st_size
        if self._size > CAP:
            raise UsageError(f"{self.path} is above {CAP >> 20} MiB", hint="begin a new case", slug="bad-journal")
        data = os.pread(self._file, self._size, 0)
        if not data or b"\n" not in data:
            return Verified((), "", (), len(data))
        found = verify(data, [public_of(self.key)])
        if found.problems:
            raise UsageError(
                f"{self.path}: {found.problems[0]}",
                hint="keep it as evidence, find out who changed it; a new run needs a new case",
                slug="bad-journal",
            )
        return found

    def write(
        self, what: str, who: str, at: float, *, act: str = "", text: str = "", body: dict[str, Any] | None = None
    ) -> Line:
        """Append a line; it is on disk when this returns."""
        before = self.lines[-1].hash if self.lines else ""
        bare = Line(len(self.lines), at, what, who[:300], act, text[:2_000], body or {}, before)
        # As it will be read again: a float that JSON spells otherwise would change the hash.
        bare = msgspec.json.decode(msgspec.json.encode(bare), type=Line)
        mark = hashed(bare)
        line = msgspec.structs.replace(bare, hash=mark, signature=self.key.sign(mark.encode()).hex())
        data = msgspec.json.encode(line) + b"\n"
        while data:
            data = data[os.write(self._file, data) :]
        os.fsync(self._file)
        self.lines.append(line)
        return line

    def of(self, act: str) -> list[Line]:
        """What was written of one act."""
        return [one for one in self.lines if one.act == act]

    def close(self) -> None:
        """Let it go."""
        os.close(self._file)


def public_of(key: Ed25519PrivateKey) -> str:
    """Public half of a key, hexadecimal."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
