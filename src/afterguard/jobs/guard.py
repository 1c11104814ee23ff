"""Settings -> a running guard: policy, detectors, helpers, upstreams and door put together.

In: the merged configuration and a folder for keys and switches. Out: a `Guard` that serve.py runs. It starts processes and opens the log; it listens nowhere itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from afterguard import files
from afterguard.config import Config
from afterguard.detect import Context
from afterguard.errors import UsageError
from afterguard.guard import door, mapping, tls
from afterguard.guard.brain import Brain
from afterguard.guard.credentials import Source
from afterguard.guard.gate import Gate
from afterguard.guard.passage import Settings
from afterguard.guard.pool import settled
from afterguard.guard.proxy import Proxy
from afterguard.guard.route import Mounts, Route, route
from afterguard.guard.serve import Terms, serve
from afterguard.guard.upstream import Upstream
from afterguard.jobs.judging import Judging, key, log, policy_of
from afterguard.policy.load import Policy
from afterguard.wire.learned import Mapping

if TYPE_CHECKING:
    from afterguard.guard.board import Board


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
    return mapped(found, guard.mapping)


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


def mapped(found: list[Route], given: list[str]) -> list[Route]:
    """Routes with the mappings they are to be read by. Raises UsageError, also where two have one name."""
    names = [one.name for one in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"{twice[0]!r} is named twice", hint="give each mount its own name", slug="bad-upstream")
    mappings = _mappings(given, {one.name: one for one in found})
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


class Plan(NamedTuple):
    """What a guard is to be, checked before a process is started for it."""

    config: Config
    folder: Path
    log: Path
    routes: list[Route]
    policy: Policy | None

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
        for name in self.config.guard.gateway:
            yield f"http://{listen}/{name} answers a gateway of this kind that asks"
        yield f"policy {revision}; decisions in {self.log}"


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
    door.open_paths(guard.gateway)
    key(folder)
    return Plan(config, folder, log, routes(config), policy_of(guard.policy))


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


class Guard(Judging):
    """The reverse proxy and whatever other doors the settings ask for, before who judges."""

    def __init__(self, made: Plan, gate: Gate, board: Board | None = None) -> None:
        settings = made.config.guard
        super().__init__(settings, made.folder, made.log, made.policy, settings.helpers)
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
        given = door.Given(self.desk, Mounts(made.routes), settings.token.encode(), common(made.config))
        self.proxy = Proxy(
            given.mounts,
            upstreams,
            self.desk,
            Settings(token=settings.token.encode(), credentials=Source(os.environ)),
            total=board.total if board is not None else None,
            doors={name: make(given) for name, make in door.PATHS.items() if name in door.open_paths(settings.gateway)},
            listeners=[door.LISTENERS[name](given, where) for name, where in door.addresses(settings.door)],
        )
        self.proxy.refused = gate.refused
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

    def close(self) -> None:
        """End the helpers; leave the last numbers."""
        self.looked()
        if self.pool is not None:
            self.pool.close()
