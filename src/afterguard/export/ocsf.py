"""OCSF 1.8.0 events of what is handed over: alert, case, finding, what was done and agreed to; the decision log's lines are OCSF already.

In: nouns. Out: events as maps (`alert`, `case`, `finding`, `deed`, `decision`). Class by class: a call 6003, a look into a
vector store 6005, an alert 2004 (a leak 2006), a case 2005, a weakness 2007, containment 7001, an approval 3003. With `newer`, what only
1.9 has stands in its place; else under `unmapped.ocsf_1_9`, so that a reader of 1.8 meets nothing it does not know.
"""

from __future__ import annotations

from typing import Any

from afterguard import __version__, ocsf
from afterguard.export import row
from afterguard.model import Alert, Case, Deed, Entity, Finding, Found

LEAK = frozenset(("LLM02:2025", "LLM02:2026", "AML.T0057"))
"""Taxonomies of what is a matter of data that went where it should not."""
DISPOSED = {"true_positive": 2, "false_positive": 1, "benign_positive": 5, "duplicate": 10}
"""verdict_id."""
ANALYTICS = {
    "secrets": 8, "pii": 8, "identifiers": 8, "canary-leak": 9, "injection": 1, "jailbreak": 1, "judged": 4, "foreign-order": 4,
    "order-followed": 4, "feature-profile": 3, "watch": 2,
}  # fmt: skip
"""Detector -> analytic.type_id: 1 Rule, 2 Behavioral, 3 Statistical, 4 Learning, 8 Regular expressions, 9 Exact data match."""
TARGETS = ("tool", "server", "document", "model", "prompt", "policy", "mount", "payload")
REGISTER = {"new": 1, "updated": 2, "closed": 3}
STATUS = {"open": 1, "contained": 2, "eradicated": 2, "recovered": 4, "closed": 5, "merged": 5}
"""Case.status -> status_id of an incident."""
RETRIEVALS = {"retrieve": 4, "retrieval": 4, "vector_search": 4, "vector_write": 5, "vector_delete": 7}
"""Operation -> activity of a datastore."""
MEASURES = {
    "tighten_identity": (4, "D3-UAP"), "tighten_route": (4, ""), "cap_quota": (4, "D3-UAP"), "pin_model": (4, ""), "pin_version": (4, ""), "pin_prompt": (4, ""),
    "disable_tool": (4, "D3-UAP"), "quarantine_identity": (1, "D3-AL"), "quarantine_conversation": (1, ""), "disable_server": (1, ""),
    "disable_route": (1, ""), "deny_model": (1, ""), "block_domain": (1, "D3-OTF"), "quarantine_document": (1, "D3-CQ"),
    "freeze_writes": (1, ""), "rotate_secret": (2, "D3-CRO"), "roll_back_policy": (3, ""), "roll_back_model": (3, ""), "roll_back_prompt": (3, ""), "restore": (3, ""),
}  # fmt: skip
"""Kind of act -> activity of 7001 and the nearest D3FEND countermeasure, where there is one. Any other kind goes by its phase."""
COUNTERMEASURES = {
    "D3-UAP": "User Account Permissions", "D3-AL": "Account Locking", "D3-OTF": "Outbound Traffic Filtering", "D3-CQ": "Content Quarantine",
    "D3-CRO": "Credential Rotation",
}  # fmt: skip
PHASES = {"contain": 1, "eradicate": 2, "recover": 3}
BACK = ("undone", "undo_partly", "expired", "not_undone")
"""What takes an act back is the activity Restore."""
PARTIAL = ("partly", "undo_partly")
STATES = {"success": 1, "failure": 2, "partial": 4}
ACTOR = ("host",)
"""The profile that `actor` belongs to in these classes."""
ENTRIES = 50
FINDING_PROFILES = ("security_control",)


