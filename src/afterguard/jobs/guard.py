"""Settings -> a running guard: policy, detectors, helpers, upstreams and door put together.

In: the merged configuration and a folder for keys and switches. Out: a `Guard` that serve.py runs. It starts processes and opens the log; it listens nowhere itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from afterguard import files
from afterguard.config import Config, GuardConfig
from afterguard.detect import Context
from afterguard.detect.feature_schema import Schema
from afterguard.errors import UsageError
from afterguard.guard import door, mapping, schema, tls
from afterguard.guard.brain import Brain
from afterguard.guard.budget import budgets
from afterguard.guard.credentials import Source
from afterguard.guard.garbage import settled
from afterguard.guard.gate import Gate
from afterguard.guard.grpc_door import GrpcDoor, Port, Secured, library, port
from afterguard.guard.hosts import Hosts
from afterguard.guard.passage import Settings
from afterguard.guard.price import prices
from afterguard.guard.proxy import Proxy
from afterguard.guard.route import Mounts, Route, route
from afterguard.guard.serve import Terms, listeners, serve
from afterguard.guard.upstream import Upstream
from afterguard.jobs import bundle as bundles
from afterguard.jobs.bundle import Bundle
from afterguard.jobs.judging import Judging, key, log, policy_of
from afterguard.jobs.pull import Pull, pull_of
from afterguard.jobs.sheets import sheets_of
from afterguard.policy.load import Policy
from afterguard.wire.learned import Mapping
from afterguard.wire.scoring import Scoring

if TYPE_CHECKING:
    from afterguard.guard.board import Board

PROFILES = "profiles"
"""File in the guard's folder: what the inputs of predictive models are usually like."""
PROFILES_CAP = 128 << 20
KEEP = 60.0
"""Seconds between two writings of it."""


def routes(config: Config) -> list[Route]:
    """The mounts as configured. Raises UsageError."""
    guard = config.guard
    if not guard.upstream and not guard.gateway:
        raise UsageError(
            "no upstream: the guard would lead nowhere",
            hint="afterguard guard --upstream openai=https://api.openai.com, or --gateway litellm where a gateway asks the guard",
            slug="bad-upstream",
        )
    found = [route(text, **common(config)) for text in guard.upstream]
    return mapped(found, guard.mapping, guard.schema)


def common(config: Config) -> dict[str, Any]:
    """What the settings say for every route."""
    guard = config.guard
    return {
        "mode": guard.mode,
        "share": guard.share,
        "on_error": guard.on_error,
        "budget": guard.budget_ms / 1000,
        "app": config.app,
        "environment": guard.environment,
    }


def mapped(found: list[Route], given: list[str], schemas_given: list[str]) -> list[Route]:
    """Routes with the mappings and schemas they are to be read by. Raises UsageError, also where two have one name."""
    names = [one.name for one in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"{twice[0]!r} is named twice", hint="give each mount its own name", slug="bad-upstream")
    known = {one.name: one for one in found}
    mappings = _mappings(given, known)
    schemas = _schemas(schemas_given, known)
    return [
        msgspec.structs.replace(
            one,
            mapping=made if isinstance(made := mappings.get(one.name), Mapping) else None,
            scoring=made if isinstance(made, Scoring) else None,
            schemas=schemas.get(one.name, {}),
        )
        for one in found
    ]


def _mappings(given: list[str], known: dict[str, Route]) -> dict[str, Mapping | Scoring]:
    """NAME=FILE as mappings by mount. Raises UsageError."""
    out: dict[str, Mapping | Scoring] = {}
    for text in given:
        name, _, file = text.partition("=")
        one = known.get(name.strip())
        if not file or one is None or one.kind not in ("plain", "scoring") or one.name in out:
            raise UsageError(
                f"--mapping {text!r} fits no mount, or one that has a mapping or is neither of kind plain nor scoring",
                hint="--upstream support:plain=URL --mapping support=mapping.yaml",
                slug="bad-mapping",
            )
        words = _words(file, "mapping", "afterguard guard learn SAMPLE... -o FILE")
        read = mapping.load if one.kind == "plain" else mapping.load_scoring
        out[one.name] = read(words, file.strip())
    return out


