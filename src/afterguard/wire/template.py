"""Prompts sent as one string: chat templates taken apart into who said what.

In: the string of a legacy completion or a text-generation endpoint. Out: texts in a `Parts`. A string of no known template is
the user's.
"""

from __future__ import annotations

import re
from typing import Any

from afterguard.wire import blocks
from afterguard.wire.blocks import MODEL, ROLES, USER
from afterguard.wire.parts import Parts

MARK = re.compile(
    r"<\|im_start\|>\s*(\w{1,20})\s*\n|<\|start_header_id\|>\s*(\w{1,20})\s*<\|end_header_id\|>|\n\n(Human|Assistant|System):"
    r"|<\|(system|user|assistant|tool)\|>\n?|<start_of_turn>(\w{1,20})\n|\[(/?INST)\]|<</?(SYS)>>"
)
END = re.compile(r"<\|im_end\|>|<\|eot_id\|>|<\|end\|>|<end_of_turn>|</s>|<\|begin_of_text\|>|<s>")
TURNS = 2000


def prompt(value: Any, parts: Parts, where: str) -> bool:
    """A prompt string, a list of them, or a list of messages; False for anything else."""
    if isinstance(value, str):
        _split(value, parts, where)
        return True
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        for index, item in enumerate(value):
            _split(item, parts, f"{where}[{index}]")
        return True
    if isinstance(value, dict) and isinstance(value.get("messages"), list):
        return blocks.messages(value["messages"], parts, where + ".messages")
    return isinstance(value, list) and blocks.messages(value, parts, where)


def _split(value: str, parts: Parts, where: str) -> None:
    who, at, last = USER, 0, len(value)
    for count, mark in enumerate(MARK.finditer(value) if "<" in value or "\n\n" in value or "[" in value else ()):
        if count >= TURNS:
            break
        _piece(value[at : mark.start()], who, parts, where)
        role = next(group for group in mark.groups() if group).lower()
        who = {"inst": USER, "/inst": MODEL}.get(role) or ROLES.get(role, USER)
        at = mark.end()
        if role == "sys":
            closes = value.startswith("<</", mark.start())
            who = USER if closes else blocks.SYSTEM
    _piece(value[at:last], who, parts, where)


def _piece(value: str, who: blocks.Who, parts: Parts, where: str) -> None:
    # Cut at end marks rather than without them: each text stands in the value as it is, so that it can be changed there.
    for said in END.split(value) if "<" in value else (value,):
        if said and not said.isspace():
            parts.turn += 1
            if who is blocks.TOOL:
                parts.result(said, "", where)
            else:
                blocks.text(said, who, parts, where)
