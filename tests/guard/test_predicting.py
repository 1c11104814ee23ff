"""Predictive models through the running guard: what is out of range is refused, scores are rounded or withheld, versions pinned, callers stepped up, held and throttled; with the real tritonclient where it is installed.

The server is a stand-in (predict_servers.py).
"""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import predict_servers  # noqa: E402
import running  # noqa: E402

SCHEMA = """format: afterguard.feature-schema/1
features:
  x0: {kind: number, low: -10, high: 10}
  x1: {kind: number, low: -10, high: 10}
  x2: {kind: number, low: -10, high: 10}
  x3: {kind: number, low: -10, high: 10}
"""
KINDS = ["feature_missing", "feature_extra", "feature_type", "feature_range", "feature_category", "feature_not_finite"]


def policy(*more: str) -> str:
    return running.rules(
        running.rule("features-as-agreed", "block", "request", {"hit.kind": KINDS}),
        running.rule("fewer-digits", "round", "response", {"prediction.rows|gte": 1}, digits=2),
        *more,
        head="mode: enforce",
    )


MORE = (
    running.rule("no-scores-for-this-one", "withhold", "request", {"prediction.feature.x0": 7}),
    running.rule("agreed-version", "pin_version", "request", {"exchange.model": "pinned"}, version="4"),
    running.rule("check-again", "step_up", "response", {"prediction.feature.x0": 6}),
    running.rule("review", "step_up", "request", {"prediction.feature.x0": 5}, answer={"decision": "review"}),
    running.rule("a-person-looks", "ask", "request", {"prediction.feature.x0": 4}),
    running.rule("slower", "throttle", "response", {"prediction.feature.x0": 3}, wait=7),
)


class Pair:
    """A guard and the server behind it."""

    def __init__(self, guard: running.Guard, server: predict_servers.ModelServer) -> None:
        self.guard, self.server = guard, server

    def post(self, path: str, body: Any, **headers: str) -> tuple[int, dict[str, str], bytes]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        told = {"content-type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
        try:
            with urllib.request.urlopen(urllib.request.Request(self.guard.url + path, data, told), timeout=20) as reply:
                return reply.status, {k.lower(): v for k, v in reply.headers.items()}, reply.read()
        except urllib.error.HTTPError as refused:
            return refused.code, {k.lower(): v for k, v in refused.headers.items()}, refused.read()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("predict")
    (folder / "schema.yaml").write_text(SCHEMA)
    kinds = ("kserve", "tfserving", "mlflow", "sagemaker", "torchserve", "scoring")
    with predict_servers.model_server() as server:
        mounts = dict.fromkeys(kinds, server.origin)
        flags = ("--schema", f"kserve={folder / 'schema.yaml'}")
        with running.guard("", folder, policy(*MORE), *flags, mounts=mounts) as guard:
            yield Pair(guard, server)


def infer(*row: Any, name: str = "x", shape: list[int] | None = None) -> dict[str, Any]:
    size = shape or [1, len(row)]
    return {"inputs": [{"name": name, "datatype": "FP32", "shape": size, "data": list(row)}]}


PATH = "/kserve/v2/models/fraud/infer"


def test_a_row_out_of_range_is_refused_in_the_servers_own_words(pair: Pair) -> None:
    before = len(pair.server.asked)
    status, headers, body = pair.post(PATH, infer(1, 2, 3, 400))
    assert status == 400 and running.SAYS in json.loads(body)["error"]
    assert len(pair.server.asked) == before
    line = pair.guard.decided(headers["x-afterguard-decision"])
    own = line["unmapped"]["afterguard"]
    assert own["action"] == "block" and own["rows"] == 1
    assert "x3" in json.dumps(own["hits"]) and own["hits"][0]["kind"] == "feature_range"


def test_scores_are_rounded_and_every_other_byte_stays(pair: Pair) -> None:
    status, headers, body = pair.post(PATH, infer(1, 2, -1, 0.5))
    assert status == 200
    exact = predict_servers.score([1, 2, -1, 0.5])
    found = json.loads(body)
    assert found["outputs"][0]["data"] == [round(1 - exact, 2), round(exact, 2)]
    assert found["outputs"][1]["data"] == [int(exact > 0.5)] and found["model_version"] == "1"
    line = pair.guard.decided(headers["x-afterguard-decision"])
    assert line["unmapped"]["afterguard"]["scores"] == "rounded" and line["unmapped"]["afterguard"]["version"] == "1"
    assert pair.guard.metric("afterguard_rows_total", "kserve") >= 1


@pytest.mark.parametrize(
    "body",
    [
        infer(1, 2, 3),
        infer(1, 2, 3, 4, 5),
        infer(1, "2", 3, 4),
        b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, NaN, 3, 4]}]}',
        b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, -Infinity, 3, 4]}]}',
    ],
)
def test_missing_extra_mistyped_and_infinite_features_are_refused(pair: Pair, body: Any) -> None:
    assert pair.post(PATH, body)[0] == 400


def test_what_lies_about_its_shape_passes_as_the_route_says_and_is_counted(pair: Pair) -> None:
    before = pair.guard.metric("afterguard_unjudged_total", "kserve", "shape_lies")
    pair.post(PATH, infer(1, 2, 3, 4, shape=[1_000_000, 4]))
    pair.post(PATH, infer(1, 2, 3, 4, shape=[2, 4]))
    assert pair.guard.metric("afterguard_unjudged_total", "kserve", "shape_lies") >= before + 1
    assert pair.guard.is_alive()


