"""Predictive models through the running guard: what is out of range is refused, scores are rounded or withheld, versions pinned, callers stepped up, held and throttled; with the real tritonclient where it is installed.

The server is a stand-in (predict_servers.py).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from afterguard.errors import UsageError
from afterguard.guard.part import Place
from afterguard.guard.patrol import Patrol

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

    def approved() -> bool:
        # An entry is put down beside the loop, so it may come a moment after the answer.
        try:
            return app(order, result_action="return_value") in (0, None)
        except UsageError:
            return False

    running.until(approved)
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


class Models:
    """The door alone, in front of a model made of Python."""

    def __init__(self, folder: Path, policy: str, **settings: Any) -> None:
        def answer(asked: Any) -> Any:
            row = json.loads(asked.body)["inputs"][0]["data"]
            found = predict_servers.score(row)
            body = {"model_name": "fraud", "outputs": [{"name": "p", "datatype": "FP64", "shape": [1], "data": [found]}, {"name": "label", "datatype": "INT64", "shape": [1], "data": [int(found > 0.5)]}]}  # fmt: skip
            return running.Said([json.dumps(body).encode()])

        self.door = running.Door(folder, answer, policy, kind="kserve", **settings)
        desk = self.door.proxy.desk
        self.patrol = Patrol(Place(folder, desk.journal, desk.metrics, running.pseudonym), desk.brain.models)
        desk.lookout = self.patrol.saw
        self.chance = np.random.default_rng(7)

    async def ask(self, row: Any, caller: str) -> Any:
        body = json.dumps(infer(*(float(one) for one in row))).encode()
        return await self.door.ask(body, "/openai/v2/models/fraud/infer", (b"authorization", caller.encode()))


@pytest.mark.parametrize("mode", ["enforce", "observe"])
def test_who_walks_around_a_decision_loses_the_scores(tmp_path: Path, mode: str) -> None:
    policy = running.rules(
        running.rule("no-scores-for-walkers", "withhold", "any", {"hit.kind": "evasion_walk"}), head=f"mode: {mode}"
    )
    models = Models(tmp_path, policy, mode=mode)

    async def work() -> tuple[list[Any], Any]:
        for n in range(400):
            await models.ask(models.chance.normal(size=4), f"user{n % 60}")
        point = np.zeros(4)
        walked = [await models.ask(point + 0.1 * models.chance.normal(size=4), "walker") for _ in range(40)]
        await asyncio.sleep(1.1)
        await models.patrol.step(time.time())
        walked.append(await models.ask(point, "walker"))
        return walked, await models.ask(models.chance.normal(size=4), "user1")

    walked, other = models.door.run(work, 60)
    last, usual = (json.loads(one.body)["outputs"][0]["data"][0] for one in (walked[-1], other))
    assert 0 < usual < 1
    kinds = [hit["kind"] for line in models.door.lines() for hit in line["unmapped"]["afterguard"].get("hits", ())]
    assert "evasion_walk" in kinds
    if mode == "enforce":
        assert last in (0.0, 1.0)
        assert models.door.metric("afterguard_scores_changed_total", "withheld") >= 1
    else:
        assert 0 < last < 1 and len(models.door.lines()) == 443


def test_inputs_are_learned_quietly_and_what_is_unlike_is_told(tmp_path: Path) -> None:
    policy = running.rules(
        running.rule("as-usual", "block", "request", {"hit.kind": "feature_range"}), head="mode: enforce"
    )
    models = Models(tmp_path, policy)

    async def work() -> list[Any]:
        first = await models.ask([0, 0, 0, 900.0], "early")
        for n in range(700):
            await models.ask(models.chance.normal(size=4), f"user{n % 60}")
        return [first, await models.ask([0, 0, 0, 900.0], "late"), await models.ask([0.1, 0, 0, 0.3], "late")]

    first, late, usual = models.door.run(work, 60)
    assert (first.status, late.status, usual.status) == (200, 400, 200)
    assert "learned from" in json.dumps(models.door.lines())


@pytest.mark.parametrize(("on_error", "status"), [("open", 200), ("closed", 400)])
def test_scores_that_nobody_can_find_pass_or_are_refused_as_the_route_says(
    tmp_path: Path, on_error: str, status: int
) -> None:
    policy = running.rules(
        running.rule("fewer-digits", "round", "any", {"prediction.rows|gte": 1}), head="mode: enforce"
    )
    door = running.Door(
        tmp_path, lambda _: running.Said([b"<html>0.123</html>"]), policy, kind="kserve", on_error=on_error
    )
    got = door.run(lambda: door.ask(json.dumps(infer(1, 2, 3, 4)).encode(), "/openai/v2/models/fraud/infer"))
    assert got.status == status and door.metric("afterguard_failures_total", "exception:Unspliceable") == 1


def test_a_hundred_megabytes_of_features_are_refused(pair: Pair) -> None:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", pair.guard.port, timeout=30)
    before = pair.guard.rss()
    try:
        connection.putrequest("POST", PATH)
        connection.putheader("content-length", str(100 << 20))
        connection.endheaders()
        try:
            for _ in range(100):
                connection.send(b"1," * (1 << 19))
        except OSError:
            pass
        assert connection.getresponse().status == 413
    except (OSError, http.client.HTTPException):
        pass  # closed while it was sent
    finally:
        connection.close()
    assert pair.guard.is_alive() and pair.guard.rss() - before < 200 << 20
    assert pair.guard.metric("afterguard_failures_total", "too_long") >= 1


def test_a_row_costs_little(pair: Pair) -> None:
    for n in range(60):
        pair.post(PATH, infer(1, 2, -1, n / 100))
    spent = sorted(line["unmapped"]["afterguard"]["judging_ms"] for line in pair.guard.lines()[-50:])
    print(f"judging a row: median {spent[25]:.2f} ms, 95th percentile {spent[47]:.2f} ms")
    assert spent[25] < 50
