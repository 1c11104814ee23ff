"""Predictive models over HTTP: which protocol a path belongs to, and its reader.

In: the kind of a mount, method and path; bodies with their headers. Out: (operation, dialect, model, version) of a path; tables and what replies say; a path with another version. Whatever cannot be read raises Unreadable, never anything else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol
from urllib.parse import quote, unquote

from afterguard.wire import kserve, kserve_grpc, mlflow, sagemaker, scoring, tfserving, torchserve
from afterguard.wire.sagemaker import Cell
from afterguard.wire.scores import Place, Raw, Told, changed, put
from afterguard.wire.scoring import Read, Scoring
from afterguard.wire.table import Table, Unreadable

KINDS = ("kserve", "tfserving", "mlflow", "sagemaker", "torchserve", "scoring")
"""Kinds of mounts behind which predictive models stand."""
NAME = 256
Heads = Mapping[bytes, bytes]


class Reader(Protocol):
    """What one protocol's file offers."""

    def request(self, body: bytes, heads: Heads) -> Table:
        """The features of a request."""

    def response(self, body: bytes, heads: Heads) -> Told:
        """Scores and decisions of a reply."""


READERS: dict[str, Reader] = {
    "kserve": kserve,
    "tfserving": tfserving,
    "mlflow": mlflow,
    "sagemaker": sagemaker,
    "torchserve": torchserve,
}


class Spot(NamedTuple):
    """What a path is for."""

    operation: str
    """predict, models (about models), other."""
    dialect: str
    model: str = ""
    version: str = ""


def spot(kind: str, method: str, raw: Sequence[str]) -> Spot:
    """What the segments of a path are for. The path says which protocol it is, whatever the kind of the mount."""
    found = _spot(kind, raw)
    if found.operation == "predict" and method.upper() not in ("POST", "PUT"):
        return found._replace(operation="models")
    return found


def _spot(kind: str, raw: Sequence[str]) -> Spot:
    if raw[:2] == ["v2", "models"] and len(raw) >= 4 and raw[-1] == "infer":
        version = _name(raw[4]) if len(raw) >= 6 and raw[3] == "versions" else ""
        return Spot("predict", "kserve", _name(raw[2]), version)
    if raw[:2] == ["v1", "models"] and len(raw) >= 3:
        last, colon, verb = raw[-1].rpartition(":")
        if colon and verb in ("predict", "classify", "regress"):
            if len(raw) == 3:
                return Spot("predict", "tfserving", _name(last))
            return Spot("predict", "tfserving", _name(raw[2]), _name(last))
    if raw[-1:] == ["invocations"]:
        model = _name(raw[-2]) if len(raw) >= 2 and raw[-3:-2] == ["endpoints"] else ""
        return Spot("predict", "sagemaker" if model or kind == "sagemaker" else "mlflow", model)
    if raw[:1] == ["predictions"] and len(raw) in (2, 3):
        return Spot("predict", "torchserve", _name(raw[1]), _name(raw[2]) if len(raw) == 3 else "")
    if kind == "scoring":
        return Spot("predict", "scoring", "/".join(raw)[:NAME])
    is_shelf = raw[:2] in (["v2", "models"], ["v1", "models"], ["v2", "repository"]) or raw[:1] == ["models"]
    return Spot("models" if is_shelf or raw[:1] == ["v2"] else "other", kind)


def pinned(kind: str, raw: Sequence[str], version: str) -> list[str] | None:
    """The segments with the version in them; None where such a path has no place for one."""
    found = _spot(kind, raw)
    name = quote(version, safe="-._~")
    if found.operation != "predict":
        return None
    if found.dialect == "kserve":
        return [*raw[:3], "versions", name, "infer"]
    if found.dialect == "tfserving":
        verb = raw[-1].rpartition(":")[2]
        model = raw[2].rpartition(":")[0] if len(raw) == 3 else raw[2]
        return [*raw[:2], model, "versions", f"{name}:{verb}"]
    return [*raw[:2], name] if found.dialect == "torchserve" else None


def request(dialect: str, body: bytes, heads: Heads, mapping: Scoring | None = None) -> Read:
    """The features of a request. Raises Unreadable."""
    try:
        if dialect == "scoring":
            return scoring.request(body, heads, mapping)
        if dialect == "kserve_grpc":
            asked = kserve_grpc.request(body)
            return Read(asked.table, "", asked.model, asked.version)
        return Read(READERS[dialect].request(body, heads))
    except (RecursionError, MemoryError):
        raise Unreadable("too_deep") from None


def response(dialect: str, body: bytes, heads: Heads, mapping: Scoring | None = None) -> Told:
    """What a reply says. Raises Unreadable."""
    try:
        if dialect == "scoring":
            return scoring.response(body, heads, mapping)
        if dialect == "kserve_grpc":
            return kserve_grpc.response(body)
        return READERS[dialect].response(body, heads)
    except (RecursionError, MemoryError):
        raise Unreadable("too_deep") from None


def rescored(body: bytes, said: Told, digits: int, *, withheld: bool) -> tuple[bytes, dict[bytes, bytes]]:
    """(the reply with its scores rounded or withheld, headers that change with it). Raises Unspliceable."""
    cells = [one for one in said.places if isinstance(one, Cell)]
    if cells:
        return put(
            body, [(one.start, one.end, _spelled(body[one.start : one.end], digits, withheld)) for one in cells]
        ), {}
    size = said.head
    if size < 0:
        return changed(body, said.places, digits, withheld=withheld), {}
    # The JSON in front may become shorter or longer; what is raw keeps its size.
    head = changed(body[:size], [one for one in said.places if isinstance(one, Place)], digits, withheld=withheld)
    raw = [one for one in said.places if isinstance(one, Raw)]
    rest = changed(body, raw, digits, withheld=withheld)[size:]
    return head + rest, {kserve.LENGTH: b"%d" % len(head)}


def _spelled(number: bytes, digits: int, withheld: bool) -> bytes:
    value = float(number)
    if withheld:
        return b"%d" % (value >= 0.5) if 0 <= value <= 1 else b""
    return repr(round(value, max(0, digits))).encode()


def _name(raw: str) -> str:
    return unquote(raw[: 3 * NAME], errors="replace")[:NAME]
