"""`afterguard onboard`: everything at once, written as a report."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Annotated

import msgspec
from cyclopts import Parameter

from afterguard import __version__
from afterguard.cli import measured
from afterguard.cli.judging import opinion
from afterguard.cli.options import DEFAULT, Common, Progress, Session, gate, open_session, writing
from afterguard.cli.recording import pseudonym, record_all, witness
from afterguard.errors import NothingToExamine, UsageError
from afterguard.files import named
from afterguard.jobs import onboard as job
from afterguard.jobs import report_files, triage
from afterguard.model import App, OnboardResult
from afterguard.risk import business as facts
from afterguard.risk.figures import figures

BUSINESS_BYTES = 1 << 20


def onboard(
    paths: list[Path],
    /,
    *,
    logs: Annotated[list[str], Parameter(consume_multiple=True, negative=())] = [],  # noqa: B006 - cyclopts copies it
    business: Path | None = None,
    attack: list[str] | None = None,
    out: Path = Path("afterguard-report"),
    map: Path | None = None,
    common: Common = DEFAULT,
) -> int:
    """Say what AI runs here, what has already happened, what is wrong, what it can cost and what to do first.

    Parameters
    ----------
    paths
        Folders of applications, one each; or files.
    logs
        Log files or folders: recorded AI traffic, access, proxy and DNS logs, audit trails, bills. NAME=FILE assigns one.
    business
        Answers about the application, see the business.yaml this command writes.
    attack
        Result (JSON or journal) of `afterguard attack`; its rates take the place of what is assumed. NAME=FILE assigns one. Without it the newest one in the store counts, for 90 days.
    out
        Folder for the report.
    map
        Mapping file for recorded traffic of a shape that is not recognised.
    """
    session = open_session(common, paths[0] if paths else None)
    progress = Progress(session, "onboard: reading")
    now = time.time()
    apps = applications(session, paths)
    request = job.Request(
        apps=apps,
        logs=[_log(one) for one in logs],
        business=_business(business),
        config=session.config,
        command="afterguard " + shlex.join(sys.argv[1:]),
        version=__version__,
        mapping=_mapping(map),
        baseline=triage.read_baseline(session.common.baseline) if session.common.baseline else triage.NO_BASELINE,
        attacked=measured.rates(session, [app for app, _ in apps], attack or [], now),
        measured=measured.notice(session, [app for app, _ in apps]),
    )
    clock = job.Clock(now, time.monotonic)
    try:
        with witness(session) as seeing:
            means = job.Means(pseudonym(session), session.note, progress, seeing.of, opinion(session))
            result = job.onboard(request, clock, means)
    finally:
        progress.close()
    if not any(one.survey.files or one.lookback for one in result.apps):
        raise NothingToExamine(
            "there is no file to read here", hint="give a folder, or logs with --logs", slug="nothing-to-examine"
        )
    result = record_all(session, result, seeing.hits)
    following = _next(paths, logs, business, out)
    result = report_files.write(
        msgspec.structs.replace(result, next_command=following), out, ask_business=business is None
    )
    _print(session, result)
    _say(session, result, out, time.time() - now)
    session.next(following)
    severities = [one.severity for app in result.apps for one in app.survey.findings]
    severities += [one.severity for app in result.apps if app.lookback for one in app.lookback.incidents]
    return gate(session, [str(one) for one in severities])


def applications(session: Session, paths: list[Path]) -> list[tuple[App, list[Path]]]:
    """One application a path, or one for all where --app or the configuration names it."""
    if session.config.app or len(paths) == 1:
        return [(session.application(paths), paths)]
    out: dict[str, tuple[App, list[Path]]] = {}
    for path in paths:
        app = session.application([path])
        name = app.name if app.name not in out else f"{path.resolve().parent.name}-{app.name}"
        out[name] = (msgspec.structs.replace(app, name=name), [path])
    return list(out.values())


def _log(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    return (name, Path(path)) if equals and not Path(text).exists() else ("", Path(text))


def _business(path: Path | None) -> facts.Business | None:
    if path is None:
        return None
    try:
        return facts.parse(named(path, BUSINESS_BYTES), str(path))
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}", hint="check --business", slug="no-such-path"
        ) from None


def _mapping(path: Path | None) -> object:
    if path is None:
        return None
    from afterguard.tap import load_mapping

    return load_mapping(path)


def _next(paths: list[Path], logs: list[str], business: Path | None, out: Path) -> str:
    words = ["afterguard", "onboard", *map(str, paths), *(["--logs", *logs] if logs else [])]
    if business is None:
        return (
            shlex.join([*words, "--business", str(out / "business.yaml"), "--out", str(out)])
            + "   (after answering it)"
        )
    return shlex.join(["afterguard", "scan", *map(str, paths), "--fail-on", "high"])


def _print(session: Session, result: OnboardResult) -> None:
    """The whole result on standard output as well, where a format for it was asked for."""
    from afterguard.report import html, json, markdown

    chosen = session.common.format
    if chosen == "table":
        return
    renderers: dict[str, Callable[[OnboardResult, IO[str]], None]] = {
        "json": json.render,
        "md": markdown.render,
        "html": html.render,
    }
    if chosen not in renderers:
        raise UsageError(
            f"onboard has no {chosen} format",
            hint="use json, md or html, or the files in --out",
            slug="bad-format",
        )
    with writing(session.common.output) as stream:
        renderers[chosen](result, stream)


def _say(session: Session, result: OnboardResult, out: Path, seconds: float) -> None:
    for one in result.apps:
        survey, past, loss = one.survey, one.lookback, one.loss
        session.say(f"{survey.app.name}: {one.summary}")
        counts = [f"{len(survey.assets)} assets", f"{len(survey.findings)} findings"]
        if past is not None:
            counts.append(f"{len(past.incidents)} suspected incidents in {past.exchanges:,} exchanges")
            counts.append(f"{sum(past.unjudged.values()):,} unjudged")
        counts.append(f"{len(survey.coverage)} places not read or partly read")
        session.say("  " + ", ".join(counts))
        if loss is not None and loss.scenarios:
            shown = figures(loss)
            session.say(
                f"  if it happens {shown.if_it_happens}, chance in a year {shown.chance_of_loss}  {shown.note}".rstrip()
            )
        if one.change is not None:
            session.say(
                f"  since the last run: {len(one.change.new)} new, {len(one.change.fixed)} fixed, {sum(one.change.unchanged.values())} unchanged"
            )
    session.say(f"{seconds:.1f} s. Report: {out / 'report.html'}")
