"""Elasticsearch and OpenSearch: the bulk API, one document an event, created under the event's id.

In: batches. Out: documents. A bulk answer of 200 holds an outcome for each: only what failed for now goes again, what will never be taken is a dead letter, and an id that is there already counts as delivered. It makes no index, template or mapping.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from msgspec import Meta

from afterguard.export.secret import Secret, told
from afterguard.export.sink import Item, Limits, Plain, Sent, Unavailable
from afterguard.export.sinks.web import Door, Web, joined

AGAIN = (429, 500, 502, 503, 504)
TERM = 32_766
"""Bytes of a keyword that Lucene takes; a longer one fails its document."""


class Elastic(Web, frozen=True, kw_only=True, tag="elastic"):
    """An Elasticsearch or OpenSearch cluster."""

    index: Annotated[str, Meta(min_length=1)]
    """An index, alias or data stream."""
    api_key: Secret | None = None
    """Sent as `Authorization: ApiKey`."""
    user: str = ""
    """A user name, where there is no key."""
    password: Secret | None = None
    """Of that user."""


class _Outcome(msgspec.Struct):
    status: int = 0
    error: Any = None


class _Bulk(msgspec.Struct):
    items: list[dict[str, _Outcome]]


class ElasticSink(Plain):
    """A cluster."""

    limits = Limits(events=1_000, size=5 << 20, event=1 << 20, linger=0.2, text=TERM)

    def __init__(self, settings: Elastic) -> None:
        self._settings = settings
        self._door = Door(settings)
        self._bulk = joined(settings.url, f"/{quote(settings.index)}/_bulk")

    def send(self, batch: Sequence[Item]) -> Sent:
        """Hand over, and read each one's outcome."""
        body = b"".join(_lines(one) for one in batch)
        reply = self._door.ask("POST", self._bulk, self._headers("application/x-ndjson"), body)
        try:
            outcomes = [next(iter(one.values())) for one in msgspec.json.decode(reply.body, type=_Bulk).items]
        except (msgspec.MsgspecError, StopIteration, UnicodeDecodeError):
            raise Unavailable(f"{self._settings.url} does not answer as a bulk API does") from None
        if len(outcomes) != len(batch):
            raise Unavailable(f"{self._settings.url} answers for {len(outcomes)} of {len(batch)} events")
        failed = {n: one for n, one in enumerate(outcomes) if not (200 <= one.status < 300 or one.status == 409)}
        again = tuple(n for n, one in failed.items() if one.status in AGAIN)
        return Sent(again, {n: _why(one) for n, one in failed.items() if one.status not in AGAIN})

    def has(self, id: str) -> bool | None:
        """Whether a search finds it."""
        query = msgspec.json.encode({"size": 1, "_source": False, "query": {"ids": {"values": [id]}}})
        url = joined(self._settings.url, f"/{quote(self._settings.index)}/_search")
        reply = self._door.tell("POST", url, self._headers("application/json"), query)
        return reply.status == 200 and f'"{id}"'.encode() in reply.body

    def _headers(self, kind: str) -> dict[str, str]:
        told = self._settings
        return {"content-type": kind} | authorised(told.api_key, told.user, told.password)


def authorised(api_key: Secret | None, user: str, password: Secret | None) -> dict[str, str]:
    """The header that says who asks; none where nobody is named."""
    if api_key is not None:
        return {"authorization": f"ApiKey {api_key.read()}"}
    if not user:
        return {}
    return {"authorization": "Basic " + b64encode(f"{user}:{told(password)}".encode()).decode()}


def _lines(one: Item) -> bytes:
    action = b'{"create":{"_id":%b}}\n' % msgspec.json.encode(one.id)
    return action + dated(one, "@timestamp") + b"\n"


def dated(one: Item, name: str) -> bytes:
    """The event as a JSON object that says when it was, for destinations that need the field."""
    body = one.body if one.body[:1] == b"{" else msgspec.json.encode({"message": one.body.decode("utf-8", "replace")})
    if f'"{name}"'.encode() in body:
        return body
    at = datetime.fromtimestamp(one.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    rest = body[1:].lstrip()
    return b'{"%b":"%b"%b%b' % (name.encode(), at.encode(), b"" if rest[:1] == b"}" else b",", rest)


def _why(one: _Outcome) -> str:
    said = one.error
    if isinstance(said, dict):
        said = f"{said.get('type', '')}: {said.get('reason', '')}"
    return f"{one.status} {said or ''}"[:300]
