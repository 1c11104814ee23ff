"""A JSON chat API that nobody knows: where in its bodies what is said, learned from a few recorded pairs.

In: decoded requests and replies. Out: a `Mapping` (for a person to read and correct, as plain data) and, with it, texts with exact
places in a `Parts`. It knows no provider, guesses nothing while traffic flows, and says what it is not sure of. Same samples, same
mapping.

Theory of operation. Every string of the samples stands at a way: its keys, with [*] for any index. A way is scored for each part
by its names (question, answer, session), by how much it reads like prose, and by how it varies: users say something else each time, a
system text does not, an id has no blanks. A list of objects with a word for a role in each is a conversation, and is taken whole.
What is mapped is read; long text that stands elsewhere is counted as unjudged, so that a wrong mapping shows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from afterguard.model import Origin, Trust
from afterguard.wire.blocks import DOCUMENT, MODEL, ROLES, SYSTEM, TOOL, USER, Who
from afterguard.wire.blocks import text as say
from afterguard.wire.parts import Parts, text_of
from afterguard.wire.splice import STEPS_CAP, Step, Unspliceable, step, steps

STEP = re.compile(r'\[\*\]|\.[^.\[\]"]+|\[\d{1,9}\]|\["(?:[^"\\]|\\.)*"\]')
LEAVES = 5_000
"""Strings looked at in one body."""
DEPTH = 12
SAMPLES = 200
PROSE = 200
"""Characters from which an unmapped text with blanks is counted as unjudged."""
ENOUGH = 3
"""Pairs below which nothing is sure."""
CLOSE = 1.0
"""Two ways whose scores differ by less could be either."""
LEAST = 2.0
"""Score below which a way is not taken."""

Way = tuple[Step | None, ...]
"""Keys and indexes; None is any index."""


class Mapping(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Ways as jq writes them: `.payload.question`, `.turns[*].text`, `.data["odd name"]`. Empty ones are not in this API."""

    user: str = ""
    system: str = ""
    document: str = ""
    tool: str = ""
    """Results of tools."""
    turns: str = ""
    """A list of objects that each say who speaks and what; the two names in them follow."""
    role: str = ""
    said: str = ""
    conversation: str = ""
    identity: str = ""
    reply: str = ""
    delta: str = ""
    """The piece of text in an event of a streamed reply."""
    reply_conversation: str = ""
    """The conversation's id where only the reply has it."""
    samples: int = 0
    unsure: tuple[str, ...] = ()
    """Sentences for a person. Empty where the samples left no doubt."""

    @property
    def is_sure(self) -> bool:
        """Whether the samples left no doubt."""
        return not self.unsure


WAYS = (
    "user",
    "system",
    "document",
    "tool",
    "turns",
    "conversation",
    "identity",
    "reply",
    "delta",
    "reply_conversation",
)


def to_plain(mapping: Mapping) -> dict[str, Any]:
    """The mapping as data for YAML or JSON."""
    found: dict[str, Any] = msgspec.to_builtins(mapping)
    return found


def from_plain(data: Any) -> Mapping:
    """The mapping a person wrote. Raises ValueError with the field that is wrong."""
    try:
        mapping = msgspec.convert(data, Mapping)
    except msgspec.ValidationError as bad:
        raise ValueError(str(bad)) from None
    for name in WAYS:
        try:
            way(getattr(mapping, name))
        except Unspliceable:
            raise ValueError(f"{name}: no way through JSON: {getattr(mapping, name)[:100]}") from None
    if mapping.turns and not (mapping.role and mapping.said):
        raise ValueError("turns: role and said must say which names in a turn say who speaks and what")
    return mapping


@lru_cache(maxsize=512)
def way(path: str) -> Way:
    """A path as steps. Raises Unspliceable."""
    path = path if path[:1] in (".", "[", "") else "." + path
    found = STEP.findall(path)
    if "".join(found) != path or len(found) > STEPS_CAP:
        raise Unspliceable("no way: " + path[:200])
    return tuple(None if one == "[*]" else steps(one)[0] for one in found)


