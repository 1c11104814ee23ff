"""Model output put into a page without escaping.

In: a code file, or a template that marks a variable safe. Out: a finding where the output becomes markup: innerHTML and its like,
dangerouslySetInnerHTML, Markup, `|safe`, HTML put together by hand in a response. Escaped or sanitised output is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from afterguard.code.parse import Parsed
from afterguard.model import Confidence, Finding, Severity
from afterguard.scan.check import CODE, Check, Context
from afterguard.scan.outputs import reached, reaching
from afterguard.scan.recognise import fold
from afterguard.scan.routes import routes

CHECK = Check(
    id="model-output-to-html",
    title="Model output is put into a page as markup",
    severity=Severity.high,
    taxonomies=("LLM05:2025", "LLM10:2026", "ASI02:2026", "AML.T0077", "CWE-79", "CWE-116"),
    why="Injected instructions make the model write script or image tags, which run in the reader's session or carry data away.",
    fix="Put the output in as text (textContent, an escaping template), or clean the rendered markup with a sanitiser that drops "
    "scripts and remote images before it reaches the page.",
    kinds=(*CODE, "text"),
)
_PROPERTIES = ("innerHTML", "outerHTML", "srcdoc", "dangerouslySetInnerHTML")
_TAG = re.compile(
    r"<(?:html|body|div|p|span|h[1-6]|li|ul|td|table|br|b|article|section|pre|script|img)[\s>/]", re.IGNORECASE
)
_SAFE = re.compile(
    r"\{\{-?\s*([A-Za-z_]\w{0,60})[\w.\[\]'\"]{0,80}\s*\|\s*(?:safe|raw)\b|\{\{\{\s*([A-Za-z_]\w{0,60})|<%-\s*([A-Za-z_]\w{0,60})"
)


def check(parsed: Parsed, context: Context) -> Iterator[Finding]:
    """Findings for output that becomes markup."""
    if parsed.module is None:
        yield from _in_template(parsed, context)
        return
    yield from reaching(CHECK, "html", parsed, context)
    flow = context.flow(parsed)
    for function, statement, target, value in flow.assigned:
        if target.rsplit(".", 1)[-1] in _PROPERTIES:
            atom = flow.tainted(value, "html")
            if atom is not None:
                yield reached(CHECK, parsed, context, statement.line, target, atom, function.name)
    for held in flow.maps:
        if "__html" in held.fields:
            atom = flow.tainted(held.fields["__html"], "html")
            if atom is not None:
                yield reached(
                    CHECK, parsed, context, held.expr.line, "dangerouslySetInnerHTML", atom, held.function.name
                )
    yield from _in_responses(parsed, context)


def _in_responses(parsed: Parsed, context: Context) -> Iterator[Finding]:
    """HTML put together by hand and sent back."""
    flow = context.flow(parsed)
    handlers = {route.function for route in routes(parsed, context)}
    for function, statement, value in flow.returned:
        if function.name in handlers and _TAG.search(value.text):
            atom = flow.tainted(value, "html")
            if atom is not None:
                yield reached(CHECK, parsed, context, statement.line, "the response", atom, function.name)
    for seen in flow.calls:
        last = fold(seen.call.text).rsplit(".", 1)[-1]
        if last in ("send", "end", "write", "fprintf", "fprint", "makeresponse", "response", "writestring"):
            for value in seen.args:
                atom = flow.tainted(value, "html") if _TAG.search(value.text) else None
                if atom is not None:
                    yield reached(CHECK, parsed, context, seen.call.line, seen.call.text, atom, seen.function.name)
                    break


def _in_template(parsed: Parsed, context: Context) -> Iterator[Finding]:
    name = parsed.source.path.rsplit("/", 1)[-1]
    given = {key: atoms for one in context.summaries for file, key, atoms in one.rendered if file in (name, "")}
    if not given:
        return
    for number, text in enumerate(context.lines(parsed), start=1):
        for found in _SAFE.finditer(text[:4000]):
            key = found.group(1) or found.group(2) or found.group(3)
            origin = [atom for atom in given.get(key, ()) if atom.kind == "model" and not atom.clean & {"html", "any"}]
            if origin:
                message = f"{key} is marked safe here, and it holds what {origin[0].what} returned."
                yield context.finding(CHECK, parsed, number, message, confidence=Confidence.high)
