"""`afterguard respond measures`: what responders have taken away at the guards, and which guards know of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from cyclopts import Parameter

from afterguard.cli.options import DEFAULT, Common, writing
from afterguard.cli.respond_places import acting, opened, who
from afterguard.errors import EXIT_GATE, UsageError
from afterguard.safe import terminal

if TYPE_CHECKING:
    from afterguard.jobs.fleet import Reach
    from afterguard.policy.measures import Measure, Sheet


def measures(
    *,
    sign: Annotated[bool, Parameter(negative=())] = False,
    token: Path | None = None,
    settings: Path | None = None,
    common: Common = DEFAULT,
) -> int:
    """List the measures that hold at the guards, and say which guards have the newest sheet of them. Exits with 10 where one does not.

    Parameters
    ----------
    sign
        Sign the sheet again first, with a higher sequence; an empty one where nothing holds, which is what guards that pull begin with.
    token
        File with your ID token, where roles come from a provider.
    settings
        respond.yaml.
    """
    from afterguard.jobs import respond as job

    with opened(common, settings) as desk:
        person = acting(desk, token) if sign else who(desk, token)
        at = job.guard_of(desk.room, person)
        if at is None:
            raise UsageError("no guard is named, or its key is not here", hint="guard: {folder: FOLDER, listen: HOST:PORT} in respond.yaml", slug="bad-respond-settings")  # fmt: skip
        if sign:
            at.renew()
        sheet = at.sheet()
        reach = job.reach(desk.room, sheet, wait=sign) if sheet is not None else None
        live = [one for one in sheet.measures if one.until > desk.now] if sheet is not None else []
        with writing(common.output) as out:
            if common.format == "json":
                made = {
                    "format": "afterguard.measures-status/1", "file": str(at.file), "sequence": sheet.sequence if sheet else 0, "created": sheet.created if sheet else 0.0,
                    "measures": live, "points": reach.of if reach else 0, "have": reach.have if reach else 0, "lack": reach.lack if reach else (),
                }  # fmt: skip
                out.write(msgspec.json.format(msgspec.json.encode(made)).decode() + "\n")
            else:
                out.writelines(terminal(text) + "\n" for text in _lines(sheet, live, reach, desk.now))
        desk.session.next("afterguard respond cases" if sheet else "afterguard respond measures --sign")
        return EXIT_GATE if reach is not None and reach.lack and not common.no_fail else 0


def _lines(sheet: Sheet | None, live: list[Measure], reach: Reach | None, now: float) -> Iterator[str]:
    from afterguard.jobs.points import spell

    if sheet is None or reach is None:
        yield "no sheet of measures was ever signed here"
        return
    yield f"sheet {sheet.sequence}, signed {spell(now - sheet.created)} ago, in force at {reach.have} of {reach.of} points"
    yield from (f"  {one}" for one in reach.lack)
    for one in live:
        until = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(min(one.until, 4e9)))
        value = f" = {one.value}" if one.value else ""
        yield f"  {one.id}  {one.kind} {one.target}{value}, until {until}: {one.reason} (case {one.case}, {one.by})"
