"""Every technique against predictive models, one file each.

In: nothing. Out: TECHNIQUES. A new one: a file here, a line in the list, a stand-in in tests/attack that gives way to it and one that does not.
"""

from __future__ import annotations

from afterguard.attack.scoring.contract import Technique
from afterguard.attack.scoring.techniques import (
    boundary_evasion,
    label_harvest,
    membership,
    model_copy,
    no_value,
    odd_shape,
    out_of_range,
    score_digits,
    score_evasion,
    two_answers,
)

TECHNIQUES: tuple[Technique, ...] = (
    two_answers.TECHNIQUE,
    score_digits.TECHNIQUE,
    no_value.TECHNIQUE,
    out_of_range.TECHNIQUE,
    odd_shape.TECHNIQUE,
    score_evasion.TECHNIQUE,
    boundary_evasion.TECHNIQUE,
    membership.TECHNIQUE,
    model_copy.TECHNIQUE,
    label_harvest.TECHNIQUE,
)
BY_ID = {technique.id: technique for technique in TECHNIQUES}
