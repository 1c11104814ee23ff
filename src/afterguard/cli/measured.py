"""What attacks measured of the applications that are onboarded: named as files, else the newest ones of the store.

In: NAME=FILE or FILE, the applications. Out: rates by application. Raises UsageError for a file that is no result, or belongs to none of them.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from afterguard.cli.options import Session
from afterguard.cli.recording import opened
from afterguard.errors import UsageError
from afterguard.model import App, Attacked, Own, Range
from afterguard.respond.drill import DRILLED, Drilled
from afterguard.store import alerts, attacks
from afterguard.store.database import Store

FRESH = 90 * 86_400
"""Seconds for which an attack in the store still speaks for an application: after that nobody knows what was changed since."""


def rates(session: Session, apps: Sequence[App], named: Sequence[str], now: float) -> dict[str, Attacked]:
    """Application -> what was measured of it. Says which results it takes."""
    out = _kept(session, apps, now)
    for one in named:
        name, found = _read(one, [app.name for app in apps])
        out[name] = found
    for name, found in out.items():
        trials = sum(family.share.of for family in found.families)
        session.say(f"onboard: {name} was attacked (run {found.run}, {found.through}): {trials} trials take the place of assumptions")  # fmt: skip
    return out


LEAST = 3
"""Alerts, or drills, below which their times say nothing."""


def notice(session: Session, apps: Sequence[App]) -> dict[str, dict[str, Own]]:
    """Application -> days from the first sign of an alert until somebody was told, of the alerts in the store: 10th, 50th and 90th percentile; of its drills where there are too few. Says which it takes."""
    store = opened(session)
    if store is None:
        return {}
    out = {}
    with store:
        for app in apps:
            found = _told(session, store, app)
            if found is not None:
                out[app.name] = {"notice_days": found}
    return out


def _told(session: Session, store: Store, app: App) -> Own | None:
    rows = alerts.listed(store.connection, app.tenant, app.name, 1_000)
    if len(rows) >= LEAST:
        session.say(f"onboard: {app.name}: {len(rows)} alerts say how long it takes until somebody is told; that takes the place of an assumption")  # fmt: skip
        return Own(_spread([(one.raised or one.observed) - one.first_seen for one in rows]))
    made = alerts.said(store.connection, app.tenant, DRILLED, Drilled)
    drills = [one for one in made if one.app == app.name and one.alert is not None]
    # Where something had its way and nobody was told, or nothing was tried, what was told says nothing of how soon somebody notices.
    whole = [one.alert for one in drills if one.alert is not None and one.rows and not one.untold]
    if len(whole) < LEAST:
        if drills:
            session.say(f"onboard: {app.name}: {len(drills)} drills, {len(whole)} of them without anything that nobody was told of; {LEAST} such would take the place of an assumption")  # fmt: skip
        return None
    session.say(f"onboard: {app.name}: {len(whole)} drills say how long it takes until somebody is told; that takes the place of an assumption")  # fmt: skip
    return Own(_spread(whole), f"measured in {len(whole)} drills, not in real incidents", "drill")


def _spread(seconds: Sequence[float]) -> Range:
    days = sorted(max(0.0, one) / 86_400 for one in seconds)
    cut = statistics.quantiles(days, n=10)
    # Of few the ends lie beyond what was seen, and no time is below none.
    return Range(max(0.0, cut[0]), statistics.median(days), cut[8])


def _kept(session: Session, apps: Sequence[App], now: float) -> dict[str, Attacked]:
    store = opened(session)
    if store is None:
        return {}
    with store:
        rows = ((app.name, attacks.newest(store, app, now - FRESH)) for app in apps)
        return {name: found for name, found in rows if found is not None}


def _read(text: str, names: list[str]) -> tuple[str, Attacked]:
    from afterguard.attack.assessment import attacked
    from afterguard.jobs.attack_results import baseline

    told, equals, path = text.partition("=")
    if not equals or Path(text).exists():
        told, path = "", text
    found = attacked(baseline(Path(path)))
    name = told or (found.target if found.target in names else names[0] if len(names) == 1 else "")
    if name not in names:
        raise UsageError(f"--attack {text}: no application {told or found.target!r} is onboarded", hint=f"NAME=FILE with one of: {', '.join(names)}", slug="unknown-application")  # fmt: skip
    return name, found
