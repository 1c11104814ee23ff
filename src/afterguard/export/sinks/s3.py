"""An S3-compatible store: objects of compressed JSON lines, one a batch.

In: batches. Out: PREFIX/2026/11/30/00/LANE-HASH.jsonl.gz, where the hash is of the events' ids: the same batch sent again replaces itself. Requests are signed (AWS Signature Version 4). It makes no bucket and deletes nothing.
"""

from __future__ import annotations

import gzip
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated
from urllib.parse import quote, urlsplit

from msgspec import Meta

from afterguard import net
from afterguard.export.secret import Secret, told
from afterguard.export.sink import Item, Limits, Plain, Sent
from afterguard.export.sinks.web import Door, Web, joined
from afterguard.sigv4 import signed

REMEMBERED = 64
"""Objects with alerts of which the keys are remembered, to read them back."""


class S3(Web, frozen=True, kw_only=True, tag="s3"):
    """A bucket; `url` is the store's endpoint, the bucket follows in the path."""

    bucket: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9.-]{1,62}$")]
    """Which one; it must be there."""
    prefix: Annotated[str, Meta(pattern=r"^[A-Za-z0-9/_.=-]*$")] = "afterguard"
    """What each key begins with."""
    region: str = "us-east-1"
    """The region that requests are signed for."""
    access_key: Secret
    """The access key's id."""
    secret_key: Secret
    """The secret access key."""
    session_token: Secret | None = None
    """Of temporary credentials."""


class S3Sink(Plain):
    """A bucket."""

    limits = Limits(events=10_000, size=8 << 20, event=4 << 20, linger=30.0)

    def __init__(self, settings: S3) -> None:
        self._settings = settings
        self._door = Door(settings)
        self._keys: OrderedDict[str, str] = OrderedDict()
        """Id of an alert -> the object it is in."""

    def send(self, batch: Sequence[Item]) -> Sent:
        """Put an object."""
        path = self._path(batch)
        body = gzip.compress(b"".join(one.body.replace(b"\n", b" ") + b"\n" for one in batch), 6, mtime=0)
        self._ask("PUT", path, body)
        for one in batch:
            if one.lane == "alert":
                self._keys[one.id] = path
        while len(self._keys) > REMEMBERED:
            self._keys.popitem(last=False)
        return Sent()

    def has(self, id: str) -> bool | None:
        """Whether the object that it went into is there and holds it."""
        if not (path := self._keys.get(id)):
            return False
        body = self._ask("GET", path, b"").body
        return id.encode() in zlib.decompressobj(31).decompress(body, self.limits.size * 2)

    def _path(self, batch: Sequence[Item]) -> str:
        first = batch[0]
        at = datetime.fromtimestamp(first.at, UTC)
        digest = sha256("\n".join(one.id for one in batch).encode()).hexdigest()[:24]
        parts = [self._settings.bucket, self._settings.prefix.strip("/"), f"{at:%Y/%m/%d/%H}", f"{first.lane}-{digest}.jsonl.gz"]  # fmt: skip
        return "/" + quote("/".join(one for one in parts if one), safe="/-_.~")

    def _ask(self, method: str, path: str, body: bytes) -> net.Reply:
        here = self._settings
        host = urlsplit(here.url).netloc
        base = urlsplit(here.url).path.rstrip("/")
        headers = signed(
            method, base + path, "", [(b"host", host.encode()), (b"content-type", b"application/gzip")], body,
            access_key=here.access_key.read(), secret_key=here.secret_key.read(), session_token=told(here.session_token),
            region=here.region, service="s3", time=f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}",
        )  # fmt: skip
        plain = {name.decode(): value.decode() for name, value in headers}
        # 400 from a store is about the request, which is ours, or the clock; the events are not at fault.
        return self._door.ask(method, joined(here.url, path), plain, body if method == "PUT" else None, unfit=())
