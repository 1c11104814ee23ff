"""OpenTelemetry traces of AI calls -> Exchanges: OTLP JSON, single spans, and the attribute dialects in use.

In: a decoded OTLP batch, span or log record. Out: Exchanges of the spans that speak of a model or a tool; others come as
None, to be counted. Look-back reads exports with it, and the guard what is sent to it (otlp.py). Dialects: GenAI semantic conventions old (gen_ai.prompt.N.*, events) and new (gen_ai.input.messages),
OpenInference (llm.input_messages.N.*), OpenLLMetry (traceloop.*).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from afterguard.model import Exchange
from afterguard.tap import bodies
from afterguard.tap.meta import columns
from afterguard.tap.record import Found, Place, build
from afterguard.tap.when import When, when
from afterguard.wire import blocks, openai
from afterguard.wire.parts import Parts, count_of, text_of

PREFIXES = ("gen_ai.", "llm.", "traceloop.", "openinference.", "ai.prompt", "ai.response")
DEPTH = 6
EVENTS = 2_000
"""Of one span."""


def shape(record: dict[str, Any], place: Place) -> Found | None:
    """The exchanges of an OTLP batch or span, None for any other record."""
    for name in ("resourceSpans", "resource_spans", "resourceLogs", "resource_logs"):
        if isinstance(record.get(name), list):
            return _batch(record[name], place)
    for name in ("scopeSpans", "scope_spans", "scopeLogs", "instrumentationLibrarySpans"):
        if isinstance(record.get(name), list):
            return _batch([record], place)
    given = record.get("attributes")
    if isinstance(given, (dict, list)) and record.keys() & {
        "traceId",
        "trace_id",
        "spanId",
        "span_id",
        "context",
        "start_time",
        "startTimeUnixNano",
    }:
        attributes = flatten(given)
        return _some(exchange(record, attributes, {}, place)) if speaks(attributes) else None
    return None


def _some(found: Exchange | None) -> Found:
    yield found


def _batch(resources: list[Any], place: Place) -> Found:
    for number, (span, about) in enumerate(spans(resources), 1):
        yield of(span, about, place._replace(part=number))


def spans(resources: list[Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """(span or log record, attributes of its resource) of a batch."""
    for resource in resources:
        inner = resource.get("resource") if isinstance(resource, dict) else None
        about = flatten(inner.get("attributes")) if isinstance(inner, dict) else {}
        yield from ((span, about) for span in _spans(resource))


def of(span: dict[str, Any], about: dict[str, Any], place: Place) -> Exchange | None:
    """The Exchange of a span or log record, None where it speaks of no AI."""
    attributes = flatten(span.get("attributes"))
    return exchange(span, attributes, about, place) if tells(span, attributes) else None


def tells(record: dict[str, Any], attributes: dict[str, Any]) -> bool:
    """Whether a span or log record, or an event in it, tells of a model or a tool."""
    events = record.get("events")
    return speaks(attributes, event_of(record, attributes)) or any(
        isinstance(one, dict) and text_of(one.get("name")).startswith("gen_ai.")
        for one in (events[:EVENTS] if isinstance(events, list) else ())
    )


def _spans(resource: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(resource, dict):
        return
    for outer, inner in (
        ("scopeSpans", "spans"),
        ("scope_spans", "spans"),
        ("instrumentationLibrarySpans", "spans"),
        ("scopeLogs", "logRecords"),
        ("scope_logs", "log_records"),
    ):
        scopes = resource.get(outer)
        for scope in scopes if isinstance(scopes, list) else ():
            found = scope.get(inner) if isinstance(scope, dict) else None
            rows = (row for row in found if isinstance(row, dict)) if isinstance(found, list) else iter(())
            yield from joined(rows) if inner != "spans" else rows


def joined(records: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Log records, those that are the messages of one call as one record: each was logged by itself, and judged by itself none has a context."""
    held: dict[tuple[str, str], dict[str, Any]] = {}
    for record in records:
        attributes = flatten(record.get("attributes"))
        name = event_of(record, attributes)
        key = (text_of(record.get("traceId") or record.get("trace_id")), _span_id(record))
        if not _is_message(name) or not key[1]:
            yield record
            continue
        kept = {k: v for k, v in record.items() if k not in ("body", "eventName", "event_name")}
        first = held.setdefault(key, {**kept, "attributes": _without_event(attributes), "events": []})
        first["events"].append({"name": name, "attributes": attributes, "body": plain(record.get("body"))})
    yield from held.values()


