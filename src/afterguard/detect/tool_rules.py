"""Calls and tools against what was agreed: which may be called, with which arguments, described how.

In: a Scene; its Context may have `tools`, a ToolRules. Out: Hits of kind tool_not_allowed, bad_arguments, tool_changed and tool_poisoned.
Without rules only what the request itself offers is compared. A schema's usual keywords are checked; what it says beyond them, and
what is past a cap, counts as fitting: a tool is never blamed for what could not be told. It calls nothing and fetches no schema.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import cache
from math import prod
from typing import Any, NamedTuple

import msgspec

from afterguard.catalog import load
from afterguard.detect.detector import Bounded, Context, Detector
from afterguard.detect.invisible import hidden
from afterguard.detect.prefilter import Pattern, Prefilter
from afterguard.detect.redact import redacted, visible
from afterguard.detect.scene import Scene, hit
from afterguard.model import Confidence, Hit, Severity, ToolCall, ToolSpec
from afterguard.remembered import remembered

ID = "tool-rules"
TAXONOMIES = ("LLM06:2025", "LLM03:2026", "ASI02:2026", "AML.T0053", "CWE-285")
CHANGED = ("LLM03:2025", "LLM04:2026", "ASI04:2026", "AML.T0110", "CWE-494")
POISONED = ("LLM01:2025", "LLM01:2026", "ASI04:2026", "AML.T0110", "AML.T0051.001", "CWE-1427")
ARGUMENTS = ("LLM06:2025", "LLM03:2026", "ASI02:2026", "AML.T0053", "CWE-20")
CALLS_CAP = 200
TOOLS_CAP = 2_000
ARGUMENTS_CAP = 262_144
DEPTH = 24
KEY_CAP, SCHEMA_CAP = 2_048, 32_768
"""Characters of a remembered tool's key, and of a schema that arguments are compared with."""
TOLD_CAP, SPEC_CAP = 20_000, 60_000
"""Characters of one description, and of all in one tool, that are read: of a longer one its beginning and its end."""
STEPS = 5_000
"""Comparisons for one call."""
PATTERN_CAP = 200
COUNT_CAP, COUNTS_CAP = 64, 20_000
"""How often a pattern may ask for a thing, and all its counts multiplied: nested counts make engines slow to build."""
ESCAPED = re.compile(r"\\.|\[\^?\]?[^\]\[]{0,100}\]")
VALUE_CAP = 4_096
COUNTED = re.compile(r"\{(\d{1,9})(?:,(\d{0,9}))?\}")
LINES = re.compile(r"[ \t]*\n[ \t]*")


class ToolRules(msgspec.Struct, frozen=True):
    """What an application's owner agreed to, by tool name."""

    allow: frozenset[str] = frozenset()
    """Tools that may be called; empty: whatever the request offers."""
    pins: Mapping[str, str] = {}
    """Tool -> `pin` of the description that was read and accepted; empty: none is compared."""
    deny: frozenset[str] = frozenset()
    """Tools that may never be called, offered or not."""
    arguments: Mapping[str, Any] = {}
    """Tool -> JSON Schema of its arguments as the owner wants them; where there is one, the request's own does not count."""


class Problem(NamedTuple):
    """Why a value does not fit a schema. `odd`: not what a model gets wrong by mistake."""

    says: str
    odd: bool = False


def pin(spec: ToolSpec) -> str:
    """SHA-256 over name, description and schema of a tool; order of keys and blanks of the schema do not count."""
    digest = hashlib.sha256()
    for part in (spec.name, spec.description, _canonical(spec.parameters)):
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def _canonical(schema: str) -> str:
    try:
        return msgspec.json.encode(_schema(schema), order="sorted").decode() if schema else ""
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError):
        return schema


def _schema(text: str) -> Any:
    """The schema; Bedrock wraps it in an object with the one key `json`."""
    decoded = msgspec.json.decode(text)
    return decoded["json"] if isinstance(decoded, dict) and list(decoded) == ["json"] else decoded


def pins(specs: Iterable[ToolSpec]) -> dict[str, str]:
    """Pins of all tools offered now, for a person to accept."""
    return {spec.name: pin(spec) for spec in specs}


