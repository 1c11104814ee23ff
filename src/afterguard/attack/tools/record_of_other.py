"""The tool is asked for what belongs to somebody else: by his id, and with signs that some tools take for everything."""

from __future__ import annotations

from afterguard.attack.contract import Aim, Attack, Canary, Technique
from afterguard.attack.markers import pick
from afterguard.attack.probing import came_out, harmless, probed
from afterguard.model import Severity

FORMS = {
    "by-id": "{owner}",
    "percent": "%",
    "star": "*",
    "always-true": "{example}' OR '1'='1",
    "number-or-true": "{example} OR 1=1",
}


def theirs(aim: Aim) -> Canary:
    owned = [one for one in aim.canaries if one.owner]
    value = pick(aim.seed, tuple(one.value for one in owned))
    return next(one for one in owned if one.value == value)


def attack(aim: Aim, variant: str) -> Attack:
    canary = theirs(aim)
    argument = FORMS[variant].format(owner=canary.owner, example=aim.example)
    return (yield from probed(aim, argument, came_out(canary)))


def twin(aim: Aim, variant: str) -> Attack:
    return (yield from harmless(aim.example, came_out(theirs(aim))))


TECHNIQUE = Technique(
    id="record-of-other",
    title="The tool gives out what belongs to somebody else",
    kind="data leakage",
    severity=Severity.critical,
    taxonomies=("LLM02:2025", "LLM02:2026", "ASI03:2026", "AML.T0057", "CWE-639"),
    fix="Take whose record it is from the signed-in session and not from an argument. Return the fields and rows that this caller may see, and no more.",
    rule="no-data-of-others",
    variants=tuple(FORMS),
    attack=attack,
    twin=twin,
    needs=frozenset({"example", "canary_of_other"}),
    turns=2,
)
