"""One exchange inside the guard, without I/O: what a door received goes in, what it must do comes out.

In: request head and body, response head and body or chunks, hits. Out: the bytes to send on, a native refusal, or the legal end of a stream; at the end a
`Decision`. A session never waits and never opens anything: the door runs `Brain.inspect` for it, inline or elsewhere.

Theory of operation. A request is parsed once into an Exchange; hits on it become a verdict, the verdict becomes bytes. The reply is parsed into
the same Exchange, so that a call in the reply can be held against what was asked and what was read. A streamed reply is looked at twice: as it grows, by the cheap
prefilter, to hold back and edit what may not leave; and once whole, before its end leaves, as a reply that was not streamed would be. Whatever cannot be read is
an `Unjudged` row of the exchange and therefore something a rule can act on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from afterguard.detect import NONE, Past, canary
from afterguard.detect.placeholders import Vault
from afterguard.guard import touched
from afterguard.guard.brain import Brain, Judged
from afterguard.guard.history import Known
from afterguard.guard.hold import Hold
from afterguard.guard.route import Route
from afterguard.guard.stream import CAP, Stream, is_withheld, rank
from afterguard.guard.who import Headers, named, opening, who
from afterguard.model import (
    ACTIONS,
    NOTHING,
    Action,
    Edit,
    Exchange,
    Hit,
    Origin,
    Span,
    Unjudged,
    Verdict,
)
from afterguard.policy.measures import PREFIX
from afterguard.wire import learned, mcp, rewrite, shapes, strict
from afterguard.wire.again import again
from afterguard.wire.encoding import BadEncoding, decoded
from afterguard.wire.endpoint import Endpoint, readdressed
from afterguard.wire.parts import Parts
from afterguard.wire.refusal import refused
from afterguard.wire.splice import Unspliceable

REMOVED = "[removed by policy]"
SILENT = {"models", "files", "batches", "audio", "images"}
"""Operations that carry no conversation as JSON."""
WITHOUT_PROMPT = {"embeddings", "embed", "ollama_embed", "count_tokens", "predict", "mcp"}
"""Operations that have no place for instructions, or answer nobody."""
STREAMS = (
    "text/event-stream",
    "application/x-ndjson",
    "application/vnd.amazon.eventstream",
    "application/stream+json",
    "application/ndjson",
    "application/jsonl",
)


class Answer(NamedTuple):
    """What the guard says itself, instead of the upstream."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Session:
    """State of one exchange."""

    may_stream = True
    """Whether a reply may be released piece by piece."""
    is_weighed = True
    """Whether it counts when the policy's rate is held against what was expected: what only passed by elsewhere does not."""

    # How every exchange begins. It stands here and not in __init__ because most exchanges change little of it, and a small one costs not much more than that would.
    protocol = ""
    asked: Any = None
    posed = ""
    """Of a probe: the revision of the instructions that it stands for."""
    peer = ""
    """Address of the client's end of the connection."""
    body = b""
    verdict: Verdict = NOTHING
    replied: Verdict = NOTHING
    size = 0
    status = 0
    failed = ""
    is_over = False
    vault: Vault | None = None
    sent = b""
    """The request as it was sent on, where that is not what came."""
    model = ""
    """The model that policy sends it to, where that is not the one that was asked for."""
    rows = 0
    """Rows that a predictive model is asked about."""
    version = ""
    rescored = ""
    """What became of its scores: rounded, withheld."""
    again: bytes | None = None
    """The request to send instead of giving this reply back."""
    asked_again = 0
    can_ask_again = True
    """Whether the door can send a second request; one beside the path cannot."""
    first: tuple[Exchange, Judged | None] | None = None
    """What was found in this before somebody else was asked about it."""
    past = NONE
    """What was judged: the history at first, then the request."""
    known: Known | None = None
    hold: Hold | None = None
    """What a person has to approve, where anything is."""
    late = 0
    """Hits in a stream whose place had already left."""
    asked_texts = 0
    """Texts of the request; the same of calls and hits."""
    asked_calls = 0
    asked_hits = 0
    answered: Any = None
    _heard: bytes | None = None
    """The request without its encoding: what edits are made in."""
    _read: bytes | None = None
    """The same of a whole reply."""
    _facts: dict[str, Any] | None = None
    _stream: Stream | None = None
    _judged: tuple[Exchange, Past, tuple[Hit, ...]] | None = None
    """What is still to be remembered of a request that was let through."""
    _is_piece_over = False
    _is_unlooked = False
    """Whether it is decided without hits."""

    def __init__(self, brain: Brain, route: Route, spot: Endpoint, identifier: str, headers: Headers) -> None:
        self.brain = brain
        self.route = route
        self.ruling = brain.ruling(route)
        self.mapping = route.mapping
        self.spot = spot if route.mapping is None else Endpoint(spot.provider, "other", "plain")
        self.id = identifier
        self.parts = Parts()
        self.headers = headers
        self.identity, self.conversation = who(headers, brain.context.pseudonym)
        self.known_by = "key" if self.identity else ""
        """What names the identity: key, or a name in the body."""
        self.hits: list[Hit] = []
        self.heads: list[tuple[bytes, bytes]] = []
        """Headers of the reply, as they will leave."""

    def only_look(self) -> None:
        """What passes here cannot be held or changed, whatever the route says: it is observed, and written down so."""
        self.ruling = self.ruling._replace(mode="observe")

    # -- the request

    def request(self, body: bytes, encoding: str = "") -> Exchange | None:
        """The exchange as far as it is known from the request; None where there is nothing to judge."""
        return self.exchange() if self.hears(body, encoding) else None

    def hears(self, body: bytes, encoding: str = "") -> bool:
        """Read a request; whether there is anything to judge."""
        self.body, self.size = body, len(body)
        if self.spot.operation in SILENT or (not body and self.spot.operation in ("other", "mcp")):
            if body:
                self.parts.skip("unsupported_operation", "request", len(body))
            return False
        plain = self._heard = self._plain(body, encoding, "request")
        if plain is not None:
            self.asked, problems = strict.decode(plain)
            for problem in problems:
                self.parts.skip(problem, "request", len(plain))
            if self.asked is not None:
                self._read_request(self.asked, len(plain))
        self.asked_texts, self.asked_calls = len(self.parts.texts), len(self.parts.calls)
        return True

    def _read_request(self, body: Any, size: int) -> None:
        is_new = self.mapping is not None or not self.brain.detectors
        self.known = known = None if is_new else self.brain.history.find(self.route.name, body)
        if known is not None:
            skipped = self.parts.unjudged
            self.parts = known.kept.parts(len(known.items))
            self.parts.unjudged += skipped
            self.past = known.past
        if self.spot.dialect == "mcp":
            self.protocol = mcp.request(body, self.parts, "request")
        elif self.mapping is not None and learned.request(body, self.mapping, self.parts):
            self.protocol = "mapped"
        else:
            self.protocol = shapes.request(body, self.parts)
        if not self.protocol:
            self.parts.skip("unknown_shape", "request", size)
        self.parts.model = self.parts.model or self.spot.model
        if isinstance(body, dict):
            self.conversation = named(body) or self.conversation
        if self.mapping is not None:
            self._name()

    def _name(self) -> None:
        """Who speaks where, as the mapping found it. A key is believed before a name."""
        self.conversation = self.parts.conversation[:200] or self.conversation
        if not self.identity and self.parts.identity:
            self.identity, self.known_by = self.brain.context.pseudonym(self.parts.identity), "name"

    def exchange(self) -> Exchange:
        """What is known so far."""
        parts = self.parts
        return Exchange(
            id=self.id, source=self.route.name, line=0, protocol=self.protocol or "unknown", app=self.route.app,
            conversation=self.conversation, identity=self.identity, key=self.identity, provider=self.route.kind,
            model=parts.model, texts=tuple(parts.texts), calls=tuple(parts.calls), tools=tuple(parts.tools),
            input_tokens=parts.input_tokens, output_tokens=parts.output_tokens, status=self.status,
            unjudged=tuple(parts.unjudged), bytes=self.size,
        )  # fmt: skip

    def facts(self) -> dict[str, Any]:
        """What the policy may ask beside the exchange."""
        if self._facts is None:
            self.conversation = self.conversation or opening(self.parts.texts, self.identity)
            self._facts = self.brain.facts(self.route, self.conversation, self.identity)
            if not self.ruling.is_inline:
                self._facts["mode"] = self.ruling.mode
            if self.brain.tokenises:
                self._facts["placeholder"] = self._hide
            if self.brain.tells_prompt and self.spot.operation not in WITHOUT_PROMPT:
                asked, pseudonym = self.parts.texts[: self.asked_texts], self.brain.context.pseudonym
                self._facts["prompt"] = self.posed or touched.pinned(asked, self.parts.unjudged, pseudonym)
        return self._facts

    def _hide(self, kind: str, value: str) -> str:
        """The placeholder of a value in this conversation, made anew from each request: the same value gives the same one."""
        if self.vault is None:
            self.vault = self.brain.vault(self.route, self.conversation)
        return self.vault.hide(kind, value)

    def forward(self, body: bytes, exchange: Exchange, hits: Sequence[Hit], past: Past) -> bytes | Answer:
        """The request to send on, or a refusal. Raises Unspliceable where an edit cannot be made."""
        self.hits = list(hits)
        self.asked_hits = len(self.hits)
        self.past = past
        before = self.known.hits if self.known is not None else ()
        # What was found in an earlier turn comes again as it was, and the same becomes of it, to the same bytes.
        found = (*before, *hits)
        self.verdict = verdict = self.decide(exchange, found, "request")
        if verdict.action is Action.block:
            self.verdict = verdict = self._once_refused(exchange, found, verdict)
        if verdict.action in (Action.block, Action.ask, Action.throttle) or (
            verdict.calls and self.spot.dialect == "mcp"
        ):
            return self.refuse(verdict)
        if self.brain.detectors and not self._is_unlooked:
            self._judged = exchange, past, found
        if self.brain.plants and self.facts()["mode"] == "enforce":
            verdict = msgspec.structs.replace(verdict, edits=(*verdict.edits, *self._planted(exchange)))
        if verdict.edits or verdict.tools or verdict.model:
            self._can_reroute(verdict.model)
            self.sent = rewrite.request(body if self._heard is None else self._heard, self.asked, exchange, verdict)
            self.model = verdict.model
            return self.sent
        return body

    def unlooked(self, body: bytes, exchange: Exchange) -> bytes | Answer:
        """The same where nobody looked in time and the route lets it pass: the policy has nothing to go by, what responders took away stays taken."""
        if self.brain.measures.policy is None:
            return body
        self._is_unlooked = True
        try:
            return self.forward(body, exchange, (), self.past)
        finally:
            self._is_unlooked = False

    def keep(self) -> None:
        """Remember a request that was judged and let through. Nobody has to wait for that: it is done when the request has been sent on."""
        if self._judged is not None:
            exchange, past, found = self._judged
            self._judged = None
            self.brain.history.put(self.route.name, self.asked, self.parts, exchange, past, found, self.known)

    def _can_reroute(self, model: str) -> None:
        """Whether the body or the path (`target`) has a place for another model. Raises Unspliceable where neither has and the route fails closed."""
        if model and not self.spot.model and not rewrite.names_model(self.asked):
            if not self.ruling.is_open:
                raise Unspliceable("nothing in the request says which model is to answer")
            self.parts.skip("not_rerouted", "request", self.size)

    def target(self, path: bytes) -> bytes:
        """The path to send on, percent-encoded and below the mount."""
        return readdressed(self.spot, path.decode("latin-1"), self.model).encode("latin-1") if self.model else path

    def _planted(self, exchange: Exchange) -> Iterator[Edit]:
        """The reference that is put at the end of the system prompt, the same for every conversation of the application."""
        for index, text in enumerate(exchange.texts[:20]):
            if text.origin is Origin.system and text.where:
                said = canary.planted(text.value, self.brain.planted(self.route))
                end = len(text.value.encode("utf-8", "surrogatepass"))
                if said:
                    yield Edit(index, Span(end, end), said)
                return

    def _once_refused(self, exchange: Exchange, hits: Sequence[Hit], verdict: Verdict) -> Verdict:
        """A message that was refused and comes again as history does not break the conversation for good: it is taken out, and the
        rest is judged. The first time, and as the newest message, it is refused."""
        texts, refused = exchange.texts, self.brain.refused
        newest = max((text.turn for text in texts if text.origin is Origin.user), default=0)
        named = {hit.text for hit in hits if hit.text >= 0}
        old = {n for n in named if texts[n].turn < newest and refused.get(texts[n].value) is not None}
        for number in named - old:
            refused.put(texts[number].value, True)
        if not old:
            return verdict
        left = self.decide(exchange, [hit for hit in hits if hit.text not in old], "request")
        if left.action is Action.block:
            return left
        whole = [
            Edit(n, Span(0, len(texts[n].value.encode("utf-8", "surrogatepass"))), REMOVED, verdict.rule)
            for n in sorted(old)
        ]
        kept = [edit for edit in left.edits if edit.text not in old]
        stronger = left if rank(left) > ACTIONS.index(Action.neutralise) else verdict
        action = max(left.action, Action.neutralise, key=ACTIONS.index)
        return msgspec.structs.replace(stronger, action=action, edits=tuple(sorted((*kept, *whole), key=_place)))

    def caller(self, per: str) -> str:
        """Who a limit counts: a keyed hash, or a name of the configuration."""
        self.facts()
        return {"conversation": self.conversation, "app": self.route.app or self.route.name}.get(per, self.identity)

    def capped(self, cap: str, wait: float) -> Verdict:
        """The verdict on a caller whom responders left so much and no more."""
        self.facts()
        rule = PREFIX + cap
        says = "Responders have limited what this caller may use."
        self.verdict = Verdict(
            Action.throttle, Action.throttle, rule, says, (rule,), wait=max(0.0, wait), policy="measures"
        )
        return self.verdict

    def over(self, which: str, wait: float) -> Verdict:
        """The verdict on a caller that has used too much."""
        policy = self.brain.policy
        revision = policy.revision if policy is not None else ""
        would = Action.block if which == "request_bytes" else Action.throttle
        action = would if self.facts()["mode"] == "enforce" else Action.flag
        says = f"This caller is over its limit of {which.replace('_', ' ')}."
        rule = "limits-" + which.replace("_", "-")
        self.verdict = Verdict(action, would, rule, says, (rule,), wait=max(0.0, wait), policy=revision)
        return self.verdict

    def refuse(self, verdict: Verdict) -> Answer:
        """The provider's own error shape."""
        if self.spot.dialect == "mcp" and verdict.action is not Action.throttle:
            return Answer(*mcp.refused(self.asked, verdict.says, self.id))
        if verdict.action is Action.throttle:
            return Answer(*refused(self.spot, verdict.says, "afterguard_throttled", 429, self.id, wait=verdict.wait))
        says = verdict.says or "blocked by policy"
        if verdict.action is not Action.ask:
            return Answer(*refused(self.spot, says, "afterguard_blocked", 400, self.id))
        code, approval = (self.hold.code, self.hold.approval) if self.hold is not None else ("afterguard_approval", "")
        return Answer(*refused(self.spot, says, code, 400, self.id, approval=approval))

    # -- a whole reply

    def response(self, status: int, body: bytes, encoding: str = "") -> Exchange | None:
        """The exchange with a reply that came whole; None where there is nothing to judge."""
        return self.exchange() if self.reads(status, body, encoding) else None

    def reads(self, status: int, body: bytes, encoding: str = "") -> bool:
        """Read a reply that came whole; whether there is anything to judge."""
        self.status = status
        if status >= 400 or self.spot.operation in SILENT or not body:
            return False
        plain = self._read = self._plain(body, encoding, "response")
        if plain is None:
            return True
        self.answered, problems = strict.decode(plain)
        for problem in problems:
            self.parts.skip(problem, "response", len(plain))
        if self.answered is not None:
            self._read_response(self.answered, len(plain))
        return True

    def _read_response(self, body: Any, size: int) -> None:
        if self.spot.dialect == "mcp":
            found = mcp.response(body, self.parts, "response")
        elif self.mapping is not None and learned.response(body, self.mapping, self.parts):
            found = "mapped"
            self._name()
        else:
            found = shapes.response(body, self.parts)
        if not found:
            self.parts.skip("unknown_shape", "response", size)

    def backward(self, body: bytes, exchange: Exchange, hits: Sequence[Hit]) -> bytes | Answer:
        """The reply to send back, or a refusal. Raises Unspliceable."""
        fresh = list(hits)
        self.hits += fresh
        self.replied = verdict = self.decide(exchange, fresh, "response")
        if is_withheld(verdict):
            return self.refuse(verdict)
        if verdict.calls and self._asks_again(exchange, verdict):
            return body
        plain = made = body if self._read is None else self._read
        if verdict.edits or verdict.calls:
            made = rewrite.response(plain, self.answered, exchange, verdict, self.spot)
        made = self._shown(made)
        return body if made is plain else made

    def _asks_again(self, exchange: Exchange, verdict: Verdict) -> bool:
        """Whether the model is to be asked once more, without the calls it may not make: then `again` is the body to send."""
        fresh = range(self.asked_calls, len(exchange.calls))
        policy = self.brain.policy
        if policy is None or not self.can_ask_again or verdict.action is not Action.step_down:
            return False
        if self.asked_again >= policy.document.again:
            return False
        if not set(fresh) <= set(verdict.calls):
            return False
        sent = msgspec.json.decode(self.sent) if self.sent else self.asked
        self.again = again(self.spot.dialect, sent, self.answered, verdict.says)
        if self.again is None:
            return False
        self.asked_again += 1
        self.sent = self.again
        matched = tuple(dict.fromkeys((*self.verdict.matched, *verdict.matched)))
        self.verdict = msgspec.structs.replace(max(self.verdict, verdict, key=rank), matched=matched)
        # The next reply takes the place of this one.
        del self.parts.texts[self.asked_texts :], self.parts.calls[self.asked_calls :]
        return True

    def anew(self) -> None:
        """The reply comes again, as far as it has grown: what was read of it and found in it before is forgotten."""
        del self.parts.texts[self.asked_texts :], self.parts.calls[self.asked_calls :]
        del self.hits[self.asked_hits :]
        self.parts.unjudged[:] = dict.fromkeys(self.parts.unjudged)

    def _shown(self, body: bytes) -> bytes:
        """A reply with the values of its placeholders back."""
        if self.vault is None or self.vault.pattern.search(body.decode("utf-8", "replace")) is None:
            return body
        return self.vault.shown(body.decode("utf-8", "surrogateescape"), in_json=True).encode(
            "utf-8", "surrogateescape"
        )

    # -- a streamed reply

    def stream(self, status: int, content_type: str, encoding: str = "") -> None:
        """A reply begins to stream. Raises BadEncoding for an encoding nobody here can read."""
        self.status = status
        self._stream = Stream(self, content_type, encoding)

    def feed(self, chunk: bytes) -> list[bytes]:
        """Bytes that may leave now."""
        assert self._stream is not None
        return self._stream.feed(chunk)

    def whole(self) -> tuple[list[bytes], Exchange]:
        """(bytes that may leave now, the exchange with the whole reply, whose last bytes still wait)."""
        assert self._stream is not None
        return self._stream.close(), self.exchange()

    def end(self, exchange: Exchange, hits: Sequence[Hit]) -> list[bytes]:
        """The last bytes of the stream."""
        assert self._stream is not None
        known = {_same(hit) for hit in self.hits}
        self.note(hits)
        self.replied = verdict = self.decide(exchange, list(hits), "response", is_whole=True)
        if verdict.edits:
            # Only the whole reply showed it, and its place has left by now.
            self.late += sum(_same(hit) not in known for hit in hits)
        return self._stream.end(verdict)

    def passed(self, status: int, content_type: str, encoding: str, reply: bytes) -> bool:
        """Read a reply that has already passed, streamed or not; whether there is anything to judge."""
        if not content_type.startswith(STREAMS) or status >= 400:
            return self.reads(status, reply, encoding)
        plain = self._plain(reply, encoding, "response")
        if plain is not None:
            self.stream(status, content_type)
            assert self._stream is not None
            self._stream.watch(plain)
        return True

    @property
    def is_stopped(self) -> bool:
        """Whether the stream was ended here and nothing more may leave."""
        return self._stream is not None and self._stream.is_stopped

    def stop(self) -> bytes:
        """The legal end of the stream at this point, for a door that has to stop it."""
        assert self._stream is not None
        if self._stream.is_stopped:
            return b""
        self._stream.is_stopped = True
        return self._stream.ending("the reply was stopped")

    def waiting(self) -> list[bytes]:
        """What is held back, as it came: for a door that goes on without judging."""
        assert self._stream is not None
        return self._stream.waiting()

    # -- shared

    def decide(
        self, exchange: Exchange, hits: Sequence[Hit], at: str, *, call: int = -1, is_whole: bool = False
    ) -> Verdict:
        """What the policy says, less what a person approved. Of a stream: of one `call` that is about to leave, or of the reply once it is whole."""
        if self._is_unlooked:
            return self.brain.measured(exchange, at, self.facts())
        verdict = self.brain.decide(exchange, hits, at, self.facts())
        if not verdict.asks or self.brain.approvals is None:
            return verdict
        self.hold = self.hold or Hold(self, self.brain.approvals)
        return self.hold.settled(verdict, exchange, hits, at, call, is_whole=is_whole)

    def _plain(self, body: bytes, encoding: str, where: str) -> bytes | None:
        if not encoding or encoding == "identity":
            if len(body) <= CAP:
                return body
            self.parts.skip("too_long", where, len(body))
            return None
        try:
            return decoded(body, encoding, CAP)
        except BadEncoding as error:
            self.parts.skip("bad_encoding", f"{where}: {error}", len(body))
            return None

    def note(self, hits: Iterable[Hit]) -> None:
        """Write hits down, each once: a stream shows the same one at several lengths."""
        known = {_same(hit) for hit in self.hits}
        for hit in hits:
            if _same(hit) not in known:
                known.add(_same(hit))
                self.hits.append(hit)

    def judged(self, past: Past, *, is_piece: bool = False) -> None:
        """Write down where detectors had more before them than their budget lets them look at; of the pieces of one stream, once."""
        if past.over > self.past.over and not (is_piece and self._is_piece_over):
            self.parts.skip("budget", "detectors: a piece of the stream" if is_piece else "detectors")
            self._is_piece_over = self._is_piece_over or is_piece

    def fail(self, why: str) -> None:
        """The guard itself could not judge: counted, written down."""
        self.failed = why
        self.parts.skip(why, "guard", self.size)

    def closed(self) -> None:
        """The exchange is over, and is to be written down."""
        if self.vault is not None and self.vault.forgotten:
            self.parts.skip("placeholder_forgotten", f"{self.vault.forgotten} values")
        # Both hold what holds us: without this only the collector frees it all.
        self._facts = None
        if self._stream is not None:
            del self._stream.release
            self._stream = None


def _place(edit: Edit) -> tuple[int, int]:
    return edit.text, edit.span.start


def _same(hit: Hit) -> tuple[object, ...]:
    return hit.detector, hit.kind, hit.cause, hit.rule, hit.identifiers or hit.span


__all__ = ["Answer", "Session", "Unjudged", "Unspliceable"]
