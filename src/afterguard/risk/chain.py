"""The rate of a loss event: attempts a year that pass every stage, moved by findings and by what a look-back saw.

In: a scenario, findings, incidents. Out: a Chain whose `rate` gives loss events a year for each parameter draw.

Theory of operation. Attempts are Gamma, stages are Beta; a finding multiplies the odds of its stage (or the attempts'
rate), once for each driver however many findings name it, at the strength of the worst of them. Incidents update the
rate at the deepest stage they prove: a Gamma of the chain's own mean and spread, plus k real events in t years seen.
A stage that an attack measured has the chance that was measured, with whatever findings there are: their factors are
taken out of it, by the weight of the own data, and put back in, so that closing one of them still lowers it.
Every draw is keyed by what it is for, so that adding a finding or an incident moves nothing else.
"""

from __future__ import annotations

import math
from functools import lru_cache

import msgspec
import numpy as np

from afterguard import catalog
from afterguard.model import Attacked, Finding, Incident, Lookback
from afterguard.risk.scenario import Driver, Scenario, Stage, proves, says, scenarios, words
from afterguard.risk.simulate import Floats, spaced
from afterguard.risk.tested import Measured, measured

YEAR = 365.25 * 86400
SHORTEST = 1.0 / 365.25
"""Exposure is never taken as shorter than a day."""
ASSUMED_EXPOSURE = 30.0 / 365.25
"""Years, where the records carry no times."""
PRIOR_YEARS = 0.5
"""A prior of this catalogue never counts for more than half a year of own records: once something has been seen here,
what industry surveys expected matters little."""
HIGHEST = 12.0
"""Loss events a year: after one a month somebody switches it off."""
MOST_ODDS = 40.0
"""Findings together never move the odds of one stage by more."""


class Move(msgspec.Struct, frozen=True):
    """A driver that is active: the findings behind it and its multiplier for each parameter draw."""

    driver: Driver
    findings: tuple[Finding, ...]
    factor: Floats


class Observed(msgspec.Struct, frozen=True):
    """Incidents that prove a stage: how many real events they count for in how many years, and the weight of own data."""

    stage: str
    incidents: tuple[Incident, ...]
    events: float
    each: tuple[float, ...]
    """What each incident counts for."""
    exposure: float
    weight: float


class Chain(msgspec.Struct, frozen=True):
    """Everything that makes the rate of one scenario; arrays have one value for each parameter draw."""

    scenario: Scenario
    attempts: Floats
    stages: dict[str, Floats]
    moves: tuple[Move, ...]
    observed: tuple[Observed, ...]
    rate: Floats
    unseen: Floats
    """The rate that priors and findings alone would give."""
    tested: tuple[Measured, ...] = ()
    """Stages whose chance an attack measured."""

    def share_left(self, closed: frozenset[str], odds: dict[str, Floats]) -> Floats:
        """Share of the rate that stays when findings are closed (by fingerprint) and stages are guarded (odds factors)."""
        moves = tuple(move for move in self.moves if not closed.issuperset(name_of(one) for one in move.findings))
        before = _prior(self.attempts, self.stages, self.moves, {})
        after = _prior(self.attempts, self.stages, moves, odds)
        out: Floats = np.minimum(1.0, after / np.maximum(before, 1e-300))
        return out

    @property
    def own(self) -> float:
        """Share of the rate that rests on own data: of each stage the weight of what proved or measured it."""
        order = ["attempts", *(stage.id for stage in self.scenario.stages)]
        best = max(self.observed, key=lambda one: one.weight * (order.index(one.stage) + 1), default=None)
        depth = order.index(best.stage) if best else -1
        share = [best.weight if best and at <= depth else 0.0 for at in range(len(order))]
        for one in self.tested:
            at = order.index(one.stage)
            share[at] = max(share[at], one.weight)
        return sum(share) / len(order)


