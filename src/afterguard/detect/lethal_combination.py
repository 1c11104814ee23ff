"""Outside text, private data and a way out, met in one conversation: together they are what an injected order needs.

In: a Scene; its Context may have `axes`, conversation -> what earlier exchanges of it already met. Out: Hits of kind lethal_combination at a
call or link that can carry data out after both others were read, and `axes` for the state of a conversation. It follows what was
read and where it could go, not what was sent: a reworded secret in a mail is seen as well as a copied one. A receiver whom user
or system named is no hit, nor an address copied whole from what was read: it tells its writer nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import NamedTuple

from afterguard.catalog import load
from afterguard.detect import exfil_link, identifiers, secrets
from afterguard.detect.detector import Context, Detector
from afterguard.detect.exfil_link import Link, is_known, links
from afterguard.detect.prefilter import Prefilter
from afterguard.detect.provenance import (
    ADDRESS,
    WORDS,
    has_side_effects,
    is_explained,
    is_telling,
    stands_in,
    values,
)
from afterguard.detect.redact import visible
from afterguard.detect.result import place
from afterguard.detect.scene import Scene, hit
from afterguard.model import Confidence, Exchange, Hit, Origin, Severity, Span, Text, ToolCall, Trust
from afterguard.remembered import remembered

ID = "lethal-combination"
TAXONOMIES = ("LLM06:2025", "LLM03:2026", "LLM02:2026", "ASI01:2026", "ASI02:2026", "AML.T0086", "CWE-201")
UNTRUSTED, PRIVATE, OUTWARD = "untrusted", "private", "outward"
READ = (Origin.tool, Origin.document)
SHORTEST = 12
"""Characters below which outside text gives no order."""
CALLS_CAP = 40
"""The latest calls of a conversation that are looked at."""
HITS_CAP = 20
BLIND_CAP = 20_000
"""Bytes of a text in which personal data is looked for where no prefilter has."""
HOST = re.compile(r"^[a-z][a-z0-9+.-]{1,12}://(?:[^/?#@]{0,80}@)?([^/?#:]{1,255})", re.I)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SENDS = _words(
    "send sends reply forward post posts publish share upload submit email mail message dm notify invite tweet comment fax sms text"
    " whatsapp webhook callback export push sync broadcast announce transfer wire pay issue gist paste discussion"
)
"""Words of a tool's name by which what it is given reaches somebody else."""
NOUNS = _words("email mail message text comment post invite issue reply")
"""Of these, names of things as well: email_search sends nothing, issue_refund neither."""
OWN = _words(
    "customer customers client clients user users member members profile profiles account accounts balance transaction transactions"
    " statement statements iban card cards payment payments invoice invoices order orders booking bookings reservation reservations"
    " contact contacts employee employees staff salary payroll hr patient patients medical health record records prescription inbox mail"
    " mails email emails gmail outlook mailbox message messages chat chats dm sms calendar file files drive folder document documents notes"
    " secret secrets password passwords credential credentials env vault crm lead leads ticket tickets database sql repo repository"
    " contract contracts address addresses my private internal confidential"
)
"""Words of a reading tool's name by which it returns what is not for everybody."""
TOLD = _words(
    "personal private confidential sensitive customer customers employee employees patient patients salary credentials password passwords"
)
"""The same in a tool's description, where words are looser."""
NAMED_CAP = 60
"""Characters of a value that may be a receiver's name."""


@cache
def _verbs() -> tuple[frozenset[str], frozenset[str]]:
    data = load("rules/structure")
    return frozenset(data["reads"]), frozenset(data["writes"])


class Fact(NamedTuple):
    """What was read, and where: the first of its kind."""

    turn: int
    says: str
    classes: tuple[str, ...] = ()


class Way(NamedTuple):
    """A call or link by which data can leave. `text` and `span` are the link, or where an outsider's text named the receiver."""

    turn: int
    says: str
    cause: str
    is_named_outside: bool
    text: int = -1
    span: Span = Span(0, 0)
    receiver: str = ""
    call: ToolCall | None = None


EARLIER = "earlier in the conversation"
NONE: Mapping[str, frozenset[str]] = {}


def axes(exchange: Exchange, scene: Scene | None = None) -> frozenset[str]:
    """Which of untrusted, private and outward an exchange meets. With the exchange's Scene it costs little; without one, personal data is
    looked for in the first BLIND_CAP bytes of each record."""
    known = scene or Scene(exchange, Context(str), _nothing())
    out = set()
    if _untrusted(known) is not None:
        out.add(UNTRUSTED)
    if _private(known, scene is None) is not None:
        out.add(PRIVATE)
    if next(_ways(known, scene is None), None) is not None:
        out.add(OUTWARD)
    return frozenset(out)


@cache
def _nothing() -> dict[Origin, Prefilter]:
    return dict.fromkeys(Origin, Prefilter((), "python"))


