"""Predictive models as targets: every protocol against the server that the guard's tests use, oddities of rows and replies, and target files that are wrong.

The KServe side of that server is held against the real tritonclient in tests/guard; MLflow's own server is asked in tests/attack/test_scoring_others.py.
"""

from __future__ import annotations

import importlib.util
import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.attack.contract import Prompt
from afterguard.attack.scoring import spelled
from afterguard.attack.scoring.contract import Answer
from afterguard.detect.feature_schema import Feature
from afterguard.errors import UsageError
from afterguard.targets import reading, scored_rows
from afterguard.targets.document import Target
from afterguard.targets.load import load
from afterguard.targets.scored import KINDS, Scoring, labels
from afterguard.targets.talking import Talking
from afterguard.wire import predictive

_spec = importlib.util.spec_from_file_location("targets_predict_servers", Path(__file__).parent.parent / "guard" / "predict_servers.py")  # fmt: skip
assert _spec and _spec.loader
servers: Any = importlib.util.module_from_spec(_spec)
sys.modules["targets_predict_servers"] = servers
_spec.loader.exec_module(servers)

NAMES = ("a", "b", "c", "d")
FEATURES = {name: Feature("number", -10, 10) for name in NAMES}
ROWS = [{"a": 1.0, "b": 2.0, "c": -1.0, "d": 0.5}, {"a": -2.0, "b": 1.0, "c": 0.25, "d": 3.0}]
PATHS = {
    "kserve": ("/v2/models/fraud/infer", {"input": "x"}, 2), "tfserving": ("/v1/models/fraud:predict", {"positions": True}, 2), "mlflow": ("/invocations", {}, 2),
    "sagemaker": ("/endpoints/fraud/invocations", {}, 2), "torchserve": ("/predictions/fraud", {"positions": True}, 1), "scoring": ("/score", {"body": {"applicant": "{{row}}"}}, 1),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_rows_go_out_and_answers_come_back_in_every_protocol(kind: str) -> None:
    path, more, count = PATHS[kind]
    wanted = {"kserve": "0", "tfserving": "0", "torchserve": "fine", "scoring": "grant"}.get(kind)
    one = Scoring(rows="x", features=FEATURES, wanted=wanted, threshold=0.5, **more)
    with servers.model_server() as server:
        target = Target("t", server.origin + path, kind=kind, scoring=one)  # type: ignore[arg-type]
        reply = Talking(target, "r").ask(Prompt(spelled.rows(ROWS[:count])))
    assert not reply.error, reply
    for row, answer in zip(ROWS[:count], spelled.read_answers(reply.text), strict=True):
        score = servers.score(list(row.values()))
        # Where there is a share for each class, the score is that of the wanted one.
        assert answer.score == pytest.approx(1 - score if kind in ("kserve", "tfserving", "torchserve") else score)
        if kind in ("kserve", "tfserving"):
            assert answer.label == str(int(score > 0.5))
        elif kind in ("torchserve", "scoring"):
            assert answer.label == {"torchserve": ("fine", "fraud"), "scoring": ("grant", "deny")}[kind][score > 0.5]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_sent_is_what_the_guard_reads(kind: str) -> None:
    one = Scoring(features=FEATURES, batch=2, body="{{rows}}", **({"input": "x"} if kind == "kserve" else {}))
    body, content = scored_rows.body(kind, one, [tuple(row.items()) for row in ROWS])
    table = predictive.request(kind, body, {b"content-type": content.encode()}).table
    assert table.numbers.tolist() == [list(row.values()) for row in ROWS]


def test_rows_that_no_honest_client_sends_go_out_as_they_are() -> None:
    odd = (("a", math.nan), ("a", 2), ("c", None), ("z", "x,\n"))
    one = Scoring(features=FEATURES, input="x", positions=True)
    sent = {kind: scored_rows.body(kind, one, [odd])[0].decode() for kind in KINDS}
    assert sent["scoring"] == '{"a": NaN, "a": 2, "c": null, "z": "x,\\n"}'
    assert sent["sagemaker"] == 'nan,,,,2,"x,\n"\n' and "[NaN, null, null, null, 2, " in sent["tfserving"]
    assert '"columns": ["a", "a", "c", "z"], "data": [[NaN, 2, null, ' in sent["mlflow"]
    tensors = json.loads(scored_rows.body("kserve", Scoring(features=FEATURES | {"k": Feature("text"), "w": Feature("bool")}), [(("a", 1), ("k", "x"), ("w", True))])[0])  # fmt: skip
    assert [(each["name"], each["datatype"], each["shape"]) for each in tensors["inputs"]] == [("a", "FP64", [1, 1]), ("k", "BYTES", [1, 1]), ("w", "BOOL", [1, 1])]  # fmt: skip


SAID: list[tuple[str, dict[str, Any], Any, list[Answer]]] = [
    (
        "scoring",
        {"score": ".result.risk", "label": ".result.d"},
        {"result": {"risk": 0.25, "d": True}},
        [Answer("true", 0.25)],
    ),
    ("scoring", {"score": ".rows[*].p"}, {"rows": [{"p": 0.1}, {"p": 0.9}]}, [Answer("", 0.1), Answer("", 0.9)]),
    (
        "scoring",
        {"label": ".labels", "score": ".p"},
        {"labels": ["no", "yes"], "p": [0.1, 0.9]},
        [Answer("no", 0.1), Answer("yes", 0.9)],
    ),
    ("scoring", {}, {"score": 0.5, "decision": "no"}, [Answer("no", 0.5)]),
    ("mlflow", {}, {"predictions": [0, 1]}, [Answer("0"), Answer("1")]),
    ("mlflow", {"wanted": 0}, {"predictions": [[0.9, 0.1], [0.2, 0.8]]}, [Answer("0", 0.9), Answer("1", 0.2)]),
    ("mlflow", {}, {"predictions": [{"label": "a", "score": 0.5}]}, [Answer("a", 0.5)]),
    ("tfserving", {}, {"predictions": [[0.5]]}, [Answer("", 0.5)]),
    ("torchserve", {"wanted": "fine"}, {"fraud": 0.9, "fine": 0.1}, [Answer("fraud", 0.1)]),
]


@pytest.mark.parametrize(("kind", "how", "said", "answers"), SAID)
def test_replies_of_many_shapes_are_read(kind: str, how: dict[str, Any], said: Any, answers: list[Answer]) -> None:
    found = scored_rows.answers(kind, Scoring(**how), {"content-type": "application/json"}, json.dumps(said).encode(), len(answers))  # fmt: skip
    assert list(found) == answers


@pytest.mark.parametrize(
    ("kind", "how", "said"),
    [
        ("mlflow", {}, b'{"predictions": [1]}'), ("mlflow", {}, b"<html>"), ("scoring", {"score": ".a"}, b'{"b": 1}'), ("kserve", {}, b'{"outputs": []}'), ("sagemaker", {}, b""),
        ("scoring", {"score": ".a"}, b"[" * 50_000), ("mlflow", {}, b'{"predictions": 1, "predictions": 2}'),
    ],
)  # fmt: skip
def test_a_reply_without_an_answer_for_each_row_is_unreadable(kind: str, how: dict[str, Any], said: bytes) -> None:
    with pytest.raises(reading.Unreadable):
        scored_rows.answers(kind, Scoring(**how), {}, said, 2)


json_values = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["predictions", "outputs", "data", "name", "datatype", "shape", "score", "label", "x"]), inner, max_size=4), max_leaves=12)  # fmt: skip


