"""Model files that code names by their address -> model_artifact Assets, named after the file.

In: Facts. Out: Assets for addresses of weights, as whole texts or put together with a literal file name at the end, with the
branch or tag they come from where the address says it. What merely ends like one on disk is left to predictive.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from afterguard.code.syntax import Expr
from afterguard.discover.facts import Facts
from afterguard.discover.reach import Reach
from afterguard.model import Asset, AssetKind, Certainty

_WEIGHTS = re.compile(
    r"(?i)(?:^|/)([\w.@+-]{1,150}\.(?:pt|pth|pte|ckpt|onnx|h5|hdf5|keras|tflite|safetensors|gguf|ggml|caffemodel|mlmodel|mlpackage|pdparams"
    r"|dat|t7|params|engine|mar|litertlm|task))(?:\.(?:zip|bz2|gz|xz))?(?:[?#].*)?$"
)
_COMMON = re.compile(
    r"(?i)(?:pytorch_)?(?:model|weights|checkpoint|adapter_model|consolidated|best|last|latest)[\d.-]*\.\w+$"
)
_DATA = re.compile(r"(?i)\.(?:dat|task|params|engine)$")
_ABOUT = re.compile(
    r"(?i)model|weight|checkpoint|detector|recognition|landmark|embedding|classif|network|mediapipe|tensorrt"
)
MOST = 600


def find(facts: Facts, reach: Reach) -> Iterator[Asset]:
    """Addresses of weights, each place once."""
    seen: set[tuple[str, int]] = set()
    inner: set[int] = set()
    for function, expr in facts.of_kind("join", "text"):
        if expr.kind == "join":
            inner.update(id(part) for part in expr.parts)
        if id(expr) in inner or len(seen) >= MOST:
            continue
        address = _address(facts, expr, function.name)
        found = _WEIGHTS.search(address) if address else None
        if found is None or (_DATA.search(found[1]) and not _ABOUT.search(address)):
            continue
        name = found[1]
        if _COMMON.fullmatch(name):
            name = "/".join(address.split("?")[0].split("/")[-4:])
        if (name, expr.line) not in seen:
            seen.add((name, expr.line))
            reach.mark(function, expr, AssetKind.model_artifact, name)
            sure = Certainty.declared if expr.kind == "text" else Certainty.inferred
            yield facts.asset(AssetKind.model_artifact, name, expr.line, sure, use="fetched", host=_host(address))


def _address(facts: Facts, expr: Expr, function: str) -> str:
    """The address a text is or starts with; "" for anything that is none."""
    if expr.kind == "text":
        text = expr.text.strip()
    else:
        last = expr.parts[-1] if expr.parts else None
        if last is None or last.kind != "text" or not _WEIGHTS.search("/" + last.text):
            return ""
        head = (
            expr.parts[0].text
            if expr.parts[0].kind == "text"
            else facts.literal(_start(facts, expr, function), function)
        )
        text = head + "".join(part.text if part.kind == "text" else "x" for part in expr.parts[1:20])
    return text if re.match(r"(?:https?|hf|s3|gs)://[^\s/]+/", text[:300]) and len(text) < 800 else ""


def _start(facts: Facts, expr: Expr, function: str) -> Expr | None:
    """The literal a joined text starts with, names followed through other joins."""
    for _ in range(4):
        first = expr.parts[0] if expr.parts else None
        if first is None or first.kind == "text":
            return first
        expr = next(iter(facts.resolve(first, function)), first)
        if expr.kind != "join":
            return expr
    return None


def _host(address: str) -> str:
    return address.split("/")[2][:100]
