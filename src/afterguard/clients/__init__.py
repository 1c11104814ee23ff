"""The guard inside an application: drop-in SDK clients, transports for httpx, and middleware for ASGI and WSGI.

In: settings, as the command `afterguard guard` has them, and what the application already has: an SDK, a client of httpx, an application. Out: the same thing, guarded in this process, without a hop.

    from afterguard.clients.openai import OpenAI            # instead of: from openai import OpenAI
    from afterguard.clients.anthropic import Anthropic
    app = afterguard.clients.asgi(app, endpoint=["support=/chat"], mapping=["support=mapping.yaml"])
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

from afterguard.errors import UsageError
from afterguard.guard.through import AsyncThrough, Through
from afterguard.guard.transport import AsyncTransport, Transport
from afterguard.jobs.inside import Made, made

__all__ = ["AsyncTransport", "Made", "Transport", "asgi", "guard", "guarded", "metrics", "prove", "through", "wsgi"]

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


def prove(*kinds: str) -> str:
    """Harmless probes through the doors inside this process, for these kinds of provider (openai and anthropic where none is named): the table that `afterguard guard prove` prints, with a line GAP for each cell that was not seen. Neither the application
    nor a provider is asked."""
    from afterguard.jobs import prove as proving
    from afterguard.jobs import prove_inside

    made = guard()
    policy = made.inside.held().desk.brain.policy
    rows = list(prove_inside.proofs(made, kinds or ("openai", "anthropic")))
    return proving.table(rows, policy.revision if policy else "none")


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
    _transports(client)
    here = guard()
    route = here.route(name or kind, kind)
    return _around(client, lambda inner: _either(inner, Transport, AsyncTransport)(inner, here.inside, route))


def through(client: C, address: str, on_error: Literal["open", "closed"] = "open", token: str = "") -> C:
    """A client of httpx or httpx2 whose calls are led through a guard that runs elsewhere, `address` being that of a mount (http://127.0.0.1:8765/openai): no detectors in this process. Where nobody
    listens there they go to the provider as before (open), with an error in the log, or fail (closed). Raises UsageError for anything else than such a client."""
    if not address.startswith(("http://", "https://")):
        raise UsageError(
            f"no address of a mount: {address!r}", hint="http://127.0.0.1:8765/openai", slug="bad-upstream"
        )
    is_open = on_error == "open"
    return _around(
        client, lambda inner: _either(inner, Through, AsyncThrough)(inner, address, is_open=is_open, token=token)
    )


def _either(inner: Any, threads: Any, loops: Any) -> Any:
    return loops if hasattr(inner, "handle_async_request") else threads


def _transports(client: Any) -> tuple[Any, dict[Any, Any]]:
    own = getattr(client, "_transport", None)
    mounts = getattr(client, "_mounts", None)
    if own is None or not isinstance(mounts, dict):
        raise UsageError(
            f"{type(client).__name__} is no client of httpx or httpx2 that can be guarded",
            hint="give it transport=afterguard.clients.Transport(inner, guard().inside, guard().route('openai', 'openai'))",
            slug="bad-usage",
        )
    return own, mounts


def _around(client: C, wrap: Callable[[Any], Any]) -> C:
    own, mounts = _transports(client)
    if isinstance(own, (Transport, AsyncTransport, Through, AsyncThrough)):
        return client
    client._transport = wrap(own)  # type: ignore[attr-defined]
    for pattern, inner in mounts.items():
        mounts[pattern] = wrap(inner) if inner is not None else None
    return client
