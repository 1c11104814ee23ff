"""One exchange as detectors see it: every text scanned once by the prefilter, views computed only when asked for.

In: an Exchange, a Context and a Prefilter. Out: `Scene`. It judges nothing. Spans are UTF-8 byte offsets into a text's bytes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from afterguard.detect.detector import Context
from afterguard.detect.past import NONE, ORDERS_CAP, Past
from afterguard.detect.prefilter import Match, Prefilter
from afterguard.detect.redact import redacted
from afterguard.detect.result import Result, results
from afterguard.detect.structure import Passage, passages
from afterguard.model import Confidence, Exchange, Hit, Origin, Severity, Span, Text, ToolCall

REPEATED = 600
"""Texts of at least this many characters are remembered by value: system prompts and history repeat."""
SEPARATOR = "\x1e\n"
FOUND_CAP = 2_000
"""Places of one topic kept for one exchange."""


class Place(NamedTuple):
    """A prefilter match: it ends before byte `end` of texts[text]."""

    text: int
    end: int


class Scene:
    """Lazily computed views of one exchange."""

    def __init__(
        self, exchange: Exchange, context: Context, prefilters: Mapping[Origin, Prefilter], past: Past = NONE
    ) -> None:
        self.exchange = exchange
        self.texts = exchange.texts
        self.context = context
        self.past = past
        """What was judged before. Texts and calls up to there are context, what follows is what this scene is about."""
        self.told = set(past.told)
        self.looked_up = set(past.looked_up)
        self.orders: list[Any] = list(past.orders)
        self.foreign: list[Any] = list(past.foreign)
        self.hits: list[Hit] = []
        """What detectors earlier in the list saw."""
        self._prefilters = prefilters
        self._bytes: dict[int, bytes] = {}
        self._lower: dict[int, str] = {}
        self._found: dict[str, list[Place]] = {}
        self._families: dict[str, list[str]] | None = None
        groups: dict[Origin, list[int]] = {}
        self.origins = groups.keys()
        """Where the texts come from that were not judged before."""
        for index in range(past.texts, len(self.texts)):
            groups.setdefault(self.texts[index].origin, []).append(index)
        for origin, indexes in groups.items():
            self._scan(prefilters[origin], origin, indexes)

    def _scan(self, prefilter: Prefilter, origin: Origin, indexes: list[int]) -> None:
        found = self._found
        fresh: list[int] = []
        for index in indexes:
            value = self.texts[index].value
            if len(value) < REPEATED:
                fresh.append(index)
                continue
            key = origin.value + value
            known = self.context.scans.get(key)
            if known is None:
                known = self.context.scans.put(key, tuple(prefilter.scan(self.data(index))))
            for name, end in known:
                _keep(found, name, Place(index, end))
        starts: list[int] = []
        at = 0
        pieces: list[bytes] = []
        for index in fresh:
            piece = self.data(index)
            starts.append(at)
            pieces.append(piece)
            at += len(piece) + len(SEPARATOR)
        for name, end in prefilter.scan(SEPARATOR.encode().join(pieces)):
            row = bisect_right(starts, end - 1) - 1
            _keep(found, name, Place(fresh[row], min(end - starts[row], len(pieces[row]))))

    @property
    def is_over(self) -> bool:
        """Whether a topic stands in more places than are looked at: the rest of them nobody judged."""
        return any(len(rows) >= FOUND_CAP for rows in self._found.values())

    def data(self, index: int) -> bytes:
        """UTF-8 bytes of texts[index]."""
        known = self._bytes.get(index)
        if known is None:
            known = self._bytes[index] = self.texts[index].value.encode("utf-8", "surrogatepass")
        return known

    def scan(self, data: bytes, origin: Origin) -> list[Match]:
        """Prefilter matches in bytes that are not a text of the exchange, for instance a decoded view."""
        return self._prefilters[origin].scan(data)

    def found(self, topic: str) -> list[Place]:
        """Where the prefilter saw a topic, in the order of the conversation."""
        return self._found.get(topic, [])

    def seen(self, prefix: str) -> list[str]:
        """Topics of a family (`prefix:...`) that the prefilter saw at all: asking for each of a hundred costs more than judging."""
        if self._families is None:
            self._families = {}
            for name in self._found:
                self._families.setdefault(name.partition(":")[0], []).append(name)
        return self._families.get(prefix, [])

    def touched(self, topic: str) -> list[int]:
        """Indexes of the texts in which the prefilter saw a topic."""
        rows = self._found.get(topic)
        return sorted({place.text for place in rows}) if rows else []

    def of(self, *origins: Origin) -> Iterator[tuple[int, Text]]:
        """(index, text) of these origins, those judged before left out."""
        for index in range(self.past.texts, len(self.texts)):
            if self.texts[index].origin in origins:
                yield index, self.texts[index]

    @property
    def calls(self) -> Sequence[ToolCall]:
        """Calls that were not judged before."""
        return self.exchange.calls[self.past.calls :]

    def number(self, call: ToolCall) -> int:
        """Index of a call that was not judged before, -1 where it is none of them."""
        for number in range(self.past.calls, len(self.exchange.calls)):
            if self.exchange.calls[number] is call:
                return number
        return -1

    @cached_property
    def results(self) -> list[Result]:
        """Tool results and documents of the whole conversation, pieces joined; see detect/result.py."""
        return [*self.past.results, *self.fresh]

    @cached_property
    def fresh(self) -> list[Result]:
        """Those that were not judged before."""
        return results(self.texts, self.past.texts)

    @cached_property
    def prose(self) -> dict[int, tuple[Passage, ...]]:
        """Passages of natural language by result index; results without one are left out."""
        found = ((result.first, passages(result.value)) for result in self.fresh)
        return dict(self.past.prose) | {index: tuple(rows) for index, rows in found if rows}

    def leaves(self) -> Past:
        """What the next turn of this conversation needs to know."""
        return Past(
            len(self.texts),
            len(self.exchange.calls),
            frozenset(self.told),
            frozenset(self.looked_up),
            tuple(self.results),
            tuple(self.prose.items()),
            tuple(self.orders[-ORDERS_CAP:]),
            tuple(self.foreign[-ORDERS_CAP:]),
        )

    @cached_property
    def tool_names(self) -> list[str]:
        """Names of tools offered or called, at most 200."""
        names = dict.fromkeys([t.name for t in self.exchange.tools] + [c.name for c in self.exchange.calls])
        return [name for name in names if name][:200]

    def lower(self, text: Text) -> str:
        """The text in lower case, kept while the exchange is judged."""
        key = id(text)
        known = self._lower.get(key)
        if known is None:
            known = self._lower[key] = text.value.lower()
        return known

    def excerpt(self, index: int, span: Span) -> str:
        """The span with a little around it, redacted, at most 240 characters."""
        data = self.data(index)
        cut = data[max(0, span.start - 60) : min(len(data), span.end + 60, max(0, span.start - 60) + 400)]
        return redacted(cut.decode("utf-8", "ignore"))[:240]


def _keep(found: dict[str, list[Place]], name: str, place: Place) -> None:
    rows = found.setdefault(name, [])
    if len(rows) < FOUND_CAP:
        rows.append(place)


def hit(
    scene: Scene,
    detector: str,
    kind: str,
    taxonomies: tuple[str, ...],
    *,
    severity: Severity,
    confidence: Confidence = Confidence.high,
    text: int = -1,
    span: Span = Span(0, 0),  # noqa: B008 - an immutable tuple
    values: tuple[str, ...] = (),
    data_classes: tuple[str, ...] = (),
    cause: str = "",
    rule: str = "",
    would_change: str = "",
    excerpt: str = "",
    call: ToolCall | None = None,
) -> Hit:
    """A Hit with redacted excerpt and hashed values. `values` are raw identifiers; only their keyed hashes leave."""
    return Hit(
        detector=detector,
        kind=kind,
        severity=severity,
        confidence=confidence,
        exchange=scene.exchange.id,
        taxonomies=taxonomies,
        text=text,
        call=-1 if call is None else scene.number(call),
        span=span,
        excerpt=excerpt or (scene.excerpt(text, span) if text >= 0 and kind != "inventory" else ""),
        identifiers=tuple(scene.context.pseudonym(value) for value in values),
        data_classes=data_classes,
        cause=cause,
        rule=rule,
        would_change=would_change,
    )
