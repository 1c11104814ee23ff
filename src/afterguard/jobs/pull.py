"""Where a guard's policy comes from when it is pulled: an https address, or a file that others replace; the last good one kept on disk.

In: settings and the guard's folder. Out: `held`, the bundle that is in force; `once`, one look at the source, which says in a word what came of it. What is not signed by a trusted key, is older than what
was in force, or has expired, is not taken, and said.

Theory of operation. What is taken is written to `bundle.json` in the guard's folder, whole or not at all, and every process of the guard reads it from there: so a guard that is cut off goes on
with it, after a restart too. One process pulls: whoever holds the lock beside it. `bundle-state.json` says where it came from, when the source was last in touch, and the highest sequence that was
ever in force, which a lost bundle does not take back. A guard whose source has not been in touch for `policy_stale` seconds, or whose bundle has expired, keeps it and is stale.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
import types
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import msgspec

from afterguard import net
from afterguard.config import GuardConfig
from afterguard.errors import AfterguardError, Unreachable, UsageError
from afterguard.guard import tls
from afterguard.jobs import bundle as bundles
from afterguard.jobs.bundle import Bundle, BundleRefused, Held

fcntl: types.ModuleType | None
try:
    import fcntl
except ImportError:  # a system without flock: one process
    fcntl = None

log = logging.getLogger("afterguard.guard")
FILE, STATE, LOCK = "bundle.json", "bundle-state.json", "bundle.lock"
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


class Standing(NamedTuple):
    """How the policy in force stands to its source."""

    is_stale: bool
    pulled: float
    created: float
    valid_until: float
    sequence: int


class Pull:
    """The source of one guard."""

    def __init__(self, settings: GuardConfig, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self.settings = settings
        self.source = settings.policy
        self.folder = folder
        self.file = folder / FILE
        self.clock = clock
        self._lock: int | None = None
        if not settings.trusted_keys:
            raise UsageError(
                "a policy is pulled and guard.trusted_keys is empty: whoever can write there would decide",
                hint="put the public keys (hexadecimal, as `afterguard policy key` says them) of those who sign into guard.trusted_keys",
                slug="bad-bundle",
            )
        if self.is_remote:
            net.checked(self.source, self._allowed())

    @property
    def is_remote(self) -> bool:
        """Whether the source is asked over the network."""
        return self.source.startswith(("https://", "http://"))

    # -- what is held

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

    def state(self) -> State:
        """What is known of the source; nothing where that is of another one, or broken."""
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            return msgspec.json.decode((self.folder / STATE).read_bytes(), type=State)
        return State()

    def standing(self, found: Bundle | None) -> Standing:
        """Whether what is held is stale."""
        state, now = self.state(), self.clock()
        pulled = state.pulled if state.source == self.source else 0.0
        age = now - pulled
        until = _epoch(found.valid_until) if found else 0.0
        is_stale = not -BEHIND <= age <= self.settings.policy_stale or (found is not None and until <= now)
        return Standing(
            is_stale, pulled, _epoch(found.created) if found else 0.0, until, found.sequence if found else 0
        )

    # -- one look

    def is_mine(self) -> bool:
        """Whether this process is the one that pulls."""
        if self._lock is not None or fcntl is None:
            return True
        try:
            handle = os.open(self.folder / LOCK, os.O_WRONLY | os.O_CREAT, 0o600)
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
        try:
            outcome = self._look(state)
            state.pulled, state.says = self.clock(), ""
        except BundleRefused as error:
            outcome, state.says = error.reason, str(error)
            log.error("the policy stays as it was: %s. %s", error, error.hint)
        except (AfterguardError, OSError) as error:
            outcome, state.says = "unreachable", str(error)
            if before.outcome != outcome:
                log.error("the policy stays as it was: %s", error)
        state.outcome = outcome
        try:
            self._put(STATE, msgspec.json.encode(state))
        except OSError as error:
            log.error("%s cannot be written: %s", self.folder / STATE, error)
        return outcome

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

    def _fetched(self, etag: str) -> tuple[bytes | None, str]:
        """(the bytes, what the source calls this version of them); no bytes where they are as they were. Raises Unreachable, OSError, UsageError."""
        if not self.is_remote:
            with open(self._path(), "rb") as handle:
                return handle.read(net.CAP), ""
        headers = {"accept": "application/json", **({"if-none-match": etag} if etag else {})}
        settings = self.settings
        context = None
        if self.source.startswith("https"):
            context = tls.client_context(ca=settings.upstream_ca, certificate=settings.upstream_certificate)
        reply = net.get(self.source, allow=self._allowed(), headers=headers, way=net.Way(context, settings.proxy))
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
        scratch = self.folder / f".{name}.{os.getpid()}"
        handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        scratch.replace(self.folder / name)


def pull_of(settings: GuardConfig, folder: Path) -> Pull | None:
    """The source of a policy that is pulled; None for one that is shipped, or a policy file. Raises UsageError."""
    named = settings.policy
    is_pulled = named.startswith(("https://", "http://", "file:")) or _is_bundle(named)
    if not is_pulled and not os.path.exists(named):
        with contextlib.suppress(OSError, msgspec.MsgspecError):  # it was one, and its place is away
            is_pulled = msgspec.json.decode((folder / STATE).read_bytes(), type=State).source == named
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
