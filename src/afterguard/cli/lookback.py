"""`afterguard lookback`."""

from __future__ import annotations


def lookback() -> int:
    """lookback."""
    return 0