def request(body: Any, mapping: Mapping, parts: Parts, where: str = "request") -> bool:
    """Read a request; False where nothing mapped is in it."""
    read: set[str] = set()
    _identify(body, mapping, parts)
    if mapping.system:
        _read(body, mapping.system, SYSTEM, parts, where, read)
    if mapping.turns:
        _turns(body, mapping, parts, where, read)
    for path, who in ((mapping.document, DOCUMENT), (mapping.tool, TOOL), (mapping.user, USER)):
        if path:
            parts.turn += 1
            _read(body, path, who, parts, where, read)
    if read:
        _rest(body, parts, where, read)
    return bool(read)


def response(body: Any, mapping: Mapping, parts: Parts, where: str = "response") -> bool:
    """Read a whole reply, or the list of a stream's events (whose text then has no place in any one of them)."""
    parts.turn += 1
    if isinstance(body, list) and mapping.delta:
        pieces = [v for event in body for _, v in at(event, mapping.delta, "") if isinstance(v, str)]
        parts.text("".join(pieces), *MODEL, where)
        return bool(pieces)
    read: set[str] = set()
    name(body, mapping, parts)
    if mapping.reply:
        _read(body, mapping.reply, MODEL, parts, where, read)
    if read:
        _rest(body, parts, where, read)
    return bool(read)


def name(body: Any, mapping: Mapping, parts: Parts) -> None:
    """The conversation as a reply, or one event of it, names it; what the request named stays."""
    if mapping.reply_conversation and not parts.conversation:
        found = next((v for _, v in at(body, mapping.reply_conversation, "") if isinstance(v, (str, int))), "")
        parts.conversation = str(found)[:500]


def strings(body: Any, path: str, where: str = "") -> Iterator[tuple[str, str]]:
    """Places and values of a path in a body, where they are strings."""
    yield from ((place, value) for place, value in at(body, path, where) if isinstance(value, str))


def has(body: Any, path: str) -> bool:
    """Whether a body has something at a path."""
    return any(value not in (None, "", [], {}) for _, value in at(body, path, ""))


def anywhere(where: str) -> str:
    """A place with [*] for every index."""
    return INDEX.sub(lambda found: found[1] or "[*]", where)


def prose(body: Any) -> bool:
    """Whether a value holds a string that could be a sentence, or a piece of one."""
    return any(not ID.match(value) for _, value in _strings(body, "") if value)


def _identify(body: Any, mapping: Mapping, parts: Parts) -> None:
    for field in ("conversation", "identity"):
        path = getattr(mapping, field)
        if path:
            found = next((v for _, v in at(body, path, "") if isinstance(v, (str, int))), "")
            setattr(parts, field, str(found)[:500])


def at(body: Any, path: str, where: str) -> Iterator[tuple[str, Any]]:
    """Places and values of a path in a body, in order."""
    level: list[tuple[str, Any]] = [(where, body)]
    for key in way(path):
        below: list[tuple[str, Any]] = []
        for place, value in level:
            if key is None:
                inner = value if isinstance(value, list) else ()
                room = max(0, LEAVES - len(below))
                below += [(f"{place}[{index}]", one) for index, one in enumerate(inner[:room])]
            elif _has(value, key):
                below.append((place + step(key), value[key]))
        level = below
    yield from level


def _has(value: Any, key: Step) -> bool:
    if isinstance(key, str):
        return isinstance(value, dict) and key in value
    return isinstance(value, list) and key < len(value)


def _read(body: Any, path: str, who: Who, parts: Parts, where: str, read: set[str]) -> None:
    for place, value in at(body, path, where):
        if isinstance(value, str):
            read.add(place)
            _say(value, who, parts, place)
        elif value is not None:
            # Sometimes a string, sometimes a list or an object: its strings are what is said.
            for inner, one in _strings(value, place):
                read.add(inner)
                _say(one, who, parts, inner)