def find(scene: Scene) -> Iterator[Hit]:
    """At most one hit a call or link."""
    if not scene.calls and not scene.found(exfil_link.PATTERN.name):
        return
    earlier = _earlier(scene)
    untrusted = Fact(-1, f"outside text {EARLIER}") if UNTRUSTED in earlier else _untrusted(scene)
    if untrusted is None:
        return
    ways = [way for way in _ways(scene, False) if way.turn > untrusted.turn]
    if not ways:
        return
    private = Fact(-1, f"private data {EARLIER}") if PRIVATE in earlier else _private(scene, False)
    for way in ways[-HITS_CAP:] if private is not None else ():
        if private is not None and way.turn > private.turn:
            yield _hit(scene, untrusted, private, way)


def _earlier(scene: Scene) -> frozenset[str]:
    known = getattr(scene.context, "axes", NONE)
    return known.get(scene.exchange.conversation, frozenset()) if scene.exchange.conversation else frozenset()


def _untrusted(scene: Scene) -> Fact | None:
    for text in scene.texts:
        if text.trust is Trust.third_party and text.origin in READ and len(text.value) >= SHORTEST:
            return Fact(text.turn, f"outside text of {_name(text)}")
    return None


def _private(scene: Scene, is_blind: bool) -> Fact | None:
    told = _described(scene)
    for index, text in enumerate(scene.texts):
        if text.origin is not Origin.tool:
            continue
        if text.name and (text.name in told or reads_private(text.name)):
            return Fact(text.turn, f"private data of {_name(text)}")
        if text.trust is Trust.first_party:
            kind = _personal(scene, index, is_blind) if index >= scene.past.texts else _remembered(scene, index)
            if kind:
                return Fact(text.turn, f"{kind.replace('_', ' ')} of {_name(text)}", (kind,))
    return None


@remembered(4096)
def reads_private(name: str) -> bool:
    """Whether a tool of this name reads what is not for everybody: get_customer, email_search, inbox; not send_email, order_pizza."""
    words = [word.lower() for word in WORDS.findall(name[-120:])]
    reads, writes = _verbs()
    if not words or OWN.isdisjoint(words):
        return False
    return not reads.isdisjoint(words) or (words[0] not in writes and (writes - OWN).isdisjoint(words))


@remembered(4096)
def sends(name: str) -> bool:
    """Whether what a tool of this name is given reaches somebody else."""
    words = [word.lower() for word in WORDS.findall(name[-120:])]
    if not words or SENDS.isdisjoint(words) or not has_side_effects(name):
        return False
    reads, _ = _verbs()
    return not (words[0] in NOUNS and (not reads.isdisjoint(words) or words[0] == "issue"))


def _described(scene: Scene) -> set[str]:
    """Reading tools whose description says that what they return is not for everybody."""
    return {
        spec.name
        for spec in scene.exchange.tools[:200]
        if not has_side_effects(spec.name) and _is_told(spec.description[:400])
    }


@remembered(2048)
def _is_told(description: str) -> bool:
    return not TOLD.isdisjoint(WORDS.findall(description.lower()))


def _personal(scene: Scene, index: int, is_blind: bool) -> str:
    """The class of the first personal identifier or secret in a text, "" where there is none."""
    data = scene.data(index)
    for pattern in identifiers.PATTERNS:
        ends = _ends(scene, index, pattern.name, is_blind)
        for one in (one for end in ends for one in identifiers.identifiers(data, pattern.name, end)):
            return one.kind
    found = [(topic, end) for topic in secrets.shapes() for end in _ends(scene, index, topic, is_blind)]
    return "secret" if next(secrets.secrets_in(data, found), None) is not None else ""


def _remembered(scene: Scene, index: int) -> str:
    """The same for a text of an earlier turn, which the prefilter does not read again: looked for once, then known."""
    notes = scene.context.notes
    key = f"{ID}:{hashlib.sha256(scene.data(index)[:BLIND_CAP]).hexdigest()}"
    held = notes.get(key)
    if isinstance(held, str):
        return held.removeprefix("-")
    kind = _personal(scene, index, True)
    notes.put(key, f"-{kind}")
    return kind


def _ends(scene: Scene, index: int, topic: str, is_blind: bool) -> list[int]:
    if not is_blind:
        return [row.end for row in scene.found(topic) if row.text == index][:50]
    return [found.end for found in _blind().scan(scene.data(index)[:BLIND_CAP]) if found.name == topic][:50]


@cache
def _blind() -> Prefilter:
    return Prefilter((*identifiers.PATTERNS, *secrets.DETECTOR.patterns), places=50)


def _ways(scene: Scene, is_blind: bool) -> Iterator[Way]:
    for call in scene.calls[-CALLS_CAP:]:
        way = _call(scene, call)
        if way is not None:
            yield way
    texts = range(len(scene.texts)) if is_blind else scene.touched(exfil_link.PATTERN.name)
    for index in texts:
        text = scene.texts[index]
        if text.origin is Origin.model and "//" in text.value:
            for link in links(text.value):
                if _carries(scene, index, link):
                    yield _link(scene, index, link)


