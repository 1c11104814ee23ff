"""Two verdicts on one side of an exchange -> the one that is carried out: that of the policy, and that of the measures of responders.

In: both. Out: the stronger one, with what the other would change where both can be done. Pure.
"""

from __future__ import annotations

import msgspec

from afterguard.model import ACTIONS, Action, Verdict

WHOLE = (Action.block, Action.ask, Action.throttle)
"""Actions after which nothing of the exchange is left to change."""


def joined(policy: Verdict, measures: Verdict) -> Verdict:
    """What is done. A measure wins where both are as strong."""
    if not measures.matched:
        return policy
    matched = tuple(dict.fromkeys((*measures.matched, *policy.matched)))
    mine, theirs = ACTIONS.index(measures.action), ACTIONS.index(policy.action)
    chief, other = (measures, policy) if mine >= theirs else (policy, measures)
    would = max(chief.would, other.would, key=ACTIONS.index)
    if chief.action in WHOLE:
        return msgspec.structs.replace(chief, matched=matched, would=would)
    return msgspec.structs.replace(
        chief,
        matched=matched,
        would=would,
        edits=chief.edits or other.edits,
        calls=tuple(sorted({*chief.calls, *other.calls})),
        tools=tuple(dict.fromkeys((*chief.tools, *other.tools))),
        model=chief.model or other.model,
        version=measures.version or policy.version,
        digits=chief.digits if chief.digits >= 0 else other.digits,
        withheld=chief.withheld or other.withheld,
        step_up=chief.step_up or other.step_up,
        answer=chief.answer or other.answer,
    )
