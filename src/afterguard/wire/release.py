"""What of a streamed reply may leave, and with which text.

In: frames (wire/frames.py) and a function that looks at text. Out: bytes to send, in the order in which the frames
came; the same bytes where nothing was to change. It does not decide what is bad, and it ends no stream.

Theory of operation. A frame may leave when all text in it lies behind its slot's boundary: the place up to which
nothing can still turn out to be the beginning of something. Words of plain letters are free as soon as they are
complete; whatever else (digits, keys, addresses, brackets) waits until a plain word or the end follows, links, tags
and key blocks wait until they are closed, and nothing waits beyond `hold` characters. When the boundary moves, `look`
is asked about what is not yet released with CONTEXT characters before it. Arguments wait until their call is whole.

A frame that waits holds every frame behind it, also those of other slots: an event's place in the stream has meaning
(a block is closed by the event after its last delta, a Responses event has a sequence number), and a client that saw
text overtake a call would show another order than the model wrote. In prose this costs one word.

`look(slot, kind, text, is_whole)` returns edits [(start, end, new)] in characters of the `text` it was given, or DROP
for a call. While it runs, `at` is the place of text[0] in the slot, `fresh` the index in `text` where what is not yet
released begins, `upto` the index of the boundary. What lies wholly beyond `upto` will be asked about again. An edit
across `upto` holds the boundary back to its start. What has left cannot be edited: an edit that begins there only
changes the rest. `is_whole` says that the slot ends with this text. Arguments are always given whole, with is_whole
False only where the cap on held bytes forced it; strings that repeat what was streamed are given whole, too, with
`at` 0.
"""

from __future__ import annotations

import re
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final

import msgspec

from afterguard.model import Unjudged
from afterguard.wire.frames import Frame
from afterguard.wire.pieces import ARGUMENTS, OPAQUE, Piece
from afterguard.wire.splice import Change, Unspliceable, splice

CONTEXT = 256
"""Characters before the released place that look is given again."""
HELD_CAP = 8 << 20
"""Bytes of frames that wait; beyond, all that waits is judged as it stands."""
CALLS_CAP = 8 << 20
"""Characters of judged calls that are kept, to know them again where a later event repeats them."""


class Drop(Enum):
    """The call is taken out of the reply."""

    CALL = "call"


DROP: Final = Drop.CALL
Edit = tuple[int, int, str]
Look = Callable[[str, str, str, bool], Sequence[Edit] | Drop]

# Letters are read by range, since `re` knows no classes of case: beyond Latin-1 the two cases alternate or do not
# matter,
# because keys and tokens are written in ASCII.
_LOW = "a-zß-öø-ÿĀ-ʯͰ-֏Ḁ-ỿ"
_WORD = f"[A-ZÀ-ÖØ-Þ]?[{_LOW}]{{1,29}}+|[A-ZÀ-ÖØ-Þ]"
_END = r"[.,;:!?…)\"'”’»*_]{0,6}"
_START = r"[(\"'“‘„«¿¡*_]{0,3}"
# Scripts without case and without blanks between words: a letter or mark that another one, a blank or the end of a
# sentence follows.
_FLAT = (
    "\u0590-\u065f\u066a-\u06ef\u06fa-\u0965\u0970-\u1c7f\u2e80-\u3007\u3012-\ud7ff\uf900-\ufdff\ufe70-\ufefc"
    "\uff01\uff0c\uff1a\uff1b\uff1f"
)
FREE = re.compile(
    rf"(?s:.*)(?:(?<!\S){_START}(?:{_WORD})(?:['’-](?:{_WORD})){{0,3}}{_END}\s+|[{_FLAT}](?=[{_FLAT}\s]))"
)
"""Up to the last place that is free: behind a complete plain word and the blanks that end it, or a letter of a script without case."""
MOVES = re.compile(rf"[\s{_FLAT}]")
"""Without one of these in what is new, no boundary can move."""
OPENER = re.compile(r"\[|<(?=[A-Za-z/!?])|-----BEGIN")
_GAP = r"\n[ \t\r]{0,8}\n"
CLOSERS = {
    # A label is a link's only where a parenthesis follows at once; links do not reach across an empty line.
    "[": re.compile(rf"\]\(|\](?=[^(])|{_GAP}"),
    "(": re.compile(rf"\)|{_GAP}"),
    "<": re.compile(rf">|{_GAP}"),
    "-": re.compile(r"-----END[^\n-]{0,60}-----"),
}
LOOKBACK = 10
"""Characters an opener may need before it is recognised."""


