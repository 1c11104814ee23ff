"""Which kind of traffic a file holds, by its content.

In: the first bytes of a file (64 KiB are plenty). Out: the kind that traffic.read takes, "" when the file is no traffic. Recorded
conversations with models are not traffic in this sense: tap/ reads them.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

from afterguard.discover import access_logs, billing, dns, fields
from afterguard.discover.access_logs import SQUID

HEAD = 65536
LONGEST = 2048
"""Characters of a line that the shape tests look at."""
WRAPPED = "wrapped-"
"""Start of the kind of a log whose lines stand inside those of a container runtime or log shipper."""
CRI = re.compile(rb"\A\d{4}-\d{2}-\d{2}T[\d:.]+(?:Z|[+-]\d{2}:\d{2}) std(?:out|err) [FP] ")
WRAPPERS = (
    b'"log":',
    b'"message":',
    b'"msg":',
    b'"line":',
    b'"_raw":',
    b'"@message":',
    b'"MESSAGE":',
    b'"log" :',
    b'"message" :',
)
QUOTED = re.compile(r'"[A-Z]{3,12} \S+(?: (?:HTTP|H2C|h2)[^"]*)?"')
LOG_TIME = re.compile(
    r"\A\s*(?:[A-Z]+:? +)?[\[(\"']?(?:\d{4}[-/]\d{2}[-/]\d{2}[T ]\d{2}:\d{2}|[A-Z][a-z]{2} +\d{1,2} \d{2}:\d{2}:\d{2}|\d{2}:\d{2}:\d{2}[.,]\d)"
)
HOSTLIKE = re.compile(
    r"\A(?:[a-zA-Z][a-zA-Z0-9+.-]*://\S+|(?:[\w-]{1,63}\.)+[a-zA-Z][\w-]{1,62}\.?(?::\d{1,5})?|\d{1,3}(?:\.\d{1,3}){3}|/\S*)\Z"
)
DOCUMENTS = (
    ("cloudtrail", re.compile(r'"(?:Records|Events)"\s*:\s*\['), re.compile(r'"[eE]ventSource"\s*:\s*"[a-z0-9.-]+\.amazonaws\.com"|CloudTrailEvent')),
    ("har", re.compile(r'\A\s*\{\s*"log"\s*:\s*\{'), re.compile(r'"entries"\s*:\s*\[|"creator"\s*:')),
    ("gcp_audit", re.compile(r"\A\s*\["), re.compile(r'"protoPayload"')),
    ("cloudtrail", re.compile(r"\A\s*\["), re.compile(r'"eventSource"[\s\S]*"eventName"|"eventName"[\s\S]*"eventSource"')),
    ("azure_activity", re.compile(r'\A\s*\[|"(?:records|value)"\s*:\s*\['), re.compile(r'"operationName"[\s\S]*"resourceId"|"resourceId"[\s\S]*"operationName"')),
)  # fmt: skip
TRAFFIC = re.compile(
    r"(?:\A|_)(?:(?:src|source|client|remote|user|orig|c)_?(?:ip|addr|address|host|name)?|ip|method|status|action|bytes|byte_count|port|proto|protocol|"
    r"query_type|qtype|rcode|response_code|requests|queries|hits|sessions|connections|policy|verdict|device|application|app)\Z"
)
"""Columns that a log has and a list of links has not."""
LEVEL = re.compile(r"\A\s*\[?(?:INFO|WARN(?:ING)?|ERROR|DEBUG|CRITICAL|TRACE|FATAL)\b")
LEVELS = {"level", "levelname", "severity", "loglevel", "log.level", "stream", "lvl"}
HOSTS = {
    "host", "hostname", "dest_host", "destination", "destination_host", "domain", "fqdn", "sni", "server_name", "url", "query", "dest_domain",
    "destination_domain", "remote_host", "dst_host", "qname", "query_name", "dest", "http_host", "cs-host", "uri", "request_url", "dhost", "category_host",
}  # fmt: skip


def recognise(path: str, head: bytes) -> str:
    """The kind of traffic in a file, from its first bytes; `path` is for messages only and decides nothing."""
    text = head[:HEAD].decode("utf-8-sig", "replace")
    if "\0" in text[:4096]:
        return ""
    whole = text if len(head) <= HEAD and not text.endswith("\n") else text.rpartition("\n")[0]
    lines = [line.rstrip("\r") for line in (whole or text).split("\n") if line.strip()][:60]
    if not lines:
        return ""
    encoded = [line.encode("utf-8", "replace") for line in lines[:40]]
    unpacked = [inner(line) for line in encoded]
    wrapped = sum(map(operator.ne, encoded, unpacked)) * 2 >= len(encoded)
    if wrapped:
        found = recognise(path, b"\n".join(unpacked) + b"\n")
        if found and not found.startswith(WRAPPED):
            return WRAPPED + found
    first = text.lstrip()[:1]
    short = [line[:LONGEST] for line in lines]
    if first in ("{", "["):
        found = _json(text, lines) or (_text(short) if first == "[" else "")
        return found or (WRAPPED + "client" if wrapped and _is_application(encoded, unpacked) else "")
    found = _table(lines) or _prefixed(lines) or _text(short)
    return "" if found == "client" and _talks(lines) else found


def _is_application(outer: list[bytes], inside: list[bytes]) -> bool:
    """Whether these are an application's own log lines with their level, and no recorded conversations."""
    values = [value for line in outer if isinstance(value := fields.decode(line), dict)]
    levels = sum(1 for value in values if LEVELS & {str(key).lower() for key in value})
    told = [fields.decode(line) for line in inside] + values
    chat = any(isinstance(one, dict) and fields.is_conversation(one) for one in told)
    return levels * 2 > len(outer) and not chat


