"""What a stateful correlation reports: one hit that stands for many exchanges, and why it was raised.

In: nothing. Out: `Alarm`, the explanation `Why`, and `of`, which fills a Hit whose evidence is a series rather than a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from afterguard.model import Confidence, Hit, Severity

CALLERS = 1_000
Moment = tuple[str, float | None]
"""(exchange id, time)."""


class Why(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a person needs to judge an alarm of the watch over time without looking anything up."""

    scope: str
    """What was watched: key, user, address, network, shape, model..."""
    who: str
    """Which one: a keyed hash or a name, as the event gave it."""
    measure: str
    """What was measured: requests, cost, first-time payees..."""
    usual: float
    """Expected of this one in `window`, from its own past."""
    peers: float
    """By how much the likes of it go over their own past now and then."""
    seen: float
    window: float
    """Seconds that `usual` and `seen` speak of. Older events count less: a weight of 1/e after this time."""
    since: float
    """When it began to stand out."""
    until: float
    times: float
    """How many times what could be expected, peers and the whole population taken into account."""
    limit: float
    """At how many times the alarm is raised."""
    learned: float
    """Days of past that `usual` and `limit` rest on."""
    everybody: float = 1.0
    """How many times its usual the whole population did at that time; already taken out of `times`."""
    app: str = ""


class Alarm(NamedTuple):
    """A hit and the exchanges it rests on, in the order of the log."""

    hit: Hit
    exchanges: tuple[Moment, ...]
    why: Why | None = None
    """Of the watch over time; the look-back says it in the hit's own words."""
    route: str = ""
    """Mount, where an alert is about one."""


def of(
    kind: str,
    detector: str,
    taxonomies: tuple[str, ...],
    exchanges: Sequence[Moment],
    *,
    severity: Severity,
    cause: str,
    rule: str,
    would_change: str,
    confidence: Confidence = Confidence.medium,
    excerpt: str = "",
    why: Why | None = None,
    callers: Sequence[str] = (),
) -> Alarm:
    """An Alarm; its hit points at the first exchange. `callers` are the keyed hashes of who did it, where they are known."""
    first = exchanges[0][0] if exchanges else ""
    hit = Hit(
        detector=detector,
        kind=kind,
        severity=severity,
        confidence=confidence,
        exchange=first,
        taxonomies=taxonomies,
        cause=cause,
        rule=rule,
        would_change=would_change,
        excerpt=excerpt or rule,
        identifiers=tuple(callers)[:CALLERS],
    )
    return Alarm(hit, tuple(exchanges), why)


def timed(alert: Alarm, by: float) -> Alarm:
    """The same alert so many seconds later."""
    moments = tuple((name, None if time is None else time + by) for name, time in alert.exchanges)
    why = alert.why and msgspec.structs.replace(alert.why, since=alert.why.since + by, until=alert.why.until + by)
    return alert._replace(exchanges=moments, why=why)
