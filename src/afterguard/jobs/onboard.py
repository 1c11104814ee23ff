"""Everything at once, for one application or several: survey, look-back, money, ranking.

In: paths (each folder is an application), logs, business facts. Out: OnboardResult, worst application first. It reads files and
writes none; jobs/report_files.py writes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from afterguard import files
from afterguard.config import Config
from afterguard.detect.detector import Opinion
from afterguard.discover import traffic
from afterguard.errors import UsageError
from afterguard.jobs import data_sheet, triage
from afterguard.jobs.lookback import Seen, lookback
from afterguard.jobs.survey import Progress, survey
from afterguard.model import (
    App,
    AppResult,
    AssetKind,
    Attacked,
    BusinessUnknown,
    Change,
    Coverage,
    Lookback,
    Loss,
    OnboardResult,
    Own,
    Survey,
)
from afterguard.risk import business as facts
from afterguard.risk.price import price
from afterguard.risk.scenario import is_predictive

UNASSIGNED = "unassigned traffic"
LOG_SUFFIXES = (".jsonl", ".ndjson", ".log", ".csv", ".tsv", ".parquet", ".har", ".sse")


class Logs(NamedTuple):
    """Log files of one application: AI traffic to judge, and traffic or bills that show use."""

    judged: list[Path]
    seen: list[Path]


class Request(NamedTuple):
    """What to onboard. `logs` are (application name or "", path)."""

    apps: list[tuple[App, list[Path]]]
    logs: list[tuple[str, Path]]
    business: facts.Business | None
    config: Config
    command: str
    version: str
    mapping: object = None
    baseline: triage.Baseline = triage.NO_BASELINE
    measured: Mapping[str, Mapping[str, Own]] = {}
    """Application -> figures the team measured itself, by the name the loss catalogue gives them."""
    attacked: Mapping[str, Attacked] = {}
    """What an attack measured, by application."""


class Means(NamedTuple):
    """What the outside lends to a run: pseudonyms, a place for coverage rows, progress, who may see an exchange with hits, the judge of text."""

    pseudonym: Callable[[str], str]
    note: files.Note
    progress: Progress
    seen: Callable[[App], Seen | None] = lambda _app: None
    opinion: Opinion | None = None


class Clock(NamedTuple):
    """Time as arguments: `now` in seconds since the epoch, `today` for exceptions, `ticking` for durations."""

    now: float
    ticking: Callable[[], float]


def assign(request: Request, note: files.Note) -> dict[str, Logs]:
    """Logs by application: named explicitly, else by the path naming the application, else the only one, else nobody's."""
    names = [app.name for app, _ in request.apps]
    out: dict[str, Logs] = {}
    for told, root in request.logs:
        if told and told not in names:
            raise UsageError(
                f"--logs names the application {told!r}, which is not onboarded",
                hint=f"known: {', '.join(names)}",
                slug="unknown-application",
            )
        for entry in files.walk([root], note):
            *folders, last = entry.path.lower().split("/")
            parts = {*folders, last.split(".")[0], root.resolve().name.lower()}
            by_path = next((name for name in names if name.lower() in parts), "")
            name = told or by_path or (names[0] if len(names) == 1 else UNASSIGNED)
            _sort(entry, out.setdefault(name, Logs([], [])))
    return out


def _told_apart(apps: list[tuple[App, list[Path]]]) -> tuple[list[tuple[App, list[Path]]], list[tuple[str, Path]]]:
    """A log given as a path of its own is a log of that application, not source."""
    kept = [(app, [root for root in roots if not _is_log(root)]) for app, roots in apps]
    named = [(app.name, root) for app, roots in apps for root in roots if _is_log(root)]
    return kept, named


def _is_log(root: Path) -> bool:
    return root.is_file() and root.name.lower().removesuffix(".gz").removesuffix(".zst").endswith(LOG_SUFFIXES)


def _sort(entry: files.Entry, logs: Logs) -> None:
    """A HAR file shows use and holds what was said; anything that is no known traffic goes to the look-back, which counts it."""
    seen = traffic.recognise(entry.path, files.head(entry))
    if seen:
        logs.seen.append(entry.full)
    if not seen or seen == "har":
        logs.judged.append(entry.full)


def onboard(request: Request, clock: Clock, means: Means) -> OnboardResult:
    """Survey, look back and price every application. Raises UsageError for a missing path."""
    apps, named = _told_apart(request.apps)
    logs = assign(request._replace(apps=apps, logs=[*request.logs, *named]), means.note)
    todo = list(apps)
    if UNASSIGNED in logs:
        todo.append((App(UNASSIGNED, request.config.tenant), []))
    results = [_one(request, clock, means, app, roots, logs.get(app.name, Logs([], []))) for app, roots in todo]
    ranked = sorted(results, key=_rank)
    sheet = tuple(row for one in ranked for row in data_sheet.rows(one, request.config))
    kept = data_sheet.retention(request.config)
    return OnboardResult(tuple(ranked), clock.now, request.version, request.command, sheet, retention=kept)


