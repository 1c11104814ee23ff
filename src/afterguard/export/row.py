"""Each thing that is handed over, as one flat row: what the formats without a shape of their own (ECS, CIM, CEF, LEEF, OTLP) are made of.

In: an Alert, a line of the decision log (decoded), a Case, a finding, something done or agreed to. Out: a `Row`. Nothing is guessed: what a
noun does not say stays empty, and encoders leave empty fields out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from afterguard import ocsf
from afterguard.model import DRILL_TITLE, Alert, Case, Deed, Entity, Entry, Finding, Found, Range

SCORES = {"info": 0, "low": 3, "medium": 5, "high": 8, "critical": 10}
"""Severity as the 0 to 10 of CEF and LEEF."""
SEVERITIES = {number: name for name, number in ocsf.SEVERITY_IDS.items()}
HELD = {1: "allowed", 2: "blocked", 4: "modified"}
PARTLY = 12
BLOCKS = ("block", "ask", "throttle")
AGREED = ("approved", "denied", "break_glass")
OUTCOMES = {"done": "success", "undone": "success", "expired": "success", "approved": "success", "break_glass": "success", "failed": "failure", "not_undone": "failure", "denied": "failure"}  # fmt: skip
"""What became of an act, or of what was asked for."""


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing told to a SOC. Times are seconds since the epoch, UTC."""

    what: str
    """alert, decision, case, finding, action or approval."""
    id: str
    """Stays the same as long as it is the same thing."""
    event: str
    """Of this telling alone: what a receiver drops repeats by."""
    time: float
    title: str
    severity: str
    begin: float = 0.0
    end: float = 0.0
    observed: float = 0.0
    message: str = ""
    kind: str = ""
    action: str = ""
    """allowed, blocked, modified, detected; create, update, close; what became of an act (done, undone...) or an approval."""
    outcome: str = "unknown"
    """success, failure or unknown."""
    state: str = ""
    confidence: str = ""
    app: str = ""
    tenant: str = ""
    owner: str = ""
    actor: str = ""
    """Keyed hash or name of who did it; the first where there are several."""
    address: str = ""
    """IP address, only where it is one."""
    conversation: str = ""
    operation: str = ""
    provider: str = ""
    model: str = ""
    tools: tuple[str, ...] = ()
    mount: str = ""
    detector: str = ""
    rule: str = ""
    policy: str = ""
    cause: str = ""
    excerpt: str = ""
    taxonomies: tuple[str, ...] = ()
    data_classes: tuple[str, ...] = ()
    entities: tuple[Entity, ...] = ()
    exchanges: tuple[str, ...] = ()
    alerts: tuple[str, ...] = ()
    count: int = 0
    held_off: int = 0
    revision: int = 0
    risk: int = 0
    likelihood: float = 0.0
    money: Range | None = None
    currency: str = ""
    spent: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    duration: float = 0.0
    """Seconds."""
    verdict: str = ""
    """Of a call: what the policy decided, in its own word."""
    would: str = ""
    kinds: tuple[str, ...] = ()
    """Of a call: every kind of hit; of an alert about somebody: the kinds inside it, the worst first."""
    failed: str = ""
    unjudged: tuple[str, ...] = ()
    """Reasons of what nobody could look at."""
    disposed: int = 0
    """OCSF's disposition_id."""
    status: str = ""
    case: str = ""
    suppressed: str = ""
    disposition: str = ""
    fix: str = ""
    where: str = ""
    drill: str = ""
    """The drill that it is of; "" for the real thing."""


def of_alert(one: Alert) -> Row:
    """An alert's row."""
    held = one.held_off >= one.count
    return Row(
        what="alert", id=one.id, event=told(one), time=one.last_seen, begin=one.first_seen, end=one.last_seen,
        observed=one.observed, title=one.title, message=one.rule or one.title, severity=one.severity, kind=one.kind,
        action="blocked" if held else "detected" if not one.held_off else "modified",
        outcome="failure" if held else "success", state=one.state, confidence=one.confidence, app=one.app,
        tenant=one.tenant, owner=one.owner, actor=first(one.entities, "identity", "key"), address=address(one.entities),
        conversation=first(one.entities, "conversation"), model=one.model or first(one.entities, "model"),
        tools=tuple(e.name for e in one.entities if e.kind == "tool"), mount=one.mount, detector=one.detector,
        rule=one.kind, policy=one.policy, cause=one.cause, excerpt=one.excerpt, taxonomies=one.taxonomies,
        data_classes=one.data_classes, entities=one.entities, exchanges=one.exchanges, count=one.count,
        held_off=one.held_off, revision=one.revision, risk=one.risk, likelihood=one.likelihood, money=one.money,
        currency=one.currency, case=one.case, suppressed=one.suppressed, disposition=one.disposition,
        disposed=disposition(one), kinds=tuple(part.kind for part in one.hits), drill=one.drill,
    )  # fmt: skip


