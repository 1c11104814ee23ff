"""A whole case to hand over: JSON for machines, Markdown for people. Pure.

In: a case with its alerts, the journal's lines, the time. Out: text. Everything in it that came from outside is shown as text, never as markup.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import msgspec

from afterguard.model import Alert, Case
from afterguard.respond.act import Act
from afterguard.respond.case import open_tasks
from afterguard.respond.deeds import deeds
from afterguard.respond.engine import OVER
from afterguard.respond.journal import Line, Verified
from afterguard.safe import code_span, markdown

FORMAT = "afterguard.case-export/1"


def as_json(case: Case, alerts: Sequence[Alert], acts: Sequence[Act], journal: Verified, now: float) -> bytes:
    """All of it."""
    return msgspec.json.format(
        msgspec.json.encode(
            {
                "format": FORMAT,
                "exported": now,
                "case": case,
                "alerts": alerts,
                "open_tasks": open_tasks(case),
                "plan": acts,
                "deeds": list(deeds(case, acts, journal.lines)),
                "journal": {
                    "key": journal.key,
                    "head": journal.head,
                    "problems": journal.problems,
                    "lines": journal.lines,
                },
            }
        ),
        indent=2,
    )


def as_markdown(case: Case, alerts: Sequence[Alert], acts: Sequence[Act], journal: Verified, now: float) -> str:
    """The same for a person."""
    return "\n".join(_lines(case, alerts, acts, journal, now)) + "\n"


def _lines(case: Case, alerts: Sequence[Alert], acts: Sequence[Act], journal: Verified, now: float) -> Iterator[str]:
    yield f"# {markdown(case.title)}\n"
    yield f"Case `{case.id}`, {case.severity}, {case.status}; application {markdown(case.app)}, tenant {markdown(case.tenant)}. Exported {_time(now)}.\n"
    if case.drill:
        yield f"**This was a drill** (`{case.drill}`): the attack was our own.\n"
    if case.merged_into:
        yield f"It was merged into `{case.merged_into}`.\n"
    if case.money is not None:
        yield f"It can cost {case.money.low:,.0f} to {case.money.high:,.0f} {case.currency} (80 % interval); counted so far: {case.spent:,.2f}.\n"
    else:
        yield f"Nobody has priced it; counted so far: {f'{case.spent:,.2f} {case.currency}'.strip()}.\n"
    yield "## Whom and what it is about\n"
    yield from (f"- {one.kind} {code_span(one.name)} ({one.role})" for one in case.entities)
    yield "\n## Alerts\n"
    for one in alerts:
        yield f"- {_time(one.first_seen)} to {_time(one.last_seen)}: {markdown(one.title)} ({one.severity}, {one.count:,} exchange{'s' * (one.count != 1)}, {one.held_off:,} held off) {code_span(one.id)}"
    tasks = open_tasks(case)
    yield "\n## Open tasks\n"
    yield from (f"- {markdown(text)}" for text in tasks.values()) if tasks else iter(("none",))
    yield "\n## What happened\n"
    yield "| when (UTC) | who | what | |\n|---|---|---|---|"
    yield from (
        f"| {_time(one.at)} | {markdown(one.who)} | {one.what} | {markdown(one.text)} |" for one in case.timeline
    )
    yield "\n## What was done\n"
    yield from _done(acts, journal.lines)
    held = "verifies" if not journal.problems else f"DOES NOT VERIFY: {journal.problems[0]}"
    yield f"\nThe journal has {len(journal.lines)} lines and {held}; key `{journal.key}`, last hash `{journal.head}`."


def _done(acts: Sequence[Act], lines: Sequence[Line]) -> Iterator[str]:
    last = {one.act: one for one in lines if one.act and one.what in (*OVER, "undo_partly")}  # fmt: skip
    for act in acts:
        found = last.get(act.id)
        state = f"{found.what} {_time(found.at)}: {markdown(found.text)}" if found else "not done"
        yield f"- {act.phase}, {markdown(act.title)} ({act.do} {markdown(act.target)}): {state}"


def _time(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return "unknown"
