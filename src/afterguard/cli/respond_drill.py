"""`afterguard respond drill`: an attack of our own through the running guard, and how soon it is told, contained and undone."""

from __future__ import annotations

import signal
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from cyclopts import Parameter

from afterguard.cli import attack_parts as parts
from afterguard.cli.options import DEFAULT, Common, Session, writing
from afterguard.cli.policy_files import text_of
from afterguard.cli.recording import beside
from afterguard.cli.respond_acts import values_of
from afterguard.cli.respond_places import ACTING, Acting, Desk, acting, opened, who
from afterguard.cli.respond_sinks import Outbox, outbox
from afterguard.errors import EXIT_GATE, EXIT_NOTHING, UsageError
from afterguard.safe import terminal

if TYPE_CHECKING:
    from afterguard.jobs.authorisation import Leave
    from afterguard.jobs.drill import Made
    from afterguard.model import Alert
    from afterguard.respond.drill import Drilled
    from afterguard.store.database import Store
    from afterguard.watch.triage import Triage

FORMATS = ("table", "json", "md")
SLACK = 60.0
"""Seconds beyond what a drill may take at most, for which its callers stay its own should it die."""
Repeated = Annotated[list[str] | None, Parameter(negative=())]


def drill(
    target: Path,
    /,
    *,
    authorisation: Path | None = None,
    trusted: list[Path] | None = None,
    techniques: str = "",
    seed: str = "",
    requests: int = 100,
    kill_file: Path | None = None,
    listen: str = "",
    log: Path | None = None,
    identity: Repeated = None,
    contain: Annotated[bool, Parameter(negative=())] = False,
    wide: Annotated[bool, Parameter(negative=())] = False,
    playbook: str = "",
    with_: Annotated[list[str] | None, Parameter(name="--with", negative=())] = None,
    skip: Repeated = None,
    value: Repeated = None,
    wait: float = 300.0,
    settle: float = 5.0,
    routes: Path | None = None,
    rules: list[Path] | None = None,
    by: Acting = ACTING,
    common: Common = DEFAULT,
) -> int:
    """Attack an application through its running guard, within its owner's leave, and measure how soon that is told, contained and undone.

    Contains nothing without --contain. With --sinks its alerts are told as well; all of it is marked. Exits with 10 where something had its way and nobody was told, or containment was wanted and not proven, or not all was taken back.

    Parameters
    ----------
    target
        TARGET.yaml, with the guard's door as `guarded`.
    authorisation
        The owner's signed leave for that door.
    trusted
        Public keys of owners.
    techniques
        Only these, by comma.
    seed
        Of everything that is drawn.
    requests
        At most so many; the owner's limits hold too.
    kill_file
        Nothing more is sent once this file exists.
    listen
        HOST:PORT of a listener of our own.
    log
        The guard's decision log; empty: as the settings say.
    identity
        Name under which the guard knows the drill (actor.user.uid in its log), where the target is an application before the guard. Repeatable.
    contain
        Really do what the playbook says, with approvals; without it a dry run.
    wide
        Also acts that touch others than the drill: a tool, a mount, a document, an ingest.
    playbook
        Its id; empty: the one that covers most of the alerts.
    with_
        Optional steps that are wanted. Repeatable.
    skip
        Steps to leave out. Repeatable.
    value
        STEP=VALUE for steps that need one. Repeatable.
    wait
        Seconds for approvals and answers, from the first alert on.
    settle
        Seconds after the last request for alerts that are still to come.
    routes
        YAML file: owners of alerts, prices of kinds.
    rules
        Sigma rules of your own, files or folders.
    """
    from afterguard.jobs import drill as job
    from afterguard.jobs import drill_watch, respond, watch
    from afterguard.model import Drill

    _checked(common, requests, wait, settle)
    values = values_of(value)
    found, data = parts.opened(target, "guarded")
    chosen = parts.chosen(techniques, data is not None)
    flags = parts.Flags(authorisation, trusted or [], kill_file, listen)
    with opened(common, by.settings) as desk:
        session, room, out = desk.session, desk.room, outbox(desk, by.sinks)
        leave = _within(parts.leave(session, flags, target, found), requests)
        person = acting(desk, by.token, by.break_glass) if contain else who(desk, by.token, by.break_glass)
        guard = respond.running(room)
        if guard is None:
            raise UsageError("the guard's key is not here: nobody could prove what it does", hint="guard: {folder: DIR, listen: HOST:PORT} in respond.yaml, on the guard's machine", slug="guard-unreachable")  # fmt: skip
        guard.mounts()
        head = parts.head(found, chosen, seed, "guarded")
        folder = room.folder / "drills" / head.run
        folder.mkdir(parents=True, mode=0o700)
        until = time.time() + leave.limits.minutes * 60 + wait + settle + SLACK
        about = Drill(head.run, session.config.app or found.name, drill_watch.callers(found, guard, identity or ()), time.time(), until)  # fmt: skip
        told: list[Alert] = []
        estimate = parts.estimate(msgspec.structs.replace(found, limits=leave.limits), chosen, data)
        session.say(f"respond drill {head.run}: {len(chosen)} techniques, at most {estimate.requests} requests, {estimate.minutes:.0f} minutes to {found.host}, as {', '.join(about.identities)}")  # fmt: skip
        with (
            parts.book(folder / "attack.jsonl", head, session) as book,
            parts.means(session, flags, found) as outside,
            out.open() as outlet,
        ):
            beside_it = drill_watch.Beside(
                about, [log or room.guard_log], _triage(session, desk.cases.store, routes), desk.cases.store.connection, session.config.tenant, folder / "triage.state",
                told.extend, time.time, outlet, watch.rules(rules) if rules else None,
            )  # fmt: skip
            wish = job.Wish(contain, wide, playbook, with_ or (), skip or (), wait, settle, values)
            made = _attack(found, data, chosen, leave, book, outside)
            before = signal.signal(
                signal.SIGTERM, signal.default_int_handler
            )  # an end like any other: all is taken back
            try:
                result = job.Drilling(room, desk.cases, about, found.name, guard, beside_it, told, made, person, wish, say=session.say).run()  # fmt: skip
            finally:
                signal.signal(signal.SIGTERM, before)
            code = _told(desk, out, result)
        out.deliver(desk)
        _write(session, result)
        session.next(f"afterguard respond export {result.case} -f md" if result.case else f"afterguard attack replay ID --journal {folder / 'attack.jsonl'}")  # fmt: skip
        return 0 if common.no_fail else _code(result, contain) or code