def test_withheld_scores_keep_the_decision(pair: Pair) -> None:
    found = json.loads(pair.post(PATH, infer(7, 2, -1, 0.5))[2])
    assert found["outputs"][0]["data"] == [0.0, 1.0] and found["outputs"][1]["data"] == [1]


def test_the_agreed_version_answers(pair: Pair) -> None:
    pair.post("/kserve/v2/models/pinned/infer", infer(1, 2, -1, 0.5))
    assert pair.server.asked[-1][0] == "/v2/models/pinned/versions/4/infer"
    pair.post("/kserve/v2/models/pinned/versions/9/infer", infer(1, 2, -1, 0.5))
    assert pair.server.asked[-1][0] == "/v2/models/pinned/versions/4/infer"


def test_step_up_is_a_header_or_the_routes_own_reply(pair: Pair) -> None:
    status, headers, body = pair.post(PATH, infer(6, 2, -1, 0.5))
    assert status == 200 and headers["x-afterguard-step-up"] == "check-again" and b"outputs" in body
    before = len(pair.server.asked)
    status, headers, body = pair.post(PATH, infer(5, 2, -1, 0.5))
    assert status == 200 and json.loads(body) == {"decision": "review"} and headers["x-afterguard-step-up"] == "review"
    assert len(pair.server.asked) == before


def test_a_person_can_let_one_row_pass_once(pair: Pair) -> None:
    from afterguard.cli.app import app

    status, headers, _ = pair.post(PATH, infer(4, 2, -1, 0.5), authorization="Bearer one")
    assert status == 400 and headers["x-afterguard-approval"]
    order = [
        "guard",
        "approve",
        headers["x-afterguard-approval"],
        "--by",
        "ana",
        "--reason",
        "seen",
        "--folder",
        str(pair.guard.folder),
    ]
    assert app(order, result_action="return_value") in (0, None)
    running.until(lambda: pair.post(PATH, infer(4, 2, -1, 0.5), authorization="Bearer one")[0] == 200)
    assert pair.post(PATH, infer(4, 2, -1, 0.5), authorization="Bearer one")[0] == 400
    assert pair.post(PATH, infer(4, 2, -1, 0.4), authorization="Bearer one")[0] == 400


def test_throttled_replies_say_when_to_come_back(pair: Pair) -> None:
    status, headers, _ = pair.post(PATH, infer(3, 2, -1, 0.5))
    assert status == 429 and headers["retry-after"] == "7"


ROW = [1, 2, -1, 0.5]
EXACT = predict_servers.score([1.0, 2.0, -1.0, 0.5])


@pytest.mark.parametrize(
    ("path", "body", "kind", "expected"),
    [
        ("/tfserving/v1/models/fraud:predict", {"instances": [ROW]}, "application/json", json.dumps({"predictions": [[round(1 - EXACT, 2), round(EXACT, 2)]]})),
        ("/mlflow/invocations", {"dataframe_split": {"columns": list("abcd"), "data": [ROW]}}, "application/json", json.dumps({"predictions": [round(EXACT, 2)]})),
        ("/sagemaker/endpoints/fraud/invocations", b"1,2,-1,0.5\n", "text/csv", f"{round(EXACT, 2)}\n"),
        ("/torchserve/predictions/fraud", {"data": [ROW]}, "application/json", json.dumps({"fraud": round(EXACT, 2), "fine": round(1 - EXACT, 2)})),
        ("/scoring/score", {"applicant": dict(zip("abcd", ROW))}, "application/json", json.dumps({"result": {"risk_score": round(EXACT, 2), "decision": "grant"}, "took_ms": 3.25})),
    ],
)  # fmt: skip
def test_every_protocol_is_read_and_rounded(pair: Pair, path: str, body: Any, kind: str, expected: str) -> None:
    status, headers, found = pair.post(path, body, content_type=kind)
    assert status == 200 and found.decode() == expected
    own = pair.guard.decided(headers["x-afterguard-decision"])["unmapped"]["afterguard"]
    assert own["rows"] == 1 and own["scores"] == "rounded" and "unjudged" not in own


def test_the_real_triton_client_with_binary_tensors_both_ways(pair: Pair) -> None:
    http = pytest.importorskip("tritonclient.http", exc_type=ImportError)
    client = http.InferenceServerClient(pair.guard.url[7:] + "/kserve")
    try:
        values = np.array([ROW, [0.1, 0.2, 0.3, 0.4]], dtype=np.float32)
        given = http.InferInput("x", list(values.shape), "FP32")
        given.set_data_from_numpy(values, binary_data=True)
        wanted = http.InferRequestedOutput("probabilities", binary_data=True)
        result = client.infer("fraud", [given], outputs=[wanted])
        scores = result.as_numpy("probabilities")
        exact = [predict_servers.score(row) for row in values.tolist()]
        assert np.allclose(scores[:, 1], np.round(exact, 2), atol=1e-6)
        assert result.as_numpy("label").tolist() == [int(one > 0.5) for one in exact]
        given.set_data_from_numpy(np.array([ROW, [0, 0, 0, 99]], dtype=np.float32), binary_data=True)
        with pytest.raises(Exception, match=running.SAYS):
            client.infer("fraud", [given], outputs=[wanted])
    finally:
        client.close()
