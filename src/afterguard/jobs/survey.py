"""One walk over the paths: discover and scan share every parsed file.

In: paths and an App. Out: a Survey. Logs are streamed, sources are parsed once and kept (up to a cap) for the second pass of
the checks. It does not judge recorded prompts (jobs/lookback.py) and writes nothing.
"""

from __future__ import annotations

import os.path
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from afterguard import files, scan
from afterguard.code.parse import LANGUAGES, Parsed, parse
from afterguard.discover import across, finders, gaps, inventory, owners, traffic, worth_config
from afterguard.discover.neighbours import Neighbours
from afterguard.discover.worth import Worth
from afterguard.discover.worth import worth as worth_of
from afterguard.jobs.held import Held
from afterguard.model import App, Asset, Coverage, Finding, Source, Survey
from afterguard.scan import posture

EVERYTHING = Worth(True, True)
KEPT_BYTES = 48 << 20
"""Source bytes kept parsed (about ten times that in memory) so that values are followed across files; later files are
checked one by one, with a coverage row that says so."""
SHOWN = 3
"""Syntax errors of one file told by line; the rest of them are counted."""
LOG_KINDS = {"log", "csv", "text", "json", "binary", "manifest"}
Progress = Callable[[int, str, int], None]


class Walk:
    """State of one walk: what was found so far and how much was read."""

    def __init__(self, note: files.Note, limits: files.Limits, progress: Progress, checking: bool) -> None:
        self.note, self.limits, self.progress, self.checking = note, limits, progress, checking
        self.assets: list[Asset] = []
        self.periods: list[gaps.Period] = []
        self.kept: list[Parsed] = []
        self.neighbours = Neighbours()
        self.alone: list[scan.Examined] = []
        self.held = Held()
        self.summaries: list[across.Summary] = []
        self.files = self.bytes = self.kept_bytes = 0

    def read(self, roots: list[Path]) -> None:
        """Read everything below the roots once."""
        for entry in files.walk(roots, self.note, self.limits):
            self.files += 1
            self.bytes += entry.size
            self.progress(self.files, "files", self.bytes)
            if not self._traffic(entry):
                for source in files.opened(entry, self.note, self.limits):
                    self._source(source)
        for parsed in self.neighbours.parsed():
            self._parsed(parsed, ai=True)
        for source, ai in self.held.belonging(self.summaries, self.checking):
            self._parsed(parse(source), ai=ai)
        if self.held.passed_over:
            what = "code without a word of AI, not followed from file to file beyond the cap"
            self.note(Coverage("(code)", "cap", what, count=self.held.passed_over))
        self.assets = across.settle(self.assets, self.summaries)

    def _traffic(self, entry: files.Entry) -> bool:
        if files.kind_of(entry.path, b"") not in LOG_KINDS:
            return False
        kind = traffic.recognise(entry.path, files.head(entry))
        if not kind:
            return False
        try:
            with files.open_stream(entry.full, entry.path, self.note, self.limits) as stream:
                lines = files.lines(stream, self.limits.line_bytes)
                self.assets += traffic.read(kind, entry.path, lines, self.note, self.periods.append)
        except OSError as error:
            self.note(Coverage(entry.path, "unreadable", error.strerror or str(error)))
        return True

    def _source(self, source: Source) -> None:
        worth = EVERYTHING if source.kind in ("manifest", "binary") else worth_of(source.data)
        if self.neighbours.holds(source):
            return
        code = source.kind in LANGUAGES
        if worth.ai or worth_config.is_worth(source):
            self._parsed(parse(source), ai=True)
            if code:
                self.held.used(source)
        elif code and self.held.keep(source, worth):
            return
        elif self.checking and (worth.sink or (not code and posture.is_worth(source))):
            self._parsed(parse(source), ai=False)

    def _parsed(self, parsed: Parsed, *, ai: bool) -> None:
        source = parsed.source
        for line, what in parsed.errors[:SHOWN]:
            self.note(Coverage(source.path, "bad_syntax", f"line {line}: {what}"))
        if len(parsed.errors) > SHOWN:
            rest = len(parsed.errors) - SHOWN
            self.note(Coverage(source.path, "bad_syntax", "further places in this file", count=rest))
        if ai:
            self.assets += finders.find(parsed, self.note, self.summaries.append)
        if not self.checking:
            return
        self.kept_bytes += len(source.data)
        if self.kept_bytes <= KEPT_BYTES:
            self.kept.append(parsed)
        else:
            self._alone(parsed)

    def _alone(self, parsed: Parsed) -> None:
        if not self.alone:
            self.note(Coverage(parsed.source.path, "cap", "from here on values are not followed from file to file"))
        self.alone.append(scan.examine(parsed, scan.context_of([parsed], ())))


def survey(
    roots: list[Path],
    app: App,
    *,
    note: files.Note,
    limits: files.Limits = files.DEFAULT,
    progress: Progress = lambda _count, _unit, _done: None,
    checking: bool = True,
    seen: tuple[Asset, ...] = (),
) -> Survey:
    """Discover, and with `checking` scan, everything below the roots. Raises UsageError for a missing path.

    `seen` are assets known from elsewhere (a look-back), joined with what is found.
    """
    rows: list[Coverage] = []

    def keep(row: Coverage) -> None:
        rows.append(row)
        note(row)

    walk = Walk(keep, limits, progress, checking)
    walk.read(roots)
    owner = owners.owners_of(_folder(roots))
    assets = tuple(_owned(one, owner) for one in inventory.join([*walk.assets, *seen]))
    findings: list[Finding] = list(gaps.gaps(assets, walk.periods))
    checks: dict[str, str] = {}
    suppressed: tuple[Finding, ...] = ()
    if checking:
        context = scan.context_of(walk.kept, assets)
        for row in context.coverage:
            keep(row)
        result = scan.gather([*(scan.examine(one, context) for one in walk.kept), *walk.alone])
        findings += result.findings
        checks, suppressed = result.outcomes, result.suppressed
        for row in result.coverage:
            keep(row)
    return Survey(
        _with_owner(app, assets), assets, tuple(findings), tuple(rows), walk.files, walk.bytes, checks, suppressed
    )


def _folder(roots: Iterable[Path]) -> Path:
    first = next(iter(roots), Path())
    return first if os.path.isdir(first) else first.parent


def _owned(asset: Asset, owner: Callable[[str], str]) -> Asset:
    if asset.owner or not asset.evidence:
        return asset
    return msgspec.structs.replace(asset, owner=owner(asset.evidence[0].path))


def _with_owner(app: App, assets: tuple[Asset, ...]) -> App:
    """The application belongs to whoever owns most of what was found in it."""
    counted = Counter(one.owner for one in assets if one.owner)
    if app.owner or not counted:
        return app
    return msgspec.structs.replace(app, owner=max(sorted(counted), key=lambda name: counted[name]))
