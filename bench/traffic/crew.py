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
from .people import STRIDE, key_of_app, keys
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
        "key": keys(app, seed, one.rng(), person, (person % np.uint64(97)).astype(np.float64) / 97),
        "conversation": named(np.arange(n), seed, one.number, "conversation"),
    }


def members(days: Days, one: Campaign, count: int) -> U64:
    """People who were there before: the more somebody does, the sooner he is among them."""
    app, rng = BY_NAME[one.app], one.rng()
    out: list[int] = []
    while len(out) < count:
        zone = rng.choice(len(ZONES), p=[part for _, _, part in ZONES], size=count)
        size = np.maximum(4, app.people * days.plan.scale * np.array([part for _, _, part in ZONES])[zone])
        number = (size * rng.random(count) ** 1.6).astype(np.int64)
        fresh = [who for who in (number * STRIDE + zone).tolist() if who not in out]
        if not fresh or len(out) >= app.people * days.plan.scale * 0.8:
            # A small company has fewer people than that: the rest are people who never came before.
            fresh = list(range(1 << 40, (1 << 40) + count))
        out = list(dict.fromkeys(out + fresh))
    return named(np.array(out[:count]), one.seed, one.app, "person")


def as_member(days: Days, one: Campaign, person: U64) -> Rows:
    """Identities of people as they usually are, at home."""
    app = BY_NAME[one.app]
    team = named(person, "x")
    return {
        "user": named(person, "user"),
        "device": named(person, "device"),
        "address": named(person, "usual address"),
        "network": named(person, "usual network"),
        "region": objects([country for country, _, _ in ZONES])[(team % np.uint64(len(ZONES))).astype(np.int64)],
        "client": repeated(app.clients[0][0], len(person)),
        "key": keys(app, one.seed, one.rng(), person, (team % np.uint64(97)).astype(np.float64) / 97),
        "conversation": named(np.arange(len(person)), one.seed, one.number, "conversation"),
    }


def evenly(one: Campaign, n: int) -> F64:
    """At any time of the campaign."""
    return np.asarray(one.start + 3600 * one.hours * np.sort(one.rng().random(n)))


def scripted(one: Campaign, who: Ints, each: int) -> F64:
    """Each identity at its own fixed pace, with a little jitter; rows are ordered identity by identity."""
    rng = one.rng()
    step = 3600 * one.hours / each
    place = np.arange(len(who)) % each
    return np.asarray(one.start + (place + (who * 0.618) % 1.0 + 0.08 * rng.standard_normal(len(who))).clip(0) * step)


def growing(one: Campaign, n: int, daily: float) -> F64:
    """More each day by this factor."""
    days = one.hours / 24
    u = one.rng().random(n)
    rate = np.log(daily)
    return np.sort(one.start + DAY * np.log1p(u * np.expm1(rate * days)) / rate)


def each_of(one: Campaign, count: int) -> Ints:
    """Numbers of identities, each `count` times in a row."""
    return np.repeat(np.arange(one.identities), max(1, round(count)))


def chat(days: Days, one: Campaign, rows: Rows, text: Rows, topic: Ints | None = None, longer: float = 1.0) -> Rows:
    """A campaign's generative exchanges, with everything else as the application answers."""
    app, n = BY_NAME[one.app], len(rows["time"])
    if topic is None:
        topic = np.zeros(n, dtype=np.int64)
    rows = {"turn": np.ones(n, dtype=np.int64)} | text | rows
    return texts.exchanged(app, days, one.rng(), rows, topic, longer)


__all__ = ["as_member", "chat", "crew", "each_of", "evenly", "growing", "key_of_app", "members", "scripted"]
