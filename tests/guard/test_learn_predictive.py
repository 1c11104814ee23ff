"""Schemas and score mappings from recorded pairs, by the commands, and read back by the guard's own loaders."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from afterguard.cli.app import app
from afterguard.errors import AfterguardError
from afterguard.guard import mapping, schema


def samples(folder: Path, count: int) -> Path:
    chance = np.random.default_rng(1)
    rows = [
        {
            "request": {"customer": f"c{n}", "applicant": {"age": int(chance.integers(18, 80)), "income": float(chance.normal(3000, 400)), "channel": "ab"[n % 2]}},
            "response": {"result": {"risk_score": float(chance.random()), "decision": "grant" if n % 3 else "deny"}},
        }
        for n in range(count)
    ]  # fmt: skip
    file = folder / "samples.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    return file


def test_a_score_mapping_and_a_schema_are_learned_and_read_back(tmp_path: Path) -> None:
    file = samples(tmp_path, 700)
    made, found = tmp_path / "scores.yaml", tmp_path / "schema.yaml"
    assert app(["guard", "learn", "--scores", str(file), "-o", str(made)], result_action="return_value") in (0, None)
    read = mapping.load_scoring(made.read_text())
    assert (read.features, read.score, read.decision) == (".applicant", ".result.risk_score", ".result.decision")
    words = ["guard", "schema", str(file), "--kind", "scoring", "--mapping", str(made), "-o", str(found)]
    assert app(words, result_action="return_value") in (0, None)
    features = schema.load(found.read_text()).features
    assert list(features) == ["age", "income", "channel"] and features["channel"].values == ("a", "b")
    assert features["age"].kind == "number" and features["age"].low is not None and features["age"].low < 18


def test_too_few_rows_are_said(tmp_path: Path) -> None:
    from afterguard.jobs import learn

    with pytest.raises(AfterguardError, match="500 make a schema"):
        learn.features([samples(tmp_path, 30)], lambda _: None, "scoring")
