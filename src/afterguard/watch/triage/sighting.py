"""A line of the decision log -> what it says happened: sightings.

In: one decoded line (OCSF class 6003 of the guard, class 2004 of the watch over time). Out: `Traffic` and the Sightings in it. It judges nothing; a line that is neither gives nothing, and says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from afterguard.model import Action, Confidence, Drill, Entity, Severity
from afterguard.safe import line as one_line

HELD_OFF = frozenset(Action) - {Action.allow, Action.flag}
NAME = 200
CALLERS = 1_000
AFTER = 900.0
"""Seconds for which the watch over time may still speak of what is over."""
TICK = 0.002
"""A line's time is cut to milliseconds."""


class Place(NamedTuple):
    """Where the line stands, so that the original is found again."""

    file: str = ""
    at: int = 0
    """Byte offset of its beginning."""


NOWHERE = Place()


class Traffic(msgspec.Struct, frozen=True, gc=False):
    """One exchange, whether anything was seen in it or not."""

    time: float
    app: str
    identity: str = ""
    conversation: str = ""
    cost: float = 0.0


class Sighting(msgspec.Struct, frozen=True, omit_defaults=True):
    """One hit in one exchange, or one alarm of the watch that stands for many."""

    time: float
    app: str
    kind: str
    severity: Severity
    confidence: Confidence
    exchange: str = ""
    tenant: str = "default"
    mount: str = ""
    detector: str = ""
    cause: str = ""
    rule: str = ""
    would_change: str = ""
    excerpt: str = ""
    taxonomies: tuple[str, ...] = ()
    data_classes: tuple[str, ...] = ()
    is_held_off: bool = False
    """Whether the guard kept it from having an effect."""
    is_alarm: bool = False
    """Whether it is about behaviour over time: the watch has already weighed it."""
    why: dict[str, float | str] = {}
    exchanges: tuple[str, ...] = ()
    count: int = 1
    entities: tuple[Entity, ...] = ()
    model: str = ""
    policy: str = ""
    place: Place = NOWHERE

    def of(self, kind: str) -> str:
        """The first entity of a kind, "" for none."""
        return next((one.name for one in self.entities if one.kind == kind), "")


SCOPES = {
    "key": "key", "user": "identity", "address": "address", "network": "address", "device": "device", "conversation": "conversation",
    "tenant": "tenant", "model": "model", "shape": "payload", "prompt": "prompt", "payee": "payee", "caller": "identity", "client": "payload",
}  # fmt: skip
"""What the watch calls what it watches -> kind of entity."""


def traffic(line: Mapping[str, Any]) -> Traffic | None:
    """What a decision says of the exchange itself; None for anything else."""
    if line.get("class_uid") != 6003:
        return None
    who, app = _at(line, "actor", "user", "uid"), _at(line, "actor", "app_name")
    return Traffic(_time(line), app or _at(line, "api", "service", "uid"), "" if who == "unknown" else who, _at(line, "message_context", "uid"))  # fmt: skip


def is_probe(line: Mapping[str, Any]) -> bool:
    """Whether it is a probe of our own: it holds planted secrets, and says nothing of anybody."""
    return _own(line).get("probe") is True


def decided(line: Mapping[str, Any]) -> tuple[str, str, bool]:
    """(id of an exchange, the mode it was judged in, whether the guard held it off)."""
    own = _own(line)
    return _at(line, "metadata", "uid"), _text(own.get("mode")), _text(own.get("action")) in HELD_OFF


def of_drill(line: Mapping[str, Any], drills: Iterable[Drill]) -> str:
    """The drill that a line is of: an exchange of its callers within its time, or an alarm about nobody else. "" for the real thing."""
    known = list(drills)
    if not known:
        return ""
    if line.get("class_uid") == 6003:
        who, grace = {_at(line, "actor", "user", "uid")}, 0.0
    else:
        why = _own(line).get("why")
        named = _at(why, "who") if _at(why, "scope") in ("key", "user", "caller") else ""
        who, grace = {*_texts(_own(line).get("callers"), CALLERS), named} - {""}, AFTER
    time = _time(line)
    return next((one.run for one in known if who and who <= set(one.identities) and one.begins - TICK <= time <= one.ends + grace), "")  # fmt: skip


def sightings(line: Mapping[str, Any], place: Place = NOWHERE) -> list[Sighting]:
    """Everything that was seen in the exchange, or the one alarm."""
    if line.get("class_uid") == 6003:
        return _decision(line, place)
    if line.get("class_uid") == 2004 and _at(line, "metadata", "log_name") == "watch":
        return [_alarm(line, place)]
    return []


def _decision(line: Mapping[str, Any], place: Place) -> list[Sighting]:
    own = _own(line)
    hits = own.get("hits")
    if not isinstance(hits, list):
        return []
    about, action = traffic(line), str(own.get("action", ""))
    assert about is not None
    entities = tuple(_entities(line, own))
    out = []
    for hit in hits:
        if isinstance(hit, Mapping) and hit.get("kind") not in (None, "inventory"):
            out.append(
                _hit(line, hit, about, action in HELD_OFF, _sourced(entities, _text(hit.get("document"))), place)
            )
    return out