class Prose:
    """A slot of text or reasoning: its end that is not yet released, with some context. Places are characters of the
    slot."""

    __slots__ = (
        "at",
        "edits",
        "is_near",
        "kind",
        "mark",
        "open",
        "open_kind",
        "prefixes",
        "safe",
        "scan",
        "sent",
        "slot",
        "tail",
        "total",
    )

    def __init__(self, slot: str, kind: str, prefixes: tuple[str, ...]) -> None:
        self.slot = slot
        self.kind = kind
        self.prefixes = prefixes
        self.tail = ""
        self.at = 0
        """Place of tail[0]."""
        self.safe = 0
        """Up to here it is judged."""
        self.sent = 0
        """Up to here it has left."""
        self.scan = 0
        """Up to here tokens are classified."""
        self.mark = 0
        """Up to here openers are searched."""
        self.open = -1
        """Where the construct that stands open began."""
        self.open_kind = ""
        self.is_near = False
        """Whether an opener may stand behind `mark`."""
        self.total = 0
        self.edits: list[Edit] = []

    def add(self, text: str, hold: int) -> int:
        """Append text; where the boundary may move to now, `safe` where it stays."""
        self.tail += text
        self.total += len(text)
        if "[" in text or "<" in text or "-" in text:
            self.is_near = True
        if self.open < 0 and MOVES.search(text) is None:
            return self.safe if self.total - self.safe <= hold else self._forced(hold)
        if self.is_near:
            self._constructs()
        free = self.safe
        if self.open < 0:
            free = self._word(text) or self._words()
        elif self.scan < self.open:
            free = self._words()
        if self.prefixes:
            free = self._unsplit(free)
        return free if self.total - free <= hold else self._forced(hold)

    def _word(self, text: str) -> int:
        """The common case without a pattern: a blank and the beginning of a word arrive behind one ASCII word; 0
        otherwise."""
        if text[0] != " " or text.find(" ", 1) > 0 or "\n" in text:
            return 0
        end = len(self.tail) - len(text)
        word = self.tail[self.scan - self.at : end].lstrip(" ")
        if word.isalpha() and word.isascii() and len(word) <= 30 and word[1:].islower() | (len(word) == 1):
            self.scan = self.at + end
            return self.scan
        return 0

    def _words(self) -> int:
        """Behind the last word that is free. Complete words before `scan` are known not to be."""
        at = self.at
        found = FREE.match(self.tail, self.scan - at)
        if found is not None:
            free = self.scan = at + found.end()
        else:
            free = self.safe
            last = max(self.tail.rfind(" ", self.scan - at), self.tail.rfind("\n", self.scan - at))
            if last >= 0:
                self.scan = at + last + 1
        if 0 <= self.open < self.scan:
            # What stands in an open construct is read again once it closes.
            self.scan = self.open
            if self.open < free:
                free = self.open
        return free if free > self.safe else self.safe

    def _forced(self, hold: int) -> int:
        """The boundary that the cap enforces, with room so that not every further letter moves it."""
        free = self.total - hold + hold // 8
        blank = self.tail.rfind(" ", max(0, self.safe - self.at), free - self.at)
        if blank > max(0, self.safe - self.at):
            free = self.at + blank
        self.scan = max(self.scan, free)
        self.open = -1
        self.is_near = False
        self.mark = self.total
        return free

    def _constructs(self) -> None:
        tail, at = self.tail, self.at
        place = max(0, self.mark - at)
        while True:
            if self.open < 0:
                found = OPENER.search(tail, place)
                if found is None:
                    self.mark = at + max(place, len(tail) - LOOKBACK)
                    end = tail[-LOOKBACK:]
                    self.is_near = "<" in end or "-" in end
                    return
                self.open, self.open_kind = at + found.start(), found[0][0]
                place = found.end()
            closed = CLOSERS[self.open_kind].search(tail, place)
            if closed is None:
                back = 80 if self.open_kind == "-" else LOOKBACK
                self.mark = at + max(place, len(tail) - back)
                return
            place = closed.end()
            if closed[0] == "](":
                self.open_kind = "("
            else:
                self.open = -1

    def _unsplit(self, free: int) -> int:
        """Back to the beginning of a prefix that would be cut, or of what may become one."""
        tail, low = self.tail, max(0, self.safe - self.at)
        for prefix in self.prefixes:
            edge = free - self.at
            at = tail.find(prefix[0], max(low, edge - len(prefix) + 1), edge)
            while at >= 0:
                if prefix.startswith(tail[at : at + len(prefix)]):
                    free = self.at + at
                    break
                at = tail.find(prefix[0], at + 1, edge)
        return free

    def note(self, edits: Sequence[Edit], free: int, base: int, is_firm: bool) -> int:
        """Take over edits of the text that began at `base`; the boundary, held back by an edit across it unless it
        is firm."""
        floor = max(self.sent, self.edits[-1][1] if self.edits else 0)
        for start, end, new in sorted(edits, key=lambda edit: edit[:2]):
            first, last = max(base + start, self.at), min(base + end, self.total)
            if first > free or (first == free and not (first == last and is_firm)):
                break
            if last < first or last < floor or (last == floor and first < last):
                continue
            if last > free and not is_firm:
                return max(self.safe, first)
            self.edits.append((max(first, floor), last, new))
            floor = last
            free = max(free, last)
        return free

    def move(self, free: int) -> None:
        """Set the boundary and forget what is no longer needed."""
        self.safe = free
        low = free - CONTEXT
        if low - self.at > CONTEXT:
            self.tail = self.tail[low - self.at :]
            self.at = low
        if self.scan < free:
            self.scan = free