def _without_event(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if name != "event.name"}


def _span_id(record: dict[str, Any]) -> str:
    return text_of(record.get("spanId") or record.get("span_id"))


def event_of(record: dict[str, Any], attributes: dict[str, Any]) -> str:
    """What kind of event a log record is; where the name stands has changed."""
    return text_of(record.get("eventName") or record.get("event_name") or attributes.get("event.name"))


def _is_message(event: str) -> bool:
    return event == "gen_ai.choice" or (event.startswith("gen_ai.") and event.endswith(".message"))


def plain(value: Any, depth: int = 0) -> Any:
    """An OTLP AnyValue as a plain value."""
    if not isinstance(value, dict) or depth > DEPTH:
        return value
    for name in ("stringValue", "string_value", "boolValue", "doubleValue", "bytesValue"):
        if name in value:
            return value[name]
    for name in ("intValue", "int_value"):
        if name in value:
            inner = value[name]
            return int(inner) if isinstance(inner, str) and inner.lstrip("-").isdecimal() and len(inner) < 20 else inner
    if isinstance(value.get("arrayValue"), dict):
        found = value["arrayValue"].get("values")
        return [plain(item, depth + 1) for item in found] if isinstance(found, list) else []
    if isinstance(value.get("kvlistValue"), dict):
        return flatten(value["kvlistValue"].get("values"), depth + 1)
    return value


def flatten(attributes: Any, depth: int = 0) -> dict[str, Any]:
    """Attributes as one flat object, from OTLP's list of pairs or from nested objects."""
    out: dict[str, Any] = {}
    if isinstance(attributes, list):
        for item in attributes:
            if isinstance(item, dict) and isinstance(item.get("key"), str):
                out[item["key"]] = plain(item.get("value"), depth)
    elif isinstance(attributes, dict):
        _dotted(attributes, "", out, 0)
    return out


def _dotted(value: dict[str, Any], prefix: str, out: dict[str, Any], depth: int) -> None:
    for key, inner in value.items():
        name = prefix + key
        if isinstance(inner, dict) and depth < DEPTH and not name.endswith((".messages", ".arguments", ".result")):
            found = plain(inner)
            if found is not inner:
                out[name] = found
            else:
                _dotted(inner, name + ".", out, depth + 1)
        elif len(out) < 20_000:
            out[name] = inner


def speaks(attributes: Iterable[str], event: str = "") -> bool:
    """Whether these names of attributes, or the name of the event, tell of a model or a tool."""
    return event.startswith("gen_ai.") or any(name.startswith(PREFIXES) for name in attributes)


def exchange(span: dict[str, Any], attributes: dict[str, Any], about: dict[str, Any], place: Place) -> Exchange | None:
    """The Exchange of one AI span; a span with usage but no words is one whose prompt was not logged."""
    parts = Parts()
    _events(span, attributes)
    seen = _messages(attributes, parts)
    seen = _numbered(attributes, parts) or seen
    seen = _tool(attributes, parts) or seen
    seen = _values(attributes, parts, seen) or seen
    kind = text_of(attributes.get("gen_ai.operation.name")) or text_of(attributes.get("openinference.span.kind"))
    is_call = any(name in attributes for name in (*MODELS, "gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"))
    if not seen:
        if not is_call or kind in ("invoke_agent", "AGENT", "CHAIN"):
            return None
        parts.skip("prompt_not_logged", text_of(span.get("name"))[:100], place.size)
    dropped = span.get("droppedAttributesCount") or span.get("dropped_attributes_count")
    if dropped:
        parts.skip("truncated", f"{dropped} attributes"[:60])
    return build(parts, _known(span, attributes, about), "otel", place)


MODELS = ("gen_ai.response.model", "gen_ai.request.model", "llm.model_name", "embedding.model_name", "ai.model.id")


