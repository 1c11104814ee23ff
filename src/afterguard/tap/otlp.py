"""What an OTLP exporter sends -> spans and log records that speak of AI, in the shape that otel.py reads.

In: the unpacked body of an export request, protobuf or JSON. Out: `Item`s, and None for each span of something else, so that it can be counted. What is too much of one span (attributes, depth)
is left away and said in it. It keeps nothing and opens nothing.

Protobuf is read with the stubs of the package opentelemetry-proto; without it only JSON is taken.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from afterguard.tap.otel import EVENTS, PREFIXES, flatten, joined, spans, speaks, tells
from afterguard.wire import strict

SPANS = 20_000
"""Spans or log records of one request."""
ATTRIBUTES = 1_000
"""Of one span or log record."""
DEPTH = 24
"""Levels of lists and objects inside one attribute."""
NODES = 50_000
"""Values inside the attributes of one span."""
BRACKETS = 400_000
"""Lists and objects of a JSON request: an empty one takes three bytes there and sixty here."""
What = Literal["traces", "logs"]


class Unreadable(ValueError):
    """Why a request cannot be read, as a sentence for its sender."""


SPAN = 2 << 20
"""Bytes of one span or log record that is decoded."""
ABOUT = 64 << 10
"""Bytes of the attributes of a resource."""
FIELDS = 100_000
"""Fields of one message on the way down to the spans."""


class TooMany(Unreadable):
    """More spans or records than are taken at once."""


class Item(NamedTuple):
    """A span or log record that speaks of AI."""

    record: dict[str, Any]
    about: dict[str, Any]
    """Attributes of its resource."""
    size: int
    """Bytes it took in the request, about."""
    problem: str = ""
    """Why it was not read, a reason of model.Unjudged; then there is no record."""


def read(body: bytes, what: What, is_json: bool) -> Iterator[Item | None]:
    """Items, one by one. Raises Unreadable, before the first item."""
    return _json(body, what) if is_json else _protobuf(body, what)


# JSON.


def _json(body: bytes, what: What) -> Iterator[Item | None]:
    if body.count(b"{") + body.count(b"[") > BRACKETS:
        raise TooMany(f"more than {BRACKETS} lists and objects in one request: export smaller batches")
    value, problems = strict.decode(body)
    name = "resourceSpans" if what == "traces" else "resourceLogs"
    if not isinstance(value, dict):
        raise Unreadable(f"the body is no JSON object ({', '.join(problems) or 'another value'})")
    if "too_deep" in problems or "duplicate_keys" in problems:
        raise Unreadable(f"the body can be read in two ways ({', '.join(problems)})")
    resources = value.get(name, [])
    if not isinstance(resources, list):
        raise Unreadable(f"{name} is no list")
    many = _count(resources)
    if many > SPANS:
        raise TooMany(f"more than {SPANS} in one request: export smaller batches")
    return _of_json(resources, len(body) // max(1, many))


def _of_json(resources: list[Any], share: int) -> Iterator[Item | None]:
    for record, about in spans(resources):
        attributes = record.get("attributes")
        if isinstance(attributes, (list, dict)) and len(attributes) > ATTRIBUTES:
            kept = attributes[:ATTRIBUTES] if isinstance(attributes, list) else {}
            record = {**record, "attributes": kept, "droppedAttributesCount": len(attributes) - len(kept)}
        yield Item(record, about, share) if tells(record, flatten(record.get("attributes"))) else None


def _count(resources: list[Any]) -> int:
    """Spans, log records, scopes and resources, as far as that is not too many."""
    total = len(resources)
    for resource in resources if total <= SPANS else ():
        for name in SCOPES:
            found = resource.get(name) if isinstance(resource, dict) else None
            scopes = found if isinstance(found, list) else []
            total += len(scopes)
            for one in scopes if total <= SPANS else ():
                rows = (one.get(name) for name in ROWS) if isinstance(one, dict) else ()
                total += sum(len(row) for row in rows if isinstance(row, list))
    return total


SCOPES = ("scopeSpans", "scope_spans", "instrumentationLibrarySpans", "scopeLogs", "scope_logs")
ROWS = ("spans", "logRecords", "log_records")


# Protobuf. The request is walked byte by byte down to its spans, and only a span that may speak of AI is decoded, by itself: an empty value takes two bytes there and fifty here, and nobody should have
# to hold eight megabytes of them decoded.


def _protobuf(body: bytes, what: What) -> Iterator[Item | None]:
    try:
        from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
        from opentelemetry.proto.resource.v1.resource_pb2 import Resource
        from opentelemetry.proto.trace.v1.trace_pb2 import Span
    except ImportError:
        raise Unreadable(
            "protobuf is not read here: install afterguard[otlp], or send JSON (OTEL_EXPORTER_OTLP_PROTOCOL=http/json)"
        ) from None
    found = list(_scopes(body))
    if what == "traces":
        return _traces(body, found, Span, Resource)
    return _logs(body, found, LogRecord, Resource)


class Scope(NamedTuple):
    """The spans or log records of one scope: where each lies in the request, and its resource."""

    resource: tuple[int, int]
    rows: list[tuple[int, int]]


def _scopes(body: bytes) -> Iterator[Scope]:
    """Every scope. Raises TooMany, Unreadable. Traces and logs keep these in fields of the same numbers."""
    total = 0
    for start, end in _inside(body, 0, len(body), 1):
        resource = next(_inside(body, start, end, 1), (0, 0))
        for scope in _inside(body, start, end, 2):
            rows = []
            total += 1
            for row in _inside(body, *scope, 2):
                rows.append(row)
                total += 1
                if total > SPANS:
                    raise TooMany(f"more than {SPANS} in one request: export smaller batches")
            yield Scope(resource, rows)


def _inside(data: bytes, at: int, end: int, wanted: int) -> Iterator[tuple[int, int]]:
    """(start, end) of each message in this field. Raises Unreadable for what is no message, or has more fields than a request may."""
    for _ in range(FIELDS):
        if at >= end:
            return
        tag, at = _varint(data, at, end)
        kind = tag & 7
        size = 0
        if kind in (0, 2):
            size, at = _varint(data, at, end)
        if kind == 2:
            if tag >> 3 == wanted and at + size <= end:
                yield at, at + size
            at += size
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        elif kind != 0:
            break
        if at > end:
            break
    raise Unreadable("the body is no export request, or a broken one")


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """(number, where it ends). Raises Unreadable."""
    number = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
    raise Unreadable("the body is no export request, or a broken one")


def _decoded(kind: Any, data: bytes, *, is_about: bool = False) -> Any:
    """One message by its stub, None where it is broken."""
    from google.protobuf.message import DecodeError

    if is_about and len(data) > ABOUT:
        return None
    try:
        return kind.FromString(data)
    except (DecodeError, RuntimeError, ValueError):
        return None


def _about(body: bytes, scope: Scope, kind: Any) -> dict[str, Any]:
    found = _decoded(kind, body[slice(*scope.resource)], is_about=True)
    return flatten(_Values().pairs(found.attributes)) if found is not None else {}


def _traces(body: bytes, scopes: list[Scope], kind: Any, resource: Any) -> Iterator[Item | None]:
    for scope in scopes:
        about = _about(body, scope, resource)
        for start, end in scope.rows:
            data = body[start:end]
            yield _of_span(data, about, kind) if _may_speak(data) else None


def _of_span(data: bytes, about: dict[str, Any], kind: Any) -> Item | None:
    if len(data) > SPAN:
        return Item({}, about, len(data), "too_long")
    span = _decoded(kind, data)
    if span is None:
        return Item({}, about, len(data), "bad_encoding")
    is_ours = speaks(pair.key for pair in span.attributes[:ATTRIBUTES])
    is_ours = is_ours or any(event.name.startswith("gen_ai.") for event in span.events[:EVENTS])
    return Item(_span(span), about, len(data)) if is_ours else None


def _logs(body: bytes, scopes: list[Scope], kind: Any, resource: Any) -> Iterator[Item | None]:
    for scope in scopes:
        about = _about(body, scope, resource)
        found = []
        size = 0
        for start, end in scope.rows:
            data = body[start:end]
            record = _decoded(kind, data) if _may_speak(data) and len(data) <= SPAN else None
            if record is not None and _is_ours(record):
                found.append(_record(record))
                size += len(data)
            else:
                yield Item({}, about, len(data), "too_long") if len(data) > SPAN and _may_speak(data) else None
        for made in joined(found):
            yield Item(made, about, size // len(found))


def _is_ours(record: Any) -> bool:
    pairs = record.attributes[:ATTRIBUTES]
    event = record.event_name or next((pair.value.string_value for pair in pairs if pair.key == "event.name"), "")
    return speaks((pair.key for pair in pairs), event)


def _may_speak(data: bytes) -> bool:
    """Whether one of the names stands anywhere in it: cheap, and decides which spans are decoded at all."""
    return any(name in data for name in NAMES)


NAMES = tuple(name.encode() for name in PREFIXES)


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
