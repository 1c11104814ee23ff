"""A predictive model as a target is spoken to: rows as a prompt's text, answers as a reply's.

In: a Target with its part `scoring`, Prompts. Out: Replies. There is no conversation: each request stands for itself.
"""

from __future__ import annotations

import msgspec

from afterguard.attack.contract import Prompt, Reply
from afterguard.attack.scoring import spelled
from afterguard.targets import reading, scored_rows
from afterguard.targets.document import Target
from afterguard.targets.door import Door, refused
from afterguard.targets.scored import Scoring


class Rows:
    """See the file."""

    def __init__(self, target: Target, scoring: Scoring, door: Door) -> None:
        self.target, self.scoring, self.door = target, scoring, door

    def begin(self) -> None:
        """Nothing is kept between requests."""

    def say(self, prompt: Prompt) -> Reply:
        rows = spelled.read_rows(prompt.text)
        body, kind = scored_rows.body(self.target.kind, self.scoring, rows)
        got = self.door.ask("POST", self.target.url, {"content-type": kind, **self.target.headers}, body)
        if (found := refused(self.target, got)) is not None:
            return found
        try:
            said = scored_rows.answers(self.target.kind, self.scoring, got.headers, got.body, len(rows))
        except reading.Unreadable as why:
            return Reply(error=str(why), status=got.status)
        return msgspec.structs.replace(Reply(spelled.answers(said)), status=got.status)
