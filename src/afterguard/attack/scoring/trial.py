"""One trial against a predictive model: rows that a technique asks about, as prompts, until it says how it ended.

In: a technique, an Aim, a variant; then Replies. Out: Prompts, and at the end a Result. No sockets, no clock. Rows that do not fit into one request go in several, so each is in the journal before the next is sent.
"""

from __future__ import annotations

from afterguard.attack.contract import Prompt, Reply
from afterguard.attack.scoring import spelled
from afterguard.attack.scoring.contract import Aim, Heard, Sent, Technique
from afterguard.attack.trial import Result, Verdict


class RowTrial:
    """See the file. `begin`, then `hear` until a Result comes."""

    def __init__(self, technique: Technique, aim: Aim, variant: str) -> None:
        self.technique, self.aim = technique, aim
        self._talk = technique.attack(aim, variant)
        self._rest: Sent = ()
        self._size = 0
        self._heard = Heard()

    def begin(self) -> Prompt | Result:
        """The first request."""
        try:
            return self._asks(next(self._talk))
        except StopIteration as end:
            found: Result = end.value
            return found

    def hear(self, reply: Reply) -> Prompt | Result:
        """What comes next, after this reply."""
        told = heard(reply, self._size)
        before = self._heard
        self._heard = told._replace(answers=before.answers + told.answers, seconds=before.seconds + told.seconds)
        if (told.error or told.is_blocked) and not self.technique.hears_refusals:
            self._talk.close()
            return Result(Verdict.resisted, "blocked") if told.is_blocked else Result(Verdict.not_assessed, told.error)
        if self._rest and not told.error and not told.is_blocked:
            return self._next()
        try:
            return self._asks(self._talk.send(self._heard))
        except StopIteration as end:
            found: Result = end.value
            return found

    def _asks(self, sent: Sent) -> Prompt | Result:
        self._rest, self._heard = tuple(sent), Heard()
        return self._next() if self._rest else self.hear(Reply(spelled.answers(()), requests=0))

    def _next(self) -> Prompt:
        size = max(1, self.aim.batch)
        now, self._rest = self._rest[:size], self._rest[size:]
        self._size = len(now)
        return Prompt(spelled.rows(now), is_new=True)


def heard(reply: Reply, size: int) -> Heard:
    """A reply as techniques hear it: one answer a row, or a word."""
    if reply.error or reply.is_blocked:
        return Heard(error=reply.error, status=reply.status, is_blocked=reply.is_blocked, seconds=reply.seconds)
    try:
        found = spelled.read_answers(reply.text)
    except ValueError:
        return Heard(error="unreadable", status=reply.status, seconds=reply.seconds)
    if len(found) != size or any(not one.label and one.score is None for one in found):
        return Heard(error="unreadable", status=reply.status, seconds=reply.seconds)
    return Heard(found, status=reply.status, seconds=reply.seconds)
