"""Who, when, with which key: the columns around a recorded exchange, found by the names logs give them.

In: a decoded record. Out: keyword arguments for `model.Exchange`. Raw keys are never kept: what looks like one is hashed. The names
are data in catalog/signals/columns.yaml.
"""

from __future__ import annotations

import hashlib
import math
import re
from typing import Any

from afterguard.tap.when import when
from afterguard.wire.parts import count_of
from afterguard.wire.predict import names, ranked

FIELDS = {
    "id": "id", "caller": "identity", "key": "key", "conversation": "conversation", "app": "app", "client": "client",
    "model": "model", "provider": "provider", "address": "address",
}  # fmt: skip
RAW_KEY = re.compile(
    r"(?:sk|pk|rk|gsk|xai|hf|r8|pplx|nvapi|AIza|AKIA|ASIA|Bearer|Basic|ya29|eyJ|ghp|glpat)[-_. A-Z0-9a-z]"
)
DENSE_KEY = re.compile(r"(?=.*\d)(?=.*[A-Za-z])(?![0-9a-f]{64}$)[A-Za-z0-9+/=]{16,}")
"""Letters and digits without a break: more likely a key than its name."""
DEPTH = 2


def key_name(value: str) -> str:
    """A key's name as it is; what may be a raw key as the first 12 hex digits of its SHA-256."""
    if (
        RAW_KEY.match(value)
        or DENSE_KEY.fullmatch(value)
        or (len(value) > 24 and not re.fullmatch(r"[0-9a-f]{64}", value))
    ):
        return "sha256:" + hashlib.sha256(value.removeprefix("Bearer ").encode("utf-8", "replace")).hexdigest()[:12]
    return "sha256:" + value[:12] if len(value) == 64 else value


def word(value: Any) -> str:
    """A short scalar as text, "" for anything else."""
    if isinstance(value, str):
        return value[:300]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return ""
    if isinstance(value, float):
        return (
            str(int(value)) if value.is_integer() and abs(value) < 1e15 else str(value) if math.isfinite(value) else ""
        )
    return str(value) if abs(value) < 1 << 127 else ""


def columns(record: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments for Exchange: id time time_zone_known identity key conversation app client model provider address
    cost status input_tokens output_tokens, as far as the record has them."""
    out: dict[str, Any] = {}
    _gather(record, out, 0)
    return out


def _gather(record: dict[str, Any], out: dict[str, Any], depth: int) -> None:
    best: dict[str, tuple[int, Any]] = {}
    for name, value in record.items():
        if value is None or value == "" or isinstance(value, (list, dict)):
            continue
        role, rank = ranked(name)
        if role and (role not in best or rank < best[role][0]):
            best[role] = (rank, value)
            if role == "time" and when(value) is None:
                del best[role]
    for role, (_, value) in best.items():
        assign(out, role, value)
    inside = names("nested")
    if depth < DEPTH and not inside.keys().isdisjoint(record):
        for name in inside:
            inner = record.get(name)
            if isinstance(inner, dict):
                _gather(_renamed(name, inner), out, depth + 1)


def _renamed(name: str, inner: dict[str, Any]) -> dict[str, Any]:
    """{"user": {"id": 7}} is a user's id; other nested ids are not the exchange's."""
    if name in ("user", "identity"):
        found = next((inner[key] for key in ("id", "user_id", "name", "email", "arn") if inner.get(key)), None)
        return {"user_id": found} if found else {}
    return {key: value for key, value in inner.items() if ranked(key)[0] not in ("id", "time", "status")}


def assign(out: dict[str, Any], role: str, value: Any) -> None:
    """Put a column's value under the name that Exchange has for it; the first one given wins, a raw key is hashed."""
    if role == "time":
        moment = when(value)
        if moment and "time" not in out:
            out["time"], out["time_zone_known"] = moment
    elif role in ("input_tokens", "output_tokens"):
        count = count_of(value)
        if count is not None:
            out.setdefault(role, count)
    elif role == "cost":
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e12:
            out.setdefault("cost", float(value))
    elif role == "status":
        code = (
            value
            if isinstance(value, int)
            else int(value)
            if isinstance(value, str) and re.fullmatch(r"[1-5]\d\d", value)
            else 0
        )
        if 100 <= code <= 599:
            out.setdefault("status", int(code))
    elif role in FIELDS:
        text = word(value)
        if text:
            out.setdefault(FIELDS[role], key_name(text) if role == "key" else text)
