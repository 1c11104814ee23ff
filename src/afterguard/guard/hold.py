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

from afterguard.detect.redact import redacted, visible
from afterguard.guard.approvals import MARK, WAITS, Approval, Book, fingerprint
from afterguard.model import Exchange, Hit, Matter, Origin, Text, Verdict
from afterguard.safe import encodable

if TYPE_CHECKING:
    from afterguard.guard.session import Session

EVIDENCE = 10
"""Lines of evidence of an entry."""
PARTS = 50
"""Parts of an entry: texts of a message or calls of a reply. Of more calls the rest asks again."""
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
    """State of one exchange of which a person has to approve something."""

    def __init__(self, session: Session, book: Book) -> None:
        self.session = session
        self.book = book
        self.notes: dict[str, Note] = {}
        self.approval = ""
        """Id of the entry that was named last."""
        self.code = "afterguard_approval"
        """For a program: afterguard_denied where a person has denied it."""
        self._granted: Counter[str] = Counter()
        """Parts that entries let pass in this exchange."""
        self._left: Counter[str] = Counter()
        """Of these, calls that have not left yet."""
        self._rules: set[str] = set()
        """Rules about the whole exchange that were approved with the request."""
        self._own: Approval | None = None

    def settled(
        self,
        verdict: Verdict,
        exchange: Exchange,
        hits: Sequence[Hit],
        at: str,
        call: int = -1,
        *,
        is_whole: bool = False,
    ) -> Verdict:
        """What is left of a verdict; see Session.decide. Never raises."""
        scene = _Scene(self.session, exchange, hits, at, self.book)
        try:
            approved = self._approved(scene, verdict.asks, call, Counter(self._granted) if is_whole else self._left)
            if approved:
                facts = {**self.session.facts(), "approved": approved}
                verdict = self.session.brain.decide(exchange, hits, at, facts)
            return self._told(scene, verdict) if verdict.asks else verdict
        except Exception:
            # Whatever went wrong here, nobody is known to have approved this: the rule stands, also on a route that fails open.
            self.book.failed()
            return verdict

    def _approved(self, scene: _Scene, asks: Sequence[Matter], only: int, left: Counter[str]) -> frozenset[Matter]:
        out = {one for one in asks if one.rule in self._rules and one.hit < 0}
        if only >= 0:
            out.update(one for one in asks if one.call not in (-1, only))  # each has its own turn
        whole = [one for one in asks if one.call < 0 and one not in out]
        if whole and self._may_pass(scene.message(whole)):
            out.update(whole)
            if scene.at == "request":
                self._rules.update(one.rule for one in whole if one.hit < 0)
        for call in sorted({one.call for one in asks if one.call >= 0 and one not in out}):
            about = [one for one in asks if one.call == call and one not in out]
            if self._may_call(Counter({scene.call(one) for one in about}), left):
                out.update(about)
        return frozenset(out)

    def _may_pass(self, parts: Counter[str]) -> bool:
        """Whether a message may: whole or not at all."""
        wanted = Counter({part: 1 for part in parts if part not in self._granted})
        return not wanted or self._take(wanted)

    def _may_call(self, parts: Counter[str], left: Counter[str]) -> bool:
        """Whether a call may pass; it is taken off what is left, with all that a new use brings."""
        if not parts <= left:
            before = Counter(self._granted)
            if not self._take(parts):
                return False
            if left is not self._left:
                left.update(self._granted - before)
        left.subtract(parts)
        return True

    def _take(self, parts: Counter[str]) -> bool:
        """Take one use of an entry that covers these."""
        taken = self.book.claim(parts)
        if taken is None:
            return False
        self.notes[taken.id] = Note(taken.id, "approved", taken.by, taken.is_another)
        self._granted.update(taken.parts)
        self._left.update(taken.parts)
        return True

    # -- what is left waits

    def _told(self, scene: _Scene, verdict: Verdict) -> Verdict:
        """The verdict with a sentence that names the entry, which is put down where there is none yet."""
        parts = scene.every(verdict.asks)
        found = self.book.answered(parts)
        if found is None:
            found = self._own = self._asked(scene, verdict, parts)
            self.book.ask(found)
        is_denied = found.verdict == "denied"
        self.approval, self.code = found.id, "afterguard_denied" if is_denied else "afterguard_approval"
        self.notes[found.id] = Note(found.id, "denied" if is_denied else "asked", found.by, found.is_another)
        says = "a person has denied it" if is_denied else "a person has to approve it first"
        return msgspec.structs.replace(verdict, says=f"{verdict.says}{MARK}{found.id}: {says}]")

    def _asked(self, scene: _Scene, verdict: Verdict, parts: Counter[str]) -> Approval:
        """The entry of this exchange, with what an earlier piece of the same reply put there."""
        session, own = self.session, self._own
        asked = own.asked if own else self.book.clock()
        rules = (*(own.rules if own else ()), *(one.rule for one in verdict.asks))
        evidence = (*(own.evidence if own else ()), *scene.evidence(verdict.asks))
        every = (Counter(own.parts) | parts) if own else parts
        return Approval(
            id=session.id, route=session.route.name, app=session.route.app, conversation=encodable(session.conversation),
            identity=session.identity, known_by=session.known_by,
            at="call" if all(one.call >= 0 for one in verdict.asks) else scene.at,
            rules=tuple(dict.fromkeys(rules)), says=verdict.says, evidence=tuple(dict.fromkeys(evidence))[:EVIDENCE],
            parts=tuple(sorted(every.elements()))[:PARTS], asked=asked, expires=asked + WAITS, policy=verdict.policy,
        )  # fmt: skip


