"""Where every number comes from: factors with grade, source and year, drivers by name, what nobody measured.

In: priced scenarios. Out: Factor rows and sentences for a report. Computes no figure.
"""

from __future__ import annotations

import numpy as np

from afterguard.model import Factor, Lookback, Outcome, Survey
from afterguard.risk.business import Business
from afterguard.risk.figures import short
from afterguard.risk.portfolio import Priced
from afterguard.risk.scenario import Cost, Part, Stage, sources
from afterguard.risk.severity import Facts, answer_of, value_of
from afterguard.risk.tested import Measured

from . import chain as chains


def factors_of(one: Priced, facts: Facts) -> tuple[Factor, ...]:
    """Every number one scenario rests on, in the order of the chain, then the amounts."""
    scenario, chain = one.scenario, one.chain
    start = short(scenario.attempts.mean) + (f" ({scenario.attempts.why})" if scenario.attempts.why else "")
    rows = [_sourced("attempts a year", start, scenario.attempts.source)]
    own = {test.stage: test for test in chain.tested}
    for stage in scenario.stages:
        if stage.id in own:
            rows.append(_tested(stage, own[stage.id]))
            continue
        rows.append(
            _sourced(f"chance that {stage.title}", f"{float(np.mean(chain.stages[stage.id])):.0%}", stage.source)
        )
    for move in chain.moves:
        named = ", ".join(chains.name_of(one) for one in move.findings[:3])
        more = f" and {len(move.findings) - 3} more" if len(move.findings) > 3 else ""
        what = "attempts" if move.driver.stage == "attempts" else f"odds of {move.driver.stage}"
        value = f"x {float(np.median(move.factor)):.1f} because of {named}{more}"
        rows.append(_sourced(f"{what}: {move.driver.id}", value, move.driver.source))
    for seen in chain.observed:
        rows.append(_observed(seen))
    for form in scenario.forms:
        if any(done.id == form.id for done in one.process.forms):
            rows += _amounts(form, facts)
    return tuple(rows)


def _tested(stage: Stage, one: Measured) -> Factor:
    a, b = one.beta
    way = ", through the guard's door" if one.through == "guarded" else ""
    value = (
        f"{a / (a + b):.0%}: {one.succeeded} of {one.trials} trials of {one.families} families succeeded, worth {one.worth:.1f} independent ones; "
        f"own data weighs {one.weight:.0%}"
    )
    source = sources()["attack"]
    return Factor(f"chance that {stage.title}", value, source.grade, f"{source.title}, n={one.trials}{way}", source.year, measured=True)  # fmt: skip


def _observed(seen: chains.Observed) -> Factor:
    value = (
        f"{len(seen.incidents)} suspected, counted as {seen.events:.1f} real ones in {seen.exposure * 365.25:.1f} days"
        f" of full sight; own data weighs {seen.weight:.0%}"
    )
    source = sources()["telemetry"]
    return Factor(f"seen in the records: {seen.stage}", value, source.grade, source.title, source.year, measured=True)


def _amounts(form: Cost, facts: Facts) -> list[Factor]:
    rows = [_part(form, part, facts) for part in form.parts]
    ceiling = answer_of(facts.business, form.cap.answer) if form.cap else None
    if form.cap and ceiling:
        most = max(ceiling.high * form.cap.times, form.cap.floor * facts.business.rate)
        rows.append(_sourced(f"{form.title}: never more than", short(most), form.cap.source))
    if not isinstance(form.chance, int):
        a, b = form.chance
        rows.insert(0, _sourced(f"{form.title}: happens in", f"{a / (a + b):.0%} of events", form.source))
    return rows


def _part(form: Cost, part: Part, facts: Facts) -> Factor:
    name = f"{form.title}: {part.answer.replace('_', ' ') if part.answer else part.what or 'amount'}"
    unit = "USD " if part.usd else ""
    if part.fixed:
        return _sourced(name, short(part.fixed), part.source)
    if part.measured in facts.measured:
        own = facts.measured[part.measured]
        return _sourced(name, f"{short(own.value.low)} to {short(own.value.high)}, {own.says}", own.source)
    if not part.answer:
        return _sourced(name, f"{unit}{short(part.p10)} to {short(part.p90)}", part.source)
    value, told = value_of(part, facts)
    ends = f"{short(value.low)} to {short(value.high)}"
    if part.answer == "records" and facts.counted and value.low == facts.counted:
        return _sourced(name, f"{ends}; {facts.counted} counted in the records", "telemetry")
    return (
        _sourced(name, ends, "owner") if told else _sourced(name, f"{unit}{ends}, assumed: nobody told", "assumption")
    )


def _sourced(name: str, value: str, source: str) -> Factor:
    where = sources()[source]
    return Factor(name, value, where.grade, where.title, where.year, measured=where.grade == "A")


def drivers_of(one: Priced) -> tuple[str, ...]:
    """Names of the findings and incidents that moved a scenario."""
    names = [chains.name_of(finding) for move in one.chain.moves for finding in move.findings]
    names += [incident.id for seen in one.chain.observed for incident in seen.incidents]
    return tuple(dict.fromkeys(names))


def never_measured(priced: tuple[Priced, ...], survey: Survey, lookback: Lookback | None) -> tuple[str, ...]:
    """What these figures rest on without anybody having looked, and what was found but moves none of them."""
    known = {test.answers for one in priced for test in one.chain.tested}
    rows = [sentence for one in priced for sentence in one.scenario.never_measured if sentence not in known]
    if lookback is None or not lookback.exchanges:
        rows.append("what already happened: no recorded traffic was given")
    elif not chains.exposure(lookback)[1]:
        rows.append("how long the records span: they carry no times, 30 days were assumed")
    if lookback is not None and lookback.change_request:
        rows.append("what was said to the model and back: it was never logged")
    blind = sorted(name for name, outcome in survey.checks.items() if outcome in (Outcome.not_available, Outcome.error))
    rows += [f"{name}: the check could not tell" for name in blind[:20]]
    moved = {name for one in priced for name in drivers_of(one)}
    still = {finding.rule for finding in survey.findings if chains.name_of(finding) not in moved}
    still |= {incident.kind for incident in lookback.incidents if incident.id not in moved} if lookback else set()
    rows += [f"{name.replace('_', ' ')}: found here, but no loss scenario counts it" for name in sorted(still)[:20]]
    return tuple(dict.fromkeys(rows))


def unknown_of(priced: tuple[Priced, ...], business: Business, traits: frozenset[str]) -> tuple[str, ...]:
    """Answers missing from business.yaml and what each leaves open."""
    return tuple(dict.fromkeys((*business.unknown(traits), *(why for one in priced for why in one.sized.left_out))))
