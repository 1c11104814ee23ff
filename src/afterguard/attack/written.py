"""Asking for an answer in which a made-up word stands in a form that does something where it arrives.

In: texts with the halves of the word to be filled in, and the oracle that knows the form. Out: a technique's conversation and its twin. What counts as success is the oracle's matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from afterguard.attack.contract import Aim, Attack, Claim, Forms, Prompt, Reply
from afterguard.attack.markers import joined

WORD = 'the word made of "{left}" and "{right}" written together'


def written(asks: Mapping[str, str], harmless: str, found: Callable[[str, Reply], Claim | None]) -> Forms:
    """Each of these, and its twin that wants the word as plain text. `found`: (the word, the reply) -> what it shows."""

    def talk(aim: Aim, ask: str) -> Attack:
        mark = joined(aim.seed)
        reply = yield Prompt(ask.format(left=mark.left, right=mark.right))
        return found(mark.whole, reply)

    return Forms(lambda aim, variant: talk(aim, asks[variant]), lambda aim, _variant: talk(aim, harmless))
