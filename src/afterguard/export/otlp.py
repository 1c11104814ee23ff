"""OTLP log records: one export request as JSON (a line of the file format, or the body of a POST to /v1/logs) or as protobuf.

In: Rows. Out: bytes. `gen_ai.*` follows the GenAI conventions; names for security are not settled there, so ours stand under
`afterguard.*`, the verdict also under `gen_ai.security.*` as proposed. The JSON needs nothing; protobuf the extra `otlp`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from afterguard import __version__
from afterguard.errors import UsageError
from afterguard.export.ecs import OWN, pruned
from afterguard.export.row import Row

NUMBERS = {"info": 9, "low": 10, "medium": 13, "high": 17, "critical": 21}
"""severity_number: INFO, INFO2, WARN, ERROR, FATAL."""
NAMES = {9: "INFO", 10: "INFO2", 13: "WARN", 17: "ERROR", 21: "FATAL"}


def request(rows: Sequence[Row]) -> dict[str, Any]:
    """ExportLogsServiceRequest of these rows, one resource for each application."""
    apps = dict.fromkeys((row.app, row.tenant) for row in rows)
    return {
        "resourceLogs": [
            _resource(app, tenant, [r for r in rows if (r.app, r.tenant) == (app, tenant)]) for app, tenant in apps
        ]
    }


def _resource(app: str, tenant: str, rows: Sequence[Row]) -> dict[str, Any]:
    about = {"service.name": app or "unknown", "afterguard.tenant": tenant}
    return {
        "resource": {"attributes": _attributes(about)},
        "scopeLogs": [
            {"scope": {"name": "afterguard", "version": __version__}, "logRecords": [_record(row) for row in rows]}
        ],
    }


def _record(row: Row) -> dict[str, Any]:
    number = NUMBERS.get(row.severity, 9)
    return {
        "timeUnixNano": _nanoseconds(row.time),
        "observedTimeUnixNano": _nanoseconds(row.observed or row.time),
        "severityNumber": number,
        "severityText": NAMES[number],
        "eventName": f"afterguard.{row.what}",
        "body": {"stringValue": row.message or row.title},
        "attributes": _attributes(pruned(_named(row))),
    }


def _nanoseconds(time: float) -> str:
    return str(int(time * 1e6) * 1_000)


def _named(row: Row) -> dict[str, Any]:
    own = msgspec.to_builtins(
        {name: getattr(row, name) for name in OWN if name not in ("conversation", "provider", "tenant")}
    )
    return {
        "gen_ai.operation.name": row.operation,
        "gen_ai.provider.name": row.provider,
        "gen_ai.request.model": row.model,
        "gen_ai.conversation.id": row.conversation,
        "gen_ai.tool.name": row.tools[0] if row.tools else "",
        "gen_ai.usage.input_tokens": row.input_tokens,
        "gen_ai.usage.output_tokens": row.output_tokens,
        "gen_ai.security.action": row.action,
        "gen_ai.security.policy": row.policy,
        "gen_ai.security.external_finding_id": row.id if row.what in ("alert", "case", "finding") else "",
        "user.id": row.actor,
        "client.address": row.address,
        "log.record.uid": row.event,
        "afterguard.id": row.id,
        "afterguard.kind": row.kind,
        "afterguard.title": row.title,
        "afterguard.rule": row.rule,
        "afterguard.risk": row.risk,
        "afterguard.severity": row.severity,
        "afterguard.taxonomies": list(row.taxonomies),
        **{f"afterguard.{name}": value for name, value in own.items()},
    }


def _attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in values.items() if value not in ("", None)]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": _attributes(value)}}
    if isinstance(value, (list, tuple)):
        return {"arrayValue": {"values": [_value(one) for one in value]}}
    return {"stringValue": str(value)}


def json(rows: Sequence[Row]) -> bytes:
    """The request as OTLP/JSON."""
    return msgspec.json.encode(request(rows))


def protobuf(rows: Sequence[Row]) -> bytes:
    """The request as protobuf. Raises UsageError where the extra is missing."""
    try:
        from google.protobuf.json_format import ParseDict
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    except ImportError:
        raise UsageError(
            "OTLP over protobuf needs the extra otlp",
            hint="pip install 'afterguard[otlp]', or send OTLP as JSON",
            slug="missing-extra",
        ) from None
    whole: bytes = ParseDict(request(rows), ExportLogsServiceRequest()).SerializeToString()
    return whole
