"""Flat JSON with the field names of Splunk's common information model, data model Alerts (6.x), so that its dashboards find them.

In: a Row. Out: a flat map. CIM has no model for AI: `gen_ai_*` and the rest are named as they are elsewhere, in snake case. Times are
seconds since the epoch, as an event collector takes them.
"""

from __future__ import annotations

from typing import Any

from afterguard import ocsf
from afterguard.export.ecs import pruned
from afterguard.export.row import Row
from afterguard.names import ATTACK

TYPES = {
    "alert": "alert",
    "decision": "event",
    "case": "alert",
    "finding": "warning",
    "action": "task",
    "approval": "event",
}


def fields(row: Row) -> dict[str, Any]:
    """The row as CIM's Alerts fields and our own."""
    severity = "informational" if row.severity == "info" else row.severity
    out = {
        "time": row.time,
        "id": row.id,
        "event_id": row.event,
        "type": TYPES[row.what],
        "tag": ["alert"] if row.what in ("alert", "case") else [],
        "vendor_product": "Afterguard",
        "app": "afterguard",
        "description": row.message or row.title,
        "subject": row.title,
        "body": row.excerpt,
        "severity": severity,
        "signature": row.title,
        "signature_id": row.rule or row.kind,
        "category": row.kind,
        "user": row.actor,
        "src": row.address,
        "dest": row.app,
        "action": row.action,
        "mitre_technique_id": [name for name in row.taxonomies if name.startswith("AML.") or ATTACK.fullmatch(name)],
        "status": row.status,
        "result": row.outcome,
        "duration": row.duration,
        "gen_ai_system": row.provider,
        "gen_ai_operation": row.operation,
        "gen_ai_model": row.model,
        "gen_ai_tool": list(row.tools),
        "gen_ai_input_tokens": row.input_tokens,
        "gen_ai_output_tokens": row.output_tokens,
        "conversation": row.conversation,
        "tenant": row.tenant,
        "owner": row.owner,
        "mount": row.mount,
        "policy": row.policy,
        "detector": row.detector,
        "cause": row.cause,
        "confidence": row.confidence,
        "taxonomies": list(row.taxonomies),
        "data_classes": list(row.data_classes),
        "first_seen": row.begin,
        "last_seen": row.end,
        "count": row.count,
        "held_off": row.held_off,
        "revision": row.revision,
        "state": row.state,
        "risk_score": row.risk,
        "money_low": row.money.low if row.money else 0,
        "money_mid": row.money.mid if row.money else 0,
        "money_high": row.money.high if row.money else 0,
        "currency": row.currency,
        "exchanges": list(row.exchanges),
        "alerts": list(row.alerts),
        "entity": [f"{one.kind}:{one.name}" for one in row.entities],
        "case_id": row.case,
        "drill": row.drill,
        "suppressed": row.suppressed,
        "disposition": row.disposition,
        "disposition_id": row.disposed,
        "verdict": row.verdict,
        "would": row.would,
        "kinds": list(row.kinds),
        "failed": row.failed,
        "unjudged": list(row.unjudged),
        "fix": row.fix,
        "where": row.where,
    }
    return pruned(out) | {"severity_id": ocsf.SEVERITY_IDS.get(row.severity, 0)}