def disposition(one: Alert) -> int:
    """disposition_id of an alert: Blocked, Detected, or Partially Corrected where some were held off."""
    if one.held_off >= one.count:
        return ocsf.BLOCKED
    return PARTLY if one.held_off else ocsf.DETECTED


def told(one: Alert) -> str:
    """Id of this revision of an alert: what a receiver drops repeats by."""
    return f"{one.id}.{one.revision}"


def first(entities: Iterable[Entity], *kinds: str) -> str:
    """Name of the first entity of these kinds, in the order of the kinds; the actor's before others."""
    rows = sorted(entities, key=lambda one: one.role != "actor")
    return next((one.name for kind in kinds for one in rows if one.kind == kind), "")


def address(entities: Iterable[Entity]) -> str:
    """The first entity that is an IP address."""
    return next((one.name for one in entities if one.kind == "address" and ocsf.is_address(one.name)), "")


def of_case(one: Case) -> Row:
    """A case's row."""
    closed = one.status in ("closed", "merged")
    return Row(
        what="case", id=one.id, event=case_told(one), time=one.updated, begin=one.opened, end=one.updated,
        title=one.title, message=one.title, severity=one.severity, kind=one.kinds[0] if one.kinds else "",
        action="close" if closed else "create" if one.updated <= one.opened else "update", state=one.status,
        app=one.app, tenant=one.tenant, owner=one.owner, actor=first(one.entities, "identity", "key"),
        address=address(one.entities), conversation=first(one.entities, "conversation"),
        entities=one.entities, alerts=one.alerts, money=one.money, currency=one.currency, spent=one.spent, drill=one.drill,
    )  # fmt: skip


def case_told(one: Case) -> str:
    """Id of this state of a case."""
    return f"{one.id}.{ocsf.milliseconds(one.updated)}"


def of_deed(one: Deed) -> Row:
    """Something done, or agreed to."""
    return Row(
        what="approval" if one.what in AGREED else "action", id=one.act or one.id, event=one.id, time=one.at, title=said(one), message=one.says or said(one),
        severity=one.severity, kind=one.do, action=one.what, outcome=OUTCOMES.get(one.what, "unknown"), app=one.app, tenant=one.tenant, actor=one.who,
        conversation=one.conversation, tools=one.tools, rule=f"{one.playbook}/{one.step}" if one.step else "", cause=one.asked and f"asked by {one.asked}",
        entities=(Entity(one.on, one.target, "target"),) if one.target and one.on != "case" else (), exchanges=(one.exchange,) if one.exchange else (), case=one.case, drill=one.drill,
    )  # fmt: skip


def said(one: Deed) -> str:
    """A deed in words."""
    about = " ".join(one.tools) if one.on == "case" or not one.target else one.target
    drill = DRILL_TITLE if one.drill else ""
    return f"{drill}{one.what.replace('_', ' ')}: {one.do.replace('_', ' ') or one.act} {about}".strip()


def action_told(case: Case, entry: Entry) -> str:
    """Id of one entry of a case."""
    return f"{case.id}.{entry.ref or entry.what}.{ocsf.milliseconds(entry.at)}"


def of_found(found: Found) -> Row:
    """A weakness that was found, in an application, at a time."""
    one = found.finding
    return Row(
        what="finding", id=found.id, event=found_told(found), time=found.at,
        title=one.title or one.rule, message=one.message, severity=one.severity, kind=one.rule, action="create",
        confidence=one.confidence, app=found.app, rule=one.rule, excerpt=one.snippet, taxonomies=one.taxonomies, fix=one.fix,
        where=f"{one.path}:{one.line}" if one.path else "", suppressed="set aside by a person" if found.is_set_aside else "",
    )  # fmt: skip


def found_told(found: Found) -> str:
    """Id of a finding at a time."""
    return f"{found.id}.{ocsf.milliseconds(found.at)}"


