"""What an OTLP exporter sends -> spans and log records that speak of AI, in the shape that otel.py reads.

In: the unpacked body of an export request, protobuf or JSON. Out: `Item`s, and None for each span of something else, so that it can be counted. What is too much of one span (attributes, depth)
is left away and said in it. It keeps nothing and opens nothing; one request is held decoded at most once.

Protobuf is read with the stubs of the package opentelemetry-proto; without it only JSON is taken.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from afterguard.tap.otel import EVENTS, flatten, joined, spans, speaks, tells
from afterguard.wire import strict

SPANS = 20_000
"""Spans or log records of one request."""
ATTRIBUTES = 1_000
"""Of one span or log record."""
DEPTH = 24
"""Levels of lists and objects inside one attribute."""
NODES = 50_000
"""Values inside the attributes of one span."""
What = Literal["traces", "logs"]


class Unreadable(ValueError):
    """Why a request cannot be read, as a sentence for its sender."""


class TooMany(Unreadable):
    """More spans or records than are taken at once."""


class Item(NamedTuple):
    """A span or log record that speaks of AI."""

    record: dict[str, Any]
    about: dict[str, Any]
    """Attributes of its resource."""
    size: int
    """Bytes it took in the request, about."""


def has_protobuf() -> bool:
    """Whether the stubs are there."""
    try:
        import opentelemetry.proto.collector.trace.v1.trace_service_pb2  # noqa: F401
    except ImportError:
        return False
    return True


def read(body: bytes, what: What, is_json: bool) -> Iterator[Item | None]:
    """Items, one by one. Raises Unreadable, before the first item."""
    return _json(body, what) if is_json else _protobuf(body, what)


# JSON.


def _json(body: bytes, what: What) -> Iterator[Item | None]:
    value, problems = strict.decode(body)
    name = "resourceSpans" if what == "traces" else "resourceLogs"
    if not isinstance(value, dict):
        raise Unreadable(f"the body is no JSON object ({', '.join(problems) or 'another value'})")
    if "too_deep" in problems or "duplicate_keys" in problems:
        raise Unreadable(f"the body can be read in two ways ({', '.join(problems)})")
    resources = value.get(name, [])
    if not isinstance(resources, list):
        raise Unreadable(f"{name} is no list")
    many = sum(map(_count, resources))
    if many > SPANS:
        raise TooMany(f"{many} in one request, at most {SPANS} are taken: export smaller batches")
    return _of_json(resources, len(body) // max(1, many))


def _of_json(resources: list[Any], share: int) -> Iterator[Item | None]:
    for record, about in spans(resources):
        attributes = record.get("attributes")
        if isinstance(attributes, (list, dict)) and len(attributes) > ATTRIBUTES:
            kept = attributes[:ATTRIBUTES] if isinstance(attributes, list) else {}
            record = {**record, "attributes": kept, "droppedAttributesCount": len(attributes) - len(kept)}
        yield Item(record, about, share) if tells(record, flatten(record.get("attributes"))) else None


def _count(resource: Any) -> int:
    """Spans or log records of a resource."""
    total = 0
    for scope in SCOPES:
        found = resource.get(scope) if isinstance(resource, dict) else None
        for one in found if isinstance(found, list) else ():
            rows = (one.get(name) for name in ROWS) if isinstance(one, dict) else ()
            total += sum(len(row) for row in rows if isinstance(row, list))
    return total


SCOPES = ("scopeSpans", "scope_spans", "instrumentationLibrarySpans", "scopeLogs", "scope_logs")
ROWS = ("spans", "logRecords", "log_records")


# Protobuf. Spans are counted before they are decoded, because an empty one takes two bytes there and hundreds here. Then they are taken over one by one, and only those that speak of AI.


def _protobuf(body: bytes, what: What) -> Iterator[Item | None]:
    try:
        from google.protobuf.message import DecodeError
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    except ImportError:
        raise Unreadable(
            "protobuf is not read here: install afterguard[otlp], or send JSON (OTEL_EXPORTER_OTLP_PROTOCOL=http/json)"
        ) from None
    _bounded(body)
    kind: Any = ExportTraceServiceRequest if what == "traces" else ExportLogsServiceRequest
    try:
        request = kind.FromString(body)
    except (DecodeError, RuntimeError, ValueError) as error:
        raise Unreadable(f"the body is no export request of {what}: {str(error)[:200]}") from None
    return _traces(request) if what == "traces" else _logs(request)


def _bounded(body: bytes) -> None:
    """Raises TooMany. What is no protobuf is left to the decoder."""
    total = 0
    for resource in _inside(body, 0, len(body), 1):
        for scope in _inside(body, *resource, 2):
            for _ in _inside(body, *scope, 2):
                total += 1
                if total > SPANS:
                    raise TooMany(f"more than {SPANS} in one request: export smaller batches")


def _inside(data: bytes, at: int, end: int, wanted: int) -> Iterator[tuple[int, int]]:
    """(start, end) of each message in this field; every request, resource and scope keeps spans and records in the same ones."""
    while at < end:
        tag, at = _varint(data, at, end)
        kind = tag & 7
        if kind == 0:
            _, at = _varint(data, at, end)
        elif kind == 2:
            size, at = _varint(data, at, end)
            if at + size > end:
                return
            if tag >> 3 == wanted:
                yield at, at + size
            at += size
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            return


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """(number, where it ends); the end of the data where there is none."""
    number = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
    return 7, end


def _traces(request: Any) -> Iterator[Item | None]:
    for resource in request.resource_spans:
        about = flatten(_Values().pairs(resource.resource.attributes))
        for scope in resource.scope_spans:
            for span in scope.spans:
                is_ours = speaks(pair.key for pair in span.attributes)
                is_ours = is_ours or any(event.name.startswith("gen_ai.") for event in span.events[:EVENTS])
                yield Item(_span(span), about, span.ByteSize()) if is_ours else None


def _logs(request: Any) -> Iterator[Item | None]:
    for resource in request.resource_logs:
        about = flatten(_Values().pairs(resource.resource.attributes))
        for scope in resource.scope_logs:
            found = []
            size = 0
            for record in scope.log_records:
                event = record.event_name or next(
                    (p.value.string_value for p in record.attributes if p.key == "event.name"), ""
                )
                if speaks((pair.key for pair in record.attributes), event):
                    found.append(_record(record))
                    size += record.ByteSize()
                else:
                    yield None
            for made in joined(found):
                yield Item(made, about, size // len(found))


class _Values:
    """AnyValues of one span as OTLP JSON spells them, as far as there is room."""

    def __init__(self) -> None:
        self.left = NODES
        self.cut = 0

    def pairs(self, given: Any, depth: int = 0) -> list[dict[str, Any]]:
        """A list of attributes."""
        rows = given[:ATTRIBUTES]
        self.cut += len(given) - len(rows)
        return [{"key": pair.key, "value": self.value(pair.value, depth)} for pair in rows]

    def value(self, given: Any, depth: int) -> dict[str, Any]:
        """One value."""
        self.left -= 1
        kind = given.WhichOneof("value")
        if self.left < 0 or depth > DEPTH:
            self.cut += 1
            return {"stringValue": ""}
        if kind == "array_value":
            return {"arrayValue": {"values": [self.value(one, depth + 1) for one in given.array_value.values[:NODES]]}}
        if kind == "kvlist_value":
            return {"kvlistValue": {"values": self.pairs(given.kvlist_value.values, depth + 1)}}
        if kind == "bytes_value":
            return {"bytesValue": base64.b64encode(given.bytes_value).decode()}
        name = SCALARS.get(kind or "")
        return {name: getattr(given, kind)} if name else {"stringValue": ""}


SCALARS = {
    "string_value": "stringValue",
    "bool_value": "boolValue",
    "int_value": "intValue",
    "double_value": "doubleValue",
}


def _span(span: Any) -> dict[str, Any]:
    values = _Values()
    attributes = values.pairs(span.attributes)
    events = [{"name": event.name, "attributes": values.pairs(event.attributes)} for event in span.events[:EVENTS]]
    cut = values.cut + span.dropped_attributes_count + max(0, len(span.events) - EVENTS)
    return {
        "traceId": span.trace_id.hex(),
        "spanId": span.span_id.hex(),
        "name": span.name,
        "startTimeUnixNano": span.start_time_unix_nano,
        "endTimeUnixNano": span.end_time_unix_nano,
        "attributes": attributes,
        "events": events,
        "status": {"code": span.status.code},
        "droppedAttributesCount": cut,
    }


def _record(record: Any) -> dict[str, Any]:
    values = _Values()
    return {
        "traceId": record.trace_id.hex(),
        "spanId": record.span_id.hex(),
        "timeUnixNano": record.time_unix_nano,
        "observedTimeUnixNano": record.observed_time_unix_nano,
        "eventName": record.event_name,
        "attributes": values.pairs(record.attributes),
        "body": values.value(record.body, 0),
        "droppedAttributesCount": values.cut + record.dropped_attributes_count,
    }
