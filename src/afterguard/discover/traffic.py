"""Recorded traffic -> assets: access, proxy and DNS logs, audit trails, billing exports and HAR files of any size.

In: a file's first bytes, then its lines. Out: Assets, one Coverage row per file for what did not parse, and the period covered.
Content decides which reader runs (recognise.py), never the name. Lines without any sign of AI pass one native scan and one
shape test over the whole block and are not parsed one by one; memory does not grow with the file.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from afterguard.catalog import load
from afterguard.detect.prefilter import Pattern, Prefilter
from afterguard.discover import access_logs, audit, billing, dns, documents, fields, har, stamps
from afterguard.discover.events import Event
from afterguard.discover.gaps import Period
from afterguard.discover.recognise import WRAPPED, inner, recognise
from afterguard.discover.tally import Tally
from afterguard.files import Line, Note
from afterguard.model import Asset, Coverage

__all__ = ["read", "recognise"]

BLOCK = 1 << 20
ReadLine = Callable[[int, str], Event | None]
ReadRecord = Callable[[int, bytes, Tally], bool]
LINES: dict[str, ReadLine] = {
    "access": access_logs.read_text,
    "squid": access_logs.read_squid,
    "client": access_logs.read_client_log,
    "gin": access_logs.read_gin,
    "json": fields.read_json,
    "keyed": fields.read_keyed,
    "bind": dns.read_bind,
    "dnsmasq": dns.read_dnsmasq,
    "unbound": dns.read_unbound,
    "coredns": dns.read_coredns,
    "windows_dns": dns.read_windows,
    "tcpdump": dns.read_tcpdump,
}
TABLES = ("zeek", "w3c", "csv_hosts")
BILLS = ("aws_cur", "aws_cost_explorer", "azure_usage", "gcp_billing", "focus", "expenses")
RECORDS: dict[str, tuple[ReadRecord, frozenset[str]]] = {
    "cloudtrail": (audit.read_cloudtrail, frozenset({"Records", "Events"})),
    "gcp_audit": (audit.read_google, frozenset({"entries"})),
    "azure_activity": (audit.read_azure, frozenset({"records", "value"})),
    "har": (har.read, frozenset({"entries"})),
}
RECORD_LINES: dict[str, ReadRecord] = {
    "cloudtrail_lines": audit.read_cloudtrail,
    "gcp_audit_lines": audit.read_google,
    "azure_activity_lines": audit.read_azure,
}
LOOSE = {"client", "gin", "keyed"}
"""Logs in which requests stand among other lines."""
OUTWARD = {"squid", "bind", "dnsmasq", "unbound", "coredns", "windows_dns", "zeek"}
CLOUDS = {
    "cloudtrail": "aws", "cloudtrail_lines": "aws", "gcp_audit": "google", "gcp_audit_lines": "google",
    "azure_activity": "azure", "azure_activity_lines": "azure",
}  # fmt: skip
CLOUD_DOMAINS = {
    "amazonaws.com",
    "googleapis.com",
    "vpce.amazonaws.com",
    "oci.oraclecloud.com",
    "api.aws",
    "azure.com",
    "",
}
RECORD_TIME = re.compile(
    rb'"(?:eventTime|eventTimestamp|timestamp|time|startedDateTime|EventTime)" ?: ?"([0-9T:.Z+-]{10,40})"'
)
SHAPES = {
    "access": re.compile(rb'(?m)^[^"\n]*"[^"\n]*"'),
    "squid": re.compile(rb"(?m)^[^\n]*? [A-Z_]+/\d{3} [^\n]+|^[^\n]*?\"[A-Z]{3,12} [^\"\n]*\""),
    "json": re.compile(rb"(?m)^[^{\n]{0,400}\{[^\n]*\}[\s,]*$"),
    "bind": re.compile(rb"(?m)^[^\n]*\d:\d\d[^\n]*"),
    "dnsmasq": re.compile(rb"(?m)^[^\n]*?dnsmasq[^\n]*"),
    "unbound": re.compile(rb"(?m)^[^\n]*?unbound\[[^\n]*"),
    "coredns": re.compile(rb"(?m)^[^\n]*?\[(?:INFO|WARNING|ERROR|DEBUG|FATAL)\][^\n]*"),
}


def read(
    kind: str, path: str, lines: Iterator[Line], note: Note, period: Callable[[Period], None] | None = None
) -> Iterator[Asset]:
    """Assets seen in a log of a kind that `recognise` named. `period` is told once what the log covered."""
    if kind.startswith(WRAPPED):
        kind = kind.removeprefix(WRAPPED)
        lines = (Line(line.number, inner(line.data), line.cut) for line in lines)
    tally = Tally(path, "audit" if kind in CLOUDS else "billing" if kind in BILLS else "traffic")
    count = _Counted(lines)
    if kind in RECORDS:
        broken = _records(kind, path, count, note, tally)
    else:
        broken = _lines(kind, path, count, tally)
    if broken:
        note(Coverage(path, "bad_syntax", "lines that are not what the rest of this log is", count=broken))
    if count.cut:
        note(Coverage(path, "too_large", "lines too long to read", count=count.cut, bytes=count.cut_bytes))
    if tally.refused:
        note(Coverage(path, "cap", "events of further names, beyond the cap of one file", count=tally.refused))
    yield from tally.assets()
    if period is not None:
        outward = kind in OUTWARD or (kind != "client" and tally.outward > 0)
        clouds = (CLOUDS[kind],) if kind in CLOUDS else ()
        period(Period(path, kind, count.number, tally.first, tally.last, outward, clouds))


class _Counted:
    """Passes lines on and counts those that were too long."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self.lines = lines
        self.number = self.cut = self.cut_bytes = 0

    def __iter__(self) -> Iterator[Line]:
        for line in self.lines:
            self.number += 1
            if line.cut:
                self.cut += 1
                self.cut_bytes += line.cut
                continue
            yield line


