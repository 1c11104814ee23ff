"""What kind of model a file is, told by its content; headers read, nothing loaded.

In: bytes (perhaps only the first part) and the name, which decides only between formats that look alike. Out: an
`Artefact` with the format and what its header says, or None. `pickles` gives every pickle inside, whatever wraps it.
Formats as their projects document them: GGUF (ggml), safetensors, ONNX, TFLite, HDF5, NumPy, PyTorch, XGBoost and others.
"""

from __future__ import annotations

import bz2
import lzma
import re
from collections.abc import Iterator

import msgspec

from afterguard.code.artefact_header import (
    gguf,
    is_coreml,
    is_onnx,
    is_saved_model,
    numpy_shape,
    onnx,
    safetensors,
    structured,
)
from afterguard.code.members import inflate, tar_members, zip_members, zip_names
from afterguard.code.pickle_opcodes import is_pickle, streams
from afterguard.model import Source

PICKLE_NAMES = (
    ".pkl",
    ".pickle",
    ".p",
    ".dill",
    ".joblib",
    ".pt",
    ".pth",
    ".ckpt",
    ".bin",
    ".sav",
    ".model",
    ".dat",
    ".npy",
)
UNPACKED = 16 << 20


class Artefact(msgspec.Struct, frozen=True):
    """A recognised model file. `details`: architecture, name, base_model, members, shape, framework, as the header says."""

    format: str
    details: dict[str, str] = {}


_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"GGUF", "gguf"),
    (b"tjgg", "ggml"),
    (b"lmgg", "ggml"),
    (b"fmgg", "ggml"),
    (b"\x93NUMPY", "numpy"),
    (b"\x89HDF\r\n\x1a\n", "hdf5"),
    (b"CBM1", "catboost"),
    (b"ftrt", "tensorrt"),
    (b"ptrt", "tensorrt"),
    (b"RKNN", "rknn"),
    (b"\xba\x16\x4f\x2f", "fasttext"),
    (b"IxFI", "faiss"),
    (b"IxF2", "faiss"),
    (b"IwFl", "faiss"),
    (b"IwPQ", "faiss"),
    (b"IHNf", "faiss"),
    (b"IxMp", "faiss"),
    (b"IxM2", "faiss"),
    (b"{L\0\0\0\0\0\0\0\x07learner", "xgboost"),
    (b"binf", "xgboost"),
    (b"tree\nversion=v", "lightgbm"),
    (b"\x12\x01\0\0\0\0\0\0", "mxnet"),
)


def recognise(source: Source) -> str:
    """The format of a model file, "" for anything else."""
    found = look(source.data, source.path, source.size)
    return found.format if found is not None else ""


def look(data: bytes, path: str = "", size: int = 0) -> Artefact | None:
    """The artefact these bytes are, or None. `size` is the size of the whole file where the bytes are only its start."""
    name = path.rsplit("/", 1)[-1].lower()
    for magic, form in _MAGIC:
        if data.startswith(magic):
            return _detailed(form, data, name)
    if data[4:8] == b"TFL3":
        return Artefact("tflite")
    if data[4:6] == b"ET" and data[6:8].isdigit():
        return Artefact("executorch")
    if data[:4] == b"PK\x03\x04":
        return _zip(data, name)
    if data[:6] == b"MZqFpD" and (name.endswith(".llamafile") or b"llamafile" in data):
        return Artefact("llamafile")
    header = safetensors(data, size or len(data))
    if header is not None:
        return Artefact("safetensors", header)
    if is_pickle(data):
        return _pickle(data, name)
    return _protobuf(data, name, size or len(data)) or _text(data, name) or _wrapped(data, name)


def pickles(data: bytes, path: str = "") -> Iterator[tuple[str, bytes]]:
    """(where, bytes) of every pickle inside: the file itself, members of archives, compressed and NumPy object data."""
    if data[:4] == b"PK\x03\x04":
        for member in zip_members(data, UNPACKED):
            yield from ((f"{member.name}{inner}", found) for inner, found in _inside(member.data, member.name))
    elif data[257:262] == b"ustar":
        for member in tar_members(data, UNPACKED):
            yield from ((f"{member.name}{inner}", found) for inner, found in _inside(member.data, member.name))
    else:
        yield from _inside(data, path)


