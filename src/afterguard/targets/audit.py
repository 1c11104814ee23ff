"""What an application's tools did, as its test instance lists it: what is new in the list after a turn was done in it.

In: an Audit, the door to the target. Out: Calls. Raises Away where the list cannot be read: a turn of which nobody knows what it did is not assessed.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urljoin

import msgspec

from afterguard.attack.contract import Call
from afterguard.targets import reading, template
from afterguard.targets.document import Audit, Target
from afterguard.targets.door import Away, Door, word

MOST = 200
"""Calls of one turn that are read."""


class Record:
    """The list, and how much of it is known."""

    def __init__(self, target: Target, one: Audit, door: Door) -> None:
        self.audit, self.door = one, door
        self.url = urljoin(target.url, one.url)
        self.headers = target.headers
        self._known: int | None = None

    def begin(self, identity: str) -> None:
        """Whatever is there before the first turn was done by others. Raises Away."""
        if self._known is None:
            self._known = len(self._listed(identity))

    def fresh(self, identity: str) -> tuple[Call, ...]:
        """What was done since. Raises Away."""
        listed, known = self._listed(identity), self._known or 0
        # A list that became shorter was begun anew.
        new = listed[known:] if len(listed) >= known else listed
        self._known = len(listed)
        return tuple(self._call(one) for one in new[:MOST])

    def _listed(self, identity: str) -> list[Any]:
        got = self.door.ask("GET", self.url, template.filled(self.headers, {"identity": identity}), None)
        if got.status >= 300:
            raise Away(word(got.status))
        try:
            found = template.at(reading.decoded(reading.plain(got.headers, got.body)), self.audit.calls)
        except reading.Unreadable as why:
            raise Away(str(why)) from None
        if not isinstance(found, list):
            raise Away("unreadable")
        return found

    def _call(self, one: Any) -> Call:
        name, arguments = template.at(one, self.audit.name), template.at(one, self.audit.arguments)
        told = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
        return Call(str(name or "")[:200], told)
