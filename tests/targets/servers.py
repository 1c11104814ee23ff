"""Servers that the tests of targets talk to: the stand-in providers, an application made of one function, and a bare socket."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def providers() -> Iterator[str]:
    """The stand-in providers, running: their address."""
    command = [sys.executable, str(ROOT / "examples/stand_in_providers.py"), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


class Asked(NamedTuple):
    """One request, names of headers in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Answer(NamedTuple):
    body: bytes
    status: int = 200
    headers: tuple[tuple[str, str], ...] = (("content-type", "application/json"),)
    is_open: bool = False
    """Whether no length is told and the connection stays open after the body."""


@contextlib.contextmanager
def application(answer: Callable[[Asked], Answer]) -> Iterator[tuple[str, list[Asked]]]:
    """An application that answers so: its address, and what it was asked."""
    seen: list[Asked] = []
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            size = int(self.headers.get("content-length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, self.path, headers, self.rfile.read(size))
            seen.append(asked)
            found = answer(asked)
            with contextlib.suppress(OSError):
                self.send_response(found.status)
                for name, value in found.headers:
                    self.send_header(name, value)
                if found.is_open:
                    self.close_connection = True
                else:
                    self.send_header("content-length", str(len(found.body)))
                self.end_headers()
                self.wfile.write(found.body)
                self.wfile.flush()
                if found.is_open:
                    over.wait(10)

        do_GET = do_PUT = do_PATCH = do_POST  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


def _hears(line: socket.socket) -> None:
    """Reads all that was sent: who closes with something unread resets the connection."""
    line.recv(65_536)
    line.settimeout(0.05)
    with contextlib.suppress(TimeoutError):
        while line.recv(65_536):
            pass
    line.settimeout(None)


@contextlib.contextmanager
def bare(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A socket whose connections are answered by `answer`, in whatever is no HTTP."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen(8)

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    line, _ = door.accept()
                    with line, contextlib.suppress(OSError):
                        _hears(line)
                        answer(line)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{door.getsockname()[1]}"
        with contextlib.suppress(OSError):
            door.shutdown(socket.SHUT_RDWR)
