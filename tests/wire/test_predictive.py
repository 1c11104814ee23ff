"""Readers of predictive protocols: what they read, and that hostile bytes are refused with a word and never raise anything else; edits change scores and nothing else."""

from __future__ import annotations

import json
import math
import re
import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.wire import lenient, predictive, scoring
from afterguard.wire.endpoint import endpoint, pinned
from afterguard.wire.scores import Told
from afterguard.wire.splice import Unspliceable
from afterguard.wire.table import Unreadable

DIALECTS = ("kserve", "tfserving", "mlflow", "sagemaker", "torchserve", "scoring")
NUMBER = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**70), 2**70))
SCALAR = st.one_of(st.none(), st.booleans(), NUMBER, st.text(max_size=12))
JSON = st.recursive(
    SCALAR,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=20,
)
KEYS = st.sampled_from(
    ["inputs", "instances", "examples", "context", "dataframe_split", "dataframe_records", "data", "columns", "features", "predictions",
     "outputs", "result", "score", "label", "name", "shape", "datatype", "parameters", "binary_data_size", "signature_name", "index"]
)  # fmt: skip
LIKE = st.recursive(
    st.one_of(SCALAR, st.sampled_from(["FP32", "BYTES", "INT64", "BOOL", "FP16"])),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=5)),
    max_leaves=25,
)


@pytest.mark.parametrize(
    ("kind", "path", "found"),
    [
        ("kserve", "/v2/models/fraud/infer", ("predict", "kserve", "fraud", "")),
        ("kserve", "/v2/models/fr%2Faud/versions/3/infer", ("predict", "kserve", "fr/aud", "3")),
        ("kserve", "/v1/models/fraud:predict", ("predict", "tfserving", "fraud", "")),
        ("tfserving", "/v1/models/m/versions/12:classify", ("predict", "tfserving", "m", "12")),
        ("tfserving", "/v1/models/m/labels/stable:regress", ("predict", "tfserving", "m", "stable")),
        ("mlflow", "/invocations", ("predict", "mlflow", "", "")),
        ("sagemaker", "/endpoints/churn/invocations", ("predict", "sagemaker", "churn", "")),
        ("sagemaker", "/invocations", ("predict", "sagemaker", "", "")),
        ("torchserve", "/predictions/cat/2.0", ("predict", "torchserve", "cat", "2.0")),
        ("scoring", "/api/score", ("predict", "scoring", "api/score", "")),
        ("kserve", "/v2/models/fraud", ("models", "kserve", "", "")),
        ("kserve", "/v2/models/fraud/generate", ("models", "kserve", "", "")),
    ],
)
def test_paths(kind: str, path: str, found: tuple[str, ...]) -> None:
    spot = endpoint(kind, "POST", path)
    assert (spot.operation, spot.dialect, spot.model, spot.version) == found


def test_a_version_is_put_where_the_path_has_a_place() -> None:
    for kind, path, after in (
        ("kserve", "/v2/models/fraud/infer", "/v2/models/fraud/versions/7/infer"),
        ("kserve", "/v2/models/fraud/versions/3/infer", "/v2/models/fraud/versions/7/infer"),
        ("tfserving", "/v1/models/m:predict", "/v1/models/m/versions/7:predict"),
        ("tfserving", "/v1/models/m/labels/x:regress", "/v1/models/m/versions/7:regress"),
        ("torchserve", "/predictions/cat", "/predictions/cat/7"),
        ("mlflow", "/invocations", None),
    ):
        assert pinned(endpoint(kind, "POST", path), path, "7") == after


def table(dialect: str, value: Any, **heads: str) -> Any:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return predictive.request(dialect, body, {k.replace("_", "-").encode(): v.encode() for k, v in heads.items()}).table


def test_rows_of_every_spelling() -> None:
    rows = [[1.5, "a"], [None, "b"]]
    split = table("mlflow", {"dataframe_split": {"columns": ["n", "t"], "data": rows}})
    records = table("mlflow", {"dataframe_records": [{"n": 1.5, "t": "a"}, {"t": "b"}]})
    columns = table("tfserving", {"inputs": {"n": [1.5, None], "t": ["a", "b"]}})
    instances = table("tfserving", {"instances": [{"n": 1.5, "t": "a"}, {"n": None, "t": "b"}]})
    csv = table("sagemaker", b"n,t\n1.5,a\n,b\n", content_type="text/csv")
    for one in (split, records, columns, instances, csv):
        assert one.names == ("n", "t") and one.kinds == ("number", "text") and one.texts == {1: ("a", "b")}
        assert one.numbers[0, 0] == 1.5 and math.isnan(one.numbers[1, 0])
    examples = table("tfserving", {"context": {"shop": "s"}, "examples": [{"n": 1}, {"n": 2}]})
    assert examples.names == ("n", "shop") and examples.texts == {1: ("s", "s")}
    lines = b'{"features": [1, 2]}\n{"features": [3, 4]}\n'
    assert table("sagemaker", lines, content_type="application/jsonlines").numbers.tolist() == [[1, 2], [3, 4]]
    assert table("torchserve", {"data": [[1, 2, 3]]}).names == ("f0", "f1", "f2")


