from __future__ import annotations
def scheduled(days):
    return []
