"""`afterguard respond evidence`: everything there is about a case in one signed archive."""

from __future__ import annotations

import contextlib
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from afterguard import __version__, files
from afterguard.cli.options import DEFAULT, Common, Progress
from afterguard.cli.respond_places import opened, who
from afterguard.errors import UsageError


def evidence(
    case: str,
    /,
    *,
    log: list[Path] | None = None,
    policy: list[Path] | None = None,
    pins: list[Path] | None = None,
    attach: list[Path] | None = None,
    originals: Annotated[bool, Parameter(negative=())] = False,
    hold: str = "",
    settings: Path | None = None,
    common: Common = DEFAULT,
) -> int:
    """Collect what there is about a case into one signed archive, and say what is missing.

    Parameters
    ----------
    case
        The case, or the end of its id.
    log
        Decision logs; without any, the guard's beside the store.
    policy
        Policy files that were in force.
    pins
        Tool manifests as they were agreed.
    attach
        Further files: documents, exports, screenshots.
    originals
        Open the encrypted originals of its exchanges too. Each reading is logged.
    hold
        Reason of a legal hold: nothing of this application's originals is deleted until it is released.
    settings
        respond.yaml.
    """
    from afterguard.cli.recording import vault
    from afterguard.jobs import collect as job
    from afterguard.jobs.respond import signing_key
    from afterguard.model import App
    from afterguard.respond import evidence as archive
    from afterguard.respond.kept import kept as kept_by

    if common.output == "-":
        raise UsageError("an archive is no text for a terminal", hint="--output evidence.tar", slug="bad-usage")
    with opened(common, settings) as desk, contextlib.ExitStack() as stack:
        held, person = desk.cases.get(case), who(desk).name
        kept = stack.enter_context(vault(desk.session)) if originals or hold else None
        if kept is not None and hold:
            name = kept.hold(App(held.case.app, tenant=held.case.tenant), hold, person)
            desk.session.say(f"respond evidence: legal hold {name} on the originals of {held.case.app}")
        logs = log or ([desk.room.guard_log] if desk.room.guard_log.exists() else [])
        progress = Progress(desk.session, "evidence: reading")
        stack.callback(progress.close)
        found = job.collect(
            held.case, held.alerts, logs=logs, policies=policy or (), pins=pins or (), attached=[*(attach or ()), *_journal(desk.room.journal_file(held.case.id))],
            kept=kept_by(desk.room.place(held.case.id)),
            vault=kept if originals else None, who=person, progress=lambda count, _: progress(count, "lines"),
        )  # fmt: skip
        data = io.BytesIO()
        archive.pack(
            data, found.members, case=held.case.id, created=datetime.fromtimestamp(desk.now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), at=desk.now, by=person,
            product=f"Afterguard {__version__}", key=signing_key(desk.room.folder), missing=found.missing, facts=found.facts,
        )  # fmt: skip
        _write(Path(common.output), data.getvalue())
        desk.session.say(f"respond evidence: {len(found.members)} pieces, {len(data.getvalue()):,} bytes; {len(found.missing)} things could not be had:")  # fmt: skip
        for one in found.missing[:20]:
            desk.session.say(f"  {one.what}: {one.why}")
        desk.session.next(f"afterguard respond verify {common.output}")
        return 0


def _journal(file: Path) -> list[Path]:
    return [file] if file.exists() else []


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all, readable by its owner only."""
    try:
        files.put(path, data)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}", hint="choose another --output", slug="cannot-write") from None  # fmt: skip
