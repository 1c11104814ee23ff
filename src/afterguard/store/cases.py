"""Cases kept: every version that was changed stays until it is undone or the case is deleted.

In: Cases and the alerts they hold, as respond/case.py makes them. Out: the same, by id; lists; what was there before a change, put back. Two who write at once: the later one is told, where what is written rests on what was read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from afterguard.errors import UsageError
from afterguard.model import Alert, Case
from afterguard.store import rows
from afterguard.store.database import Store

COLUMNS = ("id", "tenant", "app", "status", "severity", "opened", "updated", "version", "body")
ALERT = ("id", "tenant", "app", "casefile", "alert", "body")
CHANGE = ("id", "tenant", "app", "at", "who", "what", "undone", "body")


class Held(msgspec.Struct, frozen=True):
    """A case with what it holds, and which version of it that is."""

    case: Case
    alerts: tuple[Alert, ...]
    version: int


class Before(msgspec.Struct, frozen=True):
    """A case before a change; None where it was not there. `after` is the version the change made of it."""

    id: str
    held: Held | None
    after: int


class Cases:
    """The cases of a store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.connection = store.connection

    def get(self, case: str) -> Held:
        """A case by its id, or by how its id begins or ends. Raises UsageError."""
        found = self.connection.execute("SELECT id, version, body FROM casefile WHERE id = ?", (case,))
        if not found and len(case) >= 6:
            like = "SELECT id, version, body FROM casefile WHERE substr(id, 1, ?) = ? OR substr(id, length(id) - ? + 1) = ?"
            found = self.connection.execute(like, (len(case), case, len(case), case))
        if len(found) != 1:
            says = f"no case is called {case}" if not found else f"{len(found)} cases are called {case}"
            raise UsageError(says, hint="afterguard respond cases", slug="no-such-case")
        name, version, body = found[0]
        return Held(msgspec.json.decode(body, type=Case), self._alerts(name), int(version))

    def list(self, tenant: str = "", app: str = "", *, every: bool = False, limit: int = 200) -> tuple[Case, ...]:
        """Cases, newest first; those that are closed or merged only with `every`."""
        found = self.connection.execute(
            "SELECT body FROM casefile WHERE (? = '' OR tenant = ?) AND (? = '' OR app = ?) "
            "AND (? = 1 OR status NOT IN ('closed', 'merged')) ORDER BY updated DESC, id DESC LIMIT ?",
            (tenant, tenant, app, app, int(every), max(1, limit)),
        )
        return tuple(msgspec.json.decode(body, type=Case) for (body,) in found)

    def with_alert(self, alert: str) -> str:
        """Id of the case that holds an alert, "" where none does."""
        found = self.connection.execute(
            "SELECT f.id FROM casefile_alert a JOIN casefile f ON f.id = a.casefile WHERE a.alert = ? AND f.status <> 'merged' ORDER BY f.updated DESC",
            (alert,),
        )
        return str(found[0][0]) if found else ""

    def save(
        self,
        cases: Sequence[Case],
        versions: Mapping[str, int],
        alerts: Mapping[str, Sequence[Alert]],
        *,
        who: str,
        what: str,
    ) -> str:
        """Keep cases as one change, all or none; the change's id. `versions`: of those that were there; `alerts`: case -> all that it holds now, where that changed. Raises UsageError where somebody was quicker."""
        name = self.store.made()
        with self.connection.transaction():
            self.connection.serialise()
            befores = [self._swap(one, versions.get(one.id, 0), alerts.get(one.id)) for one in cases]
            first = cases[0]
            row = (
                name,
                first.tenant,
                first.app,
                self.store.clock(),
                rows.text(who),
                rows.text(what),
                0,
                _text(befores),
            )
            self.connection.insert("casefile_change", CHANGE, [row])
        return name

    def change(
        self, case: str, made: Callable[[Case], Case], *, who: str, what: str, fresh: Sequence[Alert] = ()
    ) -> Case:
        """A case after a change to what it is at this moment, whoever wrote into it meanwhile; `fresh` alerts go into it. Where nothing changes nothing is kept. Raises UsageError."""
        with self.connection.transaction():
            self.connection.serialise()
            held = self.get(case)
            after = made(held.case)
            if after != held.case or fresh:
                alerts = {one.id: one for one in (*held.alerts, *fresh)}
                now = {after.id: tuple(alerts.values())} if fresh else {}
                self.save([after], {after.id: held.version}, now, who=who, what=what)
        return after

    def changes(self, case: str, limit: int = 50) -> tuple[tuple[str, float, str, str, bool], ...]:
        """(id, when, who, what, undone) of the changes of a case, newest first."""
        found = self.connection.execute(
            "SELECT id, at, who, what, undone, body FROM casefile_change ORDER BY id DESC LIMIT 5000", ()
        )
        mine = [row for row in found if any(one.id == case for one in _befores(row[5]))]
        return tuple((row[0], float(row[1]), row[2], row[3], bool(row[4])) for row in mine[:limit])

    def undo(self, change: str, *, who: str, said: Callable[[Case], Case]) -> tuple[str, ...]:
        """Put back what was there before a change; ids of the cases. `said` writes into each that it was undone. Raises UsageError where something was changed since."""
        with self.connection.transaction():
            self.connection.serialise()
            found = self.connection.execute("SELECT undone, body FROM casefile_change WHERE id = ?", (change,))
            if not found or found[0][0]:
                raise UsageError(f"there is no change {change} to undo", hint="afterguard respond show CASE", slug="no-such-case")  # fmt: skip
            befores = _befores(found[0][1])
            for one in befores:
                self._back(one, said)
            self.connection.execute("UPDATE casefile_change SET undone = 1 WHERE id = ?", (change,))
        return tuple(one.id for one in befores)

    def _back(self, one: Before, said: Callable[[Case], Case]) -> None:
        now = self.get(one.id)
        if now.version != one.after:
            raise UsageError(f"{one.id} was changed since", hint="undo what came after it first", slug="case-changed")
        if one.held is None:  # it was new: it stays, empty of alerts, with all that was said of it
            gone = msgspec.structs.replace(now.case, status="closed", alerts=(), entities=())
            self._swap(said(gone), now.version, ())
            return
        # What was said since stays said.
        line = dict.fromkeys((*one.held.case.timeline, *now.case.timeline))
        back = msgspec.structs.replace(
            one.held.case, timeline=tuple(sorted(line, key=lambda row: (row.at, row.recorded)))
        )
        self._swap(said(back), now.version, one.held.alerts)

    def _swap(self, case: Case, version: int, alerts: Sequence[Alert] | None) -> Before:
        held = self.get(case.id) if version else None
        body = rows.text(msgspec.json.encode(case).decode())
        if held is None:
            row = (case.id, case.tenant, case.app, case.status, case.severity.value, case.opened, case.updated, 1, body)
            self.connection.insert("casefile", COLUMNS, [tuple(rows.text(one) if isinstance(one, str) else one for one in row)])  # fmt: skip
        elif held.version != version:
            raise UsageError(f"somebody changed {case.id} meanwhile", hint="look again, and do it again", slug="case-changed")  # fmt: skip
        else:
            self.connection.execute(
                "UPDATE casefile SET status = ?, severity = ?, updated = ?, version = ?, body = ? WHERE id = ?",
                (case.status, case.severity.value, case.updated, version + 1, body, case.id),
            )
        if alerts is not None:
            self.connection.execute("DELETE FROM casefile_alert WHERE casefile = ?", (case.id,))
            self.connection.insert("casefile_alert", ALERT, [self._row(case, one) for one in alerts])
        return Before(case.id, held, version + 1)

    def _row(self, case: Case, alert: Alert) -> tuple[str, ...]:
        body = msgspec.json.encode(alert).decode()
        return (self.store.made(), rows.text(case.tenant), rows.text(case.app), case.id, rows.text(alert.id), rows.text(body))  # fmt: skip

    def _alerts(self, case: str) -> tuple[Alert, ...]:
        found = self.connection.execute("SELECT body FROM casefile_alert WHERE casefile = ? ORDER BY id", (case,))
        return tuple(msgspec.json.decode(body, type=Alert) for (body,) in found)


def _text(befores: Sequence[Before]) -> str:
    return rows.text(msgspec.json.encode(befores).decode())


def _befores(body: str) -> tuple[Before, ...]:
    return msgspec.json.decode(body, type=tuple[Before, ...])