@given(st.sampled_from(KINDS), json_values.map(json.dumps).map(str.encode) | st.binary(max_size=60), st.integers(1, 3), st.sampled_from(["", ".x", ".predictions[*]", ".outputs[0].data"]))  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_any_reply_is_read_or_refused(kind: str, body: bytes, count: int, path: str) -> None:
    one = Scoring(score=path, wanted=["x", 1])
    try:
        found = scored_rows.answers(kind, one, {"content-type": "application/json"}, body, count)
    except reading.Unreadable:
        return
    assert len(found) == count and spelled.read_answers(spelled.answers(found)) == found


cells = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)


@given(st.sampled_from(KINDS), st.lists(st.lists(st.tuples(st.sampled_from([*NAMES, "z", '"', ""]), cells), min_size=1, max_size=6).map(tuple), min_size=1, max_size=3), st.booleans())  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_any_rows_can_be_sent(kind: str, rows: list[Any], positions: bool) -> None:
    one = Scoring(features=FEATURES, positions=positions, body={"q": ["{{row}}", "{{a}}", "{{z}}", "plain"]})
    body, content = scored_rows.body(kind, one, rows)
    if content == scored_rows.JSON:
        json.loads(body)


def test_labels_are_spelled_one_way() -> None:
    assert labels([True, 1, 1.0, "approve", None]) == {"true", "1", "approve", "None"} and labels(None) == frozenset()


