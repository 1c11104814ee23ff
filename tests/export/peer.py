"""A protocol peer: a small server whose answers are the test's, for vendors whose own server is not to be had here.

In: a function that answers. Out: its address, and what it was sent.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, dict[str, str], bytes]


class Peer:
    """A server whose answers are the test's; it remembers what it was sent."""

    def __init__(self, answer: Callable[[Peer, str, dict[str, str], bytes], Answer]) -> None:
        self.seen: list[tuple[str, dict[str, str], bytes]] = []
        self.state: dict[str, Any] = {}
        here = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                headers = {name.lower(): value for name, value in self.headers.items()}
                here.seen.append((self.path, headers, body))
                status, more, out = answer(here, self.path, headers, body)
                self.send_response(status)
                for name, value in more.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(out)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # who has read enough leaves
                    self.wfile.write(out)

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


@contextlib.contextmanager
def peer(answer: Callable[[Peer, str, dict[str, str], bytes], Answer]) -> Iterator[Peer]:
    one = Peer(answer)
    try:
        yield one
    finally:
        one.server.shutdown()
        one.server.server_close()