def _say(value: str, who: Who, parts: Parts, where: str, name: str = "") -> None:
    if who is TOOL:
        parts.result(value, name, where)
    elif who is DOCUMENT:
        parts.text(value, Origin.document, Trust.third_party, where)
    else:
        say(value, who, parts, where)


def _turns(body: Any, mapping: Mapping, parts: Parts, where: str, read: set[str]) -> None:
    for place, items in at(body, mapping.turns, where):
        for index, item in enumerate(items if isinstance(items, list) else ()):
            parts.turn += 1
            if not isinstance(item, dict):
                continue
            role = text_of(item.get(mapping.role)).lower()
            who = _speaker(role)
            spot = f"{place}[{index}]{step(mapping.said)}"
            value = item.get(mapping.said)
            for inner, one in [(spot, value)] if isinstance(value, str) else _strings(value, spot):
                read.add(inner)
                _say(one, who, parts, inner, text_of(item.get("name")) if who is TOOL else "")


def _speaker(role: str) -> Who:
    """A word nobody knows is the user's: that is looked at hardest."""
    return ROLES.get(role) or MORE_ROLES.get(role) or USER


MORE_ROLES: dict[str, Who] = {
    "me": USER, "client": USER, "visitor": USER, "caller": USER, "guest": USER, "question": USER, "query": USER,
    "answer": MODEL, "response": MODEL, "reply": MODEL, "operator": MODEL, "copilot": MODEL, "llm": MODEL,
}  # fmt: skip


def _rest(body: Any, parts: Parts, where: str, read: set[str]) -> None:
    """Long text that no way of the mapping reaches is counted, never dropped."""
    for place, value in _strings(body, where):
        if len(value) >= PROSE and place not in read and " " in value:
            parts.skip("unknown_shape", place, len(value))


def _strings(body: Any, where: str) -> Iterator[tuple[str, str]]:
    """Strings of a value with their places, in order, capped in number and depth."""
    stack: list[tuple[str, Any, int]] = [(where, body, 0)]
    count = 0
    while stack and count < LEAVES:
        place, value, depth = stack.pop()
        if isinstance(value, str):
            count += 1
            yield place, value
        elif depth < DEPTH and isinstance(value, dict):
            pairs = list(value.items())[:LEAVES]
            stack += [(place + step(key), one, depth + 1) for key, one in reversed(pairs) if isinstance(key, str)]
        elif depth < DEPTH and isinstance(value, list):
            stack += [(f"{place}[{i}]", value[i], depth + 1) for i in range(min(len(value), LEAVES) - 1, -1, -1)]


# Learning.

WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
INDEX = re.compile(r'("(?:[^"\\]|\\.)*")|\[\d+\]')
ID = re.compile(r"[\w.:@+\-]{1,128}\Z")

