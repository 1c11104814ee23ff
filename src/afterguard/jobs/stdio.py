"""Settings -> one guarded MCP server over standard streams: policy, detectors, log and pins put together.

In: the merged configuration, a name, a command. Out: the server's exit code. One process besides the server: no helpers, because every client starts its own.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from afterguard import __version__
from afterguard.config import Config, GuardConfig
from afterguard.errors import AfterguardError, UsageError
from afterguard.guard.approvals import Book
from afterguard.guard.brain import Brain
from afterguard.guard.journal import Journal
from afterguard.guard.pins import Pins
from afterguard.guard.pool import Thinking, context_of
from afterguard.guard.route import Route
from afterguard.guard.shelf import shelf
from afterguard.guard.stdio import Door, serve
from afterguard.guard.who import key_name
from afterguard.jobs.judging import KILL, LOOK, key, policy_of
from afterguard.jobs.measured import Measured
from afterguard.jobs.sheets import sheets_of
from afterguard.jobs.source import pulling
from afterguard.store.ids import maker

log = logging.getLogger("afterguard.guard")


def run(
    config: Config,
    name: str,
    command: Sequence[str],
    folder: Path,
    decisions: Path,
    pins: Path | None,
    metrics: Path | None = None,
) -> int:
    """Guard the server until it ends. Raises UsageError for whatever keeps it from starting."""
    if not command:
        raise UsageError(
            "no command to guard", hint="afterguard guard stdio --name NAME -- COMMAND ARGS...", slug="no-such-command"
        )
    guard = config.guard
    policy = policy_of(guard.policy)
    kept = Pins(pins, name) if pins is not None else None
    secret = key(folder)
    thinking = Thinking(secret, guard.judge if guard.detectors else "off", guard.point)
    brain = Brain(context_of(thinking), policy, key=secret, detectors=guard.detectors)
    if kept is not None:
        kept.agree(brain)
    brain.warm()
    brain.approvals = approvals = Book(shelf(folder, guard.redis, secret), secret, time.time)
    approvals.now()
    route = Route(
        f"mcp/{name}",
        "mcp",
        "stdio:",
        guard.mode,
        guard.share,
        guard.on_error,
        guard.budget_ms / 1000,
        config.app,
        guard.environment,
    )
    door = Door(
        brain,
        route,
        Journal(decisions, guard.log_bytes),
        maker(time.time, os.urandom),
        version=__version__,
        pins=kept,
        publish=_publisher(metrics) if metrics is not None else lambda _: None,
    )
    sheets = sheets_of(guard, folder, secret)
    if sheets is not None:
        sheets.first()
    measured = Measured(guard, folder, secret, brain, door.metrics, sheets)
    door.metrics.set("afterguard_names_info", 1.0, key_name(secret))
    door.look = _Look(door, folder, guard, measured)
    door.look()
    return asyncio.run(_served(door, command, approvals, measured, guard.measures_every))


async def _served(door: Door, command: Sequence[str], approvals: Book, measured: Measured, every: float) -> int:
    tasks = [asyncio.create_task(approvals.keep(LOOK))]
    if measured.source is not None:
        tasks.append(asyncio.create_task(pulling(measured.source, every, measured.pulled)))
    try:
        return await serve(door, command)
    finally:
        for task in tasks:
            task.cancel()
        approvals.now()


def _publisher(place: Path) -> Callable[[bytes], None]:
    """Writes the counts to a file, whole and by rename. Raises UsageError where there can be none."""
    if not place.parent.is_dir():
        raise UsageError(
            f"--metrics {place}: there is no such folder",
            hint="name a file in the folder that node_exporter reads (--collector.textfile.directory), ending in .prom",
            slug="no-such-path",
        )
    new = place.with_name(f".{place.name}.{os.getpid()}")

    def publish(page: bytes) -> None:
        try:
            new.write_bytes(page)
            new.replace(place)
        except OSError as error:
            log.error("the counts stay as they were in %s: %s", place, error.strerror)

    return publish


class _Look:
    """The kill switch, the policy file and the measures, looked at before a message and before numbers are published, twice a second at most."""

    def __init__(self, door: Door, folder: Path, settings: GuardConfig, measured: Measured) -> None:
        self.door = door
        self.brain = door.brain
        self.switch = folder / KILL
        self.settings = settings
        self.policy = settings.policy
        self.measured = measured
        self.at = float("-inf")
        self.stamp = self._stamped()
        self._note()

    def __call__(self) -> None:
        now = time.monotonic()
        if now - self.at < LOOK:
            return
        self.at = now
        self.brain.is_killed = self.switch.exists()
        if self.measured.look(time.time()):
            self._note()
        stamp = self._stamped()
        if stamp not in (self.stamp, (0, 0)):
            self.stamp = stamp
            try:
                self.brain.swap(policy_of(self.policy))
            except AfterguardError as error:
                log.error("the policy stays as it was: %s", error)
            self._note()

    def _note(self) -> None:
        rows = self.door.metrics.numbers["afterguard_policy_info"]
        rows.clear()
        policy = self.brain.policy
        mode = self.settings.mode or (policy.document.mode if policy else "observe")
        rows[("none" if policy is None else policy.revision, mode)] = 1.0
        modes = self.door.metrics.numbers["afterguard_route_mode"]
        modes.clear()
        modes[(self.door.route.name, self.brain.ruling(self.door.route).mode)] = 1.0

    def _stamped(self) -> tuple[int, int]:
        try:
            found = os.stat(self.policy)
            return found.st_mtime_ns, found.st_size
        except OSError:
            return 0, 0
