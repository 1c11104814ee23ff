"""Campaigns against chat, agents and search: each a function of the calendar and the campaign's parameters.

In: `Days`, and a `Campaign` (start, hours, identities, intensity). Out: its rows. The doc of each says what an attacker with few identities does and what ties a thousand of them together, for
something always does: a template, a tool, a rented network, a payee.
"""

from __future__ import annotations

import numpy as np

from . import texts
from .apps import BY_NAME, DOCUMENTS
from .campaign import Campaign
from .crew import as_member, chat, crew, each_of, evenly, growing, members, scripted, user_of
from .days import DAY, Days
from .draw import Ints, bits, lognormal, named, noise, objects, repeated
from .ordinary import documents
from .rows import Rows


def wallet_burst(days: Days, one: Campaign) -> Rows:
    """Denial of wallet: the longest answers as often as possible. Spread: one template."""
    who = each_of(one, one.intensity * (9 if one.spread else 420))
    rng, n = one.rng(), len(who)
    rows = crew(days, one, who, networks=0 if one.spread else 1) | {"time": evenly(one, n)}
    rows |= {"into": lognormal(rng, n, 2_500, 0.3), "out": lognormal(rng, n, 3_600, 0.15)}
    return chat(days, one, rows, texts.template(rng, n, f"wallet {one.number}", 3))


