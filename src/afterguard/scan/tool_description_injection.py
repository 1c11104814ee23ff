"""Tool descriptions, skills and rules files that give the model hidden orders.

In: tool docstrings and descriptions in code and manifests, SKILL.md and rules files. Out: a finding at the phrase or the invisible
characters. Ordinary usage notes ("returns at most ten rows") are left alone; phrases are data in catalog/rules/tool_descriptions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from afterguard import catalog
from afterguard.code.document import Node, walk
from afterguard.code.parse import Parsed
from afterguard.code.syntax import Expr, calls
from afterguard.code.syntax import walk as inside
from afterguard.detect.invisible import hidden
from afterguard.model import Confidence, Finding, Severity
from afterguard.scan.check import CODE, Check, Context
from afterguard.scan.recognise import fold

CHECK = Check(
    id="tool-description-injection",
    title="A tool description gives the model orders",
    severity=Severity.high,
    taxonomies=("LLM01:2025", "LLM01:2026", "ASI04:2026", "ASI01:2026", "AML.T0110", "AML.T0051.001", "CWE-1427"),
    why="Descriptions go into the prompt with the authority of the operator; hidden orders in one tool steer all the others.",
    fix="Remove the tool or skill, or reduce the description to what it does, its inputs and its result; review descriptions on every update.",
    kinds=(*CODE, "json", "yaml", "toml", "text"),
)
_AGENT_FILE = re.compile(
    r"(?:^|/)(?:SKILL|AGENTS?|CLAUDE|GEMINI|SOUL|COPILOT|TOOLS?)\.md$|\.cursorrules$|\.windsurfrules$|\.clinerules|copilot-instructions\.md$|\.mdc$|(?:^|/)(?:skills|\.cursor/rules|\.claude)/",
    re.IGNORECASE,
)
_TOOL_CALLS = {
    "tool",
    "functiontool",
    "structuredtool",
    "fromfunction",
    "registertool",
    "addtool",
    "dynamicstructuredtool",
    "dynamictool",
    "fromdefaults",
    "newtool",
    "withdescription",
    "functiondeclaration",
    "description",
    "definetool",
    "createtool",
    "tooldefinition",
    "aifunction",
}


@cache
def phrases(everywhere: bool) -> re.Pattern[str]:
    """The phrases, compiled: those for any agent text, or those for descriptions as well."""
    data = catalog.load("rules/tool_descriptions")
    rows = data["everywhere"] if everywhere else [*data["everywhere"], *data["description"]]
    return re.compile("|".join(f"(?:{row})" for row in rows), re.IGNORECASE)


def check(parsed: Parsed, context: Context) -> Iterator[Finding]:
    """Findings for descriptions that instruct."""
    if parsed.module is not None:
        yield from _in_code(parsed, context)
    elif parsed.document is not None:
        for root in parsed.document.roots:
            yield from _in_document(parsed, context, root)
    elif parsed.source.kind == "text" and _AGENT_FILE.search(parsed.source.path):
        yield from _in_text(parsed, context)


def _in_code(parsed: Parsed, context: Context) -> Iterator[Finding]:
    assert parsed.module is not None
    flow = context.flow(parsed)
    for function in flow.module.functions if flow.module else ():
        if function.name in flow.tools and function.doc:
            yield from _judge(
                parsed, context, function.doc, function.doc_line or function.line, function.end_line, function.name
            )
        for decorator in function.decorators:
            yield from _fields(parsed, context, decorator, function.name)
    for klass in parsed.module.classes:
        if any("tool" in base.lower() for base in klass.bases):
            if klass.doc:
                yield from _judge(parsed, context, klass.doc, klass.line, klass.end_line, klass.name)
            for statement in klass.body:
                if "description" in statement.targets and statement.value is not None:
                    yield from _expr(parsed, context, statement.value, klass.name)
    for function, call in calls(parsed.module):
        if fold(call.text).rsplit(".", 1)[-1] in _TOOL_CALLS:
            yield from _fields(parsed, context, call, function.name)
            for part in call.parts[:3]:
                if part.kind in ("text", "join"):
                    yield from _expr(parsed, context, part, function.name)
    for held in context.flow(parsed).maps:
        if "description" in held.fields and held.fields.keys() & {
            "name",
            "parameters",
            "input_schema",
            "inputSchema",
            "execute",
            "handler",
        }:
            yield from _fields(parsed, context, held.expr, held.function.name)


def _fields(parsed: Parsed, context: Context, expr: Expr, function: str) -> Iterator[Finding]:
    for one in inside(expr):
        for key, value in one.fields:
            if key.lower() in ("description", "instructions"):
                yield from _expr(parsed, context, value, function)


def _expr(parsed: Parsed, context: Context, expr: Expr, function: str) -> Iterator[Finding]:
    texts = [one for one in inside(expr) if one.kind == "text"]
    if texts:
        last = max(max(one.end_line, one.line + one.text.count("\n")) for one in texts)
        yield from _judge(parsed, context, " ".join(one.text for one in texts), expr.line, last, function)


def _judge(
    parsed: Parsed, context: Context, text: str, line: int, end: int, function: str, everywhere: bool = False
) -> Iterator[Finding]:
    unseen = next(iter(hidden(text[:100_000])), None)
    if unseen is not None:
        at = _line_of(context.lines(parsed), line, end, lambda row: next(iter(hidden(row)), None) is not None)
        yield context.finding(
            CHECK, parsed, at, "Invisible characters carry text that only the model reads.", function=function
        )
    found = phrases(everywhere).search(re.sub(r"[ \t]*\n[ \t]*", " ", text[:100_000]))
    if found:
        pattern = phrases(everywhere)
        at = _line_of(context.lines(parsed), line, end, lambda row: pattern.search(row) is not None)
        said = found.group(0)[:60].strip()
        yield context.finding(
            CHECK,
            parsed,
            at,
            f'The description orders the model about: "{said}".',
            confidence=Confidence.medium,
            function=function,
        )


def _line_of(lines: list[str], line: int, end: int, test: object) -> int:
    assert callable(test)
    for number in range(line, min(max(end, line), line + 400, len(lines)) + 1):
        if test(lines[number - 1][:4000]):
            return number
    return line


def _in_document(parsed: Parsed, context: Context, root: Node) -> Iterator[Finding]:
    for path, node in walk(root):
        if node.kind == "map" and (
            node.get("name") is not None or any("tool" in part.lower() or "mcp" in part.lower() for part in path)
        ):
            for key, value in node.fields:
                if key.text.lower() in ("description", "instructions") and value.kind == "text":
                    yield from _judge(
                        parsed, context, value.text, value.line, value.line + value.text.count("\n") + 1, ""
                    )
        elif len(path) > 2 and path[-1] == "description" and "properties" in path and node.kind == "text":
            yield from _judge(parsed, context, node.text, node.line, node.line + node.text.count("\n") + 1, "")


def _in_text(parsed: Parsed, context: Context) -> Iterator[Finding]:
    for number, row in enumerate(context.lines(parsed)[:20_000], start=1):
        yield from _judge(parsed, context, row[:4000], number, number, "", everywhere=True)
