"""Who sends a campaign's requests, and when: accounts of their own or stolen ones, machines, a rhythm.

In: a campaign and numbers of its identities, one a row. Out: columns of identities, and times.
"""

from __future__ import annotations

import numpy as np

from . import texts
from .apps import BY_NAME, ZONES
from .campaign import Campaign
from .days import DAY, Days
from .draw import F64, U64, Ints, named, objects, repeated
from .people import STRIDE, identities, keys
from .rows import Rows

HOSTING = objects(["NL", "RO", "US", "SG", "RU", "VN", "DE"])


def crew(days: Days, one: Campaign, who: Ints, networks: int = 0, devices: int = 0) -> Rows:
    """Accounts made for the purpose: each its own user, device, address and network (rented or infected machines), unless so many networks or devices are shared."""
    n, seed = len(who), one.seed
    person = named(who, seed, one.number, "account")
    network = who % networks if networks else who
    app = BY_NAME[one.app]
    return {
        "user": named(person, "user"),
        "device": named(who % devices if devices else who, seed, one.number, "device"),
        "address": named(who, seed, one.number, "address"),
        "network": named(network, seed, one.number, "network"),
        "region": HOSTING[network % len(HOSTING)],
        "client": repeated(app.clients[0][0], n),
        "key": keys(app, seed, one.rng("crew"), person, (person % np.uint64(97)).astype(np.float64) / 97),
        "conversation": named(np.arange(n), seed, one.number, "conversation"),
    }


def members(days: Days, one: Campaign, count: int) -> Ints:
    """Numbers of people who were there before: the more somebody does, the sooner he is among them."""
    app, rng = BY_NAME[one.app], one.rng("members")
    parts = np.array([part for _, _, part in ZONES])
    out: dict[int, None] = {}
    while len(out) < count:
        zone = rng.choice(len(ZONES), p=parts / parts.sum(), size=count)
        size = np.maximum(4, app.people * days.plan.scale * parts[zone])
        out |= dict.fromkeys(((size * rng.random(count) ** 1.6).astype(np.int64) * STRIDE + zone).tolist())
        if len(out) > app.people * days.plan.scale * 0.7:
            # A small company has fewer people than that: the rest never came before.
            out |= dict.fromkeys(range(1 << 40, (1 << 40) + count))
    return np.array(list(out)[:count])


def as_member(days: Days, one: Campaign, who: Ints, time: F64) -> Rows:
    """People as they usually appear."""
    rows = identities(BY_NAME[one.app], days.plan, one.seed, one.rng("as_member"), who, time)
    rows["user"] = user_of(one, who)
    del rows["person"]
    return rows


def user_of(one: Campaign, who: Ints) -> U64:
    return named(named(who, one.seed, one.app, "person"), "user")


def evenly(one: Campaign, n: int) -> F64:
    """At any time of the campaign."""
    return np.asarray(one.start + 3600 * one.hours * np.sort(one.rng("evenly").random(n)))


def scripted(one: Campaign, who: Ints, each: int) -> F64:
    """Each identity at its own fixed pace, with a little jitter; rows are ordered identity by identity."""
    rng = one.rng("scripted")
    step = 3600 * one.hours / each
    place = np.arange(len(who)) % each
    return np.asarray(one.start + (place + (who * 0.618) % 1.0 + 0.08 * rng.standard_normal(len(who))).clip(0) * step)


def growing(one: Campaign, n: int, daily: float) -> F64:
    """More each day by this factor."""
    days = one.hours / 24
    u = one.rng("growing").random(n)
    rate = np.log(daily)
    return np.sort(one.start + DAY * np.log1p(u * np.expm1(rate * days)) / rate)


def each_of(one: Campaign, count: float) -> Ints:
    """Numbers of identities, each `count` times in a row."""
    return np.repeat(np.arange(one.identities), max(1, round(count)))


def chat(days: Days, one: Campaign, rows: Rows, text: Rows, topic: Ints | None = None, longer: float = 1.0) -> Rows:
    """A campaign's generative exchanges, with everything else as the application answers."""
    app, n = BY_NAME[one.app], len(rows["time"])
    if topic is None:
        topic = np.zeros(n, dtype=np.int64)
    rows = {"turn": np.ones(n, dtype=np.int64)} | text | rows
    return texts.exchanged(app, days, one.rng("chat"), rows, topic, longer)
