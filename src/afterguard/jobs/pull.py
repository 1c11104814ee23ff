"""Where a guard's policy comes from when it is pulled: a source of signed bundles.

In: settings and the guard's folder. Out: `held`, the bundle that is in force; `once`, one look at the source. What is not signed by a trusted key, is older than what was in force, or has expired, is not
taken, and said.

Theory of operation. See source.py; the bundle lies in `bundle.json`. A guard whose source has not been in touch for `policy_stale` seconds, or whose bundle has expired, keeps it and is stale.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from afterguard.config import GuardConfig
from afterguard.errors import UsageError
from afterguard.jobs import bundle as bundles
from afterguard.jobs.bundle import Bundle, BundleRefused, Held
from afterguard.jobs.source import Source, State, is_address, state_of

log = logging.getLogger("afterguard.guard")
NAME = "bundle"
FILE = f"{NAME}.json"


class Standing(NamedTuple):
    """How the policy in force stands to its source."""

    is_stale: bool
    pulled: float
    created: float
    valid_until: float
    sequence: int


class Pull(Source):
    """The source of one guard's policy."""

    stays = "the policy stays as it was"

    def __init__(self, settings: GuardConfig, folder: Path, clock: Callable[[], float] = time.time) -> None:
        if not settings.trusted_keys:
            raise UsageError(
                "a policy is pulled and guard.trusted_keys is empty: whoever can write there would decide",
                hint="put the public keys (hexadecimal, as `afterguard policy key` says them) of those who sign into guard.trusted_keys",
                slug="bad-bundle",
            )
        super().__init__(settings.policy, NAME, settings, folder, clock)
        self.file = folder / FILE

    def held(self) -> Bundle | None:
        """The bundle in force; None where there is none from this source. Raises BundleRefused for one that was changed on disk."""
        if self.state().source != self.source:
            return None
        try:
            data = self.file.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BundleRefused(
                "unreadable", f"{self.file}: {error.strerror}", "let the guard's account read it"
            ) from None
        found = bundles.read(data)
        bundles.genuine(found, self.settings.trusted_keys)
        return found

    def first(self) -> Bundle | None:
        """What a guard begins with: what is held, else what the source says now. None where neither is to be had; then `state` says why."""
        try:
            found = self.held()
        except BundleRefused as error:
            log.error("the policy kept in %s is not used: %s", self.file, error)
            found = None
        if found is None:
            self.once()
            with contextlib.suppress(BundleRefused):
                found = self.held()
        return found

    def standing(self, found: Bundle | None) -> Standing:
        """Whether what is held is stale."""
        pulled, is_stale = self.touched(self.settings.policy_stale)
        until = _epoch(found.valid_until) if found else 0.0
        is_stale = is_stale or (found is not None and until <= self.clock())
        return Standing(
            is_stale, pulled, _epoch(found.created) if found else 0.0, until, found.sequence if found else 0
        )

    def _look(self, state: State) -> str:
        here: Bundle | None = None
        with contextlib.suppress(BundleRefused):  # what was changed on disk is fetched again
            here = self.held()
        data, etag = self._fetched(state.etag if here else "")
        now = datetime.fromtimestamp(self.clock(), UTC)
        held = Held(state.sequence, state.digest)
        if data is None and here is not None:
            bundles.new(here, held, now)
            return "unchanged"
        found = bundles.read(data or b"")
        bundles.genuine(found, self.settings.trusted_keys)
        is_new = bundles.new(found, held, now)
        if is_new or here is None:
            bundles.policy_of(found, self.settings.site)
            self._put(FILE, data or b"")
            state.sequence, state.digest = found.sequence, found.digest
        state.etag = etag
        return "changed" if is_new else "unchanged"


def pull_of(settings: GuardConfig, folder: Path) -> Pull | None:
    """The source of a policy that is pulled; None for one that is shipped, or a policy file. Raises UsageError."""
    named = settings.policy
    is_pulled = is_address(named) or _is_bundle(named)
    if not is_pulled and not os.path.exists(named):  # it may have been one, and its place is away
        is_pulled = state_of(folder, NAME).source == named
    return Pull(settings, folder) if is_pulled else None


def _is_bundle(path: str) -> bool:
    try:
        with open(path, "rb") as handle:
            return bundles.FORMAT.encode() in handle.read(400)
    except OSError:
        return False


def _epoch(text: str) -> float:
    found = bundles.moment(text)
    return found.timestamp() if found else 0.0