def listed(body: bytes | str) -> tuple[ToolSpec, ...]:
    """The tools of an MCP server's answer to tools/list, with or without its JSON-RPC envelope; none where it is no such answer."""
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return ()
    for key in ("result", "tools"):
        decoded = decoded.get(key, decoded) if isinstance(decoded, dict) else decoded
    out: list[ToolSpec] = []
    for item in decoded[:TOOLS_CAP] if isinstance(decoded, list) else ():
        name = item.get("name") if isinstance(item, dict) else None
        if isinstance(name, str) and name:
            told, schema = item.get("description"), item.get("inputSchema")
            out.append(ToolSpec(name, told if isinstance(told, str) else "", _dumps(schema) if schema else ""))
    return tuple(out)


def _dumps(value: Any) -> str:
    try:
        return msgspec.json.encode(value).decode("utf-8", "replace")
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError):
        return ""


def drift(specs: Iterable[ToolSpec], pinned: Mapping[str, str], context: Context | None = None) -> dict[str, str]:
    """Tools that are not as they were accepted -> how they differ. Nothing is said where nothing is pinned."""
    out: dict[str, str] = {}
    seen: dict[str, str] = {}
    for spec in specs:
        now = _known(spec, context).pin
        if seen.setdefault(spec.name, now) != now:
            out[spec.name] = "is offered twice, with different descriptions"
        elif pinned and spec.name not in pinned:
            out.setdefault(spec.name, "was not there when the tools were accepted")
        elif pinned and pinned[spec.name].lower() != now:
            out[spec.name] = "has another description or schema than was accepted"
    return out


@cache
def _phrases() -> re.Pattern[str]:
    data = load("rules/tool_descriptions")
    return re.compile("|".join(f"(?:{row})" for row in [*data["everywhere"], *data["description"]]), re.IGNORECASE)


