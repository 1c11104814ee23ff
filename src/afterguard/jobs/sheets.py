"""Where a guard's measures come from when they are pulled: a source of signed sheets.

In: settings, the guard's folder and key. Out: `once`, one look at the source. A sheet that is not signed by a responder who is trusted, or is older than one that was taken, is not taken, and said.

Theory of operation. See source.py; the sheet lies in `pulled-measures.json`, and every process of the guard checks it again when it reads it (measured.py). A sheet does not expire, its measures do: so a guard that
was not in touch with its source for `measures_stale` seconds goes on with them, and is stale.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from afterguard import files
from afterguard.config import GuardConfig
from afterguard.jobs.source import Source, State, is_address
from afterguard.policy import measures
from afterguard.policy.measures import Sheet, SheetRefused

NAME = "pulled-measures"
FILE = f"{NAME}.json"


class Sheets(Source):
    """The source of one guard's measures."""

    stays = "the measures stay as they were"
    cap = measures.CAP

    def __init__(
        self, settings: GuardConfig, folder: Path, secret: bytes, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(settings.measures, NAME, settings, folder, clock)
        self.file = folder / FILE
        self.trusted = trusted(settings, secret)

    def first(self) -> None:
        """What a guard begins with: what is held, else what the source says now. A guard that cannot be told of measures serves all the same, and is stale."""
        if self._held() is None:
            self.once()

    def _held(self) -> Sheet | None:
        """The sheet that was taken last; None where there is none from this source, or it was changed on disk."""
        if self.state().source != self.source:
            return None
        try:
            return measures.read(files.named(self.file, measures.CAP), self.trusted)
        except (SheetRefused, OSError):
            return None

    def _look(self, state: State) -> str:
        here = self._held()
        data, etag = self._fetched(state.etag if here else "")
        if data is None:
            return "unchanged"
        sheet = measures.read(data, self.trusted)
        is_new = measures.follows(sheet, state.sequence, state.digest)
        if is_new or here is None:
            measures.usable(sheet)
            self._put(FILE, data)
            state.sequence, state.digest = sheet.sequence, sheet.digest
        state.etag = etag
        return "changed" if is_new else "unchanged"


def sheets_of(settings: GuardConfig, folder: Path, secret: bytes) -> Sheets | None:
    """The source of measures that are pulled; None where they are a file that is looked at. Raises UsageError."""
    return Sheets(settings, folder, secret) if is_address(settings.measures) else None


def trusted(settings: GuardConfig, secret: bytes) -> tuple[str, ...]:
    """The keys whose measures count at a guard."""
    return (measures.public_of(measures.own_key(secret)), *settings.responder_keys)
