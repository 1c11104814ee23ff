"""What a loss event costs: the forms of a scenario as lognormal amounts, sized by the owner's answers.

In: a scenario, business facts, traits. Out: simulate.Form values with one median for each parameter draw, in the
business currency. An answer that is unknown is replaced by what the catalogue assumes, or its form is left out.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from afterguard import catalog
from afterguard.model import Range
from afterguard.risk.business import Business
from afterguard.risk.scenario import Ceiling, Cost, Part, Scenario, sources
from afterguard.risk.simulate import Floats, Form, generator

P10_P90 = 2.563
"""Standard normal distance between the 10th and the 90th percentile."""


class Sized(msgspec.Struct, frozen=True):
    """The forms of a scenario, what each rests on (share that is the owner's, 0 to 1), and what was left out and why."""

    forms: tuple[Form, ...]
    own: tuple[float, ...]
    left_out: tuple[str, ...]


def size(
    scenario: Scenario, business: Business, traits: frozenset[str], *, seed: int, draws: int, public: Floats
) -> Sized:
    """The forms that can happen here."""
    forms, own, left_out = [], [], []
    for cost in scenario.forms:
        why = _left_out(cost, business, traits)
        if why is None:
            forms.append(_form(scenario, cost, business, seed, draws, public))
            answers = [part for part in cost.parts if part.answer]
            told = sum(answer_of(business, part.answer) is not None for part in answers)
            own.append(told / len(cost.parts) if answers else 0.0)
        elif why:
            left_out.append(why)
    return Sized(tuple(forms), tuple(own), tuple(left_out))


def _left_out(cost: Cost, business: Business, traits: frozenset[str]) -> str | None:
    """None where a form counts; otherwise why it does not ("" where there is nothing to say)."""
    if cost.trait and cost.trait not in traits:
        return ""
    if cost.classes and business.records and not any(name in business.records for name in cost.classes):
        return "" if not business.records_unknown else f"{cost.title}: the classes of data are unknown"
    for part in cost.parts:
        if part.drop and answer_of(business, part.answer) is None:
            return f"{cost.title}: left out, {part.answer} is unknown"
    return None


def answer_of(business: Business, name: str) -> Range | None:
    """An answer as one Range; records are summed over their classes."""
    if name == "records":
        if not business.records:
            return None
        ranges = business.records.values()
        return Range(*(sum(getattr(one, end) for one in ranges) for end in ("low", "mid", "high")))
    value = getattr(business, name)
    assert value is None or isinstance(value, Range)
    return value


def _form(scenario: Scenario, cost: Cost, business: Business, seed: int, draws: int, public: Floats) -> Form:
    mu = np.zeros(draws)
    variance = 0.0
    for number, part in enumerate(cost.parts):
        middle, spread = _part(part, business, generator(seed, scenario.id, cost.id, str(number)), draws)
        mu = mu + middle
        variance += spread * spread
    money = any(part.p10 and not part.answer and not part.what for part in cost.parts) or cost.id == "bill"
    owner_money = any(part.answer and part.answer in MONEY and answer_of(business, part.answer) for part in cost.parts)
    if not owner_money and (money or any(part.answer in MONEY for part in cost.parts)):
        mu = mu + math.log(business.rate)
    if cost.breach:
        mu = mu + math.log(breach_scale(business))
    if cost.reply:
        mu = mu + math.log(catalog.load("losses/sources")["response"][business.response or "plan"])
    return Form(
        cost.id, _chance(scenario, cost, seed, draws, public), mu, math.sqrt(variance), _cap(cost.cap, business, draws)
    )


MONEY = ("action_limit", "incident_hour_cost", "decision_amount", "revenue_through_app")


def _part(part: Part, business: Business, random: np.random.Generator, draws: int) -> tuple[Floats, float]:
    """Logarithm of the median for each parameter draw, and the spread that is chance (not ignorance)."""
    z = random.standard_normal(draws)
    if part.fixed:
        return np.full(draws, math.log(part.fixed)), 0.0
    if not part.answer:
        spread = catalog.load("losses/sources")["spread"][sources()[part.source].grade]
        low, high = math.log(part.p10), math.log(part.p90)
        return (low + high) / 2 + spread * z, (high - low) / P10_P90
    value = answer_of(business, part.answer)
    if value is None:
        assert part.assume is not None
        value = Range(part.assume[0], math.sqrt(part.assume[0] * part.assume[1]), part.assume[1])
    return part.power * (drawn(value, z) - math.log(part.reference)), 0.0


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
        chance = generator(seed, scenario.id, cost.id, "chance").beta(*cost.chance, draws)
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
    out: Floats = generator(seed, "public").beta(a, b, draws)
    return out
