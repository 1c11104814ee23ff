"""What a user typed, scored by a rule file: the shared half of jailbreak and prompt-extraction.

In: a Scene and the name of a rule file. Out: for each user text the best window. It judges nothing; thresholds belong to the detectors.
"""

from __future__ import annotations

from collections.abc import Iterator

from afterguard.detect import phrases
from afterguard.detect.phrases import Sighting, Window
from afterguard.detect.scene import Scene


def scored(scene: Scene, rules: str, size: int) -> Iterator[tuple[int, Window]]:
    """(text index, best window of `size` bytes) of every text in which a pattern of the rule file was seen."""
    weights = phrases.signs(rules)
    rows: dict[int, list[Sighting]] = {}
    for sign in weights:
        for found in scene.found(f"{rules}:{sign}"):
            rows.setdefault(found.text, []).append(Sighting(sign, found.end))
    for index in sorted(rows):
        yield index, phrases.best(rows[index], weights, size)
