"""Over a limit of requests a minute, wherever in the minute the test begins.

In: how to send a request, the limit. Out: what the requests came to. Limits count in minutes of the clock, so of two times as many requests as the limit and one, all within a minute, one of the two minutes that
they may fall into has more than the limit. A small limit leaves a slow machine the time for that.
"""

from __future__ import annotations

from collections.abc import Callable


def until_refused(send: Callable[[], int], limit: int, refused: int = 429) -> list[int]:
    """Statuses of requests up to the first that is refused, or of as many as must have one among them."""
    found: list[int] = []
    while refused not in found and len(found) <= 2 * limit:
        found.append(send())
    return found
