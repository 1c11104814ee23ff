"""Changes by place -> the same bytes but for what was changed.

In: the body as it came, and what is to change where: `request.messages[3].content`. Out: the body with just that changed; number
spelling, key order, escapes and blanks everywhere else are the bytes that came in. It decides nothing, and it refuses (Unspliceable)
rather than guesses: a place that does not exist, an offset inside a character, a body that is no JSON, and a key on the way that
stands twice, because the other copy would keep what was to be removed.

Theory of operation. The body is checked once by msgspec, so the scanner may trust its grammar. The wanted places are a tree of steps;
the scanner walks only along it and jumps over every other value with one compiled pattern (strings and four levels of brackets a
match, then a counter of open brackets; no recursion into what is not wanted). Every change becomes a replacement of raw bytes, and
the replacements are joined at the end.

Offsets count UTF-8 bytes of the decoded string and are mapped through the escapes of the raw one. Where the decoded string is JSON
itself (tool arguments), a new text that lies in one of its strings is escaped for that string first, to any depth, so that inner JSON
stays JSON. A change that crosses strings is done as it stands where the outcome is still JSON; otherwise the first string takes the new
text and the others lose their part. Where the place holds no string, offsets count in its compact dump (parts.dumps); the
strings of the dump are the strings of the original in the same order, so the original's own bytes are changed.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from json import dumps as json_dumps
from typing import Any, NamedTuple

import msgspec

from afterguard.remembered import remembered
from afterguard.wire.parts import dumps

STEPS_CAP = 64
INNER_CAP = 4
"""JSON inside strings of JSON inside strings: levels that are kept valid; below them text is text."""


class Change(NamedTuple):
    """Bytes [start, end) of the text at a place become `new`. UTF-8 offsets into the decoded string, or into the compact dump."""

    where: str
    start: int
    end: int
    new: str


class Put(NamedTuple):
    """The whole JSON value at a place becomes `raw`, which is JSON."""

    where: str
    raw: bytes


class Cut(NamedTuple):
    """The element or member at a place goes, with its comma."""

    where: str


class Unspliceable(ValueError):
    """What was asked cannot be done in these bytes. The message is a fixed sentence with the place, never the text."""


Step = str | int
Edit = tuple[int, int, str]
"""Start, end, new text, in one coordinate system."""
Raw = tuple[int, int, bytes]
"""Bytes [start, end) of the body become these."""

STEP = re.compile(r'\.([^.\[\]"]+)|\[(\d{1,9})\]|\[("(?:[^"\\]|\\.)*")\]')
PLAIN = re.compile(r'[^.\[\]"\x00-\x1f]+\Z')
ROOTS = re.compile(r"(?:request|response)?(?=[.\[]|\Z)")


@remembered(4096)
def steps(where: str) -> tuple[Step, ...]:
    """A place as keys and indexes, without its root word. Raises Unspliceable where it is no place."""
    root = ROOTS.match(where)
    rest = where[root.end() :] if root else "." + where
    out: list[Step] = []
    at = 0
    while at < len(rest):
        found = STEP.match(rest, at)
        if found is None or len(out) >= STEPS_CAP:
            raise Unspliceable("no place: " + where[:200])
        name, index, quoted = found.groups()
        try:
            out.append(name if name is not None else int(index) if index else str(msgspec.json.decode(quoted)))
        except (ValueError, UnicodeError):
            raise Unspliceable("no place: " + where[:200]) from None
        at = found.end()
    return tuple(out)


def step(key: Step) -> str:
    """A key or an index as it is written in a place."""
    if isinstance(key, int):
        return f"[{key}]"
    return "." + key if PLAIN.match(key) else f"[{json_dumps(key)}]"


def splice(body: bytes, changes: Sequence[Change | Put | Cut]) -> bytes:
    """The body with all changes done; `body` itself where there are none. Raises Unspliceable."""
    if not changes:
        return body
    try:
        msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError):
        raise Unspliceable("the body is no JSON") from None
    root = _wanted(changes)
    scan = _Scan(body)
    scan.value(root, _end(BLANK(body, 0)))
    return _joined(body, scan.raws)


class _Node:
    """What is wanted at a place and below it."""

    __slots__ = ("changes", "cut", "keys", "places", "put", "where")

    def __init__(self, where: str) -> None:
        self.where = where
        self.keys: dict[str, _Node] = {}
        self.places: dict[int, _Node] = {}
        self.changes: list[Edit] = []
        self.put: bytes | None = None
        self.cut = False


def _wanted(changes: Sequence[Change | Put | Cut]) -> _Node:
    root = _Node("")
    for change in changes:
        node = root
        for key in steps(change.where):
            if isinstance(key, int):
                node = node.places.get(key) or node.places.setdefault(key, _Node(change.where))
            else:
                node = node.keys.get(key) or node.keys.setdefault(key, _Node(change.where))
        node.where = change.where
        if isinstance(change, Change):
            node.changes.append((change.start, change.end, change.new))
        elif isinstance(change, Put):
            if node.put is not None:
                raise Unspliceable("put twice: " + change.where[:200])
            node.put = _checked(change.raw, change.where)
        elif node is root:
            raise Unspliceable("the whole body cannot be cut")
        else:
            node.cut = True
    return root


def _checked(raw: bytes, where: str) -> bytes:
    if not _is_json(raw):
        raise Unspliceable("what is put is no JSON: " + where[:200])
    return raw


def _is_json(raw: bytes) -> bool:
    try:
        msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError):
        return False
    return True


def _joined(body: bytes, raws: list[Raw]) -> bytes:
    out: list[bytes] = []
    at = 0
    for start, end, new in sorted(raws, key=lambda raw: raw[:2]):
        out += (body[at:start], new)
        at = max(at, end)
    out.append(body[at:])
    return b"".join(out)


_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_FLAT = rb'[^"\[\]{}]*+(?:' + _STRING + rb'[^"\[\]{}]*+)*+'
_NEST = _FLAT
for _ in range(4):
    _NEST = _FLAT + rb"(?:[\[{]" + _NEST + rb"[\]}]" + _FLAT + rb")*+"
STRING = re.compile(_STRING, re.DOTALL).match
JUMP = re.compile(_NEST + rb"[\[\]{}]", re.DOTALL).match
"""From anywhere outside strings to behind the next bracket that is not closed within four levels."""
BLANK = re.compile(rb"[ \t\r\n]*+").match
SCALAR = re.compile(rb"[^ \t\r\n,\]}]++").match
MEMBER = re.compile(rb"[ \t\r\n]*+(" + _STRING + rb")[ \t\r\n]*+:[ \t\r\n]*+", re.DOTALL).match
NEXT = re.compile(rb"[ \t\r\n]*+(,[ \t\r\n]*+)?").match
TOKENS = re.compile(_STRING + rb'|[^ \t\r\n,:\[\]{}"]++', re.DOTALL).finditer
OPEN = frozenset(b"[{")
CLOSE = frozenset(b"]}")
QUOTE = ord('"')
BACKSLASH = ord("\\")


class _Scan:
    """One walk over a body of valid JSON along the wanted places."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.raws: list[Raw] = []

    def jump(self, at: int) -> int:
        """Behind the value that begins at `at`."""
        body = self.body
        first = body[at]
        if first == QUOTE:
            # A long text has few quotes: look for the one that no backslash stands before.
            end = body.find(b'"', at + 1)
            for _ in range(4):
                if body[end - 1] != BACKSLASH:
                    return end + 1
                if body[end - 2] == BACKSLASH:
                    break
                end = body.find(b'"', end + 1)
            return _end(STRING(body, at))
        if first not in OPEN:
            return _end(SCALAR(body, at))
        depth, at = 1, at + 1
        while depth:
            at = _end(JUMP(body, at))
            depth += 1 if body[at - 1] in OPEN else -1
        return at

    def value(self, node: _Node, at: int) -> int:
        """Behind the value at `at`, its replacements noted. The depth of calls is that of the wanted places."""
        if node.put is not None or node.changes:
            end = self.jump(at)
            if node.keys or node.places or (node.changes and node.put is not None):
                # What is put may hold a copy of what the change inside was to remove.
                raise Unspliceable("changed as a whole and inside: " + node.where[:200])
            if node.put is not None:
                self.raws.append((at, end, node.put))
            else:
                self.raws += _leaf(self.body, at, end, node)
            return end
        first = self.body[at]
        if node.keys and node.places:
            raise Unspliceable("no such place: " + node.where[:200])
        if node.keys:
            if first != ord("{"):
                raise Unspliceable("no such place: " + _first(node).where[:200])
            return self.object(node, at)
        if node.places:
            if first != ord("["):
                raise Unspliceable("no such place: " + _first(node).where[:200])
            return self.array(node, at)
        return self.jump(at)

    def object(self, node: _Node, at: int) -> int:
        """Members of an object on the way. Every key is read: a second one of a wanted name would stay as it was."""
        body, wanted = self.body, node.keys
        seen: set[str] = set()
        cuts = [child for child in wanted.values() if child.cut]
        spans: list[tuple[int, int, bool]] = []
        at = _end(BLANK(body, at + 1))
        while body[at] not in CLOSE:
            member = MEMBER(body, at)
            if member is None:
                raise Unspliceable("the body is no JSON")
            start, at = member.start(1), member.end()
            name = member[1]
            key = str(msgspec.json.decode(name)) if b"\\" in name else name[1:-1].decode()
            child = wanted.get(key)
            if child is None:
                at = self.jump(at)
            elif key in seen:
                raise Unspliceable("a key on the way stands twice: " + child.where[:200])
            else:
                seen.add(key)
                at = self.jump(at) if child.cut else self.value(child, at)
            if cuts:
                spans.append((start, at, child is not None and child.cut))
            at = _end(NEXT(body, at))
        if len(seen) < len(wanted):
            missing = next(child for key, child in wanted.items() if key not in seen)
            raise Unspliceable("no such place: " + missing.where[:200])
        self.raws += _cuts(spans)
        return at + 1

    def array(self, node: _Node, at: int) -> int:
        """Elements of an array on the way; behind the last wanted one the rest is jumped over."""
        body, wanted = self.body, node.places
        cuts = any(child.cut for child in wanted.values())
        last = max(wanted)
        spans: list[tuple[int, int, bool]] = []
        opened, index = at, 0
        at = _end(BLANK(body, at + 1))
        while body[at] not in CLOSE and index <= last + cuts:
            child = wanted.get(index)
            start = at
            at = self.jump(at) if child is None or child.cut else self.value(child, at)
            if cuts:
                spans.append((start, at, child is not None and child.cut))
            at = _end(NEXT(body, at))
            index += 1
        if index <= last:
            raise Unspliceable("no such place: " + wanted[last].where[:200])
        self.raws += _cuts(spans)
        return self.rest(at) if body[at] not in CLOSE or at == opened else at + 1

    def rest(self, at: int) -> int:
        """Behind the bracket that closes the container `at` stands in."""
        depth = 1
        while depth:
            at = _end(JUMP(self.body, at))
            depth += 1 if self.body[at - 1] in OPEN else -1
        return at


