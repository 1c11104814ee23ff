"""TorchServe: POST /predictions/NAME[/VERSION]. What the body means is the handler's own; JSON is read, an image or a file is opaque.

In: the bytes of a request or a reply and its headers. Out: a table of features; what the reply says, with the places of its scores: usually {"label": probability} or a list.
Source: https://pytorch.org/serve/inference_api.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from afterguard.wire.scores import Place, Told, told
from afterguard.wire.table import Table, Unreadable, of_value
from afterguard.wire.tfserving import opened

Heads = Mapping[bytes, bytes]
ROWS = ("instances", "inputs", "data", "body")


def request(body: bytes, heads: Heads) -> Table:
    """The features of a request."""
    kind = heads.get(b"content-type", b"").lower()
    if b"json" not in kind and body.lstrip()[:1] not in (b"{", b"["):
        raise Unreadable("image" if kind.startswith(b"image/") else "binary")
    value = opened(body)
    for _ in range(2):
        if isinstance(value, dict):
            value = next((value[name] for name in ROWS if isinstance(value.get(name), (list, dict))), value)
    return of_value(value)


def response(body: bytes, heads: Heads) -> Told:
    """Scores and decisions of a reply."""
    if not body.strip():
        raise Unreadable("no_rows")
    value: Any = opened(body)
    if isinstance(value, dict) and "predictions" in value:
        return told([Place("response.predictions", value["predictions"])])
    width = len(value) if isinstance(value, list) else 0
    return told([Place("response", value, width)])
