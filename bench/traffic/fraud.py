"""Campaigns with money through the payments agent: refunds, mules, amounts under limits, stolen accounts.

In: `Days` and a `Campaign`. Out: its rows.
"""

from __future__ import annotations

import numpy as np

from . import money, texts
from .apps import BY_NAME
from .campaign import Campaign
from .crew import chat, crew, each_of, evenly, members, scripted, user_of
from .days import Days
from .draw import F64, U64, Ints, named, objects, repeated
from .rows import Rows


def moved(days: Days, one: Campaign, rows: Rows, tool: str, amounts: F64, to: U64, where: Ints | None = None) -> Rows:
    """Conversations of two turns and then money; `where`: which rows move it (all where None)."""
    rng, n = one.rng("questions"), len(rows["time"])
    moves = repeated((), n)
    calls = objects([("find_account",)] * n)
    money.put(moves, calls, np.arange(n) if where is None else where, tool, amounts, to)
    app = BY_NAME[one.app]
    topic = rng.integers(0, app.topics, n)
    return chat(days, one, rows | {"moves": moves, "calls": calls}, texts.questions(app, rng, topic), topic)


def refund_fraud(days: Days, one: Campaign) -> Rows:
    """Refund after refund to one's own cards. Spread: each account once or twice, to twenty-five cards."""
    who = each_of(one, one.intensity * (2 if one.spread else 14))
    rng, n = one.rng(), len(who)
    rows = crew(days, one, who, devices=0 if one.spread else 2) | {"time": evenly(one, n)}
    cards = named(who % (25 if one.spread else 3), one.seed, one.number, "card")
    return moved(days, one, rows, "refund", rng.uniform(60, 240, n), cards)


def mule_payees(days: Days, one: Campaign) -> Rows:
    """Transfers just under the limit to payees nobody paid before, each of whom soon receives from several. Spread: thirty mules, a transfer or two from each account."""
    who = each_of(one, one.intensity * (2 if one.spread else 9))
    rng, n = one.rng(), len(who)
    rows = crew(days, one, who) | {"time": evenly(one, n)}
    mules = named(rng.integers(0, 30 if one.spread else 8, n), one.seed, one.number, "mule")
    return moved(days, one, rows, "transfer", rng.uniform(0.85, 0.995, n) * money.LIMIT, mules)


def structuring(days: Days, one: Campaign) -> Rows:
    """Slow: many identities on one device, each a transfer a day, all just under the limit. Spread: ten devices."""
    each = max(1, round(one.intensity * (4 if one.spread else 6)))
    who = each_of(one, each)
    rng, n = one.rng(), len(who)
    rows = crew(days, one, who, devices=10 if one.spread else 1) | {"time": scripted(one, who, each)}
    to = named(who % 40 + rng.integers(0, 2, n), one.seed, one.number, "collector")
    return moved(days, one, rows, "transfer", rng.uniform(0.9, 0.999, n) * money.LIMIT, to)


def account_takeover(days: Days, one: Campaign) -> Rows:
    """Somebody else in an old account: another device, network and country, a look around, then the money goes to one new payee. Spread: a thousand accounts out of twenty rented networks to sixty payees."""
    people = members(days, one, one.identities)
    turns = 6
    who = np.repeat(np.arange(one.identities), turns)
    rng, n = one.rng(), len(who)
    turn = np.arange(n) % turns
    begins = np.sort(rng.random(one.identities)) * max(0.0, 3600 * one.hours - 400)
    rows = crew(days, one, who, networks=20 if one.spread else 0) | {
        "time": one.start + begins[who] + turn * 40 + 20 * rng.random(n)
    }
    rows |= {
        "user": user_of(one, people[who]),
        "turn": turn + 1,
        "conversation": named(who, one.seed, one.number, "visit"),
    }
    where = np.nonzero(turn >= 3)[0]
    to = named(who[where] % 60, one.seed, one.number, "payee")
    return moved(days, one, rows, "transfer", rng.uniform(0.6, 0.99, len(where)) * money.LIMIT, to, where)
