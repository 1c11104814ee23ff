"""What a detector is, and what it may keep between exchanges.

In: nothing. Out: `Detector` (a row of the explicit list in detect/__init__.py) and `Context` (bounded caches and the keyed
hash). A detector reads one Scene and yields Hits; it opens nothing, knows no clock and never raises on hostile text.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from afterguard.detect.prefilter import Pattern
from afterguard.detect.status_lines import StatusLines
from afterguard.model import Hit, Judgement, Origin, Severity

if TYPE_CHECKING:
    from afterguard.detect.scene import Scene

V = TypeVar("V")
Pseudonym = Callable[[str], str]
"""Keyed hash of an identifier: text -> short hex. The key is the caller's."""
Opinion = Callable[[str, str], Judgement]
"""The judge: (text, origin) -> Judgement."""
Passage = Callable[[str, str], float | None]
"""The judge's network: (short passage, origin) -> log odds of attack, None where it could not say."""


class Detector(NamedTuple):
    """One detector. `patterns` go into the shared prefilter; their names are topics that `Scene.found` answers."""

    id: str
    """Kebab-case; the module is the same word with underscores."""
    kinds: tuple[str, ...]
    """Incident kinds it may emit; `inventory` for data that is merely present."""
    taxonomies: tuple[str, ...]
    severity: Severity
    """The worst it emits."""
    why: str
    """One sentence for a person: what is seen and why it matters."""
    find: Callable[[Scene], Iterator[Hit]]
    patterns: tuple[Pattern, ...] = ()
    origins: tuple[Origin, ...] = tuple(Origin)
    """Texts of these origins are scanned for the patterns."""


HELD = 8 << 20
"""Characters of keys that one cache keeps: many keys are whole texts, and a text may be megabytes."""
NOTED = 1 << 20
"""The same of what is derived from texts: twenty bytes a character and more."""


class Bounded(Generic[V]):
    """A dictionary of at most `size` entries, and `most` characters of keys, that forgets the least recently used."""

    __slots__ = ("_rows", "held", "most", "size")

    def __init__(self, size: int, most: int = HELD) -> None:
        self.size = size
        self.most = most
        self.held = 0
        self._rows: OrderedDict[str, V] = OrderedDict()

    def get(self, key: str) -> V | None:
        """The value, or None; asking makes it recent."""
        value = self._rows.get(key)
        if value is not None:
            self._rows.move_to_end(key)
        return value

    def put(self, key: str, value: V) -> V:
        """Store and return it."""
        rows = self._rows
        if key not in rows:
            self.held += len(key)
        rows[key] = value
        while len(rows) > self.size or self.held > self.most:
            self.held -= len(rows.popitem(last=False)[0])
        return value

    def __len__(self) -> int:
        return len(self._rows)


class Context:
    """State with the lifetime of one look-back or one guard process: bounded caches and what tools usually say."""

    def __init__(self, pseudonym: Pseudonym, opinion: Opinion | None = None) -> None:
        self._pseudonym = pseudonym
        self.opinion = opinion
        """The judge of text, at an operating point; None: only rules look."""
        self.canaries: Mapping[str, str] = {}
        """Planted token -> what it guards."""
        self.tools: Any = None
        """What was agreed about tools (tool_rules.ToolRules), None where nothing was."""
        self.passage: Passage | None = None
        """The judge's network on a short passage; None: not to be had."""
        self.judgements: Bounded[Judgement] = Bounded(4_096)
        self.doubts = 0
        """Texts about which a nearer, quicker judge was not sure, and the better one has not been asked."""
        self.over_budget = 0
        """Exchanges in which a topic stood in more places than are looked at."""
        self._names: Bounded[str] = Bounded(20_000)
        self.scans: Bounded[tuple[tuple[str, int], ...]] = Bounded(512)
        """Prefilter answers of long texts that repeat (system prompts, history)."""
        self.lines = StatusLines()
        """Status lines each tool gave so far."""
        self.notes: Bounded[object] = Bounded(4_096, NOTED)
        """What a detector derived from a text that repeats, under `detector-id:...`."""

    def pseudonym(self, value: str) -> str:
        """Keyed hash of a value, cached."""
        return self._names.get(value) or self._names.put(value, self._pseudonym(value))
