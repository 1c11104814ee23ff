"""`afterguard guard approvals`, `approve` and `deny`: what waits for a person, and what a person says to it."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from afterguard.cli.options import Session, writing
from afterguard.guard.approvals import Approval
from afterguard.jobs import approvals as job
from afterguard.safe import terminal

FORMAT = "afterguard.approvals/1"
UNKNOWN = "whether {by} asked for it too cannot be known: {why}"
SHOWN = 3
"""Lines of evidence in the list; all of them stand in the JSON."""


def listing(session: Session, at: job.Approver) -> int:
    """Print what waits, and what became of the rest."""
    entries, dropped, forged = job.listed(at)
    with writing(session.common.output) as out:
        if session.common.format == "json":
            found = {"format": FORMAT, "dropped": dropped, "approvals": [job.row(one, at.now) for one in entries]}
            out.write(msgspec.json.format(msgspec.json.encode(found)).decode() + "\n")
        else:
            out.writelines(terminal(text) + "\n" for one in entries for text in _lines(one, at.now))
    waiting = [one for one in entries if one.state(at.now) == "pending"]
    session.say(f"guard: {len(waiting)} wait for a person, {len(entries) - len(waiting)} are settled or over")
    if dropped:
        session.say(f"guard: {dropped} were dropped because too many waited")
    if forged:
        session.say(f"guard: {forged} were not written by this guard, or were changed since; they count for nothing")
    first = waiting[-1].id if waiting else "ID"
    session.next(f"afterguard guard approve {first} --by NAME --reason TEXT   (or deny)")
    return 0


def _lines(one: Approval, now: float) -> list[str]:
    state = one.state(now)
    head = f"{one.id}  {state:<8}  asked {_time(one.asked)}  "
    if state in ("pending", "approved"):
        head += f"until {_time(one.expires)}  "
    who = f"conversation {one.conversation or 'unknown'}, identity {one.identity or 'unknown'}"
    out = [f"{head}{one.at} of /{one.route}", f"    {', '.join(one.rules)}: {one.says}", f"    {who}"]
    out += [f"    {text}" for text in one.evidence[:SHOWN]]
    if len(one.evidence) > SHOWN:
        out.append(f"    and {len(one.evidence) - SHOWN} more (--format json)")
    if one.verdict:
        uses = f", used {one.used} of {one.uses}" if one.verdict == "approved" else ""
        out.append(f"    {one.verdict} by {one.by} (account {one.account}){uses}: {one.reason}")
    return out


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def settled(session: Session, at: job.Approver, identifier: str, order: job.Order) -> int:
    """Approve or deny, and say what that means."""
    one = job.settle(at, identifier, order)
    session.say(f"guard: {one.id} is {one.verdict} by {one.by}; running guards know within a second")
    if one.verdict == "approved":
        times = "once" if one.uses == 1 else f"{one.uses} times"
        session.say(f"guard: exactly this passes {times} until {_time(one.expires)}, in its conversation")
        if not one.is_another:
            why = "the guard knows only a key" if one.known_by == "key" else "the guard does not know who asked"
            session.say("guard: " + UNKNOWN.format(by=one.by, why=why))
    session.next("afterguard guard approvals")
    return 0
