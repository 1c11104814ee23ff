"""A place that something signed is pulled from: an https address, or a file that others replace; the last good one kept on disk.

In: an address, the settings, the guard's folder. Out: `once`, one look there, which says in a word what came of it, and `state`, what is known of the place. What is good is for each kind to say: pull.py of
policies, sheets.py of measures.

Theory of operation. What is taken is written into the guard's folder, whole or not at all, and every process of the guard reads and checks it from there: so a guard that is cut off goes on with it, after a
restart too. One process pulls: whoever holds the lock beside it. The state says where it came from, when the source was last in touch, and the highest sequence that was ever taken, which a file that is lost
does not take back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import time
import types
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from afterguard import files, net
from afterguard.config import GuardConfig
from afterguard.errors import AfterguardError, Unreachable
from afterguard.guard import tls
from afterguard.jobs.bundle import BundleRefused
from afterguard.policy.measures import SheetRefused

fcntl: types.ModuleType | None
try:
    import fcntl
except ImportError:  # a system without flock: one process
    fcntl = None

log = logging.getLogger("afterguard.guard")
BEHIND = 300.0
"""Seconds by which the clock may run behind the last pull before that is no longer believed."""


class State(msgspec.Struct, omit_defaults=True):
    """What is known of the source."""

    source: str = ""
    etag: str = ""
    sequence: int = 0
    digest: str = ""
    pulled: float = 0.0
    """When the source was last in touch and what it said was good."""
    outcome: str = ""
    """What came of the last look: changed, unchanged, unreachable, or why it was refused."""
    says: str = ""


class Source(ABC):
    """One place. `name` is that of its files in the guard's folder."""

    stays = ""
    """What is said to hold on where nothing is taken."""
    cap = net.CAP
    """Bytes of it."""

    def __init__(
        self, address: str, name: str, settings: GuardConfig, folder: Path, clock: Callable[[], float] = time.time
    ) -> None:
        self.source = address
        self.settings = settings
        self.folder = folder
        self.name = name
        self.clock = clock
        self._lock: int | None = None
        if self.is_remote:
            net.checked(self.source, self._allowed())

    @property
    def is_remote(self) -> bool:
        """Whether the source is asked over the network."""
        return self.source.startswith(("https://", "http://"))

    def state(self) -> State:
        """What is known of the source; nothing where that is of another one, or broken."""
        return state_of(self.folder, self.name)

    def touched(self, within: float) -> tuple[float, bool]:
        """(when the source was last in touch, 0 for never; whether that is too long ago)."""
        state = self.state()
        pulled = state.pulled if state.source == self.source else 0.0
        return pulled, not -BEHIND <= self.clock() - pulled <= within

    def is_mine(self) -> bool:
        """Whether this process is the one that pulls."""
        if self._lock is not None or fcntl is None:
            return True
        try:
            handle = os.open(self.folder / f"{self.name}.lock", os.O_WRONLY | os.O_CREAT, 0o600)
        except OSError:
            return True
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            return False
        self._lock = handle
        return True

    def once(self) -> str:
        """Look at the source. The word for what came of it; raises nothing."""
        before = self.state()
        state = before if before.source == self.source else State(self.source)
        known = (state.outcome, state.says)
        try:
            outcome = self._look(state)
            state.pulled, state.says = self.clock(), ""
        except (BundleRefused, SheetRefused) as error:
            outcome, state.says = error.reason, str(error)
            if known != (outcome, state.says):
                log.error("%s: %s. %s", self.stays, error, error.hint)
        except (AfterguardError, OSError) as error:
            outcome, state.says = "unreachable", str(error)
            if known[0] != outcome:
                log.error("%s: %s", self.stays, error)
        state.outcome = outcome
        try:
            self._put(f"{self.name}-state.json", msgspec.json.encode(state))
        except OSError as error:
            log.error("%s cannot be written: %s", self.folder / f"{self.name}-state.json", error)
        return outcome

    @abstractmethod
    def _look(self, state: State) -> str:
        """Fetch, judge, keep, and write into `state` what was taken: changed or unchanged. Raises BundleRefused, SheetRefused, Unreachable, OSError."""

    def _fetched(self, etag: str) -> tuple[bytes | None, str]:
        """(the bytes, what the source calls this version of them); no bytes where they are as they were. Raises Unreachable, OSError, UsageError."""
        if not self.is_remote:
            return files.named(Path(self._path()), self.cap), ""
        headers = {"accept": "application/json", **({"if-none-match": etag} if etag else {})}
        settings = self.settings
        context = None
        if self.source.startswith("https"):
            context = tls.client_context(ca=settings.upstream_ca, certificate=settings.upstream_certificate)
        way = net.Way(context, settings.proxy)
        reply = net.get(self.source, allow=self._allowed(), headers=headers, way=way, cap=self.cap)
        if reply.status == 304 and etag:
            return None, etag
        if reply.status != 200:
            where = reply.headers.get("location", "")
            hint = f", and leads to {where[:100]}: name that address itself" if where else ""
            raise Unreachable(
                f"{self.source} answers {reply.status}{hint}", hint="is it the right address?", slug="unreachable"
            )
        return reply.body, reply.headers.get("etag", "")[:200]

    def _allowed(self) -> tuple[str, ...]:
        return tuple(self.settings.policy_hosts) or (net.host_of(self.source),)

    def _path(self) -> str:
        return unquote(urlsplit(self.source).path) if self.source.startswith("file:") else self.source

    def _put(self, name: str, data: bytes) -> None:
        """A file anew, whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        files.put(self.folder / name, data)


async def pulling(source: Source, every: float, pulled: Callable[[str], None]) -> None:
    """Look at a source now and then, where no other process of this guard does; `pulled` is told what came of it."""
    while True:
        if source.is_mine():
            pulled(await asyncio.to_thread(source.once))
        # Not all sites at the same moment.
        await asyncio.sleep(every * random.uniform(0.8, 1.2))


def state_of(folder: Path, name: str) -> State:
    """What a folder says of the last source of this name; nothing where it says nothing."""
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode((folder / f"{name}-state.json").read_bytes(), type=State)
    return State()


def is_address(text: str) -> bool:
    """Whether a setting names a place to pull from, not a file to look at."""
    return text.startswith(("https://", "http://", "file:"))
