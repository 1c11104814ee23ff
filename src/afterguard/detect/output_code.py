"""What the model said that acts where it is rendered or run: SQL, shell, templates, active HTML, terminal controls, formulas.

In: a Scene. Out: Hits of kind unsafe_output with the class in `rule`. Shapes are data in catalog/rules/output_code.yaml. A helper with
code says such things all day: in code that the user asked for they are kept at low confidence, elsewhere they count. It runs and
renders nothing, and does not know where the reply ends up. Links that carry data out are exfil_link's.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from functools import cache, cached_property
from typing import Any, NamedTuple

import msgspec

from afterguard.catalog import load
from afterguard.detect.detector import Detector
from afterguard.detect.prefilter import Pattern
from afterguard.detect.provenance import WORDS
from afterguard.detect.redact import redacted
from afterguard.detect.scene import Scene, hit
from afterguard.model import SEVERITIES, Confidence, Hit, Origin, Severity, Span, ToolCall

ID = "output-code"
TAXONOMIES = ("LLM05:2025", "LLM10:2026", "ASI05:2026")
PER_TEXT = 40
"""Hits of one text."""
CALLS_CAP = 50
ARGUMENTS_CAP = 65_536
"""Characters of one call's arguments that are read."""
USER_CAP = 8_000
"""Characters of one text of the user in which it is looked for whether code was asked for."""
FENCE = re.compile(rb"^[ \t>]{0,12}(?:[-*+][ \t]{1,4}|\d{1,3}[.)][ \t]{1,4})?(`{3,40}|~{3,40})([^\n]{0,200})$", re.M)
INLINE = re.compile(rb"(?<!`)`(?!`)[^`\n]{1,600}`(?!`)|(?<!`)``(?!`)[^\n]{1,600}?(?<!`)``(?!`)")
DOCUMENT = re.compile(rb"\s{0,20}(?:<!doctype\s+html|<html[\s>]|<\?xml|<svg[\s>]|#!/|<\?php)", re.I)
CODE_IN_TEXT = re.compile(r"```|=>|\(\)|</[a-z]|[;{}]\n|\bdef \w+\(|\bSELECT\b|\bconst \w+ =|^\s*[$#] \w+ -", re.M)
WORD = re.compile(r"\w+")
SCRIPT = re.compile(r"(?:javascript|vbscript|livescript):|data:(?:text/html|application/xhtml)", re.I)
CONTROLS = re.compile(r"[\x00-\x20]+")
LEVELS = {severity: number for number, severity in enumerate(SEVERITIES)}


class Rule(NamedTuple):
    """One shape, compiled."""

    id: str
    group: str
    severity: Severity
    says: str
    shape: re.Pattern[bytes]
    check: str
    prose: bool
    before: int
    behind: int
    """Bytes around the end of a prefilter match that the passage may take."""


class Passage(NamedTuple):
    """A verified passage: its bytes in the text, and the rule it fits."""

    span: Span
    rule: Rule


@cache
def rules() -> dict[str, Rule]:
    """Rules by topic name."""
    return {
        f"{ID}:{row['id']}": Rule(
            row["id"],
            row["class"],
            Severity(row["severity"]),
            row["says"],
            re.compile(row["shape"].encode("latin-1"), 0 if row.get("cased") else re.I),
            row.get("check", ""),
            bool(row.get("prose")),
            *row["window"],
        )
        for row in load("rules/output_code")["rules"]
    }


@cache
def _classes() -> dict[str, dict[str, Any]]:
    return dict(load("rules/output_code")["classes"])


@cache
def _spoken(name: str) -> tuple[frozenset[str], tuple[str, ...]]:
    """Single words, and phrases of several."""
    rows = [str(row) for row in load("rules/output_code")[name]]
    return frozenset(row for row in rows if WORD.fullmatch(row)), tuple(row for row in rows if not WORD.fullmatch(row))


def _speaks(name: str, said: str) -> bool:
    words, phrases = _spoken(name)
    lower = said.lower()
    return not words.isdisjoint(WORD.findall(lower)) or any(phrase in lower for phrase in phrases)


@cache
def _runners() -> frozenset[str]:
    return frozenset(load("rules/output_code")["runners"])


