"""What of one exchange waits for a person: the matters of a verdict named by what they are about, and held against what was approved.

In: an exchange, its hits, what the policy asks. Out: the verdict that is left when what was approved is no longer asked, with a sentence that names the entry to approve. It opens nothing; a Book
knows what was approved.

Theory of operation. A matter is named by parts (approvals.fingerprint). Of a request that is each text in which a hit stands, and the whole body where the rule names no text; of a reply it is each value that
was hit, so that the same value in other words is the same matter; of a call it is the tool and its arguments, however they are spelled. A message passes where one entry covers all its parts; a call
where one entry covers it, and one use lets each call pass as often as the entry names it. What was let through once comes again in every later request, as history: behind an answer of the model
it is not asked about again. A streamed reply is decided call by call, when each is about to leave, and once it is whole: what one of the two took is there for the other.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from afterguard.detect.redact import redacted
from afterguard.guard.approvals import MARK, WAITS, Approval, Book, fingerprint
from afterguard.model import Exchange, Hit, Matter, Origin, Text, Verdict

if TYPE_CHECKING:
    from afterguard.guard.session import Session

EVIDENCE = 10
"""Lines of evidence of an entry."""
SHOWN = 240
"""Characters of a line of it."""


class Note(NamedTuple):
    """What is written down of an entry with the decision."""

    id: str
    state: str
    """asked, denied or approved."""
    by: str = ""
    is_another: bool = False


class Hold:
    """State of one exchange. One a session."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.notes: dict[str, Note] = {}
        self._granted: Counter[str] = Counter()
        """Parts that entries let pass in this exchange."""
        self._left: Counter[str] = Counter()
        """Of these, calls that have not left yet."""
        self._rules: set[str] = set()
        """Rules about the whole exchange that were approved with the request."""
        self._own: Approval | None = None
        self.approval = ""
        """Id of the entry that was named last."""
        self.code = "afterguard_approval"
        """For a program: afterguard_denied where a person has denied it."""

    def decide(
        self, exchange: Exchange, hits: Sequence[Hit], at: str, *, call: int = -1, is_whole: bool = False
    ) -> Verdict:
        """What the policy says, less what was approved. Of a stream: of one `call` that is about to leave, or of the reply once it is whole."""
        session = self.session
        verdict = session.brain.decide(exchange, hits, at, session.facts())
        book = session.brain.approvals
        if not verdict.asks or book is None:
            return verdict
        try:
            scene = _Scene(session, exchange, hits, at)
            return self._settled(scene, verdict, book, call, Counter(self._granted) if is_whole else self._left)
        except Exception:
            # Whatever went wrong here, nobody is known to have approved this: the rule stands, also on a route that fails open.
            book.failed()
            return verdict

    def _settled(self, scene: _Scene, verdict: Verdict, book: Book, call: int, left: Counter[str]) -> Verdict:
        approved = self._approved(scene, verdict.asks, book, call, left)
        if approved:
            facts = {**self.session.facts(), "approved": approved}
            verdict = self.session.brain.decide(scene.exchange, scene.hits, scene.at, facts)
        return self._told(scene, verdict, book) if verdict.asks else verdict

    def _approved(
        self, scene: _Scene, asks: Sequence[Matter], book: Book, only: int, left: Counter[str]
    ) -> frozenset[Matter]:
        out = {one for one in asks if one.rule in self._rules and one.hit < 0}
        if only >= 0:
            out.update(one for one in asks if one.call not in (-1, only))  # each has its own turn
        whole = [one for one in asks if one.call < 0 and one not in out]
        if whole and self._is_covered(scene, whole, book):
            out.update(whole)
            if scene.at == "request":
                self._rules.update(one.rule for one in whole if one.hit < 0)
        for call in sorted({one.call for one in asks if one.call >= 0 and one not in out}):
            about = [one for one in asks if one.call == call and one not in out]
            if self._may_call(scene, about, book, left):
                out.update(about)
        return frozenset(out)

    def _is_covered(self, scene: _Scene, matters: Sequence[Matter], book: Book) -> bool:
        """Whether all of these may pass: a message passes whole or not at all."""
        parts = [part for one in matters for part in scene.parts(one) if not scene.is_history(one, part, book)]
        open_parts = Counter({part for part in parts if part not in self._granted})
        return not open_parts or self._take(open_parts, book)

    def _may_call(self, scene: _Scene, matters: Sequence[Matter], book: Book, left: Counter[str]) -> bool:
        """Whether a call may pass; it is taken off what is left, with all that a new use brings."""
        parts = Counter({part for one in matters for part in scene.parts(one)})
        if not parts <= left:
            before = Counter(self._granted)
            if not self._take(parts, book):
                return False
            if left is not self._left:
                left.update(self._granted - before)
        left.subtract(parts)
        return True

    def _take(self, parts: Counter[str], book: Book) -> bool:
        """Take one use of an entry that covers these."""
        taken = book.claim(parts)
        if taken is None:
            return False
        self.notes[taken.id] = Note(taken.id, "approved", taken.by, taken.is_another)
        self._granted.update(taken.parts)
        self._left.update(taken.parts)
        return True

    # -- what is left waits

    def _told(self, scene: _Scene, verdict: Verdict, book: Book) -> Verdict:
        """The verdict with a sentence that names the entry, which is put down where there is none yet."""
        parts = scene.every(verdict.asks)
        found = book.answered(parts)
        if found is None:
            found = self._asked(scene, verdict, parts)
            book.ask(found)
        is_denied = found.verdict == "denied"
        self.approval, self.code = found.id, "afterguard_denied" if is_denied else "afterguard_approval"
        self.notes[found.id] = Note(found.id, "denied" if is_denied else "asked", found.by, found.is_another)
        says = "a person has denied it" if is_denied else "a person has to approve it first"
        return msgspec.structs.replace(verdict, says=f"{verdict.says}{MARK}{found.id}: {says}]")

    def _asked(self, scene: _Scene, verdict: Verdict, parts: Counter[str]) -> Approval:
        """The entry of this exchange, with what an earlier piece of the same reply put there."""
        session, own = self.session, self._own
        now = session.brain.approvals.clock() if session.brain.approvals else 0.0
        before = own.evidence if own else ()
        self._own = Approval(
            id=session.id, route=session.route.name, app=session.route.app, conversation=session.conversation,
            identity=session.identity, known_by=session.known_by,
            at="call" if all(one.call >= 0 for one in verdict.asks) else scene.at,
            rules=tuple(dict.fromkeys((*(own.rules if own else ()), *(one.rule for one in verdict.asks)))),
            says=verdict.says, evidence=tuple(dict.fromkeys((*before, *scene.evidence(verdict.asks))))[:EVIDENCE],
            parts=tuple(sorted(((Counter(own.parts) if own else Counter()) | parts).elements())),
            asked=own.asked if own else now, expires=own.expires if own else now + WAITS, policy=verdict.policy,
        )  # fmt: skip
        return self._own


