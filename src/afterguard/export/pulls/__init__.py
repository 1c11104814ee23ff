"""SIEMs that are asked what was said of our alerts, one file each: settings, and how a page is asked for.

In: nothing. Out: `PULLS`, and `opened`. To add one, write its file, add it here, and its shape to `feedback`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from afterguard.export.pulls import elastic, sentinel, splunk
from afterguard.export.pulls.pull import Cursor, Page, Pull, Puller

PULLS: dict[type[Pull], Callable[[Any, Callable[[], float]], Puller]] = {
    elastic.ElasticPull: elastic.Elastic,
    splunk.SplunkPull: splunk.Splunk,
    sentinel.SentinelPull: sentinel.Sentinel,
}

__all__ = ["PULLS", "Cursor", "Page", "Pull", "Puller", "opened"]


def opened(settings: Pull, clock: Callable[[], float]) -> Puller:
    """A SIEM as the settings say. Connects only when it is asked."""
    return PULLS[type(settings)](settings, clock)
