"""`afterguard history`: recorded runs, and what changed."""

from __future__ import annotations

from cyclopts import App

from afterguard.cli.options import DEFAULT, Common, Session, open_session, writing
from afterguard.cli.recording import opened, said
from afterguard.errors import NothingToExamine, UsageError
from afterguard.safe import terminal
from afterguard.store.database import Run, Store

history = App(name="history", help="Recorded runs, and what changed between them.", help_format="plaintext")


@history.command(name="list")
def list_runs(*, limit: int = 30, common: Common = DEFAULT) -> int:
    """Recorded runs, newest first.

    Parameters
    ----------
    limit
        How many.
    """
    session = open_session(common)
    with _store(session) as store:
        runs = store.history(session.config.tenant, common.app or "", limit)
    if common.format == "json":
        return _json(session, {"format": "afterguard.history/1", "runs": runs})
    with writing(common.output) as out:
        for run in runs:
            out.write(terminal(_line(run)) + "\n")
    session.next(f"afterguard history show {runs[0].id}" if runs else "afterguard onboard PATH --logs LOG")
    return 0


@history.command
def show(run: str, /, *, common: Common = DEFAULT) -> int:
    """What one run changed against the run before of the same application.

    Parameters
    ----------
    run
        Id of a run, or `last`.
    """
    session = open_session(common)
    with _store(session) as store:
        found = _one(session, store, run)
        change = store.diff(found.id)
    if common.format == "json":
        return _json(session, {"format": "afterguard.change/1", "run": found, "change": change})
    with writing(common.output) as out:
        out.write(terminal(_line(found)) + "\n" + (said(change) if change.previous_run else "the first run") + "\n")
        for sign, rows in (("new", change.new), ("gone", change.fixed), ("not examined", change.not_examined)):
            for row in rows:
                out.write(terminal(f"  {sign:<13}{row.what:<9}{row.severity:<9}{row.title}  {row.where}") + "\n")
    session.next("afterguard onboard PATH --logs LOG")
    return 0


@history.command
def delete(run: str, /, *, yes: bool = False, common: Common = DEFAULT) -> int:
    """Remove one run with its assets, findings and incidents.

    Parameters
    ----------
    run
        Id of a run.
    yes
        Do it; without this the command only says what it would remove.
    """
    session = open_session(common)
    with _store(session) as store:
        found = _one(session, store, run)
        if not yes:
            session.say(f"would remove {_line(found)}; add --yes to do it")
            return 0
        store.delete_run(found.id)
    session.say(f"removed {found.id}")
    session.next("afterguard history list")
    return 0


def _store(session: Session) -> Store:
    store = opened(session)
    if store is None:
        raise UsageError("no store is in use", hint="drop --no-store, or set store.url", slug="no-store")
    return store


def _one(session: Session, store: Store, run: str) -> Run:
    runs = store.history(session.config.tenant, session.common.app or "", 1) if run == "last" else ()
    found = runs[0] if runs else store.run(run)
    if found is None:
        raise NothingToExamine(f"no run {run!r}", hint="see afterguard history list", slug="no-such-run")
    return found


def _line(run: Run) -> str:
    from afterguard.report import words

    counts = f"{run.assets} assets, {run.findings} findings, {run.incidents} incidents"
    state = "" if run.status == "complete" else f"  {run.status}"
    return f"{run.id}  {words.moment(run.started)}  {run.command:<9} {run.app}: {counts}{state}"


def _json(session: Session, document: dict[str, object]) -> int:
    from afterguard.report import json

    with writing(session.common.output) as out:
        out.write(json.dumps(json.plain(document)))
    return 0