def _inside(data: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    if is_pickle(data):
        yield "", data
    elif data[:6] == b"\x93NUMPY":
        _, start = numpy_shape(data)
        if b"'O'" in data[:start] or b"|O" in data[:start]:
            yield "", data[start:]
    else:
        unpacked = _unpack(data)
        if unpacked and is_pickle(unpacked):
            yield "", unpacked
        elif data[:4] != b"PK\x03\x04" and name.lower().endswith(PICKLE_NAMES) and data[:1] in b"\x80(c]}":
            yield "", data


def _unpack(data: bytes) -> bytes:
    """The first bytes of compressed data as joblib writes it: zlib, gzip, bzip2 or xz."""
    try:
        if data[:1] == b"\x78" or data[:2] == b"\x1f\x8b":
            return inflate(data, UNPACKED)[0]
        if data[:3] == b"BZh":
            return bz2.BZ2Decompressor().decompress(data, UNPACKED)
        if data[:6] == b"\xfd7zXZ\0" or data[:3] == b"\x5d\0\0":
            return lzma.LZMADecompressor(memlimit=256 << 20).decompress(data, UNPACKED)
    except (OSError, EOFError, ValueError, lzma.LZMAError):
        return b""
    return b""


def _detailed(form: str, data: bytes, name: str) -> Artefact:
    if form == "gguf":
        return Artefact("gguf", gguf(data))
    if form == "numpy":
        return Artefact("numpy", {"shape": numpy_shape(data)[0]})
    if form == "hdf5":
        keras = b"keras_version" in data or b"model_config" in data or b"layer_names" in data
        return Artefact("keras-h5" if keras else "hdf5")
    return Artefact(form)


def _zip(data: bytes, name: str) -> Artefact | None:
    names = zip_names(data)
    last = {one.rsplit("/", 1)[-1] for one in names}
    details = {"members": str(len(names))}
    if "data.pkl" in last:
        return Artefact("torchscript" if any("/code/" in one for one in names) else "pytorch", details)
    if "config.json" in last and any(one.endswith(".weights.h5") for one in names):
        return Artefact("keras", details)
    if "schema.json" in last and (name.endswith(".skops") or any(one.endswith(".npy") for one in names)):
        return Artefact("skops", details)
    if any("MAR-INF/" in one for one in names):
        return Artefact("torchserve", details)
    if names and all(one.endswith(".npy") for one in names):
        return Artefact("numpy-zip", details)
    if any(one.endswith(".pkl") for one in names) and name.endswith((".zip", ".pt", ".pth", ".bin", ".ckpt")):
        return Artefact("pickle-zip", details)
    return None


def _pickle(data: bytes, name: str) -> Artefact:
    modules: dict[str, None] = {}
    protocol = 0
    for found in streams(data):
        protocol = max(protocol, found.protocol)
        modules.update((one.module.split(".")[0], None) for one in found.imports)
    details = {"protocol": str(protocol)}
    libraries = [
        m
        for m in modules
        if m and m not in ("builtins", "__builtin__", "copyreg", "copy_reg", "collections", "_codecs")
    ]
    if libraries:
        details["modules"] = ",".join(libraries[:12])
    if b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19" in data[:64]:
        return Artefact("pytorch-legacy", details)
    return Artefact("joblib" if "joblib" in modules else "pickle", details)


def _protobuf(data: bytes, name: str, size: int) -> Artefact | None:
    if is_onnx(data, size):
        return Artefact("onnx", onnx(data))
    if is_saved_model(data, size):
        return Artefact("tensorflow-savedmodel")
    if name.endswith(".mlmodel") and is_coreml(data):
        return Artefact("coreml")
    if name.endswith(".pb") and data[:1] == b"\x0a" and (b"Placeholder" in data or b"\x12\x05Const" in data):
        return Artefact("tensorflow-graph")
    return None


def _text(data: bytes, name: str) -> Artefact | None:
    head = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    if head[:1] == b"<":
        if re.search(rb"<PMML[\s>]", head):
            return Artefact("pmml")
        if name.endswith(".xml") and re.search(rb"<net\s+name=\"[^\"]*\"\s+version=\"\d+\"", head):
            return Artefact("openvino")
        return None
    if head[:1] == b"{":
        found = structured(data, name)
        return Artefact(found[0], found[1]) if found else None
    return None


def _wrapped(data: bytes, name: str) -> Artefact | None:
    if data[257:262] == b"ustar":
        names = {member.name.rsplit("/", 1)[-1] for member in tar_members(data, 0)}
        if "model_config.yaml" in names and any(one.endswith((".ckpt", ".pt")) for one in names):
            return Artefact("nemo", {"members": str(len(names))})
        return Artefact("pytorch-legacy") if {"sys_info", "pickle", "tensors"} <= names else None
    unpacked = _unpack(data)
    if unpacked and is_pickle(unpacked):
        inner = _pickle(unpacked, name)
        compressed = name.endswith((".joblib", ".z")) or inner.format == "joblib"
        return Artefact("joblib" if compressed else "pickle", {**inner.details, "compressed": "yes"})
    if data.startswith(b"SQLite format 3\0") and b"embeddings_queue" in data:
        return Artefact("chroma-sqlite")
    return None
