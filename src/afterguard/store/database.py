"""Runs kept and compared: the store of everything a run found, in SQLite by path or PostgreSQL by URL.

In: surveys, look-backs and losses, already redacted. Out: run ids, the history, and what changed since the run before. It keeps no
original text (evidence.py does, encrypted, when asked). A run that was interrupted stays visible as incomplete.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from afterguard.model import App, Asset, Change, Coverage, Finding, Hit, Incident, Lookback, Loss, Survey
from afterguard.store import rows
from afterguard.store.changes import Side, compare
from afterguard.store.connection import Connection, connect
from afterguard.store.ids import maker
from afterguard.store.migrations import migrate

COVERAGE_ROWS = 100_000
PARTS = ("asset", "finding", "incident")
RUN = (
    "id", "tenant", "app", "command", "version", "started", "finished", "status", "parts", "root", "files", "bytes", "exchanges",
    "assets", "findings", "incidents", "annual_mean", "one_in_twenty", "currency", "log_first", "log_last",
)  # fmt: skip


class Run(msgspec.Struct, frozen=True):
    """One run as `history` shows it. Times in seconds since the epoch, UTC. `status`: complete or incomplete."""

    id: str
    tenant: str
    app: str
    command: str
    version: str
    started: float
    finished: float | None
    status: str
    parts: tuple[str, ...]
    """Which of asset, finding, incident the run looked for."""
    root: str
    files: int
    bytes: int
    exchanges: int
    assets: int
    findings: int
    incidents: int
    annual_mean: float | None
    one_in_twenty: float | None
    currency: str | None
    log_first: float | None = None
    log_last: float | None = None


class Suppressed(msgspec.Struct, frozen=True):
    """A dated exception. Over after `expires`."""

    id: str
    fingerprint: str
    rule: str
    path: str
    reason: str
    who: str
    created: float
    expires: float


class Disposed(msgspec.Struct, frozen=True):
    """What a person decided about an incident: confirmed, dismissed, closed."""

    kind: str
    cause: str
    status: str
    reason: str
    who: str
    created: float


def open_store(
    target: str | Path,
    *,
    clock: Callable[[], float] = time.time,
    random: Callable[[int], bytes] = os.urandom,
    timeout: float = 10.0,
) -> Store:
    """The store at a path or postgresql:// URL, created or brought up to date. UsageError, or Unreachable for a server."""
    connection = connect(target, timeout)
    try:
        migrate(connection, clock())
    except BaseException:
        connection.close()
        raise
    return Store(connection, clock, random)