def poisoned(spec: ToolSpec) -> str:
    """What in a tool's description or schema speaks to the model rather than about the tool; "" where nothing does."""
    told, left = [spec.description, *_told(spec.parameters)], SPEC_CAP
    for text in told:
        cut = text if len(text) <= TOLD_CAP else text[: TOLD_CAP // 2] + " " + text[-TOLD_CAP // 2 :]
        left -= len(cut)
        if left < 0 or len(told) > STEPS:
            return "is longer than anybody reads"
        if next(iter(hidden(cut)), None) is not None:
            return "carries invisible characters"
        found = _phrases().search(LINES.sub(" ", cut))
        if found:
            return f'orders the model about: "{redacted(found.group())[:80]}"'
    return ""


def _told(schema: str) -> list[str]:
    """Descriptions, titles and defaults inside a schema, a few more than STEPS at most."""
    try:
        waiting = [_schema(schema)] if schema else []
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return [schema]
    out: list[str] = []
    while waiting and len(out) <= STEPS:
        value = waiting.pop()
        if isinstance(value, dict):
            out += [text for key in ("description", "title", "default") if isinstance(text := value.get(key), str)]
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return out


class _Known(NamedTuple):
    """What is derived from a spec once."""

    pin: str
    poisoned: str
    schema: Any


def _known(spec: ToolSpec, context: Context | None) -> _Known:
    memory = _memory(context) if context is not None else None
    key = f"{len(spec.name)}:{len(spec.description)}:{spec.name}{spec.description}{spec.parameters}"
    if len(key) > KEY_CAP:
        key = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    held = memory.get(key) if memory is not None else None
    if held is not None:
        return held
    try:
        schema = _schema(spec.parameters) if 0 < len(spec.parameters) <= SCHEMA_CAP else None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        schema = None
    made = _Known(pin(spec), poisoned(spec), schema)
    return made if memory is None else memory.put(key, made)


def _memory(context: Context) -> Bounded[_Known]:
    held = context.notes.get(ID)
    return held if isinstance(held, Bounded) else context.notes.put(ID, Bounded[_Known](512))  # type: ignore[return-value]


def find(scene: Scene) -> Iterator[Hit]:
    """Hits about the tools offered, then about the calls of the reply."""
    rules = getattr(scene.context, "tools", None)
    agreed = rules if isinstance(rules, ToolRules) else ToolRules()
    offered = scene.exchange.tools[:TOOLS_CAP]
    known = {spec.name: _known(spec, scene.context) for spec in offered}
    if offered:
        yield from _tools(scene, offered, known, agreed)
    if scene.calls:
        yield from _calls(scene, offered, known, agreed)


def _tools(scene: Scene, offered: tuple[ToolSpec, ...], known: dict[str, _Known], agreed: ToolRules) -> Iterator[Hit]:
    single = len(known) == len(offered)
    for spec in offered:
        says = (known[spec.name] if single else _known(spec, scene.context)).poisoned
        if says:
            yield _hit(
                scene,
                "tool_poisoned",
                POISONED,
                Severity.high,
                Confidence.medium,
                spec.name,
                f"the description of {_name(spec.name)} {says}",
                "the owner of the application wrote this sentence",
            )
    if not single or any(agreed.pins.get(name) != one.pin for name, one in known.items() if agreed.pins):
        for name, says in drift(offered, agreed.pins, scene.context).items():
            new = name not in agreed.pins
            yield _hit(
                scene,
                "tool_changed",
                CHANGED,
                Severity.medium if new else Severity.high,
                Confidence.low if new else Confidence.high,
                name,
                f"{_name(name)} {says}",
                "somebody has read the new description and pins it",
            )


def _calls(scene: Scene, offered: tuple[ToolSpec, ...], known: dict[str, _Known], agreed: ToolRules) -> Iterator[Hit]:
    is_open = not offered or any(not spec.description and not spec.parameters for spec in offered)
    last = max(call.turn for call in scene.calls)
    last = max(last, scene.texts[-1].turn) if scene.texts else last
    for call in scene.calls[-CALLS_CAP:]:
        if call.where.startswith("request") or (not call.where and call.turn < last):
            continue
        name = call.name.removeprefix("functions.")
        one = known.get(name)
        yield from _allowed(scene, call, name, agreed, is_open or one is not None)
        schema = agreed.arguments.get(name, one.schema if one is not None else None)
        if schema is not None:
            yield from _fitting(scene, name, call, schema)


def _allowed(scene: Scene, call: ToolCall, name: str, agreed: ToolRules, is_offered: bool) -> Iterator[Hit]:
    severity = Severity.high
    if name in agreed.deny:
        says = "is on the list of tools that may not be called"
    elif agreed.allow and not _is_among(name, agreed.allow):
        says = "is not on the list of tools that may be called"
    elif not is_offered:
        says, severity = "was not offered by the request", Severity.medium
    else:
        return
    yield _hit(
        scene,
        "tool_not_allowed",
        TAXONOMIES,
        severity,
        Confidence.high,
        name,
        f"{_name(name)} was called and {says}",
        "the tool belongs on the application's list",
        call,
    )


def _is_among(name: str, allowed: frozenset[str]) -> bool:
    """Whether a name stands among names and globs."""
    return name in allowed or any(fnmatchcase(name, one) for one in allowed if "*" in one or "?" in one)


def _fitting(scene: Scene, name: str, call: ToolCall, schema: Any) -> Iterator[Hit]:
    problem = misfit(schema, call.arguments)
    if problem is not None:
        yield _hit(
            scene,
            "bad_arguments",
            ARGUMENTS,
            Severity.medium if problem.odd else Severity.low,
            Confidence.high,
            name,
            f"arguments of {_name(name)}: {problem.says}",
            "the schema that the request offered is out of date",
            call,
        )


def misfit(schema: Any, arguments: str) -> Problem | None:
    """The first reason why a call's arguments, JSON as sent, do not fit the decoded schema; None where they do or nobody can tell."""
    if len(arguments) > ARGUMENTS_CAP:
        return None
    twice: list[str] = []

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            twice.append("")
        return made

    try:
        value = json.loads(arguments, object_pairs_hook=once, parse_constant=_refused) if arguments.strip() else {}
    except RecursionError:
        return Problem("nested too deep", True)
    except ValueError:
        return Problem("no JSON", True)
    if twice:
        return Problem("a key stands twice in one object", True)
    return _Comparison(schema).problem(schema, {} if value is None else value, "", 0)


def _refused(name: str) -> Any:
    raise ValueError(name)


NUMBER = (int, float)
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "number": NUMBER,
    "integer": NUMBER,
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


class _Comparison:
    """One comparison of a value with a schema, within STEPS and DEPTH."""

    __slots__ = ("left", "root")

    def __init__(self, root: Any) -> None:
        self.root = root
        self.left = STEPS

    def problem(self, schema: Any, value: Any, at: str, depth: int) -> Problem | None:
        self.left -= 1
        if schema is False:
            return Problem(f"{at or 'the value'} may not be there", True)
        if not isinstance(schema, dict) or depth > DEPTH or self.left < 0:
            return None
        if value is None and schema.get("nullable") is True:
            return None
        return (
            self._referred(schema, value, at, depth)
            or _typed(schema, value, at)
            or _chosen(schema, value, at)
            or _limited(schema, value, at)
            or self._parts(schema, value, at, depth)
            or self._combined(schema, value, at, depth)
        )

    def _referred(self, schema: dict[str, Any], value: Any, at: str, depth: int) -> Problem | None:
        target = schema.get("$ref")
        if not isinstance(target, str) or not target.startswith("#"):
            return None
        found = self.root
        for step in target[1:].split("/")[1:20]:
            step = step.replace("~1", "/").replace("~0", "~")
            found = found.get(step) if isinstance(found, dict) else None
        return self.problem(found, value, at, depth + 1)

    def _parts(self, schema: dict[str, Any], value: Any, at: str, depth: int) -> Problem | None:
        if isinstance(value, dict):
            return self._object(schema, value, at, depth)
        if isinstance(value, list):
            first = schema.get("prefixItems")
            fixed = first if isinstance(first, list) else []
            for number, item in enumerate(value):
                if self.left < 0:
                    return None
                rule = fixed[number] if number < len(fixed) else schema.get("items", True)
                found = self.problem(rule, item, f"{at}[{number}]", depth + 1)
                if found:
                    return found
        return None

    def _object(self, schema: dict[str, Any], value: dict[str, Any], at: str, depth: int) -> Problem | None:
        needed = schema.get("required")
        for name in needed if isinstance(needed, list) else ():
            if isinstance(name, str) and name not in value:
                return Problem(f"{_path(at, name)} is missing")
        declared = schema.get("properties")
        known = declared if isinstance(declared, dict) else {}
        more = True if "patternProperties" in schema else schema.get("additionalProperties", True)
        for name, item in value.items():
            if self.left < 0:
                return None
            if name in known:
                found = self.problem(known[name], item, _path(at, name), depth + 1)
            elif more is False:
                found = Problem(f"{_path(at, name)} is no parameter of it", True)
            else:
                found = self.problem(more, item, _path(at, name), depth + 1)
            if found:
                return found
        return None

    def _combined(self, schema: dict[str, Any], value: Any, at: str, depth: int) -> Problem | None:
        every = schema.get("allOf")
        for one in every if isinstance(every, list) else ():
            found = self.problem(one, value, at, depth + 1)
            if found:
                return found
        for key in ("anyOf", "oneOf"):
            some = schema.get(key)
            if isinstance(some, list) and some:
                found = next((None for one in some if self.problem(one, value, at, depth + 1) is None), _NONE)
                if found and self.left >= 0:
                    return Problem(f"{at or 'the value'} fits none of the alternatives")
        return None


_NONE = Problem("none")


def _path(at: str, name: str) -> str:
    return f"{at}.{visible(name[:40])}" if at else visible(name[:40])


def _typed(schema: dict[str, Any], value: Any, at: str) -> Problem | None:
    told = schema.get("type")
    names = [str(name).lower() for name in told] if isinstance(told, list) else [str(told).lower()] if told else []
    if not names or any(_is_of(name, value) for name in names):
        return None
    return Problem(f"{at or 'the value'} is no {' or '.join(names)[:60]}")


def _is_of(name: str, value: Any) -> bool:
    kinds = TYPES.get(name)
    if kinds is None:
        return True
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, kinds) and (
        name != "integer" or isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    )


