"""Who agreed to an act, read from the journal. Pure.

In: an act, the journal's lines, the time. Out: where its approval stands, or why somebody may not give it. The approver is never who asked; several are different people.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from afterguard.respond.act import Act, digest
from afterguard.respond.journal import Line
from afterguard.respond.roles import Person


class Stand(NamedTuple):
    """Where an approval stands."""

    state: str
    """none, waiting, approved, denied, late."""
    by: tuple[str, ...] = ()
    requester: str = ""
    until: float = 0.0


def stand(act: Act, lines: Sequence[Line], now: float) -> Stand:
    """Where the approval of an act stands."""
    own = [one for one in lines if one.act == act.id]
    asked = next((one for one in reversed(own) if one.what == "requested"), None)
    if asked is None:
        return Stand("none")
    mark, until = digest((act,)), asked.at + act.wait
    after = [one for one in own if one.n > asked.n and one.body.get("act") == mark]
    if asked.body.get("act") != mark:
        return Stand("none")  # it was asked for something else than what is planned now
    denied = next((one for one in after if one.what == "denied"), None)
    if denied is not None:
        return Stand("denied", (denied.who,), asked.who, until)
    if any(one.what == "break_glass" for one in after):
        return Stand("approved", tuple(one.who for one in after if one.what == "break_glass"), asked.who, until)
    by = tuple(
        dict.fromkeys(
            one.who
            for one in after
            if one.what == "approved"
            and one.who != asked.who
            and act.role in one.body.get("roles", ())
            and one.at <= until
        )
    )
    if len(by) >= act.approvals:
        return Stand("approved", by, asked.who, until)
    return Stand("late" if now > until else "waiting", by, asked.who, until)


def refusal(act: Act, lines: Sequence[Line], person: Person, now: float) -> str:
    """Why a person may not approve an act; "" where they may."""
    found = stand(act, lines, now)
    if found.state == "none":
        return "nobody has asked for it"
    if found.state in ("approved", "denied"):
        return f"it is {found.state} already, by {', '.join(found.by)}"
    if found.state == "late":
        return "the time for it is over; it has to be asked for again"
    if person.id == found.requester:
        return "who asks cannot approve"
    if person.id in found.by:
        return "you have approved already; another person has to"
    if not person.is_glass and act.role not in person.roles:
        return f"it needs the role {act.role}; you have {', '.join(person.roles) or 'none'}"
    return ""
