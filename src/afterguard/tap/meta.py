"""Who, when, with which key: the columns around a recorded exchange, found by the names logs give them.

In: a decoded record. Out: keyword arguments for `model.Exchange`. Raw keys are never kept: what looks like one is hashed.
"""

from __future__ import annotations

import hashlib
from typing import Any

from afterguard.tap.when import when

ID = ("id", "request_id", "requestId", "exchange_id", "trace_id", "call_id", "event_id", "uuid")
TIME = (
    "time",
    "timestamp",
    "ts",
    "@timestamp",
    "created_at",
    "createdAt",
    "created",
    "start_time",
    "startTime",
    "date",
)
IDENTITY = ("user", "user_id", "userId", "end_user", "end_user_id", "username", "customer_id", "account")
KEY = ("key", "api_key_alias", "key_alias", "key_name", "api_key", "apiKey", "api_key_id", "key_id", "api_key_hash")
CONVERSATION = ("conversation_id", "conversation", "session_id", "session", "thread_id", "chat_id", "sessionId")
APP = ("app", "application", "service", "service_name", "app_name")
CLIENT = ("client_ip", "ip", "remote_addr", "requester_ip_address", "source_ip")


def word(record: dict[str, Any], names: tuple[str, ...]) -> str:
    """The first of these columns that holds a short scalar, as text."""
    for name in names:
        value = record.get(name)
        if isinstance(value, str) and value:
            return value[:300]
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 127:
            return str(value)
    return ""


def key_name(value: str) -> str:
    """A key's name as it is; a raw key (long, or of a key's prefix) as the first 12 hex digits of its SHA-256."""
    if len(value) > 24 or value.startswith(("sk-", "sk_", "AKIA", "Bearer ", "AIza", "gsk_", "hf_", "xai-", "r8_")):
        return "sha256:" + hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()[:12]
    return value


def columns(record: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments for Exchange: id, time, time_zone_known, identity, key, conversation, app, client."""
    out: dict[str, Any] = {}
    for name in TIME:
        if name in record:
            moment = when(record[name])
            if moment:
                out["time"], out["time_zone_known"] = moment
                break
    for field, names in FIELDS:
        value = word(record, names)
        if value:
            out[field] = value
    if "key" in out:
        out["key"] = key_name(out["key"])
    return out


FIELDS = (
    ("id", ID),
    ("identity", IDENTITY),
    ("key", KEY),
    ("conversation", CONVERSATION),
    ("app", APP),
    ("client", CLIENT),
)
