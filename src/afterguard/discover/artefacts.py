"""Model files and model folders, told by content: format, digest, architecture, what they are built on.

In: Parsed (its bytes). Out: model_artifact assets, and the base models that configurations name. Nothing is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

from afterguard.code import artefact
from afterguard.code.parse import Parsed
from afterguard.discover import model_names
from afterguard.discover.sheet import Sheet
from afterguard.model import Asset, AssetKind, Certainty, Edge

_DATA_ONLY = {"numpy", "numpy-zip", "hdf5"}
_STORES = {"faiss": "faiss", "chroma-sqlite": "chroma"}
_LIKELY = ("binary", "json", "text", "manifest")
_NOT_MODELS = (
    ".py",
    ".js",
    ".ts",
    ".md",
    ".html",
    ".css",
    ".csv",
    ".rst",
    ".lock",
    ".gz",
    ".whl",
    ".jar",
    ".exe",
    ".so",
    ".dll",
    ".png",
    ".jpg",
)


def find(parsed: Parsed) -> Iterator[Asset]:
    """The asset a model file is; nothing for other files."""
    source = parsed.source
    lower = source.path.lower()
    if source.kind not in _LIKELY or lower.endswith(_NOT_MODELS) or not source.data:
        return
    if source.kind in ("text", "manifest") and not _may_be_text_model(source.data, lower):
        return
    found = artefact.look(source.data, source.path, source.size)
    if found is None:
        return
    sheet = Sheet(source.path, "artefact")
    if found.format in _STORES:
        sheet.add(AssetKind.vector_store, _STORES[found.format], 0, f"{found.format} file", file=source.path)
    elif found.format not in _DATA_ONLY or _is_model_path(lower):
        _write(sheet, parsed, found)
    yield from sheet.assets


def _may_be_text_model(data: bytes, lower: str) -> bool:
    return (
        data[:14] == b"tree\nversion=v"
        or data[:1] in b"(c]}\x80"
        or b"<PMML" in data[:4096]
        or lower.endswith((".pkl", ".pickle", ".mar"))
    )


def _is_model_path(lower: str) -> bool:
    return any(
        word in lower
        for word in ("model", "weight", "embedding", "checkpoint", "classifier", "encoder", "scaler", "vectorizer")
    )


def _write(sheet: Sheet, parsed: Parsed, found: artefact.Artefact) -> None:
    source, details = parsed.source, found.details
    whole = not source.size or len(source.data) >= source.size
    digest = sha256(source.data).hexdigest()
    edges: list[Edge] = []
    line = 1 if source.kind in ("json", "text") else 0
    base = details.get("base_model", "")
    if base and model_names.is_id(base) and not base.startswith(("/", ".", "~")):
        named = parsed.document.roots[0] if parsed.document is not None and parsed.document.roots else None
        key = (named.get("base_model_name_or_path") or named.get("_name_or_path")) if named is not None else None
        at = key.line if key is not None else line
        edge = sheet.add(model_names.kind_of(base), base, at, f"base model {base}", Certainty.declared)
        edges.append(Edge("trained_on" if found.format == "adapter-config" else "part_of", edge.kind, edge.name))
    sheet.assets.append(
        Asset(
            AssetKind.model_artifact,
            source.path,
            Certainty.declared,
            Sheet(source.path, "artefact").evidence(line, f"{found.format} by content"),
            tuple(edges),
            attributes={
                "format": found.format,
                "digest": f"sha256:{digest}" if whole else f"sha256-first-{len(source.data)}:{digest}",
                "size": str(source.size or len(source.data)),
                **{k: v[:200] for k, v in details.items() if v and k not in ("chat_template", "members", "shape")},
            },
        )
    )
