"""Exchange -> Hits. `look` runs every detector of DETECTORS over one exchange; the guard and the look-back share it.

In: an Exchange and a Context. Out: an iterator of Hits. Pure: no files, no clock, no network.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from afterguard.detect import exfil_link, invisible, pii, secrets, system_prompt_leak
from afterguard.detect.detector import Context, Detector
from afterguard.detect.prefilter import Prefilter
from afterguard.detect.scene import Scene
from afterguard.model import Exchange, Hit

__all__ = ["DETECTORS", "Context", "Detector", "look"]

DETECTORS: tuple[Detector, ...] = (
    secrets.DETECTOR,
    pii.DETECTOR,
    invisible.DETECTOR,
    exfil_link.DETECTOR,
    system_prompt_leak.DETECTOR,
)


@cache
def prefilter() -> Prefilter:
    """One compiled prefilter with the patterns of every detector."""
    return Prefilter(pattern for detector in DETECTORS for pattern in detector.patterns)


def look(exchange: Exchange, context: Context) -> Iterator[Hit]:
    """Every hit in one exchange, detector by detector."""
    scene = Scene(exchange, context, prefilter())
    for detector in DETECTORS:
        yield from detector.find(scene)