def _records(kind: str, path: str, lines: _Counted, note: Note, tally: Tally) -> int:
    reader, arrays = RECORDS[kind]
    scan = prefilter()
    broken = 0
    for line, data in documents.records(lines.lines, arrays, path, note):
        lines.number += 1
        _see(data, tally)
        if kind == "har" or scan.scan(data):
            broken += not reader(line, data, tally)
    return broken


def _see(data: bytes, tally: Tally) -> None:
    """Note the time of a record that may not be decoded at all."""
    found = RECORD_TIME.search(data)
    stamp = stamps.read(found[1].decode("ascii", "replace")) if found else None
    if stamp is not None:
        tally.see(Event(0, time=stamp.seconds))


def _lines(kind: str, path: str, lines: _Counted, tally: Tally) -> int:
    judge = _judge(kind, tally)
    table = getattr(judge, "header", None)
    shape = SHAPES.get(kind)
    broken = 0
    first = True
    for block, numbers, starts in _blocks(iter(lines)):
        chosen = _interesting(block, starts)
        if first or table is not None:
            chosen |= _headers(block, starts, first)
            first = False
        if kind not in BILLS:
            chosen |= {0, len(starts) - 1}
        seen = 0
        for at in sorted(chosen):
            end = starts[at + 1] - 1 if at + 1 < len(starts) else len(block)
            data = block[starts[at] : end]
            if not data.strip():
                continue
            good = judge(numbers[at], data)
            broken += not good
            seen += not good and (shape is None or not shape.match(data))
        if shape is not None:
            broken += max(0, _unlike(shape, block, len(starts)) - seen)
    return broken


def _unlike(shape: re.Pattern[bytes], block: bytes, lines: int) -> int:
    """How many lines of a block do not look like this log at all; empty lines and comments do not count."""
    fitting = sum(1 for _ in shape.finditer(block))
    if fitting >= lines:
        return 0
    return sum(1 for line in block.split(b"\n") if line.strip() and line[:1] != b"#" and not shape.match(line))


def _judge(kind: str, tally: Tally) -> Any:
    """What takes a line of this kind: (number, bytes) -> whether it parsed."""
    if kind in RECORD_LINES:
        reader = RECORD_LINES[kind]

        def judge_record(number: int, data: bytes) -> bool:
            _see(data, tally)
            return reader(number, data, tally)

        return judge_record
    if kind in BILLS:
        return _Bill(kind, tally)
    if kind in TABLES:
        return _Rows(kind, tally)
    read_line = LINES[kind]

    def judge(number: int, data: bytes) -> bool:
        event = read_line(number, data.decode("utf-8", "replace"))
        if event is None:
            return kind in LOOSE
        tally.see(event)
        tally.add(event)
        return True

    return judge


class _Rows:
    """A table: header lines set the columns, rows become events."""

    def __init__(self, kind: str, tally: Tally) -> None:
        self.table, self.tally = fields.Table(kind), tally

    def header(self) -> bool:
        """Tables need their header lines."""
        return True

    def __call__(self, number: int, data: bytes) -> bool:
        text = data.decode("utf-8", "replace")
        if self.table.header(text):
            return True
        row = self.table.row(text)
        if not row:
            return False
        event = fields.event_of(number, {name.replace(" ", "_"): value for name, value in row.items()})
        if event is not None:
            self.tally.see(event)
            self.tally.add(event)
        return True


