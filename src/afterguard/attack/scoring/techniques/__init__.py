"""Every technique against predictive models, one file each.

In: nothing. Out: TECHNIQUES. A new one: a file here, a line in the list, a stand-in in tests/attack that gives way to it and one that does not.
"""

from __future__ import annotations

from afterguard.attack.scoring.contract import Technique
from afterguard.attack.scoring.techniques import (
    boundary_evasion,
    score_evasion,
)

TECHNIQUES: tuple[Technique, ...] = (
    score_evasion.TECHNIQUE,
    boundary_evasion.TECHNIQUE,
)
BY_ID = {technique.id: technique for technique in TECHNIQUES}
