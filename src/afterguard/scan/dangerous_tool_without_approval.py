"""Tools that a model can call and that run commands, change data, write files, pay or send mail, with nobody asked.

In: a code file. Out: a finding at the tool's definition. A tool that asks a person, or an agent that is stopped before its tools,
is left alone; so is one that only reads through a fixed query.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from afterguard.code.parse import Parsed
from afterguard.code.syntax import Function
from afterguard.model import Confidence, Finding, Severity
from afterguard.scan.approval import has_step, is_app_wide
from afterguard.scan.check import CODE, Check, Context
from afterguard.scan.flow import Flow, Seen
from afterguard.scan.power import named_power, power

CHECK = Check(
    id="dangerous-tool-without-approval",
    title="A tool acts without approval",
    severity=Severity.high,
    taxonomies=("LLM06:2025", "LLM03:2026", "ASI02:2026", "ASI03:2026", "AML.T0053", "CWE-285", "CWE-862"),
    why="The model decides alone when this runs and with what arguments; one injected sentence is enough to make it act.",
    fix="Ask a person before the call takes effect (needs_approval, interrupt_before, a confirmation step), narrow what the tool can "
    "do, and give it credentials for that alone.",
    kinds=CODE,
)
_READY = {
    "shelltool": "shell", "bashprocess": "shell", "writefiletool": "file", "deletefiletool": "file", "movefiletool": "file",
    "filemanagementtoolkit": "file", "gmailtoolkit": "mail", "gmailsendmessage": "mail", "office365toolkit": "mail",
    "sqldatabasetoolkit": "SQL", "querysqldatabasetool": "SQL", "createsqlagent": "SQL",
    "stripeagenttoolkit": "payment", "computertool": "computer", "codeinterpretertool": "code",
}  # fmt: skip
_LOADED = {"terminal": "shell", "shell": "shell", "python_repl": "code"}


def check(parsed: Parsed, context: Context) -> Iterator[Finding]:
    """Findings for tools with power and no approval."""
    flow = context.flow(parsed)
    lines = context.lines(parsed)
    if is_app_wide(lines) or any(one.approves for one in context.summaries):
        return
    flagged = set()
    for function in flow.module.functions if flow.module else ():
        if function.name in flow.tools and not _asks(function, flow, lines):
            what = _strongest(function, flow)
            if what:
                flagged.add(function.name.rsplit(".", 1)[-1])
                message = f"The tool {function.name} has {what[0]} power ({what[1]}) and nobody approves its calls."
                yield context.finding(
                    CHECK, parsed, function.line, message, function=function.name, end_line=function.end_line
                )
    yield from _ready_made(parsed, context)
    yield from _schemas(parsed, context, flagged)


def _asks(function: Function, flow: Flow, lines: list[str]) -> bool:
    start = min([function.line, *(decorator.line for decorator in function.decorators)])
    if has_step(lines[start - 1 : max(function.end_line, start)]):
        return True
    return any(has_step(lines[one.line - 1 : one.end_line]) for one in _callees(function, flow))


def _callees(function: Function, flow: Flow) -> list[Function]:
    if flow.module is None:
        return []
    called = {seen.call.text.rsplit(".", 1)[-1] for seen in flow.calls if seen.function.name == function.name}
    return [
        one
        for one in flow.module.functions
        if one.name and one is not function and one.name.rsplit(".", 1)[-1] in called
    ]


def _strongest(function: Function, flow: Flow) -> tuple[str, str] | None:
    names = {function.name, *(one.name for one in _callees(function, flow))}
    names |= {seen.function.name for seen in flow.calls if seen.function.name.startswith(function.name + ".")}
    for seen in flow.calls:
        if seen.function.name in names:
            what = power(seen, flow)
            if what:
                return what, seen.call.text
    return None


def _ready_made(parsed: Parsed, context: Context) -> Iterator[Finding]:
    for seen in context.flow(parsed).calls:
        last = seen.folded.rsplit(".", 1)[-1]
        what = _READY.get(last) if _from_package(seen) else None
        if last == "loadtools" and seen.call.parts:
            for name in seen.call.parts[0].parts:
                if name.text in _LOADED:
                    what = _LOADED[name.text]
        if what:
            message = f"{seen.call.text.rsplit('.', 1)[-1]} gives the model {what} power and nobody approves its calls."
            yield context.finding(CHECK, parsed, seen.call.line, message, function=seen.function.name)


def _from_package(seen: Seen) -> bool:
    return "." in seen.name or "/" in seen.name


def _schemas(parsed: Parsed, context: Context, flagged: set[str]) -> Iterator[Finding]:
    """Tools declared to a model as JSON schema, judged by name where no function of that name is in the file."""
    flow = context.flow(parsed)
    lines = context.lines(parsed)
    here = {one.name.rsplit(".", 1)[-1] for one in flow.module.functions} if flow.module else set()
    if has_step(lines):
        return
    for held in flow.maps:
        name = held.fields.get("name")
        if (
            name is None
            or not held.fields.keys() & {"parameters", "input_schema", "inputSchema"}
            or "description" not in held.fields
        ):
            continue
        what = named_power(name.text)
        if what and name.text not in flagged and not _handled(name.text, here):
            line = next((value.line for key, value in held.expr.fields if key == "name"), held.expr.line)
            message = (
                f"The tool {name.text[:60]} is offered to the model with {what} power and nobody approves its calls."
            )
            yield context.finding(
                CHECK, parsed, line, message, confidence=Confidence.medium, function=held.function.name
            )


def _handled(name: str, here: set[str]) -> bool:
    return re.sub(r"[^A-Za-z0-9_]", "_", name) in here