def test_binary_tensors_are_views() -> None:
    data = np.arange(8, dtype="<f4").tobytes() + b"".join(struct.pack("<I", len(one)) + one for one in (b"x", b"yy"))
    head = {
        "inputs": [
            {"name": "x", "datatype": "FP32", "shape": [2, 4], "parameters": {"binary_data_size": 32}},
            {"name": "c", "datatype": "BYTES", "shape": [2, 1], "parameters": {"binary_data_size": 11}},
        ]
    }
    text = json.dumps(head).encode()
    found = table("kserve", text + data, inference_header_content_length=str(len(text)))
    assert found.names == ("x0", "x1", "x2", "x3", "c") and found.texts == {4: ("x", "yy")}
    head["inputs"] = head["inputs"][:1]
    text = json.dumps(head).encode()
    body = text + data[:32]
    alone = table("kserve", body, inference_header_content_length=str(len(text)))
    assert not alone.numbers.flags.owndata and alone.numbers.tolist()[1] == [4, 5, 6, 7]


@pytest.mark.parametrize(
    ("shape", "size", "word"),
    [
        ([2, 4], 31, "shape_lies"), ([2, -4], 32, "shape_lies"), ([1 << 40], 32, "shape_lies"), ([2_000, 2_000], 32, "too_many_cells"),
        ([True, 8], 32, "shape_lies"), ([0, 4], 32, "no_rows"), ([1] * 9, 32, "shape_lies"), ("8", 32, "shape_lies"), ([8], 1 << 60, "shape_lies"), ([8], -1, "shape_lies"),
    ],
)  # fmt: skip
def test_shapes_that_lie(shape: Any, size: int, word: str) -> None:
    text = json.dumps(
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": shape, "parameters": {"binary_data_size": size}}]}
    ).encode()
    with pytest.raises(Unreadable, match=word):
        table("kserve", text + bytes(32), inference_header_content_length=str(len(text)))


def test_huge_rows_take_bounded_memory() -> None:
    tracemalloc.start()
    wide = np.zeros(1_500_000, dtype="<f4").tobytes()
    text = json.dumps(
        {
            "inputs": [
                {
                    "name": "x",
                    "datatype": "FP32",
                    "shape": [1, 1_500_000],
                    "parameters": {"binary_data_size": len(wide)},
                }
            ]
        }
    ).encode()
    found = table("kserve", text + wide, inference_header_content_length=str(len(text)))
    assert len(found.names) < 64 and "x.mean" in found.names
    with pytest.raises(Unreadable, match="too_long"):
        table("kserve", b'{"inputs": [' + b"1," * (50 << 20) + b"1]}")
    with pytest.raises(Unreadable, match="too_many"):
        table("tfserving", {"instances": [[1] * 1_000] * 2_100})
    assert tracemalloc.get_traced_memory()[1] < 400 << 20
    tracemalloc.stop()


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(DIALECTS), st.one_of(JSON, LIKE), st.booleans())
def test_any_json_is_read_or_refused_with_a_word(dialect: str, value: Any, is_reply: bool) -> None:
    _safe(dialect, json.dumps(value).encode("utf-8", "surrogatepass"), {}, is_reply)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(DIALECTS),
    st.binary(max_size=300),
    st.sampled_from([b"", b"0", b"7", b"20", b"-1", b"99999999999999", b"x"]),
    st.booleans(),
)
def test_any_bytes_are_read_or_refused_with_a_word(dialect: str, body: bytes, length: bytes, is_reply: bool) -> None:
    heads = {b"inference-header-content-length": length} if length else {}
    _safe(dialect, body, heads, is_reply)
    _safe(dialect, body, {**heads, b"content-type": b"text/csv"}, is_reply)
    _safe(dialect, body, {**heads, b"content-type": b"application/jsonlines"}, is_reply)


