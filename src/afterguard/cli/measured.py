"""What attacks measured of the applications that are onboarded: named as files, else the newest ones of the store.

In: NAME=FILE or FILE, the applications. Out: rates by application. Raises UsageError for a file that is no result, or belongs to none of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from afterguard.cli.options import Session
from afterguard.cli.recording import opened
from afterguard.errors import UsageError
from afterguard.model import App, Attacked
from afterguard.store import attacks

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
