"""`afterguard respond exercise`, `score`, `times`: the tabletop from the team's own findings, how it went, and how long real cases took."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from afterguard.cli.options import DEFAULT, Common, writing
from afterguard.cli.policy_files import bytes_of
from afterguard.cli.respond_places import Desk, opened
from afterguard.errors import UsageError
from afterguard.safe import terminal

if TYPE_CHECKING:
    from afterguard.respond.exercise import Exercise, Occasion


def exercise(*, playbook: str = "", settings: Path | None = None, common: Common = DEFAULT) -> int:
    """Write the script of a tabletop from what was found here: alerts and the newest findings in the store.

    Parameters
    ----------
    playbook
        Which one; empty: the one that most of what was found calls for.
    settings
        respond.yaml.
    """
    from afterguard.jobs import respond as job
    from afterguard.respond import exercise as tabletop

    with opened(common, settings) as desk:
        found = occasions(desk)
        if playbook:
            chosen = job.playbook_of(desk.room.settings, playbook)
            fitting = tuple(one for one in found if tabletop.fits(one, chosen))
        else:
            chosen, fitting = tabletop.choose(found, job.playbooks(desk.room.settings))
        app = common.app or (fitting[0].app if fitting else "the application")
        made = tabletop.made(chosen, fitting, id=desk.cases.store.made(), app=app)
        with writing(common.output) as out:
            out.write(_json(made) if common.format == "json" else terminal(tabletop.script(made)))
        desk.session.say(f"respond exercise: {chosen.title}, from {len(fitting)} of {len(found)} things found here")
        desk.session.next("afterguard respond exercise --format json -o exercise.json, then afterguard respond score exercise.json NOTES.jsonl")  # fmt: skip
        return 0


def occasions(desk: Desk) -> list[Occasion]:
    """What the store knows: alerts, the riskiest first, then the newest run's findings, the gravest first."""
    from afterguard.jobs import respond as job
    from afterguard.model import SEVERITIES
    from afterguard.respond.exercise import Occasion
    from afterguard.respond.playbook import kinds_of
    from afterguard.store import alerts as stored

    books = job.playbooks(desk.room.settings)
    store, tenant, app = desk.cases.store, desk.session.config.tenant, desk.session.common.app or ""
    out = [
        Occasion(
            f"{one.title}: {one.excerpt or one.cause}",
            one.app,
            kinds_of(one, books)[0],
            f"alert {one.id[:12]}",
            one.taxonomies,
        )
        for one in stored.listed(store.connection, tenant, app, 30)
    ]
    run = next((one for one in store.history(tenant, app, 20) if "finding" in one.parts), None)
    findings = sorted(store.findings(run.id), key=lambda one: -SEVERITIES.index(one.severity)) if run else []
    return out + [Occasion(f"{one.message} ({one.path})", run.app, source=f"scan {one.rule}", taxonomies=one.taxonomies) for one in findings[:30] if run]  # fmt: skip


def score(exercise: Path, notes: Path, /, *, settings: Path | None = None, common: Common = DEFAULT) -> int:
    """Score a tabletop by what was noted, and write the after-action report.

    Parameters
    ----------
    exercise
        The exercise as JSON.
    notes
        JSON Lines: {"minute": 12, "step": "refuse-key", "who": "ana", "text": "..."}.
    settings
        respond.yaml.
    """
    from afterguard.respond import exercise as tabletop

    made = _exercise(exercise)
    done = _notes(notes)
    result = tabletop.scored(made, done)
    with opened(common, settings) as desk:
        with writing(common.output) as out:
            out.write(_json(result) if common.format == "json" else terminal(tabletop.report(made, done, result)))
        desk.session.say(f"respond score: {result.points} of {result.most} points, {sum(row.points < 2 for row in result.rows)} things to mend")  # fmt: skip
        desk.session.next("afterguard respond exercise")
    return 0


def times(*, drill: bool = False, settings: Path | None = None, common: Common = DEFAULT) -> int:
    """How long cases took, from the first sign to somebody who was told, and to containment that was proven.

    Parameters
    ----------
    drill
        Drills, from their first byte on, in place of real cases.
    settings
        respond.yaml.
    """
    from afterguard.jobs import exercise as job

    with opened(common, settings) as desk:
        if drill:
            found = job.drills(desk.cases.store.connection, desk.session.config.tenant, common.app or "")
            rows, unclear = [job.drilled(one) for one in found], list[str]()
        else:
            rows, unclear = job.times(desk.room, desk.cases, common.tenant or "", common.app or "")
        middle = job.middle(rows)
        with writing(common.output) as out:
            if common.format == "json":
                out.write(_json({"format": "afterguard.times/1", "cases": rows, "median_detect": middle.detect, "median_contain": middle.contain}))  # fmt: skip
            else:
                out.writelines(terminal(f"{one.case}  {'DRILL: ' if one.is_drill else ''}told after {_minutes(one.detect)}, contained after {_minutes(one.contain)}  {', '.join(one.kinds)} ({one.app})\n") for one in rows)  # fmt: skip
                out.write(f"no {'drill' if drill else 'case'} yet\n" if not rows else f"middle of {len(rows)}{' drills' if drill else ''}: told after {_minutes(middle.detect)}, contained after {_minutes(middle.contain)}\n")  # fmt: skip
        for one in unclear:
            desk.session.say(f"respond times: {one}")
        desk.session.next("afterguard onboard PATH --logs LOG")
        return 0


def _minutes(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds / 60:.1f} minutes"


def _exercise(path: Path) -> Exercise:
    from afterguard.respond.exercise import Exercise

    try:
        return msgspec.json.decode(bytes_of(path), type=Exercise)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise UsageError(f"{path} is no exercise: {str(error)[:200]}", hint="afterguard respond exercise --format json -o exercise.json", slug="bad-exercise") from None  # fmt: skip


def _notes(path: Path) -> list[Any]:
    from afterguard.respond.exercise import Did

    out = []
    for number, row in enumerate(bytes_of(path).splitlines(), 1):
        if row.strip():
            try:
                out.append(msgspec.json.decode(row, type=Did))
            except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
                raise UsageError(f"{path}:{number}: {str(error)[:200]}", hint='{"minute": 12, "step": "ID", "who": "NAME"}', slug="bad-exercise") from None  # fmt: skip
    return out


def _json(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=1).decode() + "\n"