class Reply:
    """A text that is judged, with what is computed at most once for it."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    @cached_property
    def last_script_end(self) -> int:
        """Where the last end tag of a script begins, -1 where there is none."""
        return self.data.lower().rfind(b"</script")

    @cached_property
    def code(self) -> list[Span]:
        """Code blocks and inline code, in order."""
        return code_in(self.data)

    def is_code(self, span: Span) -> bool:
        """Whether a passage stands inside code."""
        return any(one.start <= span.start and span.end <= one.end for one in self.code)


def code_in(data: bytes) -> list[Span]:
    """Fenced blocks of Markdown, closed or not, and inline code outside of them."""
    blocks: list[Span] = []
    opened: tuple[int, bytes] | None = None
    for found in FENCE.finditer(data) if b"```" in data or b"~~~" in data else ():
        marks = found.group(1)
        if opened is None:
            if b"`" not in found.group(2) or marks[:1] == b"~":
                opened = (found.start(), marks)
        elif marks[:1] == opened[1][:1] and len(marks) >= len(opened[1]) and not found.group(2).strip():
            blocks.append(Span(opened[0], found.end()))
            opened = None
    if opened is not None:
        blocks.append(Span(opened[0], len(data)))
    out: list[Span] = []
    at = 0
    for block in [*blocks, Span(len(data), len(data))]:
        out += [Span(*found.span()) for found in INLINE.finditer(data, at, block.start)]
        out.append(block)
        at = block.end
    return out[:-1]


def passages(reply: Reply, ends: list[tuple[str, int]]) -> list[Passage]:
    """Verified passages around prefilter matches (topic, end): of those that overlap the worst, then the first."""
    taken: list[Passage] = []
    for row in sorted(_found(reply, ends), key=lambda one: (-LEVELS[one.rule.severity], one.span))[: PER_TEXT * 8]:
        if len(taken) < PER_TEXT and not any(
            one.span.start < row.span.end and row.span.start < one.span.end for one in taken
        ):
            taken.append(row)
    return sorted(taken, key=lambda one: one.span)


def _found(reply: Reply, ends: list[tuple[str, int]]) -> Iterator[Passage]:
    """Passages around prefilter matches. What was looked at is not looked at again: the more matches a topic has, the longer the stretch
    that is searched at once, so that the time stays linear whatever the text."""
    covered: dict[str, int] = {}
    tries: dict[str, int] = {}
    data = reply.data
    for topic, end in ends:
        if end <= covered.get(topic, 0):
            continue
        rule = rules()[topic]
        tries[topic] = tries.get(topic, -1) + 1
        high = min(len(data), end + rule.behind + min(64 * tries[topic], 4_096))
        whole = high if high == len(data) else high - rule.behind
        for match in rule.shape.finditer(data, max(covered.get(topic, 0), end - rule.before), high):
            if match.start() >= whole:
                break
            if match.end() > match.start() and CHECKS[rule.check](reply, match):
                yield Passage(Span(*match.span()), rule)
                if match.start() < end:
                    whole = match.end()
                    break
        covered[topic] = whole


def _any(_reply: Reply, _match: re.Match[bytes]) -> bool:
    return True


def _closed(reply: Reply, match: re.Match[bytes]) -> bool:
    """A script without an end tag is never run."""
    return reply.last_script_end >= match.end()


def _scripted(_reply: Reply, match: re.Match[bytes]) -> bool:
    """Whether an address is a script once its entities and blanks are undone."""
    value = html.unescape(match["value"].decode("utf-8", "replace"))
    return SCRIPT.match(CONTROLS.sub("", value)) is not None


CHECKS = {"": _any, "closed": _closed, "scripted": _scripted}


def find(scene: Scene) -> Iterator[Hit]:
    """Hits in the model's texts, then in the arguments of its calls."""
    ends: dict[int, list[tuple[str, int]]] = {}
    for topic in scene.seen(ID):
        for place in scene.found(topic):
            if scene.texts[place.text].origin is Origin.model:
                ends.setdefault(place.text, []).append((topic, place.end))
    for index in sorted(ends):
        yield from _in_text(scene, index, ends[index])
    for call in scene.calls[-CALLS_CAP:]:
        if len(call.arguments) >= 8 and not call.where.startswith("request."):
            yield from _in_call(scene, call)


