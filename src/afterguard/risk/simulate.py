"""Years of losses, simulated: how many loss events each year brings, then what every one of them costs, then the sum.

In: processes (a loss event's yearly rate and forms of severity, one value for each parameter draw), years and a seed.
Out: a table of events and the yearly sums. Frequency is never multiplied by severity: a mean hides the empty years.

Theory of operation. Parameter draw k (outer, uncertainty about the world) owns the years with year * K // years == k
(inner, chance). A year's count is Poisson with rate[k] times the year's frailty: a Gamma of mean 1 that all processes of a
group share (the same provider fails them together), so counts are negative binomial and processes move together.
Counts come by inverting the Poisson distribution at a uniform, and everything about the j-th event of a year from uniforms
keyed by (seed, process, purpose, year, j). Hence the same seed gives the same bytes, and two runs that differ in one
rate or amount share every other draw (common random numbers): raising a rate only adds events, a control only removes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

INNER = 100
"""Years simulated for each parameter draw."""
EVENTS = 24
"""Events of one process in one year that are drawn one by one; more of them repeat these, which keeps the mean."""
HIGHEST_RATE = 400.0
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Form(msgspec.Struct, frozen=True):
    """One kind of cost of an event: happens with `chance`, costs exp(mu + sigma z), at most `cap`; arrays of length K."""

    id: str
    chance: Floats
    mu: Floats
    sigma: float
    cap: Floats


class Process(msgspec.Struct, frozen=True):
    """One scenario as the simulation sees it: `rate` loss events a year for each parameter draw."""

    id: str
    rate: Floats
    group: str
    forms: tuple[Form, ...]
    cap: Floats
    """Most that one event can cost."""


class Events(msgspec.Struct, frozen=True):
    """One row an event: which process, which year, what it cost, how many equal ones it stands for, and its mark.

    A control that leaves a share r of the rate keeps the events whose mark is below r.
    """

    process: Ints
    year: Ints
    index: NDArray[np.uint64]
    """Key number of the event within its process."""
    loss: Floats
    weight: Floats
    mark: Floats


def draws(years: int) -> int:
    """K, the number of parameter draws for so many years."""
    return max(1, min(2000, years // INNER))


def key(seed: int, *names: str) -> int:
    """A 64-bit key of a seed and names, the same on every machine."""
    text = "\x1f".join((str(seed), *names)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def generator(seed: int, *names: str) -> np.random.Generator:
    """NumPy's generator for one purpose; streams of different names are independent."""
    return np.random.Generator(np.random.PCG64(key(seed, *names)))


FINER = 8


def spaced(seed: int, names: tuple[str, ...], size: int, draw: Callable[[np.random.Generator, int], Floats]) -> Floats:
    """`size` parameter draws spread evenly over a distribution, in random order (a Latin hypercube over parameters).

    FINER times as many values are drawn and sorted, and each run of FINER gives its mean: the mean is kept, and
    figures of one seed lie nearer to those of another. Two distributions under the same names stay coupled by rank.
    """
    values = np.sort(draw(generator(seed, *names), size * FINER)).reshape(size, FINER).mean(axis=1)
    out: Floats = values[generator(seed, *names, "order").permutation(size)]
    return out


