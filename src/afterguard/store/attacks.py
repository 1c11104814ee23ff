"""Attacks in the store: the rates of each run, so that the money and the next comparison find them.

In: what an attack measured, masked. Out: a run id; the newest attack of an application. It keeps no conversation: the journal has them.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from afterguard.model import App, Attacked, Family, Finding, Survey
from afterguard.store import rows
from afterguard.store.database import Store

ATTACK = ("id", "run", "tenant", "app", "target", "attack", "way", "ended", "requests", "stopped")
FAMILY = (*rows.OF_RUN, "technique", "kind", "severity", "succeeded", "trials", "effective", "body")
PART = "attack"


def keep(
    store: Store, app: App, found: Attacked, findings: Sequence[Finding] = (), *, started: float, version: str
) -> str:
    """Keep one attack with its findings; the id of its run. The same attack is kept once: going on with a run replaces what was kept of it."""
    owned = (rows.text(app.tenant), rows.text(app.name))
    with store.connection.transaction():
        for (old,) in store.connection.execute("SELECT run FROM attack WHERE tenant = ? AND app = ? AND attack = ?", (*owned, rows.text(found.run))):  # fmt: skip
            store.delete_run(old)
        # What an attack found says nothing of what a scan looks for, so neither makes the other's findings look mended.
        survey = Survey(app, findings=tuple(findings))
        run = store.save_run(survey, started=started, command="attack", version=version, app=app, parts=(PART,))
        key = (store.made(), run, *owned)
        store.connection.insert("attack", ATTACK, [(*key, rows.text(found.target), rows.text(found.run), found.through, rows.real(found.ended), rows.whole(found.requests), rows.text(found.stopped))])  # fmt: skip
        store.connection.insert(
            "attack_family",
            FAMILY,
            [
                (
                    store.made(), run, *owned, rows.text(one.technique), rows.text(one.kind), one.severity.value, rows.whole(one.succeeded),
                    rows.whole(one.share.of), rows.real(one.effective), rows.body(one),
                )
                for one in found.families
            ],
        )  # fmt: skip
    return run


def newest(store: Store, app: App, since: float = 0.0) -> Attacked | None:
    """The last attack of an application that ended after `since`, directly where there is one, else through the guard. None where there is none."""
    found = store.connection.execute(
        "SELECT run, target, attack, way, ended, requests, stopped FROM attack WHERE tenant = ? AND app = ? AND ended >= ? "
        "ORDER BY CASE WHEN way = 'direct' THEN 0 ELSE 1 END, ended DESC, id DESC LIMIT 1",
        (rows.text(app.tenant), rows.text(app.name), since),
    )
    if not found:
        return None
    run, target, attack, way, ended, requests, stopped = found[0]
    bodies = store.connection.execute("SELECT body FROM attack_family WHERE run = ? ORDER BY id", (run,))
    families = tuple(msgspec.json.decode(text, type=Family) for (text,) in bodies)
    return Attacked(target, attack, families, float(ended or 0.0), way, int(requests), stopped)
