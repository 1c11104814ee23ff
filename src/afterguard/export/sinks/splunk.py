"""Splunk's HTTP Event Collector, with indexer acknowledgement.

In: batches. Out: events on a channel of our own. A 200 only says that the events were parsed; with `ack` they count when the indexers confirm the batch, which can take minutes, so many batches are on the way at once. What is not confirmed in
300 seconds goes again, as a duplicate with the same `event_id` field. Splunk Cloud offers no acknowledgement to senders like this one: there set `ack: false` and a canary.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import msgspec

from afterguard.export.secret import Secret
from afterguard.export.sink import Item, Limits, Plain, Sent, Unavailable, Unfit
from afterguard.export.sinks.web import Door, Web, joined

INVALID = 6
"""The collector's code for an event that is no valid data; it names the first by number."""


class Splunk(Web, frozen=True, kw_only=True, tag="splunk"):
    """An HTTP Event Collector."""

    token: Secret
    """The collector's token."""
    ack: bool = True
    """Wait for the indexers; the token must have acknowledgement switched on."""
    index: str = ""
    """Where to; empty: the token's own."""
    source: str = "afterguard"
    """The source of each event."""
    sourcetype: str = "afterguard:json"
    """The source type of each event."""
    host: str = ""
    """The host of each event."""


class SplunkSink(Plain):
    """A channel."""

    def __init__(self, settings: Splunk) -> None:
        self._settings = settings
        self._door = Door(settings)
        self._channel = str(uuid.uuid4())
        self._out: set[int] = set()
        self.limits = Limits(events=500, size=800 << 10, event=500_000, window=64 if settings.ack else 1)

    def send(self, batch: Sequence[Item]) -> Sent:
        """Hand over; with a receipt where the indexers confirm."""
        body = b"".join(map(self._event, batch))
        url = joined(self._settings.url, "/services/collector/event")
        reply = self._door.tell("POST", url, self._headers(), body)
        said = _said(reply.body)
        number = said.get("invalid-event-number") if reply.status == 400 and said.get("code") == INVALID else None
        if isinstance(number, int) and 0 <= number < len(batch):
            rest = tuple(place for place in range(len(batch)) if place != number)
            return Sent(again=rest, poison={number: str(said.get("text", ""))[:200]})
        if not 200 <= reply.status < 300:
            self._door.refuse(reply)
        if not self._settings.ack:
            return Sent()
        ack = said.get("ackId")
        if not isinstance(ack, int):
            raise Unavailable(
                "the collector gives no ackId: switch acknowledgement on for the token, or set ack: false"
            )
        self._out.add(ack)
        return Sent(receipt=ack + 1)

    def confirmed(self) -> set[int]:
        """What the indexers have."""
        if not self._out:
            return set()
        url = joined(self._settings.url, f"/services/collector/ack?channel={self._channel}")
        body = msgspec.json.encode({"acks": sorted(self._out)})
        try:
            acks = _said(self._door.ask("POST", url, self._headers(), body).body).get("acks")
        except Unfit as error:
            raise Unavailable(str(error)) from None
        safe = {int(one) for one, is_safe in acks.items() if is_safe is True and one.isdigit()} if isinstance(acks, dict) else set()  # fmt: skip
        safe &= self._out
        self._out -= safe
        return {one + 1 for one in safe}

    def renew(self) -> None:
        """Begin a channel anew: what was on the old one is no longer asked for."""
        self._channel = str(uuid.uuid4())
        self._out.clear()

    def _headers(self) -> dict[str, str]:
        return {
            "authorization": f"Splunk {self._settings.token.read()}",
            "x-splunk-request-channel": self._channel,
            "content-type": "application/json",
        }

    def _event(self, one: Item) -> bytes:
        told = self._settings
        event: Any = msgspec.Raw(one.body) if one.body[:1] == b"{" else one.body.decode("utf-8", "replace")
        out = {"time": round(one.at, 3), "source": told.source, "sourcetype": told.sourcetype, "event": event}
        out["fields"] = {"event_id": one.id, "lane": one.lane}
        out |= {name: value for name, value in (("index", told.index), ("host", told.host)) if value}
        return msgspec.json.encode(out)


def _said(body: bytes) -> dict[str, Any]:
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return said if isinstance(said, dict) else {}