def sponge(days: Days, one: Campaign) -> Rows:
    """Small questions that make the model think for minutes and write to its limit. Spread: one template."""
    who = each_of(one, one.intensity * (5 if one.spread else 90))
    rng, n = one.rng(), len(who)
    out = lognormal(rng, n, 6_500, 0.2)
    rows = crew(days, one, who) | {
        "time": scripted(one, who, len(who) // one.identities),
        "out": out,
        "into": lognormal(rng, n, 300, 0.2),
    }
    rows |= {"seconds": out / 30 + rng.exponential(30, n), "first": lognormal(rng, n, 20, 0.5)}
    return chat(days, one, rows, texts.template(rng, n, f"sponge {one.number}"))


def cost_creep(days: Days, one: Campaign) -> Rows:
    """Slow: somebody's own requests become more and longer every day. Spread: a browser's plug-in that a thousand people installed does it."""
    people = members(days, one, one.identities)
    n = round(one.identities * one.intensity * (60 if one.spread else 1_500))
    rng, time = one.rng(), growing(one, n, 1.7)
    age = (time - one.start) / DAY
    who = rng.integers(0, one.identities, n)
    rows = as_member(days, one, people[who], time) | {"time": time}
    rows |= {"into": lognormal(rng, n, 1_500, 0.4) * 1.6**age, "out": lognormal(rng, n, 450, 0.4) * 1.25**age}
    if one.spread:
        rows["client"] = repeated("page-plugin", n)
    app = BY_NAME[one.app]
    topic = rng.integers(0, app.topics, n)
    return chat(days, one, rows, texts.questions(app, rng, topic), topic)


def leaked_key(days: Days, one: Campaign) -> Rows:
    """A developer's key in foreign hands: lists of models, parameters that are refused, another country and client, then as much as goes. Spread: resold to a thousand addresses."""
    owner = named(members(days, one, 1), one.seed, one.app, "person")
    who = each_of(one, one.intensity * (8 if one.spread else 500))
    rng, n = one.rng(), len(who)
    rows = crew(days, one, who) | {"time": evenly(one, n)}
    rows["key"] = np.full(n, named(owner, "key")[0])
    rows["user"] = np.zeros(n, dtype=np.uint64)
    rows["client"] = objects(["python-requests", "openai-python", "curl", "one-api"])[who % 4]
    probing = rng.random(n) < np.where(np.arange(n) < 0.1 * n, 0.6, 0.08)
    listing = probing & (rng.random(n) < 0.5)
    refused = probing & ~listing
    rows["operation"] = objects(["chat", "models"])[listing.astype(int)]
    rows["model"] = objects(["large-5", "large-5-pro", "large-4", "mid-4", "image-2"])[
        np.where(refused, rng.integers(1, 5, n), 0)
    ]
    rows |= {
        "fate": np.where(refused, 3, 0),
        "invalid": refused,
        "status": np.where(refused, 400, 200),
        "calls": repeated((), n),
    }
    rows |= {
        "into": np.where(probing, 5.0, lognormal(rng, n, 1_800, 0.9)),
        "out": np.where(probing, 0.0, lognormal(rng, n, 900, 0.7)),
    }
    return chat(days, one, rows, {"asked": bits(rng, n), "shape": bits(rng, n), "asked_size": np.full(n, 400)})


def shared_credential(days: Days, one: Campaign) -> Rows:
    """Slow: an employee's login sold on: many devices and countries at once, all day and night. Spread: forty logins."""
    logins = members(days, one, max(1, one.identities // 25))
    who = each_of(one, one.intensity * (6 if one.spread else 30))
    rng, n = one.rng(), len(who)
    rows = crew(days, one, who) | {"time": evenly(one, n)}
    login = logins[who % len(logins)]
    rows |= {"user": user_of(one, login), "key": as_member(days, one, login, rows["time"])["key"]}
    app = BY_NAME[one.app]
    topic = rng.integers(0, app.topics, n)
    text = texts.questions(app, rng, topic)
    stray = rng.random(n) < 0.6
    text["asked"][stray] = bits(rng, int(stray.sum()))
    return chat(days, one, rows, text, topic)


def agent_loop(days: Days, one: Campaign) -> Rows:
    """An agent that calls the same tool with nearly the same words for hours. Spread: a broken tool drives a thousand people's agents into the same loop."""
    people = members(days, one, one.identities)
    turns = max(1, round(one.intensity * (28 if one.spread else 1_600)))
    who = np.repeat(np.arange(one.identities), turns)
    rng, n = one.rng(), len(who)
    turn = np.arange(n) % turns
    begins = np.zeros(one.identities) if not one.spread else 3600 * one.hours * 0.95 * rng.random(one.identities)
    time = one.start + begins[who] + (turn + 0.3 * rng.random(n)) * min(4.2, 3600 * one.hours / turns)
    rows = as_member(days, one, people[who], time) | {"time": time, "turn": turn + 1}
    rows["conversation"] = named(who, one.seed, one.number, "loop")
    rows |= {
        "calls": repeated(("edit_file",), n),
        "into": np.minimum(9_000 + 400.0 * turn, 120_000),
        "out": lognormal(rng, n, 160, 0.1),
    }
    rows["answer"] = named(np.zeros(n), one.seed, one.number, "loop answer") ^ noise(rng, n, 5)
    return chat(days, one, rows, texts.template(rng, n, f"loop {one.number}", 5))


def off_purpose(days: Days, one: Campaign) -> Rows:
    """The shop's assistant as a free model behind somebody's script: foreign topics at an even pace, long answers, never a second turn. Spread: one wrapping text."""
    each = max(1, round(one.intensity * (14 if one.spread else 500)))
    who = each_of(one, each)
    rng, n = one.rng(), len(who)
    rows = crew(days, one, who) | {
        "time": scripted(one, who, each),
        "out": lognormal(rng, n, 900, 0.5),
        "into": lognormal(rng, n, 1_600, 0.6),
    }
    text: Rows = {"asked": named(rng.integers(0, 400, n), "foreign") ^ noise(rng, n, 2), "shape": bits(rng, n)}
    text["asked_size"] = lognormal(rng, n, 2_200, 0.6).astype(np.int64)
    if one.spread:
        text = texts.template(rng, n, f"wrapper {one.number}", 2) | {"asked_size": text["asked_size"]}
    return chat(days, one, rows | {"calls": repeated((), n)}, text, rng.integers(900, 1300, n))


def jailbreak_escalation(days: Days, one: Campaign) -> Rows:
    """Many turns, each a little further; the model declines in the middle and gives way at the end. Spread: a script that goes round, a conversation each."""
    talks, turns = (1, 8) if one.spread else (max(1, round(8 * one.intensity)), 14)
    who = np.repeat(np.arange(one.identities), talks * turns)
    rng, n = one.rng(), len(who)
    talk, turn = np.arange(n) // turns, np.arange(n) % turns
    begins = np.sort(rng.random(one.identities * talks)) * max(0.0, 3600 * one.hours - 900)
    rows = crew(days, one, who) | {
        "time": one.start + begins[talk] + 55.0 * turn + 20 * rng.random(n),
        "turn": turn + 1,
    }
    rows["conversation"] = named(talk, one.seed, one.number, "talk")
    part = turn / turns
    declined = (part > 0.25) & (part < 0.8) & (rng.random(n) < 0.75)
    hit = (part > 0.2) & (rng.random(n) < 0.3)
    rows |= {
        "fate": declined.astype(np.int64),
        "out": np.where(part >= 0.8, 1_100.0, 260.0) * np.exp(0.3 * rng.standard_normal(n)),
    }
    rows["hits"] = objects([(), ("jailbreak",)])[hit.astype(int)]
    script = named(turn, one.seed, one.number, "step")
    text: Rows = {"asked": script ^ noise(rng, n, 3), "asked_size": (220 + 60 * turn).astype(np.int64)}
    text["shape"] = named(turn, one.number, "step shape") if one.spread else bits(rng, n)
    return chat(days, one, rows, text)


def refusal_burst(days: Days, one: Campaign) -> Rows:
    """Probing what is declined: one forbidden question after another. Spread: thirty templates shared by all."""
    who = each_of(one, one.intensity * (5 if one.spread else 130))
    rng, n = one.rng(), len(who)
    rows = crew(days, one, who) | {
        "time": evenly(one, n),
        "fate": np.where(rng.random(n) < 0.7, 1, np.where(rng.random(n) < 0.3, 2, 0)),
    }
    which = rng.integers(0, 30, n)
    text: Rows = {"asked": named(which, one.number, "probe") ^ noise(rng, n, 4), "asked_size": np.full(n, 240)}
    text["shape"] = named(which, one.number, "probe shape") if one.spread else bits(rng, n)
    return chat(days, one, rows, text)


def scraped(days: Days, one: Campaign, time: np.ndarray, who: Ints) -> Rows:
    """Questions that walk through the whole index, five documents at a time, none twice."""
    rng, n = one.rng("questions"), len(who)
    size = max(400, int(DOCUMENTS * days.plan.scale))
    order = rng.permutation(size)
    rows = crew(days, one, who, networks=12 if one.spread else 1) | {"time": time}
    rows["documents"] = documents(order[(np.arange(n)[:, None] * 5 + np.arange(5)) % size])
    text: Rows = {
        "asked": bits(rng, n),
        "shape": bits(rng, n),
        "asked_size": lognormal(rng, n, 80, 0.4).astype(np.int64),
    }
    return chat(days, one, rows, text, longer=1.5)


def scrape_fast(days: Days, one: Campaign) -> Rows:
    """The whole index in hours. Spread: twelve rented networks."""
    each = max(1, round(one.intensity * (6 if one.spread else 2_400)))
    who = each_of(one, each)
    return scraped(days, one, evenly(one, len(who)), np.asarray(one.rng().permutation(who)))


def scrape_slow(days: Days, one: Campaign) -> Rows:
    """Slow: a question every minute and a half, day and night. Spread: everybody now and then, out of twelve rented networks."""
    each = max(1, round(one.intensity * (9 if one.spread else 5_000)))
    who = each_of(one, each)
    return scraped(days, one, scripted(one, who, each), who)


def distillation(days: Days, one: Campaign) -> Rows:
    """Copying the model: questions from templates over everything it knows, long answers, never a second turn. Spread: twenty templates shared by all."""
    each = max(1, round(one.intensity * (12 if one.spread else 3_000)))
    who = each_of(one, each)
    rng, n = one.rng(), len(who)
    which = rng.integers(0, 20, n)
    rows = crew(days, one, who) | {
        "time": scripted(one, who, each),
        "out": lognormal(rng, n, 1_300, 0.3),
        "into": lognormal(rng, n, 700, 0.2),
    }
    rows["answer"] = bits(rng, n)
    text: Rows = {
        "asked": named(which, one.number, "stem") ^ noise(rng, n, 2),
        "shape": named(which, one.number, "stem shape"),
    }
    text["asked_size"] = lognormal(rng, n, 350, 0.2).astype(np.int64)
    return chat(days, one, rows, text)


def baseline_poisoning(days: Days, one: Campaign) -> Rows:
    """Slow: a third more each day so that much becomes usual, then many times that for the last twelfth of the time. Spread: a thousand accounts in fifteen rented networks."""
    rng = one.rng()
    n = round(one.identities * one.intensity * (24 if one.spread else 900))
    burst = round(n * 1.1)
    time = np.concatenate([growing(one, n, 1.33), one.start + 3600 * one.hours * (11 + rng.random(burst)) / 12])
    time[:n] = one.start + (time[:n] - one.start) * 11 / 12
    who = rng.integers(0, one.identities, n + burst)
    rows = crew(days, one, who, networks=15 if one.spread else 0) | {"time": time}
    app = BY_NAME[one.app]
    topic = rng.integers(0, app.topics, n + burst)
    rows["out"] = lognormal(rng, n + burst, app.reply[0], 0.5) * np.where(np.arange(n + burst) < n, 1.0, 3.0)
    one.facts["harm"] = one.start + 3600 * one.hours * 11 / 12
    return chat(days, one, rows, texts.questions(app, rng, topic), topic)


def silent_swap(one: Campaign, rows: Rows, here: np.ndarray) -> Rows:
    """Another model behind the same name and version: shorter, quicker, another style. Spread: for one request in seven, by user."""
    rng = one.rng(f"block {rows['time'].min():.3f}")
    swapped = here & (rows["output_tokens"] > 0)
    if one.spread:
        swapped &= named(rows["address"], "slice") % np.uint64(7) == 0
    k = int(swapped.sum())
    rows["campaign"][swapped] = one.number
    for name, times in (("output_tokens", 0.55), ("answer_size", 0.55), ("cost", 0.7)):
        rows[name][swapped] = (rows[name][swapped] * times).astype(rows[name].dtype)
    rows["seconds"][swapped] *= 0.5
    turned = np.uint64(0)
    for place in named(np.arange(20), "swap", one.number) % np.uint64(64):
        turned |= np.uint64(1) << place
    rows["answer"][swapped] ^= turned & ~noise(rng, k, 2)
    return rows
