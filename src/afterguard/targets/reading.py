"""Bytes of a reply -> its text, calls and usage, or a fixed word that says why there are none.

In: headers and a body, packed or not, in any character set, whole or as a stream. Out: decoded JSON, the events of a stream, or a `Reply`. Pure, and bounded: a body that unpacks to more than the cap is too large.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from afterguard.attack.contract import Call, Reply
from afterguard.model import Origin
from afterguard.wire import encoding, shapes, sse
from afterguard.wire.ndjson import Lines
from afterguard.wire.parts import Parts

CAP = 4 << 20
"""Bytes of a reply, unpacked."""
CHARSETS = {"utf-16": "utf-16", "utf-16le": "utf-16-le", "utf-16be": "utf-16-be", "utf-32": "utf-32", "iso-8859-1": "latin-1", "latin1": "latin-1", "windows-1252": "cp1252", "us-ascii": "latin-1", "shift_jis": "shift_jis", "gb18030": "gb18030", "gbk": "gb18030", "euc-jp": "euc_jp", "euc-kr": "euc_kr", "big5": "big5"}  # fmt: skip
"""Character sets that are read; some of Python's others take quadratic time."""
MARKS = ((b"\xff\xfe\x00\x00", "utf-32"), (b"\x00\x00\xfe\xff", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))  # fmt: skip
CHARSET = re.compile(r"charset\s*=\s*\"?([\w.-]{1,40})", re.I)
THOUGHT = re.compile(r"\.(thinking|thinking_blocks|reasoning|reasoning_content|reasoning_details|reasoningContent|summary|thought)\b")  # fmt: skip
"""Places of what the model thought; what it said is judged."""
LAST = ("message_stop", "response.completed", "response.failed", "response.incomplete")
"""Types of events after which nothing comes."""


