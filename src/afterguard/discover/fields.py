"""Log lines with named fields -> Event: JSON objects of any logger, and tables with a header (Zeek, W3C extended, CSV).

In: names with values as text. Out: an Event, or None when neither a destination nor a request can be told. Names differ between
servers, so each part of an Event is looked up under every name that loggers use for it; the catalog of names is in
signals/log_fields.yaml.
"""

from __future__ import annotations

import csv
import re
from functools import cache
from typing import Any

import msgspec

from afterguard.catalog import load
from afterguard.discover import stamps
from afterguard.discover.events import Event, host_of, number, split_target

DEPTH = 6
FIELDS = 400
TEXT = 4096
CHAT = {
    "messages",
    "choices",
    "completion",
    "prompt",
    "prompts",
    "resourcespans",
    "input_tokens",
    "standard_logging_object",
}
ANSWERS = {
    "response",
    "answer",
    "output",
    "reply",
    "completion",
    "generation",
    "decision",
    "prediction",
    "score",
    "label",
    "probability",
    "features",
}
"""Names of answers of a model: with plain text or a number in them, a record is a conversation or a prediction, not traffic."""
PAIR = re.compile(r"""(?:\A|[\s|,;>])([A-Za-z_][\w.-]{0,40})=(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([^\s,;|]*))""")
PREFIX_TIME = re.compile(
    r"\A(?:<\d{1,3}>\d? ?)?(\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}\S*|[A-Z][a-z]{2} +\d{1,2} \d{2}:\d{2}:\d{2})"
)
REQUEST = re.compile(r"\A\"?([A-Z]{3,12}) (\S+)(?: HTTP\S*)?")
UNITS = {"ms": 1e3, "us": 1e6, "ns": 1e9}
csv.field_size_limit(1 << 20)


def flatten(value: Any) -> dict[str, str]:
    """Dotted lower-case names of the scalars of a JSON object; lists give their first element; capped in depth and count."""
    out: dict[str, str] = {}
    stack: list[tuple[str, Any, int]] = [("", value, 0)]
    while stack and len(out) < FIELDS:
        name, one, depth = stack.pop()
        if isinstance(one, dict) and depth < DEPTH:
            for key in list(one)[:FIELDS]:
                full = f"{name}.{key}" if name else str(key)
                stack.append((full.lower()[:200], one[key], depth + 1))
        elif isinstance(one, list) and one and depth < DEPTH:
            stack.append((name, one[0], depth + 1))
        elif isinstance(one, str):
            out.setdefault(name, one[:TEXT])
        elif isinstance(one, int | float) and not isinstance(one, bool):
            out.setdefault(name, _plain(one))
    return out


def _plain(value: float) -> str:
    return str(value) if isinstance(value, float) else (str(value) if -(1 << 63) < value < 1 << 63 else "")


@cache
def _names() -> dict[str, tuple[str, ...]]:
    rows: dict[str, list[str]] = load("signals/log_fields")["fields"]
    return {part: tuple(names) for part, names in rows.items()}


def get(fields: dict[str, str], part: str) -> str:
    """The value of a part of an Event under whichever name it has: the full name first, then the end of a dotted name."""
    names = _names()[part]
    for name in names:
        value = fields.get(name)
        if value and value != "-":
            return value
    for name in names:
        tail = "." + name
        for key, value in fields.items():
            if value and value != "-" and key.endswith(tail):
                return value
    return ""


def event_of(line: int, fields: dict[str, str]) -> Event | None:
    """The Event that named fields describe."""
    method, target = get(fields, "method").upper()[:12], get(fields, "target")
    found = REQUEST.match(target) or REQUEST.match(get(fields, "request"))
    if found:
        method, target = method or found[1], found[2]
    host, port, path = split_target(target) if target else ("", 0, "")
    named_host, named_port = host_of(get(fields, "host"))
    query = get(fields, "query").rstrip(".")
    if query and not target:
        host, channel = host_of(query)[0], "dns"
    else:
        sni = host_of(get(fields, "sni"))[0]
        channel = "tls" if sni and not target and not method else "http"
        host, port = (host, port) if host else (named_host or sni, named_port)
    if not host and not path:
        return None
    stamp = _time(fields)
    return Event(
        line, host, port or number(get(fields, "port")), method, "" if method == "CONNECT" else path,
        stamp.seconds if stamp else None, bool(stamp and stamp.zoned), bool(stamp and stamp.dated),
        number(get(fields, "status")), number(get(fields, "bytes")), _seconds(get(fields, "seconds")), get(fields, "client")[:64],
        get(fields, "agent")[:400], get(fields, "media")[:100], get(fields, "upstream")[:260], channel,
    )  # fmt: skip


