"""A case as responders work it: opened, grown, merged, split, closed. Pure: old cases in, new ones out, and what is said of it in the timeline.

In: alerts, people's words, the time, new ids. Out: Cases. Nothing is ever taken out of a timeline; what is undone is one more entry. It keeps nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from afterguard.errors import UsageError
from afterguard.model import SEVERITIES, Alert, Case, Entity, Entry, Range

STATUSES = ("open", "contained", "eradicated", "recovered", "closed", "merged")
ENTITIES = 500
TEXT = 4_000


def opened(alerts: Sequence[Alert], *, id: str, who: str, now: float, title: str = "") -> Case:
    """A case from one alert or several. Raises UsageError for none, or for alerts of several tenants."""
    if not alerts:
        raise UsageError("a case begins with an alert", hint="afterguard respond open --alerts FILE", slug="bad-case")
    first = max(alerts, key=lambda one: (SEVERITIES.index(one.severity), one.risk, -one.first_seen))
    case = Case(
        id,
        (title or first.title)[:300],
        first.severity,
        now,
        now,
        first.app,
        first.tenant,
        owner=first.owner,
        drill=first.drill,
        timeline=(Entry(now, now, who, "decision", f"case opened from {len(alerts)} alert{'s' * (len(alerts) != 1)}"),),
    )
    return grown(case, alerts, who=who, now=now)


def grown(case: Case, alerts: Sequence[Alert], *, who: str, now: float) -> Case:
    """The case with more alerts; each once, entities each once, and the highest of severities."""
    fresh = [one for one in {one.id: one for one in alerts}.values() if one.id not in case.alerts]
    if any(one.tenant != case.tenant for one in fresh):
        raise UsageError("alerts of another tenant do not belong into this case", hint="open one for each tenant", slug="bad-case")  # fmt: skip
    if any(one.drill != case.drill for one in fresh):
        raise UsageError("alerts of a drill and of the real thing do not belong into one case", hint="open one for each", slug="of-a-drill")  # fmt: skip
    entries = [
        Entry(
            one.first_seen, now, who, "alert", f"{one.title} ({one.count:,} exchange{'s' * (one.count != 1)})", one.id
        )
        for one in fresh
    ]
    return noted(
        msgspec.structs.replace(
            case,
            severity=max((case.severity, *(one.severity for one in fresh)), key=SEVERITIES.index),
            alerts=(*case.alerts, *(one.id for one in fresh)),
            kinds=_once((*case.kinds, *(one.kind for one in fresh))),
            entities=entities((*case.entities, *(entity for one in fresh for entity in _entities(one)))),
            money=money([case.money, *(one.money for one in fresh)]),
            currency=case.currency or next((one.currency for one in fresh if one.currency), ""),
        ),
        entries,
        now,
    )


def _entities(alert: Alert) -> Iterable[Entity]:
    yield from alert.entities
    known = {(one.kind, one.name) for one in alert.entities}
    for kind, name in (("mount", alert.mount), ("model", alert.model), ("policy", alert.policy)):
        if name and (kind, name) not in known:
            yield Entity(kind, name, "means")


def entities(found: Iterable[Entity]) -> tuple[Entity, ...]:
    """Each once; who did it once did it."""
    out: dict[tuple[str, str], Entity] = {}
    for one in found:
        key = (one.kind, one.name)
        if key not in out or one.role in ("actor", "source"):
            out[key] = one
    return tuple(out.values())[:ENTITIES]


def money(found: Iterable[Range | None]) -> Range | None:
    """The sum of ranges, as wide as they are together; None where nobody priced any."""
    known = [one for one in found if one is not None]
    if not known:
        return None
    total = known[0]
    for one in known[1:]:
        total = Range(
            *(a + b for a, b in zip(msgspec.structs.astuple(total), msgspec.structs.astuple(one), strict=True))
        )
    return total


def noted(case: Case, entries: Iterable[Entry], now: float) -> Case:
    """The case with more of a timeline, in the order in which things happened."""
    line = sorted((*case.timeline, *entries), key=lambda one: (one.at, one.recorded))
    return msgspec.structs.replace(case, timeline=tuple(line), updated=now)


def said(case: Case, what: str, text: str, *, who: str, now: float, ref: str = "") -> Case:
    """The case with a note, a decision, a task, an act's outcome."""
    return noted(case, [Entry(now, now, who, what, text[:TEXT], ref)], now)