def alert(one: Alert, newer: bool = False) -> dict[str, Any]:
    """An alert: 2004 Detection Finding, or 2006 Data Security Finding where data went where it should not."""
    is_leak = bool(one.data_classes) and not LEAK.isdisjoint(one.taxonomies)
    event = {
        **ocsf.head(2006 if is_leak else 2004, REGISTER.get(one.state, 2), one.last_seen),
        "start_time": ocsf.milliseconds(one.first_seen),
        "end_time": ocsf.milliseconds(one.last_seen),
        "count": one.count,
        "severity_id": ocsf.SEVERITY_IDS[one.severity],
        "confidence_id": ocsf.CONFIDENCE_IDS[one.confidence],
        "confidence": one.confidence,
        "confidence_score": round(one.likelihood * 100),
        "status_id": 3 if one.suppressed else 4 if one.state == "closed" else 1 if one.state == "new" else 2,
        "is_alert": not one.suppressed,
        "message": one.rule or one.title,
        **_held(one),
        "metadata": _metadata(row.told(one), "alerts", one.tenant, one.observed, FINDING_PROFILES, newer),
        "finding_info": _info(one),
        "resources": [_resource(e) for e in one.entities if e.kind in TARGETS] or [{"type": "application", "name": one.app}],
        "observables": _observables(one.entities),
        "unmapped": {"afterguard": _own(one)},
    }  # fmt: skip
    if is_leak:
        event["data_security"] = {
            "detection_system_id": 10,
            "data_lifecycle_state_id": 2,
            "detection_pattern": one.kind,
            "category_id": 6 if "secret" in one.kind else 1,
        }
    else:
        event["evidences"] = [_evidence(one)]
        event["risk_score"] = one.risk
    if one.disposition:
        event["metadata"]["profiles"].append("incident")
        event["verdict_id"] = DISPOSED.get(one.disposition, 99)
        event["verdict"] = one.disposition
    if one.policy:
        event["policy"] = {"name": one.policy.partition("@")[0], "version": one.policy}
    return _newer(event, one, newer)


def _held(one: Alert) -> dict[str, Any]:
    """What the guard did about it."""
    disposed = {"disposition_id": row.disposition(one)}
    if one.held_off >= one.count:
        return {"action_id": ocsf.DENIED, **disposed}
    if one.held_off:
        return {"action_id": ocsf.OTHER, "action": "Partly held off", **disposed}
    return {"action_id": ocsf.ALLOWED, **disposed}


def _metadata(
    uid: str, log: str, tenant: str, logged: float, profiles: tuple[str, ...], newer: bool = False
) -> dict[str, Any]:
    out = ocsf.metadata(uid, log, __version__, profiles, ocsf.NEWER if newer else ocsf.VERSION)
    return out | {"tenant_uid": tenant, **({"logged_time": ocsf.milliseconds(logged)} if logged else {})}


def _info(one: Alert) -> dict[str, Any]:
    out: dict[str, Any] = {
        "uid": one.id,
        "title": one.title,
        "desc": one.rule or one.title,
        "types": [one.kind],
        "analytic": _analytic(one.detector, one.kind),
        "first_seen_time": ocsf.milliseconds(one.first_seen),
        "last_seen_time": ocsf.milliseconds(one.last_seen),
        "related_events": [{"uid": name, "type_uid": 600399} for name in one.exchanges],
        "related_events_count": one.count,
        "attacks": ocsf.attacks(one.taxonomies),
    }
    return {name: value for name, value in out.items() if value != []}


def _analytic(detector: str, kind: str) -> dict[str, Any]:
    type_id = ANALYTICS.get(detector, 2 if detector.startswith("watch") else 1)
    return {"type_id": type_id, "uid": detector or kind, "name": detector or kind}


def _evidence(one: Alert) -> dict[str, Any]:
    out: dict[str, Any] = {"data": {"excerpt": one.excerpt, "exchanges": one.exchanges}}
    who, where = row.first(one.entities, "identity", "key"), row.address(one.entities)
    if who:
        out["actor"] = {"user": {"uid": who}, "app_name": one.app}
    if where:
        out["src_endpoint"] = {"ip": where}
    return out


def _resource(one: Entity) -> dict[str, Any]:
    return {"type": one.kind, "name": one.name}


def _observables(entities: tuple[Entity, ...]) -> list[dict[str, Any]]:
    return [ocsf.observable("unmapped.afterguard.entities", one.kind, one.name) for one in entities]


