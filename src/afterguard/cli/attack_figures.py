"""What was measured of a predictive model, as lines for a person.

In: an Assessment. Out: lines; none where nothing was measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from afterguard.attack.scoring.totals import COUNTS

if TYPE_CHECKING:
    from afterguard.attack.assessment import Assessment
    from afterguard.attack.trial import Figure

SAYS = {
    "queries": "rows asked about for one, at the median",
    "controls-turned": "of aimless changes of the same size turned a decision",
    "change": "of a spread changed, at the median",
    "cost": "spent on one row, at the median",
    "moved": "moved by the decisions that turned",
    "moved-per-1000": "moved for 1,000 refused rows that are tried",
    "agreement": "of rows kept apart are decided by the copy as by the model",
    "agreement-of-a-guess": "of them are decided so by the commoner decision alone",
    "agreement-balanced": "of each decision, on average",
    "rows-learned-from": "rows learned from",
    "area": "area under the curve of training rows against others",
    "area-by-lot": "of splits by lot do as well",
    "area-without-the-model": "area of the rows alone, without the model",
    "decided-otherwise": "rows decided otherwise when asked again",
    "changes-seen": "changes of a thousandth seen in the score",
    "digits": "digits behind the point",
    "granted-so": "of these rows had been refused, and were granted so",
    "labelled": "rows decided one after the other",
    "seconds": "seconds for them",
}
SHARES = frozenset({"controls-turned", "agreement", "agreement-of-a-guess", "agreement-balanced"})


def lines(result: Assessment) -> list[str]:
    """One line a figure."""
    from afterguard.jobs.scoring import Scored

    if not isinstance(result, Scored):
        return []
    return [f"  {one.technique}: {figure(each)} {SAYS.get(each.name, each.name)}" for one in result.measured for each in one.figures]  # fmt: skip


def figure(one: Figure) -> str:
    """A number with its interval and of how many."""
    form = "{:.0%}" if one.name in SHARES else "{:,.4g}" if abs(one.value) < 1_000 else "{:,.0f}"
    sure = f" [{form.format(one.low)}, {form.format(one.high)}]" if one.low is not None and one.high is not None else ""
    many = "" if not one.of else f" of {one.of}" if one.name in COUNTS else f" (n={one.of})"
    return f"{form.format(one.value)}{many}{sure}"
