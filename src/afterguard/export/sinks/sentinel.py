"""Microsoft Sentinel: the Logs Ingestion API of Azure Monitor.

In: batches. Out: JSON arrays to a stream of a data collection rule, with a token of Entra ID by client credentials. A call takes about 1 MB: batches are cut to that, never dropped. Azure trims a field at 32,766 bytes without a word; here it is cut before, and says so.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from typing import Annotated
from urllib.parse import quote

from msgspec import Meta

from afterguard.export.secret import Secret
from afterguard.export.sink import Item, Limits, Plain, Sent
from afterguard.export.sinks.elastic import dated
from afterguard.export.sinks.entra import Entra
from afterguard.export.sinks.web import Door, Web, joined

VERSION = "2023-01-01"


class Sentinel(Web, frozen=True, kw_only=True, tag="sentinel"):
    """A data collection endpoint."""

    rule: Annotated[str, Meta(pattern=r"^dcr-[0-9a-f]{32}$")]
    """The immutable id of the data collection rule."""
    stream: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]+$")]
    """The stream it declares, as in Custom-Afterguard_CL."""
    tenant: Annotated[str, Meta(pattern=r"^[A-Za-z0-9.-]+$")]
    """The Entra tenant."""
    client: Annotated[str, Meta(min_length=1)]
    """The application's client id."""
    secret: Secret
    """Its client secret."""
    authority: str = "https://login.microsoftonline.com"
    """Who gives tokens; another one in national clouds."""
    scope: str = "https://monitor.azure.com/.default"
    """What the token is for; another one in national clouds."""


class SentinelSink(Plain):
    """A stream."""

    limits = Limits(events=1_000, size=900_000, event=250_000, linger=1.0, text=32_000)

    def __init__(self, settings: Sentinel) -> None:
        self._settings = settings
        self._door = Door(settings)
        self._entra = Entra(settings, self._door)
        path = f"/dataCollectionRules/{settings.rule}/streams/{quote(settings.stream)}?api-version={VERSION}"
        self._url = joined(settings.url, path)

    def send(self, batch: Sequence[Item]) -> Sent:
        """Hand over, compressed."""
        body = b"[" + b",".join(dated(one, "TimeGenerated") for one in batch) + b"]"
        headers = {"authorization": f"Bearer {self._entra.token()}", "content-type": "application/json"}
        reply = self._door.tell("POST", self._url, headers | {"content-encoding": "gzip"}, gzip.compress(body, 5))
        if reply.status == 401:
            self._entra.forget()
        if not 200 <= reply.status < 300:
            self._door.refuse(reply)
        return Sent()
