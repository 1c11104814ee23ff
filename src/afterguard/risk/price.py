"""From what was found to money: the one entry of this area.

In: a Survey, a Lookback and what an attack measured where there are such, business facts, a seed and a number of years. Out: a Loss. The same input
gives the same Loss to the last bit. It reads no file but the catalogue and never rounds; figures.py does that.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from afterguard.model import Attacked, Lookback, Loss, Own, ScenarioLoss, Survey
from afterguard.risk.business import Business
from afterguard.risk.control import decisions
from afterguard.risk.curve import band, exceedance, spread, where
from afterguard.risk.delta import deltas
from afterguard.risk.explain import drivers_of, factors_of, never_measured, unknown_of
from afterguard.risk.facts import facts
from afterguard.risk.portfolio import Model, Priced, build, prior_share

NOTHING = (
    "No loss scenario of the catalogue applies to what was found, so there is no figure. That is no proof of safety: "
    "see what was not read."
)


def price(
    survey: Survey,
    lookback: Lookback | None,
    business: Business,
    *,
    seed: int,
    years: int,
    app: str = "",
    attacked: Attacked | None = None,
    measured: Mapping[str, Own] | None = None,
) -> Loss:
    """The money of one application for one year, in the business currency. `app` defaults to the survey's name."""
    name = app or survey.app.name
    business = business.for_app(name)
    model = build(survey, lookback, business, seed=seed, years=years, attacked=attacked, measured=measured)
    return loss_of(model, name, survey, lookback, business)


def loss_of(model: Model, app: str, survey: Survey, lookback: Lookback | None, business: Business) -> Loss:
    """The report of a model that is already built."""
    yearly = model.sums()
    rows = tuple(sorted((_row(one, model) for one in model.priced), key=lambda row: (-row.annual_mean, row.id)))
    means = model.means()
    limits = band(yearly, model.size)
    twenty = float(np.quantile(yearly, 0.95))
    appetite = business.appetite.high if business.appetite else None
    return Loss(
        app=app,
        currency=business.currency,
        seed=model.seed,
        years=model.years,
        scenarios=rows,
        facts=facts(survey, lookback, business),
        chance_of_loss=float(np.mean(yearly > 0)),
        if_it_happens=spread(yearly[yearly > 0]),
        annual_mean=float(np.mean(means)),
        one_in_twenty=twenty,
        curve=exceedance(yearly),
        band=limits,
        prior_share=prior_share(model),
        not_measured=never_measured(model.priced, survey, lookback),
        unknown_business=unknown_of(model.priced, business, model.facts.traits),
        decisions=decisions(model, survey, lookback, business),
        mean_range=spread(means),
        chance_range=model.chances(),
        twenty_range=where(limits, 0.05, twenty),
        deltas=deltas(model),
        appetite=appetite,
        chance_over_appetite=None if appetite is None else float(np.mean(yearly > appetite)),
        note="" if rows else NOTHING,
    )


def _row(one: Priced, model: Model) -> ScenarioLoss:
    return ScenarioLoss(
        id=one.scenario.id,
        title=one.scenario.title,
        frequency=spread(one.process.rate),
        severity=one.sample,
        annual_mean=one.mean,
        chance=one.chance,
        factors=factors_of(one, model.facts),
        driven_by=drivers_of(one),
        capped_by=", ".join(f"{name} (in {share:.0%} of events)" for name, share in sorted(one.capped.items())),
    )