def _checked(common: Common, requests: int, wait: float, settle: float) -> None:
    if common.format not in FORMATS:
        raise UsageError(f"a drill has no {common.format} format", hint=f"use one of {', '.join(FORMATS)}", slug="bad-format")  # fmt: skip
    if requests < 1 or not 0 <= wait <= 86_400 or not 0 <= settle <= 3_600:
        raise UsageError("a drill takes a request at least, and waits a day and settles an hour at most", hint="--requests 100 --wait 300 --settle 5", slug="bad-usage")  # fmt: skip


def _within(leave: Leave, requests: int) -> Leave:
    """The leave, with fewer requests."""
    limits = msgspec.structs.replace(leave.limits, requests=min(requests, leave.limits.requests))
    return msgspec.structs.replace(leave, limits=limits)


def _triage(session: Session, store: Store, routes: Path | None) -> Triage:
    """A triage that knows what the one of every day knows is usual."""
    from afterguard.cli.watch import triage_of
    from afterguard.jobs import watch
    from afterguard.watch.triage.kept import usual

    given = watch.routes(text_of(routes), str(routes)) if routes else watch.Routes()
    made, kept = triage_of(session, store, given, 50), beside(session, "watch") / "triage.state"
    if kept.exists():
        usual(made, kept.read_bytes())
    return made


def _attack(found: Any, data: Any, chosen: list[Any], leave: Leave, book: Any, outside: dict[str, Any]) -> Made:
    from afterguard.jobs import attack, scoring

    made: Any = attack.Run if data is None else partial(scoring.ScoringRun, data=data)

    def make(is_over: Any, answered: Any) -> Any:
        def told(count: int, trial: str) -> None:
            answered(count, trial)
            outside["told"](count, trial)

        return made(found, chosen, leave, book, way="guarded", **(outside | {"is_killed": lambda: is_over() or outside["is_killed"](), "told": told}))  # fmt: skip

    return make


def _told(desk: Desk, out: Outbox, result: Drilled) -> int:
    """Leave for the sinks what was done in the drill's case. The exit code that goes with it."""
    from afterguard.jobs import respond

    if not result.case:
        return 0
    lines = respond.read_journal(desk.room, result.case).lines
    return out.leave(desk, desk.cases.get(result.case), respond.planned(lines), lines)


def _write(session: Session, result: Drilled) -> None:
    from afterguard.respond import drill as shown

    with writing(session.common.output) as out:
        if session.common.format == "json":
            out.write(msgspec.json.format(msgspec.json.encode(result)).decode() + "\n")
        else:
            out.write(terminal(shown.as_markdown(result) if session.common.format == "md" else shown.text(result)))


def _code(result: Drilled, contains: bool) -> int:
    is_proven = not (contains and result.case) or (result.contained is not None and result.undone is not None)
    if not is_proven or result.untold:
        return EXIT_GATE
    return 0 if result.rows else EXIT_NOTHING
