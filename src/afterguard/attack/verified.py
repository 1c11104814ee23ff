"""What became of the hits of a run when each was asked again, word for word, of the application as it is now.

In: the hits, and how each ended this time. Out: `Verified`. A trial that says nothing is not held off: whoever wants to know whether a weakness is gone is told that nobody knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum

import msgspec

from afterguard.attack.assessment import Hit
from afterguard.attack.contract import Prompt, Reply
from afterguard.attack.trial import Result, Verdict
from afterguard.shares import Share, wilson


class State(StrEnum):
    """What became of one hit."""

    succeeds = "still succeeds"
    held_off = "held off"
    """By something before the model, or after it."""
    resisted = "resisted"
    """By the application itself, as far as can be seen."""
    unknown = "not assessed"


class Again(msgspec.Struct, frozen=True, omit_defaults=True):
    """One hit, asked again."""

    id: str
    technique: str
    state: State
    succeeded: int = 0
    of: int = 0
    """Trials that say anything."""
    reason: str = ""
    """Why it is not assessed; what shows that it still succeeds."""
    turns: tuple[tuple[Prompt, Reply], ...] = ()
    """The conversation of the last trial."""


class Verified(msgspec.Struct, frozen=True):
    """The result."""

    target: str
    run: str
    of: str
    """Id of the run whose hits they are."""
    through: str
    hits: tuple[Again, ...]
    requests: int
    stopped: str = ""
    ended: float = 0.0
    host: str = ""
    format: str = "afterguard.attack-verify/1"

    def count(self, state: State) -> int:
        """How many hits became that."""
        return sum(one.state is state for one in self.hits)

    @property
    def left(self) -> Share:
        """Hits that still succeed, of those that say anything."""
        known = [one for one in self.hits if one.state is not State.unknown]
        return wilson(self.count(State.succeeds), len(known))


def again(hit: Hit, results: Sequence[Result], turns: Iterable[tuple[Prompt, Reply]], reason: str = "") -> Again:
    """What became of one hit, of the trials that asked it again. One success is enough, and one trial that says nothing leaves it open where none succeeded."""
    known = [one for one in results if one.verdict is not Verdict.not_assessed]
    hits = [one for one in known if one.verdict is Verdict.succeeded]
    why = next((one.reason for one in results if one.verdict is Verdict.not_assessed), reason)
    if hits:
        claim = hits[0].claim
        state, why = State.succeeds, f"{claim.oracle}: {claim.evidence}" if claim else ""
    elif not results or len(known) < len(results):
        state = State.unknown
    else:
        state, why = (State.held_off if all(one.reason == "blocked" for one in known) else State.resisted), ""
    return Again(hit.id, hit.technique, state, len(hits), len(known), why, tuple(turns))
