"""The guard inside an application: drop-in SDK clients, transports for httpx, and middleware for ASGI and WSGI.

In: settings, as the command `afterguard guard` has them, and what the application already has: an SDK, a client of httpx, an application. Out: the same thing, guarded in this process, without a hop.

    from afterguard.clients.openai import OpenAI            # instead of: from openai import OpenAI
    from afterguard.clients.anthropic import Anthropic
    app = afterguard.clients.asgi(app, endpoint=["support=/chat"], mapping=["support=mapping.yaml"])
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, TypeVar

from afterguard.errors import UsageError
from afterguard.guard.transport import AsyncTransport, Transport
from afterguard.jobs.inside import Made, made

__all__ = ["AsyncTransport", "Made", "Transport", "asgi", "guard", "guarded", "metrics", "wsgi"]

C = TypeVar("C")
_lock = threading.Lock()
_made: list[Made] = []


def guard(config: str | Path | None = None, **settings: Any) -> Made:
    """The guard of this process. The first call makes it, and waits until it is ready (its detectors are compiled: under a second, several the first time on a machine); `settings` are those of [guard],
    without them what AFTERGUARD_CONFIG and the environment say holds. Later calls give the same one. Raises UsageError, also for settings that come too late."""
    with _lock:
        if not _made:
            _made.append(made(config, **settings))
        elif config is not None or settings:
            raise UsageError(
                "the guard of this process runs already, with other settings",
                hint="say the settings in the first call: afterguard.clients.guard(...)",
                slug="bad-configuration",
            )
        return _made[0]


def metrics() -> bytes:
    """The numbers of this process's guard, as Prometheus reads them."""
    return guard().inside.page()


def asgi(app: Any, config: str | Path | None = None, **settings: Any) -> Any:
    """An ASGI application, its chats (`guard.endpoint`) guarded."""
    from afterguard.guard.asgi import Guarded

    here = guard(config, **settings)
    return Guarded(app, here.inside, _endpoints(here))


def wsgi(app: Any, config: str | Path | None = None, **settings: Any) -> Any:
    """A WSGI application, its chats (`guard.endpoint`) guarded."""
    from afterguard.guard.wsgi import Guarded

    here = guard(config, **settings)
    return Guarded(app, here.inside, _endpoints(here))


def _endpoints(here: Made) -> Any:
    found = here.endpoints()
    if not found:
        raise UsageError(
            "no endpoint: nothing of the application would be guarded",
            hint='guard.endpoint = ["support=/chat"], and how it is read: guard.mapping = ["support=mapping.yaml"]',
            slug="bad-configuration",
        )
    return found


def guarded(client: C, kind: str, name: str = "") -> C:
    """A client of httpx or httpx2, sync or async, whose calls to a provider of this kind are guarded from now on: its own transports stay, inside ours. `name` is what the
    route is called in policies, the kind where it is left out. Guarding it twice changes nothing. Raises UsageError for anything else."""
    own = getattr(client, "_transport", None)
    mounts = getattr(client, "_mounts", None)
    if own is None or not isinstance(mounts, dict):
        raise UsageError(
            f"{type(client).__name__} is no client of httpx or httpx2 that can be guarded",
            hint="give it transport=afterguard.clients.Transport(inner, guard().inside, guard().route('openai', 'openai'))",
            slug="bad-usage",
        )
    if isinstance(own, (Transport, AsyncTransport)):
        return client
    here = guard()
    route = here.route(name or kind, kind)
    around = AsyncTransport if hasattr(own, "handle_async_request") else Transport
    client._transport = around(own, here.inside, route)  # type: ignore[attr-defined]
    for pattern, inner in mounts.items():
        mounts[pattern] = around(inner, here.inside, route) if inner is not None else None
    return client
