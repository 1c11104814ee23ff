"""User text concatenated into instructions: a system prompt, or a prompt that carries the instructions, built from user input.

In: a code file. Out: a finding at the message or keyword. User text in a message of its own is left alone; so are values that no
user writes, such as a date. A parameter counts as user text by its name only where no caller in the file says otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from afterguard.code.parse import Parsed
from afterguard.code.syntax import Expr, calls, walk
from afterguard.model import Confidence, Finding, Severity
from afterguard.scan.check import CODE, Check, Context
from afterguard.scan.flow import Flow, Seen
from afterguard.scan.recognise import fold, words
from afterguard.scan.routes import routes
from afterguard.scan.value import Atom, Value, of

CHECK = Check(
    id="user-input-in-system-prompt",
    title="User text is part of the instructions",
    severity=Severity.high,
    taxonomies=("LLM01:2025", "LLM01:2026", "ASI01:2026", "AML.T0051.000", "CWE-1427"),
    why="The model cannot tell the user's words from the operator's, so a user can rewrite the rules of the application.",
    fix="Keep the system prompt fixed and send user text in a message with the role user; if a value must go into the instructions, "
    "take it from a list of allowed values.",
    kinds=CODE,
)
KEYWORDS = {
    "system",
    "instructions",
    "systeminstruction",
    "systemprompt",
    "systemmessage",
    "preamble",
    "systempromptsuffix",
    "developer",
}
_CALLS = {
    "systemmessage",
    "systemmessage.from",
    "setsystem",
    "systemprompttemplate",
    "withsystem",
    "chatmessage.system",
    "defaultsystem",
    "systemmessageprompttemplate.fromtemplate",
}
_RULES = re.compile(
    r"(?i)\byou are (?:a|an|the|our)\b|\byour (?:task|job|role) is\b|\b(?:never|do not|don't) (?:reveal|disclose|share|mention)\b|\bsystem:|### ?instructions"
)
_SLOT = re.compile(r"\{(\w{1,40})\}")
_SLOTS = {
    "input",
    "question",
    "query",
    "userinput",
    "usermessage",
    "userquery",
    "message",
    "userprompt",
    "userquestion",
    "text",
    "usertext",
}


def check(parsed: Parsed, context: Context) -> Iterator[Finding]:
    """Findings for instructions that hold user text."""
    flow = context.flow(parsed)
    handlers = {route.function for route in routes(parsed, context)}
    for held in flow.maps:
        role = held.fields.get("role") or held.fields.get("Role") or held.fields.get("OfSystem")
        if role is None:
            continue
        content = held.fields.get("content") or held.fields.get("Content") or held.fields.get("parts")
        if content is not None and _is_system(role):
            yield from _judge(
                parsed, context, flow, content, _line(held.expr), held.function.name, handlers, "the system message"
            )
    for seen in flow.calls:
        yield from _in_call(parsed, context, flow, seen, handlers)
    yield from _in_templates(parsed, context)


def _line(expr: Expr) -> int:
    content = next((value for key, value in expr.fields if key.lower() == "content"), expr)
    return content.line


def _is_system(role: Value) -> bool:
    named = fold(role.name)
    return role.text.lower() in ("system", "developer") or named.endswith(
        ("rolesystem", "role.system", "roles.system", "roledeveloper")
    )


def _in_call(parsed: Parsed, context: Context, flow: Flow, seen: Seen, handlers: set[str]) -> Iterator[Finding]:
    pairs = list(seen.keys)
    if seen.is_model or "agent" in seen.folded or any(atom.kind == "handle" for atom in seen.receiver.atoms):
        for part in seen.call.parts:
            if part.kind == "map":
                held = next((one for one in flow.maps if one.expr is part), None)
                pairs += list(held.fields.items()) if held else []
        for key, value in pairs:
            if fold(key) in KEYWORDS:
                line = next(
                    (e.line for p in (seen.call, *seen.call.parts) for k, e in p.fields if k == key), seen.call.line
                )
                yield from _judge(
                    parsed, context, flow, value, line, seen.function.name, handlers, f"{key} of {seen.call.text}"
                )
    last = seen.folded.rsplit(".", 1)[-1]
    if (
        last in ("systemmessage", "systemprompttemplate")
        or any(seen.folded.endswith(name) for name in _CALLS)
        or (last == "system" and "prompt" in seen.folded)
    ):
        for value in (*seen.args[:1], seen.key("content")):
            yield from _judge(
                parsed, context, flow, value, seen.call.line, seen.function.name, handlers, seen.call.text
            )
    if seen.is_model:
        yield from _single_prompt(parsed, context, flow, seen, handlers)


def _single_prompt(parsed: Parsed, context: Context, flow: Flow, seen: Seen, handlers: set[str]) -> Iterator[Finding]:
    """Rules and user text in one string, with no system message beside it."""
    inside = [
        one
        for one in flow.maps
        if any(sub is one.expr for part in (*seen.call.parts, *(v for _, v in seen.call.fields)) for sub in walk(part))
    ]
    roles = {one.fields["role"].text for one in inside if "role" in one.fields}
    if roles & {"system", "developer"} or any(fold(key) in KEYWORDS for key, _ in seen.keys):
        return
    values = [one.fields["content"] for one in inside if "content" in one.fields]
    values += [*seen.args[:1], seen.key("prompt", "input", "contents")]
    for value in values:
        if _RULES.search(value.text):
            yield from _judge(
                parsed,
                context,
                flow,
                value,
                seen.call.line,
                seen.function.name,
                handlers,
                f"the prompt of {seen.call.text}",
                Severity.medium,
            )
            return


def _judge(
    parsed: Parsed,
    context: Context,
    flow: Flow,
    value: Value,
    line: int,
    function: str,
    handlers: set[str],
    where: str,
    severity: Severity | None = None,
) -> Iterator[Finding]:
    atom = _user(flow, value, handlers)
    if atom is not None:
        name = atom.what.rpartition("#")[2] or atom.what
        sure = Confidence.high if atom.kind == "user" else Confidence.medium
        message = f"{name}, text that a user writes, is put into {where}."
        yield context.finding(CHECK, parsed, line, message, confidence=sure, severity=severity, function=function)


def _user(flow: Flow, value: Value, handlers: set[str]) -> Atom | None:
    """The origin that is a user's words."""
    if not value.atoms:
        return None
    atoms = flow.resolve(value.atoms)
    found = of(atoms, ("user",), "prompt")
    if found is not None:
        return found
    for atom in sorted(atoms, key=lambda one: (one.line, one.what)):
        function, _, name = atom.what.partition("#")
        if atom.kind != "param" or "any" in atom.clean:
            continue
        if function in handlers and fold(name) not in (
            "self",
            "db",
            "session",
            "settings",
            "config",
            "background",
            "response",
        ):
            return atom
        if value.text.strip() and fold(name) in words().user_params and function not in flow.called:
            return atom
    return None


def _in_templates(parsed: Parsed, context: Context) -> Iterator[Finding]:
    """("system", "... {question} ...") in a chat template."""
    if parsed.module is None:
        return
    for function, call in calls(parsed.module):
        if fold(call.text).rsplit(".", 1)[-1] not in ("frommessages", "chatprompttemplate", "frommessagestemplates"):
            continue
        for one in walk(call):
            if (
                one.kind == "list"
                and len(one.parts) == 2
                and one.parts[0].text in ("system", "developer")
                and one.parts[1].kind == "text"
            ):
                slots = [slot for slot in _SLOT.findall(one.parts[1].text[:20_000]) if fold(slot) in _SLOTS]
                if slots:
                    message = f"The slot {slots[0]} puts user text into the system message of the template."
                    yield context.finding(
                        CHECK, parsed, one.parts[1].line, message, confidence=Confidence.medium, function=function.name
                    )
