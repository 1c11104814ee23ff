"""Every technique, one file each.

In: nothing. Out: TECHNIQUES. A new one: a file here, a line in the list, a line of tests/attack/samples.
"""

from __future__ import annotations

from afterguard.attack.contract import Technique
from afterguard.attack.techniques import canary_question, order_in_document, prompt_recital, tool_from_document

TECHNIQUES: tuple[Technique, ...] = (
    order_in_document.TECHNIQUE,
    tool_from_document.TECHNIQUE,
    prompt_recital.TECHNIQUE,
    canary_question.TECHNIQUE,
)
BY_ID = {technique.id: technique for technique in TECHNIQUES}
