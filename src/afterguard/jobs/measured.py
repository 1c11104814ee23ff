"""A sheet of measures on disk -> what a running guard refuses, within a second.

In: the settings, the guard's key, a look now and then. Out: the brain's measures, numbers, and a copy in the guard's folder: a file that is taken away lifts nothing, not even over a restart. A sheet that was
pulled (sheets.py) is one more file: its signature is checked here, whoever brought it.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from afterguard import files
from afterguard.config import GuardConfig
from afterguard.errors import AfterguardError
from afterguard.guard.brain import Brain
from afterguard.guard.metrics import Metrics
from afterguard.jobs import sheets
from afterguard.jobs.sheets import Sheets
from afterguard.jobs.source import is_address
from afterguard.policy import measures
from afterguard.policy.measures import Sheet, SheetRefused

log = logging.getLogger("afterguard.guard")
FILE, HELD = "measures.json", "measures.held.json"


def place(settings: GuardConfig, folder: Path) -> Path:
    """Where the sheet lies that a guard reads."""
    if is_address(settings.measures):
        return folder / sheets.FILE
    return Path(settings.measures) if settings.measures else folder / FILE


class Measured:
    """The sheet in force."""

    def __init__(
        self,
        settings: GuardConfig,
        folder: Path,
        secret: bytes,
        brain: Brain,
        metrics: Metrics,
        source: Sheets | None = None,
    ) -> None:
        self.file, self.copy = place(settings, folder), folder / HELD
        self.trusted = sheets.trusted(settings, secret)
        self.stale = settings.measures_stale
        self.source = source
        """Where the file is pulled from; None where it is put there."""
        self.brain, self.metrics = brain, metrics
        self.sheet: Sheet | None = None
        self._stamp: tuple[int, int, int] | None = None
        self._take_copy()

    def look(self, now: float) -> bool:
        """Take a new sheet, let go what has ended, and count. Whether anything changed."""
        is_changed = self._look(now)
        self._note()
        return is_changed

    def pulled(self, outcome: str) -> None:
        """A look at the source is over."""
        self.metrics.add("afterguard_measures_pulls_total", outcome)
        if outcome not in ("changed", "unchanged", "unreachable"):
            self.metrics.add("afterguard_measures_refused_total", outcome)

    def _look(self, now: float) -> bool:
        stamp = _stamp(self.file)
        is_new = stamp != self._stamp
        self._stamp = stamp
        if is_new and stamp is None and self.sheet is not None:
            self._refuse("gone", f"{self.file} is gone; its measures hold on until they end")
        if is_new and stamp is not None and self._read():
            self._put(now)
            return True
        if now >= self.brain.measures.ends:
            self._put(now)
            return True
        return False

    def _read(self) -> bool:
        """Whether there is another sheet than before."""
        try:
            data = files.named(self.file, measures.CAP)
            sheet = measures.read(data, self.trusted)
            held = self.sheet
            is_next = held is None or measures.follows(sheet, held.sequence, held.digest)
            measures.usable(sheet)
        except SheetRefused as error:
            self._refuse(error.reason, str(error))
            return False
        except OSError as error:
            self._refuse("unreadable", str(error))
            return False
        self.sheet = sheet
        if is_next:
            self._keep(data)
        return is_next

    def _take_copy(self) -> None:
        try:
            self.sheet = measures.read(files.named(self.copy, measures.CAP), self.trusted)
        except (AfterguardError, OSError):
            return
        self.brain.take(measures.standing(self.sheet, 0.0))  # the first look lets go what has ended

    def _put(self, now: float) -> None:
        found = measures.standing(self.sheet, now)
        self.brain.take(found)
        log.warning("measures: %d of responders hold", found.live)

    def _note(self) -> None:
        put = self.metrics.set
        put("afterguard_measures", self.brain.measures.live)
        put("afterguard_measures_sequence", self.sheet.sequence if self.sheet else 0)
        if self.sheet is not None:
            put("afterguard_measures_created_timestamp_seconds", int(self.sheet.created))
        if self.source is not None:
            pulled, is_stale = self.source.touched(self.stale)
            put("afterguard_measures_pulled_timestamp_seconds", int(pulled))
            put("afterguard_measures_stale", float(is_stale))

    def _refuse(self, reason: str, says: str) -> None:
        self.metrics.add("afterguard_measures_refused_total", reason)
        log.error("the measures stay as they were: %s", says)

    def _keep(self, data: bytes) -> None:
        part = self.copy.with_name(f".{self.copy.name}.{os.getpid()}.part")
        try:
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
                out.write(data)
            part.replace(self.copy)
        except OSError as error:
            log.error("no copy of the measures can be kept: %s", files.why(error))


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