def inner(line: bytes) -> bytes:
    """The line that a container runtime or a log shipper wrapped; the line itself when nothing is wrapped."""
    found = CRI.match(line)
    if found:
        return line[found.end() :]
    if not line.startswith(b"{") or not any(name in line[:16384] for name in WRAPPERS):
        return line
    value = fields.decode(line)
    for name in ("log", "message", "msg", "line", "_raw", "@message", "MESSAGE"):
        raw = value.get(name) if isinstance(value, dict) else None
        if isinstance(raw, str) and len(raw) > 20:
            return raw.strip("\n").replace("\n", " ").encode("utf-8", "replace")
    return line


def _json(text: str, lines: list[str]) -> str:
    values = [value for line in lines[:20] if isinstance(value := fields.decode(line.rstrip(",")), dict)]
    for kind, opening, inside in DOCUMENTS:
        if opening.search(text) and inside.search(text) and (not values or len(lines) == 1):
            return kind
    if len(values) * 2 < min(len(lines), 20) or not values:
        return ""
    for kind, test in (
        ("cloudtrail_lines", _is_cloudtrail),
        ("gcp_audit_lines", _is_google),
        ("azure_activity_lines", _is_azure),
    ):
        if sum(map(test, values)) * 2 > len(values):
            return kind
    return "json" if sum(map(fields.looks_like_requests, values)) * 2 > len(values) else ""


def _prefixed(lines: list[str]) -> str:
    """JSON behind a prefix of a container runtime or of syslog."""
    values = [fields.decode(line[line.find("{") :]) for line in lines[:20] if 0 < line.find("{") < 400]
    good = sum(1 for value in values if fields.looks_like_requests(value))
    return "json" if good * 2 > min(len(lines), 20) else ""


def _is_cloudtrail(value: dict[str, Any]) -> bool:
    detail = value.get("detail")
    return (
        {"eventSource", "eventName"} <= value.keys()
        or "CloudTrailEvent" in value
        or (isinstance(detail, dict) and "eventSource" in detail)
    )


def _is_google(value: dict[str, Any]) -> bool:
    return isinstance(value.get("protoPayload") or value.get("proto_payload"), dict)


def _is_azure(value: dict[str, Any]) -> bool:
    names = {key.lower() for key in value}
    return bool(names & {"operationname", "operationnamevalue"}) and bool(
        names & {"resourceid", "_resourceid", "resource_id"}
    )


