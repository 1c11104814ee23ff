"""`afterguard watch hunt`: were we already hit, and what did it touch.

In: decision logs, recorded traffic, one question. Out: what matches, what it touched, and what could not be searched.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from afterguard.cli.options import DEFAULT, Common, Progress, gate, open_session, writing
from afterguard.errors import NothingToExamine, UsageError
from afterguard.safe import line, terminal


def hunt(
    *logs: Path,
    text: list[str] | None = None,
    document: list[str] | None = None,
    prompt: list[str] | None = None,
    model: list[str] | None = None,
    identity: list[str] | None = None,
    conversation: list[str] | None = None,
    tool: list[str] | None = None,
    domain: list[str] | None = None,
    hit: list[str] | None = None,
    rule: list[Path] | None = None,
    common: Common = DEFAULT,
) -> int:
    """Ask decision logs and recorded traffic whether something was there already, and what it touched.

    Parameters
    ----------
    logs
        Decision logs, recorded traffic, folders of them; without any, the log of the guard beside the store.
    text
        Words that stand in a text of the exchange.
    document
        Document, by the hash that alerts show.
    prompt
        Revision of the instructions, by its hash.
    model
        Name of a model; * stands for anything.
    identity
        Caller, by the pseudonym that alerts show.
    conversation
        Conversation.
    tool
        Tool that was called.
    domain
        Host that stands in a text or in the arguments of a tool.
    hit
        Kind of hit, as alerts name it.
    rule
        Sigma rules, instead of all of the above: were we already hit?
    """
    from afterguard.cli.guard_places import log_of
    from afterguard.cli.recording import pseudonym
    from afterguard.files import limits_of
    from afterguard.jobs import hunt as job
    from afterguard.jobs.watch import rules as rules_of
    from afterguard.match import compile

    session = open_session(common)
    asked = {"text|contains": text, "document": document, "prompt": prompt, "model": model, "identity": identity, "conversation": conversation, "tool": tool, "hit": hit}  # fmt: skip
    detection: dict[str, Any] = {}
    if any(asked.values()):
        detection["fields"] = {name: values for name, values in asked.items() if values}
    if domain:
        detection["domain"] = [{"text|contains": domain}, {"argument|contains": domain}, {"excerpt|contains": domain}]
    if bool(rule) == bool(detection):
        raise UsageError("nothing is asked", hint="afterguard watch hunt LOG --document HASH, or --text WORDS, --tool NAME, --model NAME, --prompt HASH, --domain HOST", slug="bad-usage")  # fmt: skip
    if rule:
        engine = rules_of(rule)

        def test(event: Any) -> bool:
            return bool(engine.feed(event))
    else:
        detection["condition"] = " and ".join(name for name in ("fields", "domain") if name in detection)
        test = compile(detection, "hunt")
    progress = Progress(session, "hunt: searching")
    try:
        found = job.hunt(logs or (log_of(session),), test, needs_text=bool(text or domain), is_of_lines=bool(rule), pseudonym=pseudonym(session), progress=lambda count, done: progress(count, "exchanges", done), limits=limits_of(session.config.limits))  # fmt: skip
    finally:
        progress.close()
    if not found.searched and not found.unsearched:
        raise NothingToExamine("no exchange in these files", hint="give decision logs or recorded traffic", slug="nothing-to-examine")  # fmt: skip
    with writing(common.output) as out:
        if common.format == "json":
            out.write(msgspec.json.format(msgspec.json.encode(found)).decode() + "\n")
        else:
            out.write(terminal(_hunted(found)))
    session.next("afterguard respond open ALERT" if found.matched else "afterguard watch alerts")
    return gate(session, ["high"] if found.matched else [])


def _hunted(found: Any) -> str:
    times = f", {when(found.first)} to {when(found.last)}" if found.first is not None else ""
    out = [f"{found.matched:,} of {found.searched:,} exchanges match{times}" + (f"; {found.held_off:,} of them were held off by the guard" if found.held_off else "")]  # fmt: skip
    if found.unsearched:
        why = ", ".join(f"{count:,} {reason}" for reason, count in found.reasons.items())
        out.append(f"{found.share:.1%} could not be searched: {why}")
    else:
        out.append("everything could be searched")
    for kind, one in found.touched.items():
        names = sorted(one.names.items(), key=lambda row: -row[1])
        out.append(
            f"  {'at least ' if one.has_more else ''}{one.distinct:,} {kind}: "
            + ", ".join(f"{line(name)} ({count})" for name, count in names[:8])
        )
    out += [f"  {line(one.file)}:{one.line}  {when(one.time) if one.time is not None else 'no time'}  {one.exchange} {one.action}" for one in found.matches[:20]]  # fmt: skip
    if found.matched > 20:
        out.append(f"  and {found.matched - 20:,} more (--format json)")
    return "\n".join(out) + "\n"


def when(seconds: float) -> str:
    """A time for a person, to the minute, UTC."""
    return datetime.fromtimestamp(min(max(seconds, 0.0), 4e10), UTC).strftime("%Y-%m-%d %H:%MZ")