def name_of(finding: Finding) -> str:
    """What a finding is called in a report: its fingerprint, else rule and place."""
    return finding.fingerprint or f"{finding.rule}@{finding.path}:{finding.line}"


def build(
    scenario: Scenario,
    findings: tuple[Finding, ...],
    lookback: Lookback | None,
    *,
    seed: int,
    size: int,
    public: Floats,
    attacked: Attacked | None = None,
) -> Chain:
    """The chain of one scenario with `size` parameter draws; `public` is the chance to become known outside."""
    attempts = scenario.attempts
    scale = attempts.mean / attempts.shape
    base = spaced(seed, (scenario.id, "attempts"), size, lambda random, n: random.gamma(attempts.shape, scale, n))
    tests = measured(scenario, attacked)
    own = {one.stage: one for one in tests}
    stages = {stage.id: _stage(scenario, stage, seed, size, public, own.get(stage.id)) for stage in scenario.stages}
    moves = tuple(
        move for driver in scenario.drivers if (move := _move(scenario, driver, findings, seed, size)) is not None
    )
    stages |= {name: shifted(stages[name], _factor(name, moves, {}) ** -one.weight) for name, one in own.items()}
    rate, observed = _posterior(scenario, base, stages, moves, lookback, seed)
    unseen = np.minimum(_prior(base, stages, moves, {}), HIGHEST)
    return Chain(scenario, base, stages, moves, observed, np.minimum(rate, HIGHEST), unseen, tests)


def _stage(scenario: Scenario, stage: Stage, seed: int, size: int, public: Floats, own: Measured | None) -> Floats:
    if stage.public:
        return public
    beta = own.beta if own else stage.beta
    return spaced(seed, (scenario.id, stage.id), size, lambda random, n: random.beta(*beta, n))


def _move(scenario: Scenario, driver: Driver, findings: tuple[Finding, ...], seed: int, size: int) -> Move | None:
    matching = tuple(one for one in moved_by((driver,), findings) if strength(one) > 0)
    if not matching:
        return None
    low, high = (math.log(end) for end in driver.factor)
    z = spaced(seed, (scenario.id, driver.id, "factor"), size, lambda random, n: random.standard_normal(n))
    logarithm = np.maximum(0.0, (low + high) / 2 + (high - low) / 2.563 * z)
    return Move(driver, matching, np.exp(max(strength(one) for one in matching) * logarithm))


