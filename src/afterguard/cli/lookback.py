"""`afterguard lookback`: what has already happened."""

from __future__ import annotations

import time
from pathlib import Path

from afterguard.cli.judging import opinion
from afterguard.cli.options import DEFAULT, Common, Progress, gate, open_session
from afterguard.cli.recording import pseudonym, record, witness
from afterguard.cli.render import render
from afterguard.errors import NothingToExamine
from afterguard.files import limits_of
from afterguard.jobs import lookback as job
from afterguard.jobs import triage


def lookback(files: list[Path], /, *, map: Path | None = None, common: Common = DEFAULT) -> int:
    """Read recorded AI traffic of any common shape and name suspected incidents.

    Parameters
    ----------
    files
        Logs or folders of logs: chat records, gateway logs, traces, invocation logs, HAR, prediction logs; gz, zst, bz2, xz.
    map
        Mapping file for a shape that is not recognised.
    """
    session = open_session(common)
    baseline = triage.read_baseline(common.baseline) if common.baseline else triage.NO_BASELINE
    progress = Progress(session, "lookback: reading")
    app = session.application(files)
    started = time.time()
    try:
        with witness(session) as seeing:
            full = job.lookback(
                files,
                app=app.name,
                pseudonym=pseudonym(session),
                mapping=_mapping(map),
                clock=time.monotonic,
                progress=lambda count, done: progress(count, "exchanges", done),
                limits=limits_of(session.config.limits),
                seen=seeing.of(app),
                opinion=opinion(session),
            )
    finally:
        progress.close()
    if not full.exchanges and not full.unjudged and not full.coverage:
        raise NothingToExamine(
            "no recorded AI traffic in these files",
            hint="see docs/how-to/lookback.md for the shapes, or use --map",
            slug="nothing-to-examine",
        )
    record(session, None, full, "lookback", started, app, seeing.hits[app.name])
    shown = triage.lookback(full, session.config, baseline)
    render(session, shown, "lookback", started, "afterguard onboard PATH --logs " + " ".join(map_quote(files)))
    return gate(session, [one.severity for one in shown.incidents])


def map_quote(files: list[Path]) -> list[str]:
    """Paths for a command line, at most three."""
    import shlex

    return [shlex.quote(str(one)) for one in files[:3]]


def _mapping(path: Path | None) -> object:
    if path is None:
        return None
    from afterguard.tap import load_mapping

    return load_mapping(path)
