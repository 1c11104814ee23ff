"""A Redis or Valkey stream: one entry an event.

In: batches. Out: entries with the fields id, lane, event. A batch is one transaction. Redis drops no duplicates: a reader does, by id. What Redis answers is in its memory; whether it is on its disk is Redis's own setting (appendfsync).
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta

from afterguard.errors import UsageError
from afterguard.export.secret import Secret, told
from afterguard.export.sink import Item, Limits, Plain, Sent, Settings, Unavailable

REMEMBERED = 64


class Redis(Settings, frozen=True, kw_only=True, tag="redis"):
    """A stream."""

    url: Annotated[str, Meta(pattern=r"^(rediss?|unix)://")]
    """redis://HOST:PORT/DB, rediss:// with TLS, or unix://PATH; without a password."""
    stream: Annotated[str, Meta(min_length=1, max_length=200)] = "afterguard:events"
    """Its key."""
    user: str = ""
    """A user name, where there is one."""
    password: Secret | None = None
    """Where the password lies."""
    longest: Annotated[int, Meta(ge=0)] = 0
    """Entries that the stream keeps, about; 0: all. What Redis cuts off is not counted here."""


class RedisSink(Plain):
    """A connection."""

    limits = Limits(events=1_000, size=4 << 20, event=4 << 20)

    def __init__(self, settings: Redis) -> None:
        try:
            import redis
        except ImportError:
            raise UsageError("the redis sink needs redis", hint="pip install 'afterguard[redis]'", slug="missing-extra") from None  # fmt: skip
        self._redis = redis
        self._settings = settings
        self._line: Any = None
        self._places: OrderedDict[str, bytes] = OrderedDict()
        """Id of an alert -> its entry."""

    def send(self, batch: Sequence[Item]) -> Sent:
        """Append in one transaction."""
        here = self._settings
        try:
            pipe = self._connected().pipeline(transaction=True)
            for one in batch:
                fields = {"id": one.id, "lane": one.lane, "event": one.body}
                pipe.xadd(here.stream, fields, maxlen=here.longest or None, approximate=True)
            places = pipe.execute()
        except (self._redis.RedisError, OSError) as error:
            self.close()
            raise Unavailable(f"{here.stream}: {error}"[:300]) from None
        self._remember(batch, places)
        return Sent()

    def has(self, id: str) -> bool | None:
        """Whether the entry is there."""
        place = self._places.get(id)
        found = self._connected().xrange(self._settings.stream, place, place) if place else []
        return any(fields.get(b"id") == id.encode() for _, fields in found)

    def close(self) -> None:
        """Disconnect."""
        if self._line is not None:
            with contextlib.suppress(Exception):
                self._line.close()
        self._line = None

    def _connected(self) -> Any:
        if self._line is None:
            here = self._settings
            self._line = self._redis.Redis.from_url(
                here.url, username=here.user or None, password=told(here.password) or None,
                socket_timeout=here.timeout, socket_connect_timeout=min(here.timeout, 10.0),
            )  # fmt: skip
        return self._line

    def _remember(self, batch: Sequence[Item], places: list[bytes]) -> None:
        for one, place in zip(batch, places, strict=True):
            if one.lane == "alert":
                self._places[one.id] = place
        while len(self._places) > REMEMBERED:
            self._places.popitem(last=False)
