"""Exchange -> Hits. `look` runs every detector of DETECTORS over one exchange; the guard and the look-back share it.

In: an Exchange and a Context. Out: an iterator of Hits. Pure: no files, no clock, no network.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import msgspec

from afterguard.detect import (
    canary,
    encoded_payload,
    exfil_link,
    extent,
    foreign_order,
    injection,
    invisible,
    jailbreak,
    judged,
    lethal_combination,
    order_followed,
    output_code,
    pii,
    prompt_extraction,
    prompt_secret,
    secrets,
    system_prompt_leak,
    tool_provenance,
    tool_rules,
)
from afterguard.detect.detector import Context, Detector
from afterguard.detect.past import NONE, Past
from afterguard.detect.prefilter import Prefilter
from afterguard.detect.scene import FOUND_CAP, Scene
from afterguard.detect.structure import is_in_name
from afterguard.model import Exchange, Hit, Origin

__all__ = ["DETECTORS", "IN_CONTEXT", "NONE", "Context", "Detector", "Past", "look", "look_on"]

DETECTORS: tuple[Detector, ...] = (
    secrets.DETECTOR,
    pii.DETECTOR,
    injection.DETECTOR,
    tool_provenance.DETECTOR,
    invisible.DETECTOR,
    encoded_payload.DETECTOR,
    exfil_link.DETECTOR,
    system_prompt_leak.DETECTOR,
    jailbreak.DETECTOR,
    prompt_extraction.DETECTOR,
    judged.DETECTOR,
)

IN_CONTEXT: tuple[Detector, ...] = (
    foreign_order.DETECTOR,
    order_followed.DETECTOR,
    canary.DETECTOR,
    prompt_secret.DETECTOR,
    lethal_combination.DETECTOR,
    output_code.DETECTOR,
    tool_rules.DETECTOR,
)
"""Those that only the guard runs: they judge by what this conversation's tools can do and by what was agreed for it, before anybody can obey."""

GUARDING = (*DETECTORS, *IN_CONTEXT)


class _Prefilters(dict[Origin, Prefilter]):
    """Compiled when an origin is first met: compiling takes a second or two, and a log of predictions needs none."""

    def __missing__(self, origin: Origin) -> Prefilter:
        for other, compiled in self.items():
            if _readers(other) == _readers(origin):
                self[origin] = compiled
                return compiled
        patterns = (p for detector in _readers(origin) for p in detector.patterns)
        self[origin] = Prefilter(patterns, places=FOUND_CAP)
        return self[origin]


def _readers(origin: Origin) -> tuple[Detector, ...]:
    return tuple(detector for detector in (*DETECTORS, *IN_CONTEXT) if origin in detector.origins)


@cache
def prefilters() -> dict[Origin, Prefilter]:
    """A compiled prefilter for each origin of text, with the patterns of the detectors that read it."""
    return _Prefilters()


def look(exchange: Exchange, context: Context) -> Iterator[Hit]:
    """Every hit in one exchange, detector by detector."""
    yield from _look(Scene(exchange, context, prefilters()), guarding=False)


def look_on(
    exchange: Exchange, context: Context, past: Past = NONE, *, is_last: bool = False
) -> tuple[list[Hit], Past]:
    """(hits in what follows `past`, the past of the next turn): a turn costs what is new in it. `is_last`: nothing goes on from here, as from a
    reply, which comes again with the next request."""
    scene = Scene(exchange, context, prefilters(), past)
    over = context.over_budget
    seen = [_in_name(scene, hit) for hit in _look(scene, guarding=True)]
    hits = [_in_name(scene, one) for hit in seen for one in extent.narrowed(scene, hit)]
    after = past if is_last else scene.leaves()
    return hits, after._replace(over=past.over + context.over_budget - over)


def _in_name(scene: Scene, hit: Hit) -> Hit:
    """An order that is part of a name is one thing, whoever saw it: cut, the name would be lost to the user's task."""
    if hit.kind != "injection_ignored" or hit.text < 0 or scene.texts[hit.text].origin is Origin.user:
        return hit
    start = len(scene.data(hit.text)[: hit.span.start].decode("utf-8", "ignore"))
    if not is_in_name(scene.texts[hit.text].value, start):
        return hit
    return msgspec.structs.replace(hit, kind=foreign_order.IN_NAME)


def _look(scene: Scene, *, guarding: bool) -> Iterator[Hit]:
    scene.context.over_budget += scene.is_over
    by_turns = bool(scene.calls or scene.past.orders or scene.past.foreign)
    for detector in _reading(guarding, by_turns, frozenset(scene.origins), bool(scene.exchange.tools)):
        for found in detector.find(scene):
            scene.hits.append(found)
            yield found


@cache
def _reading(guarding: bool, by_turns: bool, fresh: frozenset[Origin], offers: bool) -> tuple[Detector, ...]:
    """Those that read what is new, and where something was done that they would hold against what was read: all."""
    detectors = GUARDING if guarding else DETECTORS
    if by_turns:
        return detectors
    return tuple(one for one in detectors if not fresh.isdisjoint(one.origins) or (offers and not one.origins))
