"""A streamed reply inside the guard: frames, what may leave of them, and the reply put together.

In: chunks of a reply, and what the session knows. Out: bytes that may leave now; the legal end where it has to end. It waits for nothing: what has to be judged as the reply grows is judged
at once, behind the cheap prefilter; the whole reply is judged by the door before its end leaves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from afterguard.detect import prefilters
from afterguard.guard.approvals import MARK
from afterguard.model import ACTIONS, Action, Hit, Origin, Text, ToolCall, Trust, Verdict
from afterguard.wire import learned, mcp
from afterguard.wire.deltas import Deltas
from afterguard.wire.encoding import BadEncoding, decoder
from afterguard.wire.frames import Frame, framer
from afterguard.wire.mapped import Mapped
from afterguard.wire.opening import Opening
from afterguard.wire.refusal import CODE, endings
from afterguard.wire.release import DROP, Release
from afterguard.wire.spoken import spoken, whole

if TYPE_CHECKING:
    from afterguard.guard.session import Session

CAP = 32 << 20
"""Bytes of a decoded reply that are read; what is longer is unjudged."""


BESIDE = {"messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"}
"""Events of Converse, whose type stands in a header and not in the JSON."""


class Stopped(Exception):
    """A stream has to end here."""


class Stream:
    """A streamed reply: frames, what may leave, and the reply put together."""

    def __init__(self, session: Session, content_type: str, encoding: str = "") -> None:
        self.session = session
        self.decoder = decoder(encoding, CAP) if encoding and encoding != "identity" else None
        self.frames = framer(session.spot.dialect, content_type)
        if session.mapping is not None:
            self.frames.reader.main = Mapped(session.mapping)
        self.release = Release(self._look)
        self.deltas = Deltas()
        self.messages: list[Any] = []
        self.size = 0
        self.names: dict[str, tuple[str, str]] = {}
        self.last: list[Frame] = []
        array = "json" in content_type and session.spot.dialect == "gemini"
        self.opening = Opening(session.spot.dialect, array, rpc_id(session.asked))
        self.said = ""
        self.refusal = ""
        """What is said where every call was taken out and the model said nothing else."""
        self.has_said = False
        """Whether a text or a call of the model's is left."""
        self.rest: list[bytes] | None = None
        """What had not left when something failed."""
        self.is_stopped = False
        wanted = session.asked.get("n") if isinstance(session.asked, dict) else None
        self.is_single = wanted is None or wanted == 1
        self.is_tool = session.spot.dialect == "mcp"
        """Whether a tool speaks here, not the model."""
        self.tool = session.parts.tool_name(str(rpc_id(session.asked))) if self.is_tool else ""
        self._gate = prefilters()[Origin.tool if self.is_tool else Origin.model] if session.brain.detectors else None

    def feed(self, chunk: bytes) -> list[bytes]:
        """Bytes that may leave now."""
        if self.is_stopped:
            return []
        return self._frames(self.frames.feed(self.decoder.feed(chunk) if self.decoder else chunk))

    def watch(self, reply: bytes) -> None:
        """Read a reply that has passed."""
        for frame in (*self.frames.feed(reply), *self.frames.close()):
            self._learn(frame)
        self._put_together()

    def _frames(self, frames: Iterable[Frame]) -> list[bytes]:
        out: list[bytes] = []
        frames = list(frames)
        for number, frame in enumerate(frames):
            taken = 0
            try:
                self._learn(frame)
                taken = 1
                if frame.is_end or self.last or self._finishes(frame):
                    # Everything from the first end on waits for the judgement of the whole reply.
                    self.last.append(frame)
                    continue
                out += self._left(self.release.feed(frame))
            except Stopped:
                out.append(self.ending(self.said))
                self.is_stopped = True
                break
            except Exception:
                # For a route that fails open: every byte that came and has not left, in order and once.
                held = [*self.release.drain(), *(one.raw for one in self.last)]
                rest = (*frames[number + taken :], *self.frames.close())
                self.rest = [*out, *held, *(one.raw for one in rest)]
                raise
        return out

    def _left(self, sent: list[bytes]) -> list[bytes]:
        for frame in self.release.left:
            self.opening.feed(event_of(frame))
        return sent

    def _finishes(self, frame: Frame) -> bool:
        """Whether the model says with this frame that the only reply is whole."""
        event = frame.event
        if not isinstance(event, dict) or not self.is_single:
            return False
        for name, key in (("choices", "finish_reason"), ("candidates", "finishReason")):
            rows = event.get(name)
            if isinstance(rows, list) and rows and isinstance(rows[0], dict) and rows[0].get(key):
                return True
        return event.get("type") == "message_delta" or frame.name == "messageStop"

    def _learn(self, frame: Frame) -> None:
        event = event_of(frame)
        if self.is_tool:
            self._message(event, len(frame.raw))
        elif self.session.mapping is not None:
            self.deltas.grow(piece.text for piece in frame.pieces)
            learned.name(event, self.session.mapping, self.session.parts)
        elif isinstance(event, dict):
            self.deltas.feed(event)  # what it does not know the framer has counted
        elif isinstance(event, str):
            self.deltas.say(event)
        for slot, name, identifier in frame.opens:
            self.names[slot] = (name, identifier)

    def _message(self, event: Any, size: int) -> None:
        """A JSON-RPC message of a tool server, kept until the whole reply is judged."""
        if self.size + size > CAP:
            self.session.parts.skip("too_long", "response", size)
            return
        self.size += size
        self.messages.append(event)

    def close(self) -> list[bytes]:
        """The upstream has ended: put the reply together. What may still leave."""
        out: list[bytes] = []
        if not self.is_stopped:
            try:
                if self.decoder is not None:
                    out += self._frames(self.frames.feed(self.decoder.finish()))
            except BadEncoding as error:
                self.session.parts.skip("bad_encoding", f"response: {error}")
            out += self._frames(self.frames.close())
        self._put_together()
        return out

    def _put_together(self) -> None:
        parts = self.session.parts
        if self.session.mapping is not None:
            self.session._name()
        for row in (*self.frames.unjudged, *self.release.unjudged):
            parts.skip(row.reason, row.where or "response", row.bytes)
        for message in self.messages:
            mcp.response(message, parts, "response")
        self.messages.clear()
        self.deltas.into(parts, "response")

    def waiting(self) -> list[bytes]:
        """What is held back, as it came."""
        if self.rest is not None:
            return self.rest
        return [*self.release.drain(), *(frame.raw for frame in self.last)]

    def end(self, verdict: Verdict) -> list[bytes]:
        """The last bytes."""
        if self.is_stopped:
            return []
        if is_withheld(verdict):
            self.is_stopped = True
            return [self.ending(verdict.says)]
        out: list[bytes] = []
        try:
            out += self._left(self.release.finish())
            says = self.refusal if self.refusal and not self.has_said else ""
            if says:
                out.append(spoken(self.session.spot.dialect, self.opening.opened(), says))
            for frame in self.last:
                if says and isinstance(frame.event, dict) and frame.event.get("type") == "response.completed":
                    out.append(frame.rewritten({}, puts=((".response.output", whole(says)),)))
                else:
                    out += self._left(self.release.feed(frame))
        except Stopped:
            self.is_stopped = True
            out.append(self.ending(self.said))
        return out

    def ending(self, says: str) -> bytes:
        """The legal end of this stream here."""
        session = self.session
        code = session.hold.code if session.hold is not None and MARK in says else CODE
        return endings(session.spot.dialect, self.opening.opened(), says, code, session.id)

    def _look(self, slot: str, kind: str, text: str, is_whole: bool) -> Any:
        """What has to change in a piece of the reply that is about to leave."""
        session = self.session
        if kind == "arguments":
            found = self._call(slot, text)
            return found if found is DROP else [*found, *self._values(text, found)]
        self.has_said = self.has_said or (kind == "text" and not text.isspace())
        data = text.encode("utf-8", "surrogatepass")
        if self._gate is None or not (self._gate.scan(data) or self._may_leak(text)):
            return self._values(text, ())
        base = session.exchange()
        origin, trust = (Origin.tool, Trust.third_party) if self.is_tool else (Origin.model, Trust.model)
        reply = Text(text, origin, trust, f"response:{slot}", self.tool, session.parts.turn + 1)
        exchange = msgspec.structs.replace(base, texts=(*base.texts, reply))
        index = len(base.texts)
        hits, past = session.brain.inspect(exchange, session.past)
        session.judged(past, is_piece=True)
        verdict = session.decide(exchange, hits, "response")
        self._settle(verdict, hits)
        edits = [
            (_chars(data, e.span.start), _chars(data, e.span.end), e.new) for e in verdict.edits if e.text == index
        ]
        return [*edits, *self._values(text, edits)]

    def _may_leak(self, text: str) -> bool:
        """Whether a planted token stands in a piece as it is; in another spelling the judgement of the whole reply finds it."""
        return any(token in text for token in self.session.brain.agreed.canaries)

    def _values(self, text: str, edits: Sequence[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
        """Placeholders in a piece of the reply, to become the values they stand for; what is changed anyway is left alone."""
        vault = self.session.vault
        if vault is None:
            return []
        out = []
        for found in vault.pattern.finditer(text):
            shown = vault.shown(found.group())
            if shown != found.group() and all(found.end() <= low or found.start() >= high for low, high, _ in edits):
                out.append((found.start(), found.end(), shown))
        return out

    def _call(self, slot: str, text: str) -> Any:
        session = self.session
        base = session.exchange()
        name, identifier = self.names.get(slot, ("", ""))
        call = ToolCall(name, text, identifier, session.parts.turn + 1, f"response:{slot}")
        exchange = msgspec.structs.replace(base, calls=(*base.calls, call))
        hits, past = session.brain.inspect(exchange, session.past)
        session.judged(past, is_piece=True)
        verdict = session.decide(exchange, hits, "response", call=len(base.calls))
        self._settle(verdict, hits)
        if len(base.calls) not in verdict.calls:
            self.has_said = True
            return ()
        self.refusal = verdict.says
        return DROP

    def _settle(self, verdict: Verdict, hits: Sequence[Hit]) -> None:
        if verdict.action is not Action.allow:
            self.session.note(hits)
            self.session.verdict = max(self.session.verdict, verdict, key=rank)
        if is_withheld(verdict):
            self.said = verdict.says
            raise Stopped


def _chars(data: bytes, at: int) -> int:
    return at if data.isascii() else len(data[:at].decode("utf-8", "surrogatepass"))


def event_of(frame: Frame) -> Any:
    """The event with its type where the type stands beside it (Converse)."""
    if frame.name in BESIDE and isinstance(frame.event, dict):
        return {frame.name: frame.event}
    return frame.event


def rpc_id(body: Any) -> Any:
    return body.get("id") if isinstance(body, dict) else None


def is_withheld(verdict: Verdict) -> bool:
    """Whether nothing of a reply may leave: it is refused, or a person has to approve more than calls, which can be taken out of it."""
    if verdict.action is Action.ask:
        return not verdict.calls or any(one.call < 0 for one in verdict.asks)
    return verdict.action is Action.block or (verdict.action is Action.throttle and not verdict.calls)


def rank(verdict: Verdict) -> int:
    """How strong a verdict is."""
    return ACTIONS.index(verdict.action)