def _safe(dialect: str, body: bytes, heads: dict[bytes, bytes], is_reply: bool) -> None:
    try:
        if not is_reply:
            found = predictive.request(dialect, body, heads).table
            assert found.numbers.shape == (found.rows, len(found.names)) and len(found.kinds) == len(found.names)
            assert all(len(texts) == found.rows for texts in found.texts.values())
            return
        said = predictive.response(dialect, body, heads)
        for withheld in (False, True):
            new, changed = predictive.rescored(body, said, 2, withheld=withheld)
            again = predictive.response(dialect, new, {**heads, **changed})
            assert len(again.scores) == len(said.scores) or withheld
    except Unreadable as error:
        assert re.fullmatch(r"[a-z_]{3,30}", str(error)), error
    except Unspliceable:
        assert is_reply


FLOAT = st.floats(-1e6, 1e6).filter(lambda one: repr(one).count("e") == 0)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(FLOAT, min_size=2, max_size=2), min_size=1, max_size=6),
    st.integers(0, 6),
    st.sampled_from(["", " ", "\n\t"]),
)
def test_rounding_changes_scores_and_nothing_else(rows: list[list[float]], digits: int, blank: str) -> None:
    flat = f",{blank}".join(repr(one) for row in rows for one in row)
    body = f'{{"id":"0.123456789",{blank}"outputs":[{{"name":"p","datatype":"FP64","shape":[{len(rows)},2],"data":[{flat}]}},{{"name":"l","datatype":"INT32","shape":[1],"data":[7]}}],"n":1.23456789}}'.encode()
    said = predictive.response("kserve", body, {})
    new, _ = predictive.rescored(body, said, digits, withheld=False)
    expected = body
    wanted = f",{blank}".join(repr(round(one, digits)) for row in rows for one in row)
    assert new == expected.replace(f"[{flat}]".encode(), f"[{wanted}]".encode())
    hard, _ = predictive.rescored(body, said, -1, withheld=True)
    data = json.loads(hard)["outputs"][0]["data"]
    assert [data[2 * n : 2 * n + 2] for n in range(len(rows))] == [
        [1.0, 0.0] if a >= b else [0.0, 1.0] for a, b in rows
    ]
    assert json.loads(hard)["n"] == 1.23456789


def test_nan_in_a_reply_stays_and_the_rest_is_rounded() -> None:
    body = b'{"predictions": [[0.123, NaN], [-Infinity, 0.987]], "why": "NaN or 0.555"}'
    said = predictive.response("mlflow", body, {})
    assert predictive.rescored(body, said, 1, withheld=False)[0] == body.replace(b"0.123", b"0.1").replace(
        b"0.987", b"1.0"
    )
    assert lenient.decode(b"[NaN]")[1] == ["not_finite"] and lenient.decode(b"[nan]")[1] == ["bad_json"]


def test_withheld_of_every_shape() -> None:
    for dialect, body, after in (
        ("mlflow", b'{"predictions": [0.2, 0.7, 12.5]}', b'{"predictions": [0.0, 1.0, null]}'),
        ("mlflow", b'{"predictions": [0, 1]}', b'{"predictions": [0, 1]}'),
        ("tfserving", b'{"result": [[["a", 0.4], ["b", 0.6]]]}', b'{"result": [[["a", 0.0], ["b", 1.0]]]}'),
        ("torchserve", b'{"cat": 0.9, "dog": 0.1}', b'{"cat": 1.0, "dog": 0.0}'),
        ("sagemaker", b"0.91,0\n0.2,1\n", b"1,0\n0,1\n"),
        ("sagemaker", b'{"predictions": [{"score": 0.9, "predicted_label": 2}]}', b'{"predictions": [{"score": 1.0, "predicted_label": 2}]}'),
    ):  # fmt: skip
        said = predictive.response(dialect, body, {})
        assert predictive.rescored(body, said, -1, withheld=True)[0] == after


def test_a_scoring_api_by_mapping_by_name_and_learned() -> None:
    pairs = [
        ({"meta": {"id": n}, "applicant": {"age": 30 + n, "income": 1000.0 * n, "kind": "new"}}, {"out": {"risk_score": n / 7, "decision": "grant" if n < 4 else "deny"}, "model_version": "3"})
        for n in range(1, 7)
    ]  # fmt: skip
    made = scoring.learn(pairs)
    assert made.features == ".applicant" and made.score == ".out.risk_score" and made.decision == ".out.decision"
    assert made.version == ".model_version" and not made.unsure
    request, reply = (json.dumps(one).encode() for one in pairs[0])
    read = scoring.request(request, {}, made)
    assert read.table.names == ("age", "income", "kind")
    for mapping in (made, None):
        said: Told = scoring.response(reply, {}, mapping)
        assert said.scores == (1 / 7,) and said.decisions == ("grant",)
    assert scoring.learn(pairs[:2]).unsure
    with pytest.raises(ValueError, match="neither"):
        scoring.checked({"version": ".v"})
    with pytest.raises(ValueError, match="score"):
        scoring.checked({"score": "$$["})
