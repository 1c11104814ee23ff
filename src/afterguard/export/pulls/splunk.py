"""Splunk Enterprise Security's findings, by the export of a search.

In: a cursor. Out: findings that somebody reviewed since, oldest first. The search is a setting, because `notable` and its lookup differ between releases; what it must give is said there. Source: Splunk's REST reference of `search/v2/jobs/export`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from msgspec import Meta

from afterguard.export.feedback import documents
from afterguard.export.feedback.heard import moment, text
from afterguard.export.pulls.pull import Cursor, Page, Pull, away, reached, since
from afterguard.export.secret import Secret
from afterguard.export.sink import Unavailable, Unfit
from afterguard.export.sinks.web import Door, joined

KEY = re.compile(r"[A-Za-z0-9@._:-]{1,200}")
SEARCH = (
    "search `notable` | lookup incident_review_lookup rule_id AS event_id OUTPUT time AS review_time user AS reviewer comment AS review_comment"
    " | eval review_time=tonumber(mvindex(mvsort(review_time),-1)), reviewer=mvindex(reviewer,-1)"
)
"""Findings of ES with the time of their last review and who did it."""
FIELDS = (
    "event_id review_time reviewer review_comment owner status status_label disposition disposition_label disposition_default id orig_id orig_event_id event.id finding_info.uid"
    " revision afterguard.revision count afterguard.count last_seen event.end end_time severity_id event.severity entity"
)


class SplunkPull(Pull, frozen=True, kw_only=True, tag="splunk"):
    """A search head's management port."""

    token: Secret
    """An authentication token, sent as `Authorization: Bearer`."""
    app: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]+$")] = "SplunkEnterpriseSecuritySuite"
    """The app whose macros and lookups the search knows."""
    search: Annotated[str, Meta(min_length=1)] = SEARCH
    """What gives findings with `event_id`, `review_time` (seconds), `reviewer`, `disposition`, and the fields of our event."""


class Splunk:
    """A search head that is asked."""

    def __init__(self, settings: SplunkPull, clock: Callable[[], float]) -> None:
        self._settings, self._clock = settings, clock
        self._door = Door(settings)
        self._url = joined(settings.url, f"/servicesNS/nobody/{quote(settings.app)}/search/v2/jobs/export")

    def page(self, cursor: Cursor) -> Page:
        """Findings after a cursor."""
        told = self._settings
        form = {"search": self._search(cursor), "output_mode": "json", "preview": "false", "earliest_time": f"-{round(told.days * 24)}h", "latest_time": "now"}  # fmt: skip
        head = {"authorization": f"Bearer {told.token.read()}", "content-type": "application/x-www-form-urlencoded"}
        try:
            reply = self._door.ask("POST", self._url, head, urlencode(form).encode())
        except (Unavailable, Unfit) as error:
            away(error, told.size)
        found = [one for one in documents(reply.body) if isinstance(one, dict)]
        said = next((one for one in found if "messages" in one), None)
        if said is not None and any(isinstance(one, dict) and one.get("type") in ("FATAL", "ERROR") for one in _list(said["messages"])):  # fmt: skip
            away(Unavailable(f"{told.url}: {text(said, 'messages.text')}"))
        results = [one for one in found if "messages" not in one]
        last = results[-1] if results else {}
        at, key = moment(last, "review_time"), text(last, "event_id")
        if len(results) < told.size:
            return Page(results, Cursor(reached(at, cursor, self._clock())), True)
        if not at or not KEY.fullmatch(key):
            away(
                Unavailable(
                    f"{told.url}: a finding has no review_time or no event_id, so that nobody knows where the next page begins"
                )
            )
        return Page(results, Cursor(at, key), False)

    def _search(self, cursor: Cursor) -> str:
        begin = since(cursor, self._clock(), self._settings.days)
        after = f' OR (review_time={begin:.6f} AND event_id>"{cursor.key}")' if KEY.fullmatch(cursor.key) else ""
        sign = ">" if after else ">="
        return (
            f"{self._settings.search} | where review_time{sign}{begin:.6f}{after}"
            f" | sort 0 num(review_time) str(event_id) | head {self._settings.size} | table {FIELDS}"
        )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
