"""KServe v2 over gRPC through the running guard, with the real tritonclient and a real gRPC server that speaks the service (a stand-in model)."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import predict_servers
import running
from ports import free_port
from test_predicting import KINDS, SCHEMA

from afterguard.errors import Unreachable
from afterguard.guard import probe, probe_reply, probe_request
from afterguard.jobs import judging, prove_grpc

grpc = pytest.importorskip("grpc")
triton = pytest.importorskip("tritonclient.grpc", exc_type=ImportError)
from tritonclient.grpc import service_pb2, service_pb2_grpc  # noqa: E402


class Service(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """The stand-in."""

    asked: list[Any] = []  # noqa: RUF012

    def ServerLive(self, request: Any, context: Any) -> Any:  # noqa: N802
        return service_pb2.ServerLiveResponse(live=True)

    def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.asked.append(request)
        if request.model_name == "none":
            context.abort(grpc.StatusCode.NOT_FOUND, "no such model")
        one = request.inputs[0]
        raw = request.raw_input_contents[0] if request.raw_input_contents else None
        data = np.frombuffer(raw, "<f4") if raw is not None else np.array(one.contents.fp32_contents)
        rows = data.reshape(tuple(one.shape)).tolist()
        scores = np.array([[1 - predict_servers.score(row), predict_servers.score(row)] for row in rows], "<f4")
        reply = service_pb2.ModelInferResponse(model_name=request.model_name, model_version="1", id=request.id)
        out = reply.outputs.add(name="probabilities", datatype="FP32", shape=[len(rows), 2])
        if request.parameters["packed"].bool_param:
            out.contents.fp32_contents.extend(scores.ravel().tolist())
        else:
            reply.raw_output_contents.append(scores.tobytes())
        return reply


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("grpc")
    (folder / "schema.yaml").write_text(SCHEMA)
    server = grpc.server(ThreadPoolExecutor(4))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Service(), server)
    target = server.add_insecure_port("127.0.0.1:0")
    server.start()
    port = free_port()
    policy = running.rules(
        running.rule("features-as-agreed", "block", "request", {"hit.kind": KINDS}),
        running.rule("fewer-digits", "round", "response", {"prediction.rows|gte": 1}, digits=2),
        running.rule("agreed-version", "pin_version", "request", {"exchange.model": "pinned"}, version="4"),
        running.rule("slower", "throttle", "request", {"prediction.feature.x0": 3}),
        running.rule("check", "step_up", "response", {"prediction.feature.x0": 6}),
        head="mode: enforce",
    )
    flags = (
        "--grpc",
        f"fraud@127.0.0.1:{port}=grpc://127.0.0.1:{target}",
        "--schema",
        f"fraud={folder / 'schema.yaml'}",
    )
    try:
        with running.guard("", folder, policy, *flags, mounts={"fraud:kserve": "http://127.0.0.1:9"}) as guard:
            made = triton.InferenceServerClient(f"127.0.0.1:{port}")
            made.guard, made.port, made.target = guard, port, target
            yield made
            made.close()
    finally:
        server.stop(0)


def asked(*rows: list[float]) -> Any:
    values = np.array(rows, dtype=np.float32)
    one = triton.InferInput("x", list(values.shape), "FP32")
    one.set_data_from_numpy(values)
    return one


ROW = [1.0, 2.0, -1.0, 0.5]


def test_other_methods_pass(client: Any) -> None:
    assert client.is_server_live()


def test_scores_are_rounded_in_raw_and_in_packed_contents(client: Any) -> None:
    exact = predict_servers.score(ROW)
    wanted = np.round([[1 - exact, exact], [0.5, 0.5]], 2)
    found = client.infer("fraud", [asked(ROW, [0.0] * 4)])
    assert np.allclose(found.as_numpy("probabilities"), wanted, atol=1e-6)
    packed = client.infer("fraud", [asked(ROW, [0.0] * 4)], parameters={"packed": True}).get_response()
    assert np.allclose(packed.outputs[0].contents.fp32_contents, wanted.ravel(), atol=1e-6)
    lines = running.until(
        lambda: [one for one in client.guard.lines() if one["unmapped"]["afterguard"].get("rows") == 2]
    )
    own = lines[-1]["unmapped"]["afterguard"]
    assert own["scores"] == "rounded" and own["version"] == "1" and lines[-1]["ai_model"]["name"] == "fraud"


def test_what_is_out_of_range_is_refused(client: Any) -> None:
    count = len(Service.asked)
    with pytest.raises(triton.InferenceServerException, match=running.SAYS) as refused:
        client.infer("fraud", [asked([1, 2, 3, 400])])
    assert "INVALID_ARGUMENT" in refused.value.status() and len(Service.asked) == count


def test_throttled_pinned_and_the_servers_own_errors(client: Any) -> None:
    with pytest.raises(triton.InferenceServerException) as refused:
        client.infer("fraud", [asked([3, 2, 3, 4])])
    assert "RESOURCE_EXHAUSTED" in refused.value.status()
    client.infer("pinned", [asked(ROW)], model_version="9")
    assert Service.asked[-1].model_version == "4"
    with pytest.raises(triton.InferenceServerException, match="no such model") as refused:
        client.infer("none", [asked(ROW)])
    assert "NOT_FOUND" in refused.value.status()


def test_hostile_bytes_pass_as_the_route_says_and_are_counted(client: Any) -> None:
    from afterguard.wire.kserve_grpc import METHOD

    with grpc.insecure_channel(f"127.0.0.1:{client.port}") as channel:
        for body in (b"", b"\xff" * 40, b"\x2a\xff\xff\xff\x7f", b"\x2a\x06\x0a\x01x\x1a\x01\x04"):
            with pytest.raises(grpc.RpcError):
                channel.unary_unary(METHOD)(body, timeout=5)
    assert client.guard.metric("afterguard_unjudged_total", "fraud") >= 3 and client.guard.is_alive()


def probing(client: Any, key: bytes, moment: float) -> Any:
    """What comes of a call with the mark of a probe in its metadata: (the call, its decision) or the error."""
    cell = next(probe.cells("kserve"))
    signed = probe.signature(key, probe.named(cell), int(moment)).decode()
    request = service_pb2.ModelInferRequest.FromString(probe_request.MESSAGE)
    with grpc.insecure_channel(f"127.0.0.1:{client.port}") as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        return stub.ModelInfer.with_call(request, metadata=((probe.HEADER.decode(), signed),), timeout=20)


def test_a_probe_is_judged_like_any_call_and_the_model_is_not_asked(client: Any) -> None:
    key = judging.key(client.guard.folder)
    count = len(Service.asked)
    with pytest.raises(grpc.RpcError) as refused:
        probing(client, key, time.time())
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT and running.SAYS in refused.value.details()
    identifier = dict(refused.value.trailing_metadata())["x-afterguard-decision"]
    own = client.guard.decided(identifier, 20)["unmapped"]["afterguard"]
    assert own["probe"] and own["action"] == "block" and len(Service.asked) == count


def test_a_mark_that_the_guard_did_not_seal_is_ordinary_traffic(client: Any) -> None:
    """Another key, one that is too old, and whatever somebody writes: judged, refused where that is due, and shown to the model where not."""
    key = judging.key(client.guard.folder)
    for seal, moment in ((b"x" * 32, time.time()), (key, time.time() - probe.FRESH - 60)):
        with pytest.raises(grpc.RpcError) as refused:
            probing(client, seal, moment)
        identifier = dict(refused.value.trailing_metadata())["x-afterguard-decision"]
        assert "probe" not in client.guard.decided(identifier, 20)["unmapped"]["afterguard"]
    count = len(Service.asked)
    for mark in ("", "1.kserve/predict/features/whole/.00", "x" * 4_000):
        client.infer("fraud", [asked(ROW)], headers={"x-afterguard-probe": mark})
    assert len(Service.asked) == count + 3


def test_guard_prove_finds_every_cell_of_the_port(client: Any) -> None:
    done = prove(client, f"--door=grpc=127.0.0.1:{client.port}", "--format=json")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    cells = [one for one in json.loads(done.stdout)["cells"] if one["door"] == "grpc"]
    assert [one["encoding"] for one in cells] == ["", "gzip"] and {one["mount"] for one in cells} == {"fraud"}
    assert all(one["seen"] and one["acted"] == "block" and one["status"] == 400 for one in cells)
    table = prove(client, f"--door=grpc=127.0.0.1:{client.port}").stdout
    assert "grpc/fraud predict" in table and "GAP" not in table


def test_ports_of_the_settings_are_proven_without_being_named(client: Any, tmp_path: Path) -> None:
    file = tmp_path / "afterguard.toml"
    file.write_text(f'[guard]\ngrpc = ["fraud@:{client.port}=grpc://triton:8001"]\n')
    done = prove(client, f"--config={file}")
    assert done.returncode == 0 and "grpc/fraud predict" in done.stdout, done.stdout[-3000:] + done.stderr


def prove(client: Any, *words: str) -> subprocess.CompletedProcess[str]:
    done: subprocess.CompletedProcess[str] = running.prove(
        client.guard.url[7:], client.guard.folder, *words, cwd=client.guard.folder
    )
    return done


def test_a_server_that_is_no_guard_is_said_to_be_none(client: Any) -> None:
    """Nobody, and the model itself."""
    for port in (free_port(), client.target):
        with pytest.raises(Unreachable, match="no port of the guard"):
            prove_grpc.Door(f"127.0.0.1:{port}").ask(
                "",
                "",
                next(probe.cells("kserve")),
                b"",
                dict.fromkeys(prove_grpc.PASSED, ""),
                probe_reply.Canned("", b"", ""),
            )


def test_the_kill_switch_lets_pass(client: Any) -> None:
    (client.guard.folder / "killed").touch()
    try:
        running.until(lambda: client.guard.metric("afterguard_killed") == 1)
        found = client.infer("fraud", [asked([1, 2, 3, 400])]).as_numpy("probabilities")
        assert abs(found[0, 1] - predict_servers.score([1, 2, 3, 400])) < 1e-6
    finally:
        (client.guard.folder / "killed").unlink()


def test_observed_calls_pass_as_they_are_and_are_judged_afterwards(tmp_path: Path) -> None:
    server = grpc.server(ThreadPoolExecutor(2))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Service(), server)
    target = server.add_insecure_port("127.0.0.1:0")
    server.start()
    port = free_port()
    policy = running.rules(running.rule("no-nan", "block", "request", {"hit.kind": KINDS}), head="mode: observe")
    flags = ("--grpc", f"fraud@127.0.0.1:{port}=grpc://127.0.0.1:{target}")
    try:
        with running.guard("", tmp_path, policy, *flags, mounts={"fraud:kserve": "http://127.0.0.1:9"}) as guard:
            one = triton.InferenceServerClient(f"127.0.0.1:{port}")
            one.infer("fraud", [asked([1.0, 2.0, float("nan"), 4.0])])
            one.close()
            line = running.until(lambda: next(iter(guard.lines()), None))
            own = line["unmapped"]["afterguard"]
            assert own["would"] == "block" and own["action"] == "flag" and own["rows"] == 1
            one = SimpleNamespace(guard=guard, port=port)
            count = len(Service.asked)
            done = prove(one, f"--door=grpc=127.0.0.1:{port}", "--format=json")
            cells = [cell for cell in json.loads(done.stdout)["cells"] if cell["door"] == "grpc"]
            assert done.returncode == 0 and len(cells) == 2 and len(Service.asked) == count
            assert {(cell["acted"], cell["would"], cell["seen"]) for cell in cells} == {("flag", "block", True)}
    finally:
        server.stop(0)
