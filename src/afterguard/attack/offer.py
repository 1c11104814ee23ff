"""Which techniques can say anything of a target, and why the others cannot.

In: techniques, an Aim, how the target talks. Out: for each one "" or the fixed word why it is not tried. What is not tried is shown, never counted as resisted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from afterguard.attack.calibrate import Manner
from afterguard.attack.contract import Aim, Surface, Technique
from afterguard.attack.facts import DECLINED, LIMIT, OFF_PURPOSE, PACKAGES, amount, numbers_told

SURFACES = frozenset(str(surface) for surface in Surface)


def offered(techniques: Sequence[Technique], aim: Aim, manner: Manner, is_read_only: bool) -> dict[str, str]:
    """Technique id -> "" where it is tried, else why not."""
    return {technique.id: _why_not(technique, aim, manner, is_read_only) for technique in techniques}


def _why_not(technique: Technique, aim: Aim, manner: Manner, is_read_only: bool) -> str:
    if is_read_only and not technique.is_read_only:
        return "not-read-only"
    if technique.is_of_tool:
        return _why_not_of_tool(technique, aim, manner)
    if aim.example:
        return "is-a-tool"
    if manner.is_echo:
        return "echoes"
    if manner.is_constant:
        return "says-the-same-to-everything"
    if not manner.usual:
        return "no-answer-to-harmless-questions"
    if manner.is_deaf:
        return "does-not-hear"
    for need in sorted(technique.needs):
        if not _has(need, aim, manner):
            return "no-harmless-task-done" if need == "joins" else f"no-{need}"
    return ""


def _why_not_of_tool(technique: Technique, aim: Aim, manner: Manner) -> str:
    """A tool need not hear or talk, but it has to work: what shows something of it cannot be echoed."""
    for need in sorted(technique.needs):
        if not _has(need, aim, manner):
            return f"no-{need}"
    return "" if manner.works else "example-does-not-work"


def _has(need: str, aim: Aim, manner: Manner) -> bool:
    if need == "joins":
        return manner.joins
    if need in SURFACES:
        return Surface(need) in aim.surfaces
    return MORE[need](aim) if need in MORE else bool(getattr(aim, need))


MORE: dict[str, Callable[[Aim], bool]] = {
    "canary": lambda aim: bool(aim.canaries),
    "canary_of_other": lambda aim: any(one.owner for one in aim.canaries),
    "canary_in_document": lambda aim: any(one.place == "document" for one in aim.canaries),
    "second_identity": lambda aim: len(set(aim.identities)) > 1,
    "canary_at_address": lambda aim: any(one.place.startswith(("http://", "https://")) for one in aim.canaries),
    "canary_in_file": lambda aim: any(one.place.startswith("/") for one in aim.canaries),
    "fact_limit": lambda aim: amount(aim.facts.get(LIMIT, "")) > 0,
    "fact_number": lambda aim: bool(numbers_told(aim.facts)),
    "fact_packages": lambda aim: bool(aim.facts.get(PACKAGES, "").strip()),
    "fact_off_purpose": lambda aim: aim.facts.get(OFF_PURPOSE, "").strip().casefold() == DECLINED,
}
"""Needs that are not the name of a field."""
