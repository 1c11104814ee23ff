"""ECS 9.4 documents: event.*, gen_ai.*, threat.*, rule.*; what ECS has no field for stands under `afterguard.*`.

In: a Row. Out: a nested document as a map. ECS has no field for policy and compliance of AI yet, and `gen_ai` is beta there: fields that
only later versions have are not written. `event.id` is the document's id for a bulk request, so that a repeat overwrites itself.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from afterguard import __version__
from afterguard.export.row import SCORES, Row
from afterguard.names import ATLAS_EDITION

VERSION = "9.4.0"
KINDS = {
    "alert": "alert",
    "decision": "event",
    "case": "alert",
    "finding": "state",
    "action": "event",
    "approval": "event",
}
CATEGORIES = {
    "alert": "intrusion_detection",
    "decision": "api",
    "case": "intrusion_detection",
    "finding": "vulnerability",
    "action": "configuration",
    "approval": "iam",
}
TYPES = {"allowed": "allowed", "blocked": "denied", "modified": "allowed"}
OWN = (
    "what", "state", "confidence", "tenant", "owner", "conversation", "provider", "mount", "detector", "cause", "excerpt", "data_classes", "exchanges",
    "alerts", "count", "held_off", "revision", "likelihood", "money", "currency", "spent", "case", "suppressed", "disposition", "fix",
    "where", "status", "entities", "drill",
)  # fmt: skip


def document(row: Row) -> dict[str, Any]:
    """The row as an ECS document."""
    techniques = [name for name in row.taxonomies if name.startswith("AML.T")]
    out = {
        "@timestamp": stamp(row.time),
        "ecs": {"version": VERSION},
        "message": row.message or row.title,
        "event": _event(row),
        "observer": {"vendor": "Afterguard", "product": "Afterguard", "type": "ai-guard", "version": __version__},
        "service": {"name": row.app},
        "organization": {"id": row.tenant},
        "user": {"id": row.actor},
        "source": {"ip": row.address},
        "gen_ai": _model(row),
        "rule": {"id": row.rule, "name": row.kind, "ruleset": row.policy, "description": row.message[:1_000]},
        "threat": _threat(techniques),
        "tags": list(row.taxonomies),
        "related": {"user": [row.actor] if row.actor else [], "ip": [row.address] if row.address else []},
        "afterguard": {name: _plain(getattr(row, name)) for name in OWN},
    }
    return pruned(out)


def _event(row: Row) -> dict[str, Any]:
    return {
        "kind": KINDS[row.what],
        "category": [CATEGORIES[row.what]],
        "type": [TYPES.get(row.action, "info" if row.what != "action" else "change")],
        "action": f"{row.what}-{row.action}" if row.action else row.what,
        "outcome": row.outcome,
        "id": row.event,
        "code": row.kind,
        "module": "afterguard",
        "dataset": f"afterguard.{row.what}",
        "provider": "afterguard",
        "severity": SCORES.get(row.severity, 0) * 10 or 1,
        "risk_score": float(row.risk) if row.risk else None,
        "start": stamp(row.begin),
        "end": stamp(row.end),
        "created": stamp(row.observed),
        "duration": int(row.duration * 1e9) or None,
        "reason": row.title[:1_000],
    }


def _model(row: Row) -> dict[str, Any]:
    return {
        "system": row.provider,
        "operation": {"name": row.operation},
        "request": {"model": row.model},
        "tool": {"name": row.tools[0] if row.tools else ""},
        "agent": {"name": row.app if row.operation else ""},
        "usage": {"input_tokens": row.input_tokens, "output_tokens": row.output_tokens},
    }


def _threat(techniques: list[str]) -> dict[str, Any]:
    if not techniques:
        return {}
    whole = list(dict.fromkeys(".".join(name.split(".")[:2]) for name in techniques))
    parts = [name for name in techniques if name.count(".") == 2]
    return {"framework": f"MITRE {ATLAS_EDITION}", "technique": {"id": whole, "subtechnique": {"id": parts}}}


def stamp(time: float) -> str:
    """ISO 8601 in UTC with milliseconds, "" for no time."""
    if not 0 < time < 2e11:
        return ""
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value)


def pruned(value: dict[str, Any]) -> dict[str, Any]:
    """A map without what is empty, at any depth. 0 and 0.0 are empty: no field here means more by it than by its absence."""
    out = {}
    for name, held in value.items():
        kept = pruned(held) if isinstance(held, dict) else held
        if kept is True or kept is False or (kept and kept != 0):
            out[name] = kept
    return out
