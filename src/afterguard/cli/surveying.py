"""What `discover` and `scan` have in common: one walk, triage, record, render, gate.

In: paths and options. Out: an exit code.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

from afterguard.cli.options import Common, Progress, gate, open_session
from afterguard.cli.recording import record
from afterguard.cli.render import render
from afterguard.errors import NothingToExamine
from afterguard.files import limits_of
from afterguard.jobs import triage
from afterguard.jobs.survey import survey


def surveying(paths: list[Path], common: Common, *, what: str, next_command: str) -> int:
    """Run one walk and show the part that `what` asks for."""
    session = open_session(common, paths[0] if paths else None)
    baseline = triage.read_baseline(common.baseline) if common.baseline else triage.NO_BASELINE
    today = datetime.now(UTC).date()
    for sentence in triage.expired(session.config.suppress, today):
        session.say(sentence)
    progress = Progress(session, f"{what}: reading")
    started = time.time()
    try:
        full = survey(
            paths,
            session.application(paths),
            note=session.note,
            limits=limits_of(session.config.limits),
            progress=progress,
            checking=what == "scan",
        )
    finally:
        progress.close()
    if not full.files:
        raise NothingToExamine(
            "there is no file to read here",
            hint="give a folder with code, configuration or logs",
            slug="nothing-to-examine",
        )
    record(session, full, None, what, started)
    shown = triage.survey(full, session.config, today, baseline)
    render(session, shown, what, started, next_command)
    return gate(session, [one.severity for one in shown.findings])
