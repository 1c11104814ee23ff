"""Exchange -> Hits. `look` runs every detector of DETECTORS over one exchange; the guard and the look-back share it.

In: an Exchange and a Context. Out: an iterator of Hits. Pure: no files, no clock, no network.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from afterguard.detect import (
    exfil_link,
    injection,
    invisible,
    jailbreak,
    pii,
    prompt_extraction,
    secrets,
    system_prompt_leak,
    tool_provenance,
)
from afterguard.detect.detector import Context, Detector
from afterguard.detect.prefilter import Prefilter
from afterguard.detect.scene import Scene
from afterguard.model import Exchange, Hit, Origin

__all__ = ["DETECTORS", "Context", "Detector", "look"]

DETECTORS: tuple[Detector, ...] = (
    secrets.DETECTOR,
    pii.DETECTOR,
    injection.DETECTOR,
    tool_provenance.DETECTOR,
    invisible.DETECTOR,
    exfil_link.DETECTOR,
    system_prompt_leak.DETECTOR,
    jailbreak.DETECTOR,
    prompt_extraction.DETECTOR,
)


@cache
def prefilters() -> dict[Origin, Prefilter]:
    """A compiled prefilter for each origin of text, with the patterns of the detectors that read it."""
    chosen = {
        origin: tuple(p for detector in DETECTORS if origin in detector.origins for p in detector.patterns)
        for origin in Origin
    }
    compiled: dict[tuple[str, ...], Prefilter] = {}
    for patterns in chosen.values():
        compiled.setdefault(tuple(p.expression for p in patterns), Prefilter(patterns))
    return {origin: compiled[tuple(p.expression for p in patterns)] for origin, patterns in chosen.items()}


def look(exchange: Exchange, context: Context) -> Iterator[Hit]:
    """Every hit in one exchange, detector by detector."""
    scene = Scene(exchange, context, prefilters())
    for detector in DETECTORS:
        yield from detector.find(scene)
