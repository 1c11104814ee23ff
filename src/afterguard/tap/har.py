"""HAR captures of a browser or proxy -> Exchanges of the calls that went to an AI.

In: a decoded HAR, or one entry of it. Out: Exchanges; entries that hold no AI call come as None, to be counted: a HAR is mostly
pictures and scripts. It decides by the bodies' shape, not by a list of hosts.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from afterguard.model import Exchange
from afterguard.tap import bodies
from afterguard.tap.meta import key_name
from afterguard.tap.record import Found, Place, build
from afterguard.tap.when import when
from afterguard.wire.parts import Parts, text_of

BODY_CAP = 32 << 20


def shape(record: dict[str, Any], place: Place) -> Found | None:
    """The exchanges of a HAR document or entry, None where the record is neither."""
    log = record.get("log")
    if isinstance(log, dict) and isinstance(log.get("entries"), list):
        return _all(log["entries"], place)
    if (
        isinstance(record.get("request"), dict)
        and isinstance(record.get("response"), dict)
        and "startedDateTime" in record
    ):
        return _all([record], place)
    return None


def _all(entries: list[Any], place: Place) -> Found:
    for index, entry in enumerate(entries):
        if isinstance(entry, dict):
            found = exchange(
                entry,
                place._replace(size=place.size // len(entries), part=index + 1 if len(entries) > 1 else place.part),
            )
            yield found


def exchange(entry: dict[str, Any], place: Place) -> Exchange | None:
    """The Exchange of one entry, None where it is no AI call."""
    request, response = _dict(entry.get("request")), _dict(entry.get("response"))
    sent, got = _dict(request.get("postData")).get("text"), _content(_dict(response.get("content")))
    if not isinstance(sent, str) or request.get("method") == "GET":
        return None
    parts = Parts()
    body = bodies.unwrap(sent)
    asked = bodies.ask(body, parts, "request.postData") if isinstance(body, dict) else ""
    if asked not in PROTOCOLS:
        return None
    replied = bodies.reply(got, parts, "response.content")
    if not replied:
        parts.skip("response_not_logged", "response.content")
    known: dict[str, Any] = {"address": text_of(request.get("url")).split("?")[0][:300]}
    moment = when(entry.get("startedDateTime"))
    if moment:
        known["time"], known["time_zone_known"] = moment
    if isinstance(response.get("status"), int):
        known["status"] = response["status"]
    key = _key(request.get("headers"))
    if key:
        known["key"] = key
    return build(parts, known, "har", place)


PROTOCOLS = {"openai", "anthropic", "gemini", "bedrock", "messages"}


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _content(content: dict[str, Any]) -> Any:
    text = content.get("text")
    if content.get("encoding") == "base64" and isinstance(text, str) and len(text) <= BODY_CAP:
        try:
            return base64.b64decode(text).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            return None
    return text


def _key(headers: Any) -> str:
    for header in headers[:200] if isinstance(headers, list) else ():
        if isinstance(header, dict) and text_of(header.get("name")).lower() in (
            "authorization",
            "x-api-key",
            "api-key",
            "x-goog-api-key",
        ):
            value = text_of(header.get("value"))
            return key_name("Bearer " + value.removeprefix("Bearer ")) if value else ""
    return ""