def about(case: Case, found: Iterable[Entity]) -> Case:
    """The case with what people found that it is about, beside what alerts named."""
    return msgspec.structs.replace(case, entities=entities((*case.entities, *found)))


def moved(case: Case, status: str, *, who: str, now: float, why: str) -> Case:
    """The case in another status. Raises UsageError for one it cannot take."""
    if status not in STATUSES or status == "merged" or case.status == "merged":
        raise UsageError(f"a case that is {case.status} does not become {status}", hint=f"one of {', '.join(STATUSES[:-1])}", slug="bad-case")  # fmt: skip
    if status == "closed" and open_tasks(case):
        raise UsageError(f"{len(open_tasks(case))} tasks are open", hint="finish them, or write down why not: afterguard respond note", slug="bad-case")  # fmt: skip
    return said(msgspec.structs.replace(case, status=status), "decision", f"{status}: {why}", who=who, now=now)


def spent(case: Case, amount: float, *, who: str, now: float, why: str) -> Case:
    """The case with more cost; a correction is negative and stands in the timeline as well."""
    total = msgspec.structs.replace(case, spent=round(case.spent + amount, 2))
    return said(total, "decision", f"cost {amount:+.2f} {case.currency}: {why}", who=who, now=now)


def open_tasks(case: Case) -> dict[str, str]:
    """Id -> words of the tasks that nobody finished."""
    out: dict[str, str] = {}
    for one in sorted(case.timeline, key=lambda one: one.recorded):
        if one.what == "task" and one.text.startswith("done: "):
            out.pop(one.ref, None)
        elif one.what == "task":
            out[one.ref] = one.text
    return out


def merged(cases: Sequence[Case], *, who: str, now: float, why: str) -> tuple[Case, ...]:
    """Two cases or more as one: the first takes all, the others point to it. The timeline is in both places; nothing is doubled within one. Raises UsageError."""
    if len({one.id for one in cases}) != len(cases) or len(cases) < 2:
        raise UsageError("two different cases at least are merged", hint="afterguard respond merge CASE CASE...", slug="bad-case")  # fmt: skip
    if len({one.drill for one in cases}) > 1:
        raise UsageError("a drill and the real thing are not one case", hint="close the drill's", slug="of-a-drill")
    if len({one.tenant for one in cases}) > 1 or any(one.status == "merged" for one in cases):
        raise UsageError("cases of several tenants, or merged already, are not merged", hint="look at them with afterguard respond show", slug="bad-case")  # fmt: skip
    head, rest = cases[0], cases[1:]
    line = dict.fromkeys(entry for one in cases for entry in one.timeline)
    grown_head = msgspec.structs.replace(
        head,
        severity=max((one.severity for one in cases), key=SEVERITIES.index),
        alerts=_once(alert for one in cases for alert in one.alerts),
        kinds=_once(kind for one in cases for kind in one.kinds),
        entities=entities(entity for one in cases for entity in one.entities),
        playbooks=_once(name for one in cases for name in one.playbooks),
        money=money(one.money for one in cases),
        spent=round(sum(one.spent for one in cases), 2),
        timeline=tuple(sorted(line, key=lambda one: (one.at, one.recorded))),
    )
    names = ", ".join(one.id for one in rest)
    out = [said(grown_head, "merge", f"took in {names}: {why}", who=who, now=now)]
    for one in rest:
        gone = msgspec.structs.replace(one, status="merged", merged_into=head.id)
        out.append(said(gone, "merge", f"merged into {head.id}: {why}", who=who, now=now, ref=head.id))
    return tuple(out)


def split(case: Case, alerts: Sequence[Alert], rest: Sequence[Alert], *, id: str, who: str, now: float, why: str) -> tuple[Case, Case]:  # fmt: skip
    """(what is left, the new one with these alerts). `rest`: the alerts that stay. Raises UsageError where nothing would be left."""
    if not rest or not alerts:
        raise UsageError("a split leaves an alert on both sides", hint="name some of the case's alerts, not all", slug="bad-case")  # fmt: skip
    new = opened(alerts, id=id, who=who, now=now)
    new = said(new, "merge", f"split off {case.id}: {why}", who=who, now=now, ref=case.id)
    kept = msgspec.structs.replace(
        case,
        alerts=tuple(one.id for one in rest),
        kinds=_once(one.kind for one in rest),
        entities=entities(entity for one in rest for entity in _entities(one)),
        money=money(one.money for one in rest),
    )
    return said(kept, "merge", f"{len(alerts)} alerts went to {id}: {why}", who=who, now=now, ref=id), new


def _once(found: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(found))
