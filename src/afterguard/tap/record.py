"""One decoded record of a log -> one Exchange, whatever its shape.

In: decoded JSON. Out: an Exchange; a record of no known shape becomes one of protocol "unknown" with the reason in
`unjudged`, so that nothing is lost silently.
"""

from __future__ import annotations

from typing import Any

from afterguard.model import Exchange, Unjudged
from afterguard.tap.meta import columns
from afterguard.wire import openai
from afterguard.wire.parts import Parts


def unknown(source: str, line: int, reason: str, size: int = 0, **known: Any) -> Exchange:
    """A record that exists but cannot be read."""
    known.setdefault("id", f"{source}:{line}")
    return Exchange(
        source=source, line=line, protocol="unknown", unjudged=(Unjudged(reason, "", size),), bytes=size, **known
    )


def exchange(record: Any, source: str, line: int, size: int) -> Exchange:
    """The Exchange of one record of `size` bytes at a 1-based line."""
    parts = Parts()
    known: dict[str, Any] = {}
    protocol = ""
    if isinstance(record, list):
        protocol = "messages" if openai.messages(record, parts, "") else ""
    elif isinstance(record, dict):
        known = columns(record)
        if "request" in record or "response" in record:
            asked = openai.request(record.get("request"), parts)
            replied = openai.response(record.get("response"), parts)
            protocol = "openai" if asked or replied else ""
        elif "messages" in record:
            protocol = "messages" if openai.messages(record["messages"], parts) else ""
    if not protocol:
        return unknown(source, line, "unknown_shape", size, **known)
    known.setdefault("id", f"{source}:{line}")
    return Exchange(
        source=source,
        line=line,
        protocol=protocol,
        model=parts.model,
        texts=tuple(parts.texts),
        calls=tuple(parts.calls),
        tools=tuple(parts.tools),
        unjudged=tuple(parts.unjudged),
        input_tokens=parts.input_tokens,
        output_tokens=parts.output_tokens,
        bytes=size,
        **known,
    )