def _in_text(scene: Scene, index: int, ends: list[tuple[str, int]]) -> Iterator[Hit]:
    reply = Reply(scene.data(index))
    found = passages(reply, ends)
    asked = bool(found) and is_asked(scene, scene.texts[index].turn)
    whole = asked and DOCUMENT.match(reply.data) is not None
    told: set[str] = set()
    for span, rule in found:
        inside = whole or reply.is_code(span)
        if rule.prose and (inside or asked):
            continue
        explained = asked and (inside or _classes()[rule.group]["asked"]) and rule.group != "terminal"
        if explained and rule.id in told:
            continue
        told.add(rule.id)
        where = ("in code" if inside else "in the reply") + (" that the user asked for" if explained else "")
        shown = _shown(reply.data, span) if explained else ""
        yield _hit(scene, rule, where, _sure(rule, explained), text=index, span=span, excerpt=shown)


def _sure(rule: Rule, explained: bool) -> Confidence:
    return Confidence.low if explained or rule.prose else Confidence.medium


def is_asked(scene: Scene, turn: int) -> bool:
    """Whether the user asked for code, or the application is a helper with code."""
    for text in scene.texts:
        if text.origin is Origin.user and text.turn <= turn:
            said = text.value[:USER_CAP]
            if _speaks("asks", said) or CODE_IN_TEXT.search(said):
                return True
        elif text.origin is Origin.system and _speaks("builders", text.value[:USER_CAP]):
            return True
    return False


def _in_call(scene: Scene, call: ToolCall) -> Iterator[Hit]:
    data = "\n".join(_strings(call.arguments)).encode("utf-8", "surrogatepass")
    known = rules()
    ends = [(name, end) for name, end in scene.scan(data, Origin.model) if name in known] if data else []
    runs = any(word.lower() in _runners() for word in WORDS.findall(call.name[-120:]))
    for span, rule in passages(Reply(data), ends) if ends else ():
        if rule.prose:
            continue
        yield _hit(
            scene,
            rule,
            f"in the arguments of {call.name[:80]}" + (", which runs or stores code" if runs else ""),
            _sure(rule, runs),
            excerpt=_shown(data, span),
            call=call,
        )


def _shown(data: bytes, span: Span) -> str:
    """The passage alone, redacted."""
    return redacted(data[span.start : min(span.end, span.start + 120)].decode("utf-8", "replace"))[:240]


def _strings(arguments: str) -> list[str]:
    try:
        decoded = msgspec.json.decode(arguments[:ARGUMENTS_CAP].encode("utf-8", "replace"))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return [arguments[:ARGUMENTS_CAP]]
    out: list[str] = []
    waiting = [decoded]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            out.append(value)
        elif isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return out


def _hit(
    scene: Scene,
    rule: Rule,
    where: str,
    sure: Confidence,
    *,
    text: int = -1,
    span: Span = Span(0, 0),  # noqa: B008 - an immutable tuple
    excerpt: str = "",
    call: ToolCall | None = None,
) -> Hit:
    return hit(
        scene,
        ID,
        "unsafe_output",
        (*TAXONOMIES, _classes()[rule.group]["cwe"]),
        severity=rule.severity,
        confidence=sure,
        text=text,
        span=span,
        excerpt=excerpt,
        call=call,
        cause=f"{rule.group}: {rule.says}",
        rule=f"{rule.group}: {rule.says}, {where}",
        would_change="the reply is shown as plain text and run nowhere, or the user asked for exactly this",
    )


DETECTOR = Detector(
    id=ID,
    kinds=("unsafe_output",),
    taxonomies=(*TAXONOMIES, "CWE-116"),
    severity=Severity.high,
    why="A page, terminal, database or shell that takes a reply as its own runs whatever somebody got the model to say.",
    find=find,
    patterns=tuple(
        Pattern(f"{ID}:{row['id']}", row["anchor"], ignore_case=True) for row in load("rules/output_code")["rules"]
    ),
    origins=(Origin.model,),
)
