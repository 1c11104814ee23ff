"""What a pickle would import and call, read from its opcodes. Nothing is ever unpickled.

In: bytes. Out: a `Walk`: imports in order, those that would be called with the literal strings they would get, and whether the
stream was read to its end. A small simulation of stack and memo resolves STACK_GLOBAL, so that an import hidden in the memo
shows. A break after an import is still an import: loaders run it before they notice. Opcodes as in the standard library's
pickletools, protocol 0 to 5. Bounded in operations, stack and memo.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

MAX_OPERATIONS = 3_000_000
MAX_HELD = 500_000
"""Entries of the simulated stack and memo."""
MAX_TEXT = 512
"""Characters kept of a string on the simulated stack."""
MAX_STREAMS = 32


class Import(NamedTuple):
    """`module.name` as the unpickler would import it; "?" where the name is computed. `called` when it would be run."""

    module: str
    name: str
    offset: int
    called: bool = False
    arguments: tuple[str, ...] = ()
    """Literal strings among its arguments, cut; they may hold secrets, so redact before showing."""


class Walk(msgspec.Struct, frozen=True):
    """One pickle stream. `end` is the offset after STOP or of the break; `problem` is empty when it was read to STOP."""

    imports: tuple[Import, ...]
    end: int
    complete: bool
    problem: str = ""
    protocol: int = 0
    operations: int = 0


class _Global:
    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index


class _Group:
    """A tuple or list of simulated values, for the arguments of a call."""

    __slots__ = ("values",)

    def __init__(self, values: list[object]) -> None:
        self.values = values


_MARK = object()
_OPAQUE = None
# Opcodes by the bytes of their argument; a negative number is the width of a length that comes first, -100 a line.
_WIDTHS: dict[int, int] = {
    **dict.fromkeys(b"().0123NQRabdeloust]}", 0),
    **dict.fromkeys(b"\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94\x97\x98", 0),
    **dict.fromkeys(b"\x80\x82Kqh", 1),
    **dict.fromkeys(b"\x83M", 2),
    **dict.fromkeys(b"\x84Jrj", 4),
    **dict.fromkeys(b"\x95G", 8),
    **dict.fromkeys(b"\x8cUC\x8a", -1),
    **dict.fromkeys(b"XTB\x8b", -4),
    **dict.fromkeys(b"\x8d\x8e\x96", -8),
    **dict.fromkeys(b"VSILFpgPci", -100),
}
_PUSH = frozenset(b"N\x88\x89]})\x8fIJKMLFG\x8a\x8bBC\x8e\x96P\x97")
_TEXTS = frozenset(b"\x8cXUT\x8dVS")


def walk(data: bytes, start: int = 0) -> Walk:
    """The pickle that starts at `start`. Never raises."""
    return _Walker(data, start).run()


def streams(data: bytes, start: int = 0) -> Iterator[Walk]:
    """Pickles that follow one another, as old PyTorch files hold them; ends at the first that is not read to its STOP."""
    at = start
    for _ in range(MAX_STREAMS):
        found = walk(data, at)
        if found.operations:
            yield found
        if not found.complete or found.end >= len(data) or data[found.end : found.end + 1] != b"\x80":
            return
        at = found.end


def is_pickle(data: bytes) -> bool:
    """Whether the bytes are a pickle: a protocol mark and sense after it, or protocol 0 or 1 read to its STOP."""
    if data[:1] == b"\x80" and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        found = walk(data[: 1 << 16])
        return found.complete or found.operations > 8 or bool(found.imports)
    if not data or data[0] not in b"(c]}l)dIKJMVXSUNGi":
        return False
    found = walk(data[: 1 << 20])
    return found.complete and found.operations > 2 and (bool(found.imports) or found.end >= len(data.rstrip()))


class _Walker:
    """State: the simulated stack, the memo, and the imports seen so far."""

    def __init__(self, data: bytes, start: int) -> None:
        self.data, self.at = data, start
        self.stack: list[object] = []
        self.memo: dict[int, object] = {}
        self.imports: list[Import] = []
        self.protocol = 0

    def run(self) -> Walk:
        data, size = self.data, len(self.data)
        operations = 0
        problem = "truncated"
        while self.at < size:
            code = data[self.at]
            width = _WIDTHS.get(code)
            if width is None:
                problem = f"unknown opcode 0x{code:02x}"
                break
            argument = self._argument(width)
            if argument is None:
                break
            operations += 1
            if code == 0x2E:
                return Walk(tuple(self.imports), self.at, True, "", self.protocol, operations)
            if operations > MAX_OPERATIONS or len(self.stack) > MAX_HELD or len(self.memo) > MAX_HELD:
                problem = "cap: too many operations or values"
                break
            self._apply(code, argument)
        return Walk(tuple(self.imports), self.at, False, problem, self.protocol, operations)

    def _argument(self, width: int) -> bytes | None:
        """The argument of the opcode at hand, moving past it; None where the data ends inside."""
        at = self.at + 1
        if width == -100:
            lines = 2 if self.data[self.at] in b"ci" else 1
            end = at
            for _ in range(lines):
                end = self.data.find(b"\n", end, at + (1 << 20)) + 1
                if not end:
                    return None
            self.at = end
            return self.data[at : min(end - 1, at + 4 * MAX_TEXT)]
        if width < 0:
            length = int.from_bytes(self.data[at : at - width], "little")
            at -= width
            if at + length > len(self.data):
                return None
            self.at = at + length
            return self.data[at : at + min(length, 4 * MAX_TEXT)]
        if at + width > len(self.data):
            return None
        self.at = at + width
        return self.data[at : at + width]

    def _apply(self, code: int, argument: bytes) -> None:
        stack = self.stack
        if code in _TEXTS:
            text = argument.decode("utf-8", "replace")[:MAX_TEXT]
            stack.append(text.strip("'\"") if code == 0x53 else text)
        elif code in _PUSH:
            stack.append(_Group([]) if code == 0x29 else _OPAQUE)
        elif code == 0x28:
            stack.append(_MARK)
        elif code in b"pqr\x94gjh":
            self._memo(code, argument)
        elif code in b"ci\x93\x82\x83\x84":
            self._global(code, argument)
        elif code in b"R\x81\x92o":
            self._call(code)
        elif code in b"telud1\x90\x91":
            values = self._to_mark()
            if code in b"tld\x91":
                stack.append(_Group(values[:64]))
        elif code in b"\x85\x86\x87":
            stack.append(_Group(self._pop(code - 0x84)))
        elif code == 0x32:
            stack.append(stack[-1] if stack else _OPAQUE)
        elif code == 0x80:
            self.protocol = argument[0]
        elif code in b"0abs":
            self._pop(2 if code == 0x73 else 1)

    def _pop(self, count: int) -> list[object]:
        taken = self.stack[-count:]
        del self.stack[-count:]
        return taken

    def _to_mark(self) -> list[object]:
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] is _MARK:
                values = self.stack[index + 1 :]
                del self.stack[index:]
                return values
        values, self.stack = self.stack, []
        return values

    def _memo(self, code: int, argument: bytes) -> None:
        top = self.stack[-1] if self.stack else _OPAQUE
        if code == 0x94:
            self.memo[len(self.memo)] = top
            return
        if code in b"pg":
            text = argument.strip()
            key = int(text) if text.isdigit() and len(text) < 12 else -1
        else:
            key = int.from_bytes(argument, "little")
        if code in b"pqr":
            self.memo[key] = top
        else:
            self.stack.append(self.memo.get(key, _OPAQUE))

    def _global(self, code: int, argument: bytes) -> None:
        offset = self.at
        if code in b"ci":
            module, _, name = argument.decode("utf-8", "replace").partition("\n")
            given = self._to_mark() if code == 0x69 else []
            self._push_import(Import(module, name, offset, code == 0x69, _texts(given)))
        elif code == 0x93:
            module, name = (*self._pop(2), "?", "?")[:2]  # type: ignore[assignment]
            known = isinstance(module, str) and isinstance(name, str)
            self._push_import(Import(module, name, offset) if known else Import("?", "?", offset))
        else:
            self._push_import(Import("copyreg", f"extension {int.from_bytes(argument, 'little')}", offset))

    def _push_import(self, one: Import) -> None:
        if len(self.imports) < 10_000:
            self.imports.append(one)
        self.stack.append(_Global(len(self.imports) - 1))

    def _call(self, code: int) -> None:
        if code == 0x6F:
            values = self._to_mark()
        else:
            values = self._pop(3 if code == 0x92 else 2)
        callee = values[0] if values else None
        if isinstance(callee, _Global):
            old = self.imports[callee.index]
            if not old.called:
                self.imports[callee.index] = old._replace(called=True, arguments=_texts(values[1:]))
        self.stack.append(_OPAQUE)


def _texts(values: list[object]) -> tuple[str, ...]:
    """Strings among the values, two levels down, at most eight."""
    out: list[str] = []
    for value in values:
        if isinstance(value, str):
            out.append(value)
        elif isinstance(value, _Group):
            for inner in value.values:
                if isinstance(inner, str):
                    out.append(inner)
                elif isinstance(inner, _Group):
                    out.extend(v for v in inner.values if isinstance(v, str))
    return tuple(out[:8])
