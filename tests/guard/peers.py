"""Stand-ins on real sockets: a peer that does what a script says, raw clients, a small certificate authority, and the event loop the guard runs on."""

from __future__ import annotations

import asyncio
import contextlib
import re
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, TypeVar

import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T], *, limit: float = 20.0) -> T:
    """Run on uvloop, as the guard does."""

    async def bounded() -> T:
        async with asyncio.timeout(limit):
            return await work

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(bounded())


class Line:
    """The peer's end of one connection."""

    def __init__(self, sock: socket.socket, number: int, peer: Peer) -> None:
        self.sock = sock
        self.number = number
        self.peer = peer
        self.buffer = b""

    def request(self) -> bytes:
        """The next request, head and body; b"" when the client has gone."""
        while b"\r\n\r\n" not in self.buffer:
            if not self._more():
                return b""
        head, _, _ = self.buffer.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        end = len(head) + 4 + (int(length[1]) if length else 0)
        while len(self.buffer) < end:
            if not self._more():
                return b""
        whole, self.buffer = self.buffer[:end], self.buffer[end:]
        self.peer.requests.append(whole)
        return whole

    def _more(self) -> bool:
        try:
            data = self.sock.recv(65536)
        except OSError:
            data = b""
        self.buffer += data
        return bool(data)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.sock.close()

    def gone(self, wait: float = 5.0) -> bool:
        """The client closes within this time."""
        self.sock.settimeout(wait)
        try:
            return not self.sock.recv(65536)
        except TimeoutError:
            return False
        except OSError:
            return True


Script = Callable[[Line], None]


class Peer:
    """A server: each connection is handed to the script, in a thread of its own."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self.script = script
        self.tls = tls
        self.requests: list[bytes] = []
        self.errors: list[BaseException] = []
        self.open: list[socket.socket] = []
        self.count = 0
        self.threads: list[threading.Thread] = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._thread(self._accept)

    def _thread(self, target: Callable[..., None], *values: Any) -> None:
        thread = threading.Thread(target=target, args=values, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.socket.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.count += 1
            self._thread(self._serve, sock, self.count)

    def _serve(self, sock: socket.socket, number: int) -> None:
        try:
            if self.tls:
                raw = sock
                try:
                    sock = self.tls.wrap_socket(sock, server_side=True)
                finally:
                    if raw is not sock:
                        raw.close()
            self.open.append(sock)
            self.script(Line(sock, number, self))
        except (OSError, ssl.SSLError):
            pass
        except BaseException as error:
            self.errors.append(error)
        finally:
            sock.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        for sock in self.open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(5)
        assert not self.errors, self.errors


def answer(body: bytes = b"hello", *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """A whole reply with its length."""
    lines = b"".join(header + b"\r\n" for header in headers)
    return b"HTTP/1.1 " + status + b"\r\n" + lines + b"Content-Length: %d\r\n\r\n" % len(body) + body


def always(reply: bytes) -> Script:
    """A script that gives every request of a connection the same reply."""

    def script(line: Line) -> None:
        while line.request():
            line.send(reply)

    return script


def once(reply: bytes, *, close: bool = True) -> Script:
    """A script that answers one request and closes, or waits until the client does."""

    def script(line: Line) -> None:
        if line.request():
            line.send(reply)
            if not close:
                line.gone()

    return script


class Authority:
    """A certificate authority made for the tests; `issue` writes PEM files and gives their paths."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "A private authority")])
        builder = self._builder(self.name, self.key.public_key()).add_extension(x509.BasicConstraints(True, None), True)
        certificate = builder.sign(self.key, hashes.SHA256())
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def _builder(self, name: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(self.name).public_key(key)
        builder = builder.serial_number(x509.random_serial_number())
        return builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))

    def key_pem(self) -> bytes:
        """The authority's own key."""
        form = serialization.PrivateFormat.PKCS8
        return self.key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())

    def issue(self, name: str, passphrase: bytes = b"") -> tuple[str, str]:
        """(certificate, key)."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = [x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))]
        builder = self._builder(subject, key.public_key()).add_extension(x509.SubjectAlternativeName(names), False)
        certificate = builder.sign(self.key, hashes.SHA256())
        how = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
        paths = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        form = serialization.PrivateFormat.PKCS8
        paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, form, how))
        return str(paths[0]), str(paths[1])


def proxy_script(seen: list[bytes], status: bytes = b"200 Connection established", credentials: bytes = b"") -> Script:
    """A CONNECT proxy: writes down what it was asked, joins the two ends, or refuses."""

    def script(line: Line) -> None:
        asked = line.request()
        seen.append(asked)
        if credentials and credentials not in asked:
            line.send(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        line.send(b"HTTP/1.1 " + status + b"\r\nVia: test\r\n\r\n")
        if not status.startswith(b"200"):
            return
        host, _, port = asked.split(b" ")[1].rpartition(b":")
        with socket.create_connection((host.decode(), int(port))) as far:
            join(line.sock, far)

    return script


def join(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways until either side ends."""
    while True:
        for end in select.select([one, other], [], [])[0]:
            data = end.recv(65536)
            if not data:
                return
            (other if end is one else one).sendall(data)


def ask(port: int, data: bytes, *, wait: float = 5.0, pause: float = 0.0) -> bytes:
    """Send raw bytes and read until the server closes or is silent for `wait` seconds."""
    with socket.create_connection(("127.0.0.1", port), timeout=wait) as sock:
        got = b""
        with contextlib.suppress(OSError):
            half = len(data) // 2 if pause else len(data)
            sock.sendall(data[:half])
            if pause:
                time.sleep(pause)
                sock.sendall(data[half:])
            while more := sock.recv(65536):
                got += more
        return got
