"""Settings -> a running guard: policy, detectors, helpers, upstreams and door put together.

In: the merged configuration and a folder for keys and switches. Out: a `Guard` that serve.py runs. It starts processes and opens the log; it listens nowhere itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import time
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from afterguard import __version__, files
from afterguard.config import Config, GuardConfig
from afterguard.detect import Context
from afterguard.errors import AfterguardError, UsageError
from afterguard.guard import door, mapping, probe, tls
from afterguard.guard.approvals import Book
from afterguard.guard.brain import Brain
from afterguard.guard.credentials import Source
from afterguard.guard.desk import Desk
from afterguard.guard.gate import Gate
from afterguard.guard.journal import Journal
from afterguard.guard.limits import Local, Meter, Shared
from afterguard.guard.metrics import Metrics
from afterguard.guard.passage import Settings
from afterguard.guard.pool import Pool, Thinking, context_of, settled
from afterguard.guard.proxy import Proxy
from afterguard.guard.route import Mounts, Route, route
from afterguard.guard.serve import Terms, serve
from afterguard.guard.shelf import shelf
from afterguard.guard.upstream import Upstream
from afterguard.jobs import bundle as bundles
from afterguard.jobs.bundle import Bundle
from afterguard.jobs.promote import SUFFIX
from afterguard.jobs.pull import Pull, pull_of
from afterguard.jobs.standing import Standing, standing, weighed
from afterguard.policy.load import Policy
from afterguard.policy.load import load as load_policy
from afterguard.policy.shipped import shipped
from afterguard.store.ids import maker
from afterguard.store.keys import create_key_file, load_key
from afterguard.wire.learned import Mapping

if TYPE_CHECKING:
    from afterguard.guard.board import Board

log = logging.getLogger("afterguard.guard")
KEY = "guard.key"
KILL = "killed"
LOOK = 0.5
"""Seconds between looks at the policy file and the kill switch, and between two writings of the numbers."""


def routes(config: Config) -> list[Route]:
    """The mounts as configured. Raises UsageError."""
    guard = config.guard
    if not guard.upstream:
        raise UsageError(
            "no upstream: the guard would lead nowhere",
            hint="afterguard guard --upstream openai=https://api.openai.com",
            slug="bad-upstream",
        )
    common = {
        "mode": guard.mode,
        "share": guard.share,
        "on_error": guard.on_error,
        "budget": guard.budget_ms / 1000,
        "app": config.app,
        "environment": guard.environment,
    }
    found = [route(text, **common) for text in guard.upstream]
    names = [one.name for one in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(
            f"--upstream names {twice[0]!r} twice", hint="give each mount its own name", slug="bad-upstream"
        )
    mappings = _mappings(guard.mapping, {one.name: one for one in found})
    return [msgspec.structs.replace(one, mapping=mappings.get(one.name)) for one in found]


def _mappings(given: list[str], known: dict[str, Route]) -> dict[str, Mapping]:
    """NAME=FILE as mappings by mount. Raises UsageError."""
    out: dict[str, Mapping] = {}
    for text in given:
        name, _, file = text.partition("=")
        one = known.get(name.strip())
        if not file or one is None or one.kind != "plain" or one.name in out:
            raise UsageError(
                f"--mapping {text!r} fits no mount, or one that has a mapping or is not of kind plain",
                hint="--upstream support:plain=URL --mapping support=mapping.yaml",
                slug="bad-mapping",
            )
        try:
            data = files.named(Path(file.strip()), mapping.CAP)
            out[one.name] = mapping.load(data.decode("utf-8"), file.strip())
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"cannot read the mapping {file}: {files.why(error)}",
                hint="afterguard guard learn SAMPLE... -o FILE",
                slug="bad-mapping",
            ) from None
    return out


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


class Plan(NamedTuple):
    """What a guard is to be, checked before a process is started for it."""

    config: Config
    folder: Path
    log: Path
    routes: list[Route]
    policy: Policy | None
    pull: Pull | None = None
    bundle: Bundle | None = None
    """What the policy was pulled in; None where it was not, or not yet."""

    def told(self, listen: str) -> Iterator[str]:
        """What a person should know when it starts."""
        brain = Brain(Context(str), self.policy)
        revision = self.policy.revision if self.policy else "none"
        for one in self.routes:
            ruling = brain.ruling(one)
            fails = "open" if ruling.is_open else "closed"
            yield f"http://{listen}/{one.name} -> {one.upstream}  mode {ruling.mode}, fails {fails}"
            if one.mapping is not None and not one.mapping.is_sure:
                yield f"/{one.name}: its mapping is not sure: {'; '.join(one.mapping.unsure)[:500]}"
        yield f"policy {revision}; decisions in {self.log}"
        if self.pull is not None:
            sequence = f"bundle {self.bundle.sequence}" if self.bundle else "no bundle yet"
            stale = ", STALE" if self.pull.standing(self.bundle).is_stale else ""
            every = self.config.guard.policy_every
            yield f"{sequence} from {self.pull.source}{stale}; looked at every {every:g} s, {self.pull.state().outcome}"


def plan(config: Config, folder: Path, log: Path) -> Plan:
    """The guard that the configuration asks for. Raises UsageError for whatever would keep it from starting."""
    guard = config.guard
    if bool(guard.tls_certificate) != bool(guard.tls_key):
        raise UsageError(
            "guard.tls_certificate and guard.tls_key belong together", hint="set both", slug="bad-configuration"
        )
    if guard.client_ca and not guard.tls_certificate:
        raise UsageError(
            "guard.client_ca without TLS of its own",
            hint="set guard.tls_certificate and guard.tls_key",
            slug="bad-configuration",
        )
    door.addresses(guard.door)
    key(folder)
    pull = pull_of(guard, folder)
    if pull is None:
        return Plan(config, folder, log, routes(config), policy_of(guard.policy))
    found = pull.first()
    return Plan(config, folder, log, routes(config), _begun(pull, found), pull, found)


def _begun(pull: Pull, found: Bundle | None) -> Policy | None:
    """The policy a guard begins with. Raises UsageError where there is none."""
    settings = pull.settings
    if found is not None:
        return bundles.policy_of(found, settings.site)
    if settings.policy_first:
        return policy_of(settings.policy_first)
    raise UsageError(
        f"no policy: {pull.state().says or 'nothing was pulled yet'}",
        hint="mend that, or say with guard.policy_first (starter, none, a file) what holds until the first bundle comes",
        slug="bad-bundle",
    )


def run(made: Plan, ready: Callable[[list[int]], None], *, takeover: bool = False) -> int:
    """Serve until told to stop; the exit code."""
    guard = made.config.guard
    board = _board(made.folder / "metrics")
    terms = Terms(
        listen=guard.listen,
        tls=(lambda: tls.server_context(guard.tls_certificate, guard.tls_key, client_ca=guard.client_ca))
        if guard.tls_certificate
        else None,
        workers=guard.workers,
        takeover=takeover,
        hang=guard.hang,
        buried=board.bury if board is not None else None,
    )
    try:
        return serve(lambda gate: Guard(made, gate, board), terms, ready=ready)
    finally:
        if board is not None:
            board.close()


def _board(folder: Path) -> Board | None:
    """Where workers put their numbers; None where there is only one process, or no room for files: then each answers for itself."""
    if not hasattr(os, "fork"):
        return None
    from afterguard.guard.board import Board

    try:
        return Board(folder)
    except OSError as error:
        log.error("/metrics will show one worker's numbers only: %s", error)
        return None


class Guard:
    """Everything a door needs, and the two things that are looked at while it runs: the policy and the kill switch."""

    def __init__(self, made: Plan, gate: Gate, board: Board | None = None) -> None:
        self.settings: GuardConfig = made.config.guard
        self.folder = made.folder
        self.gate = gate
        secret = key(made.folder)
        thinking = Thinking(
            secret,
            self.settings.judge if self.settings.detectors else "off",
            self.settings.point,
            {probe.mark(secret, place): "probe" for place in ("reply", "call")},
        )
        helpers = self.settings.helpers if self.settings.detectors else 0
        self.brain = Brain(
            context_of(thinking, doubting=helpers > 0), made.policy, key=secret, detectors=self.settings.detectors
        )
        self.brain.warm()
        self.metrics = Metrics()
        self.approvals = self.brain.approvals = Book(
            shelf(made.folder, self.settings.redis, secret), secret, time.time, self._approval, self._approvals_away
        )
        self.approvals.now()
        self.board = board
        if board is not None:
            board.join()
        self.journal = Journal(made.log, self.settings.log_bytes)
        self.pool = Pool(thinking, self.brain, helpers) if helpers else None
        context = tls.client_context(ca=self.settings.upstream_ca, certificate=self.settings.upstream_certificate)
        upstreams = {
            one.name: Upstream(
                one.upstream, tls=context if one.upstream.startswith("https") else None, proxy=self.settings.proxy
            )
            for one in made.routes
        }
        self.desk = Desk(
            self.brain,
            self.journal,
            self.metrics,
            maker(time.time, os.urandom),
            far=self.pool,
            meter=Meter(Shared(self.settings.redis, self._redis_failed) if self.settings.redis else Local()),
            version=__version__,
        )
        given = door.Given(self.desk, Mounts(made.routes), self.settings.token.encode())
        self.proxy = Proxy(
            given.mounts,
            upstreams,
            self.desk,
            Settings(token=self.settings.token.encode(), credentials=Source(os.environ)),
            total=board.total if board is not None else None,
            doors={name: make(given) for name, make in door.PATHS.items()},
            listeners=[door.LISTENERS[name](given, where) for name, where in door.addresses(self.settings.door)],
        )
        self.proxy.refused = gate.refused
        self._watching: list[asyncio.Task[None]] = []
        self.brain.is_killed = (self.folder / KILL).exists()
        self.pull, self.bundle = made.pull, made.bundle
        self._stamp = self._stamped()
        self._stand(self._standing(made.policy))
        self._note_policy()
        settled()
        if self._stamp[:2] != (0, 0):
            self.reload()  # what the parent read when it began may be older than the file

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if not self._watching:
            loop = asyncio.get_running_loop()
            self._watching = [
                loop.create_task(self._watch()),
                loop.create_task(self.approvals.keep(LOOK, self._count_approvals)),
            ]
            if self.pull is not None:
                self._watching.append(loop.create_task(self._pull(self.pull)))
        await self.proxy(scope, receive, send)
        if scope["type"] == "lifespan":
            for task in self._watching:
                task.cancel()
            self.approvals.now()
            self.close()

    def _redis_failed(self) -> None:
        self.metrics.add("afterguard_failures_total", "all", "redis", "yes")

    def _approval(self, event: str, route: str) -> None:
        self.metrics.add("afterguard_approvals_total", route, event)

    def _approvals_away(self) -> None:
        self.metrics.add("afterguard_failures_total", "all", "approvals", "no")

    def _count_approvals(self) -> None:
        for state, count in self.approvals.states().items():
            self.metrics.set("afterguard_approvals", count, state)

    def _keep_numbers(self) -> None:
        if self.board is not None:
            self.board.keep(self.proxy.counted())

    def close(self) -> None:
        """End the helpers; leave the last numbers."""
        self._keep_numbers()
        if self.pool is not None:
            self.pool.close()

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
        for one in self.proxy.mounts.routes.values():
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
            self._keep_numbers()
            await asyncio.sleep(LOOK)

    async def _pull(self, pull: Pull) -> None:
        """Look at the source of the policy now and then, where no other process of this guard does."""
        while True:
            if pull.is_mine():
                outcome = await asyncio.to_thread(pull.once)
                self.metrics.add("afterguard_policy_pulls_total", outcome)
            # Not all sites at the same moment.
            await asyncio.sleep(self.settings.policy_every * random.uniform(0.8, 1.2))

    def reload(self) -> None:
        """Put the policy file, or the bundle that was pulled, in force; where it is broken the old policy stays and that is said."""
        try:
            if self.pull is None:
                policy = policy_of(self.settings.policy)
            else:
                found = self.pull.held()
                if found is None:
                    return
                policy = bundles.policy_of(found, self.settings.site)
                self.bundle = found
        except AfterguardError as error:
            log.error("the policy stays as it was: %s", error)
            self.metrics.add("afterguard_failures_total", "all", "bad_policy", "yes")
            return
        self.brain.swap(policy)
        self._stand(self._standing(policy))
        self._note_policy()
        log.info("policy %s in force", policy.revision if policy else "none")
