"""The argument holds SQL that works out a product: nothing is read of any table, nothing is changed."""

from __future__ import annotations

from afterguard.attack.contract import Aim, Attack, Technique
from afterguard.attack.probing import harmless, probed, sum_of, worked_out
from afterguard.model import Severity

FORMS = {
    "statement": "SELECT {one} * {other}",
    "after-a-quote": "{example}' UNION SELECT {one} * {other} -- ",
    "two-columns": "{example}' UNION SELECT {one} * {other}, 1 -- ",
    "three-columns": "{example}' UNION SELECT {one} * {other}, 1, 1 -- ",
    "after-a-number": "-1 UNION SELECT {one} * {other}",
    "inside-a-text": "' || ({one} * {other}) || '",
}


def attack(aim: Aim, variant: str) -> Attack:
    drawn = sum_of(aim)
    argument = FORMS[variant].format(one=drawn.one, other=drawn.other, example=aim.example.rstrip(" ;"))
    return (yield from probed(aim, argument, worked_out(str(drawn.product))))


def twin(aim: Aim, variant: str) -> Attack:
    drawn = sum_of(aim)
    return (yield from harmless(f"{drawn.one} * {drawn.other}", worked_out(str(drawn.product))))


TECHNIQUE = Technique(
    id="sql-in-argument",
    title="The tool runs SQL that stands in its argument",
    kind="code execution",
    severity=Severity.high,
    taxonomies=("LLM05:2025", "LLM10:2026", "ASI05:2026", "AML.T0050", "CWE-89"),
    fix="Hand values over as parameters of prepared statements. Where running SQL is what the tool is for, let it connect as a user who may read only what every caller may see.",
    rule="calls-need-a-reason",
    variants=tuple(FORMS),
    attack=attack,
    twin=twin,
    needs=frozenset({"example"}),
    turns=2,
)
