"""Decisions: what fixing or guarding changes, judged against the same simulated years.

In: a priced model. Out: three Decision (fewer where fewer make sense), the last of them to do nothing.

Theory of operation. A control leaves a share of each scenario's rate for each parameter draw and may put a ceiling on the
bill. Applied to the simulated years it removes the events whose mark is above that share and re-prices the others with
their own random numbers, so the difference is the control and not luck. The expected loss avoided needs no years: it is
rate times expected cost of an event, with and without, draw by draw; its spread is what we do not know.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import msgspec
import numpy as np

from afterguard import catalog
from afterguard.model import Decision, Factor, Lookback, Range, Survey
from afterguard.risk import chain as chains
from afterguard.risk.business import Business
from afterguard.risk.curve import spread
from afterguard.risk.figures import short
from afterguard.risk.portfolio import Model
from afterguard.risk.scenario import sources
from afterguard.risk.severity import P10_P90, drawn, expected
from afterguard.risk.simulate import Floats, Form, Process, generator, severities, totals

WEEKS = 52.18


class Guard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An effect on one stage of some scenarios."""

    scenarios: tuple[str, ...]
    stage: str
    odds: tuple[float, float]
    source: str


class Control(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that can be decided; see catalog/losses/controls.yaml."""

    id: str
    title: str
    closes: tuple[str, ...]
    guards: tuple[Guard, ...]
    days: tuple[float, float]
    yearly: float
    source: str
    quota: bool = False
    blocks: tuple[float, float] | None = None
    reviews: tuple[float, float] | None = None


class Effect(msgspec.Struct, frozen=True):
    """What controls do to one scenario: share of the rate left and the forms, for each parameter draw."""

    left: Floats
    forms: tuple[Form, ...]


class Worth(msgspec.Struct, frozen=True):
    """A control with its value for each parameter draw."""

    control: Control
    avoided: Floats
    cost: Floats
    blocking: Floats
    closes: tuple[str, ...]
    note: str

    @property
    def net(self) -> float:
        """Expected loss avoided less expected cost."""
        return float(np.mean(self.avoided - self.cost))


@cache
def controls() -> tuple[Control, ...]:
    """Every control of the catalogue."""
    return msgspec.convert(catalog.load("losses/controls")["controls"], tuple[Control, ...])


def decisions(model: Model, survey: Survey, lookback: Lookback | None, business: Business) -> tuple[Decision, ...]:
    """The best decision, the best one to add to it, and doing nothing."""
    worths = [_worth(model, control, survey, lookback, business) for control in controls()]
    useful = sorted(
        (one for one in worths if float(np.mean(one.avoided)) > 0), key=lambda one: (-one.net, one.control.id)
    )
    best = useful[:1]
    if best and len(useful) > 1:
        first = useful[0]
        together = {
            one.control.id: avoided(model, (first.control, one.control), survey, business) for one in useful[1:]
        }
        best.append(max(useful[1:], key=lambda one: float(np.mean(together[one.control.id] - one.cost))))
    both = avoided(model, tuple(one.control for one in best), survey, business)
    rows = [_row(model, one, survey, business) for one in best]
    return (*rows, _nothing(model, float(np.mean(both)) / WEEKS))


def _nothing(model: Model, week: float) -> Decision:
    now = one_in_twenty(model, ())
    note = "Nothing changes. A week of waiting costs the loss that the other decisions together would avoid in it."
    return Decision("do-nothing", "Do nothing", Range(0.0, 0.0, 0.0), 0.0, 0.0, week, (), 0.0, now, note)


def _row(model: Model, worth: Worth, survey: Survey, business: Business) -> Decision:
    return Decision(
        id=worth.control.id,
        title=worth.control.title,
        avoided=spread(worth.avoided),
        cost=float(np.mean(worth.cost)),
        chance_net_positive=float(np.mean(worth.avoided > worth.cost)),
        cost_of_waiting_a_week=float(np.mean(worth.avoided)) / WEEKS,
        closes=worth.closes,
        false_positive_cost=float(np.mean(worth.blocking)),
        one_in_twenty_after=one_in_twenty(model, effects(model, (worth.control,), survey, business)),
        note=worth.note,
        factors=_factors(worth.control),
    )


def _factors(control: Control) -> tuple[Factor, ...]:
    table = catalog.load("losses/controls")

    def row(name: str, ends: tuple[float, float], source: str) -> Factor:
        where = sources()[source]
        return Factor(name, f"{short(ends[0])} to {short(ends[1])}", where.grade, where.title, where.year)

    rows = [row("days of work", control.days, "assumption")]
    rows.append(row("US dollars a day", (table["day"]["p10"], table["day"]["p90"]), table["day"]["source"]))
    rows += [row(f"odds of {guard.stage} left where it works", guard.odds, guard.source) for guard in control.guards]
    if control.blocks:
        rows.append(row("share of good requests wrongly blocked", control.blocks, control.source))
    if control.reviews:
        rows.append(row("minutes of review for each acting call", control.reviews, "assumption"))
        rows.append(row("share of requests that end in an acting call", table["acting"]["share"], "assumption"))
    return tuple(rows)


def effects(model: Model, chosen: tuple[Control, ...], survey: Survey, business: Business) -> tuple[Effect, ...]:
    """What the chosen controls together do to each scenario, in the order of model.priced."""
    closed = frozenset(name for control in chosen for name in closes(control, model, survey))
    out = []
    for one in model.priced:
        odds: dict[str, Floats] = {}
        for control in chosen:
            for guard in control.guards:
                if one.scenario.id in guard.scenarios:
                    odds[guard.stage] = odds.get(guard.stage, np.ones(model.size)) * _odds(model, control, guard)
        forms = one.process.forms
        if any(control.quota for control in chosen):
            forms = tuple(_limited(form, business) for form in forms)
        out.append(Effect(one.chain.share_left(closed, odds), forms))
    return tuple(out)


def _odds(model: Model, control: Control, guard: Guard) -> Floats:
    """Odds factor of a guard where it covers and works, one where it does not."""
    table = catalog.load("losses/controls")
    random = generator(model.seed, control.id, guard.stage)
    low, high = (math.log(end) for end in guard.odds)
    intended = np.minimum(1.0, np.exp((low + high) / 2 + (high - low) / P10_P90 * random.standard_normal(model.size)))
    works = _beta(table["coverage"], random, model.size) * _beta(table["reliability"], random, model.size)
    out: Floats = 1.0 - works * (1.0 - intended)
    return out


def _beta(entry: dict[str, Any], random: np.random.Generator, size: int) -> Floats:
    a, b = entry["beta"]
    out: Floats = random.beta(a, b, size)
    return out


def _limited(form: Form, business: Business) -> Form:
    """A bill under a hard monthly limit of twice the spend."""
    if form.id != "bill":
        return form
    table = catalog.load("losses/controls")["quota"]
    spend = business.provider_spend_month
    month = spend.high * table["times"] if spend else math.sqrt(math.prod(table["assume"])) * business.rate
    return msgspec.structs.replace(form, cap=np.minimum(form.cap, month))


def closes(control: Control, model: Model, survey: Survey) -> tuple[str, ...]:
    """Names of the findings a control fixes."""
    drivers = tuple(driver for one in model.priced for driver in one.scenario.drivers if driver.id in control.closes)
    return tuple(dict.fromkeys(chains.name_of(finding) for finding in chains.moved_by(drivers, survey.findings)))


def avoided(model: Model, chosen: tuple[Control, ...], survey: Survey, business: Business) -> Floats:
    """Expected loss a year that the chosen controls avoid, for each parameter draw."""
    total = np.zeros(model.size)
    for one, effect in zip(model.priced, effects(model, chosen, survey, business), strict=True):
        before = one.process.rate * one.cost
        after = one.process.rate * effect.left * expected(effect.forms, one.process.cap)
        total = total + np.maximum(0.0, before - after)
    return total


def after(model: Model, changed: tuple[Effect, ...]) -> Floats:
    """The sums of the same simulated years with the effects in place: same events, fewer of them, under new ceilings."""
    events = model.events
    owner = events.year * model.size // model.years
    loss = events.loss.copy()
    keep = np.ones(len(loss), dtype=np.bool_)
    for number, (one, effect) in enumerate(zip(model.priced, changed, strict=True)):
        rows = np.flatnonzero(events.process == number)
        keep[rows] = events.mark[rows] < effect.left[owner[rows]]
        if effect.forms is not one.process.forms:
            process: Process = msgspec.structs.replace(one.process, forms=effect.forms)
            loss[rows] = severities(process, model.seed, owner[rows], events.index[rows])[0]
    out: Floats = np.minimum(totals(events, model.years, keep, loss), model.year_cap)
    return out


def one_in_twenty(model: Model, changed: tuple[Effect, ...]) -> float:
    """The yearly loss exceeded one time in twenty, with effects or (none given) as things are."""
    yearly = after(model, changed) if changed else np.minimum(totals(model.events, model.years), model.year_cap)
    return float(np.quantile(yearly, 0.95))


def _worth(model: Model, control: Control, survey: Survey, lookback: Lookback | None, business: Business) -> Worth:
    random = generator(model.seed, control.id, "cost")
    table: dict[str, Any] = catalog.load("losses/controls")
    usd = business.rate
    day = _lognormal((table["day"]["p10"], table["day"]["p90"]), random, model.size)
    work = day * _lognormal(control.days, random, model.size) * usd
    blocking, note = _friction(control, random, model.size, lookback, business, day)
    cost = work + control.yearly * usd + blocking
    return Worth(
        control, avoided(model, (control,), survey, business), cost, blocking, closes(control, model, survey), note
    )


def _friction(
    control: Control,
    random: np.random.Generator,
    size: int,
    lookback: Lookback | None,
    business: Business,
    day: Floats,
) -> tuple[Floats, str]:
    """What wrongly blocked requests and reviews cost a year, and a sentence where that is not known."""
    none = np.zeros(size)
    requests = _requests(lookback, business)
    if control.blocks is None and control.reviews is None:
        return none, ""
    if requests is None:
        what = "wrongly blocked requests" if control.blocks else "reviews"
        return none, f"The cost of {what} is not in it: requests_per_day is unknown."
    if control.reviews is not None:
        acting = _lognormal(catalog.load("losses/controls")["acting"]["share"], random, size)
        minutes = _lognormal(control.reviews, random, size) * requests * np.minimum(1.0, acting)
        return minutes / (8 * 60) * day * business.rate, ""
    assert control.blocks is not None
    share = np.minimum(1.0, _lognormal(control.blocks, random, size))
    told = business.blocked_request_cost
    each = (
        np.exp(drawn(told, random.standard_normal(size)))
        if told is not None
        else _lognormal(catalog.load("losses/controls")["blocked"]["assume"], random, size) * business.rate
    )
    return share * requests * each, ""


def _requests(lookback: Lookback | None, business: Business) -> float | None:
    """Requests a year: told, else counted over the span of the records."""
    if business.requests_per_day is not None:
        return business.requests_per_day.mid * 365.25
    if lookback is not None and lookback.exchanges:
        span, counted = chains.exposure(lookback)
        if counted:
            return lookback.exchanges / span
    return None


def _lognormal(ends: tuple[float, float], random: np.random.Generator, size: int) -> Floats:
    low, high = (math.log(end) for end in ends)
    out: Floats = np.exp((low + high) / 2 + (high - low) / P10_P90 * random.standard_normal(size))
    return out
