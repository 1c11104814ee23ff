"""A signed webhook: a POST of JSON that its receiver can prove to be ours, fresh, and not seen before.

In: batches. Out: `{"format": "afterguard.webhook/1", "events": [...]}` signed as the Standard Webhooks specification says: `webhook-id` is the same each time a batch is sent (the idempotency key), `webhook-timestamp` is when, `webhook-signature` is
`v1,` and the base64 of HMAC-SHA-256 over `id.timestamp.body`. A receiver takes a time-stamp within five minutes, remembers ids for as long, and answers 2xx when it has stored the events.
"""

from __future__ import annotations

import hmac
import time
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Annotated

import msgspec
from msgspec import Meta

from afterguard.export.secret import Secret
from afterguard.export.sink import Item, Limits, Plain, Sent
from afterguard.export.sinks.web import Door, Web

PREFIX = "whsec_"
WINDOW = 300.0
"""Seconds that a time-stamp may differ from the receiver's clock."""


class Webhook(Web, frozen=True, kw_only=True, tag="webhook"):
    """An address of your own."""

    secret: Secret
    """What both sides know: text, or `whsec_` and base64."""
    headers: dict[str, Secret] = {}  # noqa: RUF012 - msgspec copies it
    """More headers that carry credentials, by name."""
    body_kb: Annotated[int, Meta(ge=16, le=16_384)] = 512
    """Kilobytes of one POST that the receiver takes."""


class WebhookSink(Plain):
    """A receiver."""

    def __init__(self, settings: Webhook) -> None:
        self._settings = settings
        self._door = Door(settings)
        size = settings.body_kb << 10
        self.limits = Limits(events=200, size=size - 1_024, event=size - 1_024)

    def send(self, batch: Sequence[Item]) -> Sent:
        """POST it."""
        body = _body(batch)
        id = "msg_" + sha256("\n".join(one.id for one in batch).encode()).hexdigest()[:32]
        headers = {name.lower(): one.read() for name, one in self._settings.headers.items()}
        headers |= signed(id, int(time.time()), body, self._settings.secret.read())
        self._door.ask("POST", self._settings.url, headers, body)
        return Sent()


def signed(id: str, at: int, body: bytes, secret: str) -> dict[str, str]:
    """The headers of a message."""
    return {
        "content-type": "application/json",
        "webhook-id": id,
        "idempotency-key": id,
        "webhook-timestamp": str(at),
        "webhook-signature": "v1," + _signature(id, str(at), body, secret),
    }


def refused(headers: Mapping[str, str], body: bytes, secret: str, now: float, window: float = WINDOW) -> str:
    """Why a receiver must not believe a message, "" where it may. Header names are lower case. Whether the id was seen before is the receiver's to remember."""
    at = headers.get("webhook-timestamp", "")
    if not at.isdigit() or len(at) > 12 or abs(now - int(at)) > window:
        return "its time-stamp is not of now"
    right = _signature(headers.get("webhook-id", ""), at, body, secret)
    given = [one.partition(",") for one in headers.get("webhook-signature", "").split()]
    is_ours = any(kind == "v1" and hmac.compare_digest(right.encode(), one.encode()) for kind, _, one in given)
    return "" if is_ours else "its signature does not match"


def _signature(id: str, at: str, body: bytes, secret: str) -> str:
    key = b64decode(secret[len(PREFIX) :]) if secret.startswith(PREFIX) else secret.encode()
    return b64encode(hmac.digest(key, f"{id}.{at}.".encode() + body, "sha256")).decode()


def _body(batch: Sequence[Item]) -> bytes:
    events = [msgspec.Raw(one.body) if one.body[:1] == b"{" else one.body.decode("utf-8", "replace") for one in batch]
    ids = [one.id for one in batch]
    return msgspec.json.encode({"format": "afterguard.webhook/1", "ids": ids, "events": events})
