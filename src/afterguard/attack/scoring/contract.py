"""What a technique against a predictive model sends, hears, may use, and how it ends.

In: nothing. Out: structs. A technique is a generator: it yields rows, is sent what was Heard, and returns a Result. It sees no socket and no clock. What an attacker may change of a row, and by how much, its owner has said; nothing beyond it
is tried, except by techniques that are about rows no honest client sends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Annotated, NamedTuple

import msgspec

from afterguard.attack.trial import Result
from afterguard.detect.feature_schema import Feature
from afterguard.model import Severity

Cell = float | int | str | bool | None
Row = Mapping[str, Cell]
Pairs = tuple[tuple[str, Cell], ...]
"""A row whose names may come twice."""
Amount = Annotated[float, msgspec.Meta(ge=0, le=1e12)]


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an attacker can do to one feature. Nothing said: any value of its range, or any of its categories."""

    up: Amount | None = None
    """At most so much more."""
    down: Amount | None = None
    """At most so much less."""
    share: Annotated[float, msgspec.Meta(ge=0, le=1e6)] | None = None
    """At most this share of the value more or less: 0.2."""
    to: tuple[str, ...] = ()
    """Categories that can be had."""
    whole: bool = False
    """Only whole numbers."""
    cost: Amount = 0.0
    """What it costs the attacker to change it at all."""


class Money(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What one decision moves."""

    column: str = ""
    """The feature that holds the amount."""
    fixed: Amount = 0.0
    """Where no column holds it."""


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """What the model says of one row."""

    label: str = ""
    score: float | None = None


class Heard(NamedTuple):
    """What came back for the rows that were sent; where `error` says why, or `is_blocked`, nothing did."""

    answers: tuple[Answer, ...] = ()
    error: str = ""
    status: int = 200
    is_blocked: bool = False
    seconds: float = 0.0


class Aim(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a technique may know and use. Everything random in a trial comes from `seed`."""

    seed: str
    features: dict[str, Feature]
    changes: dict[str, Change]
    rows: tuple[dict[str, Cell], ...]
    """Honest rows, as the owner has them."""
    wanted: frozenset[str] = frozenset()
    """Labels that an attacker wants."""
    threshold: float | None = None
    """Where only a score comes back: on which side of it a decision is wanted."""
    is_below: bool = True
    money: Money = Money()
    most_cost: float = math.inf
    members: tuple[dict[str, Cell], ...] = ()
    """Rows that were in training, and such that were not."""
    strangers: tuple[dict[str, Cell], ...] = ()
    truth: str = ""
    """Column of those two that says what is true, and which of its values ought to be decided against. It is never sent."""
    against: frozenset[str] = frozenset()
    batch: int = 1
    """Rows that go into one request."""
    number: int = 0
    """How many trials of this technique came before."""
    has_scores: bool = False
    toward: int = 0
    """+1 where a higher score is what an attacker wants, -1 where a lower one is, 0 unknown."""
    refused: tuple[dict[str, Cell], ...] = ()
    """Honest rows that are decided against, and decided as wanted."""
    granted: tuple[dict[str, Cell], ...] = ()
    labels: frozenset[str] = frozenset()
    """Labels that honest rows got."""
    heard: tuple[tuple[dict[str, Cell], Answer], ...] = ()
    """What honest rows were told at the beginning."""

    def is_wanted(self, answer: Answer) -> bool | None:
        """Whether an attacker wants this decision; None where there is none."""
        if answer.label and self.wanted:
            return answer.label in self.wanted
        if answer.score is None or self.threshold is None:
            return None
        return answer.score < self.threshold if self.is_below else answer.score >= self.threshold

    def value(self, answer: Answer) -> float:
        """How near an answer is to what an attacker wants."""
        return -math.inf if answer.score is None else answer.score * (self.toward or 1)

    def moved(self, row: Row) -> float:
        """Money that a wanted decision about this row moves."""
        amount = row.get(self.money.column) if self.money.column else None
        return max(0.0, float(amount)) if isinstance(amount, (int, float)) else self.money.fixed

    @property
    def has_money(self) -> bool:
        return bool(self.money.column or self.money.fixed)


Sent = Sequence[Row | Pairs]
Attack = Generator[Sent, Heard, Result]
NEEDS = ("changes", "scores", "refused", "both", "sets", "ranges")
"""What a technique may need: of the target file `changes`, `sets` (members and strangers), `ranges` (low, high or categories); of the model `scores`, rows that are `refused`, `both` decisions."""


class Technique(NamedTuple):
    """One family of attacks on predictive models."""

    id: str
    title: str
    kind: str
    severity: Severity
    taxonomies: tuple[str, ...]
    fix: str
    rule: str
    """Id of the rule in docs/how-to/predictive.md that holds it off meanwhile; "" where none does."""
    variants: tuple[str, ...]
    attack: Callable[[Aim, str], Attack]
    trials: Callable[[Aim], int]
    """How many there are."""
    rows: int
    """Rows that one trial sends at most where each is a request."""
    steps: int
    """Requests of one trial at most where rows go together."""
    together: int = 0
    """Rows that one trial sends at once, where one request may not hold them all."""
    needs: frozenset[str] = frozenset()
    hears_refusals: bool = False
    """Whether an error or a refusal is what it looks for; otherwise it ends the trial."""
    is_last: bool = False
    """Whether it is tried when the others are done: it takes many requests at once, or provokes a limit."""

    def requests(self, aim: Aim) -> int:
        """Requests of one trial at most."""
        return self.rows if aim.batch <= 1 else self.steps + -(-self.together // aim.batch)
