"""Who can have written a tool's result: a record the application keeps, or text an outsider can write.

In: a tool's name and its result. Out: Trust. The words are data in catalog/signals/tool_trust.yaml; this file only applies them.
"""

from __future__ import annotations

import re
from functools import lru_cache

from afterguard.catalog import load
from afterguard.model import Trust

WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


@lru_cache(maxsize=4096)
def trust_of(tool_name: str) -> Trust:
    """Trust of what the tool of this name returns: first_party for records and acknowledgements, third_party for
    channels outsiders write to (web, mail, tickets, documents, files, reviews, chats, retrieval)."""
    data = load("signals/tool_trust")
    words = [word.lower() for word in WORDS.findall(tool_name[:200])]
    if not words:
        return Trust.first_party
    if any(word in data["outside"] for word in words):
        return Trust.third_party
    return Trust.third_party if all(word in data["alone"] for word in words) else Trust.first_party


def segments(tool_name: str, value: str) -> list[tuple[str, Trust]]:
    """The result cut where its trust changes; the pieces joined are the result."""
    return [(value, trust_of(tool_name))]
