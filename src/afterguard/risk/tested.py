"""What an attack measured of the stages of a scenario: the vulnerability, instead of what is assumed of applications like it.

In: a scenario, the rates of an attack. Out: `Measured` for each stage that its families speak of.

Theory of operation. A stage's chance is Beta: its prior, scaled down to a few trials, plus successes in trials. Prompts of one family are not independent and families of one kind are not either, so trials are shrunk twice: within a form of a technique before they come here (attack/effective.py), and between families here, by how alike
the trials of one family are (analysis of variance). The chance is that of a try with a technique drawn from those that were tried; an attacker who knows the best one has a higher one.
"""

from __future__ import annotations

import msgspec

from afterguard import catalog
from afterguard.model import Attacked, Family
from afterguard.risk.scenario import Scenario, Stage

HALF = 0.5
"""How alike the trials of one family are taken to be where their results do not tell."""
FLOOR = 0.1


class Measured(msgspec.Struct, frozen=True):
    """The rate of one stage as an attack found it."""

    stage: str
    succeeded: int
    trials: int
    families: int
    worth: float
    """Independent trials."""
    hits: float
    """Of them, successes."""
    beta: tuple[float, float]
    """Of the stage, its prior taken in."""
    weight: float
    """Share of own data in it."""
    answers: str
    through: str


def measured(scenario: Scenario, attacked: Attacked | None) -> tuple[Measured, ...]:
    """Each stage that was measured."""
    if attacked is None:
        return ()
    stages = {stage.id: stage for stage in scenario.stages}
    rows = (_measured(stages[one.stage], one.kinds, one.answers, attacked) for one in scenario.tested)
    return tuple(one for one in rows if one is not None)


def _measured(stage: Stage, kinds: tuple[str, ...], answers: str, attacked: Attacked) -> Measured | None:
    table = catalog.load("losses/sources")["tested"]
    mine = [one for one in attacked.families if one.kind in kinds and one.share.of]
    hits, worth = pooled(mine)
    if worth < table["least"]:
        return None
    a, b = stage.beta
    scale = min(1.0, table["prior"] / (a + b))
    beta = (a * scale + hits, b * scale + worth - hits)
    return Measured(
        stage.id, sum(one.succeeded for one in mine), sum(one.share.of for one in mine), len(mine), worth, hits, beta, worth / sum(beta), answers, attacked.through,
    )  # fmt: skip


def pooled(families: list[Family]) -> tuple[float, float]:
    """(successes, trials) of families together, as independent ones."""
    groups = [(one.share.rate, min(one.effective or one.share.of, one.share.of)) for one in families]
    how = alike(groups)
    worth = [of / (1 + max(0.0, of - 1) * how) for _, of in groups]
    return sum(rate * each for (rate, _), each in zip(groups, worth, strict=True)), sum(worth)


def alike(groups: list[tuple[float, float]]) -> float:
    """How alike trials of one family are, of (rate, trials) of each: the intraclass correlation (Donner 1986)."""
    n, k = sum(of for _, of in groups), len(groups)
    hits = sum(rate * of for rate, of in groups)
    if k < 2 or n <= k or not 0 < hits < n:
        return HALF
    mean = hits / n
    between = sum(of * (rate - mean) ** 2 for rate, of in groups) / (k - 1)
    within = sum(of * rate * (1 - rate) for rate, of in groups) / (n - k)
    size = (n - sum(of * of for _, of in groups) / n) / (k - 1)
    spread = between + (size - 1) * within
    return min(1.0, max(FLOOR, (between - within) / spread)) if spread > 0 else HALF
