"""SOC-written Sigma rules over AI exchanges and alerts: load a file, feed events, get matches.

In: the text of a Sigma file (rules and correlations, several documents allowed), then events as OCSF maps: lines of the decision log,
alerts as they are exported. Out: `Match`es. Whatever cannot be done as written is refused when the rule is loaded; nothing is ignored:
an unknown modifier, a count behind a pipe, a kind of correlation that needs to know what did not happen. Source: Sigma specification 2.1.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import yaml

from afterguard.config import nearest
from afterguard.match import Matcher, compile
from afterguard.match.field import refuse
from afterguard.watch.sigma_correlation import Correlation, Groups

TEXT_CAP = 512_000
DOCUMENTS_CAP = 500
FIELDS_CAP = 2_000
ELEMENTS_CAP = 200
DEPTH_CAP = 12
SERVICES = {"ai_exchange": (6003, 6005), "ai_alert": (2004, 2005, 2006)}
"""Service of a logsource -> classes of events it speaks of."""
LEVELS = ("informational", "low", "medium", "high", "critical")
STATUSES = ("stable", "test", "experimental", "deprecated", "unsupported")
SPAN = re.compile(r"(\d{1,6})([smhdwM])")
SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800, "M": 2_592_000}
TYPES = ("event_count", "value_count", "temporal", "temporal_ordered")
COMPARES = ("gte", "gt", "eq")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Rule(NamedTuple):
    """One rule, ready to be asked."""

    id: str
    name: str
    title: str
    level: str
    tags: tuple[str, ...]
    classes: frozenset[int]
    """Classes of events it looks at."""
    matcher: Matcher


class Match(msgspec.Struct, frozen=True, omit_defaults=True):
    """A rule or correlation that holds."""

    rule: str
    """Id of the rule."""
    title: str
    level: str
    time: float
    tags: tuple[str, ...] = ()
    group: dict[str, str] = {}
    """Of a correlation: for whom."""
    count: int = 1
    events: tuple[str, ...] = ()
    """Ids of the events it rests on, the newest last."""
    format: str = "afterguard.match/1"


def load(text: str, name: str = "") -> tuple[Rule | Correlation, ...]:
    """The rules and correlations of a file. Raises UsageError that names the rule and what to write instead."""
    if len(text) > TEXT_CAP:
        refuse(name, "the file is too long", f"keep it below {TEXT_CAP} characters")
    try:
        if any(isinstance(one, (yaml.AliasToken, yaml.AnchorToken)) for one in yaml.scan(text, Loader=_LOADER)):
            refuse(name, "anchors and aliases are not read", "write the value out")
        documents = [one for one in yaml.load_all(text, Loader=_LOADER) if one is not None]
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
        refuse(name, f"no YAML: {str(error).splitlines()[0] if str(error) else 'nested too deeply'}", "mend the file")
    if not documents or len(documents) > DOCUMENTS_CAP:
        refuse(name, f"{len(documents)} rules in one file", f"write 1 to {DOCUMENTS_CAP}")
    return tuple(_one(document, name) for document in documents)


def _one(held: Any, file: str) -> Rule | Correlation:
    if not isinstance(held, dict):
        refuse(file, "a rule is a map", "begin it with title, id, logsource and detection")
    title = held.get("title")
    if not isinstance(title, str) or not title:
        refuse(file, "a rule has no title", "add title: what it finds")
    identifier = _identifier(held, title)
    level = held.get("level", "medium")
    if level not in LEVELS:
        refuse(title, f"no level {level!r}", nearest(str(level), list(LEVELS)))
    if held.get("status", "test") not in STATUSES:
        refuse(title, f"no status {held['status']!r}", nearest(str(held["status"]), list(STATUSES)))
    tags = held.get("tags") or []
    if not isinstance(tags, list) or not all(isinstance(one, str) for one in tags):
        refuse(title, "tags are a list of words", "write tags: [attack.t1059]")
    name = held.get("name") or identifier
    if "correlation" in held:
        return _correlation(held["correlation"], identifier, str(name), title, str(level), tuple(tags))
    classes = _classes(held.get("logsource"), title)
    return Rule(identifier, str(name), title, level, tuple(tags), classes, compile(held.get("detection"), title))


def _identifier(held: Mapping[str, Any], title: str) -> str:
    try:
        return str(UUID(str(held.get("id"))))
    except ValueError:
        refuse(title, "the id is no UUID", "make one, for instance with uuidgen")


def _classes(logsource: Any, title: str) -> frozenset[int]:
    if not isinstance(logsource, dict) or logsource.get("product") != "afterguard":
        refuse(
            title, "its logsource is not Afterguard's", "write logsource: {product: afterguard, service: ai_exchange}"
        )
    unknown = set(logsource) - {"product", "service", "definition"}
    if unknown:
        refuse(title, f"logsource {sorted(map(str, unknown))[0]} says nothing here", "leave product and service")
    service = logsource.get("service")
    if service is not None and service not in SERVICES:
        refuse(title, f"no service {service!r}", nearest(str(service), list(SERVICES)))
    chosen = [service] if service else list(SERVICES)
    return frozenset(number for one in chosen for number in SERVICES[one])


def _correlation(held: Any, identifier: str, name: str, title: str, level: str, tags: tuple[str, ...]) -> Correlation:
    if not isinstance(held, dict):
        refuse(title, "correlation is a map", "write type, rules, group-by, timespan and condition")
    known = ("type", "rules", "group-by", "timespan", "condition", "generate", "aliases")
    for key in held:
        if key not in known:
            refuse(title, f"no key {key!r} in a correlation", nearest(str(key), list(known)))
    kind = held.get("type")
    if kind not in TYPES:
        refuse(title, f"correlation type {kind!r} is not done here", "use one of " + ", ".join(TYPES))
    rules = _names(held.get("rules"), title, "rules")
    compare, count, field = _condition(held.get("condition"), kind, title)
    return Correlation(
        identifier, name, title, level, tags, kind, rules, _names(held.get("group-by") or [], title, "group-by"),
        _span(held.get("timespan"), title), compare, count, field, bool(held.get("generate", False)),
        _aliases(held.get("aliases") or {}, title),
    )  # fmt: skip


def _names(held: Any, title: str, key: str) -> tuple[str, ...]:
    names = [held] if isinstance(held, str) else held
    if not isinstance(names, list) or len(names) > 50 or not all(isinstance(one, str) for one in names):
        refuse(title, f"{key} is a list of names", f"write {key}: [one, two]")
    if key == "rules" and not names:
        refuse(title, "it correlates nothing", "name rules by their name or id")
    return tuple(names)


def _span(held: Any, title: str) -> float:
    found = SPAN.fullmatch(held) if isinstance(held, str) else None
    if found is None or not int(found[1]):
        refuse(title, f"timespan {held!r} is none", "write a number and s, m, h, d, w or M: 10m")
    return float(int(found[1]) * SECONDS[found[2]])


def _condition(held: Any, kind: str, title: str) -> tuple[str, int, str]:
    """(comparison, number, field)."""
    if kind.startswith("temporal"):
        if held is not None:
            refuse(title, "a temporal correlation takes no condition here", "leave it out: all rules must be seen")
        return "gte", 1, ""
    hint = "write condition: {gte: 5}" if kind == "event_count" else "write condition: {field: name, gte: 5}"
    if not isinstance(held, dict):
        refuse(title, "there is no condition", hint)
    compares = [key for key in held if key != "field"]
    if len(compares) != 1 or compares[0] not in COMPARES:
        refuse(title, f"its condition cannot be answered while events come: {compares}", "use one of gte, gt, eq")
    count, field = held[compares[0]], held.get("field", "")
    if isinstance(count, bool) or not isinstance(count, int) or not 0 < count <= 1_000:
        refuse(title, f"{count!r} is no count", "write a whole number from 1 to 1000")
    if (kind == "value_count") != bool(field) or not isinstance(field, str):
        refuse(title, "value_count counts values of one field, event_count has none", hint)
    return compares[0], count, field


def _aliases(held: Any, title: str) -> dict[str, dict[str, str]]:
    is_map = isinstance(held, dict) and all(
        isinstance(rules, dict) and all(isinstance(field, str) for field in rules.values()) for rules in held.values()
    )
    if not is_map:
        refuse(title, "aliases are maps of rule and field", "write aliases: {who: {rule_one: field, rule_two: field}}")
    return {str(alias): {str(rule): field for rule, field in rules.items()} for alias, rules in held.items()}


class Engine:
    """Rules, and what their correlations remember. Feed it events roughly in the order of their time."""

    def __init__(self, rules: Iterable[Rule | Correlation]) -> None:
        every = list(rules)
        self.rules = [one for one in every if isinstance(one, Rule)]
        self.correlations = _ordered([one for one in every if isinstance(one, Correlation)], self.rules)
        self.groups = {one.id: Groups(one) for one in self.correlations}
        quiet = [name for one in self.correlations if not one.generate for name in one.rules]
        self.quiet = {one.id for one in every if one.name in quiet or one.id in quiet}
        """Rules that only serve correlations."""
        self.counts: Counter[str] = Counter()
        """fed, matched, untimed, late (older than its window), forgotten (groups and values beyond what is kept)."""

    def feed(self, event: Mapping[str, Any]) -> list[Match]:
        """What holds now that this event has come. `event` is an OCSF map; others match nothing."""
        self.counts["fed"] += 1
        kind = event.get("class_uid")
        wanted = [one for one in self.rules if kind in one.classes]
        if not wanted:
            return []
        fields = flat(event)
        time, uid = _time(event), _uid(event)
        seen = {one.id: one for one in wanted if one.matcher.test(fields)}
        out = [_match(one, time or 0.0, uid) for one in seen.values() if one.id not in self.quiet]
        out += self._correlate({name for one in seen.values() for name in (one.id, one.name)}, fields, time, uid)
        self.counts["matched"] += len(out)
        return out

    def _correlate(self, seen: set[str], fields: Mapping[str, Any], time: float | None, uid: str) -> list[Match]:
        out = []
        for one in self.correlations:
            named = [name for name in one.rules if name in seen]
            if not named:
                continue
            if time is None:
                self.counts["untimed"] += 1
                continue
            for group, count, events in self.groups[one.id].feed(named, fields, time, uid, self.counts):
                seen |= {one.id, one.name}
                if one.id not in self.quiet:
                    out.append(Match(one.id, one.title, one.level, time, one.tags, group, count, events))
        return out


def _match(one: Rule, time: float, uid: str) -> Match:
    return Match(one.id, one.title, one.level, time, one.tags, events=(uid,) if uid else ())


def _ordered(correlations: Sequence[Correlation], rules: Sequence[Rule]) -> list[Correlation]:
    """Each after those it rests on. Refuses names that nothing is called, and circles."""
    known = {name for one in rules for name in (one.id, one.name)}
    todo, out = list(correlations), []
    names = known | {name for one in correlations for name in (one.id, one.name)}
    for one in correlations:
        for name in one.rules:
            if name not in names:
                refuse(one.title, f"it correlates {name!r}, which no rule is called", nearest(name, sorted(names)))
    while todo:
        ready = [one for one in todo if set(one.rules) <= known]
        if not ready:
            refuse(todo[0].title, "correlations rest on each other in a circle", "let one of them rest on rules")
        known |= {name for one in ready for name in (one.id, one.name)}
        out += ready
        todo = [one for one in todo if one not in ready]
    return out


def _time(event: Mapping[str, Any]) -> float | None:
    """Seconds of an OCSF event's time."""
    held = event.get("time")
    return held / 1000 if isinstance(held, (int, float)) and not isinstance(held, bool) and 0 < held < 1e15 else None


def _uid(event: Mapping[str, Any]) -> str:
    meta = event.get("metadata")
    held = meta.get("uid") if isinstance(meta, dict) else ""
    return held if isinstance(held, str) else ""


def flat(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event's fields by their dotted names. What stands in a list of maps is a list of values under one name."""
    out: dict[str, Any] = {}
    _flatten(event, "", out, DEPTH_CAP, False)
    return out


def _flatten(held: Any, name: str, out: dict[str, Any], depth: int, is_many: bool) -> None:
    if isinstance(held, Mapping):
        for key, inner in held.items() if depth else ():
            _flatten(inner, f"{name}.{key}" if name else str(key), out, depth - 1, is_many)
    elif isinstance(held, (list, tuple)):
        for inner in held[:ELEMENTS_CAP] if depth else ():
            _flatten(inner, name, out, depth - 1, True)
    elif len(out) < FIELDS_CAP or name in out:
        if not is_many:
            out[name] = held
        elif len(many := out.setdefault(name, [])) < ELEMENTS_CAP:
            many.append(held)