def _chosen(schema: dict[str, Any], value: Any, at: str) -> Problem | None:
    allowed = schema.get("enum")
    if isinstance(allowed, list) and not any(_same(one, value) for one in allowed):
        return Problem(f"{at or 'the value'} is none of the allowed values", True)
    if "const" in schema and not _same(schema["const"], value):
        return Problem(f"{at or 'the value'} is not the one allowed value", True)
    return None


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) is isinstance(other, bool)


SIZES = (("minLength", "maxLength", str), ("minItems", "maxItems", list), ("minProperties", "maxProperties", dict))


def _limited(schema: dict[str, Any], value: Any, at: str) -> Problem | None:
    if isinstance(value, NUMBER) and not isinstance(value, bool):
        low, high = _number(schema.get("minimum")), _number(schema.get("maximum"))
        above, below = _number(schema.get("exclusiveMinimum")), _number(schema.get("exclusiveMaximum"))
        if (low is not None and value < low) or (above is not None and value <= above):
            return Problem(f"{at or 'the value'} is too small", True)
        if (high is not None and value > high) or (below is not None and value >= below):
            return Problem(f"{at or 'the value'} is too large", True)
        return None
    for least, most, kind in SIZES:
        if isinstance(value, kind):
            low, high = _number(schema.get(least)), _number(schema.get(most))
            if (low is not None and len(value) < low) or (high is not None and len(value) > high):
                return Problem(
                    f"{at or 'the value'} is too {'short' if low is not None and len(value) < low else 'long'}", True
                )
    shape = schema.get("pattern")
    if isinstance(shape, str) and isinstance(value, str) and is_matched(shape, value) is False:
        return Problem(f"{at or 'the value'} does not have the shape that is asked for", True)
    return None