def _schemas(given: list[str], known: dict[str, Route]) -> dict[str, dict[str, Schema]]:
    """MOUNT=FILE and MOUNT/MODEL=FILE as schemas by mount and model. Raises UsageError."""
    out: dict[str, dict[str, Schema]] = {}
    for text in given:
        name, _, file = text.partition("=")
        mount, _, model = name.strip().partition("/")
        one = known.get(mount)
        if not file or one is None or not one.is_predictive:
            raise UsageError(
                f"--schema {text!r} fits no mount of a predictive model",
                hint="--upstream fraud:kserve=URL --schema fraud=schema.yaml, or fraud/MODEL=schema.yaml",
                slug="bad-schema",
            )
        words = _words(file, "schema", "afterguard guard schema SAMPLE... -o FILE")
        out.setdefault(mount, {})[model] = schema.load(words, file.strip())
    return out


def _words(file: str, what: str, hint: str) -> str:
    """The text of a file that a setting names. Raises UsageError."""
    try:
        return files.named(Path(file.strip()), schema.CAP).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the {what} {file}: {files.why(error)}", hint=hint, slug=f"bad-{what}") from None


def squid_lines(config: Config, address: str) -> str:
    """The lines of squid.conf for the ICAP door at `address`. Raises UsageError."""
    from afterguard.guard.squid import lines

    brain = Brain(Context(str), policy_of(config.guard.policy))
    found = Hosts(Mounts(routes(config))).routes()
    return lines([(one, brain.ruling(one).is_open) for one in found], address, config.guard.token)


class Plan(NamedTuple):
    """What a guard is to be, checked before a process is started for it."""

    config: Config
    folder: Path
    log: Path
    routes: list[Route]
    policy: Policy | None
    ports: list[Port] = []  # noqa: RUF012
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
            unsure = (one.mapping or one.scoring or Scoring()).unsure
            if unsure:
                yield f"/{one.name}: its mapping is not sure: {'; '.join(unsure)[:500]}"
        for place in self.ports:
            yield f"grpc://{place.listen} -> {place.target}  as mount /{place.mount}"
        for name in self.config.guard.gateway:
            yield f"http://{listen}/{name} answers a gateway of this kind that asks"
        yield f"policy {revision}; decisions in {self.log}"
        if self.pull is not None:
            sequence = f"bundle {self.bundle.sequence}" if self.bundle else "no bundle yet"
            stale = ", STALE" if self.pull.standing(self.bundle).is_stale else ""
            every = self.config.guard.policy_every
            yield f"{sequence} from {self.pull.source}{stale}; looked at every {every:g} s, {self.pull.state().outcome}"
        sheets = sheets_of(self.config.guard, self.folder, key(self.folder))
        if sheets is not None:
            state, every = sheets.state(), self.config.guard.measures_every
            stale = ", STALE" if sheets.touched(self.config.guard.measures_stale)[1] else ""
            yield f"measures {state.sequence or 'not yet'} from {sheets.source}{stale}; looked at every {every:g} s, {state.outcome}"


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
    if budgets(guard.watch_budget) and not guard.watch:
        raise UsageError(
            "guard.watch_budget without the watch that would hold callers against it",
            hint="set guard.watch to true",
            slug="bad-configuration",
        )
    prices(guard.price)
    door.addresses(guard.door)
    if guard.taps:
        door.needs("taps")
        door.folder_of_taps(Path(guard.taps))
    door.open_paths(guard.gateway)
    sheets = sheets_of(guard, folder, key(folder))
    mounts = routes(config)
    ports = _ports(guard, {one.name: one for one in mounts})
    pull = pull_of(guard, folder)
    if sheets is not None:
        sheets.first()  # before anybody is served whom responders refuse
    if pull is None:
        return Plan(config, folder, log, mounts, policy_of(guard.policy), ports)
    found = pull.first()
    return Plan(config, folder, log, mounts, _begun(pull, found), ports, pull, found)


