"""Case + playbook -> the acts to do, in order. Pure: the same case and playbook give the same acts with the same ids.

In: a Case, a Playbook, what is chosen of it. Out: acts and what was left out, with why. It touches nothing and knows no time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from afterguard.config import nearest
from afterguard.errors import UsageError
from afterguard.model import Case, Entity
from afterguard.respond.act import Act, identity
from afterguard.respond.kinds import KINDS, PHASES
from afterguard.respond.playbook import Playbook, Step

CAP = 25
"""Targets of one step; more need a person who raises it."""


class Planned(NamedTuple):
    """A plan."""

    acts: tuple[Act, ...]
    left: tuple[str, ...]
    """What is not done, and why."""


class Choice(NamedTuple):
    """What a person chose."""

    phases: Collection[str] = PHASES
    optional: Collection[str] = ()
    """Optional steps that are wanted."""
    skip: Collection[str] = ()
    only: Collection[str] = ()
    """Only these steps, where any are named."""
    values: Mapping[str, str] = {}
    """Step -> its value."""
    cap: int = CAP


def plan(case: Case, playbook: Playbook, choice: Choice = Choice()) -> Planned:  # noqa: B008 - an immutable tuple
    """The acts of a playbook for a case. Raises UsageError for a step that the playbook does not have: a slip of the pen in `--skip` would do what was to be left out."""
    known = [step.id for step in playbook.steps]
    for name in (*choice.optional, *choice.skip, *choice.only, *choice.values):
        if name not in known:
            raise UsageError(
                f"playbook {playbook.id} has no step {name}", hint=nearest(name, known), slug="bad-playbook"
            )
    acts: list[Act] = []
    left: list[str] = []
    for step in playbook.steps:
        why = _not(step, choice)
        found = () if why else targets(case, step.on, step.which)
        if not why and not found:
            others = " beside those in which the evidence stands, or evidence does not say which" if step.which == "others" else ""  # fmt: skip
            why = f"the case names no {step.on}{others}"
        if not why and len(found) > choice.cap:
            why = f"{len(found)} targets are more than the cap of {choice.cap}"
        if why:
            left.append(f"{step.id}: {why}")
            continue
        acts += [_act(case, playbook, step, one, choice, _unsure(case, step, len(found))) for one in found]
    return Planned(tuple(acts), tuple(left))


def _not(step: Step, choice: Choice) -> str:
    if step.phase not in choice.phases:
        return f"phase {step.phase} was not asked for"
    if choice.only and step.id not in choice.only and step.phase != "evidence":
        return "not asked for this time"
    if step.id in choice.skip:
        return "left out by whom it was planned"
    if step.optional and step.id not in choice.optional and step.id not in choice.only:
        return f"only on request (--with {step.id})"
    if KINDS[step.do].value and not (choice.values.get(step.id) or step.value):
        return f"it needs {KINDS[step.do].value} (--value {step.id}=...)"
    return ""


def targets(case: Case, on: str, which: str = "all") -> tuple[str, ...]:
    """Names of the case's entities of a kind, each once, in order. What was done to somebody is done to nobody again: of persons and credentials only actors count. `which`: see Step."""
    if on == "case":
        return (case.id,)
    kinds = {"identity": ("identity", "key"), "key": ("key",)}.get(on, (on,))
    found = [one for one in case.entities if one.kind in kinds and _is_meant(one)]
    if which != "all":
        sources = [one for one in found if one.role == "source"]
        others = [one for one in found if sources and one.role != "source"]
        found = others if which == "others" else sources or found
    return tuple(dict.fromkeys(one.name for one in found))


def _is_meant(one: Entity) -> bool:
    return one.role != "target" or one.kind not in ("identity", "key", "conversation")


def _unsure(case: Case, step: Step, count: int) -> str:
    """What is added where evidence would have to say which ones, and does not."""
    if step.which != "sources" or count < 2 or any(one.role == "source" for one in case.entities):
        return ""
    return f" The evidence does not say in which of {count} it stood: all of them."


def _act(case: Case, playbook: Playbook, step: Step, target: str, choice: Choice, more: str = "") -> Act:
    kind = KINDS[step.do]
    return Act(
        identity(case.id, playbook.id, step.id, target),
        case.id,
        playbook.id,
        step.id,
        step.phase,
        step.do,
        step.on,
        target,
        step.says + more,
        choice.values.get(step.id) or step.value,
        step.hook,
        step.approvals,
        step.role,
        step.wait,
        step.without,
        step.ttl,
        step.timeout,
        kind.undo,
    )


def objections(acts: Sequence[Act], done: Collection[str], number: int, caps: Mapping[str, int]) -> list[str]:
    """Why the act at `number` may not be done now, as far as the plan itself says; the dry run and the real one both ask this. `done`: ids of acts that have taken effect."""
    act = acts[number]
    out = []
    if act.phase != "evidence":
        out += [
            f"evidence first: {one.step} has not been kept"
            for one in acts
            if one.phase == "evidence" and one.id not in done
        ]
    same = sum(1 for one in acts if one.do == act.do)
    most = caps.get(act.do, CAP)
    if same > most:
        out.append(f"{same} acts of kind {act.do} are more than the cap of {most}")
    return out