def _time(fields: dict[str, str]) -> stamps.Stamp | None:
    if fields.get("date") and fields.get("time") and fields["date"] != fields["time"]:
        found = stamps.read(f"{fields['date']} {fields['time']}")
        if found:
            return found
    return stamps.read(get(fields, "time")[:64])


def _seconds(text: str) -> float:
    """A duration in seconds; a bare whole number may be anything from ns to s and counts as unknown."""
    found = re.fullmatch(r"(\d{1,12})(\.\d{1,12})?\s?(s|ms|us|ns)?", text[:40])
    if not found or not (found[2] or found[3]):
        return 0.0
    return float(found[1] + (found[2] or "")) / UNITS.get(found[3] or "s", 1.0)


def decode(text: str | bytes) -> Any:
    """A JSON value, None when it is not one or is nested too deep."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, ValueError, UnicodeError):
        return None


def read_json(line: int, text: str) -> Event | None:
    """A JSON object per line, whatever wrote it; text before the first brace (a container's prefix) is skipped."""
    at = text.find("{")
    value = decode(text[at:]) if 0 <= at < 400 else None
    return event_of(line, flatten(value)) if isinstance(value, dict) else None


def keyed(text: str) -> dict[str, str]:
    """name=value pairs of a line (logfmt, firewalls, CEF), with the time in front of them as "time"."""
    out: dict[str, str] = {}
    for found in PAIR.finditer(text[:16384]):
        if len(out) >= FIELDS:
            break
        value = next((one for one in found.groups()[1:] if one is not None), "")
        out.setdefault(found[1].lower(), value[:TEXT])
    front = PREFIX_TIME.match(text)
    if front and not ({"time", "ts", "timestamp", "date", "eventtime"} & out.keys()):
        out["time"] = front[1]
    return out


def read_keyed(line: int, text: str) -> Event | None:
    """A line of name=value pairs."""
    pairs = keyed(text)
    return event_of(line, pairs) if len(pairs) >= 3 else None


def is_conversation(value: dict[Any, Any]) -> bool:
    """Whether a JSON object records what was said to a model or decided by one."""
    if any(str(key).lower() in ANSWERS and not isinstance(one, dict | list) for key, one in value.items()):
        return True
    return any(CHAT.intersection(key.split(".")) for key in flatten(value)) or bool(
        CHAT & {str(key).lower() for key in value}
    )


def looks_like_requests(value: Any) -> bool:
    """Whether a JSON object is a record of a request or query rather than a conversation or anything else."""
    if not isinstance(value, dict) or is_conversation(value):
        return False
    fields = flatten(value)
    event = event_of(0, fields)
    if event is None or event.time is None:
        return False
    if event.channel in ("dns", "tls"):
        return "." in event.host
    return bool(event.method or event.status) or bool(event.host and event.bytes)


class Table:
    """A table with a header line: remembers the columns and reads the rows. Separator from the header."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.columns: list[str] = []
        self.separator = "\t"

    def __call__(self, line: int, text: str) -> Event | None:
        """The Event of a row; None for the header itself and for rows that do not fit."""
        row = self.row(text)
        return event_of(line, row) if row else None

    def header(self, text: str) -> bool:
        """Whether the line is the header; if so it is taken."""
        plain = text.lstrip("\ufeff")
        found = re.match(r"#[Ff]ields:?[\t ]", plain)
        if found:
            body = plain[found.end() :]
            self.separator = "\t" if "\t" in body or plain[found.end() - 1] == "\t" else " "
            self.columns = [one.strip().lower() for one in body.strip().split(self.separator)]
            return True
        if self.columns or plain.startswith("#") or self.kind not in ("csv_hosts",):
            return plain.startswith("#")
        self.separator = max(",;\t|", key=plain.count)
        self.columns = [one.strip().lower() for one in cells(plain, self.separator)]
        return True

    def row(self, text: str) -> dict[str, str]:
        """Column -> value; empty when the row has another number of cells than the header."""
        if not self.columns:
            return {}
        if self.kind == "csv_hosts":
            values = cells(text, self.separator)
        else:
            # CloudFront names its columns with spaces and writes its rows with tabs.
            values = text.split("\t" if "\t" in text else self.separator)
        if abs(len(values) - len(self.columns)) > (0 if self.separator != " " else 2) or len(values) > FIELDS:
            return {}
        return {key: value[:TEXT] for key, value in zip(self.columns, values) if value not in ("-", "(empty)")}


def cells(text: str, separator: str) -> list[str]:
    """The cells of one CSV line; [] when it cannot be split."""
    try:
        return next(csv.reader([text], delimiter=separator), [])
    except csv.Error:
        return []
