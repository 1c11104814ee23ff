"""Alerts -> incidents: which alerts belong together, over time and over surfaces.

In: alerts as they are raised. Out: for each the incident it belongs to. Two alerts belong together where they share somebody or something that few others share (an identity, a conversation, a document, a payload, a payee), within WINDOW of each other. What many alerts share (a busy tool, a model, a tenant) links nothing:
it is a hub, and linking over hubs makes one incident of everything. Nothing here decides that an incident is one: a person does.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import msgspec

from afterguard.model import Alert

WINDOW = 3 * 86_400.0
LINKS = ("identity", "key", "conversation", "document", "device", "payee", "payload", "domain", "server")
HUB = 20
"""Alerts within the window beyond which an entity links nothing."""
SIZE = 50_000


class Link(msgspec.Struct):
    """An entity and the incident it led to."""

    incident: str
    last: float
    alerts: int = 0


class Incidents:
    """What links what."""

    def __init__(self) -> None:
        self.links: OrderedDict[str, Link] = OrderedDict()

    def joined(self, alert: Alert) -> tuple[str, str]:
        """The incident this alert belongs to and what links it; a new one, and "", where nothing does."""
        known = [
            (entity, link)
            for entity in alert.entities
            if entity.kind in LINKS
            and (link := self.links.get(_key(alert, entity.kind, entity.name))) is not None
            and alert.last_seen - link.last <= WINDOW
            and link.alerts < HUB
        ]
        over = min(known, key=lambda one: one[1].alerts, default=None)
        incident = over[1].incident if over else "in-" + hashlib.sha256(alert.id.encode()).hexdigest()[:32]
        for entity in alert.entities:
            if entity.kind in LINKS:
                self._link(_key(alert, entity.kind, entity.name), incident, alert.last_seen)
        return incident, f"{over[0].kind} {over[0].name}" if over else ""

    def _link(self, key: str, incident: str, at: float) -> None:
        link = self.links.get(key)
        if link is None or at - link.last > WINDOW:
            self.links[key] = Link(incident, at, 1)
        else:
            link.last, link.alerts = max(link.last, at), link.alerts + 1
        self.links.move_to_end(key)
        if len(self.links) > SIZE:
            self.links.popitem(last=False)


def _key(alert: Alert, kind: str, name: str) -> str:
    return f"{alert.tenant}\0{kind}\0{name}"
