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
from afterguard.model import App, Attacked, Range
from afterguard.store import alerts, attacks

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
"""Alerts below which their times say nothing."""


def notice(session: Session, apps: Sequence[App]) -> dict[str, dict[str, Range]]:
    """Application -> days from the first sign of an alert until somebody was told, of the alerts in the store: 10th, 50th and 90th percentile. Says which it takes."""
    store = opened(session)
    if store is None:
        return {}
    out = {}
    with store:
        for app in apps:
            rows = alerts.listed(store.connection, app.tenant, app.name, 1_000)
            days = sorted(max(0.0, (one.raised or one.observed) - one.first_seen) / 86_400 for one in rows)
            if len(days) >= LEAST:
                cut = statistics.quantiles(days, n=10)
                out[app.name] = {"notice_days": Range(cut[0], statistics.median(days), cut[8])}
                session.say(f"onboard: {app.name}: {len(days)} alerts say how long it takes until somebody is told; that takes the place of an assumption")  # fmt: skip
    return out


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
