"""The door of a guard that runs elsewhere, from inside an SDK: its calls are led through the guard's reverse proxy, and past it where it is not there.

In: an inner transport of httpx or httpx2, the address of a mount. Out: the same requests to that address; where nobody listens there, and the route fails open, to the provider as before. Only a connection that could
not be made leads past: once something was sent, nobody knows how far it came.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

log = logging.getLogger("afterguard.guard")


class Door:
    """What the transport of threads and that of event loops share."""

    def __init__(self, inner: Any, address: str, *, is_open: bool = True, token: str = "") -> None:
        self.inner = inner
        self.address = address.rstrip("/")
        """Of the mount: http://127.0.0.1:8765/openai"""
        self.is_open = is_open
        self.token = token
        self.passed = 0
        """Calls that went past the guard."""

    def _led(self, request: Any, body: bytes) -> Any:
        """The request, to the guard."""
        headers = [(name, value) for name, value in request.headers.raw if name.lower() != b"host"]
        if self.token:
            headers.append((b"x-afterguard-token", self.token.encode()))
        url = self.address + request.url.raw_path.decode("ascii")
        return type(request)(request.method, url, headers=headers, content=body, extensions=request.extensions)

    def _past(self, error: Exception) -> None:
        """Nobody is there. Raises where the route fails closed."""
        if not self.is_open:
            raise error
        self.passed += 1
        log.error(
            "the guard at %s is not there (%s): calls pass unjudged, %d until now", self.address, error, self.passed
        )


def _unreached(request: Any) -> tuple[type[Exception], ...]:
    library = sys.modules[type(request).__module__.partition(".")[0]]
    return library.ConnectError, library.ConnectTimeout


class Through(Door):
    """For clients of threads."""

    def handle_request(self, request: Any) -> Any:
        """One try of a call."""
        body = request.read()
        try:
            return self.inner.handle_request(self._led(request, body))
        except _unreached(request) as error:
            self._past(error)
        return self.inner.handle_request(request)

    def close(self) -> None:
        """No more calls."""
        self.inner.close()

    def __enter__(self) -> Through:
        self.inner.__enter__()
        return self

    def __exit__(self, *why: Any) -> None:
        self.inner.__exit__(*why)


class AsyncThrough(Door):
    """For clients of event loops: the same, awaited."""

    async def handle_async_request(self, request: Any) -> Any:
        """One try of a call."""
        body = await request.aread()
        try:
            return await self.inner.handle_async_request(self._led(request, body))
        except _unreached(request) as error:
            self._past(error)
        return await self.inner.handle_async_request(request)

    async def aclose(self) -> None:
        """No more calls."""
        await self.inner.aclose()

    async def __aenter__(self) -> AsyncThrough:
        await self.inner.__aenter__()
        return self

    async def __aexit__(self, *why: Any) -> None:
        await self.inner.__aexit__(*why)
