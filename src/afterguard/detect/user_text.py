"""What a user typed, scored by a rule file: the shared half of jailbreak and prompt-extraction.

In: a Scene and the name of a rule file. Out: for each user text the best window. It judges nothing; thresholds belong to the detectors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from afterguard.detect import phrases
from afterguard.detect.phrases import Sighting, Window
from afterguard.detect.scene import Scene

ABOUT = re.compile(
    r"\bregex|regular expression|\bdetect|classif(?:y|ier)|proof-?read|grammar|wrong with|\bmean(?:s|ing)?\b|unit test|test case|\btitle\b|typo",
    re.I,
)
"""Words of somebody who talks about a quoted text rather than through it."""
QUOTING_CAP = 20_000


def scored(
    scene: Scene, rules: str, size: int, least: float, always: frozenset[str] = frozenset()
) -> Iterator[tuple[int, Window]]:
    """(text index, best window of `size` bytes) of every text in which patterns of the rule file were seen that weigh `least` together, or
    one of the signs in `always`."""
    weights = phrases.signs(rules)
    rows: dict[int, list[Sighting]] = {}
    for topic in scene.seen(rules):
        sign = topic.partition(":")[2]
        for found in scene.found(topic):
            rows.setdefault(found.text, []).append(Sighting(sign, found.end))
    for index in sorted(rows):
        window = phrases.best(rows[index], weights, size)
        # What is quoted only takes away, and whether something is costs more than all before.
        if window.score < least and not any(row.sign in always for row in rows[index]):
            continue
        value = scene.texts[index].value
        spans = phrases.quoted(value[:QUOTING_CAP], 0) if ABOUT.search(value, 0, QUOTING_CAP) else []
        told = [row for row in rows[index] if not any(start < row.end <= end for start, end in spans)]
        yield index, window if len(told) == len(rows[index]) else phrases.best(told, weights, size)
