"""Where routes are served when their router is registered in another file: `include_router`, `register_blueprint`, `app.use`.

In: Lookup. Out: the name of an endpoint with every prefix above it. A router mounted twice shows under its first prefix.
"""

from __future__ import annotations

from afterguard.discover.lookup import Lookup
from afterguard.discover.summary import Mount, Path, Summary

DEPTH = 4
"""Routers inside routers."""
ANY = "*"
Place = tuple[str, str]


class Mounts:
    """Router of a file -> how it is mounted."""

    def __init__(self, lookup: Lookup) -> None:
        self.above: dict[Place, tuple[Summary, Mount]] = {}
        for path in sorted(lookup.by_path):
            one = lookup.by_path[path]
            for mount in one.mounts:
                for held, symbol, _ in lookup.meanings(mount.router, path):
                    at = self._router(held, symbol)
                    if at is not None and (held.path, at) != (path, mount.parent):
                        self.above.setdefault((held.path, at), (one, mount))
                        break

    @staticmethod
    def _router(held: Summary, symbol: str) -> str | None:
        """The router that a symbol is, ANY where a function makes it or a file hands it out; None for anything else."""
        routers = {route.router for route in held.routes} | {mount.parent for mount in held.mounts}
        if symbol in routers:
            return symbol
        if symbol == "default" or not symbol:
            return ANY if routers else None
        inside = held.functions.get(symbol)
        return ANY if inside is not None and routers else None

    def name(self, one: Summary, route: Path) -> str:
        """METHOD and the whole path."""
        path = route.path
        mounted = self._mount(one, route.router)
        if mounted is not None and mounted[1].replaces:
            path = path.removeprefix(one.prefixes.get(route.router, "")) or "/"
        return f"{route.method} {self._prefix(one, route.router, DEPTH)}{path}".strip()

    def _mount(self, one: Summary, router: str) -> tuple[Summary, Mount] | None:
        return self.above.get((one.path, router)) or (self.above.get((one.path, ANY)) if router else None)

    def _prefix(self, one: Summary, router: str, depth: int) -> str:
        found = self._mount(one, router)
        if found is None or not depth:
            return ""
        parent, mount = found
        own = parent.prefixes.get(mount.parent, "")
        return self._prefix(parent, mount.parent, depth - 1) + own + mount.prefix.rstrip("/")
