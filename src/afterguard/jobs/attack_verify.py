"""The hits of a run asked again, exactly as they were: through a door of the guard that holds the rule now, or of the application after its owner mended it.

In: a target, the hits of an earlier run with its seed, and what `Run` needs. Out: `Verified`. Leave, limits, journal and going on after a break are those of a run. The same harmless questions come first: of an application that hears nothing any more, nothing is said. Where a guard holds off the
small harmless task by which obedience shows, what it holds off is held off all the same; only that the application itself resisted is then not known.
"""

from __future__ import annotations

from collections.abc import Sequence

from afterguard.attack import calibrate, offer
from afterguard.attack.assessment import Hit
from afterguard.attack.contract import Aim
from afterguard.attack.scoring import order
from afterguard.attack.techniques import BY_ID
from afterguard.attack.trial import Result, Verdict
from afterguard.attack.verified import Again, Verified, again
from afterguard.jobs.attack import Run, Stopped, turns_of
from afterguard.jobs.scoring import ScoringRun

UNSHOWN = "no-harmless-task-done"
TIMES = "#"
"""Stands between the id of a hit and which time it is asked again."""


class Verification(Run):
    """See the file."""

    def again(self, hits: Sequence[Hit], of: str, times: int = 1) -> Verified:
        """Every hit, `times` times, or as far as it may go."""
        stopped, why = "", {}
        try:
            self._clean(self._left())
            why = self._why_not(self._manner())
            for hit in hits:
                if why.get(hit.technique, "") in ("", UNSHOWN):
                    self._repeat(hit, times)
        except Stopped as end:
            stopped = str(end)
        return _verified(self, hits, of, why, stopped)

    def _why_not(self, manner: calibrate.Manner) -> dict[str, str]:
        aim = self.target.aim(self.journal.head.seed, self.listener)
        return offer.offered(self.techniques, aim, manner, not self.leave.changes)

    def _repeat(self, hit: Hit, times: int) -> None:
        technique = BY_ID.get(hit.technique)
        variant = hit.id.split("/")[1]
        if technique is None or variant not in technique.variants:
            return
        for time in range(times):
            if self._tried(technique, variant, f"{hit.id}{TIMES}{time}").verdict is Verdict.succeeded:
                return  # It is not gone; more trials would say the same.

    def _aim(self, name: str) -> Aim:
        return super()._aim(name.removesuffix("/twin").partition(TIMES)[0])


class ScoringVerification(ScoringRun):
    """The same of a predictive model. Honest rows come first: where they show no scores any more, what needs them is not tried, and the reason says so."""

    def again(self, hits: Sequence[Hit], of: str, times: int = 1) -> Verified:
        """Every hit, `times` times, or as far as it may go."""
        stopped, why = "", {}
        try:
            manner = self._honest()  # before `aim` is looked at: it learns from them
            why = order.offered(self.tried, self.aim, manner)
            for hit in hits:
                if not why.get(hit.technique, "unknown-technique"):
                    self._repeat(hit, times)
        except Stopped as end:
            stopped = str(end)
        return _verified(self, hits, of, why, stopped)

    def _repeat(self, hit: Hit, times: int) -> None:
        technique = next(one for one in self.tried if one.id == hit.technique)
        _, variant, number = hit.id.split("/")
        pick = order.Pick(technique.id, variant, int(number))
        for time in range(times):
            if self._once(technique, pick, f"{TIMES}{time}").verdict is Verdict.succeeded:
                return


def _verified(run: Run, hits: Sequence[Hit], of: str, why: dict[str, str], stopped: str) -> Verified:
    rows = tuple(_again(run, hit, why.get(hit.technique, ""), stopped or "not-reached") for hit in hits)
    return Verified(run.target.name, run.journal.head.run, of, run.way, rows, run.requests, stopped, run.wall(), run.target.host)  # fmt: skip


def _again(run: Run, hit: Hit, why: str, otherwise: str) -> Again:
    ends = [row for row in run.journal.rows if row.kind == "end" and row.trial.partition(TIMES)[0] == hit.id]
    results = [_known(row.result, why) for row in ends if row.result is not None]
    turns = turns_of(run.journal.rows, ends[-1].trial) if ends else []
    return again(hit, results, turns, why or otherwise)


def _known(result: Result, why: str) -> Result:
    """The result, as far as it says anything of an application that may not do what shows obedience."""
    is_open = why == UNSHOWN and result.verdict is Verdict.resisted and result.reason != "blocked"
    return Result(Verdict.not_assessed, UNSHOWN) if is_open else result
