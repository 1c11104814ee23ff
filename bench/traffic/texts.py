"""What is said, as sketches and sizes: topics of an application, stock phrases, templates, and the style of a model's answers.

In: an application, who speaks and when. Out: columns `asked`, `shape`, `answer`, sizes, tokens, cost, seconds, outcome.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .apps import App
from .days import Days
from .draw import F64, U64, Ints, bits, lognormal, named, noise, objects, repeated
from .rows import Rows

OUTCOMES = objects(["ok", "refused", "blocked", "error"])
HITS = objects([("injection",), ("personal-data",), ("jailbreak",), ("secret",)])
ERRORS = np.array([429, 500, 502, 503, 504])


def centre(app: str, topic: Any) -> U64:
    """The sketch that texts on this topic lie around."""
    return named(topic, app, "topic")


def style(app: str, number: int) -> int:
    """The bits that a revision of a model or prompt turns: few, but always the same."""
    if not number:
        return 0
    picked = 0
    for place in named(np.arange(7), app, "style", number) % np.uint64(64):
        picked |= 1 << int(place)
    return picked


def questions(app: App, rng: np.random.Generator, topic: Ints, revision: int = 1, promoted: int = 0) -> Rows:
    """Texts of people: on a topic, or one of the phrases many write. A few phrases are buttons, new with each revision; during a marketing peak many ask the same."""
    n = len(topic)
    asked = centre(app.name, topic) ^ noise(rng, n, 1)
    stray = rng.random(n) < app.stray
    asked[stray] = bits(rng, int(stray.sum()))
    shape = bits(rng, n) | np.uint64(1)
    size = lognormal(rng, n, 90, 0.9)
    stock = rng.random(n) < app.stock
    k = int(stock.sum())
    phrase = np.minimum((60 * rng.random(k) ** 2).astype(np.int64), 59)
    number = np.where(phrase % 6 == 1, phrase + 100 * revision, phrase)
    if promoted:
        number = np.where(rng.random(k) < 0.5, 100_000 + promoted, number)
    asked[stock] = named(number, app.name, "phrase") ^ noise(rng, k, 4)
    shape[stock] = named(number, app.name, "phrase shape")
    size[stock] = 12 + phrase
    return {"asked": asked, "shape": shape, "asked_size": np.maximum(2, size).astype(np.int64)}


def template(rng: np.random.Generator, n: int, name: str, level: int = 4) -> Rows:
    """Texts made from one template."""
    return {
        "asked": named(np.zeros(n), name, "template") ^ noise(rng, n, level),
        "shape": np.full(n, named([0], name, "template shape")[0]),
        "asked_size": np.maximum(8, lognormal(rng, n, 140, 0.15)).astype(np.int64),
    }


def answers(app: App, rng: np.random.Generator, topic: Ints, outcome: Ints, turned: U64) -> U64:
    """Replies: on the topic, in the style of who speaks; refusals are all alike."""
    n = len(topic)
    out = named(topic, app.name, "answers") ^ noise(rng, n, 1) ^ (turned & ~noise(rng, n, 2))
    declined = outcome == 1
    out[declined] = named([0], app.model, "refusal")[0] ^ noise(rng, int(declined.sum()), 3)
    out[outcome > 1] = 0
    return out


def spoken(app: App, days: Days, time: F64) -> tuple[Rows, F64, U64]:
    """Prompt, version, and how they change length and style, at each time (times lie close together)."""
    n = len(time)
    low, high = float(time.min()), float(time.max())
    moments = [low, *(one.time for one in days.releases[app.name] if low < one.time <= high)]
    at = np.searchsorted(np.array(moments), time, side="right") - 1
    said = [days.speaks(app.name, moment) for moment in moments]
    at = np.maximum(at, 0)
    turned = np.array([style(app.name, one.style) for one in said], dtype=np.uint64)[at]
    columns = {
        "prompt": objects([one.prompt for one in said])[at],
        "version": objects([one.version for one in said])[at],
        "model": repeated(app.model, n),
        "app": repeated(app.name, n),
        "route": repeated(app.name, n),
    }
    return columns, np.array([one.longer for one in said])[at], turned


def exchanged(app: App, days: Days, rng: np.random.Generator, rows: Rows, topic: Ints, longer: float = 1.0) -> Rows:
    """Everything a generative exchange has, for rows that have `time`, `turn` and texts; columns that are already there stay. `fate`, `into` and `out` say outcome and tokens where they are not left to chance."""
    n = len(topic)
    speaks, length, turned = spoken(app, days, rows["time"])
    outcome, bad = fates(app, rng, rows, n)
    into, out = tokens(app, rng, rows, outcome, length * longer)
    pace = lognormal(rng, n, 65, 0.25)
    first = lognormal(rng, n, 0.5, 0.45) + into / 25_000
    blocked = outcome == 2
    hits = np.where(blocked, rng.integers(0, 4, n), np.where(rng.random(n) < 0.002, rng.integers(0, 4, n), -1))
    status = np.where(blocked, 403, np.where(outcome == 3, ERRORS[rng.integers(0, 5, n)], 200))
    made = speaks | {
        "outcome": OUTCOMES[outcome],
        "status": np.where(bad, 400, status),
        "invalid": bad,
        "input_tokens": into.astype(np.int64),
        "output_tokens": out.astype(np.int64),
        "cost": np.where(outcome > 1, 0.0, (into * app.price[0] + out * app.price[1]) / 1e6),
        "first": np.where(blocked, 0.02, first),
        "seconds": np.where(blocked, 0.02, first + out / pace),
        "answer": answers(app, rng, topic, outcome, turned),
        "answer_size": (out * 4.2).astype(np.int64),
        "hits": with_hits(hits),
        "calls": objects(list(app.tools))[rng.integers(0, len(app.tools), n)] if app.tools else repeated((), n),
        "operation": repeated(app.operation, n),
    }
    return made | rows


def fates(app: App, rng: np.random.Generator, rows: Rows, n: int) -> tuple[Ints, Any]:
    """Numbers of outcomes, and which of the errors are parameters that were refused."""
    chance = rng.random(n)
    by_chance = np.select([chance < app.refused, chance < app.refused + 0.0015, chance > 0.996], [1, 2, 3], 0)
    outcome = rows.pop("fate", by_chance)
    bad = (rng.random(n) < 0.0004) & (outcome == 0)
    return np.where(bad, 3, outcome), bad


def tokens(app: App, rng: np.random.Generator, rows: Rows, outcome: Ints, longer: F64) -> tuple[F64, F64]:
    """Tokens in and out: a conversation carries what was said, one answer in a hundred is very long, a refusal is short."""
    n = len(outcome)
    median, sigma, growth = app.tokens
    into = lognormal(rng, n, median, sigma) * np.minimum(growth ** np.maximum(0, rows["turn"] - 1), 12)
    out = lognormal(rng, n, app.reply[0], app.reply[1]) * longer
    long = rng.random(n) < 0.01
    out[long] *= rng.uniform(3, 9, int(long.sum()))
    into, out = rows.pop("into", into), rows.pop("out", out)
    out = np.where(outcome == 1, np.minimum(out, lognormal(rng, n, 35, 0.4)), np.where(outcome > 1, 0, out))
    return np.where(outcome == 2, 0, np.maximum(into, 5)), out


def with_hits(kinds: Ints) -> Any:
    out = repeated((), len(kinds))
    there = kinds >= 0
    out[there] = HITS[kinds[there]]
    return out