def uniforms(stream: int, index: NDArray[np.uint64]) -> Floats:
    """A uniform in (0, 1) for each index: SplitMix64's finalizer twice over the index and the stream's key."""
    z = index * _GOLDEN + np.uint64(stream)
    for _ in range(2):
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    out: Floats = ((z >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return out


def normals(stream: int, index: NDArray[np.uint64]) -> Floats:
    """A standard normal for each index (Box and Muller, 1958)."""
    first = uniforms(stream, index * np.uint64(2))
    second = uniforms(stream, index * np.uint64(2) + np.uint64(1))
    out: Floats = np.sqrt(-2.0 * np.log(first)) * np.cos(2.0 * np.pi * second)
    return out


def counts(uniform: Floats, rate: Floats) -> Ints:
    """Poisson counts by inversion; rates above HIGHEST_RATE are cut. More rate at the same uniform never counts less."""
    rate = np.minimum(rate, HIGHEST_RATE)
    term = np.exp(-rate)
    total = np.zeros(len(rate), dtype=np.int64)
    left = np.flatnonzero(uniform > term)
    level, term, lam, goal = term[left], term[left], rate[left], uniform[left]
    step = 0
    while len(left) and step < 2 * HIGHEST_RATE:
        step += 1
        total[left] += 1
        term = term * lam / step
        level = level + term
        more = goal > level
        left, level, term, lam, goal = left[more], level[more], term[more], lam[more], goal[more]
    return total


def severities(process: Process, seed: int, k: Ints, index: NDArray[np.uint64]) -> tuple[Floats, tuple[int, ...]]:
    """Cost of events with parameter draws `k` and key numbers `index`; events held down by each form's cap and the last."""
    loss = np.zeros(len(k))
    held = []
    common = normals(key(seed, process.id, "size"), index)
    for form in process.forms:
        inside = uniforms(key(seed, process.id, form.id, "chance"), index) < form.chance[k]
        own = normals(key(seed, process.id, form.id, "amount"), index)
        # A bad event is bad in all its forms: correlation 0.5 (a Gaussian copula).
        z = np.sqrt(0.5) * common + np.sqrt(0.5) * own
        with np.errstate(over="ignore"):
            cost = np.where(inside, np.exp(np.minimum(form.mu[k] + form.sigma * z, 690.0)), 0.0)
        held.append(int(np.count_nonzero(cost > form.cap[k])))
        loss += np.minimum(cost, form.cap[k])
    held.append(int(np.count_nonzero(loss > process.cap[k])))
    return np.minimum(loss, process.cap[k]), tuple(held)


def simulate(processes: tuple[Process, ...], *, seed: int, years: int, frailty: dict[str, float]) -> Events:
    """Every loss event of `years` simulated years. `frailty` is the variance of a group's yearly factor, 0 for none."""
    if not processes:
        empty = np.zeros(0)
        none = np.zeros(0, dtype=np.int64)
        return Events(none, none, none.astype(np.uint64), empty, empty, empty)
    size = len(processes[0].rate)
    every = np.arange(years, dtype=np.int64)
    owner = every * size // years
    parts: list[tuple[Any, ...]] = []
    shared: dict[str, Floats] = {}
    for number, process in enumerate(processes):
        if process.group not in shared:
            shared[process.group] = _frailty(seed, process.group, years, frailty.get(process.group, 0.0))
        start = uniforms(key(seed, process.id, "count"), every.astype(np.uint64))
        found = counts(start, process.rate[owner] * shared[process.group])
        shown = np.minimum(found, EVENTS)
        year = np.repeat(every, shown)
        rank = np.arange(len(year), dtype=np.int64) - np.repeat(np.cumsum(shown) - shown, shown)
        index = (year * EVENTS + rank).astype(np.uint64)
        loss, _ = severities(process, seed, owner[year], index)
        weight = (found / np.maximum(shown, 1))[year]
        mark = uniforms(key(seed, process.id, "mark"), index)
        parts.append((np.full(len(year), number, dtype=np.int64), year, index, loss, weight, mark))
    return Events(*(np.concatenate([part[column] for part in parts]) for column in range(6)))


def _frailty(seed: int, group: str, years: int, variance: float) -> Floats:
    if variance <= 0:
        return np.ones(years)
    out: Floats = generator(seed, "frailty", group).gamma(1.0 / variance, variance, years)
    return out


def totals(events: Events, years: int, keep: NDArray[np.bool_] | None = None, loss: Floats | None = None) -> Floats:
    """The sum of every year, over all events or those kept, with their own losses or others."""
    amount = (events.loss if loss is None else loss) * events.weight
    if keep is not None:
        amount = np.where(keep, amount, 0.0)
    return np.bincount(events.year, weights=amount, minlength=years).astype(np.float64)
