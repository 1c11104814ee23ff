"""Which mount an exchange belongs to at a door that does not see a mount in the path, but the address the client wanted.

In: scheme, host, port and path of a request. Out: the route and what of the path stands below it; None for a host that is no AI's. A mount knows the host it leads to; other providers are known from
the catalogue and get a route of their own, with the settings that all mounts share.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from afterguard import catalog
from afterguard.guard.route import Mounts, Place, Route

PORTS = {"http": 80, "https": 443}
KINDS = {
    "openai": "openai", "azure-openai": "azure", "azure-ai": "azure", "anthropic": "anthropic", "google-gemini": "gemini",
    "google-vertex-ai": "gemini", "aws-bedrock": "bedrock",
}  # fmt: skip
"""Provider of the catalogue -> kind of mount; any other is plain, and read by its paths and shapes."""


class Known(NamedTuple):
    """A row of the catalogue."""

    pattern: str
    """`*` alone as a label stands for one or more labels; inside a label it stays inside."""
    path: str
    route: Route


class Hosts:
    """Addresses -> routes."""

    def __init__(self, mounts: Mounts) -> None:
        self.mounts = [(urlsplit(one.upstream), one) for one in mounts.routes.values()]
        self.mounts.sort(key=lambda row: -len(row[0].path))
        self.known = list(_known(next(iter(mounts.routes.values())))) if mounts.routes else []
        self._at = lru_cache(maxsize=2048)(self._look)

    def find(self, scheme: str, host: str, port: int, path: str) -> Place | None:
        """The route of an address; scheme "" and port 0 where nobody said them."""
        if len(host) > 253:
            return None
        host = host.lower().rstrip(".")
        for parts, one in self.mounts:
            wanted = parts.port or PORTS[parts.scheme]
            is_there = parts.hostname == host and (not port or port == wanted) and scheme in ("", parts.scheme)
            if is_there and (path == parts.path or path.startswith(parts.path + "/")):
                return Place(one, path[len(parts.path) :])
        found = next((row for row in self._at(host) if path.startswith(row.path)), None)
        return None if found is None else Place(found.route, path)

    def routes(self) -> list[Route]:
        """Every route there may be: the mounts', then the catalogue's."""
        return [*(one for _, one in self.mounts), *(row.route for row in self.known)]

    def _look(self, host: str) -> tuple[Known, ...]:
        return tuple(row for row in self.known if re.fullmatch(expression(row.pattern), host))


def _known(like: Route) -> Iterator[Known]:
    for row in catalog.load("signals/hosts")["hosts"]:
        if row["kind"] != "provider":
            continue
        kind = KINDS.get(row["provider"], "plain")
        name = row["provider"] if kind == "plain" else kind
        one = msgspec.structs.replace(
            like, name=name, kind=kind, upstream=f"https://{row['match']}", mapping=None, region=""
        )
        yield Known(row["match"], row.get("path", ""), one)


def expression(pattern: str) -> str:
    """A pattern of the catalogue as a regular expression for the whole host, of the kind that POSIX reads too."""
    labels = (
        r"[^.]+(\.[^.]+)*" if one == "*" else re.escape(one).replace(r"\*", "[^.]*").replace(r"\-", "-")
        for one in pattern.split(".")
    )
    return r"\.".join(labels)
