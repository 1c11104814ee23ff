"""A stretch of everything that is as it should be.

In: the calendar, the seed, the moment. Out: rows of people, of machines at night, of probes and crawlers, of an outage with its retries; in no order, some of them later than the stretch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from . import money, people, scores, texts
from .apps import APPS, BY_NAME, DOCUMENTS, ZONES, App
from .days import DAY, Days, Plan
from .draw import F64, Ints, generator, lognormal, named, objects, repeated, share, skewed
from .rows import Rows, join, length, take


def block(days: Days, number: int) -> Rows:
    """Block `number` since the start; `Plan.block` says how long it is."""
    time = days.plan.start + number * days.plan.block
    parts = [crowd(app, days, time, number) for app in APPS if days.draws(app.name)]
    parts += [part for part in machines(days, time, number) if length(part) and days.draws(part["app"][0])]
    return join(parts)


def crowd(app: App, days: Days, time: float, number: int) -> Rows:
    """People of one application."""
    rng = generator(days.seed, "crowd", app.name, number)
    counts = [
        rng.poisson(days.busy(app, zone, time) * math.exp(0.07 * rng.standard_normal()) * days.plan.block / app.turns)
        for zone in range(len(ZONES))
    ]
    zone = np.repeat(np.arange(len(ZONES)), counts)
    if not len(zone):
        return {"time": np.empty(0)}
    began = time + days.plan.block * rng.random(len(zone))
    who = people.sessions(app, days.plan, days.seed, rng, zone, began)
    if app.name == "shop-chat" and time >= days.launch:
        who["client"] = np.where(share(who["person"], "launch") < 0.03, objects(["tablet-app"])[0], who["client"])
    turns = np.minimum(rng.geometric(1 / app.turns, len(zone)), 120)
    if app.name == "coder":
        # Some agents work alone for hours.
        alone = rng.random(len(zone)) < 0.002
        turns[alone] = rng.integers(150, 500, int(alone.sum()))
    rows = expanded(app, rng, who, began, turns)
    if app.operation == "predict":
        return cases(app, days, rng, rows, zone, turns)
    topic = np.repeat(skewed(rng, len(zone), app.topics), turns)
    person, last = rows.pop("person"), np.append(rows["turn"][1:] == 1, True)
    promoted = days.peak(time) if app.name == "shop-chat" else 0
    rows |= texts.questions(app, rng, topic, days.revision(app.name, time), promoted)
    if app.name == "payments":
        rows["moves"], rows["calls"] = money.ordinary(rng, person, last)
        rows["calls"] = np.where(
            last, rows["calls"], objects(list(app.tools))[rng.integers(0, len(app.tools), len(topic))]
        )
    if app.name == "doc-search":
        rows["documents"] = retrieved(rng, days.plan, topic)
    return retried(app, days, rng, texts.exchanged(app, days, rng, rows, topic))


def expanded(app: App, rng: np.random.Generator, who: Rows, began: F64, turns: Ints) -> Rows:
    """A row for every turn of every session."""
    rows = {name: np.repeat(column, turns) for name, column in who.items()}
    ends = np.cumsum(turns)
    first = np.repeat(ends - turns, turns)
    rows["turn"] = np.arange(int(ends[-1])) - first + 1
    gaps = 1.5 + lognormal(rng, len(first), app.gap, 0.8)
    so_far = np.cumsum(gaps)
    rows["time"] = np.repeat(began, turns) + so_far - so_far[first]
    return rows


def cases(app: App, days: Days, rng: np.random.Generator, rows: Rows, zone: Ints, turns: Ints) -> Rows:
    """Cases to score: the same payment again after a time-out, the same loan for another amount."""
    n = length(rows)
    person = rows.pop("person")
    first = np.repeat(np.cumsum(turns) - turns, turns)
    hour = (rows["time"] / 3600 + np.array([offset for _, offset, _ in ZONES])[np.repeat(zone, turns)]) % 24
    x = scores.ordinary(app, rng, person, hour)
    again = (rows["turn"] > 1) & (rng.random(n) < (0.15 if app.name == "fraud-score" else 0.9))
    x[again] = x[first[again]]
    if app.name == "loan-score":
        x[again, 0] = np.round(x[again, 0] + rng.normal(0, 0.25, int(again.sum())), 1)
    rows.pop("turn"), rows.pop("conversation")
    speaks, _, _ = texts.spoken(app, days, rows["time"])
    return scores.predicted(app, rng, rows, speaks, x)


def retrieved(rng: np.random.Generator, plan: Plan, topic: Ints) -> np.ndarray:
    """Five documents for every question: those of the topic first, with a long tail."""
    size = max(400, int(DOCUMENTS * plan.scale))
    each = size // 40
    rank = np.minimum((each * rng.random((len(topic), 5)) ** 2.5).astype(np.int64), each - 1)
    found = np.where(
        rng.random((len(topic), 5)) < 0.85,
        topic[:, None] * each + rank,
        (size * rng.random((len(topic), 5))).astype(np.int64),
    )
    return documents(found)


def documents(numbers: Ints) -> np.ndarray:
    """Names of documents, a row of numbers to a tuple."""
    each = [f"x{one:x}" for one in named(numbers.ravel(), "document").tolist()]
    width = numbers.shape[1]
    return objects([tuple(each[at : at + width]) for at in range(0, len(each), width)])


def retried(app: App, days: Days, rng: np.random.Generator, rows: Rows) -> Rows:
    """What an outage breaks, clients try again, twice or three times, and some of it breaks again."""
    for outage in days.outages:
        if outage.app != app.name:
            continue
        time = rows["time"]
        broken = (time >= outage.start) & (time < outage.end) & (rng.random(len(time)) < outage.broken)
        if not broken.any():
            continue
        parts, wave = [rows], take(rows, broken)
        spoil(rng, rows, broken)
        for attempt in range(3):
            wave = dict(wave) | {"time": wave["time"] + 2.0 ** (attempt + 1) * rng.uniform(0.5, 1.5, length(wave))}
            inside = (wave["time"] < outage.end) & (rng.random(length(wave)) < outage.broken)
            whole = {name: column.copy() for name, column in wave.items()}
            spoil(rng, whole, inside)
            parts.append(whole)
            wave = take(wave, inside)
        rows = join(parts)
    return rows


def spoil(rng: np.random.Generator, rows: Rows, broken: np.ndarray) -> None:
    """Errors in place of replies."""
    k = int(broken.sum())
    rows["status"][broken] = np.array([503, 503, 504, 500])[rng.integers(0, 4, k)]
    rows["outcome"][broken] = "error"
    for name in ("output_tokens", "answer", "answer_size"):
        rows[name][broken] = 0
    rows["cost"][broken] = 0.0
    rows["seconds"][broken] = lognormal(rng, k, 4, 1.0)
    if "moves" in rows:
        rows["moves"][broken] = repeated((), k)


def machines(days: Days, time: float, number: int) -> Iterator[Rows]:
    """Probes every minute, crawlers, the batches of the night, Friday's payroll."""
    rng = generator(days.seed, "machines", number)
    seed, plan, n = days.seed, days.plan, int(days.plan.block // 60)
    hour = (time - plan.start) % DAY / 3600
    weekday = int((time - plan.start) // DAY) % 7
    for app in APPS:
        if app.operation != "predict":
            at = time + 60 * np.arange(n) + 0.3 * rng.random(n)
            rows = {"time": at, "turn": np.ones(n, dtype=np.int64)} | people.service(
                seed, app.name, "probe", n, "probe"
            )
            rows |= texts.template(rng, n, f"probe {app.name}", 5) | {
                "out": np.full(n, 4.0),
                "into": np.full(n, 30.0),
            }
            yield retried(app, days, rng, texts.exchanged(app, days, rng, rows, np.zeros(n, dtype=np.int64)))
    yield crawler(days, rng, time)
    if 1 <= hour < 3.5:
        yield batch(days, rng, time, "assistant", "summaries", 0.012 * (2.2 if weekday == 6 else 1) / 10)
    if 5 <= hour < 6 and time >= days.new_job:
        yield batch(days, rng, time, "assistant", "reports", 0.003 / 4)
    if 22 <= hour < 23.5:
        yield batch(days, rng, time, "doc-search", "index", 0.015 / 6)
    if 4 <= hour < 5:
        yield rescoring(days, rng, time)
    if weekday == 4 and hour == 10:
        yield payroll(days, rng, time)


def crawler(days: Days, rng: np.random.Generator, time: float) -> Rows:
    """A search engine's crawler in the public search box: never many, always there, and it says who it is."""
    app, n = BY_NAME["doc-search"], int(rng.poisson(days.plan.block / 22 * max(0.1, days.plan.scale)))
    if not n:
        return {"time": np.empty(0)}
    topic = rng.integers(0, app.topics, n)
    rows: Rows = {"time": time + days.plan.block * rng.random(n), "turn": np.ones(n, dtype=np.int64)}
    rows |= people.service(days.seed, app.name, "crawler", n, "searchbot") | texts.questions(app, rng, topic)
    rows["key"] = np.full(n, people.key_of_app(app, days.seed))
    rows["documents"] = retrieved(rng, days.plan, topic)
    return texts.exchanged(app, days, rng, rows, topic)


def batch(days: Days, rng: np.random.Generator, time: float, name: str, job: str, part: float) -> Rows:
    """A job of the night: `part` of a day's requests in each quarter of an hour, all from one template."""
    app, n = BY_NAME[name], int(rng.poisson(days.plan.per_day * part * days.plan.block / 900)) + 1
    topic = rng.integers(0, app.topics, n)
    rows: Rows = {"time": time + days.plan.block * rng.random(n), "turn": np.ones(n, dtype=np.int64)}
    rows |= people.service(days.seed, name, job, n, "openai-python") | texts.template(rng, n, f"{name} {job}", 3)
    rows["asked"] ^= texts.centre(name, topic) & np.uint64(0xFFFFF)
    rows["into"] = lognormal(rng, n, 3_000, 0.4)
    if job == "index":
        rows |= {
            "operation": repeated("embeddings", n),
            "out": np.zeros(n),
            "answer": np.zeros(n, dtype=np.uint64),
            "calls": repeated((), n),
        }
    return texts.exchanged(app, days, rng, rows, topic)


def rescoring(days: Days, rng: np.random.Generator, time: float) -> Rows:
    """All open cases once more, every night, by the bank's own batch."""
    app, n = BY_NAME["fraud-score"], int(rng.poisson(days.plan.per_day * 0.002 * days.plan.block / 900)) + 1
    rows: Rows = {"time": time + days.plan.block * rng.random(n)} | people.service(
        days.seed, app.name, "nightly", n, "java-client"
    )
    person = named(rng.integers(0, 1 << 40, n), days.seed, app.name, "person")
    x = scores.ordinary(app, rng, person, 24 * rng.random(n))
    return scores.predicted(app, rng, rows, texts.spoken(app, days, rows["time"])[0], x)


def payroll(days: Days, rng: np.random.Generator, time: float) -> Rows:
    """Wages: one business, two hundred people it pays every week."""
    app, n = BY_NAME["payments"], 200
    rows: Rows = {"time": time + 300 * np.sort(rng.random(n)), "turn": np.ones(n, dtype=np.int64)}
    rows |= people.service(days.seed, app.name, "payroll", n, "java-client") | texts.template(rng, n, "payroll")
    rows["user"] = np.full(n, named([0], days.seed, "business")[0])
    rows["moves"], rows["calls"] = repeated((), n), repeated((), n)
    wages = 1_400 + 30 * (np.arange(n) * 37 % 40).astype(np.float64)
    money.put(rows["moves"], rows["calls"], np.arange(n), "transfer", wages, named(np.arange(n), days.seed, "employee"))
    return texts.exchanged(app, days, rng, rows, np.zeros(n, dtype=np.int64))
