"""Any web page may call the AI application from its visitor's browser.

In: code and configuration of an application that uses AI. Out: a finding at the wildcard origin. A list of named origins is left
alone, and so is an application without AI.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from afterguard.code.document import scalars
from afterguard.code.parse import Parsed
from afterguard.code.syntax import Class, Expr, Function, argument, walk
from afterguard.model import Confidence, Finding, Severity
from afterguard.scan.check import CODE, CONFIG, Check, Context
from afterguard.scan.flow import Seen
from afterguard.scan.recognise import fold
from afterguard.scan.source_text import uncommented

CHECK = Check(
    id="permissive-cors",
    title="Any origin may call the AI application",
    severity=Severity.medium,
    taxonomies=("LLM06:2025", "LLM03:2026", "ASI03:2026", "AML.T0040", "CWE-942", "CWE-346"),
    why="A page that a colleague merely visits can talk to the model, its tools and its data with that colleague's network position.",
    fix="List the origins of your own front ends; never combine a wildcard with credentials.",
    kinds=(*CODE, *CONFIG, "script"),
)
_KEYS = {
    "alloworigins",
    "allowedorigins",
    "alloworigin",
    "origins",
    "origin",
    "alloworiginregex",
    "accesscontrolalloworigin",
}
_HEADER = re.compile(r"access-control-allow-origin[\"']?\s*[,:=]\s*[\"'`]?\*", re.IGNORECASE)
_OLLAMA = re.compile(
    r"\b(?:OLLAMA_ORIGINS|LITELLM_CORS_ORIGINS|CORS_ALLOW_ORIGINS?|VLLM_ALLOWED_ORIGINS|--allowed-origins)[\"']?\s*[=:\s]\s*[\"'\[]*\*"
)


def check(parsed: Parsed, context: Context) -> Iterator[Finding]:
    """Findings for wildcard origins."""
    flow = context.flow(parsed)
    if parsed.module is not None:
        if not (flow.with_ai or context.has_ai or any(seen.is_model for seen in flow.calls)):
            return
        for seen in flow.calls:
            line = _open_line(seen)
            if line:
                message = f"{seen.call.text.rsplit('/', 1)[-1]} lets every origin in."
                yield context.finding(CHECK, parsed, line, message, function=seen.function.name)
        yield from _annotations(parsed, context)
    elif parsed.document is not None and context.has_ai:
        yield from _in_document(parsed, context)
    text = context.text(parsed)
    if (context.has_ai or flow.with_ai or parsed.module is None) and (_OLLAMA.search(text) or _HEADER.search(text)):
        for number, text in uncommented(parsed, context.lines(parsed)):
            if _OLLAMA.search(text) or (context.has_ai and _HEADER.search(text)):
                yield context.finding(CHECK, parsed, number, "Every origin is let in.")


def _open_line(seen: Seen) -> int:
    """The line that opens a CORS set-up to everybody, 0 when it does not."""
    last = seen.folded.rsplit(".", 1)[-1]
    call = seen.call
    middleware = any(fold(part.text).endswith("corsmiddleware") for part in call.parts) or "cors" in seen.folded
    if not middleware:
        return (
            call.line
            if last
            in ("allowedorigins", "addallowedorigin", "allowedoriginpatterns", "addallowedoriginpattern", "anyhost")
            and (last == "anyhost" or _is_wild(call))
            else 0
        )
    for one in walk(call):
        for key, value in one.fields:
            if fold(key).replace("-", "") in _KEYS and (
                _is_wild(value) or (value.kind == "bool" and value.text == "true" and key == "origin")
            ):
                return value.line
            if fold(key) in ("allowallorigins", "alloworiginsall") and value.text == "true":
                return value.line
    if last in ("allowall", "default") and "cors" in seen.folded:
        return call.line
    named = any(fold(key).replace("-", "") in (*_KEYS, "resources", "*") for one in walk(call) for key, _ in one.fields)
    passed = last == "cors" and any(part.kind in ("map", "name") for part in call.parts)
    is_flask = last == "cors" and "flask" in seen.folded
    if last in ("cors", "crossorigin") and not named and (is_flask or not passed):
        return call.line if is_flask or not call.parts else 0
    return 0


def _is_wild(expr: Expr) -> bool:
    return any(one.kind == "text" and one.text in ("*", ".*", "https?://.*") for one in walk(expr))


def _annotations(parsed: Parsed, context: Context) -> Iterator[Finding]:
    assert parsed.module is not None
    holders: list[Function | Class] = [*parsed.module.functions, *parsed.module.classes]
    for holder in holders:
        for decorator in holder.decorators:
            if fold(decorator.text).rsplit(".", 1)[-1] == "crossorigin":
                origins = argument(decorator, "origins", 0)
                if (origins is None and parsed.source.kind in ("java", "kotlin")) or (
                    origins is not None and _is_wild(origins)
                ):
                    yield context.finding(CHECK, parsed, decorator.line, "CrossOrigin lets every origin in.")


def _in_document(parsed: Parsed, context: Context) -> Iterator[Finding]:
    assert parsed.document is not None
    for root in parsed.document.roots:
        for path, node in scalars(root):
            keys = [fold(part).replace("-", "") for part in path if not part.isdigit()]
            if (
                keys
                and node.text == "*"
                and (
                    keys[-1] in _KEYS
                    or keys[-1].endswith(
                        ("corsalloworigin", "alloworigin", "alloworigins", "allowedorigins", "corsorigins")
                    )
                )
            ):
                yield context.finding(
                    CHECK, parsed, node.line, f"{path[-1]} lets every origin in.", confidence=Confidence.medium
                )