def _table(lines: list[str]) -> str:
    if any(line.startswith(("#separator", "#fields\t", "#path\t")) for line in lines[:10]):
        return "zeek"
    if any(line.startswith("#Fields:") for line in lines[:10]):
        return "w3c"
    separator = max(",;\t|", key=lines[0].count)
    header = [one.strip().lower() for one in fields.cells(lines[0], separator)]
    if len(header) < 2 or len(set(header)) < len(header) * 0.8:
        return ""
    if {re.sub(r"[ .-]+", "_", one) for one in header} & fields.ANSWERS:
        return ""
    bill = billing.kind_of(header)
    if bill:
        return bill
    rows = [fields.cells(line, separator) for line in lines[1:20]]
    regular = sum(1 for row in rows if len(row) == len(header)) * 2 >= len(rows) > 0
    plain = {re.sub(r"[ .-]+", "_", one) for one in header}
    if regular and plain & {re.sub(r"[ .-]+", "_", one) for one in HOSTS} and any(TRAFFIC.search(one) for one in plain):
        return "csv_hosts" if _names_hosts(header, rows) else ""
    return ""


def _talks(lines: list[str]) -> bool:
    """Whether some line carries a recorded conversation as JSON behind a prefix."""
    values = [fields.decode(line[line.find("{") :]) for line in lines if "{" in line]
    return any(isinstance(value, dict) and fields.is_conversation(value) for value in values)


def _is_csv(lines: list[str]) -> bool:
    """A header of plain names over rows of the same width: a table that some other reader may know."""
    separator = max(",;\t|", key=lines[0].count)
    header = fields.cells(lines[0], separator)
    rows = [fields.cells(line, separator) for line in lines[1:8]]
    return (
        len(header) > 1
        and all(re.fullmatch(r"[A-Za-z_][\w .-]{0,60}", one.strip()) for one in header)
        and all(len(row) == len(header) for row in rows)
    )


def _names_hosts(header: list[str], rows: list[list[str]]) -> bool:
    """Whether at least half of the rows have a host or an address in one of the columns that should."""
    columns = [
        at
        for at, name in enumerate(header)
        if re.sub(r"[ .-]+", "_", name) in {re.sub(r"[ .-]+", "_", one) for one in HOSTS}
    ]
    good = sum(1 for row in rows if any(at < len(row) and HOSTLIKE.match(row[at].strip()) for at in columns))
    return good * 2 >= len(rows)


def _text(lines: list[str]) -> str:
    for kind, test in TESTS:
        share = sum(1 for line in lines if test(line)) / len(lines)
        if share >= (0.3 if kind in ("coredns", "bind", "windows_dns", "gin") else 0.5):
            return kind
    logged = sum(1 for line in lines if LOG_TIME.match(line) or LEVEL.match(line)) * 2 >= len(lines)
    if not _is_csv(lines) and (logged or sum(1 for line in lines if access_logs.SENT.search(line)) * 3 > len(lines)):
        return "client"
    return ""


def _is_access(line: str) -> bool:
    return bool(QUOTED.search(line)) and access_logs.read_text(1, line) is not None


def _is_keyed(line: str) -> bool:
    pairs = fields.keyed(line)
    event = fields.event_of(1, pairs) if len(pairs) >= 4 and not pairs.keys() & fields.ANSWERS else None
    return event is not None and event.time is not None and bool(event.host or event.method)


TESTS: tuple[tuple[str, Callable[[str], object]], ...] = (
    ("squid", SQUID.match),
    ("dnsmasq", lambda line: dns.DNSMASQ_OTHER.search(line[:200]) or dns.DNSMASQ.search(line)),
    ("unbound", lambda line: dns.UNBOUND_OTHER.search(line[:200])),
    ("bind", dns.BIND.search),
    ("coredns", dns.COREDNS.search),
    ("windows_dns", dns.WINDOWS.search),
    ("tcpdump", dns.TCPDUMP_OTHER.match),
    ("gin", access_logs.GIN.search),
    ("access", _is_access),
    ("keyed", _is_keyed),
)
