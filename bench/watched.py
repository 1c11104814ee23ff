"""The watch over time as the guard runs it, for `watch_figures.py`: identities and groups over time, and predictive models, over the same events.

In: events, and now and then the time. Out: what each alarm names: whom or which group (`entities`), the application and the model. Where an alarm is about a group, its explanation says which one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from afterguard.model import Severity
from afterguard.watch.alarm import Alarm
from afterguard.watch.event import Event
from afterguard.watch.live import Watch as Live
from afterguard.watch.predictive import Predictive


class Told(NamedTuple):
    """One alarm, as far as it can be acted on."""

    kind: str
    cause: str
    app: str
    model: str
    entities: tuple[tuple[str, str], ...]
    rule: str
    is_again: bool = False
    """Whether it revises one that was told before."""


class Watch:
    """Both engines, fed the same."""

    def __init__(self) -> None:
        self.live = Live()
        self.predictive = Predictive()

    def feed(self, event: Event) -> list[Told]:
        told = [named(alert, event) for alert in self.predictive.feed(event)] if event.features else []
        return [*told, *alarms(self.live.feed(event))]

    def tick(self, now: float) -> Iterator[Told]:
        return alarms(self.live.tick(now))


def alarms(alerts: list[Alarm]) -> Iterator[Told]:
    """Without notices (an outage, a surge of everybody, an announced version): they are of severity info and wake nobody."""
    return (of_series(alert) for alert in alerts if alert.hit.severity is not Severity.info)


def of_series(alert: Alarm) -> Told:
    """An alarm about one identity, one group, a model or an application."""
    why = alert.why
    assert why is not None
    model = why.who.split()[0] if why.scope == "model" and why.who else ""
    names = dict.fromkeys((why.who, *alert.hit.identifiers))
    who = () if why.scope in ("app", "model") else tuple((why.scope, name) for name in names)
    return Told(alert.hit.kind, alert.hit.cause, why.app, model, who, alert.hit.rule)


def named(alert: Alarm, event: Event) -> Told:
    """An alarm about a predictive model and, where they are known, its callers."""
    callers = tuple(("caller", name) for name in alert.hit.identifiers)
    return Told(alert.hit.kind, alert.hit.cause, event.app, event.model, callers, alert.hit.rule)


class Series(Watch):
    """Identities and groups over time alone."""

    def feed(self, event: Event) -> list[Told]:
        return list(alarms(self.live.feed(event)))