def _own(one: Alert) -> dict[str, Any]:
    """What OCSF has no place for; empty fields are left out."""
    own = {
        "kind": one.kind, "cause": one.cause, "fingerprint": one.fingerprint, "taxonomies": one.taxonomies, "app": one.app,
        "revision": one.revision, "held_off": one.held_off, "likelihood": one.likelihood, "risk": one.risk, "touched": one.touched,
        "money": one.money, "currency": one.currency, "why": one.why, "would_change": one.would_change, "owner": one.owner,
        "case": one.case, "suppressed": one.suppressed, "mount": one.mount, "model": one.model, "data_classes": one.data_classes,
        "entities": one.entities, "hits": one.hits, "drill": one.drill,
    }  # fmt: skip
    return {name: value for name, value in own.items() if value not in ("", (), {}, None)}


def _newer(event: dict[str, Any], one: Alert, newer: bool) -> dict[str, Any]:
    """Put in what only 1.9 has, in its place or aside."""
    agent: dict[str, Any] = {"uid": one.app, "name": one.app, "type_id": 0}
    if one.model:
        agent["ai_model"] = {"name": one.model, "ai_provider": one.mount or "unknown"}
    if newer and "evidences" in event:
        event["evidences"][0]["ai_agent"] = agent
    else:
        event["unmapped"]["ocsf_1_9"] = {"ai_agent": agent}
    return event


def case(one: Case, newer: bool = False) -> dict[str, Any]:
    """A case: 2005 Incident Finding."""
    is_over = one.status in ("closed", "merged")
    event: dict[str, Any] = {
        **ocsf.head(2005, 3 if is_over else 1 if one.updated <= one.opened else 2, one.updated),
        "start_time": ocsf.milliseconds(one.opened),
        "severity_id": ocsf.SEVERITY_IDS[one.severity],
        "priority_id": max(1, ocsf.SEVERITY_IDS[one.severity] - 1),
        "status_id": 2 if one.status == "open" and one.updated > one.opened else STATUS.get(one.status, 2),
        "status": one.status,
        "message": one.title,
        "desc": one.title,
        "metadata": _metadata(row.case_told(one), "cases", one.tenant, 0, (), newer),
        "finding_info_list": [{"uid": name, "title": one.title} for name in one.alerts or (one.id,)],
        "observables": _observables(one.entities),
        "unmapped": {"afterguard": _case_own(one)},
    }
    event["assignee" if one.owner else "assignee_group"] = {"name": one.owner or "unassigned"}
    tickets = [
        {"uid": entry.ref, "title": entry.text} for entry in one.timeline if entry.what == "ticket" and entry.ref
    ]
    if tickets:
        event["ticket"] = tickets[-1]
        event["tickets"] = tickets
    return event


def _case_own(one: Case) -> dict[str, Any]:
    own = {
        "case": one.id, "app": one.app, "kinds": one.kinds, "playbooks": one.playbooks, "money": one.money, "currency": one.currency,
        "spent": one.spent, "merged_into": one.merged_into, "timeline": one.timeline[-ENTRIES:],
        "timeline_total": len(one.timeline), "entities": one.entities, "drill": one.drill,
    }  # fmt: skip
    return {name: value for name, value in own.items() if value not in ("", (), None)}


def deed(one: Deed, newer: bool = False) -> dict[str, Any]:
    """Something done and what came of it: 7001 Remediation Activity; or somebody who agreed or did not: 3003 Authorize Session."""
    outcome = "partial" if one.what in PARTIAL else row.OUTCOMES.get(one.what, "")
    is_agreed = one.what in row.AGREED
    event = {
        **(ocsf.head(3003, 1, one.at) if is_agreed else _remedied(one)),
        "severity_id": ocsf.SEVERITY_IDS[one.severity],
        "status_id": STATES.get(outcome, ocsf.OTHER),
        "status": one.what,
        "message": row.said(one),
        "metadata": _metadata(one.id, "approvals" if is_agreed else "actions", one.tenant, 0, ACTOR, newer),
        "actor": {"user": {"uid": one.who or "unknown"}, "app_name": one.app},
        "unmapped": {"afterguard": _deed_own(one)},
    }
    if one.says:
        event["status_detail"] = one.says
    if is_agreed:
        event["user"] = {"uid": one.asked or "unknown"}
        event["privileges"] = list(one.tools) or [f"{one.do} {one.target}".strip() or one.act or "what was held"]
        event["session"] = {"uid": one.conversation or one.case or one.exchange}
        return event
    event["command_uid"] = one.act or one.id
    if one.target and one.on != "case":
        event["observables"] = [ocsf.observable("unmapped.afterguard.target", one.on, one.target)]
    found = MEASURES.get(one.do, (0, ""))[1]
    if found and one.what not in BACK:
        event["countermeasures"] = [{"d3f_technique": {"uid": found, "name": COUNTERMEASURES[found]}}]
    return event