def _end(found: re.Match[bytes] | None) -> int:
    if found is None:
        raise Unspliceable("the body is no JSON")
    return found.end()


def _first(node: _Node) -> _Node:
    for child in (*node.keys.values(), *node.places.values()):
        return child
    return node


def _cuts(spans: list[tuple[int, int, bool]]) -> Iterator[Raw]:
    """Removals of members or elements with one comma each: the one before where something before stays, else the one behind."""
    kept = False
    for place, (start, end, is_cut) in enumerate(spans):
        if not is_cut:
            kept = True
        elif kept:
            yield spans[place - 1][1], end, b""
        else:
            yield start, spans[place + 1][0] if place + 1 < len(spans) else end, b""


def _leaf(body: bytes, at: int, end: int, node: _Node) -> list[Raw]:
    """Replacements inside the value [at, end) of the body."""
    edits = sorted(node.changes, key=lambda edit: edit[:2])
    before = 0
    for start, stop, _ in edits:
        if start < before or stop < start:
            raise Unspliceable("changes overlap or run backwards: " + node.where[:200])
        before = stop
    try:
        if body[at] == QUOTE:
            return [(at + 1 + a, at + 1 + b, new) for a, b, new in _string(body[at + 1 : end - 1], edits, 0)]
        return _structure(body, at, end, edits)
    except _Misfit as bad:
        raise Unspliceable(f"{bad}: {node.where[:200]}") from None


