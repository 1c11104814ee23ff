"""What bench/versus.py counts: forms over seeds, pairs, twins. Whole runs are the bench's matter."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location("bench_versus", ROOT / "bench" / "versus.py")
assert _spec and _spec.loader
versus: Any = importlib.util.module_from_spec(_spec)
sys.modules["bench_versus"] = versus
_spec.loader.exec_module(versus)


def row(form: str, outcome: str, seed: str = "1", twin: str = "x") -> Any:
    technique, _, variant = form.partition("/")
    return versus.Tried(technique, variant, seed, outcome, twin)


def test_a_form_counts_once_as_for_most_seeds() -> None:
    rows = [row("a/x", "succeeded"), row("a/x", "blocked", "2"), row("a/x", "blocked", "3"), row("a/y", "timeout")]
    assert versus.by_form(rows) == {"a/x": "blocked", "a/y": "timeout"}
    one = versus.share(["succeeded", "blocked", "resisted", "timeout"])
    assert (one.part, one.of) == (1, 3)


def test_pairs_leave_out_what_says_nothing() -> None:
    off = {"a/1": "succeeded", "a/2": "succeeded", "a/3": "resisted", "a/4": "succeeded"}
    on = {"a/1": "blocked", "a/2": "succeeded", "a/3": "resisted", "a/4": "timeout"}
    found = versus.paired(off, on)
    assert (found.of, found.stopped, found.let, found.chance) == (3, 1, 0, 1.0)
    assert found.low < 1 / 3 < found.high


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=80))
def test_an_interval_holds_the_difference(pairs: list[tuple[bool, bool]]) -> None:
    said = {True: "succeeded", False: "resisted"}
    off = {f"a/{n}": said[one] for n, (one, _) in enumerate(pairs)}
    on = {f"a/{n}": said[other] for n, (_, other) in enumerate(pairs)}
    found, back = versus.paired(off, on), versus.paired(on, off)
    gap = (found.stopped - found.let) / found.of
    assert -1 <= found.low <= gap + 1e-9 and gap - 1e-9 <= found.high <= 1 and 0 < found.chance <= 1
    assert abs(found.low + back.high) < 1e-9 and found.chance == back.chance


def test_a_twin_that_is_refused_or_changed_is_shown_once() -> None:
    off = [row("a/x", "succeeded", twin="hello"), row("a/y", "succeeded", twin="hello"), row("b/z", "succeeded", twin="bye")]  # fmt: skip
    on = [row("a/x", "blocked", twin="BLOCKED"), row("a/y", "blocked", twin="BLOCKED"), row("b/z", "blocked", twin="by")]  # fmt: skip
    said = versus._twins(off, on)
    assert said.startswith("of 2 refused 1 ") and "changed 1 " in said and said.endswith("(a/x, b/z)")
