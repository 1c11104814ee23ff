"""What a check is, and what it is given.

In: the definition of a weakness and a parsed file. Out: `Check` and `Context`, through which a check reads the file's value
flow, its physical lines and what other files of the application are known to do. Nothing here reads a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar, cast

import msgspec

from afterguard.code.parse import Parsed
from afterguard.model import Asset, Confidence, Coverage, Finding, Severity
from afterguard.scan.flow import External, Flow
from afterguard.scan.follower import follow
from afterguard.scan.snippet import shown
from afterguard.scan.summary import Summary, known_elsewhere

Kept = TypeVar("Kept")
CODE = ("python", "notebook", "javascript", "typescript", "java", "kotlin", "go")
CONFIG = ("yaml", "json", "toml", "hcl", "dockerfile", "env", "ini")


class Check(msgspec.Struct, frozen=True):
    """A weakness to look for. `kinds` are the source kinds it can judge; `persona` auditor means shown on request only."""

    id: str
    title: str
    severity: Severity
    taxonomies: tuple[str, ...]
    why: str
    fix: str
    kinds: tuple[str, ...]
    persona: str = "regular"


class Context:
    """One application as far as it is known: assets, and what each file says about its functions.

    Flow and lines of the file under examination are kept for the checks that share them; one file at a time.
    """

    def __init__(
        self, summaries: Iterable[Summary] = (), assets: Iterable[Asset] = (), coverage: Iterable[Coverage] = ()
    ) -> None:
        self.summaries = tuple(summaries)
        self.assets = tuple(assets)
        self.coverage = tuple(coverage)
        """Files whose meaning to the others could not be told."""
        self.external: External = known_elsewhere(self.summaries)
        self.has_ai = any(one.has_ai for one in self.summaries) or bool(self.assets)
        self.locked = frozenset(name for one in self.summaries for name in one.locked)
        self._path = ""
        self._flow: Flow | None = None
        self._lines: list[str] = []
        self._text = ""
        self._kept: dict[str, object] = {}

    def _turn_to(self, parsed: Parsed) -> None:
        if parsed.source.path != self._path or not self._lines:
            self._path = parsed.source.path
            self._text = parsed.source.data.decode("utf-8", "replace")
            self._lines = self._text.split("\n")
            self._kept = {}
            self._flow = None

    def flow(self, parsed: Parsed) -> Flow:
        """How values move through the file; empty for a file that is not code."""
        self._turn_to(parsed)
        if self._flow is None:
            self._flow = follow(parsed.module, self._lines, self.external)
        return self._flow

    def lines(self, parsed: Parsed) -> list[str]:
        """The physical lines, without their newlines; line n is element n-1."""
        self._turn_to(parsed)
        return self._lines

    def text(self, parsed: Parsed) -> str:
        """The whole file as text."""
        self._turn_to(parsed)
        return self._text

    def kept(self, parsed: Parsed, name: str, make: Callable[[], Kept]) -> Kept:
        """What several checks need of one file, made once."""
        self._turn_to(parsed)
        if name not in self._kept:
            self._kept[name] = make()
        return cast("Kept", self._kept[name])

    def finding(
        self,
        check: Check,
        parsed: Parsed,
        line: int,
        message: str,
        *,
        confidence: Confidence = Confidence.high,
        severity: Severity | None = None,
        taxonomies: tuple[str, ...] = (),
        fix: str = "",
        function: str = "",
        end_line: int = 0,
    ) -> Finding:
        """A finding of `check` at a physical line, with its redacted snippet; the fingerprint comes later."""
        lines = self.lines(parsed)
        text = lines[line - 1] if 0 < line <= len(lines) else ""
        return Finding(
            rule=check.id,
            severity=severity or check.severity,
            confidence=confidence,
            path=parsed.source.path,
            line=max(1, line),
            taxonomies=taxonomies or check.taxonomies,
            message=message,
            fix=fix or check.fix,
            title=check.title,
            end_line=end_line,
            snippet=shown(text),
            attributes={"function": function} if function else {},
        )


Look = Callable[[Parsed, Context], Iterator[Finding]]
