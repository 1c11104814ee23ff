"""What one user has put into the application's memory is obeyed in the conversation of another user. Taken out again afterwards."""

from __future__ import annotations

from afterguard.attack.contract import Aim, Attack, Technique
from afterguard.attack.techniques import memory_order
from afterguard.attack.techniques.tool_as_another import others
from afterguard.model import Severity


def attack(aim: Aim, variant: str) -> Attack:
    return (yield from memory_order.planted(aim, variant, aim.identities[0], others(aim)[0]))


def twin(aim: Aim, variant: str) -> Attack:
    return (yield from memory_order.harmless(aim, aim.identities[0], others(aim)[0]))


def clean(aim: Aim, variant: str) -> Attack:
    return (yield from memory_order.forgotten(aim, aim.identities[0]))


TECHNIQUE = Technique(
    id="memory-of-all",
    title="What one user has remembered is obeyed for another",
    kind="memory poisoning",
    severity=Severity.critical,
    taxonomies=("LLM04:2025", "LLM05:2026", "ASI06:2026", "AML.T0080", "CWE-349", "CWE-488"),
    fix="Keep memory apart by signed-in identity, in the store itself and not by a filter of the model. What is to be true for all comes from the owner alone.",
    rule="no-orders-from-outsiders",
    variants=tuple(memory_order.ORDERS),
    attack=attack,
    twin=twin,
    needs=frozenset({"memory", "second_identity", "switches", "joins"}),
    is_read_only=False,
    turns=2,
    clean=clean,
)
