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
from collections.abc import Sequence
from pathlib import Path

from afterguard import __version__
from afterguard.config import GuardConfig
from afterguard.errors import AfterguardError, UsageError
from afterguard.guard import probe
from afterguard.guard.approvals import Book
from afterguard.guard.brain import Brain
from afterguard.guard.budget import budgets
from afterguard.guard.desk import Desk
from afterguard.guard.garbage import Collector
from afterguard.guard.journal import Journal
from afterguard.guard.limits import Local, Meter, Shared
from afterguard.guard.lookout import Lookout
from afterguard.guard.metrics import Metrics
from afterguard.guard.notice import Marks
from afterguard.guard.part import Place
from afterguard.guard.patrol import Patrol
from afterguard.guard.pool import Pool, Thinking, context_of, open_judge
from afterguard.guard.price import prices
from afterguard.guard.route import Route
from afterguard.guard.shelf import shelf
from afterguard.guard.who import key_name
from afterguard.jobs import bundle as bundles
from afterguard.jobs.bundle import Bundle
from afterguard.jobs.measured import Measured
from afterguard.jobs.promote import SUFFIX
from afterguard.jobs.pull import Pull
from afterguard.jobs.sheets import sheets_of
from afterguard.jobs.source import pulling
from afterguard.jobs.standing import Standing, standing, weighed
from afterguard.policy.load import Policy
from afterguard.policy.load import load as load_policy
from afterguard.policy.shipped import shipped
from afterguard.store.ids import maker
from afterguard.store.keys import create_key_file, load_key
from afterguard.watch.site import Settings

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
    if name.startswith(("https://", "http://", "file:")):
        raise UsageError(
            f"{name} is pulled, which only `afterguard guard` does",
            hint="give starter, strict, none, or a policy file",
            slug="bad-bundle",
        )
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
        self,
        settings: GuardConfig,
        folder: Path,
        log_file: Path,
        policy: Policy | None,
        helpers: int,
        routes: Sequence[Route] = (),
        pull: Pull | None = None,
        bundle: Bundle | None = None,
    ) -> None:
        self.settings = settings
        self.routes = routes
        """Those whose mode the numbers show."""
        self.pull, self.bundle = pull, bundle
        """Where the policy comes from, and what it came in last; None where it is a file here."""
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
        self.lookout = self._lookout() if settings.watch else None
        self.patrol = self._patrol()
        self.desk.patrol, self.desk.ending = self.patrol.saw, self._end
        if self.lookout is not None:
            self.desk.lookout = self.lookout.saw
        self.collector = Collector(time.monotonic())
        self._watching: list[asyncio.Task[None]] = []
        self.brain.is_killed = (folder / KILL).exists()
        self.sheets = sheets_of(settings, folder, secret)
        self.measured = Measured(settings, folder, secret, self.brain, self.metrics, self.sheets)
        self.metrics.set("afterguard_names_info", 1.0, key_name(secret))
        self.measured.look(time.time())
        self._stamp = self._stamped()
        self._stand(self._standing(policy))
        self._note_policy()
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
            if self.lookout is not None:
                self._watching.append(loop.create_task(self.lookout.keep()))
            if any(one.is_predictive for one in self.routes):
                self._watching.append(loop.create_task(self.patrol.keep()))
            if self.pull is not None:
                self._watching.append(loop.create_task(pulling(self.pull, self.settings.policy_every, self._pulled)))
            if self.sheets is not None:
                every = self.settings.measures_every
                self._watching.append(loop.create_task(pulling(self.sheets, every, self.measured.pulled)))

    def unwatch(self) -> None:
        """No more looking."""
        for task in self._watching:
            task.cancel()
        self.approvals.now()

    def _place(self) -> Place:
        return Place(self.folder, self.journal, self.metrics, self.brain.context.pseudonym, __version__)

    def _lookout(self) -> Lookout:
        """The watch over time, as the settings say."""
        given = self.settings
        return Lookout(
            self._place(),
            marks=self._marks(),
            prices=prices(given.price),
            settings=Settings(budgets=budgets(given.watch_budget)),
            redis=given.redis,
            brain=self.desk.new_id(),
        )

    def _patrol(self) -> Patrol:
        """The watch over predictive models."""
        return Patrol(
            self._place(),
            self.brain.models,
            marks=self._marks(),
            redis=self.settings.redis,
            brain=self.desk.new_id(),
        )

    def _marks(self) -> Marks:
        given = self.settings
        headers = (given.user_header, given.address_header, given.device_header, given.region_header)
        return Marks(*(name.lower().encode() for name in headers))

    async def _end(self) -> None:
        if self.lookout is not None:
            await self.lookout.close()
        await self.patrol.close()

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
        modes = self.metrics.numbers["afterguard_route_mode"]
        modes.clear()
        for one in self.routes:
            modes[(one.name, self.brain.ruling(one).mode)] = 1.0
        if self.pull is None and (when := self._stamp[0]):
            self.metrics.set("afterguard_policy_created_timestamp_seconds", when // 1_000_000_000)

    def _note_pull(self, pull: Pull) -> None:
        """How the policy stands to its source."""
        found = pull.standing(self.bundle)
        put = self.metrics.set
        put("afterguard_policy_stale", float(found.is_stale))
        put("afterguard_policy_pulled_timestamp_seconds", int(found.pulled))
        if self.bundle is not None:
            put("afterguard_policy_created_timestamp_seconds", int(found.created))
            put("afterguard_policy_valid_until_timestamp_seconds", int(found.valid_until))
            put("afterguard_policy_sequence", found.sequence)

    def _standing(self, policy: Policy | None) -> Standing:
        """What people allowed the policy to do."""
        given = self.settings
        if self.pull is None or policy is None:
            return standing(policy, given.policy, given.require_promotion, given.trusted_keys)
        promotion = self.bundle.promotion if self.bundle is not None else None
        return weighed(policy, promotion, given.require_promotion, given.trusted_keys)

    def _stand(self, found: Standing) -> None:
        """Let the policy do what it may."""
        if found.cap and found.cap != self.brain.cap:
            log.error("the policy is kept in %s: %s", found.cap, found.why)
        self.standing = found
        self.brain.limit(found.cap)
        self.metrics.set("afterguard_rolled_back", float(bool(found.cap)))

    def _stamped(self) -> tuple[int, int, int]:
        """(time and size of the policy file, time of its promotion), zeros for what is not there."""
        file = str(self.pull.file) if self.pull is not None else self.settings.policy
        try:
            found = os.stat(file)
        except OSError:
            return 0, 0, 0
        try:
            promoted = os.stat(file + SUFFIX).st_mtime_ns
        except OSError:
            promoted = 0
        return found.st_mtime_ns, found.st_size, promoted

    async def _watch(self) -> None:
        while True:
            self.brain.is_killed = (self.folder / KILL).exists()
            if self.measured.look(time.time()):
                self._note_policy()
            stamp = self._stamped()
            if stamp != self._stamp and stamp[:2] != (0, 0):
                self._stamp = stamp
                self.reload()
            after = self.standing.after(self.brain.acted, self.brain.counted)
            if after is not self.standing:
                self._stand(after)
                self._note_policy()
            if self.pull is not None:
                self._note_pull(self.pull)
            self.looked()
            self.collector.tick(time.monotonic(), is_idle=not self.desk.open)
            await asyncio.sleep(LOOK)

    def _pulled(self, outcome: str) -> None:
        self.metrics.add("afterguard_policy_pulls_total", outcome)

    def reload(self) -> None:
        """Put the policy file, or the bundle that was pulled, in force; where it is broken the old policy stays and that is said."""
        try:
            found = self.pull.held() if self.pull is not None else None
            if self.pull is not None and found is None:
                return
            policy = bundles.policy_of(found, self.settings.site) if found else policy_of(self.settings.policy)
            self.brain.swap(policy)
            self.bundle = found or self.bundle
        except AfterguardError as error:
            log.error("the policy stays as it was: %s", error)
            self.metrics.add("afterguard_failures_total", "all", "bad_policy", "yes")
            return
        self._stand(self._standing(policy))
        self._note_policy()
        log.info("policy %s in force", policy.revision if policy else "none")
