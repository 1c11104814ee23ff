"""Scores carry so many digits that a change without meaning shows in them: what leads an attacker up a slope, and copies a model with few rows.

A success is claimed where the same row gets the same score, so that it is no jitter, and most changes of a thousandth show.
"""

from __future__ import annotations

from afterguard.attack.contract import Claim
from afterguard.attack.scoring import space
from afterguard.attack.scoring.contract import Aim, Attack, Technique
from afterguard.attack.scoring.manner import seeded
from afterguard.attack.trial import Figure, Result, Verdict
from afterguard.model import Severity

ROWS = 4
FINE = 5
"""Digits behind the point from which a score is fine."""


def attack(aim: Aim, variant: str) -> Attack:
    draw = seeded(aim.seed)
    rows = [dict(aim.heard[at][0]) for at in draw.permutation(len(aim.heard)).tolist()[:ROWS]]
    heard = yield [*rows, *rows, *(space.slight(aim, row, draw) for row in rows)]
    scores = [answer.score for answer in heard.answers]
    first, again, moved = scores[:ROWS], scores[ROWS : 2 * ROWS], scores[2 * ROWS :]
    if first != again:
        return Result(Verdict.not_assessed, "does-not-answer-the-same-twice")
    shown = sum(one != other for one, other in zip(first, moved, strict=True))
    long = [digits(score) for score in first if score is not None]
    figures = (Figure("changes-seen", shown, of=len(rows)), Figure("digits", max(long, default=0)))
    if shown > len(rows) / 2 and sorted(long)[len(long) // 2] >= FINE:
        words = f"{shown} of {len(rows)} changes of a thousandth show in the score; it has up to {max(long)} digits: {first[0]!r} -> {moved[0]!r}"  # fmt: skip
        return Result(Verdict.succeeded, claim=Claim("digits", words), figures=figures)
    return Result(Verdict.resisted, figures=figures)


def digits(score: float) -> int:
    """Digits behind the point."""
    head, _, power = repr(score).partition("e")
    return max(0, len(head.partition(".")[2].removesuffix("0") if "." in head else "") - int(power or 0))


TECHNIQUE = Technique(
    id="score-digits",
    title="Scores show changes that mean nothing",
    kind="model extraction",
    severity=Severity.low,
    taxonomies=("AML.T0024.002", "AML.T0015", "LLM10:2025", "LLM06:2026", "CWE-203"),
    fix="Give the decision without a score, or the score in a few steps.",
    rule="fewer-digits",
    variants=("thousandth",),
    attack=attack,
    trials=lambda aim: 2,
    rows=3 * ROWS,
    steps=0,
    together=3 * ROWS,
    needs=frozenset({"scores"}),
)
