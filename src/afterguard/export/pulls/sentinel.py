"""Microsoft Sentinel's incidents, by Azure's REST API, with the alerts of those that somebody touched.

In: a cursor. Out: incidents that were changed since, oldest first, each with `alerts`. Where the next page is the server says itself; it is followed only on the host of the settings. Source: Azure REST specification securityinsights 2025-09-01 (Incidents_List, Incidents_ListAlerts).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Meta

from afterguard import net
from afterguard.errors import UsageError
from afterguard.export.feedback.heard import moment, text
from afterguard.export.pulls.pull import Cursor, Page, Pull, away, reached, since
from afterguard.export.secret import Secret
from afterguard.export.sink import Unavailable, Unfit
from afterguard.export.sinks.entra import Entra
from afterguard.export.sinks.web import Door, TooLarge, joined

VERSION = "2025-09-01"
CHANGED = "properties/lastModifiedTimeUtc"
SEGMENT = r"^[A-Za-z0-9._()-]{1,90}$"


class SentinelPull(Pull, frozen=True, kw_only=True, tag="sentinel"):
    """A workspace, by Azure Resource Manager."""

    url: Annotated[str, Meta(min_length=8)] = "https://management.azure.com"
    """Azure Resource Manager; another one in national clouds."""
    subscription: Annotated[str, Meta(pattern=SEGMENT)]
    """The subscription's id."""
    group: Annotated[str, Meta(pattern=SEGMENT)]
    """The resource group."""
    workspace: Annotated[str, Meta(pattern=SEGMENT)]
    """The workspace's name."""
    tenant: Annotated[str, Meta(pattern=r"^[A-Za-z0-9.-]+$")]
    """The Entra tenant."""
    client: Annotated[str, Meta(min_length=1)]
    """The application's client id."""
    secret: Secret
    """Its client secret."""
    authority: str = "https://login.microsoftonline.com"
    """Who gives tokens; another one in national clouds."""
    scope: str = "https://management.azure.com/.default"
    """What the token is for; another one in national clouds."""
    where: str = ""
    """One more condition in OData, as contains(properties/title, 'Afterguard'): each incident that somebody touched costs one call more."""


class _List(msgspec.Struct):
    value: list[Any] = []
    nextLink: str = ""  # noqa: N815 - Azure's name


class Sentinel:
    """A workspace that is asked."""

    def __init__(self, settings: SentinelPull, clock: Callable[[], float]) -> None:
        self._settings, self._clock = settings, clock
        self._door = Door(settings)
        self._entra = Entra(settings, self._door)
        told = settings
        self._base = joined(
            told.url,
            f"/subscriptions/{quote(told.subscription)}/resourceGroups/{quote(told.group)}/providers/Microsoft.OperationalInsights"
            f"/workspaces/{quote(told.workspace)}/providers/Microsoft.SecurityInsights/incidents",
        )

    def page(self, cursor: Cursor) -> Page:
        """Incidents after a cursor."""
        try:
            found = self._found(cursor)
            documents = [self._whole(one) for one in found.value]
        except (Unavailable, Unfit) as error:
            away(error, self._settings.size)
        at = max((moment(one, "properties.lastModifiedTimeUtc") for one in documents), default=0.0)
        is_last = not found.nextLink or not documents
        return Page(
            documents, Cursor(reached(at, cursor, self._clock()), "", "" if is_last else found.nextLink), is_last
        )

    def _found(self, cursor: Cursor) -> _List:
        try:
            return self._asked("GET", self._next(cursor))
        except (Unfit, TooLarge):
            if not cursor.link:
                raise
            # What the server named in an earlier run it does not know any more, or it names pages of a size that is none any more: by time, some come again.
            return self._asked("GET", self._next(Cursor(cursor.time)))

    def _next(self, cursor: Cursor) -> str:
        if cursor.link:
            if not _is_below(cursor.link, self._settings.url):
                raise Unavailable(f"{self._settings.url} says that the next page is on another host")
            return cursor.link
        told = self._settings
        begin = datetime.fromtimestamp(since(cursor, self._clock(), told.days), UTC)
        asked = {
            "api-version": VERSION,
            "$filter": f"{CHANGED} ge {begin.isoformat(timespec='milliseconds').replace('+00:00', 'Z')}"
            + (f" and ({told.where})" if told.where else ""),
            "$orderby": f"{CHANGED} asc",
            "$top": str(told.size),
        }
        return f"{self._base}?{urlencode(asked)}"

    def _whole(self, incident: Any) -> Any:
        """An incident with its alerts, where somebody has touched it."""
        name, said = text(incident, "name"), text(incident, "properties.classification")
        if (
            not isinstance(incident, dict)
            or not name
            or not (said or text(incident, "properties.status").lower() != "new")
        ):
            return incident
        url = f"{self._base}/{quote(name, safe='')}/alerts?api-version={VERSION}"
        try:
            return incident | {"alerts": self._asked("POST", url).value}
        except TooLarge as error:
            away(error, 1)

    def _asked(self, method: str, url: str) -> _List:
        reply = self._door.tell(method, url, {"authorization": f"Bearer {self._entra.token()}"}, b"" if method == "POST" else None)  # fmt: skip
        if reply.status == 401:
            self._entra.forget()
        if not 200 <= reply.status < 300:
            self._door.refuse(reply)
        try:
            return msgspec.json.decode(reply.body, type=_List)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise Unavailable(f"{self._settings.url} does not answer as Azure does") from None


def _is_below(link: str, url: str) -> bool:
    """Whether an address is on the same host and port, in the same way."""
    try:
        return net.checked(link, {net.host_of(url)}, is_plain=True) != "" and link.split("/", 3)[:3] == url.rstrip("/").split("/", 3)[:3]  # fmt: skip
    except UsageError:
        return False
