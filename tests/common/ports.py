"""Ports for the servers that tests start.

In: nothing. Out: a port that nobody uses just now. Not one of the system's own choice: those are of the range from which connections that leave take theirs, and a server that starts a moment later would find it taken,
or, where it shares its port, get the connections of another test.
"""

from __future__ import annotations

import itertools
import os
import random
import re
import socket

FIRST, LAST = 10_000, 32_000
"""Below what Linux gives to connections that leave (net.ipv4.ip_local_port_range begins at 32768)."""
EACH = 2_000
"""For one process of tests; its neighbours have others."""
_turn = itertools.count(random.SystemRandom().randrange(EACH))


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port of this machine that nothing listens on; another one each time."""
    worker = int(re.sub(r"\D", "", os.environ.get("PYTEST_XDIST_WORKER", "")) or 0)
    first = FIRST + EACH * (worker % ((LAST - FIRST) // EACH))
    for turn in itertools.islice(_turn, EACH):
        with socket.socket(type=kind) as one:
            try:
                one.bind(("127.0.0.1", first + turn % EACH))
            except OSError:
                continue
            return first + turn % EACH
    raise OSError("no port is free")