class Call:
    """A slot of arguments: all of it, until it is judged."""

    __slots__ = (
        "base",
        "edits",
        "has_left",
        "is_call",
        "is_dropped",
        "is_judged",
        "pieces",
        "seen",
        "slot",
        "spans",
        "text",
        "total",
    )

    def __init__(self, slot: str, is_call: bool) -> None:
        self.slot = slot
        self.is_call = is_call
        """Whether it was opened as a call, so that it can be taken out."""
        self.pieces: list[str] = []
        self.seen: list[str] = []
        """Whole texts that events gave for it before it was judged."""
        self.text = ""
        """What was judged last."""
        self.base = 0
        """Place of text[0]; above 0 only where the beginning was too long to keep."""
        self.total = 0
        self.is_judged = False
        self.is_dropped = False
        self.has_left = False
        self.edits: list[Edit] = []
        """Edits by place, escaped for the JSON they stand in."""
        self.spans: list[Edit] = []
        """The same edits as look gave them, for arguments that came as an object."""


class Held:
    """A frame that waits: its text pieces (index, slot, start, end), its calls, the new texts of what it repeats."""

    __slots__ = ("calls", "frame", "parts", "texts")

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.parts: list[tuple[int, Prose | Call, int, int]] = []
        self.calls: Sequence[Call] = ()
        self.texts: dict[int, str] = {}


