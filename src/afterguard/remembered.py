"""Answers kept by question, for questions that a stranger may ask: bounded in number and in length.

In: a function of strings. Out: the same function, which remembers its last answers. `functools.lru_cache` bounds the number only, and keeps the questions: four thousand names of a
megabyte each are four gigabytes. It keeps nothing of a question that is longer than any honest one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])
LONGEST = 400
"""Characters of a question, in all."""


def length(*question: Any) -> int:
    """Characters of strings."""
    return sum(map(len, question))


def remembered(size: int, longest: int = LONGEST, weigh: Callable[..., int] = length) -> Callable[[F], F]:
    """Keep the last `size` answers, of questions that weigh up to `longest`."""

    def wrap(function: F) -> F:
        kept = lru_cache(size)(function)

        @wraps(function)
        def ask(*question: Any) -> Any:
            return kept(*question) if weigh(*question) <= longest else function(*question)

        return cast(F, ask)

    return wrap
