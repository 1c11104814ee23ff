"""Techniques against predictive models without a network: categories, bounds, costs, membership, fidelity, intervals; and what a technique says of itself.

Models here are functions of a row. Seeds of rows that are drawn here are used nowhere else.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.attack.contract import Prompt, Reply
from afterguard.attack.scoring import figures, manner, order, space, spelled, surrogate
from afterguard.attack.scoring import techniques as folder
from afterguard.attack.scoring.contract import NEEDS, Aim, Answer, Change, Money, Technique
from afterguard.attack.scoring.techniques import BY_ID, TECHNIQUES
from afterguard.attack.scoring.trial import RowTrial
from afterguard.attack.trial import Result, Verdict
from afterguard.detect.feature_schema import Feature
from afterguard.names import is_taxonomy

Model = Callable[[dict[str, Any]], Answer]
FEATURES = {"amount": Feature("number", 0, 10_000), "hour": Feature("number", 0, 23), "channel": Feature("text", values=("shop", "web", "phone")), "risk": Feature("number", 0, 1)}  # fmt: skip
CHANGES = {"hour": Change(whole=True), "channel": Change(to=("web", "shop")), "amount": Change(share=0.1)}


def rows(count: int, seed: int) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    return [{"amount": round(rng.lognormvariate(5, 1), 2), "hour": rng.randrange(24), "channel": rng.choice(("shop", "web", "phone")), "risk": round(rng.random(), 3)} for _ in range(count)]  # fmt: skip


def weak(row: dict[str, Any]) -> Answer:
    """Believes what a client says of its channel and hour."""
    z = 3 * (row["risk"] - 0.5) + 0.001 * row["amount"] + (0.8 if row["channel"] == "phone" else -0.4) - 0.05 * row["hour"]  # fmt: skip
    score = 1 / (1 + math.exp(-z))
    return Answer("decline" if score > 0.5 else "approve", score)


def firm(row: dict[str, Any]) -> Answer:
    """Asks about risk alone, and says no score."""
    return Answer("decline" if row["risk"] > 0.5 else "approve")


def aimed(model: Model, seed: str = "s", **more: Any) -> Aim:
    told: dict[str, Any] = {"changes": CHANGES, "wanted": frozenset({"approve"}), "money": Money("amount"), "batch": 50}
    aim = Aim(seed, FEATURES, rows=tuple(rows(200, 77)), **(told | more))
    honest = [(dict(row), model(row)) for row in manner.asked(aim).rows]
    return manner.learned(aim, honest)


def tried(technique: Technique, aim: Aim, variant: str, model: Model) -> tuple[Result, int]:
    trial, asked = RowTrial(technique, aim, variant), 0
    step = trial.begin()
    while isinstance(step, Prompt):
        some = [dict(pairs) for pairs in spelled.read_rows(step.text)]
        asked += len(some)
        step = trial.hear(Reply(spelled.answers([model(row) for row in some])))
    return step, asked


@pytest.mark.parametrize("id", ["score-evasion", "boundary-evasion"])
def test_evasion_of_numbers_whole_numbers_and_categories_stays_within_what_was_said(id: str) -> None:
    technique, sent = BY_ID[id], []
    base = aimed(weak)

    def model(row: dict[str, Any]) -> Answer:
        sent.append(dict(row))
        return weak(row)

    ends = []
    for number, start in enumerate(base.refused[:12]):
        sent.clear()
        aim = msgspec.structs.replace(base, seed=f"s{number}", number=number)
        result, asked = tried(technique, aim, technique.variants[number % 2], model)
        ends.append(result.verdict)
        assert asked <= technique.steps + technique.together
        # Controls come last, and are no attack: they may change anything by next to nothing.
        for row in sent[: None if result.verdict is Verdict.resisted else -21]:
            assert row["risk"] == start["risk"] and isinstance(row["hour"], int) and 0 <= row["hour"] <= 23
            assert abs(row["amount"] - start["amount"]) <= 0.1 * start["amount"] + 1e-6
            assert row["channel"] in ("web", "shop", start["channel"])
        if result.claim:
            assert "refused, and granted with" in result.claim.evidence
    assert ends.count(Verdict.succeeded) >= 5 and ends.count(Verdict.not_assessed) <= 2
    firm_aim = aimed(firm)
    assert {tried(technique, msgspec.structs.replace(firm_aim, number=n, toward=1), technique.variants[n % 2], firm)[0].verdict for n in range(8)} == {Verdict.resisted}  # fmt: skip


def test_what_is_too_dear_is_no_evasion() -> None:
    dear = {name: msgspec.structs.replace(change, cost=10.0) for name, change in CHANGES.items()}
    base = aimed(weak, changes=dear)
    found = [tried(BY_ID["score-evasion"], msgspec.structs.replace(base, number=n, most_cost=most), "by-feature", weak)[0] for n in range(6) for most in (5.0, 10.0)]  # fmt: skip
    assert all(one.verdict is Verdict.resisted for one in found[::2])
    costs = [figure.value for one in found[1::2] for figure in one.figures if figure.name == "cost"]
    assert costs and all(0 < cost <= 10 for cost in costs)


def test_a_decision_that_turns_with_any_change_or_only_sometimes_is_no_evasion() -> None:
    starts = {tuple(row.items()) for row in aimed(weak).refused}

    def touchy(row: dict[str, Any]) -> Answer:
        """Refuses what it refused, as long as nothing of it changes."""
        return weak(row) if tuple(row.items()) in starts else Answer("approve", 0.1)

    counted = iter(range(10_000))

    def fickle(row: dict[str, Any]) -> Answer:
        return Answer("approve" if next(counted) % 3 else "decline", 0.5)

    for model, reason in ((touchy, "any-change-turns-it"), (fickle, "does-not-answer-the-same-twice")):
        base = aimed(weak)
        for number in range(4):
            result, _ = tried(BY_ID["boundary-evasion"], msgspec.structs.replace(base, number=number), "from-corners", model)  # fmt: skip
            assert (result.verdict, result.reason) == (Verdict.not_assessed, reason)


def population(count: int, seed: int) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    return [row | {"fraud": int(rng.random() < (0.7 if row["risk"] > 0.5 else 0.2))} for row in rows(count, seed)]


@pytest.mark.parametrize("seed", range(5))
def test_membership_is_told_of_a_model_that_remembers_and_of_no_other(seed: int) -> None:
    members, others = population(200, 1_000 + seed), population(200, 2_000 + seed)
    by_heart = {tuple(value for name, value in row.items() if name != "fraud"): row["fraud"] for row in members}

    def remembers(row: dict[str, Any]) -> Answer:
        known = by_heart.get(tuple(row.values()))
        score = (0.3 + 0.4 * (row["risk"] > 0.5)) if known is None else 0.1 + 0.8 * known
        return Answer("decline" if score > 0.5 else "approve", score)

    def learned(row: dict[str, Any]) -> Answer:
        score = 0.2 + 0.5 / (1 + math.exp(-20 * (row["risk"] - 0.5)))
        return Answer("decline" if score > 0.5 else "approve", score)

    told: dict[str, Any] = {"members": tuple(members), "strangers": tuple(others), "truth": "fraud", "against": frozenset({"1"})}  # fmt: skip
    found, _ = tried(BY_ID["membership"], aimed(remembers, **told), "confidence", remembers)
    assert found.verdict is Verdict.succeeded and found.figures[0].low is not None and found.figures[0].low > 0.9
    found, _ = tried(BY_ID["membership"], aimed(learned, **told), "confidence", learned)
    assert found.verdict is Verdict.resisted and found.figures[0].low < 0.55


def test_two_files_that_differ_by_themselves_show_no_membership() -> None:
    """Rows of another time: a model that knows nothing of them is surer about some of them."""
    members = tuple(population(150, 31))
    later = tuple(row | {"risk": round(row["risk"] / 3, 3)} for row in population(150, 32))
    told: dict[str, Any] = {"members": members, "strangers": later}
    found, _ = tried(BY_ID["membership"], aimed(weak, **told), "confidence", weak)
    assert found.verdict is not Verdict.succeeded


@pytest.mark.parametrize("variant", BY_ID["model-copy"].variants)
def test_a_copy_is_measured_on_rows_kept_apart(variant: str) -> None:
    found, asked = tried(BY_ID["model-copy"], aimed(weak), variant, weak)
    assert found.verdict is Verdict.succeeded and found.figures[0].low is not None and found.figures[0].low > 0.85
    assert asked <= 700
    draw = random.Random(5)

    def lot(_: dict[str, Any]) -> Answer:
        return Answer(draw.choice(("approve", "decline")))

    found, _ = tried(BY_ID["model-copy"], aimed(weak), variant, lot)
    assert found.verdict is not Verdict.succeeded
    rare = aimed(weak)

    def nearly_constant(row: dict[str, Any]) -> Answer:
        return Answer("decline" if row["risk"] > 0.97 else "approve")

    found, _ = tried(BY_ID["model-copy"], rare, variant, nearly_constant)
    assert found.verdict is not Verdict.succeeded, "always saying yes agrees as often"


def test_a_surrogate_learns_a_line_and_steps() -> None:
    draw = np.random.default_rng(3)
    points = draw.normal(size=(400, 3))
    for goal in (points @ [1.0, -2.0, 0.5] > 0, (points[:, 0] > 0.3) & (points[:, 2] < 0)):
        copy = surrogate.copied(points[:300], goal[:300].astype(float), None)
        assert ((copy(points[300:]) >= 0.5) == goal[300:]).mean() > 0.9


def test_an_area_is_that_of_all_pairs_and_its_interval_holds_what_is_true() -> None:
    draw = np.random.default_rng(9)
    inside = 0
    for turn in range(200):
        ones, others = draw.normal(0.5, 1, 60), draw.normal(0, 1, 60)
        found = figures.area(ones.tolist(), others.tolist(), turns=1)
        if turn < 5:
            pairs = np.mean([(a > b) + 0.5 * (a == b) for a in ones for b in others])
            assert found.value == pytest.approx(pairs)
        inside += found.low <= 0.6382 <= found.high
    assert inside >= 180
    assert figures.area([1.0] * 10, [0.0] * 10).low < 1, "ten rows show no certainty"
    assert figures.area([1.0, 2.0], []).chance == 1.0


def test_money_has_an_interval_that_no_luck_closes() -> None:
    none = figures.moved([], [100.0] * 6)
    assert none.per_thousand == none.low == 0 and none.high > 30_000
    some = figures.moved([100.0, 120.0, 90.0], [80.0] * 3)
    assert some.total == 310 and some.low < some.per_thousand < some.high
    assert figures.moved([], []).high == 0


@given(st.lists(st.dictionaries(st.text(max_size=8), st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20), max_size=5), max_size=5))  # fmt: skip
@settings(max_examples=50, deadline=None)
def test_rows_survive_being_written(some: list[dict[str, Any]]) -> None:
    again = spelled.read_rows(spelled.rows(some))
    assert [repr(dict(one)) for one in again] == [repr(one) for one in some]
    twice = ((("a", 1), ("a", 2)),)
    assert spelled.read_rows(spelled.rows(twice)) == twice


@given(st.text(max_size=60) | st.sampled_from(["[" * 100_000, '{"answers": [[1, 2]]}', '{"answers": [["a", true]]}', "[{}, []]", '[{"a": {}}]', '{"answers": [["", 1e999]]}']))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_texts_that_are_no_rows_and_no_answers_are_refused(text: str) -> None:
    for read in (spelled.read_rows, spelled.read_answers):
        try:
            read(text)
        except ValueError:
            continue


cells = st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=6)
changes = st.builds(Change, up=st.none() | st.floats(0, 1e9), down=st.none() | st.floats(0, 1e9), share=st.none() | st.floats(0, 100), to=st.just(()) | st.just(("a", "b")), whole=st.booleans())  # fmt: skip


@given(st.lists(st.fixed_dictionaries({"a": cells, "b": cells}), min_size=1, max_size=5), changes, st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_whatever_the_rows_are_moves_stay_within_them(some: list[dict[str, Any]], change: Change, seed: int) -> None:
    aim = Aim("s", {"a": Feature("number", 0, 10)}, {"a": change, "b": change}, tuple(some))
    draw = np.random.default_rng(seed)
    for row in some:
        box = space.box(aim, row)
        for move in [*space.ends(row, box), space.anywhere(box, draw)]:
            other = space.put(row, box, move)
            assert other.keys() == row.keys()
            for name, place in box.items():
                if isinstance(place, space.Span) and other[name] != row[name]:
                    assert place.low <= other[name] <= place.high  # type: ignore[operator]
            for control in space.aimless(aim, row, other, 3, draw):
                assert space.changed(row, control) and space.changed(other, control)


@pytest.mark.parametrize("technique", TECHNIQUES, ids=lambda one: one.id)
def test_what_a_technique_says_of_itself_is_true(technique: Technique) -> None:
    file = Path(folder.__file__).with_name(f"{technique.id.replace('-', '_')}.py")
    assert file.exists() and technique.needs <= set(NEEDS) == set(order.HAS)
    assert all(map(is_taxonomy, technique.taxonomies)) and technique.fix.endswith(".") and technique.variants
    aim = aimed(weak, members=tuple(rows(60, 1)), strangers=tuple(rows(60, 2)))
    for batch in (1, 50):
        now = msgspec.structs.replace(aim, batch=batch)
        for variant in technique.variants:
            trial, asked = RowTrial(technique, now, variant), 0
            step = trial.begin()
            while isinstance(step, Prompt):
                asked += 1
                step = trial.hear(Reply(spelled.answers([weak(_whole(dict(pairs))) for pairs in spelled.read_rows(step.text)])))  # fmt: skip
            assert asked <= technique.requests(now)
    policy = (Path(__file__).parent.parent.parent / "docs" / "how-to" / "predictive.md").read_text()
    assert f"id: {technique.rule}\n" in policy


def _whole(row: dict[str, Any]) -> dict[str, Any]:
    usual = {"amount": 1.0, "hour": 1, "channel": "web", "risk": 0.2}
    return {name: row[name] if isinstance(row.get(name), type(value)) and row.get(name) == row.get(name) and abs(hash(row[name])) < 1e15 else value for name, value in usual.items()}  # fmt: skip
