"""What a person has to approve, and what they said: entries, their states, and what this process knows of them.

In: what a rule with the action `ask` held, what a person decided, a clock. Out: whether something may pass now, and which entry says so. Where entries are kept is
shelf.py's; which part of an exchange an entry is about is hold.py's.

Theory of operation. An entry names its matter by parts: keyed hashes of route, application, conversation, identity, rule and the content that matched. Nothing of the content itself is kept but
redacted evidence. Every entry is sealed with the guard's key, when it is asked and again when it is settled, so that whoever can only write to the shared state can neither approve nor
change what an approver sees. A `Book` is one process's copy of the shared state, twice a second made anew; it says what is pending or denied without waiting. Only a use is taken from the
shared state itself, at once and by one process only, and that happens as often as persons approved something. Where the shared state is away nothing passes: it is asked again.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, Protocol

import msgspec

PENDING = 1_000
"""Entries that wait; the oldest is dropped and counted when another one comes."""
SETTLED = 1_000
"""Entries that are over, or wait for their use; the oldest is forgotten when another one comes."""
WAITS = 24 * 3600.0
"""Seconds in which a person has to answer."""
KEEP = 30 * 24 * 3600.0
"""Seconds for which an entry is remembered: so long a denial stands, and what was let through passes as history."""
MARK = " [approval "
"""Behind a rule's sentence, in what the client is told."""

State = Literal["pending", "approved", "denied", "used", "expired"]
STATES: tuple[State, ...] = ("pending", "approved", "denied", "used", "expired")


