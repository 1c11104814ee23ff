"""Key misuse: a key that was used from one place for long is suddenly used from another.

In: Exchanges in the order of the log. Out: Alerts of kind key_misuse. A key is judged only when its places were stable: few of
them over at least LEAST exchanges and a day. A key used from everywhere (a browser, a mobile app) is never judged here.
"""

from __future__ import annotations

from collections.abc import Iterator

from afterguard.detect.detector import Pseudonym
from afterguard.model import Confidence, Exchange, Severity
from afterguard.watch.alarm import Alarm, Moment, of

ID = "keys"
TAXONOMIES = ("LLM10:2025", "LLM06:2026", "ASI03:2026", "AML.T0012", "AML.T0055", "CWE-522")
KEYS_CAP = 5_000
PLACES_CAP = 40
IDS_CAP = 5_000
LEAST = 200
DAY = 86_400.0
KNOWN_PLACES = 5
NEW_PLACES = 3
SHARE = 0.2


class Place:
    """One address network or client of one key."""

    __slots__ = ("count", "first", "ids", "rank")

    def __init__(self, rank: int, first: float) -> None:
        self.rank = rank
        self.first = first
        self.count = 0
        self.ids: list[Moment] = []


class Use:
    """How one key was used."""

    __slots__ = ("count", "places", "start")

    def __init__(self, start: float) -> None:
        self.start = start
        self.count = 0
        self.places: dict[tuple[str, str], Place] = {}


class Keys:
    """State of all keys."""

    def __init__(self, pseudonym: Pseudonym) -> None:
        self._pseudonym = pseudonym
        self._uses: dict[str, Use] = {}

    def feed(self, exchange: Exchange) -> None:
        """Count one exchange; those without key or time are skipped."""
        if not exchange.key or exchange.time is None or not (exchange.address or exchange.client):
            return
        use = self._uses.get(exchange.key)
        if use is None:
            if len(self._uses) >= KEYS_CAP:
                return
            use = self._uses[exchange.key] = Use(exchange.time)
        use.count += 1
        for field, value in (("network", network(exchange.address)), ("client", exchange.client[:80])):
            if value and ((field, value) in use.places or len(use.places) < PLACES_CAP):
                place = use.places.setdefault((field, value), Place(use.count, exchange.time))
                place.count += 1
                if place.rank > LEAST and len(place.ids) < IDS_CAP:
                    place.ids.append((exchange.id, exchange.time))

    def finish(self) -> Iterator[Alarm]:
        """Alerts for new places of stable keys."""
        for key, use in sorted(self._uses.items()):
            for field in ("network", "client"):
                rows = {value: place for (name, value), place in use.places.items() if name == field}
                yield from self._judge(key, use, field, rows)

    def _judge(self, key: str, use: Use, field: str, rows: dict[str, Place]) -> Iterator[Alarm]:
        new = {v: p for v, p in rows.items() if p.rank > LEAST and p.first - use.start >= DAY}
        known = len(rows) - len(new)
        if len(use.places) >= PLACES_CAP or not 1 <= known <= KNOWN_PLACES or not 1 <= len(new) <= NEW_PLACES:
            return
        for value, place in sorted(new.items()):
            if place.count <= SHARE * use.count:
                yield of(
                    "key_misuse",
                    ID,
                    TAXONOMIES,
                    place.ids,
                    severity=Severity.high,
                    confidence=Confidence.low if field == "client" else Confidence.medium,
                    cause=f"key {key}",
                    rule=f"key {key} was used {place.count} times from a {field} never seen in its first "
                    f"{place.rank - 1} uses ({self._pseudonym(value)[:8]})",
                    would_change="a deployment, an office or a contractor moved at that time",
                )


def network(address: str) -> str:
    """The /24 or /48 of an address, the text itself where it is no address."""
    if address.count(".") == 3:
        return address.rpartition(".")[0] + ".0/24"
    if address.count(":") >= 2:
        return ":".join(address.split(":")[:3]) + "::/48"
    return address[:80]