def _one(request: Request, clock: Clock, means: Means, app: App, roots: list[Path], logs: Logs) -> AppResult:
    limits = files.limits_of(request.config.limits)
    past = _past(request, clock, means, app, logs, limits)
    known = past.assets if past else ()
    full = survey([*roots, *logs.seen], app, note=means.note, limits=limits, progress=means.progress, seen=known)
    known_risk = triage.survey(full, request.config, _day(clock.now))
    shown = triage.survey(full, request.config, _day(clock.now), request.baseline)
    risk = request.config.risk
    # What an earlier report already told still costs money; only the lists leave it out.
    loss = price(
        known_risk,
        past,
        request.business or facts.Business(),
        seed=risk.seed,
        years=risk.years,
        attacked=request.attacked.get(app.name),
        measured=request.measured.get(app.name),
    )
    return AppResult(
        survey=shown,
        summary=summary(shown, past),
        lookback=triage.lookback(past, request.config, request.baseline) if past else None,
        loss=loss,
        unknowns=_unknowns(loss),
        logs=tuple(sorted(one.name for one in (*logs.judged, *logs.seen))),
        attacked=request.attacked.get(app.name),
    )


def _past(request: Request, clock: Clock, means: Means, app: App, logs: Logs, limits: files.Limits) -> Lookback | None:
    if not logs.judged:
        return None
    return lookback(
        logs.judged,
        app=app.name,
        pseudonym=means.pseudonym,
        mapping=request.mapping,
        clock=clock.ticking,
        progress=lambda count, done: means.progress(count, "exchanges", done),
        limits=limits,
        seen=means.seen(app),
        opinion=means.opinion,
    )


def summary(survey: Survey, past: Lookback | None) -> str:
    """What the application is, in one sentence built from what was found."""

    def named(*kinds: AssetKind) -> list[str]:
        return [one.name for one in survey.assets if one.kind in kinds and not one.name.startswith("unresolved")]

    models = named(AssetKind.model)
    tools, stores = named(AssetKind.tool), named(AssetKind.vector_store)
    endpoints = named(AssetKind.ai_endpoint)
    predictive = any(is_predictive(one) for one in survey.assets)
    if not survey.assets:
        what = "No AI was found in what was read"
    elif tools:
        what = f"An agent that can act through {_count(len(tools), 'tool')}"
    elif predictive and not any(one.kind is AssetKind.prompt for one in survey.assets):
        what = "A predictive model"
    elif models or endpoints:
        what = "An application that calls a language model"
    else:
        what = "Parts of an AI application"
    details = []
    if models:
        details.append("on " + _listed(models))
    if stores:
        details.append("with retrieval from " + _listed(stores))
    if endpoints:
        details.append(f"behind {_count(len(endpoints), 'endpoint')}")
    if past is not None:
        details.append(f"with {past.exchanges:,} recorded exchanges")
    return " ".join([what, *[", ".join(details)]]).strip() + "."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _listed(names: list[str]) -> str:
    head = ", ".join(names[:3])
    return head if len(names) <= 3 else f"{head} and {len(names) - 3} more"


def _unknowns(loss: Loss) -> tuple[BusinessUnknown, ...]:
    asked = {str(row["key"]): str(row["ask"]) for row in facts.questions()}
    pairs = (sentence.partition(": ") for sentence in loss.unknown_business)
    return tuple(BusinessUnknown(key, asked.get(key, key), effect=effect) for key, _, effect in pairs)


def _rank(result: AppResult) -> tuple[float, int, str]:
    loss = -result.loss.annual_mean if result.loss else 0.0
    incidents = -len(result.lookback.incidents) if result.lookback else 0
    return (loss, incidents, result.survey.app.name)


def _day(now: float) -> date:
    return datetime.fromtimestamp(now, UTC).date()


def coverage_of(results: Iterable[AppResult]) -> list[Coverage]:
    """Every coverage row of a run."""
    return [row for one in results for row in (*one.survey.coverage, *(one.lookback.coverage if one.lookback else ()))]


def with_change(result: OnboardResult, changes: Mapping[str, Change]) -> OnboardResult:
    """The same result with what changed since the run before, by application name."""
    apps = tuple(msgspec.structs.replace(one, change=changes.get(one.survey.app.name)) for one in result.apps)
    return msgspec.structs.replace(result, apps=apps)
