"""Alerts, what people said of them, and what is set aside, in the store.

In: an open Connection, structs. Out: structs. An alert is one row whatever its revision: the newest one holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import msgspec

from afterguard.model import Alert
from afterguard.store import rows
from afterguard.store.connection import Connection

T = TypeVar("T")
ALERT = ("id", "tenant", "app", "fingerprint", "kind", "severity", "state", "suppressed", "risk", "first_seen", "last_seen", "revision", "incident", "body")  # fmt: skip
SAID = ("id", "tenant", "app", "what", "created", "body")


def keep(connection: Connection, alerts: Iterable[Alert]) -> list[Alert]:
    """Write alerts, and give them as they were written: one that was told before keeps that time. An older revision never takes the place of a newer one."""
    out = []
    with connection.transaction():
        for alert in alerts:
            known = connection.execute("SELECT revision, body FROM alert WHERE id = ?", (alert.id,))
            told = msgspec.json.decode(known[0][1], type=Alert).raised if known else 0.0
            one = msgspec.structs.replace(alert, raised=told or alert.raised or alert.observed)
            out.append(one)
            if known and int(known[0][0]) > one.revision:
                continue
            connection.execute("DELETE FROM alert WHERE id = ?", (one.id,))
            connection.insert("alert", ALERT, [_row(one)])
    return out


def _row(one: Alert) -> tuple[object, ...]:
    return (
        one.id, rows.text(one.tenant), rows.text(one.app), one.fingerprint, rows.text(one.kind), one.severity.value, one.state, int(bool(one.suppressed or one.drill)), one.risk,
        rows.real(one.first_seen), rows.real(one.last_seen), one.revision, one.case, rows.body(one),
    )  # fmt: skip


def listed(connection: Connection, tenant: str, app: str = "", limit: int = 100, with_suppressed: bool = False) -> list[Alert]:  # fmt: skip
    """Alerts, the riskiest of the newest first. Those of drills are among what is set aside."""
    found = connection.execute(
        "SELECT body FROM alert WHERE tenant = ? AND (? = '' OR app = ?) AND (suppressed = 0 OR ? = 1) ORDER BY state = 'closed', risk DESC, last_seen DESC LIMIT ?",
        (tenant, app, app, int(with_suppressed), max(1, limit)),
    )
    return [msgspec.json.decode(body, type=Alert) for (body,) in found]


def one(connection: Connection, tenant: str, beginning: str) -> list[Alert]:
    """Alerts whose id begins so; more than one where it is not enough."""
    found = connection.execute("SELECT body FROM alert WHERE tenant = ? AND substr(id, 1, ?) = ? LIMIT 10", (tenant, len(beginning), beginning))  # fmt: skip
    return [msgspec.json.decode(body, type=Alert) for (body,) in found]


def named(connection: Connection, tenant: str, id: str) -> Alert | None:
    """The alert of exactly that id, None where there is none."""
    found = connection.execute("SELECT body FROM alert WHERE id = ? AND tenant = ?", (id, tenant))
    return msgspec.json.decode(found[0][0], type=Alert) if found else None


def of_incident(connection: Connection, tenant: str, incident: str) -> list[Alert]:
    """All alerts of one incident, by its id or its beginning, oldest first."""
    found = connection.execute("SELECT body FROM alert WHERE tenant = ? AND substr(incident, 1, ?) = ? ORDER BY first_seen", (tenant, len(incident), incident))  # fmt: skip
    return [msgspec.json.decode(body, type=Alert) for (body,) in found]


def say(connection: Connection, tenant: str, app: str, what: str, identifier: str, created: float, said: msgspec.Struct) -> None:  # fmt: skip
    """Write down what a person said: `disposition` or `suppression`. Nothing is overwritten."""
    with connection.transaction():
        connection.insert("alert_said", SAID, [(identifier, rows.text(tenant), rows.text(app), what, created, rows.body(said))])  # fmt: skip


def newest(connection: Connection, tenant: str, what: str) -> tuple[int, float]:
    """(how many of that sort, when the last was said): as long as that is the same, nothing more was said."""
    found = connection.execute("SELECT COUNT(*), MAX(created) FROM alert_said WHERE tenant = ? AND what = ?", (tenant, what))  # fmt: skip
    return int(found[0][0]), float(found[0][1] or 0.0)


def said(connection: Connection, tenant: str, what: str, kind: type[T]) -> tuple[T, ...]:
    """Everything of that sort, oldest first."""
    found = connection.execute("SELECT body FROM alert_said WHERE tenant = ? AND what = ? ORDER BY created, id", (tenant, what))  # fmt: skip
    return tuple(msgspec.json.decode(body, type=kind) for (body,) in found)