def _known(span: dict[str, Any], attributes: dict[str, Any], about: dict[str, Any]) -> dict[str, Any]:
    context = span.get("context")
    context = context if isinstance(context, dict) else {}
    trace = text_of(span.get("traceId") or span.get("trace_id") or context.get("trace_id"))
    identifier = text_of(span.get("id") or span.get("spanId") or span.get("span_id") or context.get("span_id"))
    found = {
        "id": identifier,
        "conversation": _pick(
            attributes,
            "gen_ai.conversation.id",
            "session.id",
            "traceloop.association.properties.session_id",
            "langfuse.session.id",
        )
        or trace,
        "identity": _pick(
            attributes,
            "user.id",
            "enduser.id",
            "gen_ai.user.id",
            "traceloop.association.properties.user_id",
            "langfuse.user.id",
            "llm.user",
            "gen_ai.request.user",
        ),
        "model": _pick(attributes, *MODELS),
        "provider": _pick(attributes, "gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system"),
        "address": _pick(attributes, "server.address", "url.full"),
        "app": _pick(about, "service.name") or _pick(attributes, "service.name"),
        "client": _pick(attributes, "client.address"),
    }
    known: dict[str, Any] = {name: value[:300] for name, value in found.items() if value}
    for field, names in (
        ("input_tokens", ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt")),
        (
            "output_tokens",
            ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion"),
        ),
    ):
        count = next((n for name in names if (n := count_of(attributes.get(name))) is not None), None)
        if count is not None:
            known[field] = count
    moment = _moment(span)
    if moment:
        known["time"], known["time_zone_known"] = moment
    return {**columns({"metadata": _association(attributes)}), **known}


def _association(attributes: dict[str, Any]) -> dict[str, Any]:
    prefix = "traceloop.association.properties."
    return {name.removeprefix(prefix): value for name, value in attributes.items() if name.startswith(prefix)}


def _moment(span: dict[str, Any]) -> When | None:
    for name in (
        "startTimeUnixNano",
        "start_time_unix_nano",
        "start_time",
        "startTime",
        "timeUnixNano",
        "observedTimeUnixNano",
        "timestamp",
    ):
        found = when(span.get(name))
        if found:
            return found
    return None


def _pick(attributes: dict[str, Any], *names: str) -> str:
    for name in names:
        value = attributes.get(name)
        if value and isinstance(value, (str, int)):
            return str(value)[:300]
    return ""


def _events(span: dict[str, Any], attributes: dict[str, Any]) -> None:
    """Older conventions put the words into span events; their attributes join the span's."""
    events = span.get("events")
    said: list[dict[str, Any]] = []
    for event in events[:EVENTS] if isinstance(events, list) else ():
        if not isinstance(event, dict):
            continue
        inner = flatten(event.get("attributes"))
        name = text_of(event.get("name"))
        if name.startswith("gen_ai.") and name.endswith(".message"):
            body = bodies.unwrap(event.get("body"))
            role = name.split(".")[1]
            said.append(
                {
                    "role": role,
                    "content": inner.get("content"),
                    "tool_calls": bodies.unwrap(inner.get("tool_calls")),
                    **(body if isinstance(body, dict) else {}),
                }
            )
        elif name == "gen_ai.choice":
            found = bodies.unwrap(inner.get("message") or event.get("body"))
            found = found.get("message", found) if isinstance(found, dict) else {"content": found}
            said.append(
                {"role": "assistant", **found} if isinstance(found, dict) else {"role": "assistant", "content": found}
            )
        else:
            attributes.update(
                (key, value) for key, value in inner.items() if key.startswith("gen_ai.") and key not in attributes
            )
    if said:
        attributes.setdefault("gen_ai.event.messages", said)
    body = bodies.unwrap(plain(span.get("body")))
    event = event_of(span, attributes)
    if isinstance(body, dict) and _is_message(event):
        role = event.split(".")[1]
        spoken = body.get("message")
        inner = spoken if isinstance(spoken, dict) else body
        attributes["gen_ai.event.messages"] = [{"role": "assistant" if role == "choice" else role, **inner}]


LISTS = (
    ("gen_ai.system_instructions", "system"), ("gen_ai.input.messages", ""), ("ai.prompt.messages", ""), ("gen_ai.event.messages", ""),
    ("gen_ai.prompt", ""), ("gen_ai.output.messages", "assistant"), ("gen_ai.completion", "assistant"), ("ai.response.text", "assistant"),
    ("ai.response.toolCalls", "calls"),
)  # fmt: skip


def _messages(attributes: dict[str, Any], parts: Parts) -> bool:
    seen = False
    for name, role in LISTS:
        value = bodies.unwrap(attributes.get(name))
        if not value:
            continue
        seen = True
        if role == "system":
            blocks.content(value, blocks.SYSTEM, parts, name)
        elif isinstance(value, list) and role == "calls":
            blocks.message({"role": "assistant", "tool_calls": value}, parts, name)
        elif role == "assistant":
            bodies.reply(value, parts, name)
        else:
            bodies.ask(value, parts, name)
    tools = bodies.unwrap(attributes.get("gen_ai.tool.definitions"))
    openai.tools(tools, parts)
    return seen


def _numbered(attributes: dict[str, Any], parts: Parts) -> bool:
    """gen_ai.prompt.0.content and llm.input_messages.0.message.content: lists spelled out in attribute names."""
    seen = False
    for prefix, role in (
        ("gen_ai.prompt.", "user"),
        ("llm.input_messages.", "user"),
        ("gen_ai.completion.", "assistant"),
        ("llm.output_messages.", "assistant"),
    ):
        found: dict[int, dict[str, Any]] = {}
        for name, value in attributes.items():
            if name.startswith(prefix):
                number, _, rest = name[len(prefix) :].partition(".")
                if number.isdecimal() and len(number) < 6:
                    found.setdefault(int(number), {})[rest.removeprefix("message.")] = value
        for index in sorted(found):
            parts.turn += 1
            seen = blocks.message(_message(found[index], role), parts, f"{prefix}{index}") or seen
    return seen


def _message(fields: dict[str, Any], role: str) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": fields.get("role", role),
        "content": fields.get("content"),
        "name": fields.get("name"),
        "tool_call_id": fields.get("tool_call_id"),
    }
    calls: dict[str, dict[str, Any]] = {}
    pieces: dict[str, str] = {}
    for name, value in fields.items():
        words = name.split(".")
        if words[0] == "tool_calls" and len(words) > 2:
            key = (
                "arguments"
                if words[-1] == "arguments"
                else "name"
                if words[-1] == "name"
                else "id"
                if words[-1] == "id"
                else ""
            )
            if key:
                calls.setdefault(words[1], {})[key] = value
        elif words[0] == "contents" and words[-1] == "text" and isinstance(value, str):
            pieces[words[1]] = value
    content = bodies.unwrap(message["content"])
    if isinstance(content, list) and content and isinstance(content[0], dict):
        message["content"] = content
    if pieces and not message["content"]:
        message["content"] = [{"type": "text", "text": value} for _, value in sorted(pieces.items())]
    message["tool_calls"] = list(calls.values())
    return message