class _Misfit(Exception):
    """An edit that does not fit the text it is for."""


def _string(raw: bytes, edits: Sequence[Edit], level: int) -> list[Raw]:
    """Edits in offsets of the decoded string -> replacements in offsets of the raw one (without its quotes)."""
    escaped = b"\\" in raw
    text = str(msgspec.json.decode(b'"' + raw + b'"')) if escaped else ""
    plain = text.encode() if escaped else raw
    if level < INNER_CAP and plain.lstrip()[:1] in (b"{", b"[") and _is_json(plain):
        inner = _inside(plain, edits, level + 1)
    else:
        inner = [(start, stop, _utf8(new)) for start, stop, new in edits]
    for start, stop, _ in inner:
        if stop > len(plain) or _splits(plain, start) or _splits(plain, stop):
            raise _Misfit("an offset is beyond the text or inside a character")
    if not escaped:
        return [(start, stop, _escaped(new)) for start, stop, new in inner]
    mapped = _mapped(raw, plain, sorted({offset for start, stop, _ in inner for offset in (start, stop)}))
    return [(mapped[start], mapped[stop], _escaped(new)) for start, stop, new in inner]


def _utf8(new: str) -> bytes:
    return new.encode("utf-8", "replace")


def _escaped(new: bytes) -> bytes:
    return msgspec.json.encode(new.decode("utf-8", "replace"))[1:-1]


