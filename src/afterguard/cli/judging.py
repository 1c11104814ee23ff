"""The learned judge as a command uses it: loaded as configured, at the configured operating point.

In: a Session. Out: an Opinion, or None where `detect.judge` is off or this installation carries no weights.
"""

from __future__ import annotations

from afterguard.cli.options import Session
from afterguard.detect.detector import Opinion
from afterguard.model import Judgement


def opinion(session: Session) -> Opinion | None:
    """The judge as a function of (text, origin)."""
    chosen = session.config.detect
    if chosen.judge == "off":
        return None
    from afterguard import judges
    from afterguard.detect.judge import judge

    by = judges.load()
    tier = "one" if chosen.judge == "one" else ""

    def judged(text: str, origin: str) -> Judgement:
        return judge(text, origin, by, chosen.point, tier)

    return judged
