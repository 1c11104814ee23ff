"""Many alarms of one kind at once are one matter: after the first few within an hour the others come together, in one alarm that names them all.

In: the alarms of a slice. Out: those to tell now. What is held waits WAIT seconds, then twice as long each time while it goes on, LONGEST at most: nobody reads forty alarms of one cause, and whoever
raises many cannot hide another kind among them.
"""

from __future__ import annotations

from typing import Any

import msgspec

from afterguard.watch.alarm import CALLERS, Alarm

FIRST = 4
"""Alarms of a kind within an hour that are told one by one."""
HOUR = 3_600.0
WAIT = 600.0
LONGEST = 6 * HOUR
HELD = 2_000
SHOWN = 5
WIDE = ("app", "model", "client", "prompt", "tenant")
"""Of these there are few, and each says another thing."""
EVIDENCE = 100


class Storms:
    """What was told lately, and what is held."""

    def __init__(self) -> None:
        self.told: dict[str, list[float]] = {}
        """Kind -> when its last alarms were raised."""
        self.held: dict[str, list[Alarm]] = {}
        self.until: dict[str, list[float]] = {}
        """Kind -> when what is held is told, and how long it waited."""

    def gather(self, alerts: list[Alarm], now: float) -> list[Alarm]:
        """What to tell now."""
        out = [alert for alert in alerts if not self._holds(alert, now)]
        for kind in [kind for kind, (until, _) in self.until.items() if until <= now]:
            held = self.held.pop(kind, [])
            if held:
                out.append(_together(held))
                self.until[kind] = [now + self.until[kind][1], min(LONGEST, 2 * self.until[kind][1])]
            elif now - self.until[kind][0] > HOUR:
                del self.until[kind]
        return out

    def _holds(self, alert: Alarm, now: float) -> bool:
        kind = alert.hit.kind
        if alert.why is None or alert.why.scope in WIDE:
            return False
        recent = [time for time in self.told.get(kind, []) if now - time < HOUR]
        self.told[kind] = [*recent, now][-FIRST - 1 :]
        if len(recent) < FIRST and kind not in self.held:
            return False
        held = self.held.setdefault(kind, [])
        self.until.setdefault(kind, [now + WAIT, 2 * WAIT])
        if len(held) < HELD:
            held.append(alert)
        return True

    def kept(self) -> list[Any]:
        """Its state as plain values."""
        return [self.told, self.until, {kind: msgspec.to_builtins(held) for kind, held in self.held.items()}]

    def take(self, kept: list[Any]) -> None:
        """Go on from there."""
        self.told, self.until = kept[0], kept[1]
        self.held = msgspec.convert(kept[2], dict[str, list[Alarm]], strict=False)


def _together(held: list[Alarm]) -> Alarm:
    """One alarm for all of them: the worst explains itself, the others are named."""
    worst = max(held, key=lambda alert: alert.why.times if alert.why else 0.0)
    if len(held) == 1:
        return worst
    who = tuple(dict.fromkeys(alert.why.who for alert in held if alert.why))[:CALLERS]
    shown = ", ".join(name[:16] for name in who[:SHOWN])
    hit = msgspec.structs.replace(
        worst.hit,
        rule=f"{len(held)} more of this kind together, a common cause is likely: {shown}{'...' if len(who) > SHOWN else ''}; the one that stands out most: {worst.hit.rule}",
        identifiers=who,
    )
    moments = [moment for alert in held for moment in alert.exchanges[: max(1, EVIDENCE // len(held))]]
    return Alarm(hit, tuple(moments[:EVIDENCE]), worst.why)