FILTERED = frozenset({"content_filter", "content_filtered", "guardrail_intervened", "refusal", "SAFETY", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII"})  # fmt: skip
"""Reasons for an end: a filter beside the model withheld the rest."""


BEGINS = (b"data", b"event", b"id", b"retry", b":", b"\xef\xbb\xbf")
HEAD = 5
"""Bytes that show whether a body is a stream of events."""


class Unreadable(Exception):
    """Why, in a word of trial.ERRORS."""


def plain(headers: Mapping[str, str], body: bytes, cap: int = CAP) -> str:
    """The text of a body. Raises Unreadable."""
    try:
        data = encoding.decoded(body, headers.get("content-encoding", ""), cap)
    except encoding.BadEncoding as error:
        raise Unreadable({"too_long": "too-large", "truncated": "broken-off"}.get(str(error), "unreadable")) from None
    if len(data) > cap:
        raise Unreadable("too-large")
    named = CHARSET.search(headers.get("content-type", ""))
    charset = next((name for mark, name in MARKS if data.startswith(mark)), CHARSETS.get(named[1].lower() if named else "", "utf-8-sig"))  # fmt: skip
    try:
        return data.decode(charset)
    except UnicodeError:
        raise Unreadable("unreadable") from None


def decoded(text: str) -> Any:
    """JSON. Raises Unreadable."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        raise Unreadable("unreadable") from None


def is_stream(headers: Mapping[str, str], text: str) -> bool:
    """Whether a body is a stream of events, or of lines."""
    kind = headers.get("content-type", "").lower()
    return "event-stream" in kind or "ndjson" in kind or "jsonl" in kind or sse.is_stream(text)


def events(text: str) -> tuple[list[Any], bool]:
    """The decoded events of a stream, and whether it said that it is at its end. Raises Unreadable."""
    out: list[Any] = []
    is_done = False
    for data in _datas(text):
        if data.strip() == "[DONE]":
            is_done = True
            break
        if data.strip():
            out.append(decoded(data))
    return out, is_done or any(map(is_last, out))


def datas(text: str) -> str:
    """The data of a stream whose pieces are no JSON."""
    out: list[str] = []
    for data in _datas(text):
        if data.strip() == "[DONE]":
            break
        out.append(data)
    return "".join(out)


def _datas(text: str) -> Iterable[str]:
    data = text.encode("utf-8", "replace")
    if sse.is_stream(text):
        reader = sse.Events(CAP)
        return (event.data for event in (*reader.feed(data), *reader.close()))
    lines = Lines(CAP)
    return (line.decode("utf-8", "replace") for line in (*lines.feed(data), *lines.close()))


def is_last(event: Any) -> bool:
    """Whether a provider's reply is whole with this event; a count of tokens may still come."""
    if not isinstance(event, dict):
        return False
    if event.get("type") in LAST or event.get("done") is True or "messageStop" in event:
        return True
    return any(
        isinstance(one, dict) and (one.get("finish_reason") or one.get("finishReason")) for one in _listed(event)
    )


def _listed(found: dict[str, Any]) -> list[Any]:
    """The answers side by side in a reply or an event."""
    listed = found.get("choices") or found.get("candidates")
    return listed if isinstance(listed, list) else []


def is_filtered(found: Any) -> bool:
    """Whether a reply, or an event of one, says that a filter withheld it."""
    if not isinstance(found, dict):
        return False
    inner = found.get("delta")
    reasons = [found.get("stop_reason"), found.get("stopReason"), inner.get("stop_reason") if isinstance(inner, dict) else None]  # fmt: skip
    stop, feedback = found.get("messageStop"), found.get("promptFeedback")
    reasons.append(stop.get("stopReason") if isinstance(stop, dict) else None)
    reasons.append("SAFETY" if isinstance(feedback, dict) and feedback.get("blockReason") else None)
    for one in _listed(found):
        if isinstance(one, dict):
            reasons += [one.get("finish_reason"), one.get("finishReason")]
    return any(isinstance(reason, str) and reason in FILTERED for reason in reasons)


class Ending:
    """Sees the pieces of a body, and says when a stream of events has come to its end though its server leaves it open. `last` says of an event's data whether it is the last."""

    def __init__(self, last: Callable[[str], bool] | None = None) -> None:
        self._last = last
        self._events: sse.Events | None = sse.Events(CAP)
        self._head: bytes | None = b""

    def __call__(self, piece: bytes) -> bool:
        if self._events is None:
            return False
        if self._head is not None:
            self._head += piece
            if len(self._head.lstrip()) < HEAD:
                return False  # Too little to tell; a body that ends here needs no end.
            piece, self._head = self._head, None
            if not piece.lstrip().startswith(BEGINS):
                self._events = None  # Some other body: nothing to look for.
                return False
        return any(self._is_end(event) for event in self._events.feed(piece))

    def _is_end(self, event: sse.Event) -> bool:
        if event.name in LAST or event.data.strip() == "[DONE]" or (self._last and self._last(event.data)):
            return True
        if not any(name in event.data for name in LAST):
            return False
        try:
            return decoded(event.data).get("type") in LAST
        except (Unreadable, AttributeError):
            return False


def provider(headers: Mapping[str, str], body: bytes) -> Reply:
    """The reply of any provider's protocol, whole or streamed."""
    try:
        text = plain(headers, body)
        if not is_stream(headers, text):
            whole = decoded(text)
            return Reply(text[:2_000], is_blocked=True) if is_filtered(whole) else said(whole)
        found, is_whole = events(text)
        if any(map(is_filtered, found)):
            return Reply(text[:2_000], is_blocked=True)
        if any(isinstance(one, dict) and one.get("error") and "choices" not in one for one in found):
            return Reply(error="server-error")
        return said(found) if is_whole else Reply(error="broken-off" if found else "unreadable")
    except Unreadable as why:
        return Reply(error=str(why))


def said(found: Any) -> Reply:
    """What decoded JSON, or the events of a stream, say."""
    parts = Parts()
    for one in found if isinstance(found, list) else (found,):
        _forget_thoughts(one)
    try:
        shape = shapes.response(found, parts)
    except (TypeError, ValueError, AttributeError, KeyError, IndexError, RecursionError):
        shape = ""
    if not shape:
        return Reply(error="unreadable")
    return of(parts)


def _forget_thoughts(event: Any) -> None:
    """Google marks what the model thought; where it stands does not tell."""
    candidates = event.get("candidates") if isinstance(event, dict) else None
    for one in candidates if isinstance(candidates, list) else ():
        content = one.get("content") if isinstance(one, dict) else None
        parts = content.get("parts") if isinstance(content, dict) else None
        if isinstance(content, dict) and isinstance(parts, list):
            content["parts"] = [part for part in parts if not (isinstance(part, dict) and part.get("thought") is True)]


def of(parts: Parts) -> Reply:
    """What was said and called, as `wire` put it down."""
    text = "".join(one.value for one in parts.texts if one.origin is Origin.model and not THOUGHT.search(one.where))
    calls = tuple(Call(one.name, one.arguments) for one in parts.calls)
    return Reply(text, calls, tokens_in=parts.input_tokens or 0, tokens_out=parts.output_tokens or 0)