def _sourced(entities: tuple[Entity, ...], document: str) -> tuple[Entity, ...]:
    """The same, and the document in which the hit stands is its source."""
    if not document:
        return entities
    source = Entity("document", document, "source")
    return (*(one for one in entities if (one.kind, one.name) != ("document", document)), source)


def _hit(
    line: Mapping[str, Any],
    hit: Mapping[str, Any],
    about: Traffic,
    is_held_off: bool,
    entities: tuple[Entity, ...],
    place: Place,
) -> Sighting:
    own = _own(line)
    return Sighting(
        about.time, about.app, _text(hit.get("kind")), _severity(hit.get("severity")), _confidence(hit.get("confidence")),
        exchange=_at(line, "metadata", "uid"), mount=_at(line, "api", "service", "uid"), detector=_text(hit.get("detector")), cause=_text(hit.get("cause")),
        rule=_said(hit.get("rule")), would_change=_text(hit.get("would_change")), excerpt=_text(hit.get("excerpt"), 240), taxonomies=_texts(hit.get("taxonomies") or own.get("taxonomies")),
        data_classes=_texts(hit.get("data_classes")), is_held_off=is_held_off, entities=entities, model=_at(line, "ai_model", "name"), policy=_at(line, "policy", "version"), place=place,
    )  # fmt: skip


def _entities(line: Mapping[str, Any], own: Mapping[str, Any]) -> list[Entity]:
    who = _at(line, "actor", "user", "uid")
    out = [Entity("identity", who)] if who and who != "unknown" else []
    for kind, name, role in (
        ("conversation", _at(line, "message_context", "uid"), "means"),
        ("mount", _at(line, "api", "service", "uid"), "target"),
        ("model", _at(line, "ai_model", "name"), "target"),
        ("prompt", _text(own.get("prompt")), "target"),
    ):
        if name and name != "unknown":
            out.append(Entity(kind, name, role))
    out += [Entity("tool", name, "means") for name in _texts(own.get("tools"))[:10]]
    return out + [Entity("document", name, "means") for name in _texts(own.get("documents"))[:10]]


def _alarm(line: Mapping[str, Any], place: Place) -> Sighting:
    own, info = _own(line), line.get("finding_info")
    why = own.get("why")
    known = {str(name): value for name, value in why.items() if isinstance(value, str | int | float)} if isinstance(why, Mapping) else {}  # fmt: skip
    ids = _texts(own.get("exchanges"))
    scope, who = str(known.get("scope", "")), str(known.get("who", ""))[:NAME]
    entities = [Entity(SCOPES[scope], who)] if scope in SCOPES and who else []
    model = who
    if scope == "model" and " " in who:  # the watch tells replies apart by model and revision of the prompt
        model, _, prompt = who.rpartition(" ")
        entities = [Entity("model", model), Entity("prompt", prompt)]
    entities += [Entity("identity", name) for name in _texts(own.get("callers"), CALLERS) if name != who]
    count = own.get("exchanges_total")
    return Sighting(
        _time(line), str(known.get("app", "")) or _at(line, "actor", "app_name") or _text(own.get("route")), _text(own.get("kind")), _rank(line.get("severity_id")), _confidence(line.get("confidence")),
        exchange=ids[0] if ids else "", mount=_text(own.get("route")), detector=_text(_at(info, "analytic", "name") if isinstance(info, Mapping) else ""), cause=_text(own.get("cause")),
        rule=_text(line.get("message"), 1_000), would_change=_text(own.get("would_change")), excerpt=_text(line.get("message"), 240), taxonomies=_texts(own.get("taxonomies")), is_alarm=True, why=known,
        exchanges=ids, count=count if isinstance(count, int) and count > 0 else max(1, len(ids)), entities=tuple(entities), model=model if scope == "model" else "", place=place,
    )  # fmt: skip


def _rank(value: Any) -> Severity:
    return SEVERITY_OF.get(value, Severity.medium) if isinstance(value, int) else Severity.medium


SEVERITY_OF = {1: Severity.info, 2: Severity.low, 3: Severity.medium, 4: Severity.high, 5: Severity.critical}


def _own(line: Mapping[str, Any]) -> Mapping[str, Any]:
    unmapped = line.get("unmapped")
    own = unmapped.get("afterguard") if isinstance(unmapped, Mapping) else None
    return own if isinstance(own, Mapping) else {}


def _at(value: Any, *path: str) -> str:
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value[:NAME] if isinstance(value, str) else ""


def _time(line: Mapping[str, Any]) -> float:
    time = line.get("time")
    return time / 1000 if isinstance(time, int | float) and 0 <= time < 1e14 else 0.0


def _text(value: Any, most: int = NAME) -> str:
    return value[:most] if isinstance(value, str) else ""


def _said(value: Any) -> str:
    """A sentence; one that was cut shows it."""
    return one_line(_text(value, 10 * NAME), 2 * NAME)


def _texts(value: Any, most: int = 100) -> tuple[str, ...]:
    return tuple(one[:NAME] for one in value[:most] if isinstance(one, str)) if isinstance(value, list | tuple) else ()


def _severity(value: Any) -> Severity:
    try:
        return Severity(value)
    except ValueError:
        return Severity.medium


def _confidence(value: Any) -> Confidence:
    try:
        return Confidence(value)
    except ValueError:
        return Confidence.medium