def _ports(guard: GuardConfig, known: dict[str, Route]) -> list[Port]:
    """Ports for gRPC. Raises UsageError."""
    found = [port(text) for text in guard.grpc]
    for one in found:
        if one.mount not in known or known[one.mount].kind != "kserve":
            raise UsageError(
                f"--grpc {one.mount}: no mount of kind kserve is called so",
                hint=f"--upstream {one.mount}:kserve=http://HOST:PORT, the same server over HTTP",
                slug="bad-grpc",
            )
        if not one.listen.startswith(("127.", "localhost:", "[::1]:")) and not (guard.token or guard.client_ca):
            raise UsageError(
                f"{one.listen} can be reached by others",
                hint="set AFTERGUARD_GUARD_TOKEN, or TLS with guard.client_ca, or listen on 127.0.0.1",
                slug="unprotected-listener",
            )
    if found:
        library()
    return found


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
    for _, address in door.addresses(guard.door):
        for free in listeners(Terms(listen=address, takeover=takeover)):  # said now, not by every worker
            free.close()
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


class Guard(Judging):
    """The reverse proxy and whatever other doors the settings ask for, before who judges."""

    def __init__(self, made: Plan, gate: Gate, board: Board | None = None) -> None:
        settings = made.config.guard
        super().__init__(
            settings, made.folder, made.log, made.policy, settings.helpers, made.routes, made.pull, made.bundle
        )
        self.gate = gate
        self.board = board
        if board is not None:
            board.join()
        context = tls.client_context(ca=settings.upstream_ca, certificate=settings.upstream_certificate)
        upstreams = {
            one.name: Upstream(
                one.upstream, tls=context if one.upstream.startswith("https") else None, proxy=settings.proxy
            )
            for one in made.routes
        }
        given = door.Given(
            self.desk,
            Mounts(made.routes),
            settings.token.encode(),
            (settings.tls_certificate, settings.tls_key, settings.client_ca),
            common(made.config),
        )
        secured = Secured(*given.tls, settings.upstream_ca, settings.upstream_certificate)
        self.proxy = Proxy(
            given.mounts,
            upstreams,
            self.desk,
            Settings(token=settings.token.encode(), credentials=Source(os.environ)),
            total=board.total if board is not None else None,
            doors={name: make(given) for name, make in door.PATHS.items() if name in door.open_paths(settings.gateway)},
            listeners=[
                *(door.LISTENERS[name](given, where) for name, where in door.addresses(settings.door)),
                *door.taps(given, settings.taps),
                *(GrpcDoor(self.desk, given.token, given.mounts.routes[one.mount], one, secured) for one in made.ports),
            ],
        )
        self.proxy.refused = gate.refused
        gate.door = self.proxy
        self._profiles_due = time.monotonic() + KEEP
        self._profiles_seen = 0
        if any(one.is_predictive for one in made.routes):
            self._take_profiles()
        settled()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        self.watch()
        await self.proxy(scope, receive, send)
        if scope["type"] == "lifespan":
            self.unwatch()
            self.close()

    def looked(self) -> None:
        """The files were looked at: time to leave the numbers as well."""
        if self.board is not None:
            self.board.keep(self.proxy.counted())
        if time.monotonic() >= self._profiles_due:
            self._keep_profiles()

    def _take_profiles(self) -> None:
        """Begin with what was learned before the restart."""
        try:
            data = files.named(self.folder / PROFILES, PROFILES_CAP)
        except OSError:
            return
        try:
            self.brain.models.take(data, {one.name: one.schemas for one in self.proxy.mounts.routes.values()})
        except (ValueError, msgspec.MsgspecError) as error:
            log.error("%s is damaged, and is learned anew: %s", self.folder / PROFILES, error)

    def _keep_profiles(self) -> None:
        """Write down what was learned; of several workers the last one's stays."""
        self._profiles_due = time.monotonic() + KEEP
        if self.brain.models.seen == self._profiles_seen:
            return
        self._profiles_seen = self.brain.models.seen
        data = self.brain.models.kept()
        try:
            fresh = self.folder / f"{PROFILES}.{os.getpid()}"
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
                out.write(data)
            fresh.replace(self.folder / PROFILES)
        except OSError as error:
            log.error("what was learned of inputs cannot be kept: %s", files.why(error))
            self.metrics.add("afterguard_failures_total", "all", "profiles_not_kept", "yes")

    def close(self) -> None:
        """End the helpers; leave the last numbers, and what was learned."""
        self.looked()
        self._keep_profiles()
        if self.pool is not None:
            self.pool.close()
