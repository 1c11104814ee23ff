"""Our own listener: what an application under test, or whoever shows its answers, asks of an address that only one trial knows.

In: HOST:PORT. Out: an address, and of a token the receipts that bear it. It answers the same nothing to everybody, reads no body, keeps no word of a request without a token that a trial is waiting for, and has an end in everything: bytes, seconds, connections, receipts.
It speaks no TLS: beyond this machine a proxy stands before it.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote

from afterguard.attack.contract import Receipt
from afterguard.errors import UsageError

ANSWER = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\ncache-control: no-store\r\nconnection: close\r\n\r\n"
HEAD = 8_192
"""Bytes of a request that are read: its line and whatever else comes in them."""
WAITING = 4.0
"""Seconds a request may take to say what it wants."""
HANDS, QUEUE = 4, 64
"""Connections that are read at once, and those that may wait; the others are closed unread."""
LINE = re.compile(rb"(GET|HEAD) (/(?:[\w.~-]{1,100}/){0,5}([0-9a-f]{16})(?:[/?][!-~]*)?) HTTP/1\.[01]\r?\n")
TOKENS, EACH = 4_096, 20
"""Tokens that are waited for, the newest ones, and receipts of one of them."""
GRACE, STEP = 0.5, 0.02
"""Seconds that a receipt may come after the answer, and how often it is looked for."""
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Listener:
    """See the file. It listens as soon as it is made, until `close`."""

    def __init__(self, listen: str) -> None:
        self.host, port = _parts(listen)
        self._lock = threading.Lock()
        self._got: dict[str, list[Receipt]] = {}
        self.strays = 0
        """Requests with a token that nobody waits for, or none."""
        self._waiting = 0
        self._socket = _bound(self.host, port, listen)
        self.port = int(self._socket.getsockname()[1])
        self._hands = ThreadPoolExecutor(HANDS, "listener")
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        """Where it is asked on this machine."""
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"

    @property
    def is_beyond(self) -> bool:
        """Whether others than this machine reach it."""
        return self.host not in LOOPBACK

    def expect(self, token: str) -> None:
        """From now on, what bears this token is a receipt; what came with it before belongs to an earlier turn."""
        with self._lock:
            self._got[token] = []
            while len(self._got) > TOKENS:
                self._got.pop(next(iter(self._got)))

    def receipts(self, token: str) -> tuple[Receipt, ...]:
        """What came with this token; waits a moment where nothing has come yet."""
        until = time.monotonic() + GRACE
        while True:
            with self._lock:
                got = tuple(self._got.get(token, ()))
            if got or time.monotonic() >= until:
                return got
            time.sleep(STEP)

    def close(self) -> None:
        """Listen no more."""
        # A thread that waits in accept() holds the socket: the other end of it wakes that thread.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._hands.shutdown(wait=False, cancel_futures=True)

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._socket.accept()
            except OSError:
                return
            with self._lock:
                is_full = self._waiting >= QUEUE
                self._waiting += not is_full
            if is_full:
                line.close()
                continue
            try:
                self._hands.submit(self._hear, line)
            except RuntimeError:  # closed meanwhile
                line.close()
                return

    def _hear(self, line: socket.socket) -> None:
        try:
            with contextlib.suppress(OSError), line:
                self._note(_read(line))
                line.sendall(ANSWER)
                line.shutdown(socket.SHUT_WR)
        finally:
            with self._lock:
                self._waiting -= 1

    def _note(self, head: bytes) -> None:
        found = LINE.match(head)
        with self._lock:
            got = self._got.get(found[3].decode()) if found else None
            if found is None or got is None:
                self.strays += 1
            elif len(got) < EACH:
                got.append(Receipt("listener", unquote(found[2].decode("ascii"))))


@contextlib.contextmanager
def listening(listen: str) -> Iterator[Listener | None]:
    """A listener, closed at the end; None where no address is given. Raises UsageError."""
    if not listen:
        yield None
        return
    one = Listener(listen)
    try:
        yield one
    finally:
        one.close()


def _read(line: socket.socket) -> bytes:
    """The first bytes of a request, until its line is whole."""
    until, data = time.monotonic() + WAITING, b""
    while b"\n" not in data and len(data) < HEAD:
        line.settimeout(max(0.01, until - time.monotonic()))
        got = line.recv(HEAD - len(data))
        if not got:
            break
        data += got
    return data


def _parts(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise UsageError(f"{listen[:200]!r} is not an address to listen on", hint="HOST:PORT, for instance 127.0.0.1:0; 0 takes a free port", slug="bad-listener")  # fmt: skip
    return host, int(port)


def _bound(host: str, port: int, listen: str) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(family[4][:2], family=family[0], backlog=QUEUE)
    except (OSError, UnicodeError) as error:
        raise UsageError(f"can not listen on {listen[:200]}: {error}", hint="another address of this machine; port 0 takes a free one", slug="bad-listener") from error  # fmt: skip
