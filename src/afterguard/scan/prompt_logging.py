"""Prompts and replies written to a log in clear, or switched on for every call.

In: code and configuration. Out: a finding at the log call or at the switch. Lengths, counts, hashes and values that passed a
redaction are left alone; printing a reply in a command-line program is its purpose and not reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from afterguard.code.parse import Parsed
from afterguard.code.syntax import Expr, argument, statements, walk
from afterguard.model import Confidence, Finding, Severity
from afterguard.scan.check import CODE, CONFIG, Check, Context
from afterguard.scan.flow import Flow, Seen
from afterguard.scan.recognise import cleans, fold, is_ai_package
from afterguard.scan.source_text import uncommented

CHECK = Check(
    id="prompt-logging",
    title="Prompts are logged in clear",
    severity=Severity.medium,
    taxonomies=("LLM02:2025", "LLM02:2026", "AML.T0057", "CWE-532"),
    why="People type personal data and keys into prompts; in a log they are kept longer and read by more people than intended.",
    fix="Log an identifier, lengths and token counts; where the text is needed, redact it and keep it in a store with its own "
    "access rights and retention.",
    kinds=(*CODE, *CONFIG, "script"),
)
_LOGGERS = re.compile(
    r"(?:^|\.)_?(?:log|logger|logging|console|slog|loguru|structlog|logrus|sugar|lg|timber|klog|zap)(?:\b|$)",
    re.IGNORECASE,
)
_LEVELS = {
    "debug",
    "info",
    "warning",
    "warn",
    "error",
    "exception",
    "critical",
    "log",
    "trace",
    "print",
    "printf",
    "println",
    "infof",
    "debugf",
    "errorf",
    "warnf",
    "msg",
    "infow",
    "debugw",
    "d",
    "i",
    "w",
    "e",
}
_PRINTS = {"print", "pprint", "pprint.pprint", "system.out.println", "println", "fmt.println", "fmt.printf"}
_PROMPT_KEYS = {"messages", "prompt", "input", "contents", "system", "text", "inputs", "history"}
_PROMPT_NAMES = {
    "prompt",
    "messages",
    "systemprompt",
    "userprompt",
    "fullprompt",
    "finalprompt",
    "chathistory",
    "conversation",
    "prompttext",
    "llminput",
    "llmresponse",
    "llmoutput",
    "completion",
    "usermessage",
    "userinput",
    "requestmessages",
}
_NEUTRAL = {
    "len",
    "hash",
    "type",
    "count",
    "id",
    "str.len",
    "sha256",
    "hexdigest",
    "length",
    "size",
    "numtokens",
    "counttokens",
}
_SWITCH = re.compile(
    r"\b(?:OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT|TRACELOOP_TRACE_CONTENT|LANGCHAIN_VERBOSE|LANGCHAIN_DEBUG)[\"']?\s*[=:,\]]+\s*[\"']?(?:true|1|on|yes)\b"
    r"|\b(?:log|include)-(?:prompt|completion)s?[\"']?\s*[=:]\s*[\"']?true\b"
    r"|\b(?:OPENAI_LOG|LITELLM_LOG|ANTHROPIC_LOG)[\"']?\s*[=:,\]]+\s*[\"']?debug\b",
    re.IGNORECASE,
)
_TRACING = re.compile(
    r"\b(?:LANGCHAIN_TRACING_V2|LANGCHAIN_TRACING|LANGSMITH_TRACING)[\"']?\s*[=:,\]]+\s*[\"']?(?:true|1)\b",
    re.IGNORECASE,
)
_TALKS = re.compile(r"(?:agent|chain|crew|executor|llm|chat\w*|qa|openai|engine)$", re.IGNORECASE)
_MASKED = re.compile(r"(?:LANGCHAIN|LANGSMITH)_HIDE_(?:INPUTS|OUTPUTS)|hide_inputs|anonymizer", re.IGNORECASE)


def check(parsed: Parsed, context: Context) -> Iterator[Finding]:
    """Findings for prompts that reach a log."""
    if parsed.module is not None:
        flow = context.flow(parsed)
        if flow.with_ai or any(seen.is_model for seen in flow.calls):
            yield from _in_code(parsed, context, flow)
            yield from _switches(parsed, context)
    yield from _settings(parsed, context)


def _in_code(parsed: Parsed, context: Context, flow: Flow) -> Iterator[Finding]:
    prompts = _prompt_names(flow)
    for seen in flow.calls:
        kind = _log_kind(seen)
        if not kind:
            continue
        given = prompts.get(seen.function.name, set())
        named = next(
            (name for name in _shown(seen.call) if name in given or fold(name.rsplit(".", 1)[-1]) in _PROMPT_NAMES), ""
        )
        reply = kind == "log" and any(
            flow.tainted(value, "log", ("model",)) for value in (*seen.args, *(v for _, v in seen.keys))
        )
        if named or reply:
            what = named or "what a model returned"
            message = f"{seen.call.text} writes {what} as it is."
            sure = Confidence.high if kind == "log" else Confidence.medium
            yield context.finding(CHECK, parsed, seen.call.line, message, confidence=sure, function=seen.function.name)


def _log_kind(seen: Seen) -> str:
    if seen.folded in _PRINTS:
        return "print"
    owner, _, last = seen.call.text.rpartition(".")
    return "log" if owner and fold(last) in _LEVELS and _LOGGERS.search(owner) else ""


def _prompt_names(flow: Flow) -> dict[str, set[str]]:
    """Names handed to a model as its prompt, by function."""
    out: dict[str, set[str]] = {}
    for seen in flow.calls:
        if not seen.is_model:
            continue
        held = out.setdefault(seen.function.name, set())
        given: list[Expr] = [value for key, value in seen.call.fields if fold(key) in _PROMPT_KEYS]
        given += seen.call.parts[:1]
        for part in given:
            if part.kind == "map":
                values = [value for key, value in part.fields if fold(key) in (*_PROMPT_KEYS, "content")]
            else:
                values = [part]
            for value in values:
                for one in walk(value):
                    if one.kind == "map":
                        continue
                    if one.kind == "name" and not one.text.startswith(("self.", "this.")):
                        held.add(one.text)
    return out


def _shown(call: Expr) -> Iterator[str]:
    """Names that reach the log as they are: not inside a length, a hash or a redaction."""
    todo = [*call.parts, *(value for _, value in call.fields)]
    while todo:
        one = todo.pop()
        if one.kind == "name":
            yield one.text
        elif one.kind == "call":
            last = fold(one.text).rsplit(".", 1)[-1]
            if last in _NEUTRAL or cleans(one.text):
                continue
            if one.base is not None:
                todo.append(one.base)
        todo.extend(one.parts)
        todo.extend(value for _, value in one.fields)


def _switches(parsed: Parsed, context: Context) -> Iterator[Finding]:
    flow = context.flow(parsed)
    for seen in flow.calls:
        last = seen.folded.rsplit(".", 1)[-1]
        first = seen.call.parts[0] if seen.call.parts else None
        if (
            last in ("setdebug", "setverbose", "turnondebug")
            and (last == "turnondebug" or (first is not None and first.text == "true"))
            and is_ai_package(seen.name)
        ):
            yield _switched(parsed, context, seen.call.line, seen.call.text, seen.function.name, Confidence.high)
        verbose = argument(seen.call, "verbose")
        if verbose is not None and verbose.text == "true" and _TALKS.search(seen.name) and is_ai_package(seen.name):
            yield _switched(
                parsed, context, verbose.line, f"verbose of {seen.call.text}", seen.function.name, Confidence.medium
            )
    if parsed.module is not None:
        for function, statement in statements(parsed.module):
            value = statement.value
            for target in statement.targets:
                on = value is not None and value.kind == "bool" and value.text == "true"
                if on and target in (
                    "langchain.debug",
                    "langchain.verbose",
                    "litellm.set_verbose",
                    "litellm.log_raw_request_response",
                ):
                    yield _switched(parsed, context, statement.line, target, function.name, Confidence.high)


def _switched(parsed: Parsed, context: Context, line: int, what: str, function: str, sure: Confidence) -> Finding:
    message = f"{what} writes every prompt and reply to the output."
    return context.finding(CHECK, parsed, line, message, confidence=sure, severity=Severity.low, function=function)


def _settings(parsed: Parsed, context: Context) -> Iterator[Finding]:
    if not (_SWITCH.search(context.text(parsed)) or _TRACING.search(context.text(parsed))):
        return
    lines = context.lines(parsed)
    masked = any(_MASKED.search(text[:2000]) for text in lines)
    for number, text in uncommented(parsed, lines):
        if _SWITCH.search(text):
            yield _switched(parsed, context, number, "This setting", "", Confidence.high)
        elif _TRACING.search(text) and not masked:
            message = "Tracing sends every prompt and reply to the tracing service, with nothing masked."
            yield context.finding(CHECK, parsed, number, message, confidence=Confidence.medium, severity=Severity.low)