class Release:
    """State of one stream. See the theory of operation for what `look` is given."""

    __slots__ = (
        "_calls", "_count", "_frames", "_gaps", "_kept", "_look", "_repeated", "_slots",
        "at", "counts", "fresh", "held", "hold", "left", "prefixes", "upto",
    )  # fmt: skip

    def __init__(self, look: Look, hold: int = 8192, prefixes: Sequence[str] = ()) -> None:
        self._look = look
        self.hold = max(64, hold)
        self.prefixes = tuple(prefix for prefix in prefixes if prefix)
        self._frames: deque[Held] = deque()
        self._slots: dict[str, Prose] = {}
        self._calls: dict[str, Call] = {}
        self._gaps: dict[str, list[int]] = {}
        """Prefix of slots -> indexes that were taken out, ascending."""
        self._kept: dict[str, set[int]] = {}
        """Prefix of slots -> indexes of calls that have left."""
        self._repeated: dict[str, tuple[str, Sequence[Edit]]] = {}
        """Slot -> what was repeated of it last, and the edits of that."""
        self._count = 0
        self.counts: dict[str, int] = {}
        self.held = 0
        """Bytes that wait."""
        self.at = self.fresh = self.upto = 0
        self.left: list[Frame] = []
        """The frames that left with the last call, those included that were taken out."""

    @property
    def unjudged(self) -> list[Unjudged]:
        """What was released before it could be judged whole."""
        return [Unjudged(reason, "response", size) for reason, size in self.counts.items()]

    def feed(self, frame: Frame) -> list[bytes]:
        """Take a frame; what may be sent now."""
        if not (self._frames or self._gaps or frame.pieces or frame.closes or frame.is_end or _has_more(frame)):
            self.left = [frame]
            return [frame.raw]
        held = Held(frame)
        self._frames.append(held)
        self.held += len(frame.raw)
        if frame.pieces:
            self._take(held)
        if frame.calls or frame.opens:
            self._register(held)
        for piece in frame.repeats:
            if piece.kind == ARGUMENTS:
                call = self._call(piece.slot)
                if not call.is_judged and len(call.seen) < 8:
                    call.seen.append(piece.text)
        for name in frame.closes:
            self._close(name)
        if frame.repeats:
            for index, piece in enumerate(frame.repeats, len(frame.pieces)):
                self._repeat(held, index, piece)
        if frame.is_end:
            self._close_all()
        elif self.held > HELD_CAP:
            self._force()
        return self._leave()

    def finish(self) -> list[bytes]:
        """The stream ended: judge what is left and give all of it."""
        self._close_all()
        return self._leave()

    def drain(self) -> list[bytes]:
        """All that waits, with the edits known so far and without further judgement: for failing open."""
        for held in self._frames:
            for call in held.calls:
                call.is_judged = True
            for _, slot, _, end in held.parts:
                if isinstance(slot, Prose):
                    slot.safe = max(slot.safe, end)
                else:
                    slot.is_judged = True
        return self._leave()

    def _take(self, held: Held) -> None:
        """The pieces of a frame into their slots."""
        frame = held.frame
        for index, piece in enumerate(frame.pieces):
            name, kind, text, _ = piece
            if kind == ARGUMENTS:
                self._argue(held, index, name, text)
            elif kind != OPAQUE and text:
                slot = self._slots.get(name)
                if slot is None:
                    slot = self._slots[name] = Prose(name, kind, self.prefixes)
                start = slot.total
                free = slot.add(text, self.hold)
                held.parts.append((index, slot, start, slot.total))
                if free > slot.safe and not (frame.closes and name in frame.closes):
                    self._move(slot, free, False)

    def _move(self, slot: Prose, free: int, is_whole: bool) -> None:
        at = max(0, slot.safe - CONTEXT - slot.at)
        text = slot.tail[at:] if at else slot.tail
        base = slot.at + at
        self.at, self.fresh, self.upto = base, slot.safe - base, free - base
        edits = self._look(slot.slot, slot.kind, text, is_whole)
        if edits and not isinstance(edits, Drop):
            # Where the cap enforces the boundary nothing may hold it back.
            free = slot.note(edits, free, base, is_whole or slot.total - slot.safe > self.hold)
        slot.move(free)

    def _call(self, name: str, is_call: bool = False) -> Call:
        call = self._calls.get(name)
        if call is None:
            call = self._calls[name] = Call(name, is_call)
        return call

    def _argue(self, held: Held, index: int, name: str, text: str) -> None:
        call = self._call(name, any(name == slot for slot, _, _ in held.frame.opens))
        if call.is_judged and not call.is_dropped:
            # More arguments for a call that was taken for whole: judged again with all of it.
            call.is_judged = False
            call.pieces = [call.text]
        if not call.is_dropped:
            call.pieces.append(text)
            self._count += len(text)
        held.parts.append((index, call, call.total, call.total + len(text)))
        call.total += len(text)

    def _register(self, held: Held) -> None:
        for name, _, _ in held.frame.opens:
            self._call(name, True).is_call = True
        held.calls = [self._call(name, True) for name, _ in held.frame.calls]

    def _close(self, name: str) -> None:
        slot = self._slots.pop(name, None)
        if slot is not None and slot.total > slot.safe:
            self._move(slot, slot.total, True)
        call = self._calls.get(name)
        if call is not None and not call.is_judged:
            self._judge(call, True)

    def _close_all(self) -> None:
        for name in [*self._slots, *self._calls]:
            self._close(name)

    def _ask(self, name: str, kind: str, text: str, is_whole: bool) -> Sequence[Edit] | Drop:
        """Look at a text that is given whole."""
        self.at = self.fresh = 0
        self.upto = len(text)
        return self._look(name, kind, text, is_whole)

    def _judge(self, call: Call, is_whole: bool) -> None:
        """Decide on a call by its arguments, and by what events said that they are where that differs."""
        text = "".join(call.pieces)
        others = [seen for seen in dict.fromkeys(call.seen) if seen != text]
        if not text and others:
            text = others.pop(0)
        call.text, call.pieces, call.seen, call.is_judged = text, [], [], True
        found = self._ask(call.slot, ARGUMENTS, text, is_whole)
        if not isinstance(found, Drop) and any(
            isinstance(self._ask(call.slot, ARGUMENTS, other, is_whole), Drop) for other in others
        ):
            found = DROP
        fitted = None
        if not isinstance(found, Drop):
            fitted = fit(text, found)
            call.spans = sorted(found, key=lambda edit: edit[:2])
        if fitted is None:
            call.is_dropped = True
            call.text = ""
        else:
            call.edits = [(start + call.base, end + call.base, new) for start, end, new in fitted]
        if not is_whole or self._count > CALLS_CAP:
            call.text, call.base = "", call.total

    def _repeat(self, held: Held, index: int, piece: Piece) -> None:
        """The new text of a string that repeats what was streamed: looked at whole, because it need not say the
        same."""
        name, kind, text, _ = piece
        call = self._calls.get(name) if kind == ARGUMENTS else None
        if call is not None and call.is_dropped:
            held.texts[index] = "{}"
            return
        known = self._repeated.get(name)
        edits: Sequence[Edit]
        if call is not None and call.text == text and not call.base:
            edits = call.edits
        elif known is not None and known[0] == text:
            edits = known[1]
        else:
            found = self._ask(name, kind, text, True)
            fitted = found if isinstance(found, Drop) or kind != ARGUMENTS else fit(text, found)
            if fitted is None or isinstance(fitted, Drop):
                if call is not None and not call.has_left:
                    call.is_dropped = True
                if kind == ARGUMENTS:
                    held.texts[index] = "{}"
                return
            edits = sorted(fitted, key=lambda edit: edit[:2])
            if sum(len(known) for known, _ in self._repeated.values()) > CALLS_CAP:
                self._repeated.clear()
            self._repeated[name] = (text, edits)
        if edits:
            held.texts[index] = edited(text, 0, len(text), edits, True)

    def _force(self) -> None:
        """Too much waits: judge it as it stands."""
        self.counts["too_long"] = self.counts.get("too_long", 0) + self.held
        for slot in self._slots.values():
            if slot.total > slot.safe:
                slot.scan = slot.mark = slot.total
                slot.open = -1
                self._move(slot, slot.total, False)
                slot.safe = slot.total
        for call in self._calls.values():
            if not call.is_judged:
                self._judge(call, False)

    def _leave(self) -> list[bytes]:
        """The bytes of the frames that nothing holds any more."""
        out: list[bytes] = []
        left: list[Frame] = []
        frames = self._frames
        while frames:
            held = frames[0]
            for _, slot, _, end in held.parts:
                if not (slot.safe >= end if isinstance(slot, Prose) else slot.is_judged):
                    break
            else:
                if held.calls and not all(call.is_judged for call in held.calls):
                    break
                frames.popleft()
                self.held -= len(held.frame.raw)
                left.append(held.frame)
                raw = self._bytes(held)
                if raw:
                    out.append(raw)
                continue
            break
        self.left = left
        return out

    def _bytes(self, held: Held) -> bytes:
        """What is sent for a frame."""
        frame, texts = held.frame, held.texts
        spans: dict[int, list[Edit]] = {}
        for index, slot, start, end in held.parts:
            if isinstance(slot, Prose):
                slot.sent = end
            if not slot.edits and not (isinstance(slot, Call) and slot.is_dropped):
                continue
            old = frame.pieces[index].text
            if isinstance(slot, Call) and slot.is_dropped:
                texts[index] = "" if start else "{}"
                continue
            new = edited(old, start, end, slot.edits, end == slot.total)
            if new != old:
                texts[index] = new
                if isinstance(slot, Call) and not start and end == slot.total:
                    spans[index] = slot.spans
            if isinstance(slot, Prose):
                while slot.edits and slot.edits[0][1] <= end:
                    del slot.edits[0]
        if not (texts or held.calls or self._gaps or frame.stops):
            return frame.raw
        gone = {call.slot for call in held.calls if call.is_dropped}
        for call in held.calls:
            call.has_left = True
        if held.calls:
            self._count_numbers(frame, gone)
        puts = self._puts(frame)
        if not (texts or gone or puts):
            return frame.raw
        return frame.rewritten(texts, gone=gone, puts=puts, spans=spans)

    def _count_numbers(self, frame: Frame, gone: set[str]) -> None:
        """Indexes that calls had: a gap where the call went, unless another call that stays has the same."""
        for slot, place in frame.calls:
            for owner, where, number in frame.numbers:
                if place and not where.startswith(place + "."):
                    continue
                gaps, kept = self._gaps.get(owner, []), self._kept.setdefault(owner, set())
                if slot not in gone:
                    kept.add(number)
                    if number in gaps:
                        gaps.remove(number)
                elif number not in kept and number not in gaps:
                    insort(gaps, number)
                    self._gaps[owner] = gaps

    def _puts(self, frame: Frame) -> list[tuple[str, bytes]]:
        """Indexes without gaps, and the reason for stopping where no call is left that it could mean."""
        puts = []
        for owner, where, number in frame.numbers if self._gaps else ():
            moved = bisect_left(self._gaps.get(owner, ()), number)
            if moved:
                puts.append((where, b"%d" % (number - moved)))
        for owner, where, instead in frame.stops:
            calls = [call.is_dropped for name, call in self._calls.items() if call.is_call and name.startswith(owner)]
            if calls and all(calls):
                puts.append((where, b'"%s"' % instead.encode()))
        return puts