def _splits(plain: bytes, offset: int) -> bool:
    return offset < len(plain) and plain[offset] & 0xC0 == 0x80


ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u00[0-7][0-9a-fA-F]|u0[0-7][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[^u])"
)
WRITERS = (
    msgspec.json.encode,
    lambda text: json_dumps(text).encode(),
)
"""How nearly every client writes strings; see _mapped."""


def _mapped(raw: bytes, plain: bytes, offsets: list[int]) -> dict[int, int]:
    """Decoded offset -> raw offset, for ascending offsets at character boundaries.

    Counting escapes one by one is slow in a long text. Where the raw string begins with the decoded prefix written as a common
    client writes it, that prefix's length is the offset; only other writers' strings are counted out.
    """
    out: dict[int, int] = {}
    if len(raw) > 512:
        for write in WRITERS:
            out = _written(raw, plain, offsets, write)
            if out:
                return out
    count = 0
    for start, end, decoded, size in _blocks(raw):
        if count == len(offsets):
            break
        if offsets[count] > decoded + size:
            continue
        at = start
        for found in ESCAPE.finditer(raw, start, end):
            first, last = found.span()
            while count < len(offsets) and offsets[count] <= decoded + first - at:
                out[offsets[count]] = at + offsets[count] - decoded
                count += 1
            if count == len(offsets):
                return out
            decoded += first - at + _size(found[0])
            at = last
        while count < len(offsets) and offsets[count] <= decoded + end - at:
            out[offsets[count]] = at + offsets[count] - decoded
            count += 1
    for offset in offsets[count:]:
        out[offset] = len(raw)
    return out


BLOCK = re.compile(
    rb"(?:[^\\]++|\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[^u])){1,500}+",
    re.DOTALL,
).match