def _tool(attributes: dict[str, Any], parts: Parts) -> bool:
    """A span in which a tool ran."""
    name = _pick(attributes, "gen_ai.tool.name", "tool.name", "ai.toolCall.name")
    given = next(
        (
            attributes[key]
            for key in ("gen_ai.tool.call.arguments", "tool.parameters", "ai.toolCall.args")
            if attributes.get(key)
        ),
        None,
    )
    result = next(
        (attributes[key] for key in ("gen_ai.tool.call.result", "ai.toolCall.result") if attributes.get(key)), None
    )
    if not name or (given is None and result is None):
        return False
    parts.turn += 1
    parts.call(name, given, _pick(attributes, "gen_ai.tool.call.id"))
    parts.turn += 1
    blocks.result(result, parts, "gen_ai.tool.call.result", name)
    return True


def _values(attributes: dict[str, Any], parts: Parts, seen: bool) -> bool:
    """OpenInference's and traceloop's whole input and output, where no message list was given."""
    kind = text_of(attributes.get("openinference.span.kind")).upper()
    documents = [
        value
        for name, value in attributes.items()
        if name.startswith("retrieval.documents.") and name.endswith(".document.content")
    ]
    for value in documents[:2000]:
        parts.text(text_of(value), *blocks.DOCUMENT, "retrieval.documents")
    if (
        seen
        or kind in ("CHAIN", "AGENT")
        or text_of(attributes.get("traceloop.span.kind")) in ("workflow", "agent", "task")
    ):
        return bool(documents)
    given = attributes.get("input.value") or attributes.get("traceloop.entity.input")
    made = attributes.get("output.value") or attributes.get("traceloop.entity.output")
    asked = bodies.ask(given, parts, "input.value") if given else ""
    replied = bodies.reply(made, parts, "output.value") if made else ""
    return bool(asked or replied or documents)
