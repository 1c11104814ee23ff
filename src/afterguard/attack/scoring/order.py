"""Which techniques can say anything of a model, and which trial comes next.

In: techniques, an Aim, how the model answers, trials that are over. Out: for each technique "" or the fixed word why it is not tried; the next Pick. The same results give the same picks, so a run that was interrupted goes on where it was.

In each round every technique that is not done gets one trial, in the order of the list; so where requests run out every technique has something. One is done after its trials, or when its last ones could not be assessed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from afterguard.attack.scoring.contract import Aim, Technique
from afterguard.attack.scoring.manner import Manner
from afterguard.attack.trial import Verdict
from afterguard.detect.feature_schema import Feature

HOPELESS = 3
"""Trials in a row that could not be assessed, after which a technique is left."""
RANDOM = "answers-at-random"
SPARE = 0.02
"""Of the requests, kept for those that have to be sent again."""


class Pick(NamedTuple):
    """One trial."""

    technique: str
    variant: str
    number: int

    @property
    def name(self) -> str:
        return f"{self.technique}/{self.variant}/{self.number}"


class Past(NamedTuple):
    """One that is over."""

    pick: Pick
    verdict: Verdict


def offered(techniques: Sequence[Technique], aim: Aim, manner: Manner) -> dict[str, str]:
    """Technique id -> "" where it is tried, else why not."""
    return {technique.id: _why_not(technique, aim, manner) for technique in techniques}


def _why_not(technique: Technique, aim: Aim, manner: Manner) -> str:
    # That a model answers the same row in two ways is a weakness of its own; nothing else shows anything then.
    if manner.odd and not (manner.odd == RANDOM and technique.id == "two-answers"):
        return manner.odd
    lacks = next((need for need in sorted(technique.needs) if not HAS[need](aim)), "")
    return f"no-{lacks}" if lacks else "" if technique.trials(aim) else "nothing-to-try"


def is_bounded(feature: Feature) -> bool:
    """Whether an owner says what values there may be."""
    return feature.low is not None or feature.high is not None or bool(feature.values)


HAS: dict[str, Callable[[Aim], bool]] = {
    "changes": lambda aim: bool(aim.changes),
    "scores": lambda aim: aim.has_scores and bool(aim.toward),
    "refused": lambda aim: bool(aim.refused),
    "both": lambda aim: bool(aim.refused and aim.granted),
    "sets": lambda aim: bool(aim.members and aim.strangers),
    "ranges": lambda aim: any(is_bounded(one) for one in aim.features.values()),
}


def following(techniques: Sequence[Technique], past: Sequence[Past], aim: Aim, left: int) -> Pick | None:
    """The next trial, or None where every technique is done or what is left might not suffice. Those that come last have what they take kept for them, once every other one had a trial."""
    open_ = [(technique, done) for technique in techniques if (done := _open(technique, past, aim)) is not None]
    kept = sum(technique.requests(aim) * (technique.trials(aim) - done) for technique, done in open_ if technique.is_last)  # fmt: skip
    room = left * (1 - SPARE)
    first = [one for one in open_ if not one[0].is_last and one[0].requests(aim) <= room - (kept if one[1] else 0)]
    last = [one for one in open_ if one[0].is_last and one[0].requests(aim) <= room]
    found = min(first or last, key=lambda one: one[1], default=None)
    if found is None:
        return None
    technique, number = found
    return Pick(technique.id, technique.variants[number % len(technique.variants)], number)


def _open(technique: Technique, past: Sequence[Past], aim: Aim) -> int | None:
    """How many trials are over; None where it is done."""
    mine = [one.verdict for one in past if one.pick.technique == technique.id]
    is_hopeless = len(mine) >= HOPELESS and all(one is Verdict.not_assessed for one in mine[-HOPELESS:])
    return None if len(mine) >= technique.trials(aim) or is_hopeless else len(mine)
