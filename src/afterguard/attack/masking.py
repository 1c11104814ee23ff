"""A result as it may be shown: without planted values, however the application disguised them, and without keys and personal numbers it gave away.

In: an Assessment, the canaries of the target file. Out: the same with `MA[planted value]`, `ghp_[key, 40 characters]`, `a***@host` and `…12` in their places. The journal has the words as they were; it masks nothing there. Ordinary words and names stay: without them nobody understands
what was said.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from afterguard.attack.codecs import CODECS
from afterguard.attack.contract import Canary
from afterguard.attack.validated import values
from afterguard.detect.redact import DIGITS, MAIL

SHORTEST = 4
"""Letters of a disguise below which it might be any word."""
GAP = r"[\W_]{0,3}"
"""What stands between letters that were torn apart."""
HELD = ("hits", "left")
"""Fields of a result that hold what was said."""
NAMES = frozenset({"id", "technique", "trial"})
Thing = TypeVar("Thing", bound=msgspec.Struct)


def masked(thing: Thing, canaries: Sequence[Canary]) -> Thing:
    """The same result with every text in it masked that was said or heard."""
    hide = masker(canaries)
    whole = msgspec.to_builtins(thing)
    return msgspec.convert(whole | {name: _each(whole[name], hide) for name in HELD if name in whole}, type(thing))


def masker(canaries: Sequence[Canary]) -> Callable[[str], str]:
    """What takes planted values and keys out of a text."""
    planted = [(canary.value, re.compile(_pattern(canary.value), re.I)) for canary in canaries if canary.value.strip()]

    def hide(text: str) -> str:
        for value, pattern in planted:
            text = pattern.sub(f"{value[:2]}[planted value]", text)
        for value, kind in values(text).items() if len(text) > 8 else ():
            text = text.replace(value, f"{value[:4]}[{kind}, {len(value)} characters]")
        return DIGITS.sub(lambda found: f"…{found[0][-2:]}", MAIL.sub(r"\1***@\2", text))

    return hide


def _pattern(value: str) -> str:
    """The value as it is, torn apart, backwards, in codes."""
    letters = [re.escape(letter) for letter in value if letter.isalnum()]
    torn = [GAP.join(letters), GAP.join(reversed(letters))] if len(letters) >= SHORTEST else []
    return "|".join([re.escape(value), *torn, *map(re.escape, _coded(value))])


def _coded(value: str) -> Iterable[str]:
    found = {way.encode(value) for way in CODECS.values()}
    found |= {value.encode("utf-8", "replace").hex()}
    for lead in range(3):
        # In the middle of a longer text the same bytes look different; the first and last signs also hold neighbours.
        whole = base64.b64encode(b"\0" * lead + value.encode("utf-8", "replace")).decode().rstrip("=")
        found.add(whole[(0, 2, 3)[lead] : -1])
    return sorted((one for one in found if len(one) >= max(SHORTEST, len(value))), key=len, reverse=True)


def _each(value: Any, hide: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return hide(value)
    if isinstance(value, dict):
        return {key: one if key in NAMES else _each(one, hide) for key, one in value.items()}
    return [_each(one, hide) for one in value] if isinstance(value, (list, tuple)) else value
