"""Elastic Security's alerts, by the search API of Elasticsearch or OpenSearch.

In: a cursor. Out: alerts whose status was changed since, oldest first. Pages go by sort values (search_after), never by position. Source: Elasticsearch's "Paginate search results".
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from msgspec import Meta

from afterguard.export.feedback.heard import as_moment
from afterguard.export.pulls.pull import Cursor, Page, Pull, away, reached, since
from afterguard.export.secret import Secret
from afterguard.export.sink import Unavailable, Unfit
from afterguard.export.sinks.elastic import authorised
from afterguard.export.sinks.web import Door, joined

UPDATED = "kibana.alert.workflow_status_updated_at"
SHOWN = (
    "kibana.alert.workflow*", "kibana.alert.uuid", "kibana.alert.updated_at", "kibana.alert.original_event.id", "kibana.alert.ancestors", "signal.status", "signal.ancestors",
    "event", "afterguard", "id", "event_id", "revision", "count", "last_seen", "severity_id", "entities", "entity", "finding_info", "unmapped.afterguard", "end_time",
)  # fmt: skip


class ElasticPull(Pull, frozen=True, kw_only=True, tag="elastic"):
    """An Elasticsearch or OpenSearch cluster."""

    index: Annotated[str, Meta(min_length=1)] = ".alerts-security.alerts-default"
    """Where the alerts lie."""
    api_key: Secret | None = None
    """Sent as `Authorization: ApiKey`."""
    user: str = ""
    """A user name, where there is no key."""
    password: Secret | None = None
    """Of that user."""
    time_field: Annotated[str, Meta(min_length=1)] = UPDATED
    """The field that says when something was said."""
    key_field: Annotated[str, Meta(min_length=1)] = "kibana.alert.uuid"
    """A field that tells documents of one time apart."""


class _Hit(msgspec.Struct):
    sort: list[Any] = []


class _Hits(msgspec.Struct):
    hits: list[msgspec.Raw]


class _Shards(msgspec.Struct):
    failed: int = 0


class _Answer(msgspec.Struct):
    hits: _Hits
    timed_out: bool = False
    shards: _Shards = msgspec.field(name="_shards", default_factory=_Shards)


class Elastic:
    """A cluster that is asked."""

    def __init__(self, settings: ElasticPull, clock: Callable[[], float]) -> None:
        self._settings, self._clock = settings, clock
        self._door = Door(settings)
        self._url = joined(settings.url, f"/{quote(settings.index, safe='*,')}/_search")

    def page(self, cursor: Cursor) -> Page:
        """Alerts after a cursor."""
        told = self._settings
        try:
            body = msgspec.json.encode(self._query(cursor))
            head = authorised(told.api_key, told.user, told.password) | {"content-type": "application/json"}
            reply = self._door.ask("POST", self._url, head, body)
            answer = msgspec.json.decode(reply.body, type=_Answer)
            if answer.timed_out or answer.shards.failed:
                raise Unavailable(f"{told.url}: a part of the index did not answer, and what it holds would be skipped")
            hits = answer.hits.hits
            last = msgspec.json.decode(hits[-1], type=_Hit).sort if hits else []
            documents = [msgspec.json.decode(one) for one in hits]
        except (Unavailable, Unfit) as error:
            away(error, told.size)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            away(Unavailable(f"{told.url} does not answer as a search does"))
        at, key = (as_moment(last[0]), last[1]) if len(last) > 1 else (0.0, None)
        if len(documents) < told.size:
            return Page(documents, Cursor(reached(at, cursor, self._clock())), True)
        if not at or not isinstance(key, str):
            away(
                Unavailable(
                    f"{told.url}: {told.time_field} or {told.key_field} is missing, so that nobody knows where the next page begins"
                )
            )
        return Page(documents, Cursor(at, key), False)

    def _query(self, cursor: Cursor) -> dict[str, Any]:
        told = self._settings
        begin = since(cursor, self._clock(), told.days)
        query: dict[str, Any] = {
            "size": told.size,
            "_source": list(SHOWN),
            "query": {"bool": {"filter": [{"range": {told.time_field: {"gte": _stamp(begin), "format": "strict_date_time"}}}]}},
            "sort": [
                {told.time_field: {"order": "asc", "unmapped_type": "date"}},
                {told.key_field: {"order": "asc", "unmapped_type": "keyword"}},
            ],
        }  # fmt: skip
        if cursor.key:
            query["search_after"] = [round(cursor.time * 1_000), cursor.key]
        return query


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
