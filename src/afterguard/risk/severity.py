"""What a loss event costs: the forms of a scenario as lognormal amounts, sized by the owner's answers.

In: a scenario, business facts, traits. Out: simulate.Form values with one median for each parameter draw, in the
business currency. An answer that is unknown is replaced by what the catalogue assumes, or its form is left out.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from afterguard import catalog
from afterguard.model import Own, Range
from afterguard.risk.business import Business
from afterguard.risk.scenario import Ceiling, Cost, Part, Scenario, sources
from afterguard.risk.simulate import Floats, Form, spaced

P10_P90 = 2.563
"""Standard normal distance between the 10th and the 90th percentile."""


class Sized(msgspec.Struct, frozen=True):
    """The forms of a scenario, what each rests on (share that is the owner's, 0 to 1), and what was left out and why."""

    forms: tuple[Form, ...]
    own: tuple[float, ...]
    left_out: tuple[str, ...]


class Facts(msgspec.Struct, frozen=True):
    """What amounts depend on: answers, what kind of application it is, identifiers counted in its own records."""

    business: Business
    traits: frozenset[str]
    counted: int = 0
    measured: dict[str, Own] = {}
    """What the team has measured itself: 10th, 50th and 90th percentile."""


def size(scenario: Scenario, facts: Facts, *, seed: int, public: Floats) -> Sized:
    """The forms that can happen here, one median for each value of `public`."""
    forms, own, left_out = [], [], []
    for cost in scenario.forms:
        why = _left_out(cost, facts.business, facts.traits)
        if why is None:
            forms.append(_form(scenario, cost, facts, seed, public))
            told = sum(answer_of(facts.business, part.answer) is not None for part in cost.parts if part.answer)
            own.append(told / len(cost.parts))
        elif why:
            left_out.append(why)
    return Sized(tuple(forms), tuple(own), tuple(left_out))


def _left_out(cost: Cost, business: Business, traits: frozenset[str]) -> str | None:
    """None where a form counts; otherwise why it does not ("" where there is nothing to say)."""
    if cost.trait and cost.trait not in traits:
        return ""
    if cost.classes and business.records and not any(_held(business, name) for name in cost.classes):
        return "" if not business.records_unknown else f"{cost.title}: the classes of data are unknown"
    for part in cost.parts:
        if part.drop and answer_of(business, part.answer) is None:
            return f"{cost.title}: left out, {part.answer} is unknown"
    return None


def _held(business: Business, name: str) -> bool:
    return name in business.records and business.records[name].high > 0


def answer_of(business: Business, name: str) -> Range | None:
    """An answer as one Range; of records the largest class counts, because the classes are about the same people."""
    if name == "records":
        if not business.records:
            return None
        ranges = business.records.values()
        return Range(*(max(getattr(one, end) for one in ranges) for end in ("low", "mid", "high")))
    value = getattr(business, name)
    assert value is None or isinstance(value, Range)
    return value


def _form(scenario: Scenario, cost: Cost, facts: Facts, seed: int, public: Floats) -> Form:
    draws = len(public)
    mu = np.zeros(draws)
    variance = 0.0
    for number, part in enumerate(cost.parts):
        # An answer is the same truth in every form and scenario, so it is drawn once for all of them.
        names: tuple[str, ...] = ("answer", part.answer) if part.answer else (scenario.id, cost.id, str(number))
        middle, spread = _part(part, facts, spaced(seed, names, draws, _standard), draws)
        mu = mu + middle
        variance += spread * spread
    if cost.breach:
        mu = mu + math.log(breach_scale(facts.business))
    if cost.reply:
        mu = mu + math.log(catalog.load("losses/sources")["response"][facts.business.response or "plan"])
    cap = _cap(cost.cap, facts.business, draws)
    return Form(cost.id, _chance(scenario, cost, seed, draws, public), mu, math.sqrt(variance), cap)


def _standard(random: np.random.Generator, size: int) -> Floats:
    return random.standard_normal(size)


def _part(part: Part, facts: Facts, z: Floats, draws: int) -> tuple[Floats, float]:
    """Logarithm of the median for each parameter draw, and the spread that is chance (not ignorance)."""
    rate = math.log(facts.business.rate) if part.usd else 0.0
    if part.fixed:
        return np.full(draws, math.log(part.fixed)), 0.0
    if part.measured in facts.measured:
        own = facts.measured[part.measured].value
        low, high = (math.log(max(one, 1e-4)) for one in (own.low, own.high))
        return np.full(draws, part.power * (low + high) / 2), part.power * (high - low) / P10_P90
    if not part.answer:
        spread = catalog.load("losses/sources")["spread"][sources()[part.source].grade]
        low, high = math.log(part.p10), math.log(part.p90)
        return part.power * ((low + high) / 2 + spread * z) + rate, part.power * (high - low) / P10_P90
    value, told = value_of(part, facts)
    return part.power * (drawn(value, z) - math.log(part.reference)) + (0.0 if told else rate), 0.0


def value_of(part: Part, facts: Facts) -> tuple[Range, bool]:
    """The answer a part rests on and whether it was told; never fewer records than were counted in the own records."""
    value = answer_of(facts.business, part.answer)
    told = value is not None
    if value is None:
        assert part.assume is not None
        value = Range(part.assume[0], math.sqrt(part.assume[0] * part.assume[1]), part.assume[1])
    if part.answer == "records" and facts.counted > value.low:
        low, high = float(facts.counted), max(float(facts.counted), value.high)
        value = Range(low, math.sqrt(low * high), high)
    return value, told


def drawn(value: Range, z: Floats) -> Floats:
    """Logarithm of an answer for each draw: lognormal through its two ends; minus infinity where it is zero."""
    if value.high <= 0:
        return np.full(len(z), -np.inf)
    low = math.log(max(value.low, value.high * 1e-6))
    high = math.log(value.high)
    out: Floats = (low + high) / 2 + (high - low) / P10_P90 * z
    return out


def _chance(scenario: Scenario, cost: Cost, seed: int, draws: int, public: Floats) -> Floats:
    if isinstance(cost.chance, int):
        chance = np.ones(draws)
    else:
        a, b = cost.chance
        chance = spaced(seed, (scenario.id, cost.id, "chance"), draws, lambda random, n: random.beta(a, b, n))
    return chance * public if cost.public else chance


def _cap(ceiling: Ceiling | None, business: Business, draws: int) -> Floats:
    value = answer_of(business, ceiling.answer) if ceiling else None
    if ceiling is None or value is None:
        return np.full(draws, np.inf)
    return np.full(draws, max(value.high * ceiling.times, ceiling.floor * business.rate))


def ceiling(business: Business) -> float:
    """Most that an event or a year can cost: what the company earns in a year. No ceiling while that is unknown or zero."""
    value = business.annual_revenue
    return value.high if value is not None and value.high > 0 else math.inf


def expected(forms: tuple[Form, ...], cap: Floats) -> Floats:
    """Mean cost of an event for each parameter draw: lognormal means limited by the caps, summed over the forms."""
    total = np.zeros(len(cap))
    for form in forms:
        total = total + form.chance * _limited(form.mu, form.sigma, np.minimum(form.cap, cap))
    out: Floats = np.minimum(total, cap)
    return out


def _limited(mu: Floats, sigma: float, cap: Floats) -> Floats:
    """E[min(X, cap)] of a lognormal X."""
    mean = np.exp(np.minimum(mu + sigma * sigma / 2, 690.0))
    bounded = np.isfinite(cap) & (cap > 0) & np.isfinite(mu)
    if not bounded.any() or sigma <= 0:
        return np.minimum(mean, cap)
    out = np.where(cap > 0, mean, 0.0)
    m, c = mu[bounded], cap[bounded]
    below = np.exp(np.minimum(m + sigma * sigma / 2, 690.0)) * _normal((np.log(c) - m) / sigma - sigma)
    out[bounded] = below + c * _normal((m - np.log(c)) / sigma)
    return out


def _normal(z: Floats) -> Floats:
    """The standard normal distribution function."""
    return np.array([0.5 * math.erfc(-one / math.sqrt(2)) for one in z.tolist()])


def breach_scale(business: Business) -> float:
    """Mean breach cost of the industry or country against the world: the larger of the two, never their product."""
    table = catalog.load("losses/sources")["breach_scale"]
    industry = table["industry"].get(business.industry or "", 1.0)
    country = table["country"].get(business.country or "", 1.0)
    return float(max(industry, country) if max(industry, country) > 1 else min(industry, country))


def public_chance(business: Business, *, seed: int, draws: int) -> Floats:
    """Chance that an incident becomes known outside, for each parameter draw."""
    a, b = catalog.load("losses/sources")["public"][business.audience or "unknown"]
    return spaced(seed, ("public",), draws, lambda random, n: random.beta(a, b, n))
