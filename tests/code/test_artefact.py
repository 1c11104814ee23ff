"""Model files by content: what each format looks like, what only resembles one, and hostile headers."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import pickle
import struct
import zipfile
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.code import artefact
from afterguard.code.members import zip_members
from afterguard.code.pickle_opcodes import walk


class Runs:
    def __reduce__(self) -> Any:
        return os.system, ("id",)


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def array(value: Any, **options: Any) -> bytes:
    out = BytesIO()
    np.save(out, value, **options)
    return out.getvalue()


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def gguf(**facts: str) -> bytes:
    body = b"".join(text(key.replace("__", ".")) + struct.pack("<I", 8) + text(value) for key, value in facts.items())
    listed = text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("b")
    return b"GGUF" + struct.pack("<IQQ", 3, 7, len(facts) + 1) + listed + body


def safetensors(header: dict[str, Any]) -> bytes:
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + b"\0" * 16


PICKLE = pickle.dumps({"coef": [1, 2], "run": Runs()}, 4)
ONNX = b"\x08\x08\x12\x07pytorch\x3a\x12\x0a\x05\x12\x01x\x22\x00\x12\x01gabcdefgh\x42\x04\x0a\x00\x10\x11"
TENSOR = {"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}, "__metadata__": {"format": "pt"}}
SAMPLES: list[tuple[str, bytes, str]] = [
    ("m.pkl", PICKLE, "pickle"),
    ("m.dat", pickle.dumps(Runs(), 0), "pickle"),
    ("m.joblib", zlib.compress(PICKLE), "joblib"),
    ("m.pkl.gz", gzip.compress(PICKLE), "pickle"),
    ("m.pkl", bz2.compress(PICKLE), "pickle"),
    ("m.pkl", lzma.compress(PICKLE), "pickle"),
    ("m.pt", zipped({"m/data.pkl": PICKLE, "m/version": b"3"}), "pytorch"),
    ("m.pt", zipped({"m/data.pkl": PICKLE, "m/code/x.py": b"a"}), "torchscript"),
    ("m.keras", zipped({"config.json": b"{}", "model.weights.h5": b"x", "metadata.json": b"{}"}), "keras"),
    ("m.skops", zipped({"schema.json": b"{}"}), "skops"),
    ("m.mar", zipped({"MAR-INF/MANIFEST.json": b"{}"}), "torchserve"),
    ("m.npz", zipped({"a.npy": array(np.zeros(2))}), "numpy-zip"),
    ("w.npy", array(np.zeros((2, 3))), "numpy"),
    ("anything", gguf(general__architecture="llama", general__name="Tiny"), "gguf"),
    ("x.bin", safetensors(TENSOR), "safetensors"),
    ("x.onnx", ONNX, "onnx"),
    ("x.tflite", b"\x1c\0\0\0TFL3" + b"\0" * 40, "tflite"),
    ("x.h5", b"\x89HDF\r\n\x1a\n" + b"\0" * 64 + b"keras_version", "keras-h5"),
    ("saved_model.pb", b"\x08\x01\x12\x20\x0a\x10" + b"\x0a\x05serve" + b"\0" * 40, "tensorflow-savedmodel"),
    ("m.json", b'{"learner":{"gradient_booster":{}},"version":[1,7,0]}', "xgboost"),
    ("m.ubj", b"{L\0\0\0\0\0\0\0\x07learner{", "xgboost"),
    ("m.txt", b"tree\nversion=v4\nnum_class=1\n", "lightgbm"),
    ("m.cbm", b"CBM1\0\0\0\0", "catboost"),
    ("m.pmml", b'<?xml version="1.0"?>\n<PMML version="4.4">', "pmml"),
    ("m.engine", b"ftrt\0\0\0\0", "tensorrt"),
    ("x.index", b"IxFI\0\0\0\0", "faiss"),
    ("config.json", b'{"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_size":8}', "transformers-config"),
    ("adapter_config.json", b'{"base_model_name_or_path":"meta-llama/Llama-3","peft_type":"LORA"}', "adapter-config"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "data", "form"), SAMPLES, ids=[f"{form}-{name}" for name, _, form in SAMPLES])
def test_formats_are_told_by_content(name: str, data: bytes, form: str) -> None:
    found = artefact.look(data, name, len(data))
    assert found is not None and found.format == form
    if form not in ("coreml", "skops", "keras-h5", "tensorflow-savedmodel", "torchserve"):
        other = artefact.look(data, "renamed.xyz", len(data))
        assert other is not None or name.endswith((".gz", ".json"))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("package.json", b'{"name": "model_type", "version": "1"}'),
        ("config.json", b'{"model_type": "car", "doors": 4}'),
        ("x.zip", zipped({"readme.txt": b"hello"})),
        ("x.npz.txt", b"tree of life"),
        ("x.bin", b"\x08\x01" + bytes(range(64))),
        ("x.png", b"\x89PNG\r\n\x1a\n" + bytes(100)),
        ("x.pdf", b"%PDF-1.7\n(c) somebody"),
        ("x.gz", gzip.compress(b"text only", mtime=0)),
        ("data.xml", b"<root><net/></root>"),
        ("db.sqlite", b"SQLite format 3\0" + bytes(100)),
    ],
)
def test_other_files_are_none(name: str, data: bytes) -> None:
    assert artefact.look(data, name, len(data)) is None


def test_headers_say_what_they_say() -> None:
    found = artefact.look(gguf(general__architecture="llama", general__name="Tiny", tokenizer__chat_template="{{ x }}"))
    assert found is not None
    assert (found.details["architecture"], found.details["name"], found.details["chat_template"]) == (
        "llama",
        "Tiny",
        "{{ x }}",
    )
    config = artefact.look(
        b'{"architectures":["A"],"model_type":"a","auto_map":{"AutoModel":"m.A"},"_name_or_path":"org/base"}'
    )
    assert config is not None and config.details["remote_code"] == "yes" and config.details["base_model"] == "org/base"


@pytest.mark.parametrize(
    "data",
    [
        PICKLE,
        zlib.compress(PICKLE),
        zipped({"a/data.pkl": PICKLE}),
        zipped({"a/data.pkl": PICKLE}, zipfile.ZIP_DEFLATED),
        array(np.array([Runs()], dtype=object), allow_pickle=True),
        zipped({"a.npy": array(np.array([Runs()], dtype=object), allow_pickle=True)}),
    ],
)
def test_pickles_are_found_inside(data: bytes) -> None:
    calls = [one for _, inner in artefact.pickles(data, "m.pkl") for one in walk(inner).imports if one.called]
    assert any(one.name == "system" for one in calls)


def test_a_lying_directory_and_checksum_do_not_hide_a_member() -> None:
    data = bytearray(zipped({"a/data.pkl": PICKLE}))
    data[14:18] = b"\xde\xad\xbe\xef"
    end = data.rfind(b"PK\x01\x02")
    data[end + 46 : end + 56] = b"innocent.x"
    assert [member.data for member in zip_members(bytes(data))] == [PICKLE]
    assert next(member.data for member in zip_members(bytes(data[: end - 3])))[:20] == PICKLE[:20]


def test_bombs_are_cut() -> None:
    bomb = zipped({f"{i}.pkl": b"\0" * (20 << 20) for i in range(6)}, zipfile.ZIP_DEFLATED)
    assert sum(len(member.data) for member in zip_members(bomb, 16 << 20)) <= 100 << 20
    assert artefact.look(zlib.compress(b"\0" * (64 << 20)), "x.joblib") is None


@pytest.mark.parametrize(
    "head", [b"GGUF", b"PK\x03\x04", b"\x93NUMPY", b"\x80\x04", b"{", b"\x08\x03", b"\x78\x9c", b"<PMML", b"\xff" * 8]
)
@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes_after_a_magic(head: bytes, data: bytes) -> None:
    artefact.look(head + data, "x.bin", len(data) + 2)
    list(artefact.pickles(head + data, "x.bin"))


def test_a_header_that_promises_too_much() -> None:
    assert artefact.look(b"GGUF" + struct.pack("<IQQ", 3, 2**63, 2**63) + b"\xff" * 50) is not None
    assert artefact.look(struct.pack("<Q", 2**60) + b"{" + b"x" * 50) is None