def _has_more(frame: Frame) -> bool:
    return bool(frame.calls or frame.opens or frame.repeats or frame.stops)


def edited(text: str, start: int, end: int, edits: Sequence[Edit], is_last: bool) -> str:
    """The text at [start, end) of its slot after the slot's edits. A replacement goes where its edit begins; the
    rest is emptied."""
    out: list[str] = []
    at = start
    for first, last, new in edits:
        if first > end:
            break
        is_here = start <= first < end or (first == end and is_last)
        low, high = max(first, start), min(last, end)
        if high < low or (high == low and not is_here):
            continue
        out.append(text[at - start : low - start])
        if is_here:
            out.append(new)
        at = high
    out.append(text[at - start :])
    return "".join(out)


def fit(text: str, edits: Sequence[Edit]) -> list[Edit] | None:
    """Edits of arguments, escaped for the JSON they stand in. None where the outcome would be no JSON any more."""
    found = sorted(edits, key=lambda edit: edit[:2])
    if not found or not _is_json(text):
        return found
    body = msgspec.json.encode(text)
    out: list[Edit] = []
    for start, end, new in found:
        first = len(text[:start].encode())
        change = Change("response", first, first + len(text[start:end].encode()), new)
        try:
            changed = str(msgspec.json.decode(splice(body, [change])))
        except (Unspliceable, ValueError):
            return None
        out.append(_difference(text, changed))
    whole = edited(text, 0, len(text), out, True)
    return out if _is_json(whole) else None


def _difference(old: str, new: str) -> Edit:
    """The one replacement that makes `new` of `old`."""
    first = _shared(old, new)
    last = min(_shared(old[::-1], new[::-1]), min(len(old), len(new)) - first)
    return first, len(old) - last, new[first : len(new) - last]


def _shared(one: str, other: str) -> int:
    """Length of the common beginning, by halving."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text.encode("utf-8", "surrogatepass"))
    except (msgspec.MsgspecError, UnicodeError, ValueError, RecursionError):
        return False
    return True
