"""Every rule a finding can carry: the checks, and what joining and suppressing find.

In: nothing. Out: Check rows for lists and docs.
"""

from __future__ import annotations

from afterguard.discover import gaps
from afterguard.scan import CHECKS, Check, suppress


def checks() -> tuple[Check, ...]:
    """All of them, by id."""
    every = (*CHECKS, suppress.CHECK, gaps.SHADOW, gaps.UNUSED)
    return tuple(sorted(every, key=lambda one: one.id))