class Store:
    """An open store. One per thread or process; many may use the same database."""

    def __init__(self, connection: Connection, clock: Callable[[], float], random: Callable[[int], bytes]) -> None:
        self.connection, self.clock = connection, clock
        self.made = maker(clock, random)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self.connection.close()

    def save_run(
        self,
        survey: Survey | None,
        lookback: Lookback | None = None,
        loss: Loss | None = None,
        *,
        started: float,
        command: str,
        version: str,
        app: App | None = None,
        hits: Iterable[Hit] = (),
        parts: Iterable[str] | None = None,
    ) -> str:
        """Keep a run; its id. `parts` says what it looked for; by default what the command and the results tell."""
        owner = app or (survey.app if survey else App("unnamed"))
        looked = tuple(parts) if parts is not None else _parts(survey, lookback, command)
        run = self._begin(owner, survey, lookback, loss, started, command, version, looked)
        owned = (run, rows.text(owner.tenant), rows.text(owner.name))
        with self.connection.transaction():
            if survey is not None:
                self._keep_survey(survey, owned)
            past = lookback.coverage if lookback else ()
            every = (*(survey.coverage if survey else ()), *past)
            rest = len(every) - COVERAGE_ROWS
            cut = (Coverage("(store)", "cap", "further rows of what was not read", count=rest),) if rest > 0 else ()
            kept = (*every[:COVERAGE_ROWS], *cut)
            self.connection.insert("coverage", rows.COVERAGE, rows.coverage(kept, owned, self.made))
            if lookback is not None:
                self.connection.insert("incident", rows.INCIDENT, rows.incidents(lookback.incidents, owned, self.made))
            self.connection.insert("hit", rows.HIT, rows.hits(hits, owned, self.made))
            self.connection.execute(
                "UPDATE run SET status = 'complete', finished = ? WHERE id = ?", (self.clock(), run)
            )
        return run

    def _begin(
        self, app: App, survey: Survey | None, past: Lookback | None, loss: Loss | None, started: float, command: str,
        version: str, parts: tuple[str, ...],
    ) -> str:  # fmt: skip
        """The run's own row, committed first: whatever happens next, history shows that a run began."""
        run = self.made()
        values = {
            "id": run, "tenant": rows.text(app.tenant), "app": rows.text(app.name), "command": rows.text(command),
            "version": version, "started": started, "status": "incomplete", "parts": " ".join(parts), "root": rows.text(app.root),
            "files": rows.whole(survey.files if survey else 0),
            "bytes": rows.whole((survey.bytes if survey else 0) + (past.bytes if past else 0)),
            "exchanges": rows.whole(past.exchanges if past else 0),
            "log_first": rows.real(past.first_seen) if past else None, "log_last": rows.real(past.last_seen) if past else None,
            "assets": len(survey.assets) if survey else 0, "findings": len(survey.findings) if survey else 0,
            "incidents": len(past.incidents) if past else 0,
            "annual_mean": rows.real(loss.annual_mean) if loss else None,
            "one_in_twenty": rows.real(loss.one_in_twenty) if loss else None,
            "currency": loss.currency if loss else None, "loss": rows.body(loss) if loss else None,
        }  # fmt: skip
        with self.connection.transaction():
            self.connection.insert("run", tuple(values), [tuple(values.values())])
        return run

    def _keep_survey(self, survey: Survey, owned: rows.Owned) -> None:
        places: list[tuple[Any, ...]] = []
        self.connection.insert("asset", rows.ASSET, rows.assets(survey.assets, owned, self.made, places))
        self.connection.insert("evidence", rows.EVIDENCE, places)
        self.connection.insert("finding", rows.FINDING, rows.findings(survey.findings, owned, self.made, 0))
        self.connection.insert("finding", rows.FINDING, rows.findings(survey.suppressed, owned, self.made, 1))

    def history(self, tenant: str = "", app: str = "", limit: int = 100) -> tuple[Run, ...]:
        """Runs, newest first; of one tenant or application when named."""
        where = "(? = '' OR tenant = ?) AND (? = '' OR app = ?) ORDER BY started DESC, id DESC LIMIT ?"
        return tuple(self._runs(where, (tenant, tenant, app, app, max(1, limit))))

    def run(self, run: str) -> Run | None:
        """One run by its id."""
        return next((one for one in self._runs("id = ?", (run,))), None)

    def newest_loss(self, tenant: str, app: str = "") -> Loss | None:
        """What the newest complete run says an application can lose; of any application where none is named."""
        found = self.connection.execute(
            "SELECT loss FROM run WHERE tenant = ? AND (? = '' OR app = ?) AND status = 'complete' AND loss IS NOT NULL ORDER BY started DESC, id DESC LIMIT 1",
            (tenant, app, app),
        )
        return msgspec.json.decode(found[0][0], type=Loss) if found else None

    def _runs(self, where: str, values: tuple[Any, ...]) -> list[Run]:
        found = self.connection.execute(f"SELECT {', '.join(RUN)} FROM run WHERE {where}", values)  # noqa: S608
        return [_run(row) for row in found]

    def assets(self, run: str) -> tuple[Asset, ...]:
        """Assets of a run as they were saved."""
        return tuple(self._bodies("asset", run, Asset))

    def findings(self, run: str) -> tuple[Finding, ...]:
        """Findings of a run, without those set aside."""
        return tuple(self._bodies("finding", run, Finding, "AND suppressed = 0"))

    def incidents(self, run: str) -> tuple[Incident, ...]:
        """Incidents of a run."""
        return tuple(self._bodies("incident", run, Incident))

    def _bodies(self, table: str, run: str, kind: type[Any], more: str = "") -> list[Any]:
        found = self.connection.execute(f"SELECT body FROM {table} WHERE run = ? {more} ORDER BY id", (run,))  # noqa: S608
        return [msgspec.json.decode(text, type=kind) for (text,) in found]

    def previous(self, run: Run, part: str) -> Run | None:
        """The last complete run before this one of the same tenant and application that looked for `part`."""
        found = self._runs(
            "tenant = ? AND app = ? AND status = 'complete' AND id <> ? AND (started < ? OR (started = ? AND id < ?)) "
            "ORDER BY started DESC, id DESC LIMIT 50",
            (run.tenant, run.app, run.id, run.started, run.started, run.id),
        )
        return next((one for one in found if part in one.parts), None)

    def diff(self, run: str, examined: Callable[[str], bool] | None = None) -> Change:
        """What changed since the run before. `examined` tells of a path whether it was read this time.

        Without it a path counts as read unless this run has a coverage row for it or a folder above it, or read another root.
        """
        now = self.run(run)
        if now is None:
            return Change()
        before = {part: self.previous(now, part) for part in PARTS if part in now.parts}
        unread = frozenset(
            path
            for (path,) in self.connection.execute(
                "SELECT path FROM coverage WHERE run = ? AND reason <> 'bad_syntax'", (run,)
            )
        )
        return compare(
            self._side(now), {part: self._side(one) for part, one in before.items() if one}, unread, examined
        )

    def _side(self, run: Run) -> Side:
        return Side(
            run.id, run.started, run.root, run.parts, self.assets(run.id), self.findings(run.id), self.incidents(run.id),
            run.log_first, run.log_last, frozenset(self._suppressed_prints(run.id)),
        )  # fmt: skip

    def _suppressed_prints(self, run: str) -> list[str]:
        found = self.connection.execute("SELECT fingerprint FROM finding WHERE run = ? AND suppressed = 1", (run,))
        return [one for (one,) in found]

    def first_found(self, tenant: str, app: str) -> dict[str, float]:
        """Fingerprint -> start of the first run that had it."""
        found = self.connection.execute(
            "SELECT f.fingerprint, MIN(r.started) FROM finding f JOIN run r ON r.id = f.run "
            "WHERE f.tenant = ? AND f.app = ? GROUP BY f.fingerprint",
            (tenant, app),
        )
        return {str(one[0]): float(one[1]) for one in found}

    def delete_run(self, run: str) -> bool:
        """Remove a run with everything that hangs on it; whether it was there."""
        with self.connection.transaction():
            there = bool(self.connection.execute("SELECT 1 FROM run WHERE id = ?", (run,)))
            self.connection.execute("DELETE FROM run WHERE id = ?", (run,))
        return there

    def suppress(
        self, app: App, *, reason: str, who: str, expires: float, fingerprint: str = "", rule: str = "", path: str = ""
    ) -> str:
        """Keep a dated exception for one fingerprint, or for a rule with a path glob; its id. A reason is required."""
        if not reason.strip() or not (fingerprint or rule):
            raise ValueError("an exception needs a reason and a fingerprint or a rule")
        key = self.made()
        columns = ("id", "tenant", "app", "fingerprint", "rule", "path", "reason", "who", "created", "expires")
        row = (key, app.tenant, app.name, fingerprint, rule, path, reason, who, self.clock(), expires)
        with self.connection.transaction():
            self.connection.insert(
                "suppression", columns, [tuple(rows.text(one) if isinstance(one, str) else one for one in row)]
            )
        return key

    def suppressions(self, app: App, now: float) -> tuple[Suppressed, ...]:
        """Exceptions that still hold at `now`."""
        found = self.connection.execute(
            "SELECT id, fingerprint, rule, path, reason, who, created, expires FROM suppression "
            "WHERE tenant = ? AND app = ? AND expires >= ? ORDER BY id",
            (app.tenant, app.name, now),
        )
        return tuple(Suppressed(*row) for row in found)

    def dispose(self, app: App, *, kind: str, cause: str, status: str, reason: str, who: str) -> str:
        """Keep what a person decided about incidents of one kind and cause; the newest decision counts."""
        key = self.made()
        columns = ("id", "tenant", "app", "kind", "cause", "status", "reason", "who", "created")
        row = (key, app.tenant, app.name, kind, cause, status, reason, who, self.clock())
        with self.connection.transaction():
            self.connection.insert(
                "disposition", columns, [tuple(rows.text(one) if isinstance(one, str) else one for one in row)]
            )
        return key

    def dispositions(self, app: App) -> dict[tuple[str, str], Disposed]:
        """(kind, cause) -> the newest decision."""
        found = self.connection.execute(
            "SELECT kind, cause, status, reason, who, created FROM disposition WHERE tenant = ? AND app = ? ORDER BY id",
            (app.tenant, app.name),
        )
        return {(row[0], row[1]): Disposed(*row) for row in found}


def _run(row: tuple[Any, ...]) -> Run:
    values = list(row)
    values[8] = tuple(values[8].split())
    return Run(*values)


def _parts(survey: Survey | None, lookback: Lookback | None, command: str) -> tuple[str, ...]:
    """What a run looked for. A discovery lists assets and checks nothing, so it cannot say that a finding is gone."""
    words = command.split()[:3]
    out = []
    if survey is not None:
        out.append("asset")
        if "discover" not in words:
            out.append("finding")
    if lookback is not None:
        out.append("incident")
    return tuple(out)
