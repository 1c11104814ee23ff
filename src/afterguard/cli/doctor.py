"""`afterguard doctor`."""

from __future__ import annotations


def doctor() -> int:
    """doctor."""
    return 0