def _number(value: Any) -> float | None:
    """A limit; OpenAPI writes sizes as strings at times, Draft 4 exclusive limits as booleans."""
    return value if isinstance(value, NUMBER) and not isinstance(value, bool) else None


def is_matched(shape: str, value: str) -> bool | None:
    """Whether a schema's pattern is found in a value; None where nobody can tell in linear time."""
    if not value or len(value) > VALUE_CAP or not value.isascii():
        return None
    test = _compiled(shape)
    return None if test is None else test(value)


@remembered(256, longest=PATTERN_CAP)
def _compiled(shape: str) -> Callable[[str], bool] | None:
    """A test of linear time: a schema may come from a stranger. None for what no engine here can do so."""
    if len(shape) > PATTERN_CAP or not shape.isascii():
        return None
    counts = [[int(number) for number in row if number] for row in COUNTED.findall(shape)]
    if prod(max(row) for row in counts) > COUNTS_CAP or any(max(row) > COUNT_CAP for row in counts):
        return None
    try:
        return _backtracking(shape) if _is_plain(shape, counts) else _automaton(shape)
    except Exception:  # each engine has errors of its own, and all of them mean: cannot
        return None


def _is_plain(shape: str, counts: list[list[int]]) -> bool:
    """Whether Python's own engine, which compiles faster, cannot backtrack far: no groups, and no choice of lengths but one at the start."""
    bare = ESCAPED.sub("x", shape)
    endless = sum(bare.count(sign) for sign in "*+?") + bare.count(",}")
    ranges = prod(row[-1] - row[0] + 1 for row in counts if len(row) == 2)
    return not re.search(r"[(|]|\[\[\-&~]", bare) and ranges <= 64 and endless <= (1 if bare.startswith("^") else 0)


def _backtracking(shape: str) -> Callable[[str], bool]:
    found = re.compile(shape, re.ASCII).search
    return lambda value: found(value) is not None


def _automaton(shape: str) -> Callable[[str], bool] | None:
    engine = Prefilter([Pattern("shape", shape, once=True)])
    return None if engine.backend == "python" else lambda value: bool(engine.scan(value.encode()))


def _name(name: str) -> str:
    return visible(name[:80]) or "a tool without a name"


def _hit(
    scene: Scene,
    kind: str,
    taxonomies: tuple[str, ...],
    severity: Severity,
    confidence: Confidence,
    name: str,
    rule: str,
    would_change: str,
    call: ToolCall | None = None,
) -> Hit:
    return hit(
        scene,
        ID,
        kind,
        taxonomies,
        severity=severity,
        confidence=confidence,
        excerpt=rule[:240],
        call=call,
        cause=f"{kind.replace('_', ' ')}: {_name(name)}",
        rule=rule,
        would_change=would_change,
    )


DETECTOR = Detector(
    id=ID,
    kinds=("tool_not_allowed", "bad_arguments", "tool_changed", "tool_poisoned"),
    taxonomies=tuple(dict.fromkeys((*TAXONOMIES, *ARGUMENTS, *CHANGED, *POISONED))),
    severity=Severity.high,
    why="A call outside of what was offered, or a tool that changed since it was accepted, is how an agent is turned against its owner.",
    find=find,
    origins=(),
)
