"""NATS JetStream: one message an event, on a subject for each lane.

In: batches. Out: messages with the event's id as `Nats-Msg-Id`, by which the stream drops duplicates within its window. A message counts when the stream has acknowledged it. The client is asynchronous and runs in a thread of its own, where it also answers
the server's pings. It makes no stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections import OrderedDict
from collections.abc import Coroutine, Sequence
from typing import Annotated, Any

from msgspec import Meta

from afterguard.errors import UsageError
from afterguard.export.secret import Secret, told
from afterguard.export.sink import Item, Limits, Plain, Sent, Settings, Unavailable

REMEMBERED = 64


class Nats(Settings, frozen=True, kw_only=True, tag="nats"):
    """A stream."""

    servers: Annotated[tuple[str, ...], Meta(min_length=1)]
    """nats://HOST:PORT or tls://HOST:PORT of some."""
    subject: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,200}$")] = "afterguard"
    """Messages go to SUBJECT.alert, SUBJECT.audit, SUBJECT.telemetry; a stream must take these."""
    ca_file: str = ""
    """Certificates that vouch for the servers; empty: the system's."""
    credentials: str = ""
    """A .creds file, where the servers ask for one."""
    user: str = ""
    """A user name."""
    password: Secret | None = None
    """Where the password lies."""
    token: Secret | None = None
    """Where a token lies, where the servers take one."""
    event_bytes: Annotated[int, Meta(ge=1_000, le=64 << 20)] = 1_000_000
    """Bytes of a message that the servers take (max_payload)."""


class NatsSink(Plain):
    """A connection."""

    def __init__(self, settings: Nats) -> None:
        try:
            import nats
        except ImportError:
            raise UsageError("the nats sink needs nats-py", hint="pip install 'afterguard[nats]'", slug="missing-extra") from None  # fmt: skip
        self._nats = nats
        self._settings = settings
        self.limits = Limits(events=500, size=4 << 20, event=settings.event_bytes)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._line: Any = None
        self._places: OrderedDict[str, tuple[str, int]] = OrderedDict()
        """Id of an alert -> its stream and number there."""

    def send(self, batch: Sequence[Item]) -> Sent:
        """Publish all, and wait for the acknowledgement of each."""
        try:
            outcomes = self._run(self._publish(batch))
        except Exception as error:  # whatever the client raises, the events stay
            self.close()
            raise Unavailable(f"{self._settings.servers[0]}: {type(error).__name__} {error}"[:300]) from None
        again = tuple(place for place, one in enumerate(outcomes) if isinstance(one, BaseException))
        if len(again) == len(batch):
            why = outcomes[0]
            raise Unavailable(f"{self._settings.subject}: {type(why).__name__} {why}"[:300])
        self._remember(batch, outcomes)
        return Sent(again)

    async def _publish(self, batch: Sequence[Item]) -> list[Any]:
        line = await self._connected()
        stream = line.jetstream(timeout=self._settings.timeout)
        waiting = [
            stream.publish(f"{self._settings.subject}.{one.lane}", one.body, headers={"Nats-Msg-Id": one.id})
            for one in batch
        ]
        return list(await asyncio.gather(*waiting, return_exceptions=True))

    def has(self, id: str) -> bool | None:
        """Whether the message is where the stream said it put it."""
        if id not in self._places:
            return False
        stream, number = self._places[id]
        found = self._run(self._message(stream, number))
        return bool(found is not None and (found.headers or {}).get("Nats-Msg-Id") == id)

    async def _message(self, stream: str, number: int) -> Any:
        line = await self._connected()
        with contextlib.suppress(self._nats.js.errors.NotFoundError):
            return await line.jetstream(timeout=self._settings.timeout).get_msg(stream, number)
        return None

    def close(self) -> None:
        """Disconnect and end the thread."""
        loop, self._loop = self._loop, None
        if loop is None:
            return
        with contextlib.suppress(Exception):
            asyncio.run_coroutine_threadsafe(self._hung_up(), loop).result(5.0)
        loop.call_soon_threadsafe(loop.stop)

    async def _hung_up(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            await line.close()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(
                target=_forever, args=(self._loop,), name=f"nats {self._settings.name}", daemon=True
            ).start()
        # The client gives up by itself; this only ends a wait that it forgot.
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(self._settings.timeout * 2 + 10.0)

    async def _connected(self) -> Any:
        if self._line is not None and self._line.is_connected:
            return self._line
        await self._hung_up()
        here = self._settings
        options: dict[str, Any] = {"servers": list(here.servers), "allow_reconnect": False, "connect_timeout": min(here.timeout, 10.0)}  # fmt: skip
        options["error_cb"] = _quiet
        if any(one.startswith("tls://") for one in here.servers):
            options["tls"] = ssl.create_default_context(cafile=here.ca_file or None)
        if here.credentials:
            options["user_credentials"] = here.credentials
        options |= {name: value for name, value in (("user", here.user), ("password", told(here.password)), ("token", told(here.token))) if value}  # fmt: skip
        self._line = await self._nats.connect(**options)
        return self._line

    def _remember(self, batch: Sequence[Item], outcomes: list[Any]) -> None:
        for one, outcome in zip(batch, outcomes, strict=True):
            if one.lane == "alert" and not isinstance(outcome, BaseException):
                self._places[one.id] = (outcome.stream, outcome.seq)
        while len(self._places) > REMEMBERED:
            self._places.popitem(last=False)


async def _quiet(_: Exception) -> None:
    """Errors come where the work is; the client would print them too."""


def _forever(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()
