"""How `afterguard attack` shows and keeps what it found: in formats, in the store, beside an earlier result.

In: an Assessment, masked. Out: text where --output says, rows where a store is in use.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING

from afterguard import __version__
from afterguard.cli.options import Format, Session, writing
from afterguard.errors import UsageError
from afterguard.safe import line, terminal

if TYPE_CHECKING:
    from afterguard.attack.assessment import Assessment
    from afterguard.attack.compare import Comparison, Pair
    from afterguard.attack.findings import Weakness

FORMATS = ("table", "json", "sarif", "junit", "html")


def check(chosen: Format) -> None:
    """Raises UsageError for a format an attack has no shape in: before anything is sent, not after."""
    if chosen not in FORMATS:
        raise UsageError(f"attack has no {chosen} format", hint=f"use one of {', '.join(FORMATS)}", slug="bad-format")


def named(name: str, through: str, day: str = "", what: str = "") -> Path:
    """The journal of a target where none is named."""
    return Path(".".join(part for part in (name, through if through != "direct" else "", what, day, "attack.jsonl") if part))  # fmt: skip


def write(session: Session, result: Assessment) -> None:
    """The result as --format asks."""
    from afterguard.cli import attack_figures

    weak = findings(result)
    with writing(session.common.output) as out:
        renderer(session.common.format)(result, weak, out)
        if session.common.format == "table":
            out.writelines(terminal(one) + "\n" for one in attack_figures.lines(result))


def findings(result: Assessment) -> tuple[Weakness, ...]:
    """What it gave way to."""
    from afterguard.attack.findings import weaknesses
    from afterguard.policy.shipped import rule_text

    return weaknesses(result, rule_text)


def renderer(chosen: Format) -> Callable[[Assessment, tuple[Weakness, ...], IO[str]], None]:
    """What writes that format."""
    check(chosen)
    from afterguard.report.attack import html, json, junit, sarif, table

    return {"table": table.render, "json": json.render, "sarif": sarif.render, "junit": junit.render, "html": html.render}[chosen]  # fmt: skip


def record(session: Session, result: Assessment) -> None:
    """Keep the rates and findings of a run."""
    from afterguard.attack.assessment import attacked
    from afterguard.cli.recording import opened
    from afterguard.model import App
    from afterguard.store import attacks

    store = opened(session)
    if store is None:
        return
    app = App(session.config.app or result.target, session.config.tenant)
    weak = tuple(one.finding for one in findings(result))
    with store:
        attacks.keep(store, app, attacked(result), weak, started=result.ended - result.seconds, version=__version__)


def baseline(session: Session) -> Assessment | None:
    """The earlier result of --baseline. Raises UsageError."""
    from afterguard.jobs import attack_results

    return attack_results.baseline(session.common.baseline) if session.common.baseline else None


def diff_text(found: Comparison) -> str:
    """What changed, in words: every family that is worse or better, and how many cannot be told."""
    from afterguard.attack.compare import Change

    rows = [f"{found.target}: run {found.after} against {found.before}", *(f"  note: {one}" for one in found.notes)]
    said = {Change.worse: "WORSE", Change.better: "better", Change.open: "cannot tell yet"}
    rows += [_pair(said[one.change], one) for one in found.pairs if one.change in said]
    for one in found.pairs:
        if one.new_forms:
            rows.append(f"  new form     {one.title}: {', '.join(one.new_forms)} succeeded and was not tried before")
    same, apart = (sum(one.change is what for one in found.pairs) for what in (Change.same, Change.apart))
    rows.append(f"  {same} the same as far as their trials can show; {apart} not to be compared")
    return terminal("\n".join(rows))


def _pair(word: str, one: Pair) -> str:
    (old, n), (new, m) = one.before, one.after
    rise = f"rise {one.low:+.0%} to {one.high:+.0%}"
    if word == "cannot tell yet":
        more = (
            f"; {one.needs} trials that all succeed would show it"
            if one.needs
            else "; the earlier run has too few trials"
        )
        return f"  {word}  {line(one.title)}: {old} of {n} before, {new} of {m} now, {rise}{more}"
    return f"  {word:<12} {line(one.title)} ({one.severity}): {old} of {n} before, {new} of {m} now, {rise}, chance {one.corrected:.2g} for all families together"  # fmt: skip
