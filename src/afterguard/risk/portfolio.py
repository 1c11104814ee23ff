"""The scenarios of one application together: rates, amounts and simulated years, kept so that decisions reuse them.

In: survey, look-back, business facts, seed, years. Out: a Model. Nothing is turned into a report here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec
import numpy as np

from afterguard.model import Attacked, Lookback, Own, Range, Survey
from afterguard.risk import chain as chains
from afterguard.risk import severity
from afterguard.risk.business import Business
from afterguard.risk.curve import spread
from afterguard.risk.scenario import Scenario, applying, traits
from afterguard.risk.simulate import Events, Floats, Process, draws, severities, simulate, totals

SAMPLE = 4000
"""Events priced for each scenario beside the simulated years, so that rare scenarios have a severity too."""
FRAILTY = {"provider": 1.0, "prediction": 1.0, "supply": 0.5, "credentials": 0.5, "authority": 0.0}
"""Variance of the yearly factor that a group shares (our own assumption, grade D; docs/explanation/risk-model.md)."""
LEAST_YEARS = 2000
MOST_YEARS = 2_000_000


class Priced(msgspec.Struct, frozen=True):
    """One scenario with everything its figures come from; arrays have one value for each parameter draw."""

    scenario: Scenario
    chain: chains.Chain
    sized: severity.Sized
    process: Process
    cost: Floats
    """Expected cost of an event."""
    sample: Range
    capped: dict[str, float]
    """Ceiling -> share of events that it held down, where that is more than one in a hundred."""

    @property
    def yearly(self) -> Floats:
        """Expected loss a year."""
        return self.process.rate * self.cost

    @property
    def mean(self) -> float:
        """Expected loss a year over all parameter draws."""
        return float(np.mean(self.yearly))

    @property
    def chance(self) -> float:
        """Probability of at least one event in a year, the shared yearly factor included (exact)."""
        return float(np.mean(1.0 - _none(self.process.rate, FRAILTY.get(self.scenario.group, 0.0))))


class Model(msgspec.Struct, frozen=True):
    """The simulated years of an application; decisions are judged against it with the same random numbers."""

    priced: tuple[Priced, ...]
    events: Events
    years: int
    size: int
    seed: int
    year_cap: float
    facts: severity.Facts

    def sums(self) -> Floats:
        """Loss of every simulated year, never above the ceiling of a year."""
        out: Floats = np.minimum(totals(self.events, self.years), self.year_cap)
        return out

    def means(self) -> Floats:
        """Expected loss a year for each parameter draw."""
        total = np.zeros(self.size)
        for one in self.priced:
            total = total + one.yearly
        out: Floats = np.minimum(total, self.year_cap)
        return out

    def chances(self) -> Range:
        """Spread over parameter draws of the probability of at least one event in a year (exact, no years needed)."""
        rates: dict[str, Floats] = {}
        for one in self.priced:
            group = one.scenario.group
            rates[group] = rates.get(group, np.zeros(self.size)) + one.process.rate
        none = np.ones(self.size)
        for group, rate in rates.items():
            none = none * _none(rate, FRAILTY.get(group, 0.0))
        return spread(1.0 - none)


def _none(rate: Floats, variance: float) -> Floats:
    """Probability of no event: Poisson, or negative binomial where the rate carries a Gamma factor."""
    out: Floats = np.exp(-rate) if variance <= 0 else (1.0 + variance * rate) ** (-1.0 / variance)
    return out


def build(
    survey: Survey,
    lookback: Lookback | None,
    business: Business,
    *,
    seed: int,
    years: int,
    attacked: Attacked | None = None,
    measured: Mapping[str, Own] | None = None,
) -> Model:
    """Scenarios that apply, their rates and amounts, and the simulated years (cut to 2,000 to 2,000,000)."""
    years = min(max(years, LEAST_YEARS), MOST_YEARS)
    size = draws(years)
    years = years // size * size
    public = severity.public_chance(business, seed=seed, draws=size)
    facts = facts_for(survey, lookback, business, measured or {})
    priced = tuple(
        _priced(scenario, survey, lookback, facts, public, seed, attacked)
        for scenario in applying(survey, lookback, business)
    )
    events = simulate(tuple(one.process for one in priced), seed=seed, years=years, frailty=FRAILTY)
    return Model(priced, events, years, size, seed, severity.ceiling(business), facts)


def facts_for(survey: Survey, lookback: Lookback | None, business: Business, measured: Mapping[str, Own]) -> severity.Facts:  # fmt: skip
    """What amounts depend on."""
    counted = sum(lookback.inventory.values()) if lookback else 0
    return severity.Facts(business, traits(survey, lookback, business), counted, dict(measured))


def _priced(
    scenario: Scenario,
    survey: Survey,
    lookback: Lookback | None,
    facts: severity.Facts,
    public: Floats,
    seed: int,
    attacked: Attacked | None,
) -> Priced:
    size = len(public)
    chain = chains.build(scenario, survey.findings, lookback, seed=seed, size=size, public=public, attacked=attacked)
    sized = severity.size(scenario, facts, seed=seed, public=public)
    process = Process(
        scenario.id, chain.rate, scenario.group, sized.forms, np.full(size, severity.ceiling(facts.business))
    )
    # Key numbers far above those of simulated years, so that the sample is drawn apart from them.
    index = np.arange(SAMPLE, dtype=np.uint64) + np.uint64(1 << 40)
    sample, held = severities(process, seed, np.arange(SAMPLE) % size, index)
    cost = severity.expected(sized.forms, process.cap)
    return Priced(scenario, chain, sized, process, cost, spread(sample), _ceilings(scenario, process, held))


def _ceilings(scenario: Scenario, process: Process, held: tuple[int, ...]) -> dict[str, float]:
    named = {form.id: form.cap.answer for form in scenario.forms if form.cap is not None}
    names = [*(named.get(form.id, "") for form in process.forms), "annual_revenue"]
    shares: dict[str, float] = {}
    for name, count in zip(names, held, strict=True):
        if name and count > SAMPLE / 100:
            shares[name] = max(shares.get(name, 0.0), count / SAMPLE)
    return shares


def prior_share(model: Model) -> float:
    """Share of the expected loss that rests on grade B to D priors: half of a figure is its rate, half its amounts."""
    total = sum(one.mean for one in model.priced)
    if not total > 0 or math.isinf(total):
        return 1.0
    own = sum(one.mean * (one.chain.own + _own_amounts(one)) / 2 for one in model.priced)
    return float(min(1.0, max(0.0, 1.0 - own / total)))


def _own_amounts(one: Priced) -> float:
    """Share of the expected cost of an event that rests on answers of the owner."""
    weights = [float(np.mean(severity.expected((form,), one.process.cap))) for form in one.process.forms]
    total = sum(weights)
    return sum(weight * own for weight, own in zip(weights, one.sized.own, strict=True)) / total if total > 0 else 0.0
