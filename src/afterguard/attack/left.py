"""What an assessment planted in an application and what of it may still be there.

In: turns in the order they were sent, some of them before their reply is known. Out: `Left`. It never says gone without an answer that shows it: a plant that was refused, broke off or failed may have arrived all the same.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from afterguard.attack.contract import Prompt, Reply
from afterguard.attack.disguise import plain


class Left(msgspec.Struct, frozen=True):
    """One thing to be looked for and taken out by whoever keeps the application."""

    trial: str
    what: str
    text: str
    """As it was sent."""


def left(turns: Iterable[tuple[str, Prompt, Reply | None]]) -> tuple[Left, ...]:
    """(trial, prompt, reply or None) in order -> what is not known to be gone, oldest first."""
    there: dict[tuple[str, str], Left] = {}
    for trial, prompt, reply in turns:
        if prompt.leaves:
            there[trial, prompt.leaves] = Left(trial, prompt.leaves, prompt.sent().strip())
        if prompt.removes and reply is not None and is_gone(prompt, reply):
            there.pop((trial, prompt.removes), None)
    return tuple(there.values())


def is_gone(prompt: Prompt, reply: Reply) -> bool:
    """Whether this answer shows that what was planted is there no more."""
    if reply.error or reply.is_blocked or not reply.text.strip():
        return False
    return not prompt.unless or plain(prompt.unless) not in plain(reply.text)
