"""Headers of model files read with caps: GGUF, safetensors, ONNX and other protobufs, NumPy, JSON models and configs.

In: bytes, perhaps only the start of a file. Out: small facts as text, or None where the bytes are something else. Lengths in
headers are never trusted further than the bytes at hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from afterguard.code.document import Node
from afterguard.code.json import read as read_json
from afterguard.code.scalar import Errors, decode

_GGUF_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_GGUF_KEPT = {
    "general.architecture": "architecture",
    "general.name": "name",
    "general.basename": "basename",
    "general.license": "license",
    "general.base_model.0.name": "base_model",
    "general.base_model.0.repo_url": "base_model_url",
    "general.file_type": "file_type",
    "tokenizer.chat_template": "chat_template",
}
MAX_ENTRIES = 4096
MAX_HEADER = 16 << 20


def gguf(data: bytes) -> dict[str, str]:
    """Facts of a GGUF header: version, tensors, name, architecture, chat_template (whole, up to 64 KiB)."""
    out = {"version": str(int.from_bytes(data[4:8], "little")), "tensors": str(int.from_bytes(data[8:16], "little"))}
    entries = int.from_bytes(data[16:24], "little")
    at = 24
    for _ in range(min(entries, MAX_ENTRIES)):
        key, at = _gguf_text(data, at)
        kind = int.from_bytes(data[at : at + 4], "little")
        at += 4
        if not key or at >= len(data):
            break
        start = at
        at = _gguf_skip(data, kind, at)
        if key in _GGUF_KEPT:
            if kind == 8:
                out[_GGUF_KEPT[key]] = _gguf_text(data, start)[0]
            elif kind in _GGUF_SIZES:
                out[_GGUF_KEPT[key]] = str(int.from_bytes(data[start : start + _GGUF_SIZES[kind]], "little"))
        if at <= start:
            break
    return out


def _gguf_text(data: bytes, at: int) -> tuple[str, int]:
    length = int.from_bytes(data[at : at + 8], "little")
    if at + 8 + length > len(data):
        return "", len(data)
    return data[at + 8 : at + 8 + min(length, 65536)].decode("utf-8", "replace"), at + 8 + length


def _gguf_skip(data: bytes, kind: int, at: int) -> int:
    """Offset after a value; the end of the data for anything unknown or cut."""
    if kind in _GGUF_SIZES:
        return at + _GGUF_SIZES[kind]
    if kind == 8:
        return _gguf_text(data, at)[1]
    if kind != 9:
        return len(data)
    inner = int.from_bytes(data[at : at + 4], "little")
    count = int.from_bytes(data[at + 4 : at + 12], "little")
    at += 12
    if inner in _GGUF_SIZES:
        return min(len(data), at + count * _GGUF_SIZES[inner])
    if inner != 8:
        return len(data)
    for _ in range(min(count, 2_000_000)):
        if at >= len(data):
            break
        at += 8 + int.from_bytes(data[at : at + 8], "little")
    return min(at, len(data))


def safetensors(data: bytes, size: int) -> dict[str, str] | None:
    """Facts of a safetensors header, None when the bytes are something else."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 10 or length < 2 or length > min(size - 8, 100 << 20) or data[8:9] != b"{":
        return None
    if length > MAX_HEADER or len(data) < 8 + length:
        return {"header_bytes": str(length)} if b'"dtype"' in data[8:65536] else None
    errors: Errors = []
    roots = read_json(decode(data[8 : 8 + length], errors), errors)
    if not roots or roots[0].kind != "map":
        return None
    tensors = [key.text for key, value in roots[0].fields if value.get("dtype") is not None]
    if not tensors and roots[0].get("__metadata__") is None and length > 2:
        return None
    out = {"tensors": str(len(tensors))}
    meta = roots[0].get("__metadata__")
    for key, value in (meta.fields if meta is not None and meta.kind == "map" else ())[:50]:
        if key.text in ("format", "base_model", "ss_base_model_version", "modelspec.architecture", "modelspec.title"):
            out[key.text.rsplit(".", 1)[-1]] = value.text[:200]
    if any(".lora_" in name for name in tensors[:2000]):
        out["adapter"] = "lora"
    return out


def fields(data: bytes, limit: int = 64) -> Iterator[tuple[int, int, int, int]]:
    """Top-level protobuf fields: (number, wire type, value or length, offset of the content)."""
    at = 0
    for _ in range(limit):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if key < 8 or number > 10_000 or wire not in (0, 1, 2, 5):
            return
        if wire in (1, 5):
            yield number, wire, 0, at
            at += 8 if wire == 1 else 4
            continue
        value, start = _varint(data, at)
        if value < 0:
            return
        yield number, wire, value, start
        at = start + (value if wire == 2 else 0)
        if at >= len(data):
            return


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            return -1, at
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    return -1, at


def is_onnx(data: bytes, size: int) -> bool:
    """Whether this is an ONNX ModelProto: a small ir_version first, then a graph or an opset import of plausible length."""
    if data[:1] != b"\x08":
        return False
    seen = list(fields(data))
    if not seen or not 1 <= seen[0][2] <= 20:
        return False
    wrong = any(
        n > 26 or (n in (2, 3, 4, 6, 7, 8, 14, 20, 25) and w != 2) or (w == 2 and v > size - s) for n, w, v, s in seen
    )
    graph = next((one for one in seen if one[0] == 7), None)
    opset = any(n == 8 and v <= 200 for n, _, v, _ in seen)
    producer = next((data[s : s + v] for n, w, v, s in seen if n == 2 and v < 200), b"")
    if wrong or (seen[1:] and seen[1][0] == 2 and not _is_word(producer)):
        return False
    return graph is not None and (opset or bool(producer) or b"\x12" in data[graph[3] : graph[3] + 256])


def onnx(data: bytes) -> dict[str, str]:
    """Producer and domain of an ONNX model."""
    out = {}
    for number, wire, length, start in fields(data):
        if wire == 2 and number in (2, 4) and length < 200:
            out["producer" if number == 2 else "domain"] = data[start : start + length].decode("utf-8", "replace")
    return {key: value for key, value in out.items() if value}


def _is_word(data: bytes) -> bool:
    return all(32 <= byte < 127 for byte in data)


def is_saved_model(data: bytes, size: int) -> bool:
    """Whether this is a TensorFlow SavedModel: schema version 1, then a meta graph that starts with its own info."""
    if data[:3] != b"\x08\x01\x12":
        return False
    length, start = _varint(data, 3)
    return 16 < length <= size - start and data[start : start + 1] == b"\x0a" and b"serve" in data


def is_coreml(data: bytes) -> bool:
    """Whether this is a Core ML model: a small specification version, then a description."""
    seen = list(fields(data, 4))
    return (
        bool(seen) and seen[0][:2] == (1, 0) and 1 <= seen[0][2] <= 15 and any(n == 2 and w == 2 for n, w, _, _ in seen)
    )


def numpy_shape(data: bytes) -> tuple[str, int]:
    """(shape as text, offset of the array's data) of a NumPy file."""
    wide = data[6:7] in (b"\x02", b"\x03")
    length = int.from_bytes(data[8 : 12 if wide else 10], "little")
    start = (12 if wide else 10) + length
    shape = re.search(rb"'shape':\s*(\([\d, ]{0,200}\))", data[: min(start, 4096)])
    return (shape[1].decode() if shape else "", min(start, len(data)))


def structured(data: bytes, name: str) -> tuple[str, dict[str, str]] | None:
    """(format, facts) of a JSON model or model configuration, None for any other JSON."""
    head = data[:65536]
    if b'"learner"' in head and b'"gradient_booster"' in data[: 1 << 20] and b'"version"' in data:
        return "xgboost", {}
    if b'"oblivious_trees"' in head or (b'"model_info"' in head and b'"catboost_version_info"' in data):
        return "catboost", {}
    if (
        b'"architectures"' in head
        or b'"model_type"' in head
        or b'"base_model_name_or_path"' in head
        or b'"_class_name"' in head
    ):
        errors: Errors = []
        roots = read_json(decode(data[: 1 << 20], errors), errors)
        return configuration(roots[0], name) if roots and roots[0].kind == "map" else None
    return None


def configuration(root: Node, name: str) -> tuple[str, dict[str, str]] | None:
    """(format, facts) of a Hugging Face model, adapter or pipeline configuration, by its keys."""
    base = root.string("base_model_name_or_path")
    if base and root.get("peft_type") is not None:
        return "adapter-config", {"base_model": base, "adapter": root.string("peft_type").lower()}
    if root.string("_class_name") and root.get("_diffusers_version") is not None:
        return "diffusers-config", {
            "architecture": root.string("_class_name"),
            "base_model": root.string("_name_or_path"),
        }
    listed = root.get("architectures")
    architectures = [item.text for item in listed.items] if listed is not None and listed.kind == "list" else []
    kind = root.string("model_type")
    marks = (
        "transformers_version",
        "vocab_size",
        "hidden_size",
        "torch_dtype",
        "num_hidden_layers",
        "auto_map",
        "d_model",
    )
    if (architectures or kind) and sum(root.get(mark) is not None for mark in marks) + bool(
        architectures and kind
    ) >= 1:
        facts = {
            "architecture": ",".join(architectures[:4]),
            "model_type": kind,
            "base_model": root.string("_name_or_path"),
            "remote_code": "yes" if root.get("auto_map") is not None else "",
        }
        return "transformers-config", {key: value for key, value in facts.items() if value}
    return None
