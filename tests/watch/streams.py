"""Small streams for the tests of the watch: a company's ordinary days, and what is added to them."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

from afterguard.watch.alert import Alert
from afterguard.watch.event import Event, Move
from afterguard.watch.live import Watch

START = 1_780_272_000.0
DAY = 86_400.0
HOUR = 3_600.0
BITS = 1 << 22
TOPICS = [random.Random(f"topic {n}").getrandbits(64) for n in range(6)]


def near(rng: random.Random, sketch: int, flips: int) -> int:
    """A sketch with a few bits flipped."""
    for _ in range(flips):
        sketch ^= 1 << rng.randrange(64)
    return sketch


def event(rng: random.Random, time: float, who: int, **other: Any) -> Event:
    """One ordinary exchange of an ordinary person."""
    fields: dict[str, Any] = {
        "id": f"{time:.3f}-{who}",
        "app": "shop",
        "key": "app-key",
        "user": f"u{who}",
        "address": f"a{who}",
        "network": f"n{who // 4}",
        "region": "DE",
        "device": f"d{who}",
        "client": ("browser", "ios")[who % 3 == 0],
        "conversation": f"c{who}-{int(time // HOUR)}",
        "model": "m",
        "version": "m-1",
        "prompt": "p1",
        "seconds": rng.lognormvariate(1, 0.4),
        "input_tokens": int(rng.lognormvariate(6, 0.5)),
        "output_tokens": int(rng.lognormvariate(5.5, 0.5)),
        "asked": near(rng, TOPICS[min(5, int(6 * rng.random() ** 1.5))], 8),
        "shape": rng.getrandbits(60) if rng.random() < 0.8 else 77 + rng.randrange(8),
        "answer": near(rng, 0x0F0F0F0F0F0F0F0F, 16),
        "answer_size": int(rng.lognormvariate(6.5, 0.5)),
        "documents": tuple({f"x{int(300 * rng.random() ** 2)}" for _ in range(2)}),
    }
    fields |= other
    fields.setdefault("cost", 1e-6 * (fields["input_tokens"] + 4 * fields["output_tokens"]))
    return Event(time=time, **fields)


def ordinary(seed: int, start: float, days: float, people: int = 120, a_day: float = 16.0) -> Iterator[Event]:
    """People who come in sessions, more of them by day; a few refusals, errors, payments, refunds."""
    rng = random.Random(seed)
    time = start
    while time < start + days * DAY:
        busy = 1 + 0.8 * math.sin(2 * math.pi * (time % DAY) / DAY - 2)
        time += rng.expovariate(people * a_day / 4 * busy / DAY)
        who, at = int(people * rng.random() ** 1.4), time
        for turn in range(1, 1 + min(12, 1 + int(rng.expovariate(1 / 3)))):
            other: dict[str, Any] = {"turn": turn}
            chance = rng.random()
            if chance < 0.01:
                other |= {"outcome": "refused"}
            elif chance < 0.015:
                other |= {"outcome": "error", "status": 503, "answer_size": 0, "output_tokens": 0, "answer": 0}
            elif chance < 0.08:
                payee = f"p{who}-{rng.randrange(3)}" if rng.random() < 0.9 else f"p{rng.getrandbits(40)}"
                other |= {"moves": (Move("pay", round(rng.lognormvariate(4, 1), 2), "USD", payee, chance < 0.03),)}
            yield event(rng, at, who, **other)
            at += rng.lognormvariate(3.5, 0.7)


def run(watch: Watch, events: list[Event]) -> list[Alert]:
    """Alarms over these events in order of time, to the end of the last slice."""
    events = sorted(events, key=lambda one: one.time)
    alerts = [alert for one in events for alert in watch.feed(one)]
    return alerts + watch.tick(events[-1].time + 400) if events else []
