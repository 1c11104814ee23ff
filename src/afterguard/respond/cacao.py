"""Playbook -> CACAO 2.0 JSON. Pure: the same playbook gives the same bytes, with ids that stay.

In: a `Playbook`. Out: a JSON object. Steps run one after another; every act of containment has its undo, and those stand, the last first, where workflow_exception leads: a run that breaks is taken back.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

import msgspec

from afterguard.respond.kinds import KINDS
from afterguard.respond.playbook import Playbook, Step

NAMESPACE = uuid.UUID("aa7caf3a-d55a-4e9a-b34e-056215fba56a")
"""As the specification says, for ids of playbooks."""
TYPES = ("investigation", "mitigation", "notification", "remediation")
ACTIVITIES = {
    "evidence": "analyze-collected-data", "contain": "restrict-access", "eradicate": "eliminate-risk", "recover": "restore-capabilities",
    "notify": "deliver-content", "money": "analyze-collected-data",
}  # fmt: skip
CASE = "__case__"
ANSWER_MS = 86_400_000
"""A person has a day for an answer."""


def made(playbook: Playbook) -> dict[str, Any]:
    """The object."""
    name = msgspec.json.encode({"name": playbook.title, "playbook_types": list(TYPES)}).decode()
    agent, lead, command, extension = (_id(kind, playbook.id, kind + tail) for kind, tail in (("group", ""), ("group", "lead"), ("linux", ""), ("extension-definition", "")))  # fmt: skip
    who = {"responder": agent, "lead": lead}
    steps = [(_id("action", playbook.id, step.id), step) for step in playbook.steps]
    undone = [(_id("action", playbook.id, "undo " + step.id), step) for _, step in reversed(steps) if step.phase == "contain" and KINDS[step.do].undo]  # fmt: skip
    start, end, end_undo = (_id(kind, playbook.id, what) for kind, what in (("start", "start"), ("end", "end"), ("end", "end undo")))  # fmt: skip
    workflow: dict[str, Any] = {start: {"type": "start", "name": "Begin", "on_completion": steps[0][0]}}
    for number, (key, step) in enumerate(steps):
        after = steps[number + 1][0] if number + 1 < len(steps) else end
        workflow[key] = _action(
            playbook, step, who.get(step.role, agent) if step.do == "ask" else command, after, extension
        )
    for number, (key, step) in enumerate(undone):
        after = undone[number + 1][0] if number + 1 < len(undone) else end_undo
        workflow[key] = _undo(playbook, step, command, after)
    workflow[end] = {"type": "end", "name": "Closed"}
    if undone:
        workflow[end_undo] = {"type": "end", "name": "Taken back"}
    used = {one["agent"] for one in workflow.values() if "agent" in one}
    agents = {
        agent: {"type": "group", "name": "Responders"},
        lead: {"type": "group", "name": "Incident lead"},
        command: {"type": "linux", "name": "Afterguard's command line", "address": {"dname": ["localhost"]}},
    }
    identity = _id("identity", "", "afterguard")
    return {
        "type": "playbook",
        "spec_version": "cacao-2.0",
        "id": f"playbook--{uuid.uuid5(NAMESPACE, name)}",
        "name": playbook.title,
        "description": f"{playbook.says}\n\nDecide first: {' '.join(playbook.decide)}\n\nMoney: {playbook.money}",
        "playbook_types": list(TYPES),
        "playbook_activities": sorted({ACTIVITIES[step.phase] for step in playbook.steps}),
        "created_by": identity,
        "created": f"{playbook.created}T00:00:00.000Z",
        "modified": f"{playbook.modified}T00:00:00.000Z",
        "severity": playbook.severity,
        "labels": [playbook.id, *playbook.taxonomies, *(f"alert:{kind}" for kind in playbook.triggers)],
        "playbook_variables": {CASE: {"type": "string", "description": "Id of the case", "external": True}},
        "workflow_start": start,
        **({"workflow_exception": undone[0][0]} if undone else {}),
        "workflow": workflow,
        "agent_definitions": {key: one for key, one in agents.items() if key in used},
        "extension_definitions": {
            extension: {
                "type": "extension-definition",
                "name": "Afterguard",
                "created_by": identity,
                "schema": "docs/reference/playbooks.md: phase, undo (id of the step that takes it back), approvals, role, ttl_seconds, optional",
                "version": "1.0.0",
            }
        },
    }


def written(playbook: Playbook) -> bytes:
    """The file."""
    return msgspec.json.format(msgspec.json.encode(made(playbook)), indent=2) + b"\n"


def _action(playbook: Playbook, step: Step, agent: str, after: str, extension: str) -> dict[str, Any]:
    kind = KINDS[step.do]
    asks = step.do == "ask"
    command = step.says if asks else f"afterguard respond run {CASE}:value --playbook {playbook.id} --only {step.id}"
    about: dict[str, Any] = {"phase": step.phase, "does": step.do, "on": step.on, "proof": kind.proof}
    if step.which != "all":
        about["which"] = step.which
    if step.phase == "contain" and kind.undo:
        about["undo"] = _id("action", playbook.id, "undo " + step.id)
    elif step.phase == "contain":
        about["undo"] = kind.undo or "cannot be taken back; it asks for approval"
    if step.approvals:
        about |= {"approvals": step.approvals, "role": step.role}
    if step.ttl:
        about["ttl_seconds"] = step.ttl
    if step.optional:
        about["optional"] = True
    return {
        "type": "action",
        "name": step.says[:120],
        "description": f"{kind.says} Proof: {kind.proof}.",
        "timeout": ANSWER_MS if asks or step.approvals else int(step.timeout * 1000),
        "commands": [{"type": "manual" if asks else "bash", "command": command, "playbook_activity": _activity(step)}],
        "agent": agent,
        "in_args": [CASE],
        "on_completion": after,
        "step_extensions": {extension: about},
    }


def _activity(step: Step) -> str:
    return "identify-steps" if step.do == "ask" and step.phase == "contain" else ACTIVITIES[step.phase]


def _undo(playbook: Playbook, step: Step, agent: str, after: str) -> dict[str, Any]:
    return {
        "type": "action",
        "name": f"Take back: {step.says}"[:120],
        "description": KINDS[step.do].undo,
        "timeout": int(step.timeout * 1000),
        "commands": [{"type": "bash", "command": f"afterguard respond undo {CASE}:value {step.id}", "playbook_activity": "revert-system"}],
        "agent": agent,
        "in_args": [CASE],
        "on_completion": after,
    }  # fmt: skip


def _id(kind: str, playbook: str, what: str) -> str:
    """An id in the form of a random one that stays the same: the specification wants version 4 for steps."""
    digest = bytearray(hashlib.sha256(f"afterguard playbook\x1f{playbook}\x1f{kind}\x1f{what}".encode()).digest()[:16])
    digest[6], digest[8] = digest[6] & 0x0F | 0x40, digest[8] & 0x3F | 0x80
    return f"{kind}--{uuid.UUID(bytes=bytes(digest))}"
