"""The tabletop: made from what was found, run on a clock, scored, and what is to be mended said."""

from __future__ import annotations

import msgspec
import pytest

from afterguard.errors import UsageError
from afterguard.model import Alert, Case, Confidence, Severity
from afterguard.respond import exercise
from afterguard.respond.exercise import Did, Occasion
from afterguard.respond.playbook import shipped

FOUND = (
    Occasion("A key was used from three countries within an hour", "desk", "impossible_travel", "alert al-1"),
    Occasion("A secret stands in a reply", "desk", "secret_in_output", "alert al-2"),
    Occasion("No limit on tokens", "desk", source="scan no-token-limit", taxonomies=("LLM10:2025",)),
)


def made() -> exercise.Exercise:
    playbook, fitting = exercise.choose(FOUND, shipped())
    return exercise.made(playbook, fitting, id="ex-1", app="desk")


def test_the_script_is_of_the_teams_own_findings() -> None:
    one = made()
    assert one.playbook == "stolen-key" and one.sources == ("alert al-1", "alert al-2", "scan no-token-limit")
    assert "three countries" in one.injects[0].says and [inject.minute for inject in one.injects] == sorted(inject.minute for inject in one.injects)  # fmt: skip
    text = exercise.script(one)
    assert "## Minute 0, the SOC" in text and "expected by minute 15: `keep-state`" in text
    assert msgspec.json.decode(msgspec.json.encode(one), type=exercise.Exercise) == one


@pytest.mark.parametrize("playbook", shipped(), ids=lambda one: one.id)
def test_every_playbook_makes_an_exercise_that_can_be_won(playbook) -> None:  # type: ignore[no-untyped-def]
    one = exercise.made(playbook, (), id="x", app="a")
    wanted = [expected for inject in one.injects for expected in inject.expects]
    score = exercise.scored(one, [Did(expected.by, expected.step, "ana") for expected in sorted(wanted, key=lambda e: e.by)])  # fmt: skip
    assert score.share == 1.0 and score.too_soon == ()
    assert exercise.scored(one, []).points == 0


def test_late_missed_and_too_soon_show() -> None:
    one = made()
    done = [Did(4, "refuse-key", "bob", "pulled it at once"), Did(22, "keep-state", "ana"), Did(12, "decide-1", "cy")]
    score = exercise.scored(one, done)
    assert score.too_soon == ("refuse-key",) and score.minutes_to_evidence == 22 and score.minutes_to_contain == 4
    assert {row.step: row.points for row in score.rows if row.done is not None} == {"keep-state": 1, "refuse-key": 2, "decide-1": 2}  # fmt: skip
    text = exercise.report(one, done, score)
    assert "before any evidence was kept" in text and "minute 22, wanted by 15" in text and "`count-cost` (money)" in text  # fmt: skip
    with pytest.raises(UsageError, match="no step x"):
        exercise.scored(one, [Did(1, "x", "ana")])


def test_nothing_that_fits_says_what_to_do() -> None:
    with pytest.raises(UsageError, match="fits a playbook"):
        exercise.choose((Occasion("something", "desk"),), shipped())


def test_the_times_of_a_case() -> None:
    alert = Alert("al-1", "f", "canary_leak", "t", Severity.high, Confidence.high, 100.0, 200.0, 160.0, "desk")
    case = Case("c", "t", Severity.high, 170.0, 170.0, "desk", kinds=("canary_leak",))
    one = exercise.timed(case, (alert,), 400.0)
    assert (one.detect, one.contain) == (60.0, 300.0)
    assert exercise.timed(case, (alert,), None).contain is None
    with pytest.raises(UsageError):
        exercise.timed(case, (), None)
