"""The reader of KServe's gRPC messages: against the real stubs of tritonclient where they are installed, and hostile bytes always."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.wire import kserve_grpc, predictive
from afterguard.wire.table import Unreadable

NUMBERS = st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=12).filter(lambda one: len(one) % 2 == 0)


def stubs() -> Any:
    return pytest.importorskip("tritonclient.grpc.service_pb2", exc_type=ImportError)


@settings(max_examples=60, deadline=None)
@given(NUMBERS, st.booleans(), st.integers(0, 4))
def test_requests_and_replies_as_the_stubs_write_them(values: list[float], is_raw: bool, digits: int) -> None:
    made = stubs()
    rows = len(values) // 2
    request = made.ModelInferRequest(model_name="fraud", model_version="3", id="x")
    one = request.inputs.add(name="x", datatype="FP32", shape=[rows, 2])
    text = request.inputs.add(name="c", datatype="BYTES", shape=[rows, 1])
    if is_raw:
        request.raw_input_contents.append(np.array(values, "<f4").tobytes())
        request.raw_input_contents.append(b"".join(b"\x02\0\0\0ab" for _ in range(rows)))
    else:
        one.contents.fp32_contents.extend(values)
        text.contents.bytes_contents.extend([b"ab"] * rows)
    found = kserve_grpc.request(request.SerializeToString())
    assert (found.model, found.version) == ("fraud", "3") and found.table.names == ("x0", "x1", "c")
    assert np.array_equal(found.table.numbers[:, :2].ravel(), np.array(values, "<f4")) and found.table.texts == {
        2: ("ab",) * rows
    }
    again = made.ModelInferRequest.FromString(kserve_grpc.pinned(request.SerializeToString(), "12"))
    assert again.model_version == "12" and again.inputs == request.inputs and again.model_name == "fraud"
    reply = made.ModelInferResponse(model_name="fraud", model_version="3")
    out = reply.outputs.add(name="p", datatype="FP32", shape=[rows, 2])
    label = reply.outputs.add(name="l", datatype="INT64", shape=[rows])
    if is_raw:
        reply.raw_output_contents.append(np.array(values, "<f4").tobytes())
        reply.raw_output_contents.append(np.arange(rows, dtype="<i8").tobytes())
    else:
        out.contents.fp32_contents.extend(values)
        label.contents.int64_contents.extend(range(rows))
    body = reply.SerializeToString()
    said = predictive.response("kserve_grpc", body, {})
    assert said.decisions == tuple(str(n) for n in range(rows)) and len(said.scores) == rows and said.version == "3"
    new, _ = predictive.rescored(body, said, digits, withheld=False)
    read = made.ModelInferResponse.FromString(new)
    data = (
        np.frombuffer(read.raw_output_contents[0], "<f4")
        if is_raw
        else np.array(read.outputs[0].contents.fp32_contents, "<f4")
    )
    assert np.array_equal(data, np.round(np.array(values, "<f4").astype(float), digits).astype("<f4"))
    assert len(new) == len(body) and read.outputs[1] == reply.outputs[1]


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_read_or_refused_with_a_word(body: bytes, is_reply: bool) -> None:
    try:
        if is_reply:
            predictive.response("kserve_grpc", body, {})
        else:
            predictive.request("kserve_grpc", body, {})
    except Unreadable as error:
        assert re.fullmatch(r"[a-z_]{3,30}", str(error)), error


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_messages(data: st.DataObject) -> None:
    made = stubs()
    request = made.ModelInferRequest(model_name="m")
    request.inputs.add(name="x", datatype="FP64", shape=[2, 2]).contents.fp64_contents.extend([1, 2, 3, 4])
    body = bytearray(request.SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        kserve_grpc.request(bytes(body[: data.draw(st.integers(1, len(body)))]))
    except Unreadable:
        pass
