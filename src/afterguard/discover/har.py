"""HAR recordings -> assets: which AI hosts and interfaces a browser or test run called.

In: one entry as bytes. Out: counted into the tally; False when it does not parse. Bodies are looked at for the shape of a model
request only; nothing of them is kept but the model's name.
"""

from __future__ import annotations

import re
from typing import Any

from afterguard.discover import stamps
from afterguard.discover.events import Event, split_target
from afterguard.discover.fields import decode
from afterguard.discover.tally import Tally, matched
from afterguard.model import AssetKind, Edge

BODY = 4 << 20
MODEL = re.compile(r"\A[\w.:/@+-]{1,120}\Z")
REPLY_HEADERS = re.compile(
    r"\A(?:openai-(?:organization|processing-ms|version)|anthropic-ratelimit-|x-ratelimit-[a-z-]*tokens|x-groq-|x-litellm-|x-portkey-|helicone-|cf-aig-|x-amzn-bedrock-)"
)


def read(line: int, data: bytes, tally: Tally) -> bool:
    """One element of log.entries."""
    entry = decode(data)
    request = entry.get("request") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(request, dict) or not isinstance(request.get("url"), str):
        return False
    response = entry.get("response")
    response = response if isinstance(response, dict) else {}
    content = response.get("content")
    content = content if isinstance(content, dict) else {}
    stamp = stamps.read(str(entry.get("startedDateTime", ""))[:40])
    host, port, path = split_target(request["url"][:4096])
    event = Event(
        line, host, port, str(request.get("method", ""))[:12].upper(), path, stamp.seconds if stamp else None,
        bool(stamp and stamp.zoned), bool(stamp), _count(response.get("status")), _count(content.get("size")),
        0.0, "", _header(request, "user-agent"), str(content.get("mimeType", ""))[:100],
    )  # fmt: skip
    model = _asked(request)
    signs = sum(1 for name in _headers(response) if REPLY_HEADERS.match(name))
    if not tally.add(event) and (model is not None or signs >= 2):
        _behind(tally, event, model or "")
    elif model:
        tally.count(event, AssetKind.model, model, matched(event), host=host)
    return True


def _behind(tally: Tally, event: Event, model: str) -> None:
    """An address nobody knows that takes a model request or answers with a provider's headers: two marks."""
    name = f"{event.method} {matched(event).partition(' ')[2]}"
    entry = tally.count(event, AssetKind.ai_endpoint, name, matched(event), host=event.host)
    if model and entry is not None:
        entry.edges.setdefault(Edge("calls", AssetKind.model, model))
        tally.count(event, AssetKind.model, model, matched(event), host=event.host)


def _asked(request: dict[str, Any]) -> str | None:
    """The model a request body names beside messages, a prompt or an input; "" when shaped so without a name; else None."""
    posted = request.get("postData")
    text = posted.get("text") if isinstance(posted, dict) else None
    body = decode(text) if isinstance(text, str) and len(text) <= BODY else None
    if not isinstance(body, dict):
        return None
    asked = isinstance(body.get("messages"), list) or ("max_tokens" in body and ("prompt" in body or "input" in body))
    model = body.get("model")
    if not asked and not ("input" in body and isinstance(model, str)):
        return None
    if isinstance(body.get("messages"), list) and not any(
        isinstance(one, dict) and "role" in one for one in body["messages"][:5]
    ):
        return None
    return model if isinstance(model, str) and MODEL.match(model) else ""


def _headers(part: dict[str, Any]) -> list[str]:
    rows = part.get("headers")
    return (
        [str(one.get("name", "")).lower() for one in rows[:200] if isinstance(one, dict)]
        if isinstance(rows, list)
        else []
    )


def _header(part: dict[str, Any], name: str) -> str:
    rows = part.get("headers")
    for one in rows[:200] if isinstance(rows, list) else []:
        if isinstance(one, dict) and str(one.get("name", "")).lower() == name:
            return str(one.get("value", ""))[:400]
    return ""


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 50 else 0
