"""Whether a reply declines.

In: the beginning of a reply. Out: yes or no. It knows how models of many makers begin when they decline, in six languages; a polite answer that begins alike is mistaken for one, and a refusal in the
middle of a text is not seen. It is for rates, not for judging a single reply.
"""

from __future__ import annotations

import re
from functools import cache

from afterguard.catalog import load

BEGINNING = 240
"""Characters in which a refusal shows."""


@cache
def _openings() -> re.Pattern[str]:
    return re.compile("|".join(load("rules/refusals")["openings"]), re.IGNORECASE)


def declines(text: str) -> bool:
    """Whether a reply begins like a refusal."""
    return _openings().search(text[:BEGINNING]) is not None