def _remedied(one: Deed) -> dict[str, Any]:
    """The head of a 7001: what was done, by its kind, else by the phase of the incident."""
    activity = 3 if one.what in BACK else MEASURES.get(one.do, (PHASES.get(one.phase, ocsf.OTHER), ""))[0]
    return ocsf.head(7001, activity, one.at, "" if activity != ocsf.OTHER else (one.phase or one.do or "other").capitalize())  # fmt: skip


def _deed_own(one: Deed) -> dict[str, Any]:
    own = {
        "case": one.case, "app": one.app, "who": one.who, "act": one.act, "do": one.do, "on": one.on, "target": one.target, "phase": one.phase,
        "playbook": one.playbook, "step": one.step, "title": one.title, "asked": one.asked, "until": one.until, "exchange": one.exchange, "drill": one.drill,
    }  # fmt: skip
    return {name: value for name, value in own.items() if value not in ("", 0.0)}


def finding(found: Found, newer: bool = False) -> dict[str, Any]:
    """A weakness that a scan or an attack found: 2007 Application Security Posture Finding."""
    one = found.finding
    weaknesses = [name for name in one.taxonomies if name.startswith("CWE-")]
    event: dict[str, Any] = {
        **ocsf.head(2007, 1, found.at),
        "severity_id": ocsf.SEVERITY_IDS[one.severity],
        "confidence_id": ocsf.CONFIDENCE_IDS[one.confidence],
        "status_id": 3 if found.is_set_aside else 1,
        "message": one.message,
        "metadata": _metadata(row.found_told(found), "findings", "", 0, (), newer),
        "application": {"name": found.app or "unknown"},
        "finding_info": {
            "uid": found.id,
            "title": one.title or one.rule,
            "desc": one.message,
            "types": [one.rule],
            "analytic": {"type_id": 1, "uid": one.rule, "name": one.title or one.rule},
            "attacks": ocsf.attacks(one.taxonomies),
        },
        "unmapped": {
            "afterguard": {
                "taxonomies": one.taxonomies,
                "path": one.path,
                "line": one.line,
                "asset": one.asset,
                **({"attributes": one.attributes} if one.attributes else {}),
            }
        },
    }
    if one.fix:
        event["remediation"] = {"desc": one.fix}
    if weaknesses:
        event["vulnerabilities"] = [_weakness(one, name) for name in weaknesses]
    return event


def _weakness(one: Finding, cwe: str) -> dict[str, Any]:
    return {"cwe": {"uid": cwe}, "title": one.title or one.rule, "desc": one.message, "severity": one.severity}


def decision(line: dict[str, Any], newer: bool = False) -> dict[str, Any]:
    """A line of the decision log as it is; 6005 Datastore Activity where the call looked into a vector store."""
    activity = RETRIEVALS.get(row.text(row.part(line, "api"), "operation"))
    event = dict(line)
    if activity is not None and line.get("class_uid") == 6003:
        database = {
            "type_id": 7,
            "type": "Vector",
            "name": row.text(row.part(row.part(line, "api"), "service"), "uid") or "vector store",
        }
        event |= ocsf.head(6005, activity, row.number(line, "time") / 1000) | {"database": database}
        event["unmapped"] = row.part(line, "unmapped") | {"api": event.pop("api")}
    if newer:
        event["metadata"] = row.part(line, "metadata") | {"version": ocsf.NEWER}
    return event
