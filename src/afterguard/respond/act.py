"""One act of a plan: what is done to what, with what safeguards. The noun that plan, engine and journal share."""

from __future__ import annotations

import hashlib

import msgspec


class Act(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing to do. Its id is its idempotency key: the same act of the same case has the same one."""

    id: str
    case: str
    playbook: str
    step: str
    phase: str
    do: str
    """One of kinds.KINDS."""
    on: str
    """Kind of the entity; `case` for the case itself."""
    target: str
    title: str
    value: str = ""
    hook: str = ""
    """Name of the hook, where it is carried out by one."""
    approvals: int = 0
    """How many people have to agree, none of them who asks."""
    role: str = "responder"
    """What they have to be."""
    wait: float = 3600.0
    """Seconds after which an approval that nobody gave counts as refused."""
    without: str = "fail"
    """What then: `fail` ends the run, `skip` goes on without it."""
    ttl: float = 0.0
    """Seconds after which it is taken back by itself; 0: it stays until somebody takes it back."""
    timeout: float = 30.0
    undo: str = ""
    """What takes it back, in words."""


def identity(case: str, playbook: str, step: str, target: str) -> str:
    """The id of an act."""
    text = "\x1f".join(("1", case, playbook, step, target))
    return "act-" + hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def digest(acts: tuple[Act, ...]) -> str:
    """Of a whole plan: what approvals are given for, so that nobody approves one thing and another is done."""
    return hashlib.sha256(msgspec.json.encode(acts)).hexdigest()[:32]