NAMES: dict[str, dict[str, float]] = {
    "user": dict.fromkeys(("question", "prompt", "query", "utterance", "ask"), 3.0)
    | dict.fromkeys(("message", "input", "text", "user", "content", "body", "q", "request", "human"), 1.5)
    | dict.fromkeys(("system", "id", "instructions", "context", "model", "tool", "document", "documents", "history"), -3.0),
    "system": dict.fromkeys(("system", "instructions", "instruction", "preamble", "persona", "guidelines"), 3.0)
    | dict.fromkeys(("role", "policy", "rules", "template", "prefix"), 1.0)
    | dict.fromkeys(("user", "id", "model", "question", "query"), -3.0),
    "document": dict.fromkeys(("document", "documents", "docs", "passage", "passages", "chunk", "chunks", "snippet", "context", "contexts", "sources", "knowledge", "retrieved", "grounding"), 3.0)
    | dict.fromkeys(("content", "text", "body"), 0.5)
    | dict.fromkeys(("id", "title", "url", "system", "question"), -3.0),
    "tool": dict.fromkeys(("observation", "observations", "tool", "tools", "function"), 2.0)
    | dict.fromkeys(("result", "results", "output", "outputs", "returned"), 1.5)
    | dict.fromkeys(("id", "name", "description", "parameters"), -4.0),
    "reply": dict.fromkeys(("answer", "reply", "response", "completion", "generation"), 3.0)
    | dict.fromkeys(("text", "message", "output", "content", "result", "assistant", "bot", "said"), 1.5)
    | dict.fromkeys(("id", "model", "question", "prompt", "query", "source", "sources", "title", "url", "documents", "error"), -3.0),
    "delta": dict.fromkeys(("delta", "token", "chunk", "piece", "partial"), 3.0)
    | dict.fromkeys(("text", "content", "answer", "message", "data", "output", "response"), 1.5)
    | dict.fromkeys(("id", "model", "event", "type", "finish", "reason"), -4.0),
    "conversation": dict.fromkeys(("conversation", "session", "thread", "dialog", "dialogue", "chat"), 3.0)
    | dict.fromkeys(("id", "uuid", "key"), 1.0)
    | dict.fromkeys(("user", "message", "model", "question", "text", "request", "trace"), -3.0),
    "identity": dict.fromkeys(("user", "account", "customer", "member", "caller", "employee", "uid", "email", "principal"), 3.0)
    | dict.fromkeys(("id", "name", "sub"), 0.5)
    | dict.fromkeys(("message", "model", "question", "text", "session", "conversation", "thread", "prompt", "agent"), -3.0),
}  # fmt: skip
"""Words of names and what they say about what stands there."""


class _Seen(NamedTuple):
    """What the samples have at one way."""

    path: str
    values: list[str]
    in_samples: int

    def prose(self) -> float:
        """0 to 2: how much it reads like something somebody wrote."""
        wordy = sum(1 for value in self.values if value.count(" ") >= 2 or (not value.isascii() and len(value) > 8))
        longest = max(map(len, self.values))
        return wordy / len(self.values) + (0.5 if longest > 40 else 0.0) + (0.5 if longest > 200 else 0.0)

    def is_id(self) -> bool:
        """Whether no value could be a sentence."""
        return all(ID.match(value) for value in self.values)

    def variety(self) -> float:
        """Share of distinct values."""
        return len(set(self.values)) / len(self.values)


def learn(samples: Sequence[tuple[dict[str, Any], Any]]) -> Mapping:
    """The mapping of an API from recorded (request, reply) pairs. A reply is an object, or the list of a stream's events."""
    samples = list(samples)[:SAMPLES]
    requests = [asked for asked, _ in samples]
    whole = [got for _, got in samples if not isinstance(got, list)]
    streams = [event for _, got in samples if isinstance(got, list) for event in got]
    unsure = [] if len(samples) >= ENOUGH else [f"learned from {len(samples)} pairs: record at least {ENOUGH}"]
    turns, role, said = _conversation(requests)
    asked = [seen for seen in _gathered(requests) if not (turns and seen.path.startswith(turns + "[*]"))]
    found = {
        "system": _best("system", asked, unsure),
        "document": _best("document", asked, unsure),
        "tool": _best("tool", asked, unsure),
        "conversation": _best("conversation", asked, unsure),
        "identity": _best("identity", asked, unsure),
    }
    taken = set(found.values())
    found["user"] = _best("user", [seen for seen in asked if seen.path not in taken], unsure, not turns)
    answered = _gathered(whole)
    found["reply"] = _best("reply", answered, unsure, bool(whole))
    found["delta"] = _best("delta", _gathered(streams), unsure, bool(streams))
    if sum(has(body, found["conversation"]) for body in requests if found["conversation"]) < len(requests):
        # The first turn of a conversation has no id where the server makes it.
        found["reply_conversation"] = _best("conversation", answered, unsure)
    return Mapping(turns=turns, role=role, said=said, samples=len(samples), unsure=tuple(unsure), **found)


def _gathered(bodies: Sequence[Any]) -> list[_Seen]:
    """Strings by way, in the order in which they were first met."""
    values: dict[str, list[str]] = {}
    bearers: dict[str, set[int]] = {}
    for number, body in enumerate(bodies):
        for place, value in _strings(body, ""):
            path = anywhere(place)
            if value and (path in values or len(values) < LEAVES):
                values.setdefault(path, []).append(value)
                bearers.setdefault(path, set()).add(number)
    return [_Seen(path, found, len(bearers[path])) for path, found in values.items()]