def _blocks(raw: bytes) -> Iterator[tuple[int, int, int, int]]:
    """A raw string cut between characters: start, end, decoded bytes before, decoded bytes in it."""
    at = decoded = 0
    while at < len(raw):
        end = _end(BLOCK(raw, at))
        piece = raw[at:end]
        size = len(str(msgspec.json.decode(b'"' + piece + b'"')).encode()) if b"\\" in piece else len(piece)
        yield at, end, decoded, size
        at, decoded = end, decoded + size


def _written(raw: bytes, plain: bytes, offsets: list[int], write: Any) -> dict[int, int]:
    """Raw offsets by writing the pieces between the offsets again; empty where the raw string was written otherwise."""
    out: dict[int, int] = {}
    at = before = 0
    for offset in offsets:
        piece = write(plain[before:offset].decode())[1:-1]
        if not raw.startswith(piece, at):
            return {}
        at, before = at + len(piece), offset
        out[offset] = at
    return out


def _size(escape: bytes) -> int:
    """UTF-8 bytes of the character an escape stands for."""
    if len(escape) == 2:
        return 1
    if len(escape) == 12:
        return 4
    code = int(escape[2:6], 16)
    return 1 if code < 0x80 else 2 if code < 0x800 else 3


def _inside(text: bytes, edits: Sequence[Edit], level: int) -> list[Raw]:
    """Edits of a text that is JSON -> replacements that leave it JSON, in offsets of the text."""
    tokens = [found.span() for found in TOKENS(text)]
    starts = [start for start, _ in tokens]
    within: dict[int, list[Edit]] = {}
    crossing: list[Edit] = []
    for edit in edits:
        start, stop = edit[:2]
        if stop > len(text):
            raise _Misfit("an offset is beyond the text or inside a character")
        place = bisect_right(starts, start) - 1
        low, high = tokens[place] if place >= 0 else (0, 0)
        if text[low] == QUOTE and low < start and stop < high:
            within.setdefault(place, []).append(edit)
        else:
            crossing.append(edit)
    out = [raw for place, found in within.items() for raw in _token(text, *tokens[place], found, level)]
    if not crossing:
        return out
    whole = sorted([*out, *((start, stop, _utf8(new)) for start, stop, new in crossing)], key=lambda raw: raw[:2])
    if _is_json(_joined(text, whole)):
        return whole
    for edit in crossing:
        out += _clipped(text, tokens, starts, edit, level)
    out.sort(key=lambda raw: raw[:2])
    if not _is_json(_joined(text, out)):
        raise _Misfit("the change would break the JSON it is in")
    return out


def _token(text: bytes, low: int, high: int, edits: Sequence[Edit], level: int) -> list[Raw]:
    """Edits inside the string token [low, high) of a JSON text, escaped for it; an escape that is cut is taken whole."""
    first = low + 1
    raw = text[first : high - 1]
    decoded = _unmapped(raw, sorted({offset - first for start, stop, _ in edits for offset in (start, stop)}))
    inner: list[Edit] = []
    before = 0
    for start, stop, new in edits:
        begin = max(before, decoded[start - first][0])
        before = max(begin, decoded[stop - first][0 if start == stop else 1])
        inner.append((begin, before, new))
    return [(first + start, first + stop, done) for start, stop, done in _string(raw, inner, level)]


def _unmapped(raw: bytes, offsets: list[int]) -> dict[int, tuple[int, int]]:
    """Raw offset -> decoded offset, for ascending offsets; one inside an escape gives the place before it and the one behind."""
    out: dict[int, tuple[int, int]] = {}
    at = decoded = count = 0
    for found in ESCAPE.finditer(raw) if b"\\" in raw else ():
        start, end = found.span()
        if count == len(offsets):
            return out
        before = decoded + start - at
        size = _size(found[0])
        while count < len(offsets) and offsets[count] < end:
            offset = offsets[count]
            out[offset] = (decoded + offset - at,) * 2 if offset <= start else (before, before + size)
            count += 1
        at, decoded = end, before + size
    for offset in offsets[count:]:
        out[offset] = (decoded + offset - at,) * 2
    return out


