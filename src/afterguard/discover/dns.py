"""DNS query logs: BIND, dnsmasq and Pi-hole, Unbound, CoreDNS, Windows DNS, Route 53 Resolver; Zeek is read as a table.

In: one line. Out: an Event on channel dns for a query, PASSED for a line of the same log that is no query (a reply, a
forward), None when the line does not parse.
"""

from __future__ import annotations

import re

from afterguard.discover import stamps
from afterguard.discover.events import PASSED, Event, host_of

LONGEST = 1024
"""A query line is short: a name has at most 253 characters."""
NAME = r"([^\s\"'():,;\[\]]{1,255})"
BIND = re.compile(rf"client (?:@0x[0-9a-f]+ )?([0-9a-fA-F.:%]+)#\d+.*?: query: {NAME} IN? ?\S+")
DNSMASQ = re.compile(rf"(?:dnsmasq(?:\[\d+\])?|FTL\S*): (?:\d+ \S+ )?query\[[A-Za-z0-9=]+\] {NAME} from (\S+)")
DNSMASQ_OTHER = re.compile(r"dnsmasq(?:-dhcp)?(?:\[\d+\])?: ")
UNBOUND = re.compile(rf"unbound\[[\d:]+\] (?:info|reply|query): ([0-9a-fA-F.:]+) {NAME} [A-Z0-9]+ IN\b")
UNBOUND_OTHER = re.compile(r"unbound\[[\d:]+\] ")
COREDNS = re.compile(
    rf"\[INFO\] \[?([0-9a-fA-F.:]+)\]?:\d+ - \d+ \"[A-Z0-9]+ IN {NAME} (?:udp|tcp|https|tls|grpc|quic)"
)
COREDNS_OTHER = re.compile(r"\[(?:INFO|WARNING|ERROR|DEBUG|FATAL)\] ")
WINDOWS = re.compile(r"(?:UDP|TCP) (Rcv|Snd) +([0-9a-fA-F.:]+) .*\] +[A-Z0-9]+ +((?:\(\d{1,2}\)[^\s()]+)+)\(0\)")
TCPDUMP = re.compile(
    rf"\AIP6? (\S{{1,60}}?)(?:\.\d{{1,5}})? > \S{{1,60}}: \d{{1,5}}\S{{0,3}}(?: \[[^\]]{{1,20}}\])? [A-Z0-9]{{1,10}}\? {NAME}"
)
TCPDUMP_OTHER = re.compile(r"\A(?:(?:\d{4}-\d{2}-\d{2} )?\d{2}:\d{2}:\d{2}\.\d{3,9} |\d{10}\.\d{3,9} )(?=IP6? )")
TIME = re.compile(
    r"\d{2}-[A-Z][a-z]{2}-\d{4} \d{2}:\d{2}:\d{2}|\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}\S*|[A-Z][a-z]{2} +\d{1,2} \d{2}:\d{2}:\d{2}|\[(\d{9,10})\]"
)


def read_bind(line: int, text: str) -> Event | None:
    """BIND's query log, with or without a syslog prefix."""
    found = BIND.search(text[:LONGEST])
    if found:
        return _query(line, text, found[2], found[1])
    return PASSED if TIME.match(text) else None


def read_dnsmasq(line: int, text: str) -> Event | None:
    """dnsmasq and Pi-hole; replies and forwards pass."""
    found = DNSMASQ.search(text[:LONGEST])
    if found:
        return _query(line, text, found[1], found[2])
    return PASSED if DNSMASQ_OTHER.search(text[:200]) else None


def read_unbound(line: int, text: str) -> Event | None:
    """Unbound with log-queries or log-replies."""
    found = UNBOUND.search(text[:LONGEST])
    if found:
        return _query(line, text, found[2], found[1])
    return PASSED if UNBOUND_OTHER.search(text[:200]) else None


def read_coredns(line: int, text: str) -> Event | None:
    """CoreDNS's log plug-in, alone or behind a container's time prefix."""
    found = COREDNS.search(text[:LONGEST])
    if found:
        return _query(line, text, found[2], found[1])
    return PASSED if COREDNS_OTHER.search(text[:200]) else None


def read_windows(line: int, text: str) -> Event | None:
    """Windows DNS debug log: labels as (3)api(6)openai(3)com(0). Only received packets are queries."""
    found = WINDOWS.search(text[:LONGEST])
    if not found:
        return PASSED
    if found[1] == "Snd":
        return PASSED
    return _query(line, text, re.sub(r"\(\d{1,2}\)", ".", found[3]).strip("."), found[2])


def read_tcpdump(line: int, text: str) -> Event | None:
    """Name queries in the text that tcpdump prints; other packets pass."""
    front = TCPDUMP_OTHER.match(text)
    if not front:
        return None
    found = TCPDUMP.match(text[front.end() : LONGEST])
    return _query(line, text, found[2], found[1]) if found else PASSED


def _query(line: int, text: str, name: str, client: str) -> Event:
    host, _ = host_of(name)
    found = TIME.search(text[:200])
    stamp = stamps.read(found[1] or found[0]) if found else None
    return Event(
        line, host, time=stamp.seconds if stamp else None, zoned=bool(stamp and stamp.zoned), dated=bool(stamp and stamp.dated),
        client=client, channel="dns",
    )  # fmt: skip
