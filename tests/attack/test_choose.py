"""Which trial comes next: every technique first, then where a request tells most, within the requests there are."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest

from afterguard.attack import choose
from afterguard.attack.choose import Past, Pick
from afterguard.attack.contract import Technique
from afterguard.attack.techniques import TECHNIQUES
from afterguard.attack.trial import Verdict

ONE = TECHNIQUES[0]


def some(count: int, turns: int = 1, variants: int = 5) -> list[Technique]:
    return [ONE._replace(id=f"t{number}", turns=turns, variants=tuple(f"v{one}" for one in range(variants))) for number in range(count)]  # fmt: skip


def played(techniques: list[Technique], ends: Callable[[Pick], Verdict], requests: int = 595) -> list[Past]:
    """A whole run, each trial at its dearest and each success with a twin the first time its variant succeeds."""
    turns, past, shown = {one.id: one.turns for one in techniques}, list[Past](), set[tuple[str, str]]()
    while (pick := choose.following("seed", techniques, past, requests)) is not None:
        verdict = ends(pick)
        is_first = verdict is Verdict.succeeded and pick[:2] not in shown
        shown |= {pick[:2]} if is_first else set()
        past.append(Past(pick, verdict, turns[pick.technique] * (1 + is_first)))
        assert len(past) < 5_000
    return past


def spent(past: list[Past]) -> int:
    return sum(one.requests for one in past)


@pytest.mark.parametrize("verdict", [Verdict.succeeded, Verdict.resisted])
def test_a_first_round_comes_first(verdict: Verdict) -> None:
    past = played(some(45), lambda _pick: verdict)
    first = Counter(one.pick.technique for one in past[: 45 * choose.LEAST])
    assert set(first.values()) == {choose.LEAST}
    assert all(one.pick.variant in ("v0", "v1", "v2") for one in past[: 45 * choose.LEAST])


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_forty_five_techniques_fit_in_six_hundred_requests(share: float) -> None:
    drawn = random.Random(7)
    techniques = [*some(35), *(one._replace(id=f"long{n}") for n, one in enumerate(some(10, turns=3)))]
    past = played(techniques, lambda _pick: Verdict.succeeded if drawn.random() < share else Verdict.resisted)
    assert spent(past) <= 595
    by = Counter(one.pick.technique for one in past)
    assert len(by) == 45 and min(by.values()) >= choose.LEAST
    # What is cheap is asked no less often.
    assert sum(by[f"t{n}"] for n in range(35)) / 35 >= sum(by[f"long{n}"] for n in range(10)) / 10


def test_a_technique_is_done_when_its_interval_is_narrow_and_all_its_forms_were_tried() -> None:
    past = played(some(3), lambda _pick: Verdict.resisted, 10_000)
    assert Counter(one.pick.technique for one in past) == {f"t{n}": choose.trials() for n in range(3)}
    past = played(some(1, variants=20), lambda _pick: Verdict.resisted, 10_000)
    assert {one.pick.variant for one in past} == {f"v{n}" for n in range(20)}


def test_what_works_is_tried_more_and_what_says_nothing_is_left() -> None:
    techniques = some(3)

    def ends(pick: Pick) -> Verdict:
        if pick.technique == "t0":
            return Verdict.not_assessed
        return Verdict.succeeded if pick.technique == "t1" and pick.variant == "v4" else Verdict.resisted

    past = played(techniques, ends, 10_000)
    by = Counter(one.pick.technique for one in past)
    assert by["t0"] == choose.HOPELESS and by["t1"] > by["t2"]
    forms = Counter(one.pick.variant for one in past if one.pick.technique == "t1")
    assert forms["v4"] == max(forms.values())


def test_fewer_requests_end_it_sooner_and_change_nothing_before() -> None:
    long = played(some(20), lambda pick: Verdict(("succeeded", "resisted")[pick.round % 2]), 400)
    short = played(some(20), lambda pick: Verdict(("succeeded", "resisted")[pick.round % 2]), 250)
    assert short == long[: len(short)] and len(short) < len(long)


def test_too_few_for_a_first_round_is_not_called_done() -> None:
    past = [Past(Pick("t0", "v0", 0), Verdict.resisted, 50)]
    assert choose.following("seed", some(2), past, 10) is not None


def test_nothing_to_try() -> None:
    assert choose.following("seed", [], [], 600) is None
