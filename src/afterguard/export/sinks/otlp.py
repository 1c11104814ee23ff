"""OTLP over HTTP: log records to an OpenTelemetry collector or whatever speaks its protocol.

In: batches. Out: `ExportLogsServiceRequest` as JSON (OTLP specification, JSON Protobuf Encoding). An event that was encoded as such a request (`encode: otlp`) gives its own resource logs, any other is the body of a record. A partial success says how many were refused, not which:
the batch then goes again in halves until they stand alone, so that no alert is dropped unnoticed; those that were taken come twice, with the same `afterguard.id`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from afterguard import __version__
from afterguard.export.secret import Secret
from afterguard.export.sink import Item, Limits, Plain, Sent, Unfit
from afterguard.export.sinks.web import Door, Web

SEVERITY = {"critical": 21, "high": 17, "medium": 13, "low": 10, "info": 9}
"""SeverityNumber: FATAL, ERROR, WARN, INFO2, INFO."""


ENCODED = b'{"resourceLogs":'


class Otlp(Web, frozen=True, kw_only=True, tag="otlp"):
    """A receiver of logs; `url` ends with /v1/logs."""

    headers: dict[str, Secret] = {}  # noqa: RUF012 - msgspec copies it
    """Headers that carry credentials, by name."""
    service: str = "afterguard"
    """The resource's service.name."""


class _Request(msgspec.Struct, rename="camel"):
    resource_logs: list[Any]


class _Partial(msgspec.Struct, rename="camel"):
    rejected_log_records: int | str = 0
    """64-bit numbers are strings in protobuf's JSON."""
    error_message: str = ""


class _Answer(msgspec.Struct, rename="camel"):
    partial_success: _Partial | None = None


class OtlpSink(Plain):
    """A receiver."""

    limits = Limits(events=512, size=2 << 20, event=1 << 20, linger=0.2)

    def __init__(self, settings: Otlp) -> None:
        self._settings = settings
        self._door = Door(settings)

    def send(self, batch: Sequence[Item]) -> Sent:
        """Hand over."""
        headers = {"content-type": "application/json"}
        headers |= {name.lower(): one.read() for name, one in self._settings.headers.items()}
        reply = self._door.ask("POST", self._settings.url, headers, self._request(batch))
        try:
            partial = msgspec.json.decode(reply.body or b"{}", type=_Answer).partial_success
            rejected = int(partial.rejected_log_records) if partial else 0
        except (msgspec.MsgspecError, ValueError, UnicodeDecodeError):
            partial, rejected = None, 0
        if partial and rejected > 0:
            raise Unfit(f"refused: {partial.error_message[:200]}")
        return Sent()

    def _request(self, batch: Sequence[Item]) -> bytes:
        theirs = [one for one in batch if one.body.startswith(ENCODED)]
        out = [part for one in theirs for part in msgspec.json.decode(one.body, type=_Request).resource_logs]
        records = [_record(one) for one in batch if not one.body.startswith(ENCODED)]
        if records:
            scope = {"scope": {"name": "afterguard", "version": __version__}, "logRecords": records}
            resource = {"attributes": [_text("service.name", self._settings.service)]}
            out.append({"resource": resource, "scopeLogs": [scope]})
        return msgspec.json.encode({"resourceLogs": out})


def _record(one: Item) -> dict[str, Any]:
    """The log record of an event."""
    return {
        "timeUnixNano": str(int(one.at * 1e9)),
        "observedTimeUnixNano": str(time.time_ns()),
        "severityNumber": SEVERITY.get(one.severity, 9),
        "severityText": one.severity,
        "body": {"stringValue": one.body.decode("utf-8", "replace")},
        "attributes": [_text("afterguard.id", one.id), _text("afterguard.lane", one.lane)],
    }


def _text(name: str, value: str) -> dict[str, Any]:
    return {"key": name, "value": {"stringValue": value}}