HEAD = "format: afterguard.target/1\nname: m\nurl: https://h.example/score\nkind: scoring\n"
PART = HEAD + "scoring:\n  rows: x.csv\n  wanted: approve\n"


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        (HEAD, "belong together", "wanted"), (PART.replace("kind: scoring", "kind: openai"), "belong together", "rows"), (PART.replace("  rows: x.csv\n", ""), "scoring.rows is missing", "sample.csv"),
        (PART.replace("  wanted: approve\n", ""), "which decision an attacker wants", "threshold"), (PART.replace("approve", "{a: 1}"), "no label", "approve"), (PART + "  members: a.csv\n", "belong together", "both"),
        (PART + "  score: result\n  label: '.a[x]'\n", "scoring.label", ".score"), (PART + "  features: {amount: {}}\n  changes: {amunt: {}}\n", "no feature is called 'amunt'", "amount"),
        (PART + "  changes: {a: {share: 0.1, up: 3}}\n", "share stands beside", "one"), (PART + "  changes: {a: {upp: 3}}\n", "no such key: upp", "did you mean 'up'"), (PART + "  changes: {a: {up: -3}}\n", "T.yaml:8", "docs"),
        (PART + "  body: {a: x}\n", "no place for a row", "{{row}}"), (PART + "  batch: 5\n", "holds one row", "{{rows}}"), (PART + "  batch: 0\n", "T.yaml:8", "docs"), (PART + "  thresold: 1\n", "no such key: thresold", "threshold"),
        (PART + "  features: {amount: {}}\n  body: {a: '{{amuont}}'}\n", "nothing is called {{amuont}}", "amount"), (PART + "  features: {a: {kind: colour}}\n", "T.yaml:8", "docs"),
        (PART + "  money: {column: amount, colum: x}\n", "no such key: colum", "column"), (PART + "  threshold: high\n", "T.yaml:8", "docs"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(text: str, says: str, hint: str) -> None:
    with pytest.raises(UsageError, match=re.escape(says)) as told:
        load(text, "T.yaml", {})
    assert hint in told.value.hint and told.value.slug == "bad-target"


@given(st.dictionaries(st.sampled_from([*Scoring.__struct_fields__]), json_values, max_size=4))
@settings(max_examples=100, deadline=None)
def test_any_part_is_read_or_refused_with_a_sentence(part: dict[str, Any]) -> None:
    text = HEAD + "scoring: " + json.dumps({"rows": "x.csv", "wanted": "a"} | part) + "\n"
    try:
        assert load(text, "T.yaml", {}).scoring is not None
    except UsageError as error:
        assert error.hint and error.slug == "bad-target"