class _Scene:
    """One side of an exchange, and the names of what is in it."""

    def __init__(self, session: Session, exchange: Exchange, hits: Sequence[Hit], at: str, book: Book) -> None:
        self.session, self.exchange, self.hits, self.at, self.book = session, exchange, hits, at, book
        self._answered = -1

    def message(self, matters: Iterable[Matter]) -> Counter[str]:
        """What has to be approved of a whole message, each once; one part for all where there are too many."""
        found = {
            part
            for one in matters
            for content in self._contents(one)
            if not self._is_history(one, part := self._part(one, content))
        }
        if len(found) > PARTS:
            found = {fingerprint(self.session.brain.key, ("all of", *sorted(found)))}
        return Counter(found)

    def call(self, one: Matter) -> str:
        """What has to be approved of a call."""
        call = self.exchange.calls[one.call]
        return self._part(one, ("call", call.name, canonical(call.arguments)))

    def every(self, asks: Iterable[Matter]) -> Counter[str]:
        """All of it; of calls each as often as it is called."""
        asks = list(asks)
        found = self.message(one for one in asks if one.call < 0)
        found.update(self.call(one) for one in {(one.rule, one.call): one for one in asks if one.call >= 0}.values())
        return found

    def _part(self, one: Matter, content: Sequence[object]) -> str:
        session = self.session
        where = (session.route.name, session.route.app, session.conversation, session.identity, one.rule)
        return fingerprint(session.brain.key, (*where, *content))

    def _contents(self, one: Matter) -> Iterable[Sequence[object]]:
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
            texts = self.exchange.texts[session.asked_texts :]
            calls = self.exchange.calls[session.asked_calls :]
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

    def _is_history(self, one: Matter, part: str) -> bool:
        """Whether the model has answered this already, because somebody approved it."""
        text = self._text(one) if self.at == "request" else None
        if text is None:
            return False
        if self._answered < 0:
            said = (text.turn for text in self.exchange.texts if text.origin is Origin.model)
            self._answered = max((0, *said, *(call.turn for call in self.exchange.calls)))
        return text.turn < self._answered and self.book.was_used(part)

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
        return list(dict.fromkeys(visible(text) for text in out))[:EVIDENCE]


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
