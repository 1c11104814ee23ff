"""The part `scoring` of a TARGET.yaml: a predictive model, its features, what an attacker can change of them, what its decisions mean.

In: decoded YAML. Out: the struct `Scoring`; `check` raises UsageError for what cannot be meant. Files that it names are read by jobs/scoring.py.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Annotated, Any, Literal, NoReturn

import msgspec

from afterguard.attack.scoring.contract import Amount, Change, Money
from afterguard.detect.feature_schema import Feature
from afterguard.errors import UsageError
from afterguard.wire import learned
from afterguard.wire.splice import Unspliceable

KINDS = ("kserve", "tfserving", "mlflow", "sagemaker", "torchserve", "scoring")
WORD = re.compile(r"\{\{\s*([^{}]{1,200}?)\s*\}\}")
ROW, ROWS = "row", "rows"
BATCH = 1_000
"""Rows of one request at most."""
DEPTH = 40
PATHS = ("score", "label")


class Scoring(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """See the file."""

    rows: str = ""
    """File with honest rows, some of them decided either way: CSV, JSON lines or Parquet, beside the target file."""
    features: dict[str, Feature] = {}
    """What each feature may be, in the order in which the model takes them; where neither they nor a schema stand here, as the rows have them."""
    schema: str = ""
    """File that says the same: one of `afterguard guard schema`, an MLmodel file, what a KServe server tells of a model."""
    changes: dict[str, Change] = {}
    """Feature -> what an attacker can do to it."""
    most_cost: Amount | None = None
    """What an attacker would spend on one row at most."""
    wanted: Any = None
    """The label that an attacker wants, or a list of labels."""
    threshold: float | None = None
    """Where only a score comes back: from where on it is decided otherwise."""
    wanted_side: Literal["below", "above"] = "below"
    """On which side of the threshold an attacker wants to be."""
    money: Money = Money()
    """What a decision moves."""
    members: str = ""
    """File with rows that were in training, and one with rows that were not, of the same kind and time."""
    strangers: str = ""
    truth: str = ""
    """Column of those files with what is true. It is never sent."""
    against: Any = None
    """Its values that ought to be decided against."""
    ignore: tuple[str, ...] = ()
    """Columns of the files that are no features."""
    batch: Annotated[int, msgspec.Meta(ge=1, le=BATCH)] = 1
    """Rows that one request may hold."""
    body: Any = "{{row}}"
    """Kind scoring: the JSON that is sent, with {{row}}, {{rows}} or {{NAME OF A FEATURE}} where they go."""
    input: str = ""
    """Kind kserve: the tensor that holds all features; where it is empty each feature is a tensor."""
    datatype: str = "FP64"
    """Kind kserve: of numbers."""
    positions: bool = False
    """Kinds tfserving and torchserve: rows are lists and not objects."""
    score: str = ""
    """Path of the score in the reply, as .result.score or .predictions[*].p; empty: where such a server says it, or found by its name."""
    label: str = ""

    @property
    def labels(self) -> frozenset[str]:
        return labels(self.wanted)


def labels(told: Any) -> frozenset[str]:
    """Labels of a target file, as answers spell them."""
    listed = told if isinstance(told, (list, tuple)) else () if told is None else (told,)
    return frozenset(labelled(one) for one in listed)


def labelled(value: Any) -> str:
    """One label: yes and true, 1 and 1.0 are the same."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.12g}" if isinstance(value, float) or (isinstance(value, int) and abs(value) < 1 << 64) else str(value)[:200]  # fmt: skip


def check(one: Scoring, kind: str, name: str) -> None:
    """Whether it can be meant. Raises UsageError."""
    if not one.rows:
        _bad(f"{name}: scoring.rows is missing", "a file with honest rows beside the target file: rows: sample.csv")
    if not one.labels and one.threshold is None:
        _bad(f"{name}: nothing says which decision an attacker wants", "wanted: approve, or threshold: 0.5 with wanted_side: below")  # fmt: skip
    if (not one.labels <= {""} and "" in one.labels) or any(isinstance(each, (dict, list)) for each in _listed(one.wanted)):  # fmt: skip
        _bad(f"{name}: scoring.wanted is no label", "wanted: approve, or wanted: [approve, pass]")
    if bool(one.members) != bool(one.strangers):
        _bad(f"{name}: scoring.members and scoring.strangers belong together", "give both files, or none")
    for place in PATHS:
        _path(getattr(one, place), f"{name}: scoring.{place}")
    for feature, change in one.changes.items():
        if one.features and feature not in one.features:
            near = get_close_matches(feature, list(one.features), 1)
            _bad(f"{name}: scoring.changes: no feature is called {feature[:100]!r}", f"did you mean {near[0]}?" if near else "name one of scoring.features")  # fmt: skip
        if change.share is not None and (change.up is not None or change.down is not None):
            _bad(f"{name}: scoring.changes.{feature[:100]}: share stands beside up or down", "write one of them")
    if kind == "scoring":
        _body(one, name)


def _body(one: Scoring, name: str) -> None:
    named = words(one.body)
    if not named:
        _bad(f"{name}: scoring.body has no place for a row", 'body: "{{row}}", or {rows: "{{rows}}"}')
    if ROWS not in named and one.batch > 1:
        _bad(f"{name}: scoring.batch is {one.batch}, but the body holds one row", 'write "{{rows}}" where a list of rows goes, or leave batch out')  # fmt: skip
    unknown = sorted(named - {ROW, ROWS, *one.features}) if one.features else []
    if unknown:
        near = get_close_matches(unknown[0], [ROW, ROWS, *one.features], 1)
        _bad(f"{name}: scoring.body: nothing is called {{{{{unknown[0]}}}}}", f"did you mean {{{{{near[0]}}}}}?" if near else "row, rows, or a feature")  # fmt: skip


def words(value: Any, depth: int = 0) -> set[str]:
    """The words that a body names."""
    if depth > DEPTH:
        return set()
    if isinstance(value, str):
        found = WORD.fullmatch(value)
        return {found[1]} if found else set()
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return set().union(*(words(one, depth + 1) for one in inner))


def _listed(told: Any) -> list[Any]:
    return list(told) if isinstance(told, (list, tuple)) else [told]


def _path(path: str, where: str) -> None:
    try:
        learned.way(path)
    except Unspliceable:
        _bad(f"{where}: {path[:100]!r} is no path", "as .score or .predictions[*].probability")


def _bad(says: str, hint: str) -> NoReturn:
    raise UsageError(says, hint=hint, slug="bad-target")
