"""The watch with triage behind it, for `watch_figures.py`: what a person in the SOC is told of the same events, with noisy hits of detectors among them.

    python bench/watch_figures.py --engine triaged:Triaged --no-peer --seeds S --apps APP ...

In: events. Out: each alert that leaves triage, new or revised, as what it names. Only new ones count as alerts, for revisions wake nobody; what a revision adds is named from then on. The alarms pass through the guard's own line of the decision log. NOISE of all exchanges get a hit that means nothing: kinds and confidences as detectors have, half with a cause of their own, a third held off; drawn
from the event's id, so that the same seed gives the same.
"""

from __future__ import annotations

import atexit
import hashlib
import sys
from collections import Counter

import msgspec

from afterguard.guard.decision import alarm
from afterguard.model import Alert, Confidence, Entity, Severity
from afterguard.watch.event import Event
from afterguard.watch.live import Watch as Live
from afterguard.watch.predictive import Predictive
from afterguard.watch.triage import Sighting, Traffic, Triage, sightings
from watched import Told

NOISE = 0.05
KINDS = (
    ("jailbreak", Severity.medium, Confidence.medium, 0.30), ("injection_ignored", Severity.medium, Confidence.medium, 0.25), ("pii_of_another", Severity.high, Confidence.low, 0.15),
    ("encoded_payload", Severity.low, Confidence.medium, 0.10), ("unsafe_output", Severity.medium, Confidence.medium, 0.10), ("unexplained_tool_call", Severity.high, Confidence.medium, 0.05),
    ("secret_in_output", Severity.high, Confidence.medium, 0.03), ("system_prompt_leak", Severity.high, Confidence.medium, 0.02),
)  # fmt: skip
CAUSES = 12


class Triaged:
    """Identities over time, predictive models, and triage over both."""

    def __init__(self) -> None:
        self.live = Live()
        self.predictive = Predictive()
        self.triage = Triage()
        self.alarms: list[tuple[float, Told]] = []
        """What the watch raised, for the examination to take away."""
        self.days: Counter[int] = Counter()
        atexit.register(self.say)

    def feed(self, event: Event) -> list[Told]:
        told = self._alarms(
            [*(self.predictive.feed(event) if event.features else ()), *self.live.feed(event)], event.time
        )
        for one in seen(event):
            told += self.triage.feed(one, event.time)
        self.triage.ask(Traffic(event.time, event.app, event.user or event.key, event.conversation))
        return self._new(told, event.time)

    def hits(self, event: Event) -> tuple[str, ...]:
        """What detectors rightly say of it: noise is no first hit of anything."""
        return event.hits

    def tick(self, now: float) -> list[Told]:
        told = self._alarms(list(self.live.tick(now)), now)
        return self._new([*told, *self.triage.tick(now)], now)

    def _new(self, told: list[Alert], now: float) -> list[Told]:
        told = [one for one in told if one.state != "closed" and not one.suppressed]
        self.days[int(now // 86_400)] += sum(one.state == "new" for one in told)
        return [named(one) for one in told]

    def say(self) -> None:
        """New alerts of each day, and what became of everything seen."""
        print("new alerts by day:", *(count for _, count in sorted(self.days.items())), file=sys.stderr)
        print(self.triage.counts, file=sys.stderr)

    def _alarms(self, alerts: list, now: float) -> list[Alert]:
        told: list[Alert] = []
        for one in alerts:
            for sighting in sightings(msgspec.json.decode(alarm(one, now, "bench"))):
                if sighting.severity is not Severity.info:
                    self.alarms.append((now, heard(sighting)))
                told += self.triage.feed(sighting, now)
        return told


def seen(event: Event) -> list[Sighting]:
    """What detectors say of an event: what the traffic planted, and noise."""
    out = [_hit(event, kind, Severity.medium, Confidence.medium, kind) for kind in event.hits]
    draw = hashlib.blake2b(event.id.encode(), digest_size=12).digest()
    if int.from_bytes(draw[:4], "big") / 2**32 < NOISE:
        at = int.from_bytes(draw[4:8], "big") / 2**32
        for kind, severity, confidence, share in KINDS:
            if at < share:
                cause = f"family {draw.hex()}" if draw[8] & 1 else f"{kind} {draw[9] % CAUSES}"
                out.append(_hit(event, kind, severity, confidence, cause, draw[10] < 85))
                break
            at -= share
    return out


def _hit(
    event: Event, kind: str, severity: Severity, confidence: Confidence, cause: str, held: bool = False
) -> Sighting:
    who = event.user or event.key
    entities = [Entity("identity", who)] if who else []
    if event.conversation:
        entities.append(Entity("conversation", event.conversation))
    return Sighting(
        event.time, event.app, kind, severity, confidence, exchange=event.id, detector=kind, cause=cause, is_held_off=held or event.outcome == "blocked",
        entities=tuple(entities), model=event.model,
    )  # fmt: skip


def heard(one: Sighting) -> Told:
    """An alarm, as the examination reads it."""
    who = tuple((entity.kind, entity.name) for entity in one.entities if entity.kind not in ("model", "prompt"))
    return Told(one.kind, one.cause, one.app, one.model, who, one.rule)


def named(alert: Alert) -> Told:
    """As the examination reads it."""
    model = alert.model if alert.why.get("scope") == "model" else ""
    who = () if alert.why.get("scope") in ("app", "model") else tuple((one.kind, one.name) for one in alert.entities)
    return Told(alert.kind, alert.cause, alert.app, model, who, alert.rule, alert.state != "new")
