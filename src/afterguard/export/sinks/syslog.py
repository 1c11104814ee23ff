"""Syslog: RFC 5424 messages over UDP, TCP (octet counting, RFC 6587) or TLS (RFC 5425).

In: batches. Out: messages. Syslog has no answer, so what is safe is inferred: over TCP and TLS a batch counts when the peer's kernel has acknowledged all its bytes and the connection has then stood for `settle` seconds; a connection that breaks
before sends it again. What a receiver took off the wire and had not stored when it died later than that is lost, as with every syslog sender; only a canary shows it. UDP loses without a trace: it is there for those who have nothing else.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import struct
import time
import types
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

from msgspec import Meta

from afterguard.export.sink import Item, Limits, Plain, Sent, Settings, Unavailable

fcntl: types.ModuleType | None
termios: types.ModuleType | None
try:
    import fcntl
    import termios
except ImportError:  # no way to ask what the peer has acknowledged: `settle` alone counts
    fcntl = termios = None

SEVERITY = {"critical": 2, "high": 3, "medium": 4, "low": 5, "info": 6}
"""RFC 5424 table 2: critical, error, warning, notice, informational."""
QUIET = 30.0
"""Seconds of silence after which the kernel asks whether the peer is still there."""


class Syslog(Settings, frozen=True, kw_only=True, tag="syslog"):
    """A syslog receiver."""

    host: Annotated[str, Meta(min_length=1)]
    """Its name or address."""
    port: Annotated[int, Meta(ge=0, le=65_535)] = 0
    """0: 6514 with TLS, else 514."""
    transport: Literal["udp", "tcp", "tls"] = "tls"
    """How to get there."""
    ca_file: str = ""
    """Certificates that vouch for the receiver; empty: the system's."""
    cert_file: str = ""
    """Our own certificate, where it asks for one."""
    key_file: str = ""
    """The key of that certificate."""
    facility: Annotated[int, Meta(ge=0, le=23)] = 16
    """RFC 5424 table 1; 16 is local0."""
    app_name: Annotated[str, Meta(pattern=r"^[!-~]{1,48}$")] = "afterguard"
    """The APP-NAME of each message."""
    hostname: Annotated[str, Meta(pattern=r"^[!-~]{0,255}$")] = ""
    """The HOSTNAME of each message; empty: this machine's."""
    event_bytes: Annotated[int, Meta(ge=480, le=65_000)] = 8_000
    """Bytes of a message that the receiver takes: 8 KiB is what rsyslog takes unless told otherwise, Wazuh takes 64 KB."""
    settle: Annotated[float, Meta(ge=0, le=60)] = 1.0
    """Seconds that a connection must stand after a batch before it counts as delivered."""


class SyslogSink(Plain):
    """A connection, made when it is needed."""

    def __init__(self, settings: Syslog) -> None:
        self._settings = settings
        self.limits = Limits(events=500, size=512 << 10, event=settings.event_bytes - 128, window=64, confirm=60.0)
        self._host = (settings.hostname or socket.gethostname() or "-").encode("ascii", "replace")[:255]
        self._tail = b" " + self._host + b" " + settings.app_name.encode() + b" " + str(os.getpid()).encode() + b" "
        self._line: socket.socket | None = None
        self._out: dict[int, float] = {}
        """Receipt -> when its last byte was handed over, on the monotonic clock."""
        self._number = 0
        self._is_stream = settings.transport != "udp"

    def send(self, batch: Sequence[Item]) -> Sent:
        """Hand over; over TCP and TLS with a receipt."""
        messages = [self._message(one) for one in batch]
        try:
            line = self._line or self._connect()
            if not self._is_stream:
                for one in messages:
                    line.send(one)
                return Sent()
            line.settimeout(self._settings.timeout)
            line.sendall(b"".join(b"%d %b" % (len(one), one) for one in messages))
        except OSError as error:
            self.close()
            raise Unavailable(f"{self._place()}: {error}", is_lost=True) from None
        self._number += 1
        self._out[self._number] = time.monotonic()
        return Sent(receipt=self._number)

    def confirmed(self) -> set[int]:
        """Batches that the peer's kernel has and that the connection survived."""
        if not self._out:
            return set()
        if self._line is None or _is_gone(self._line):
            self.close()
            raise Unavailable(f"{self._place()}: the connection broke")
        if _waiting(self._line):
            return set()
        before = time.monotonic() - self._settings.settle
        safe = {number for number, since in self._out.items() if since <= before}
        for number in safe:
            del self._out[number]
        return safe

    def renew(self) -> None:
        """Another connection."""
        self.close()

    def close(self) -> None:
        """Hang up."""
        if self._line is not None:
            with contextlib.suppress(OSError):
                self._line.close()
        self._line = None
        self._out.clear()

    def _message(self, one: Item) -> bytes:
        pri = self._settings.facility * 8 + SEVERITY.get(one.severity, 6)
        at = datetime.fromtimestamp(one.at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return b"<%d>1 %b%b%b - %b" % (pri, at.encode(), self._tail, one.lane.encode(), one.body.replace(b"\n", b" "))

    def _connect(self) -> socket.socket:
        told = self._settings
        kind = socket.SOCK_STREAM if self._is_stream else socket.SOCK_DGRAM
        port = told.port or (6514 if told.transport == "tls" else 514)
        if not self._is_stream:
            family, _, _, _, place = socket.getaddrinfo(told.host, port, type=kind)[0]
            line = socket.socket(family, kind)
            line.connect(place)
        else:
            line = socket.create_connection((told.host, port), min(told.timeout, 10.0))
            line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if told.transport == "tls":
                line = _context(told).wrap_socket(line, server_hostname=told.host)
        self._line = line
        return line

    def _place(self) -> str:
        return f"syslog {self._settings.transport} {self._settings.host}"


def _context(told: Syslog) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=told.ca_file or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if told.cert_file:
        context.load_cert_chain(told.cert_file, told.key_file or None)
    return context


def _is_gone(line: socket.socket) -> bool:
    """Whether the peer has hung up. It says nothing else to us, and what it says is thrown away."""
    try:
        while select.select([line], [], [], 0)[0]:
            line.settimeout(0)
            if not line.recv(4_096):
                return True
    except (ssl.SSLWantReadError, BlockingIOError):
        return False
    except OSError:
        return True
    return False


def _waiting(line: socket.socket) -> int:
    """Bytes that the peer's kernel has not acknowledged."""
    if fcntl is None or termios is None:
        return 0
    try:
        return int(struct.unpack("i", fcntl.ioctl(line.fileno(), termios.TIOCOUTQ, bytes(4)))[0])
    except OSError:
        return 0
