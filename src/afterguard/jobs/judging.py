"""Settings -> who judges in this process: policy, detectors, log and numbers put together, and kept as the files say.

In: the merged configuration, a folder for keys and switches, the place of the decision log. Out: a `Judging` with a desk that any door can bring exchanges to. It listens nowhere: guard.py puts the
reverse proxy before it, inside.py the application itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from pathlib import Path

from afterguard import __version__
from afterguard.config import GuardConfig
from afterguard.errors import AfterguardError, UsageError
from afterguard.guard import probe
from afterguard.guard.approvals import Book
from afterguard.guard.brain import Brain
from afterguard.guard.desk import Desk
from afterguard.guard.journal import Journal
from afterguard.guard.limits import Local, Meter, Shared
from afterguard.guard.metrics import Metrics
from afterguard.guard.pool import Pool, Thinking, context_of, open_judge
from afterguard.guard.shelf import shelf
from afterguard.jobs.promote import SUFFIX
from afterguard.jobs.standing import Standing, standing
from afterguard.policy.load import Policy
from afterguard.policy.load import load as load_policy
from afterguard.policy.shipped import shipped
from afterguard.store.ids import maker
from afterguard.store.keys import create_key_file, load_key

log = logging.getLogger("afterguard.guard")
KEY = "guard.key"
KILL = "killed"
LOOK = 0.5
"""Seconds between looks at the policy file and the kill switch, and between two writings of the numbers."""


def policy_of(name: str) -> Policy | None:
    """starter, strict, none, or a file. Raises UsageError."""
    if name == "none":
        return None
    if name in ("starter", "strict"):
        return shipped(name)
    try:
        text = Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"cannot read the policy {name}: {error}", hint="starter, strict, none, or a file", slug="no-such-path"
        ) from None
    return load_policy(text, name)


def key(folder: Path) -> bytes:
    """The guard's own key, made when missing."""
    file = folder / KEY
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileExistsError):
            create_key_file(file)
    return load_key(str(file)).secret


class Judging:
    """What every door of a process needs, and the two things that are looked at while it runs: the policy file and the kill switch."""

    def __init__(
        self, settings: GuardConfig, folder: Path, log_file: Path, policy: Policy | None, helpers: int
    ) -> None:
        self.settings = settings
        self.folder = folder
        secret = key(folder)
        thinking = Thinking(
            secret,
            settings.judge if settings.detectors else "off",
            settings.point,
            {probe.mark(secret, place): "probe" for place in ("reply", "call")},
        )
        helpers = helpers if settings.detectors else 0
        self.brain = Brain(context_of(thinking, doubting=helpers > 0), policy, key=secret, detectors=settings.detectors)
        self.brain.warm()
        if not helpers and thinking.judge != "off":
            open_judge()
        self.metrics = Metrics()
        self.approvals = self.brain.approvals = Book(
            shelf(folder, settings.redis, secret), secret, time.time, self._approval, self._approvals_away
        )
        self.approvals.now()
        self.journal = Journal(log_file, settings.log_bytes)
        self.pool = Pool(thinking, self.brain, helpers) if helpers else None
        self.desk = Desk(
            self.brain,
            self.journal,
            self.metrics,
            maker(time.time, os.urandom),
            far=self.pool,
            meter=Meter(Shared(settings.redis, self._redis_failed) if settings.redis else Local()),
            version=__version__,
        )
        self._watching: list[asyncio.Task[None]] = []
        self.brain.is_killed = (folder / KILL).exists()
        self._stamp = self._stamped()
        self._note_policy()
        self._stand(standing(policy, settings.policy, settings.require_promotion, settings.trusted_keys))
        if self._stamp[:2] != (0, 0):
            self.reload()  # what was read when the process began may be older than the file

    def watch(self) -> None:
        """Look after the files from now on, on the loop that runs."""
        if not self._watching:
            loop = asyncio.get_running_loop()
            self._watching = [
                loop.create_task(self._watch()),
                loop.create_task(self.approvals.keep(LOOK, self._count_approvals)),
            ]

    def unwatch(self) -> None:
        """No more looking."""
        for task in self._watching:
            task.cancel()
        self.approvals.now()

    def looked(self) -> None:
        """The files were looked at."""

    def _redis_failed(self) -> None:
        self.metrics.add("afterguard_failures_total", "all", "redis", "yes")

    def _approval(self, event: str, route: str) -> None:
        self.metrics.add("afterguard_approvals_total", route, event)

    def _approvals_away(self) -> None:
        self.metrics.add("afterguard_failures_total", "all", "approvals", "no")

    def _count_approvals(self) -> None:
        for state, count in self.approvals.states().items():
            self.metrics.set("afterguard_approvals", count, state)

    def _note_policy(self) -> None:
        rows = self.metrics.numbers["afterguard_policy_info"]
        rows.clear()
        policy = self.brain.policy
        rows[
            (
                "none" if policy is None else policy.revision,
                self.settings.mode or (policy.document.mode if policy else "observe"),
            )
        ] = 1.0

    def _stand(self, found: Standing) -> None:
        """Let the policy do what it may."""
        if found.cap and found.cap != self.brain.cap:
            log.error("the policy is kept in %s: %s", found.cap, found.why)
        self.standing = found
        self.brain.limit(found.cap)
        self.metrics.set("afterguard_rolled_back", float(bool(found.cap)))

    def _stamped(self) -> tuple[int, int, int]:
        """(time and size of the policy file, time of its promotion), zeros for what is not there."""
        try:
            found = os.stat(self.settings.policy)
        except OSError:
            return 0, 0, 0
        try:
            promoted = os.stat(self.settings.policy + SUFFIX).st_mtime_ns
        except OSError:
            promoted = 0
        return found.st_mtime_ns, found.st_size, promoted

    async def _watch(self) -> None:
        while True:
            self.brain.is_killed = (self.folder / KILL).exists()
            stamp = self._stamped()
            if stamp != self._stamp and stamp[:2] != (0, 0):
                self._stamp = stamp
                self.reload()
            after = self.standing.after(self.brain.acted, self.brain.counted)
            if after is not self.standing:
                self._stand(after)
            self.looked()
            await asyncio.sleep(LOOK)

    def reload(self) -> None:
        """Put the policy file in force; where it is broken the old policy stays and that is said."""
        try:
            policy = policy_of(self.settings.policy)
        except AfterguardError as error:
            log.error("the policy stays as it was: %s", error)
            self.metrics.add("afterguard_failures_total", "all", "bad_policy", "yes")
            return
        self.brain.swap(policy)
        self._stand(standing(policy, self.settings.policy, self.settings.require_promotion, self.settings.trusted_keys))
        self._note_policy()
        log.info("policy %s in force", policy.revision if policy else "none")
