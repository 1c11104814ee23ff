"""`afterguard scan`."""

from __future__ import annotations


def scan() -> int:
    """scan."""
    return 0