def _clipped(text: bytes, tokens: list[tuple[int, int]], starts: list[int], edit: Edit, level: int) -> list[Raw]:
    """A change that crosses strings: the first value it touches takes the new text, the others lose what it covers of them."""
    start, stop, new = edit
    out: list[Raw] = []
    place = max(0, bisect_right(starts, start) - 1)
    while place < len(tokens) and tokens[place][0] < stop:
        low, high = tokens[place]
        place += 1
        if high <= start:
            continue
        if text[low] == QUOTE:
            inner = (max(start, low + 1), max(low + 1, min(stop, high - 1)), new)
            out += _token(text, low, high, [inner], level)
        elif new or not out:
            said = text[low : max(low, start)].decode() + new + text[min(stop, high) : high].decode()
            out.append((low, high, msgspec.json.encode(said)))
        else:
            out.append((low, high, b"null"))
        new = ""
    if not out:
        raise _Misfit("the change lies between the values of the JSON it is in")
    return out


def _structure(body: bytes, at: int, end: int, edits: Sequence[Edit]) -> list[Raw]:
    """Edits in offsets of the compact dump of the value [at, end), which is no string."""
    raw = body[at:end]
    text = dumps(msgspec.json.decode(raw)).encode()
    changed = _inside(text, edits, 0)
    for start, stop, _ in changed:
        if stop > len(text) or _splits(text, start) or _splits(text, stop):
            raise _Misfit("an offset is beyond the text or inside a character")
    mine, theirs = [found.span() for found in TOKENS(text)], [found.span() for found in TOKENS(raw)]
    carried = _carried(text, mine, raw, theirs, changed) if len(mine) == len(theirs) else None
    if carried is None:
        return [(at, end, _joined(text, changed))]
    return [(at + start, at + stop, new) for start, stop, new in carried]


Spans = list[tuple[int, int]]


def _carried(text: bytes, mine: Spans, raw: bytes, theirs: Spans, changed: list[Raw]) -> list[Raw] | None:
    """Replacements in the dump -> the same in the value as it is written; None where one crosses its strings."""
    starts = [start for start, _ in mine]
    out: list[Raw] = []
    within: dict[int, list[Raw]] = {}
    for one in changed:
        start, stop, new = one
        place = bisect_right(starts, start) - 1
        low, high = mine[place] if place >= 0 else (-1, -1)
        if (low, high) == (start, stop):
            out.append((*theirs[place], new))
        elif place >= 0 and text[low] == QUOTE and low < start and stop < high:
            within.setdefault(place, []).append(one)
        else:
            return None
    for place, found in within.items():
        (low, high), (first, last) = mine[place], theirs[place]
        spelled, dumped = raw[first + 1 : last - 1], text[low + 1 : high - 1]
        offsets = sorted({offset - low - 1 for start, stop, _ in found for offset in (start, stop)})
        moved = {offset: offset for offset in offsets}
        if spelled != dumped:
            decoded = _unmapped(dumped, offsets)
            plain = str(msgspec.json.decode(b'"' + spelled + b'"')).encode()
            mapped = _mapped(spelled, plain, sorted({decoded[offset][0] for offset in offsets}))
            moved = {offset: mapped[decoded[offset][0]] for offset in offsets}
        out += [(first + 1 + moved[a - low - 1], first + 1 + moved[b - low - 1], new) for a, b, new in found]
    return out


def spans(body: bytes, places: Sequence[str]) -> list[tuple[int, int]]:
    """Bytes [start, end) of the value at each place, in the order given. Raises Unspliceable."""
    out: dict[str, tuple[int, int]] = {}
    try:
        msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError):
        raise Unspliceable("the body is no JSON") from None
    for where in places:
        scan = _Scan(body)
        scan.value(_wanted([Put(where, b"0")]), _end(BLANK(body, 0)))
        out[where] = scan.raws[0][:2]
    return [out[where] for where in places]
