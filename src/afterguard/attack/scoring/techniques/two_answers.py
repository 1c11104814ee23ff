"""The same row gets two decisions: asked again, with its features in another order, or beside other rows.

A success is claimed where a row that was asked several times more got both decisions again: one slip of a network does not count.
"""

from __future__ import annotations

from afterguard.attack.contract import Claim
from afterguard.attack.scoring.contract import Aim, Attack, Cell, Technique
from afterguard.attack.scoring.manner import seeded
from afterguard.attack.trial import Figure, Result, Verdict
from afterguard.model import Severity

ROWS = 3
MORE = 6
Row = dict[str, Cell]
FORMS = ("again", "other-order")


def attack(aim: Aim, variant: str) -> Attack:
    draw = seeded(aim.seed)
    rows = [dict(aim.heard[at][0]) for at in draw.permutation(len(aim.heard)).tolist()[:ROWS]]
    twice = [row if variant == "again" else dict(reversed(row.items())) for row in rows]
    first, second = (yield rows), (yield twice)
    pairs = list(zip(rows, twice, first.answers, second.answers, strict=False))
    unlike = [(row, other) for row, other, one, two in pairs if aim.is_wanted(one) is not aim.is_wanted(two)]
    figure = Figure("decided-otherwise", len(unlike), of=len(pairs))
    if not unlike:
        return Result(Verdict.resisted, figures=(figure,))
    row, other = unlike[0]
    heard = yield [one for _ in range(MORE // 2) for one in (row, other)]
    said = [aim.is_wanted(answer) for answer in heard.answers]
    if len(set(said)) == 1:
        return Result(Verdict.not_assessed, "not-seen-again", figures=(figure,))
    if variant == "other-order" and len(set(said[::2])) + len(set(said[1::2])) > 2:
        return Result(Verdict.not_assessed, "differs-in-the-same-order-too", figures=(figure,))
    words = f"the same row was granted {sum(map(bool, said))} of {len(said)} times"
    return Result(Verdict.succeeded, claim=Claim("two-answers", words[:600]), figures=(figure,))


TECHNIQUE = Technique(
    id="two-answers",
    title="The same row gets two decisions",
    kind="evasion",
    severity=Severity.medium,
    taxonomies=("AML.T0015", "CWE-362", "CWE-758"),
    fix="Serve one version of the model at a time, without anything drawn; read features by name and not by place; keep the decision for a row that comes again.",
    rule="the-agreed-version",
    variants=FORMS,
    attack=attack,
    trials=lambda aim: 4,
    rows=2 * ROWS + MORE,
    steps=3,
    together=2 * ROWS + MORE,
)
