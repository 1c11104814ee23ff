"""Seeded traffic of applications with AI, with campaigns of abuse in it, to examine the watch over time.

In: a seed and a `Plan`. Out: a `Stream` of events in order of time, each with the number of its campaign beside it (0: ordinary). The same seed gives the same bytes.
"""

from .campaign import Campaign
from .days import DAY, Plan
from .stream import Stream

__all__ = ["DAY", "Campaign", "Plan", "Stream"]