class _Scene:
    """One side of an exchange, and the names of what is in it."""

    def __init__(self, session: Session, exchange: Exchange, hits: Sequence[Hit], at: str) -> None:
        self.session, self.exchange, self.hits, self.at = session, exchange, hits, at
        self._answered = -1

    def parts(self, one: Matter) -> tuple[str, ...]:
        """A matter as parts."""
        return tuple(self._part(one, content) for content in self._contents(one))

    def every(self, asks: Iterable[Matter]) -> Counter[str]:
        """All matters as parts: of a message each once, of calls each as often as it is called."""
        calls = {(one.rule, one.call): one for one in asks if one.call >= 0}
        found: Counter[str] = Counter({part for one in asks if one.call < 0 for part in self.parts(one)})
        for one in calls.values():
            found.update(self.parts(one))
        return found

    def _part(self, one: Matter, content: Sequence[object]) -> str:
        session = self.session
        where = (session.route.name, session.route.app, session.conversation, session.identity, one.rule)
        return fingerprint(session.brain.key, (*where, *content))

    def _contents(self, one: Matter) -> Iterable[Sequence[object]]:
        if one.call >= 0:
            call = self.exchange.calls[one.call]
            yield "call", call.name, canonical(call.arguments)
            return
        text = self._text(one)
        if text is None:
            yield from self._whole()
        elif self.at == "request":
            yield "request", text.origin, text.value
        else:
            hit = self.hits[one.hit]
            data = text.value.encode("utf-8", "surrogatepass")[hit.span.start : hit.span.end]
            yield "response", hit.kind, data.decode("utf-8", "surrogateescape") or text.value

    def _whole(self) -> Iterable[Sequence[object]]:
        session = self.session
        if self.at == "response":
            texts = self.exchange.texts[session._texts :]
            calls = self.exchange.calls[session._calls :]
            yield "reply", [one.value for one in texts], [(one.name, canonical(one.arguments)) for one in calls]
        elif session.asked is None or session.parts.unjudged:
            yield (
                "bytes",
                hashlib.sha256(session.body).hexdigest(),
            )  # two readers may understand it differently: byte for byte
        else:
            yield "body", msgspec.json.encode(session.asked, order="sorted").decode("utf-8", "surrogateescape")

    def _text(self, one: Matter) -> Text | None:
        number = self.hits[one.hit].text if one.hit >= 0 else -1
        return self.exchange.texts[number] if 0 <= number < len(self.exchange.texts) else None

    def is_history(self, one: Matter, part: str, book: Book) -> bool:
        """Whether the model has answered this already, because somebody approved it."""
        text = self._text(one) if self.at == "request" else None
        if text is None:
            return False
        if self._answered < 0:
            said = (text.turn for text in self.exchange.texts if text.origin is Origin.model)
            self._answered = max((0, *said, *(call.turn for call in self.exchange.calls)))
        return text.turn < self._answered and book.was_used(part)

    def evidence(self, asks: Sequence[Matter]) -> list[str]:
        """What a person is shown: redacted, never a prompt."""
        out = []
        for one in asks:
            if one.call >= 0:
                call = self.exchange.calls[one.call]
                out.append(f"call {call.name[:80]}({redacted(call.arguments)})"[:SHOWN])
            if one.hit >= 0:
                hit = self.hits[one.hit]
                out.append(f"{hit.kind}: {hit.excerpt}"[:SHOWN])
            elif one.call < 0:
                what = "request" if self.at == "request" else "reply"
                out.append(
                    f"the whole {what}, {self.exchange.bytes} bytes, model {self.exchange.model or 'unknown'}"[:SHOWN]
                )
        return list(dict.fromkeys(out))[:EVIDENCE]


def canonical(arguments: str) -> str:
    """JSON without blanks and with sorted keys; numbers stay as they are spelled, and a key that stands there twice stays there twice."""
    try:
        found = json.loads(arguments, parse_int=_number, parse_float=_number, object_pairs_hook=_pairs)
        return json.dumps(found, separators=(",", ":"))
    except (ValueError, RecursionError):
        return arguments


def _number(spelled: str) -> dict[str, Any]:
    return {"number": spelled}


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {"pairs": sorted(pairs, key=lambda pair: pair[0])}


def sentence(says: str) -> str:
    """The rule's own sentence, of what a client was told."""
    return says.partition(MARK)[0]
