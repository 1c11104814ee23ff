"""Harmless probes that prove the guard looks: requests that carry a mark in one place, and the replies that carry one in another.

In: a mount's kind. Out: its cells (where the mark stands, streamed or not, compressed or not), the mark, the path, the signature. It opens nothing. A probe is signed with the guard's key, so nobody else can
have a request answered here. What is said stands in probe_request.py and probe_reply.py.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

HEADER = b"x-afterguard-probe"
POSE = b"x-afterguard-pose"
FRESH = 300
"""Seconds for which a signature holds."""
PLACES = ("system", "user", "tool_result", "reply", "call", "features")
"""Where the mark stands: three in the request, two in the reply; of a predictive model, among its features."""
IN_REQUEST = PLACES[:3]
KINDS = {
    "system": "secret_in_input",
    "user": "secret_in_input",
    "tool_result": "secret_in_output",
    "reply": "canary_leak",
    "call": "canary_leak",
    "features": "feature_not_finite",
}
"""The hit that proves it was seen."""
PATHS = {
    ("openai", "chat"): "/v1/chat/completions",
    ("openai", "responses"): "/v1/responses",
    ("azure", "chat"): "/openai/deployments/probe/chat/completions",
    ("anthropic", "messages"): "/v1/messages",
    ("gemini", "generate"): "/v1beta/models/probe:generateContent",
    ("bedrock", "converse"): "/model/probe/converse",
    ("ollama", "ollama_chat"): "/api/chat",
    ("mcp", "mcp"): "",
    ("kserve", "predict"): "/v2/models/probe/infer",
    ("tfserving", "predict"): "/v1/models/probe:predict",
    ("mlflow", "predict"): "/invocations",
    ("sagemaker", "predict"): "/endpoints/probe/invocations",
    ("torchserve", "predict"): "/predictions/probe",
    ("scoring", "predict"): "/probe",
    ("litellm", "guardrail"): "/beta/litellm_basic_guardrail_api",
    ("agentgateway", "webhook"): "/request",
    ("otlp", "traces"): "/v1/traces",
}
"""One path for each surface: (kind, operation)."""


ASKED = ("litellm", "agentgateway")
"""Doors that gateways ask: about a request or a reply, never about a stream or in an encoding."""


class Cell(NamedTuple):
    """One thing to prove."""

    kind: str
    operation: str
    place: str
    streamed: bool = False
    encoding: str = ""
    nonce: str = ""
    """What its decision is asked for by, where the probe goes on to a provider and nobody answers it here."""

    def __str__(self) -> str:
        how = ("stream" if self.streamed else "whole") + (f"+{self.encoding}" if self.encoding else "")
        return f"{self.operation} {self.place} {how}"


class Pose(NamedTuple):
    """Whom a probe stands for: a responder who has only the pseudonym of a key can ask what becomes of that key."""

    identity: str = ""
    conversation: str = ""
    note: str = ""
    """What the call in the canned reply says, in a cell whose place is a call."""
    prompt: str = ""
    """Revision of the instructions it runs under, as decisions show it."""


def posed(key: bytes, pose: Pose, moment: int) -> bytes:
    """The value of the header that says it, signed."""
    told = base64.urlsafe_b64encode(msgspec.json.encode([moment, *pose]))
    return told + b"." + _posing(key, told)


def pose_of(value: bytes, key: bytes, now: float) -> Pose | None:
    """Whom a probe stands for, None where it is forged or old."""
    told, _, digest = value.partition(b".")
    if not hmac.compare_digest(_posing(key, told), digest):
        return None
    moment, *stands_for = msgspec.json.decode(base64.urlsafe_b64decode(told))
    return Pose(*stands_for) if abs(now - moment) <= FRESH else None


def _posing(key: bytes, told: bytes) -> bytes:
    return hmac.digest(hmac.digest(key, b"afterguard pose", "sha256"), told, "sha256").hex().encode()


def cells(kind: str) -> Iterator[Cell]:
    """Every cell of a mount of this kind."""
    for known, operation in PATHS:
        if known != kind:
            continue
        if operation == "predict":
            yield from (Cell(kind, operation, "features", encoding=encoding) for encoding in ("", "gzip"))
            continue
        for place in PLACES[:5]:
            if kind == "mcp" and place in ("system", "user", "reply"):
                continue
            if kind in ASKED:
                if kind == "litellm" or place in ("system", "user", "reply"):
                    yield Cell(kind, operation, place)
                continue
            for streamed in (False,) if kind == "otlp" else (False, True):
                for encoding in ("", "gzip"):
                    yield Cell(kind, operation, place, streamed, encoding)


def mirrored(kind: str) -> Iterator[Cell]:
    """Those of a mount that a copy of its requests can show. What an MCP server's mark stands in is a reply."""
    return (cell for cell in cells(kind) if cell.place in IN_REQUEST and not cell.streamed and kind != "mcp")


def shown(kind: str) -> Iterator[Cell]:
    """Those that can be proven where a provider answers: what stands in requests, but for calls of an MCP server, which would do what they say."""
    return (
        cell for cell in cells(kind) if cell.place in (*IN_REQUEST, "features") and not cell.streamed and kind != "mcp"
    )


def signature(key: bytes, cell: str, moment: int) -> bytes:
    """The value of the probe header."""
    told = f"{moment}.{cell}"
    digest = hmac.digest(hmac.digest(key, b"afterguard probe", "sha256"), told.encode(), "sha256").hex()[:32]
    return f"{told}.{digest}".encode()


def verified(value: bytes, key: bytes, now: float) -> Cell | None:
    """The cell of a signed header, None where it is forged or old."""
    head, _, _ = value.rpartition(b".")
    told, _, rest = head.partition(b".")
    moment, name = told.decode("latin-1"), rest.decode("latin-1")
    if not told.isdigit() or len(told) > 15 or abs(now - int(moment)) > FRESH:  # whoever writes it is a stranger yet
        return None
    if not hmac.compare_digest(signature(key, name, int(moment)), value):
        return None
    parts = name.split("/")
    if len(parts) not in (5, 6) or parts[2] not in PLACES:
        return None
    return Cell(parts[0], parts[1], parts[2], parts[3] == "stream", *parts[4:])


def sent(headers: Iterable[tuple[bytes, bytes]], key: bytes, now: float) -> Cell | None:
    """The cell of a request, None where it is no probe."""
    return next((verified(value, key, now) for name, value in headers if name == HEADER), None)


def named(cell: Cell) -> str:
    """The cell as the header spells it."""
    told = (cell.kind, cell.operation, cell.place, "stream" if cell.streamed else "whole", cell.encoding)
    return "/".join((*told, cell.nonce) if cell.nonce else told)


def mark(key: bytes, place: str) -> str:
    """What stands in that place: a key that opens nothing, or a planted token."""
    digest = hmac.digest(key, b"afterguard mark " + place.encode(), "sha256").hex()
    if place in ("reply", "call"):
        return "ref-" + digest[:12]
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    return "AKIA" + "".join(letters[int(digest[n : n + 2], 16) % 32] for n in range(0, 32, 2))


def path(cell: Cell) -> str:
    """Where the probe is sent, below the mount."""
    found = PATHS[cell.kind, cell.operation]
    if cell.kind == "agentgateway" and cell.place == "reply":
        return "/response"
    if cell.kind == "gemini" and cell.streamed:
        return found.replace(":generateContent", ":streamGenerateContent?alt=sse")
    if cell.kind == "bedrock" and cell.streamed:
        return found + "-stream"
    return found + ("?api-version=2024-10-21" if cell.kind == "azure" else "")
