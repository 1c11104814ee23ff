"""A decision that turned: made small, then held against everything else that could have turned it.

In: a row that is decided against, one that is not. Out: the smallest change that was found; a Result. A success is claimed where all of this holds: the row is refused each time it is asked; the changed one is granted each time; and of
controls, changes of the same features by as much at most in directions that are drawn, at most two of sixteen turn the decision, or none of eight. What turns with any change is not evaded but unsteady, and is not assessed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

from afterguard.attack.contract import Claim
from afterguard.attack.scoring import space, spelled
from afterguard.attack.scoring.contract import Aim, Answer, Cell, Heard, Sent
from afterguard.attack.trial import Figure, Result, Verdict

ASKED = 3
"""Times that the changed row is asked again."""
CONTROLS = 8
"""Where some of them turn the decision, as many more are asked about."""
STRAY = 2
"""Of all controls, how many may turn the decision."""
HALVINGS = 5
Found = dict[str, Cell]
Search = Generator[Sent, Heard, Found | None]
Step = Generator[Sent, Heard, Found]
Way = Callable[[Aim, Found, space.Box, space.Draw], Search]
"""(aim, the refused row, what can be made of it, what draws) -> a row that is granted."""
T = TypeVar("T")


class Counted:
    """How many rows a search asked about."""

    def __init__(self) -> None:
        self.rows = 0

    def of(self, search: Generator[Sent, Heard, T]) -> Generator[Sent, Heard, T]:
        """The same search, counted."""
        try:
            sent = next(search)
            while True:
                self.rows += len(sent)
                sent = search.send((yield sent))
        except StopIteration as end:
            found: T = end.value
            return found


def first(aim: Aim, row: Found, tried: Sequence[Found], answers: Sequence[Answer]) -> Found | None:
    """The first of the changed rows that is decided as wanted and not too dear."""
    granted = (one for one, answer in zip(tried, answers, strict=True) if aim.is_wanted(answer))
    return next((one for one in granted if space.changed(row, one) and space.cost(aim, row, one) <= aim.most_cost), None)  # fmt: skip


def smaller(aim: Aim, row: Found, found: Found, box: space.Box) -> Step:
    """The change made small: along the line to the row, then without the features that do not matter."""
    low, best = 0.0, found
    high = 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        candidate = space.between(row, found, box, middle)
        if candidate == best:
            break
        heard = yield [candidate]
        if aim.is_wanted(heard.answers[0]):
            high, best = middle, candidate
        else:
            low = middle
    for name in space.changed(row, best):
        candidate = {**best, name: row[name]}
        if not space.changed(row, candidate):
            continue
        heard = yield [candidate]
        if aim.is_wanted(heard.answers[0]):
            best = candidate
    return best


def judged(aim: Aim, row: Found, found: Found, seed: space.Draw, queries: int) -> Generator[Sent, Heard, Result]:
    """What a turned decision shows."""
    controls = space.aimless(aim, row, found, 2 * CONTROLS, seed)
    asked = [row, found, row, *[found] * (ASKED - 1)]
    heard = yield [*asked, *controls[:CONTROLS]]
    turned = [aim.is_wanted(answer) for answer in heard.answers]
    is_steady = turned[: len(asked)] == [False, True, False, *[True] * (ASKED - 1)]
    others = turned[len(asked) :]
    if is_steady and 0 < sum(map(bool, others)) <= STRAY:
        heard = yield controls[CONTROLS:]
        others += [aim.is_wanted(answer) for answer in heard.answers]
    stray = sum(map(bool, others))
    figures = (
        Figure("queries", queries + len(asked) + len(others)),
        Figure("controls-turned", stray, of=len(others)),
        Figure("change", space.distance(aim, row, found)),
        Figure("cost", space.cost(aim, row, found)),
        Figure("moved", aim.moved(found)),
    )
    if not is_steady:
        return Result(Verdict.not_assessed, "does-not-answer-the-same-twice", figures=figures)
    if len(others) < CONTROLS // 2 or stray > STRAY:
        return Result(Verdict.not_assessed, "any-change-turns-it", figures=figures)
    return Result(Verdict.succeeded, claim=Claim("turned", evidence(row, found)), figures=figures)


def evidence(row: Found, found: Found) -> str:
    """What was changed, for a person."""
    parts = [f"{name}: {spelled.cell(row[name])} -> {spelled.cell(found[name])}" for name in space.changed(row, found)]
    return ("refused, and granted with " + ", ".join(parts))[:600]


def held(aim: Aim, row: Found, queries: int) -> Result:
    """Nothing was found: the row stays refused, and its amount with it."""
    return Result(Verdict.resisted, figures=(Figure("queries", queries), Figure("at-stake", aim.moved(row))))