def moved_by(drivers: tuple[Driver, ...], findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """The findings that belong to any of the drivers. Each rule is judged once, however many findings it has."""
    rules = {(one.rule, one.taxonomies) for one in findings}
    belong = {rule for rule in rules if any(moves_it(driver, *rule) for driver in drivers)}
    return tuple(one for one in findings if (one.rule, one.taxonomies) in belong)


def moves_it(driver: Driver, rule: str, taxonomies: tuple[str, ...]) -> bool:
    """Whether a rule belongs to a driver: by its words, or by taxonomy ids where no driver knows its words."""
    if _named(driver, rule):
        return True
    return not is_known(rule) and any(identifier in driver.taxonomies for identifier in taxonomies)


def _named(driver: Driver, rule: str) -> bool:
    found = words(rule)
    return any(says(entry, found) for entry in driver.rules)


@lru_cache(maxsize=4096)
def is_known(rule: str) -> bool:
    """Whether any driver of the catalogue names the rule; taxonomy ids are broad, so they only stand in for a name."""
    return any(_named(driver, rule) for scenario in scenarios() for driver in scenario.drivers)


def strength(finding: Finding) -> float:
    """0 to 1: how strongly a finding moves its stage, by severity and confidence."""
    table = catalog.load("losses/sources")
    weight = table["severity_weight"][finding.severity.value] * table["confidence_weight"][finding.confidence.value]
    return float(weight)


def _prior(attempts: Floats, stages: dict[str, Floats], moves: tuple[Move, ...], odds: dict[str, Floats]) -> Floats:
    rate = attempts * _factor("attempts", moves, odds)
    for name, chance in stages.items():
        rate = rate * shifted(chance, _factor(name, moves, odds))
    out: Floats = rate
    return out


def _factor(stage: str, moves: tuple[Move, ...], odds: dict[str, Floats]) -> Floats | float:
    factor: Floats | float = 1.0
    for move in moves:
        if move.driver.stage == stage:
            factor = factor * move.factor
    return np.minimum(factor, MOST_ODDS) * odds.get(stage, np.float64(1.0))


def shifted(chance: Floats, odds: Floats | float) -> Floats:
    """A probability whose odds are multiplied."""
    out: Floats = chance * odds / (1.0 - chance + chance * odds)
    return out


def _posterior(
    scenario: Scenario,
    base: Floats,
    stages: dict[str, Floats],
    moves: tuple[Move, ...],
    lookback: Lookback | None,
    seed: int,
) -> tuple[Floats, tuple[Observed, ...]]:
    """Attempts through the stages in order; at each stage with evidence the rate so far is updated Gamma-Poisson."""
    rate = base * _factor("attempts", moves, {})
    plain = base
    observed: list[Observed] = []
    for name in ("attempts", *stages):
        if name != "attempts":
            rate = rate * shifted(stages[name], _factor(name, moves, {}))
            plain = plain * stages[name]
        seen = _seen(scenario, name, lookback)
        if seen is None:
            continue
        shape = float(np.mean(plain) ** 2 / max(float(np.var(plain)), 1e-300))
        mean = max(float(np.mean(rate)), 1e-12)
        worth = min(shape / mean, PRIOR_YEARS)
        rate = _gamma(seed, scenario.id, name, mean * worth + seen.events, len(base)) / (worth + seen.exposure)
        weight = seen.events / (mean * worth + seen.events)
        observed.append(msgspec.structs.replace(seen, weight=weight))
    return rate, tuple(observed)


def _gamma(seed: int, scenario: str, stage: str, shape: float, size: int) -> Floats:
    return spaced(seed, (scenario, stage, "posterior"), size, lambda random, n: random.gamma(shape, 1.0, n))


def _seen(scenario: Scenario, stage: str, lookback: Lookback | None) -> Observed | None:
    """What the look-back says of one stage; None where no incident proves it (absence moves nothing)."""
    if lookback is None or not lookback.exchanges:
        return None
    table = catalog.load("losses/sources")
    found: dict[str, tuple[Incident, float]] = {}
    for entry in scenario.seen:
        if entry.stage != stage:
            continue
        for incident in lookback.incidents:
            if proves(entry, incident.kind) and (real := _precision(incident)):
                found[incident.id] = (incident, entry.weight * real)
    if not found:
        return None
    a, b = table["recall"]["beta"]
    return Observed(
        stage,
        tuple(incident for incident, _ in found.values()),
        sum(weight for _, weight in found.values()),
        tuple(weight for _, weight in found.values()),
        exposure(lookback)[0] * a / (a + b),
        0.0,
    )


def _precision(incident: Incident) -> float:
    """How far an incident counts as real: what a person said of it, else what its confidence is worth."""
    if incident.status in ("confirmed", "dismissed"):
        return float(incident.status == "confirmed")
    a, b = catalog.load("losses/sources")["precision"][incident.confidence.value]
    return float(a / (a + b))


def exposure(lookback: Lookback) -> tuple[float, bool]:
    """Years the records span, and whether that was counted (False: assumed, the records carry no times)."""
    if lookback.first_seen is None or lookback.last_seen is None:
        return ASSUMED_EXPOSURE, False
    span = (lookback.last_seen - lookback.first_seen) / YEAR
    if not math.isfinite(span) or span < 0:
        return ASSUMED_EXPOSURE, False
    return min(max(span, SHORTEST), 20.0), True
