"""What a door needs to know about one mount: where it leads, how strictly, and what to do when the guard itself fails.

In: settings. Out: frozen `Route`s and `mounts`, the table a door looks paths up in. It opens nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from afterguard.detect.feature_schema import Schema
from afterguard.errors import UsageError
from afterguard.wire import predictive
from afterguard.wire.learned import Mapping
from afterguard.wire.scoring import Scoring

KINDS = ("openai", "azure", "anthropic", "gemini", "bedrock", "ollama", "mcp", "plain", *predictive.KINDS)
"""Kinds a mount may have, providers of language models and servers of predictive ones; a mount of another name is `NAME:KIND=URL`, mcp servers are `mcp/NAME=URL`."""


class Route(msgspec.Struct, frozen=True):
    """One mount of the guard."""

    name: str
    """First segment of the path: openai, anthropic, mcp/tickets..."""
    kind: str
    """Which provider's paths stand below it, one of KINDS."""
    upstream: str
    """Origin with optional base path: https://api.openai.com"""
    mode: str = ""
    """Empty: what the policy says for this route."""
    share: float = -1.0
    """Share of conversations in which mode `share` enforces; negative: what the policy says."""
    on_error: str = ""
    """open or closed: what happens when the guard cannot judge in time or at all. Empty: what the policy says."""
    budget: float = 0.0
    """Seconds that the judgements of one exchange may add; 0: what the policy says."""
    app: str = ""
    environment: str = ""
    region: str = ""
    """Of Bedrock, where requests are signed anew."""
    mapping: Mapping | None = None
    """Where in the bodies of a plain API what is said; None: only the shapes that everybody knows are read."""
    scoring: Scoring | None = None
    """The same of a scoring API."""
    schemas: dict[str, Schema] = {}
    """Model -> the features that were agreed for it; "" is any model of the mount."""

    @property
    def is_predictive(self) -> bool:
        """Whether predictive models stand behind it."""
        return self.kind in predictive.KINDS


class Place(NamedTuple):
    """A path below a mount."""

    route: Route
    path: str


def route(text: str, **settings: object) -> Route:
    """`openai=URL`, `support:openai=URL`, `mcp/tickets=URL` as a Route. Raises UsageError."""
    name, _, url = text.partition("=")
    label, _, kind = name.strip().partition(":")
    kind = kind or ("mcp" if label.startswith("mcp/") else label)
    parts = urlsplit(url.strip())
    if kind not in KINDS:
        raise UsageError(
            f"--upstream {text!r}: {kind!r} is no kind of provider",
            hint=f"write NAME=URL or NAME:KIND=URL with KIND one of {', '.join(KINDS)}",
            slug="bad-upstream",
        )
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise UsageError(
            f"--upstream {text!r}: no http(s) address",
            hint="for instance openai=https://api.openai.com",
            slug="bad-upstream",
        )
    if parts.username or parts.password:
        raise UsageError(
            f"--upstream {label}: keys do not belong into the address",
            hint="the application's own key passes through",
            slug="bad-upstream",
        )
    base = url.strip().rstrip("/")
    if kind in ("openai", "anthropic") and base.endswith("/v1"):
        base = base.removesuffix("/v1")  # as SDKs write it; below the mount the path says /v1 again
    return msgspec.convert({"name": label, "kind": kind, "upstream": base, **settings}, Route)


class Mounts:
    """Paths -> routes. The longest mount wins."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = {one.name: one for one in routes}

    def find(self, path: str) -> Place | None:
        """The route of a path and what stands below it, None where nothing is mounted."""
        head, _, rest = path[1:].partition("/")
        found = self.routes.get(head)
        if found is not None:
            return Place(found, "/" + rest)
        second, _, rest = rest.partition("/")
        found = self.routes.get(f"{head}/{second}")
        return None if found is None else Place(found, "/" + rest if rest else "")
