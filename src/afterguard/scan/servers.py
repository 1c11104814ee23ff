"""Which server of models, vectors or notebooks an image or a command is, and whether its settings demand credentials.

In: an image name, a command, the text of a service's settings. Out: rows of catalog/rules/servers. Images are matched on the tail of
their path, so that a mirrored registry does not hide them.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple

from afterguard import catalog


class Server(NamedTuple):
    """One product."""

    name: str
    images: tuple[str, ...]
    commands: tuple[re.Pattern[str], ...]
    ports: frozenset[int]
    auth: re.Pattern[str] | None


@cache
def servers() -> tuple[Server, ...]:
    """All known servers, once a process."""
    data: dict[str, Any] = catalog.load("rules/servers")
    return tuple(
        Server(
            row["name"],
            tuple(row["images"]),
            tuple(re.compile(text) for text in row["commands"]),
            frozenset(row["ports"]),
            re.compile(row["auth"], re.IGNORECASE) if row["auth"] else None,
        )
        for row in data["servers"]
    )


@cache
def words() -> re.Pattern[str]:
    """Words in the name of a Kubernetes service that stand for such a server."""
    return re.compile("|".join(re.escape(word) for word in catalog.load("rules/servers")["words"]), re.IGNORECASE)


def by_image(image: str) -> Server | None:
    """The server an image runs; registry, tag and digest do not matter."""
    bare = image.split("@", 1)[0].lower()
    head, _, last = bare.rpartition("/")
    path = f"{head}/{last.split(':', 1)[0]}" if head else last.split(":", 1)[0]
    for server in servers():
        if any(path == name or path.endswith("/" + name) for name in server.images):
            return server
    return None


def by_command(text: str) -> Server | None:
    """The server a command starts."""
    return next((one for one in servers() if any(pattern.search(text) for pattern in one.commands)), None)


def is_closed(server: Server, text: str) -> bool:
    """Whether the settings demand credentials."""
    return server.auth is not None and bool(server.auth.search(text))