def _conversation(bodies: Sequence[Any]) -> tuple[str, str, str]:
    """The list of turns, the name that says who speaks and the name of what is said; three times "" where there is none."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for body in bodies:
        for path, items in _lists(body):
            rows.setdefault(path, []).extend(item for item in items[:LEAVES] if isinstance(item, dict))
    for path, items in sorted(rows.items(), key=lambda row: (-len(row[1]), row[0])):
        names = list(dict.fromkeys(name for item in items for name in item if name))
        strings = {name: [item[name] for item in items if isinstance(item.get(name), str)] for name in names}
        for name in names:
            words = {value.lower() for value in strings[name]}
            if len(strings[name]) < len(items) or not words <= ROLES.keys() | MORE_ROLES.keys():
                continue
            rest = [
                other
                for other in names
                if other != name and strings[other] and not _Seen("", strings[other], 1).is_id()
            ]
            if rest:
                return path, name, max(rest, key=lambda other: (sum(map(len, strings[other])), other))
    return "", "", ""


def _lists(body: Any) -> Iterator[tuple[str, list[Any]]]:
    """Lists of objects with their ways."""
    stack: list[tuple[str, Any, int]] = [("", body, 0)]
    count = 0
    while stack and count < LEAVES:
        path, value, depth = stack.pop()
        count += 1
        if isinstance(value, list):
            if value and isinstance(value[0], dict):
                yield path, value
            pairs: list[tuple[str, Any]] = [("[*]", one) for one in value[:LEAVES]]
        elif isinstance(value, dict):
            pairs = [(step(key), one) for key, one in list(value.items())[:LEAVES] if isinstance(key, str)]
        else:
            continue
        if depth < DEPTH:
            stack += [(path + name, one, depth + 1) for name, one in reversed(pairs) if isinstance(one, (dict, list))]


def _best(part: str, seen: Sequence[_Seen], unsure: list[str], is_needed: bool = False) -> str:
    """The way with the highest score, "" where none is good enough; doubts are added to `unsure`."""
    scored = sorted(((-_score(part, one), one.path) for one in seen), key=lambda row: row)
    least = LEAST if is_needed else LEAST + 1.0
    good = [(-score, path) for score, path in scored if -score >= least]
    if not good:
        if is_needed:
            unsure.append(f"{part}: no place found")
        return ""
    if len(good) > 1 and good[0][0] - good[1][0] < CLOSE:
        unsure.append(f"{part}: {good[0][1]} or {good[1][1]}")
    return good[0][1]


def _score(part: str, seen: _Seen) -> float:
    names = NAMES[part]
    words = [word.lower() for key in way(seen.path) if isinstance(key, str) for word in WORD.findall(key[:80])]
    # The nearest name says most; the ones above it say half as much.
    score = sum(names.get(word, 0.0) * (1.0 if far < 2 else 0.5) for far, word in enumerate(reversed(words)))
    if part in ("conversation", "identity"):
        known = any(names.get(word, 0.0) >= 3.0 for word in words)
        return min(score, 4.0) if seen.is_id() and known else 0.0
    if part == "delta":
        return (
            min(score, 4.5)
            + 2.0 * seen.variety()
            + (1.0 if seen.variety() > 0.3 and any(" " in v for v in seen.values) else 0.0)
        )
    if seen.is_id() and len(seen.values) > 1 and part != "user":
        score -= 1.0
    score = max(-3.0, min(score, 4.5)) + seen.prose()
    if part == "system":
        return score + (0.5 if seen.variety() < 0.5 else -0.5) if score - seen.prose() > 0 else 0.0
    if part in ("document", "tool"):
        return score if score - seen.prose() >= 2.0 else 0.0
    return score + (1.0 if seen.variety() > 0.5 else -1.0)
