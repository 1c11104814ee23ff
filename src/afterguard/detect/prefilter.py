"""The native multi-pattern prefilter that feeds detectors and discovery: one pass over the bytes for all patterns.

In: patterns as (name, regular expression) in the common subset of Hyperscan, RE2 and Python. Out: (name, end offset)
pairs in order of end offset, ends only. It says where to look, never that something is there: detectors verify.
Backends in order: Hyperscan, RE2, Python's own re; all three return the same set of names (tests/detect/test_prefilter.py).
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from itertools import islice
from typing import Any, NamedTuple, Protocol


class Pattern(NamedTuple):
    """`name` is what a match reports. `expression` is bytes-oriented; no look-around, no back-references."""

    name: str
    expression: str
    ignore_case: bool = False
    once: bool = False
    """Report at most one match a scan: for "is it there at all"."""


class Match(NamedTuple):
    """A pattern seen, ending before byte offset `end`."""

    name: str
    end: int


class Prefilter:
    """Compiled patterns. Not thread-safe: one per thread or process."""

    def __init__(self, patterns: Iterable[Pattern], backend: str = "", places: int = 0) -> None:
        """`places` above 0 keeps only the first matches of each pattern in a scan: each costs memory. 0 keeps all."""
        self.patterns: Sequence[Pattern] = list(patterns)
        self.backend = backend or _best()
        build = {"hyperscan": _hyperscan, "re2": _re2, "python": _python}[self.backend]
        self._scan = build(self.patterns, places or sys.maxsize)

    def scan(self, data: bytes) -> list[Match]:
        """Matches, ascending by end."""
        return sorted(self._scan(data), key=lambda match: match.end)


def _best() -> str:
    for name, module in (("hyperscan", "hyperscan"), ("re2", "re2")):
        try:
            __import__(module)
        except ImportError:
            continue
        return name
    return "python"


class Memory(Protocol):
    """Where compiled patterns may be kept between processes; the command line lends one. Compiling costs seconds."""

    def get(self, key: str) -> bytes | None:
        """What was kept under a key, or None."""

    def put(self, key: str, data: bytes) -> None:
        """Keep it, if possible."""


_memory: list[Memory] = []


def remember(memory: Memory) -> None:
    """Use a memory for compiled patterns from now on."""
    _memory[:] = [memory]


def memory() -> Memory | None:
    """What is in use, to lend it to another process."""
    return _memory[0] if _memory else None


def _database(patterns: Sequence[Pattern]) -> Any:
    """The compiled database, from the memory where this machine already compiled the same patterns."""
    import hyperscan

    flags = [
        (hyperscan.HS_FLAG_CASELESS if p.ignore_case else 0) | (hyperscan.HS_FLAG_SINGLEMATCH if p.once else 0)
        for p in patterns
    ]
    told = repr((version("hyperscan"), [(p.expression, flag) for p, flag in zip(patterns, flags)]))
    key = hashlib.sha256(told.encode()).hexdigest()
    kept = _memory[0].get(key) if _memory else None
    if kept:
        try:
            loaded = hyperscan.loadb(kept, hyperscan.HS_MODE_BLOCK)
            loaded.scratch = hyperscan.Scratch(loaded)
            return loaded
        except hyperscan.HyperscanError:
            pass  # made by another processor or version: compiled anew and kept again
    database = hyperscan.Database()
    database.compile(
        expressions=[p.expression.encode() for p in patterns],
        ids=list(range(len(patterns))),
        elements=len(patterns),
        flags=flags,
    )
    if _memory:
        _memory[0].put(key, hyperscan.dumpb(database))
    return database


def _hyperscan(patterns: Sequence[Pattern], places: int) -> Any:
    database = _database(patterns)
    names = [p.name for p in patterns]

    def scan(data: bytes) -> list[Match]:
        out: list[Match] = []
        kept = [0] * len(names)

        def seen(number: int, _start: int, end: int, _flags: int, _context: Any) -> None:
            if kept[number] < places:
                kept[number] += 1
                out.append(Match(names[number], end))

        if data:
            database.scan(data, match_event_handler=seen)
        return out

    return scan


def _re2(patterns: Sequence[Pattern], places: int) -> Any:
    import re2

    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = 64 << 20
    options.log_errors = False
    chosen = re2.Set.SearchSet(options)
    for p in patterns:
        chosen.Add((f"(?i){p.expression}" if p.ignore_case else p.expression).encode())
    chosen.Compile()
    single = [
        re2.compile((f"(?i){p.expression}" if p.ignore_case else p.expression).encode(), options) for p in patterns
    ]

    def scan(data: bytes) -> list[Match]:
        out: list[Match] = []
        for number in chosen.Match(data) or ():  # None stands for no match
            for found in islice(single[number].finditer(data), places):
                out.append(Match(patterns[number].name, found.end()))
                if patterns[number].once:
                    break
        return out

    return scan


def _python(patterns: Sequence[Pattern], places: int) -> Any:
    compiled = [(p, re.compile(p.expression.encode(), re.I if p.ignore_case else 0)) for p in patterns]

    def scan(data: bytes) -> list[Match]:
        out: list[Match] = []
        for p, expression in compiled:
            for found in islice(expression.finditer(data), places):
                out.append(Match(p.name, found.end()))
                if p.once:
                    break
        return out

    return scan
