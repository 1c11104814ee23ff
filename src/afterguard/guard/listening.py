"""Sockets that several processes listen on together, and how one of them leaves without resetting anybody.

In: HOST:PORT. Out: bound sockets; the connections that wait when one stops listening. It will not read from a connection.

The kernel deals connections out among all sockets on an address (SO_REUSEPORT), and resets those that wait in the queue of one that closes.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Any

from afterguard.errors import UsageError

BACKLOG = 1_024
Factory = Callable[[], asyncio.BaseProtocol]


def resolved(listen: str) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    """Family and address of HOST:PORT. Raises UsageError."""
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    hint = "Write host:port, for instance 127.0.0.1:8484 or [::1]:8484."
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"{listen!r} is not an address to listen on", hint=hint, slug="guard-listen")
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise UsageError(f"{host!r} is no host of this machine", hint=hint, slug="guard-listen") from error
    return found[0][0], found[0][4]


def bound(family: socket.AddressFamily, address: tuple[Any, ...], *, shared: bool) -> socket.socket:
    """A socket that is bound and, where it is shared, does not listen yet. Raises OSError."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared and hasattr(socket, "SO_REUSEPORT"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setblocking(False)
        sock.bind(address)
        if not shared:
            sock.listen(1)
    except OSError:
        sock.close()
        raise
    return sock


def shared(listen: str) -> socket.socket:
    """A socket on HOST:PORT that other workers, and the guard that takes over, may bind too. Raises UsageError."""
    family, address = resolved(listen)
    try:
        return bound(family, address, shared=True)
    except OSError as error:
        raise UsageError(
            f"can not listen on {listen}: {error.strerror}", hint="choose another address", slug="guard-listen"
        ) from error


async def stop(
    server: asyncio.AbstractServer, sock: socket.socket, factory: Factory, context: ssl.SSLContext | None = None
) -> None:
    """Listen no more. Whoever has been waiting since the last turn of the loop is still taken."""
    loop = asyncio.get_running_loop()
    waiting = []
    with contextlib.suppress(OSError):
        while True:
            waiting.append(sock.accept()[0])
    server.close()
    sock.close()
    for accepted in waiting:
        accepted.setblocking(False)
        with contextlib.suppress(OSError):
            await loop.connect_accepted_socket(factory, accepted, ssl=context)
