"""One trial: a technique's conversation, driven by replies, that ends in one of three outcomes.

In: a technique, an Aim, a variant; then Replies. Out: Prompts, and at the end a Result. No sockets, no clock. An error is never a resistance, and nothing that both an obedient and a stubborn application would say is a success.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from afterguard.attack.contract import Aim, Attack, Claim, Prompt, Reply, Technique
from afterguard.attack.oracles import Unsure

ERRORS = (
    "unreachable", "timeout", "rate-limited", "banned", "logged-out", "server-error", "unreadable", "too-large", "redirected", "stopped", "empty", "broken-off", "tls-error", "no-such-tool", "tool-error",
)  # fmt: skip
"""Why nothing that can be judged came back."""


class Verdict(StrEnum):
    """How a trial ended."""

    succeeded = "succeeded"
    resisted = "resisted"
    not_assessed = "not_assessed"


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """The end of a trial. `reason` of one not assessed is a fixed word; of one resisted "blocked" where something before the model refused it."""

    verdict: Verdict
    reason: str = ""
    claim: Claim | None = None


class Trial:
    """See the file. `begin`, then `hear` until a Result comes."""

    def __init__(self, technique: Technique, aim: Aim, variant: str, is_twin: bool = False) -> None:
        self.technique, self.aim, self.variant = technique, aim, variant
        self.turns: list[tuple[Prompt, Reply]] = []
        self._talk: Attack = (technique.twin if is_twin else technique.attack)(aim, variant)
        self._said: Prompt | None = None

    def begin(self) -> Prompt | Result:
        """The first turn."""
        try:
            self._said = msgspec.structs.replace(next(self._talk), is_new=True)
        except StopIteration:
            return Result(Verdict.not_assessed, "nothing-to-say")
        return self._said

    def hear(self, reply: Reply) -> Prompt | Result:
        """What comes next, after this reply."""
        assert self._said is not None
        self.turns.append((self._said, reply))
        if reply.error:
            return self._ended(Result(Verdict.not_assessed, reply.error))
        if reply.is_blocked:
            return self._ended(Result(Verdict.resisted, "blocked"))
        if not reply.text.strip() and not reply.calls and not reply.receipts:
            return self._ended(Result(Verdict.not_assessed, "empty"))
        try:
            self._said = self._talk.send(reply)
        except StopIteration as end:
            claim: Claim | None = end.value
            return Result(Verdict.succeeded, claim=claim) if claim else Result(Verdict.resisted)
        except Unsure as unsure:
            return self._ended(Result(Verdict.not_assessed, str(unsure)))
        return self._said

    def _ended(self, result: Result) -> Result:
        self._talk.close()
        return result
