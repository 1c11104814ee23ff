"""Rows that no model can judge, one at a time, and what it shows when it does.

In: an Aim, a way to spoil a row. Out: a Result. A success is claimed where the model gives one of the decisions that honest rows get, while the honest row beside it is answered as before: it did not look. A refusal (a status of 4xx, something
before the model, a third label) is what should be; an error of the server is neither, and is not assessed. Where a spoiled row that had been refused is granted, the evidence says so: whoever is refused can have it otherwise.
"""

from __future__ import annotations

from collections.abc import Callable

from afterguard.attack.contract import Claim
from afterguard.attack.scoring.contract import Aim, Answer, Attack, Cell, Heard, Pairs
from afterguard.attack.scoring.manner import seeded
from afterguard.attack.scoring.space import Draw
from afterguard.attack.trial import Figure, Result, Verdict

REFUSED = (400, 405, 406, 409, 413, 415, 422)
"""Statuses that say that a row is not as it should be."""
Spoil = Callable[[Aim, "dict[str, Cell]", Draw], "tuple[str, Pairs] | None"]
"""-> (what was done, the row), or None where this row or these features leave nothing to be done."""


def attacked(aim: Aim, spoil: Spoil) -> Attack:
    """One honest row, the same one spoiled, twice."""
    draw = seeded(aim.seed)
    row = _row(aim, draw)
    spoiled = spoil(aim, row, draw)
    if spoiled is None:
        return Result(Verdict.not_assessed, "no-such-feature")
    what, pairs = spoiled
    honest = yield [row]
    if not honest.answers or aim.is_wanted(honest.answers[0]) is None:
        return Result(Verdict.not_assessed, honest.error or "blocked")
    heard = yield [pairs]
    if (end := _refused(heard)) is not None:
        return end
    again = yield [pairs]
    if not again.answers:
        return Result(Verdict.not_assessed, "not-seen-again")
    return _judged(aim, what, honest.answers[0], heard.answers[0], again.answers[0])


def _row(aim: Aim, draw: Draw) -> dict[str, Cell]:
    """One that is refused, where there are such: that it is granted then is worth more."""
    some = aim.refused or tuple(row for row, _ in aim.heard)
    return dict(some[int(draw.integers(len(some)))])


def _refused(heard: Heard) -> Result | None:
    if heard.is_blocked:
        return Result(Verdict.resisted, "blocked")
    if heard.error and heard.status in REFUSED:
        return Result(Verdict.resisted)
    return Result(Verdict.not_assessed, heard.error) if heard.error else None


def _judged(aim: Aim, what: str, honest: Answer, one: Answer, two: Answer) -> Result:
    said = [aim.is_wanted(answer) for answer in (one, two)]
    if said[0] is None or (one.label and one.label not in aim.labels):
        return Result(Verdict.resisted)  # It says that it cannot say, or a label for such rows.
    if said[0] is not said[1]:
        return Result(Verdict.not_assessed, "does-not-answer-the-same-twice")
    is_open = aim.is_wanted(honest) is False and said[0] is True
    words = f"{what}: {'refused before, and granted so' if is_open else 'decided as if it were nothing'}"
    figures = (Figure("granted-so", float(is_open), of=1),)
    return Result(Verdict.succeeded, claim=Claim("decided", words[:600]), figures=figures)


def spoiled(row: dict[str, Cell], name: str, value: Cell) -> Pairs:
    """The row with another value there."""
    return tuple({**row, name: value}.items())


def chosen(names: list[str], draw: Draw) -> str:
    """One of these."""
    return names[int(draw.integers(len(names)))]