def finding_id(one: Finding) -> str:
    """What a finding is known by."""
    return one.fingerprint or f"{one.rule}:{one.path}:{one.line}"


def of_line(line: dict[str, Any]) -> Row:
    """A line of the decision log: a call (6003), or an alarm of the watch (2004)."""
    return _alarm(line) if line.get("class_uid") == 2004 else _call(line)


def _call(line: dict[str, Any]) -> Row:
    own, meta, api = own_of(line), part(line, "metadata"), part(line, "api")
    hits = rows(own, "hits")
    worst = hits[0] if hits else {}
    action = own.get("action", "allow")
    held = "blocked" if action in BLOCKS else "modified" if action not in ("allow", "flag") else "allowed"
    tokens, policy = part(line, "message_context"), part(line, "policy")
    return Row(
        what="decision", id=text(meta, "uid"), event=text(meta, "uid"), time=number(line, "time") / 1000,
        title=f"{text(api, 'operation')} {held}", message=text(policy, "desc") or text(worst, "rule"),
        severity=SEVERITIES.get(int(number(line, "severity_id")), "info"), kind=text(worst, "kind"), action=held,
        outcome="success" if line.get("status_id") == 1 else "failure", status=text(line, "status_code"),
        confidence=text(worst, "confidence"), app=text(part(line, "actor"), "app_name"),
        actor=text(part(part(line, "actor"), "user"), "uid"), conversation=text(tokens, "uid"),
        operation=text(api, "operation"), provider=text(part(line, "ai_model"), "ai_provider"),
        model=text(part(line, "ai_model"), "name"), tools=texts(own, "tools"), mount=text(part(api, "service"), "uid"),
        detector=text(worst, "detector"), rule=text(policy, "uid"), policy=text(policy, "version"),
        cause=text(worst, "cause"), excerpt=text(worst, "excerpt"), taxonomies=texts(own, "taxonomies"),
        input_tokens=int(number(tokens, "prompt_tokens")), output_tokens=int(number(tokens, "completion_tokens")),
        duration=number(line, "duration") / 1000, count=int(number(own, "hits_total")), verdict=text(own, "action"), would=text(own, "would"), failed=text(own, "failed"),
        kinds=tuple(dict.fromkeys(text(one, "kind") for one in hits)), disposed=int(number(line, "disposition_id")),
        unjudged=tuple(dict.fromkeys(text(one, "reason") for one in rows(own, "unjudged"))),
    )  # fmt: skip


def _alarm(line: dict[str, Any]) -> Row:
    own, meta, about = own_of(line), part(line, "metadata"), part(line, "finding_info")
    why = part(own, "why")
    return Row(
        what="alert", id=text(about, "uid"), event=text(meta, "uid"), time=number(line, "time") / 1000,
        title=text(about, "title"), message=text(line, "message"), kind=text(own, "kind"), action="detected",
        severity=SEVERITIES.get(int(number(line, "severity_id")), "info"), confidence=text(line, "confidence"),
        app=text(why, "app"), actor=text(why, "who"), detector=text(part(about, "analytic"), "name"),
        rule=text(own, "kind"), cause=text(own, "cause"), taxonomies=texts(own, "taxonomies"),
        exchanges=texts(own, "exchanges"), count=int(number(own, "exchanges_total")), state="new", outcome="success",
    )  # fmt: skip


def own_of(line: dict[str, Any]) -> dict[str, Any]:
    """What no class of OCSF has a place for."""
    return part(part(line, "unmapped"), "afterguard")


def part(held: dict[str, Any], name: str) -> dict[str, Any]:
    """A map inside a map; empty where there is none, whatever stands there."""
    found = held.get(name)
    return found if isinstance(found, dict) else {}


def rows(held: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The maps of a list inside a map."""
    found = held.get(name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def text(held: dict[str, Any], name: str) -> str:
    """A text inside a map, "" where there is none."""
    found = held.get(name)
    return found if isinstance(found, str) else ""


def texts(held: dict[str, Any], name: str) -> tuple[str, ...]:
    """The texts of a list inside a map."""
    found = held.get(name)
    return tuple(one for one in found if isinstance(one, str)) if isinstance(found, (list, tuple)) else ()


def number(held: dict[str, Any], name: str) -> float:
    """A finite number inside a map, 0 where there is none."""
    found = held.get(name)
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not abs(found) < 1e15:
        return 0.0
    return found
