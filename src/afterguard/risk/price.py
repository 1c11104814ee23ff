"""From what was found to money: the one entry of this area.

In: a Survey, a Lookback where there is one, business facts, a seed and a number of years. Out: a Loss. The same input
gives the same Loss to the last bit. It reads no file but the catalogue and never rounds; figures.py does that.
"""

from __future__ import annotations

import msgspec
import numpy as np

from ..model import Factor, Lookback, Loss, Range, ScenarioLoss, Survey
from . import chain as chains
from . import severity
from .business import Business
from .curve import band, exceedance, spread
from .explain import drivers_of, factors_of, never_measured, unknown_of
from .facts import facts
from .scenario import Scenario, applying, traits
from .simulate import Events, Floats, Process, draws, key, severities, simulate, totals

SAMPLE = 4000
"""Events priced for each scenario beside the simulated years, so that rare scenarios have a severity too."""
FRAILTY = {"provider": 1.0, "prediction": 1.0, "supply": 0.5, "credentials": 0.5, "authority": 0.0}
"""Variance of the yearly factor a group shares (our own assumption, grade D; see docs/explanation/risk-model.md)."""
LEAST_YEARS = 2000
MOST_YEARS = 2_000_000


class Priced(msgspec.Struct, frozen=True):
    """One scenario with everything its figures come from."""

    scenario: Scenario
    chain: chains.Chain
    sized: severity.Sized
    process: Process
    sample: Floats
    """Cost of SAMPLE events, event i under parameter draw i % K."""
    capped: float

    @property
    def mean(self) -> float:
        """Expected loss a year: rate and severity of the same parameter draw, averaged."""
        owner = np.arange(len(self.sample)) % len(self.process.rate)
        return float(np.mean(self.process.rate[owner] * self.sample))


class Model(msgspec.Struct, frozen=True):
    """The simulated years of an application; decisions are priced against it with the same random numbers."""

    priced: tuple[Priced, ...]
    events: Events
    years: int
    size: int
    seed: int
    year_cap: float


def price(survey: Survey, lookback: Lookback | None, business: Business, *, seed: int, years: int) -> Loss:
    """The money of one application for one year, in the business currency. Never raises on odd input."""
    business = business.for_app(survey.app.name)
    model = build(survey, lookback, business, seed=seed, years=years)
    from .control import decisions

    yearly = sums(model)
    losses = yearly[yearly > 0]
    rows = tuple(sorted((_row(one, model) for one in model.priced), key=lambda row: (-row.annual_mean, row.id)))
    mean = sum(row.annual_mean for row in rows)
    return Loss(
        app=survey.app.name,
        currency=business.currency,
        seed=seed,
        years=model.years,
        scenarios=rows,
        facts=facts(survey, lookback, business),
        chance_of_loss=float(np.mean(yearly > 0)),
        if_it_happens=spread(losses),
        annual_mean=mean,
        one_in_twenty=float(np.quantile(yearly, 0.95)),
        curve=exceedance(yearly),
        band=band(yearly, model.size),
        prior_share=prior_share(model),
        not_measured=never_measured(model.priced, survey, lookback),
        unknown_business=unknown_of(model.priced, business),
        controls=decisions(model, survey, lookback, business),
    )


def build(survey: Survey, lookback: Lookback | None, business: Business, *, seed: int, years: int) -> Model:
    """Scenarios that apply, their rates and amounts, and the simulated years."""
    years = min(max(years, LEAST_YEARS), MOST_YEARS)
    size = draws(years)
    years = years // size * size
    public = severity.public_chance(business, seed=seed, draws=size)
    has = traits(survey, lookback, business)
    priced = tuple(
        _priced(scenario, survey, lookback, business, has, public, seed)
        for scenario in applying(survey, lookback, business)
    )
    events = simulate(tuple(one.process for one in priced), seed=seed, years=years, frailty=FRAILTY)
    cap = business.annual_revenue.high if business.annual_revenue else np.inf
    return Model(priced, events, years, size, seed, float(cap))


def _priced(
    scenario: Scenario,
    survey: Survey,
    lookback: Lookback | None,
    business: Business,
    has: frozenset[str],
    public: Floats,
    seed: int,
) -> Priced:
    size = len(public)
    chain = chains.build(scenario, survey.findings, lookback, seed=seed, size=size, public=public)
    sized = severity.size(scenario, business, has, seed=seed, draws=size, public=public)
    cap = severity.revenue_cap(business, size)
    process = Process(scenario.id, chain.rate, scenario.group, sized.forms, cap)
    # Key numbers far above those of simulated years, so that the sample is drawn apart from them.
    index = np.arange(SAMPLE, dtype=np.uint64) + np.uint64(1 << 40)
    sample, _, capped = severities(process, seed, np.arange(SAMPLE) % size, index)
    return Priced(scenario, chain, sized, process, sample, float(np.mean(capped)))


def sums(model: Model, keep: np.ndarray | None = None, loss: Floats | None = None) -> Floats:
    """Loss of every simulated year, never above the ceiling of a year."""
    yearly: Floats = np.minimum(totals(model.events, model.years, keep, loss), model.year_cap)
    return yearly


def _row(one: Priced, model: Model) -> ScenarioLoss:
    rate = one.process.rate
    return ScenarioLoss(
        id=one.scenario.id,
        title=one.scenario.title,
        frequency=spread(rate),
        severity=spread(one.sample),
        annual_mean=one.mean,
        chance=float(np.mean(1.0 - np.exp(-rate))),
        factors=factors_of(one),
        driven_by=drivers_of(one),
        capped_by="",
    )


def prior_share(model: Model) -> float:
    """Share of the expected loss that rests on grade B to D priors: half of a figure is its rate, half its amounts."""
    total = sum(one.mean for one in model.priced)
    if total <= 0:
        return 1.0
    own = sum(one.mean * (one.chain.own + _own_amounts(one)) / 2 for one in model.priced)
    return float(1.0 - own / total)


def _own_amounts(one: Priced) -> float:
    weights = [float(np.mean(form.chance * np.exp(np.minimum(form.mu, 600.0)))) for form in one.process.forms]
    total = sum(weights)
    return sum(weight * own for weight, own in zip(weights, one.sized.own, strict=True)) / total if total > 0 else 0.0


__all__ = ["Model", "Priced", "build", "price", "sums"]
_ = (Factor, Range, key)
