"""An exchange that is over, as the watch over time is told of it.

In: a session, its decision, and what the connection says of the client. Out: an Event. Nothing of a text leaves but sketches, nothing of a name but keyed hashes. Headers about users, addresses and
devices are believed only where the operator says that its own infrastructure sets them (guard.user_header and its like).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from afterguard.guard.decision import Decision
from afterguard.guard.session import Session
from afterguard.model import Action, Origin, Text
from afterguard.watch.declined import declines
from afterguard.watch.event import Event
from afterguard.watch.move import move
from afterguard.watch.sketch import shape, sketch

Pseudonym = Callable[[str], str]
FAMILY = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,40}(?:/[A-Za-z]+)?")
CALLS = 20
INVALID = (400, 404, 422)
REFUSED = (Action.block, Action.ask, Action.throttle)


class Marks(NamedTuple):
    """Names of headers, lower case, that the operator's own infrastructure sets; "" for those that nobody sets."""

    user: bytes = b""
    address: bytes = b""
    """The last address of a list counts: it is what the nearest proxy saw."""
    device: bytes = b""
    region: bytes = b""


class Client(NamedTuple):
    """Who is at the other end, in keyed hashes."""

    user: str = ""
    address: str = ""
    network: str = ""
    device: str = ""
    region: str = ""
    family: str = ""


def client(headers: Mapping[bytes, bytes], peer: str, marks: Marks, pseudonym: Pseudonym) -> Client:
    """What is known of the client. `peer`: the address the connection came from."""

    def marked(name: bytes) -> str:
        return headers.get(name, b"").decode("latin-1").strip()[:400] if name else ""

    given = marked(marks.address).rpartition(",")[2].strip() if marks.address else peer
    user, device = marked(marks.user), marked(marks.device)
    address = _address(given)
    found = FAMILY.match(headers.get(b"user-agent", b"").decode("latin-1"))
    return Client(
        pseudonym(user) if user else "",
        pseudonym(str(address)) if address else "",
        pseudonym(_network(address)) if address else "",
        pseudonym(device) if device else "",
        marked(marks.region)[:40],
        found[0].lower() if found else "",
    )


Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _address(text: str) -> Address | None:
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _network(address: Address) -> str:
    return str(ipaddress.ip_network(f"{address}/{24 if address.version == 4 else 48}", strict=False))


def event(session: Session, one: Decision, at: Client, pseudonym: Pseudonym, cost: float = 0.0) -> Event:
    """The exchange in one row."""
    parts = session.parts
    old = session.asked_texts
    asked = _last(parts.texts[:old], Origin.user)
    answer = _last(parts.texts[old:], Origin.model)
    calls = parts.calls[session.asked_calls :][:CALLS]
    return Event(
        time=one.time + one.seconds,
        id=one.id,
        app=one.app or one.route,
        route=one.route,
        key=one.identity,
        user=at.user,
        address=at.address,
        network=at.network,
        region=at.region,
        device=at.device,
        client=at.family,
        conversation=one.conversation,
        model=_model(session) or one.model,
        version=_version(session),
        prompt=one.prompt,
        operation=one.operation,
        status=one.status,
        outcome=_outcome(one, answer),
        seconds=one.seconds,
        input_tokens=one.input_tokens or 0,
        output_tokens=one.output_tokens or 0,
        cost=cost,
        turn=sum(text.origin is Origin.user for text in parts.texts[:old]),
        asked=sketch(asked),
        shape=shape(asked),
        answer=sketch(answer),
        asked_size=len(asked),
        answer_size=len(answer),
        hits=tuple(dict.fromkeys(hit.kind for hit in one.hits)),
        invalid=one.status in INVALID and one.action not in REFUSED,
        moves=tuple(found for call in calls if (found := move(call, pseudonym)) is not None),
        calls=tuple(call.name[:100] for call in calls),
        documents=one.documents,
    )  # fmt: skip


def _last(texts: list[Text], origin: Origin) -> str:
    return next((text.value for text in reversed(texts) if text.origin is origin), "")


def _model(session: Session) -> str:
    """The model as the client names it: the reply's is a version of it."""
    found = session.asked.get("model") if isinstance(session.asked, dict) else None
    return found[:200] if isinstance(found, str) else session.spot.model[:200]


def _version(session: Session) -> str:
    body: Any = session.answered
    if not isinstance(body, dict):
        return ""
    found = body.get("system_fingerprint") or body.get("modelVersion") or body.get("model")
    return found[:100] if isinstance(found, str) else ""


def _outcome(one: Decision, answer: str) -> str:
    if one.action in REFUSED:
        return "blocked"
    if one.status >= 400 or one.status == 0:
        return "error"
    return "refused" if answer and declines(answer) else "ok"
