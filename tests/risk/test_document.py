"""docs/explanation/risk-model.md shows every prior as it is shipped: these rows are built from the catalogue."""

from __future__ import annotations

from pathlib import Path

import pytest

from afterguard.risk.control import Control, controls
from afterguard.risk.figures import short
from afterguard.risk.scenario import Cost, Scenario, scenarios, sources

DOC = Path(__file__).parents[2] / "docs" / "explanation" / "risk-model.md"


def cited(name: str) -> str:
    return f"{name} ({sources()[name].grade}, {sources()[name].year})"


def source_row(name: str) -> str:
    one = sources()[name]
    return f"| {name} | {one.title} | {one.year} | {one.grade} |"


def chain_row(one: Scenario) -> str:
    stages = "; ".join(
        f"{stage.title}: "
        + ("chance to become known" if stage.public else f"Beta({stage.beta[0]:g}, {stage.beta[1]:g})")
        + f" {cited(stage.source)}"
        for stage in one.stages
    )
    start = f"{one.attempts.mean:g} a year, shape {one.attempts.shape:g} {cited(one.attempts.source)}"
    return f"| {one.id} | {start} | {stages} | {one.group} |"


def form_row(one: Scenario, form: Cost) -> str:
    chance = (
        "always"
        if isinstance(form.chance, int)
        else f"Beta({form.chance[0]:g}, {form.chance[1]:g}) {cited(form.source)}"
    )
    parts = []
    for part in form.parts:
        power = f" to the power {part.power:g}" if part.power != 1 else ""
        if part.answer:
            ends = f", else {short(part.assume[0])} to {short(part.assume[1])}" if part.assume else ", else left out"
            parts.append(f"{part.answer}{ends}{power} {cited(part.source)}")
        elif part.fixed:
            parts.append(f"{part.what} {part.fixed:g} {cited(part.source)}")
        else:
            parts.append(f"{part.what or 'USD'} {short(part.p10)} to {short(part.p90)}{power} {cited(part.source)}")
    cap = f"{form.cap.times:g} x {form.cap.answer}" if form.cap else ""
    return f"| {one.id} | {form.title} | {chance} | {' x '.join(parts)} | {cap} |"


def driver_rows(one: Scenario) -> list[str]:
    return [
        f"| {one.id} | {driver.id} | {driver.stage} | {driver.factor[0]:g} to {driver.factor[1]:g} | {cited(driver.source)} |"
        for driver in one.drivers
    ]


def control_row(one: Control) -> str:
    guards = "; ".join(
        f"{guard.stage} odds {guard.odds[0]:g} to {guard.odds[1]:g} in {', '.join(guard.scenarios)} {cited(guard.source)}"
        for guard in one.guards
    )
    return f"| {one.title} | {', '.join(one.closes)} | {guards} | {one.days[0]:g} to {one.days[1]:g} |"


def rows() -> dict[str, list[str]]:
    return {
        "sources": [source_row(name) for name in sources()],
        "chains": [chain_row(one) for one in scenarios()],
        "forms": [form_row(one, form) for one in scenarios() for form in one.forms],
        "drivers": [row for one in scenarios() for row in driver_rows(one)],
        "controls": [control_row(one) for one in controls()],
    }


@pytest.mark.parametrize("table", list(rows()))
def test_every_prior_of_the_catalogue_is_in_the_document(table: str) -> None:
    text = DOC.read_text(encoding="utf-8").splitlines()
    for row in rows()[table]:
        assert row in text, row
