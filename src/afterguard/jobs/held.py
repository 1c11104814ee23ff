"""Code without a word of AI, held until the walk is over: which of it belongs to the files that use AI.

In: sources as they are walked, and the Summaries of what was parsed. Out: held sources to parse, each with whether discovery should look
at it too. It parses nothing; what does not fit is not held.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from afterguard.code.mentions import belongs, imported, stem
from afterguard.discover import across, unread
from afterguard.discover.packages import Packages
from afterguard.discover.summary import Summary
from afterguard.discover.worth import Worth
from afterguard.model import Source

HELD_BYTES = 48 << 20
FAR_ROUTES = 500
"""Files with web routes that name no file with AI and are read all the same: the model may run several files away."""
ROUNDS = 2
"""Rounds of looking for files that hold names; each is a step from file to file."""
BETWEEN = 4
"""The same for files between a web route and a model."""
ROUND_FILES = 200
FEW = 40
"""Files that hold names; what they import is only looked at where they are as few."""


class Held:
    """Sources kept back. `keep` and `used` during the walk, `belonging` once after it."""

    def __init__(self) -> None:
        self.sources: dict[str, tuple[Source, Worth]] = {}
        self.stems: set[str] = set()
        self.wanted: set[str] = set()
        self.folders: set[str] = set()
        self.bytes = 0
        self.passed_over = 0
        """Files that a cap left unread although they might have belonged; the caller says so."""

    def keep(self, source: Source, worth: Worth) -> bool:
        """Hold a file without AI; False where no more fits."""
        self.bytes += len(source.data)
        if self.bytes > HELD_BYTES:
            self.passed_over += 1
            return False
        self.sources[source.path] = (source, worth)
        return True

    def used(self, source: Source) -> None:
        """Note a file with AI: others belong to it by name, by import or by folder."""
        self.stems.add(stem(source.path))
        self.wanted |= imported(source.data)
        self.folders.add(source.path.rpartition("/")[0])

    def belonging(self, summaries: Sequence[Summary], checking: bool) -> Iterator[tuple[Source, bool]]:
        """(source, whether discovery should look) of what to parse. Each must be parsed before the next is asked for,
        and its Summary be in `summaries`: what it names decides what comes after it."""
        packages = Packages([*self.sources, *(one.path for one in summaries)])
        yield from self._naming(summaries, packages)
        far = []
        stems, wanted = frozenset(self.stems), frozenset(self.wanted)
        for source, worth in list(self.sources.values()):
            if not worth.route and not (worth.sink and checking):
                continue
            if belongs(source.path, source.data, stems, wanted, self.folders):
                yield self._taken(source.path), worth.route
            elif worth.route:
                far.append(source.path)
        if not across.runs_any(summaries):
            return
        self.passed_over += len(far[FAR_ROUTES:])
        yield from ((self._taken(path), True) for path in far[:FAR_ROUTES])
        for _ in range(BETWEEN):
            found = sorted(across.missing(summaries, packages) & self.sources.keys())[:ROUND_FILES]
            if not found:
                return
            yield from ((self._taken(path), True) for path in found)

    def _naming(self, summaries: Sequence[Summary], packages: Packages) -> Iterator[tuple[Source, bool]]:
        """Files that hold a model's name or a tool for a file that uses AI; and what those hand on."""
        fresh = unread.named(summaries, packages)
        for _ in range(ROUNDS):
            found = sorted(fresh & self.sources.keys())[:ROUND_FILES]
            before = len(summaries)
            yield from ((self._taken(path), True) for path in found)
            fresh = unread.imported(summaries[before:], packages) if len(found) < FEW else set()

    def _taken(self, path: str) -> Source:
        return self.sources.pop(path)[0]
