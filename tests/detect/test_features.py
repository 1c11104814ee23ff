"""Schemas and profiles of features: what is hit, what is not, and that what is learned cannot be flooded away."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from afterguard.detect.feature_profile import LEAST, Profile
from afterguard.detect.feature_schema import Checked, Feature, Schema
from afterguard.errors import UsageError
from afterguard.guard import schema as files
from afterguard.model import Batch

NAMES = ("age", "income", "kind")
SCHEMA = Schema(
    {"age": Feature("number", 0, 120), "income": Feature("number", low=0), "kind": Feature("text", values=("a", "b"))}
)


def batch(*rows: tuple[Any, ...], names: tuple[str, ...] = NAMES) -> Batch:
    texts = {
        place: tuple(str(row[place]) for row in rows) for place in range(len(names)) if isinstance(rows[0][place], str)
    }
    numbers = np.array([[np.nan if isinstance(one, str) else one for one in row] for row in rows], dtype=float)
    return Batch(names, tuple("text" if n in texts else "number" for n in range(len(names))), numbers, texts)


def kinds(found: list[Any]) -> list[str]:
    return [hit.kind for hit in found]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (batch((30, 1000, "a")), []),
        (batch((30, 1000, "a"), (130, -1, "b")), ["feature_range", "feature_range"]),
        (batch((30, 1000, "c")), ["feature_category"]),
        (batch((float("inf"), 1000, "a")), ["feature_range", "feature_not_finite"]),
        (batch((float("nan"), 1000, "a")), ["feature_not_finite"]),
        (batch(("30", 1000, "a")), ["feature_type"]),
        (batch((30, "a"), names=("age", "kind")), ["feature_missing"]),
        (batch((30, 1, "a", 5), names=(*NAMES, "more")), ["feature_extra"]),
    ],
)
def test_what_a_schema_says(rows: Batch, expected: list[str]) -> None:
    found = Checked(SCHEMA).look(rows, "x")
    assert kinds(found) == expected and all(hit.rule and hit.taxonomies for hit in found)


def test_many_wrong_features_are_few_hits() -> None:
    names = tuple(f"f{n}" for n in range(500))
    found = Checked(Schema({"other": Feature()})).look(batch(tuple(range(500)), names=names), "x")
    assert len(found) == 40 and "more" in found[-1].rule


def learned(rows: int, flood: int = 0) -> Profile:
    chance, profile = np.random.default_rng(3), Profile()
    for n in range(rows):
        age = float(chance.normal(40, 8))
        profile.learn(batch((age, 1000 + 30 * age + float(chance.normal(0, 40)), "ab"[n % 2])), f"u{n % 200}")
        if n < flood:
            profile.learn(batch((500.0, 90_000.0, "ab"[n % 2])), "flooder")
    return profile


def test_a_profile_says_nothing_while_there_is_too_little() -> None:
    assert learned(LEAST - 1).schema is None and learned(LEAST - 1).look(batch((9e9, 1, "z")), "x") == []


def test_a_profile_learns_ranges_categories_and_what_goes_together() -> None:
    profile = learned(2_000)
    assert profile.look(batch((45, 2350, "a")), "x") == []
    assert kinds(profile.look(batch((900, 2350, "a")), "x"))[0] == "feature_range"
    assert kinds(profile.look(batch((45, 2350, "zzz")), "x")) == ["feature_category"]
    odd = profile.look(batch((60, 1600, "a")), "x")
    assert (
        kinds(odd) == ["feature_outlier"] and "robust deviations" in odd[0].rule
    )  # each alone is usual, together they are not


def test_one_caller_cannot_flood_what_is_learned() -> None:
    profile = learned(2_000, flood=2_000)
    held = profile._held["flooder"]
    assert held <= 0.11 * profile._filled


def test_schema_files() -> None:
    text = files.dump(SCHEMA)
    assert files.load(text) == SCHEMA
    signature = 'signature:\n  inputs: \'[{"name": "age", "type": "double", "required": true}, {"name": "kind", "type": "string", "required": false}]\'\n'
    assert files.load(signature).features == {"age": Feature("number"), "kind": Feature("text", required=False)}
    metadata = '{"name": "m", "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}], "outputs": []}'
    assert list(files.load(metadata).features) == ["x0", "x1", "x2"]
    head = "format: afterguard.feature-schema/1\n"
    for bad, says in (
        ("a: 1\n", "not a schema"), (head + "featurs: {}\n", "featurs"), (head + "features: {a: {low: 3, high: 1}}\n", "low is above"),
        (head + "features: {a: {kind: float}}\n", "kind"), ("signature: {inputs: '['}\n", "JSON"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=says):
            files.load(bad)


def test_a_profile_survives_a_restart() -> None:
    import msgspec

    from afterguard.detect.feature_profile import State
    from afterguard.guard.models import Model, Models

    profile = learned(1_000)
    again = Profile.restored(msgspec.msgpack.decode(msgspec.msgpack.encode(profile.state), type=State))
    for rows in (batch((45, 2350, "a")), batch((900, 2350, "a")), batch((45, 2350, "zzz"))):
        assert kinds(again.look(rows, "x")) == kinds(profile.look(rows, "x"))
    models, made, other = Models(), Model(None), Models()
    made.profile = profile
    models.keep("fraud", "m", made)
    other.take(models.kept(), {})
    assert other.find("fraud", "m", {}).profile.seen == 1_000
    with pytest.raises((ValueError, msgspec.MsgspecError)):
        Models().take(models.kept()[:-40], {})
    with pytest.raises(ValueError, match="hold together"):
        Profile.restored(msgspec.structs.replace(profile.state, owners=[]))