class Approval(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that was asked, and what became of it. Times in seconds since the epoch."""

    id: str
    """Of the decision that asked first."""
    route: str
    app: str
    conversation: str
    identity: str
    """Pseudonym of who asked, "" where nobody knows."""
    known_by: str
    """key: the identity is that of a key; name: of a name in the body; "" where there is none."""
    at: str
    """request, response or call."""
    rules: tuple[str, ...]
    says: str
    evidence: tuple[str, ...]
    """Redacted."""
    parts: tuple[str, ...]
    """Keyed hashes of what was asked, one as often as it was asked."""
    asked: float
    expires: float
    """When it can no longer be approved; of an approved one, when it can no longer be used."""
    policy: str = ""
    verdict: str = ""
    """approved, denied, or "" while it waits."""
    by: str = ""
    account: str = ""
    """The account of the system that settled it: `by` is what was said, this is who was logged in."""
    reason: str = ""
    settled: float = 0.0
    uses: int = 0
    is_another: bool = False
    """Whether it is certain that the approver is not who asked."""
    used: int = 0
    last_used: float = 0.0
    seal: str = ""

    def state(self, now: float) -> State:
        """What it is good for."""
        if self.verdict == "denied":
            return "denied"
        if self.verdict == "approved" and self.used >= self.uses:
            return "used"
        if now >= self.expires:
            return "expired"
        return "approved" if self.verdict == "approved" else "pending"

    @property
    def touched(self) -> float:
        """When something last became of it."""
        return max(self.asked, self.settled, self.last_used)


UNSEALED = {"used": 0, "last_used": 0.0, "seal": ""}
"""What changes after sealing."""


def fingerprint(key: bytes, content: Sequence[object]) -> str:
    """A keyed hash of anything JSON can say."""
    data = json.dumps(content, separators=(",", ":")).encode()
    return hmac.digest(key, b"afterguard approval part\0" + data, "sha256").hex()[:32]


def sealed(one: Approval, key: bytes) -> Approval:
    """The entry with its seal."""
    return msgspec.structs.replace(one, seal=_seal(one, key))


def is_genuine(one: Approval, key: bytes) -> bool:
    """Whether the entry was made by somebody who has the guard's key."""
    try:
        return hmac.compare_digest(one.seal.encode(), _seal(one, key).encode())
    except UnicodeError:  # nothing that this guard wrote
        return False


def _seal(one: Approval, key: bytes) -> str:
    data = msgspec.json.encode(msgspec.structs.replace(one, **UNSEALED))
    return hmac.digest(key, b"afterguard approval\0" + data, "sha256").hex()


def surplus(entries: Iterable[Approval], now: float) -> tuple[set[str], set[str]]:
    """(ids of entries that wait and have to go, ids of others that are to be forgotten)."""
    entries = list(entries)
    waiting = sorted((one for one in entries if one.state(now) == "pending"), key=lambda one: one.asked)
    rest = sorted(
        (one for one in entries if one.state(now) != "pending"),
        key=lambda one: (one.state(now) == "approved", one.touched),
    )
    dropped = {one.id for one in waiting[: max(0, len(waiting) - PENDING)]}
    old = {one.id for one in rest if one.state(now) != "approved" and now - one.touched > KEEP}
    return dropped, old | {one.id for one in rest[: max(0, len(rest) - SETTLED)]}


class Shelf(Protocol):
    """Where entries are kept for all processes. Raises whatever its medium raises."""

    def load(self) -> list[Approval] | None:
        """Every entry; None where nothing changed since this object last looked."""

    def add(self, new: Sequence[Approval], now: float) -> int:
        """Put down what waits, unless it is settled already; how many older ones had to go."""

    def settle(self, identifier: str, change: Callable[[Approval], Approval]) -> Approval | None:
        """Change one entry, alone; None where there is none. What `change` raises is passed on and nothing is changed."""

    def claim(self, identifier: str, now: float, key: bytes) -> Approval | None:
        """Take one use of an entry that is approved now, alone; the entry, None where there is none left."""

    def dropped(self) -> int:
        """How many had to go, ever."""


class Book:
    """What one process knows of the shared state."""

    def __init__(
        self,
        shelf: Shelf,
        key: bytes,
        clock: Callable[[], float],
        count: Callable[[str, str], None] = lambda event, route: None,
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        self.shelf = shelf
        self.key = key
        self.clock = clock
        self.count = count
        """Called with an event (asked, used, dropped, forged) and a route."""
        self.failed = failed
        """Called when the shared state could not be reached or read."""
        self.known: dict[str, Approval] = {}
        self.waiting: dict[str, Approval] = {}
        """What was asked here and is not in the shared state yet."""
        self._by_part: dict[str, list[str]] = {}
        self._used: frozenset[str] = frozenset()

    # -- what a session asks

    def claim(self, parts: Counter[str]) -> Approval | None:
        """An entry that lets all these pass, with one use taken from it; None where nobody approved them."""
        now = self.clock()
        for one in self._about(parts, ("approved",), now):
            try:
                taken = self.shelf.claim(one.id, now, self.key)
            except Exception:  # whatever a file system or a client library raises
                self.failed()
                return None
            if taken is not None:
                self._put(taken)
                self.count("used", taken.route)
                return taken
            # Another process was quicker, or it was taken back: what is known here is too old.
            self._put(msgspec.structs.replace(one, used=one.uses))
        return None

    def answered(self, parts: Counter[str]) -> Approval | None:
        """An entry about all these that a person denied, or that still waits for one."""
        now = self.clock()
        for state in ("denied", "pending"):
            for one in self._about(parts, (state,), now):
                return one
        return None

    def was_used(self, part: str) -> bool:
        """Whether this passed once because somebody approved it."""
        return part in self._used

    def ask(self, one: Approval) -> None:
        """Put down that a person has to approve something; written with the next turn. Again with the same id: in its place."""
        if one.id not in self.waiting and one.id not in self.known:
            self.count("asked", one.route)
        self.waiting[one.id] = sealed(one, self.key)
        self._index(one)
        while len(self.waiting) > PENDING:
            self._forget(next(iter(self.waiting)))

    def _forget(self, identifier: str) -> None:
        self.waiting.pop(identifier)
        self.count("dropped", "all")

    def _about(self, parts: Counter[str], states: Sequence[str], now: float) -> Iterable[Approval]:
        for identifier in self._by_part.get(next(iter(parts), ""), ()):
            one = self.waiting.get(identifier) or self.known.get(identifier)
            if one is not None and one.state(now) in states and parts <= Counter(one.parts):
                yield one

    # -- the shared state

    def now(self) -> None:
        """Write what waits and read what is there, at once: for a process that begins or ends."""
        self._learn(*self._exchanged(list(self.waiting.values())))

    async def turn(self) -> None:
        """The same, while this loop goes on."""
        self._learn(*await asyncio.to_thread(self._exchanged, list(self.waiting.values())))

    async def keep(self, every: float, then: Callable[[], None] = lambda: None) -> None:
        """A turn every so many seconds, until cancelled."""
        while True:
            await self.turn()
            then()
            await asyncio.sleep(every)

    def _exchanged(self, new: list[Approval]) -> tuple[list[Approval], list[Approval] | None, int]:
        """(what was written, what is there now, how many had to go)."""
        try:
            gone = self.shelf.add(new, self.clock()) if new else 0
            return new, self.shelf.load(), gone
        except Exception:  # whatever a file system or a client library raises
            self.failed()
            return [], None, 0

    def _learn(self, written: list[Approval], found: list[Approval] | None, gone: int) -> None:
        for _ in range(gone):
            self.count("dropped", "all")
        if found is not None:
            genuine = [one for one in found if one == self.known.get(one.id) or is_genuine(one, self.key)]
            for _ in range(len(found) - len(genuine)):
                self.count("forged", "all")
            self.known = {one.id: one for one in genuine}
            self._by_part = {}
            for one in (*genuine, *self.waiting.values()):
                self._index(one)
            self._used = frozenset(part for one in genuine if one.used for part in one.parts)
        for one in written:
            if self.waiting.get(one.id) is one:
                del self.waiting[one.id]

    def _put(self, one: Approval) -> None:
        self.known[one.id] = one
        if one.used:
            self._used |= frozenset(one.parts)

    def _index(self, one: Approval) -> None:
        for part in set(one.parts):
            rows = self._by_part.setdefault(part, [])
            if one.id not in rows:
                rows.append(one.id)

    def states(self) -> Counter[str]:
        """How many entries are in each state."""
        now = self.clock()
        found = Counter(one.state(now) for one in {**self.known, **self.waiting}.values())
        return Counter({state: found[state] for state in STATES})
