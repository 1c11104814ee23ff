"""`afterguard history`."""

from __future__ import annotations


def history() -> int:
    """history."""
    return 0
