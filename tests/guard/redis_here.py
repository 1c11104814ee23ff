"""A real Redis or Valkey that may go, hang and come back empty.

In: nothing. Out: `Redis`. Whoever starts one kills it.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from typing import Any

from ports import free_port

SERVER = shutil.which("redis-server") or shutil.which("valkey-server")
MISSING = "no redis-server here; apt-get install redis-server"


class Redis:
    """A real one that may go and come back, empty."""

    def __init__(self) -> None:
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = [str(SERVER), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 20
        while not self.answers():
            assert time.monotonic() < until, "Redis does not start"
            time.sleep(0.02)

    def answers(self) -> bool:
        """Whether it answers within two seconds."""
        with contextlib.suppress(OSError):
            return b"PONG" in self.talk(b"PING\r\n")
        return False

    def talk(self, words: bytes) -> bytes:
        """What it says to a line of its protocol."""
        with socket.create_connection(("127.0.0.1", self.port), 2.0) as line:
            line.sendall(words)
            line.settimeout(2.0)
            return line.recv(1 << 16)

    def events(self, name: str = "watch") -> list[str]:
        """Ids of the events that guards handed over to the common watch."""
        import redis

        from afterguard.guard.together import key
        from afterguard.watch.live import decoded

        with redis.Redis(port=self.port) as line:
            rows: Any = line.xrange(key(name, "events"))
        return [event.id for _, fields in rows for event in decoded(fields[b"e"])]

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()

    def hang(self, is_hanging: bool) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP if is_hanging else signal.SIGCONT)

    def counts(self) -> bool:
        """Whether it holds what callers used."""
        return b"afterguard:use" in self.talk(b"KEYS afterguard:use:*\r\n")
