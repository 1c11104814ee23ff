"""Further doors of one guard: what they are made of, and which there are.

In: the desk, the mounts and the settings. Out: for a door on an address of its own a Listener; for one that speaks HTTP on the guard's own address an ASGI callable by the first step of its path. A
door judges nothing: it makes a Visit of every exchange and does in its own protocol what the visit says.
"""

from __future__ import annotations

import importlib.util
import stat
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from afterguard.errors import UsageError
from afterguard.guard.desk import Desk
from afterguard.guard.route import Mounts

App = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]
]


class Room:
    """Bytes that may lie somewhere at once, over all exchanges of a process."""

    def __init__(self, most: int) -> None:
        self.left = most

    def take(self, size: int) -> bool:
        """Whether there is room; then it is taken."""
        if size > self.left:
            return False
        self.left -= size
        return True


class Given(NamedTuple):
    """What a door gets."""

    desk: Desk
    mounts: Mounts
    token: bytes = b""
    """What peers must show, "" where the guard is for this machine only."""
    tls: tuple[str, str, str] = ("", "", "")
    """PEM files of the guard's own certificate, of its key, and of the authority whose certificates peers must show; "" for none."""
    common: Mapping[str, Any] = {}
    """What the settings say for every route, for a door that makes routes of its own."""


class Listener(Protocol):
    """A door on an address of its own, in every serving process: they share the address (SO_REUSEPORT). Or one that reads a folder, in one of them at a time."""

    async def start(self) -> int:
        """Listen; the port, 0 for none."""

    async def close(self) -> None:
        """Take nothing new, let what is under way end."""


def _ext_proc(given: Given, address: str) -> Listener:
    from afterguard.guard.ext_proc import ExtProc

    return ExtProc(given, address)


def _icap(given: Given, address: str) -> Listener:
    from afterguard.guard.icap import Icap

    return Icap(given, address)


def taps(given: Given, folder: str) -> list[Listener]:
    """The door for what an Envoy taps, where there is a folder."""
    if not folder:
        return []
    from afterguard.guard.envoy_taps import Taps

    return [Taps(given, folder)]


LISTENERS: dict[str, Callable[[Given, str], Listener]] = {"ext_proc": _ext_proc, "icap": _icap}
"""Name of `guard.door` -> what makes it, from an address HOST:PORT. A function imports what it needs itself: most guards have no such door."""
NEEDS = {
    "ext_proc": (("hpack", "google.protobuf"), "envoy"),
    "taps": (("google.protobuf",), "envoy"),
    "grpc": (("grpc",), "grpc"),
}
"""Name -> (modules that must be there, the extra that brings them). They are not imported before the serving processes are forked."""


def _litellm(given: Given) -> App:
    from afterguard.guard.litellm import LiteLLM

    return LiteLLM(given)


def _agentgateway(given: Given) -> App:
    from afterguard.guard.agentgateway import AgentGateway

    return AgentGateway(given)


def _otlp(given: Given) -> App:
    from afterguard.guard.collect import Collector

    return Collector(given)


def _mirror(given: Given) -> App:
    from afterguard.guard.mirror import Mirror

    return Mirror(given)


PATHS: dict[str, Callable[[Given], App]] = {
    "litellm": _litellm,
    "agentgateway": _agentgateway,
    "otlp": _otlp,
    "mirror": _mirror,
}
"""First step of a path on the guard's own address -> what makes the door behind it."""
ON_REQUEST = ("litellm", "agentgateway")
"""Those of PATHS that are closed where `guard.gateway` does not name them."""


def open_paths(gateways: list[str]) -> set[str]:
    """The doors of PATHS that are to be open. Raises UsageError."""
    for name in gateways:
        if name not in ON_REQUEST:
            raise UsageError(
                f"no such gateway: {name!r}", hint=f"names: {', '.join(ON_REQUEST)}", slug="bad-configuration"
            )
    return {name for name in PATHS if name not in ON_REQUEST or name in gateways}


class TooLong(Exception):
    """A body above the cap."""


async def whole(receive: Callable[[], Awaitable[Any]], cap: int) -> bytes:
    """The body of a request. Raises TooLong, and ConnectionResetError where the peer has left."""
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError("the peer has left")
        piece = message.get("body", b"")
        size += len(piece)
        if size > cap:
            raise TooLong
        pieces.append(piece)
        if not message.get("more_body"):
            return b"".join(pieces)


def encoding_of(headers: list[tuple[bytes, bytes]]) -> str:
    """Content-Encoding of a request."""
    return next((value.decode("latin-1") for name, value in headers if name == b"content-encoding"), "")


def folder_of_taps(folder: Path) -> None:
    """Make the folder where there is none. Raises UsageError where others may write into it: what lies there is believed."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = folder.stat().st_mode
    except OSError as error:
        raise UsageError(
            f"guard.taps: {folder}: {error.strerror}",
            hint="a folder that the guard and Envoy may write",
            slug="bad-configuration",
        ) from error
    if not stat.S_ISDIR(mode) or mode & 0o002:
        raise UsageError(
            f"guard.taps: everybody may write into {folder}, and what lies there is believed",
            hint=f"chmod o-rwx {folder}",
            slug="bad-configuration",
        )


def addresses(rows: list[str], names: Iterable[str] = LISTENERS) -> list[tuple[str, str]]:
    """`NAME=HOST:PORT` as (name, address). Raises UsageError."""
    out = []
    for row in rows:
        name, _, address = row.partition("=")
        host, _, port = address.rpartition(":")
        if name not in names or not host or not port.isdigit() or int(port) > 65535:
            known = ", ".join(names)
            raise UsageError(
                f"no such door: {row!r}", hint=f"write NAME=HOST:PORT; names: {known}", slug="bad-configuration"
            )
        needs(name)
        out.append((name, address))
    return out


def needs(name: str) -> None:
    """Whether what a door needs is there. Raises UsageError."""
    modules, extra = NEEDS.get(name, ((), ""))
    if not all(map(_is_here, modules)):
        raise UsageError(
            f"the door {name} needs more packages", hint=f"pip install 'afterguard[{extra}]'", slug="missing-extra"
        )


def _is_here(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