class _Bill:
    """A bill: rows add up per service."""

    def __init__(self, kind: str, tally: Tally) -> None:
        self.bill = billing.Bill(kind, tally)

    def header(self) -> bool:
        """Bills need their header line."""
        return True

    def __call__(self, number: int, data: bytes) -> bool:
        return self.bill.read(number, data.decode("utf-8-sig", "replace"))


def _blocks(lines: Iterator[Line]) -> Iterator[tuple[bytes, list[int], list[int]]]:
    """Lines in blocks of about BLOCK bytes: the bytes, the line numbers and where each line starts."""
    held: list[bytes] = []
    numbers: list[int] = []
    starts: list[int] = []
    size = 0
    for line in lines:
        held.append(line.data)
        numbers.append(line.number)
        starts.append(size)
        size += len(line.data) + 1
        if size >= BLOCK:
            yield b"\n".join(held), numbers, starts
            held, numbers, starts, size = [], [], [], 0
    if held:
        yield b"\n".join(held), numbers, starts


def _interesting(block: bytes, starts: list[int]) -> set[int]:
    """Indexes of the lines with a sign of AI in them; a mere word counts only where something was posted."""
    out: set[int] = set()
    for name, end in prefilter().scan(block):
        at = max(0, bisect_left(starts, end) - 1)
        if at not in out and (name != "own" or _is_post(block, starts, at)):
            out.add(at)
    return out


def _is_post(block: bytes, starts: list[int], at: int) -> bool:
    end = starts[at + 1] if at + 1 < len(starts) else len(block)
    return block.find(b"POST", starts[at], end) >= 0 or block.find(b'"post"', starts[at], end) >= 0


def _headers(block: bytes, starts: list[int], first: bool) -> set[int]:
    """Indexes of lines that can be headers: the first ones of a file, and comment lines that name fields."""
    out = set(range(min(12, len(starts)))) if first else set()
    at = block.find(b"#")
    while at >= 0 and len(out) < 1000:
        if (at == 0 or block[at - 1] == 10) and block[at : at + 7].lower() == b"#fields":
            out.add(bisect_left(starts, at))
        at = block.find(b"\n#", at)
        at = at + 1 if at >= 0 else -1
    return out


@cache
def prefilter() -> Prefilter:
    """One native scan for every host, path, audit source and billing word of the catalog."""
    hosts = {_literal(row["match"], ".") for row in load("signals/hosts")["hosts"]}
    paths = {_literal(row["shape"], "/") for row in load("signals/paths")["paths"]}
    events = load("signals/audit_events")
    sources = {*events["aws"]["sources"], *events["google"]["services"], *events["azure"]["services"]}
    bills = load("signals/billing")
    words = {row["word"] for cloud in ("aws", "azure", "google") for row in bills[cloud]["words"]}
    words |= {row["word"] for row in bills["payees"]} | set(bills["aws"]["products"])
    gpu = [bills[cloud]["gpu"] for cloud in ("aws", "azure", "google")]
    own = "|".join(sorted(load("signals/paths")["words"]))
    return Prefilter(
        [
            Pattern("host", f"(?:{_any(hosts)})", ignore_case=True),
            Pattern(
                "labels",
                r"\(\d+\)(?:openai|anthropic|googleapis|amazonaws|azure|mistral|cohere|groq|huggingface|deepseek|chatgpt|claude|perplexity|openrouter)\(\d",
            ),
            Pattern("path", f"(?:{_any(paths)})"),
            Pattern("own", rf"[/_-](?:{own})[^a-z]", ignore_case=True),
            Pattern("audit", f"(?:{_any(sources)})", ignore_case=True),
            Pattern("bill", f"(?:{_any(words)})", ignore_case=True),
            *(Pattern(f"gpu{number}", one, ignore_case=True) for number, one in enumerate(gpu)),
        ]
    )


def _literal(shape: str, edge: str) -> str:
    """The longest part of a shape without wildcard that is not just the name of a cloud."""
    parts = [one.strip(edge if edge == "." else "") for one in re.split(r"\*+", shape)]
    return max(parts, key=lambda one: (one not in CLOUD_DOMAINS, len(one))) or shape


def _any(words: set[str]) -> str:
    return "|".join(sorted(re.escape(one) for one in words if one))