def _call(scene: Scene, call: ToolCall) -> Way | None:
    """The call as a way out: one that sends by its name, one that changes something at an address, one that goes to an address that was
    put together. None where user or system named the receiver."""
    by_name, changes = sends(call.name), has_side_effects(call.name)
    if not by_name and "//" not in call.arguments and not (changes and "@" in call.arguments):
        return None
    given = values(call)
    receivers = [value for value in given if ADDRESS.fullmatch(value)]
    if not changes:
        receivers = [value for value in receivers if _is_built(scene, value, call.turn)]
    if not by_name and not receivers:
        return None
    index, span, receiver = _from_outside(scene, call, receivers if receivers else given)
    if index < 0 and changes and _is_asked(scene, call.turn, receivers, given):
        return None
    name = visible(call.name[:80])
    says = f"{name} sends" if changes else f"{name} goes to an address that was put together"
    return Way(call.turn, says, name, index >= 0, index, span, receiver or next(iter(receivers), ""), call)


def _is_asked(scene: Scene, turn: int, receivers: list[str], given: list[str]) -> bool:
    """Whether user or system named every address of the call; where it has none, any short value of it."""
    if receivers:
        return all(_is_named(scene, value, turn) for value in receivers)
    return any(_is_named(scene, value, turn) for value in given if len(value) <= NAMED_CAP)


def _is_built(scene: Scene, value: str, turn: int) -> bool:
    """Whether an address goes to a host that nobody entitled named and does not stand whole in what was read."""
    found = HOST.match(value)
    if found is None or is_known(scene, found.group(1).lower(), turn):
        return False
    return not any(text.turn < turn and value in scene.lower(text) for text in scene.texts)


def _is_named(scene: Scene, value: str, turn: int) -> bool:
    """Whether user or system named the receiver before the call."""
    return any(
        text.turn <= turn and text.origin in (Origin.user, Origin.system) and stands_in(value, scene.lower(text)) >= 0
        for text in scene.texts
    )


def _from_outside(scene: Scene, call: ToolCall, given: list[str]) -> tuple[int, Span, str]:
    """Where outside prose alone names the receiver: (text, span, receiver), -1 where it does not."""
    for value in given:
        host = HOST.match(value)
        for wanted in [value] if is_telling(value) and host is None else [value, host.group(1)] if host else []:
            for result in scene.results:
                if result.turn >= call.turn:
                    continue
                for passage in scene.prose.get(result.first, ()):
                    at = stands_in(wanted, result.value[passage.start : passage.end].lower())
                    if at >= 0 and not is_explained(scene, wanted, call.turn, result, passage):
                        start = passage.start + at
                        return *place(scene.texts, result, start, start + len(wanted)), wanted
    return -1, Span(0, 0), ""


def _carries(scene: Scene, index: int, link: Link) -> bool:
    """Whether a link of the reply goes to a host that nobody entitled named, with something to carry."""
    text = scene.texts[index]
    if not (link.image or "?" in link.tail or len(link.tail) >= 40) or is_known(scene, link.host, text.turn):
        return False
    address = text.value[link.start : link.end].rstrip(".,;:!?*_")
    return not any(other.origin is not Origin.model and address in other.value for other in scene.texts[:index])


def _link(scene: Scene, index: int, link: Link) -> Way:
    text = scene.texts[index]
    start = len(text.value[: link.start].encode("utf-8", "surrogatepass"))
    span = Span(start, start + len(text.value[link.start : link.end].encode("utf-8", "surrogatepass")))
    outside = any(
        other.trust is Trust.third_party and other.turn < text.turn and link.host in scene.lower(other)
        for other in scene.texts
    )
    what = "an image of the reply is fetched from" if link.image else "a link of the reply goes to"
    return Way(text.turn, f"{what} a host that nobody named", what, outside, index, span, link.host)


def _name(text: Text) -> str:
    return visible(text.name[:80]) or ("a document" if text.origin is Origin.document else "a tool")


def _hit(scene: Scene, untrusted: Fact, private: Fact, way: Way) -> Hit:
    where = "; the receiver stands only in outside text" if way.is_named_outside else ""
    rule = (
        f"{untrusted.says}{_turn(untrusted)}, {private.says}{_turn(private)}, then {way.says} (turn {way.turn}){where}"
    )
    return hit(
        scene,
        ID,
        "lethal_combination",
        TAXONOMIES,
        severity=Severity.high,
        confidence=Confidence.medium if way.is_named_outside else Confidence.low,
        text=way.text,
        call=way.call,
        span=way.span,
        excerpt="" if way.text >= 0 else rule[:240],
        values=(way.receiver,) if way.receiver else (),
        data_classes=private.classes,
        cause=f"{way.cause} after outside text and private data"[:160],
        rule=rule,
        would_change="the receiver may have these data, or the outside text is the owner's own",
    )


def _turn(fact: Fact) -> str:
    return f" (turn {fact.turn})" if fact.turn >= 0 else ""


DETECTOR = Detector(
    id=ID,
    kinds=("lethal_combination",),
    taxonomies=TAXONOMIES,
    severity=Severity.high,
    why="An agent that has read a stranger's text and private data and can reach the outside does what the stranger wants with the data.",
    find=find,
    origins=(),
)
