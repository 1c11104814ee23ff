"""An agent that may go on for ever: a loop around a model with no step limit, or a limit switched off.

In: code and configuration. Out: a finding at the loop or at the setting. A loop that counts its steps, watches a budget or a clock,
or waits for a person each time round is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from afterguard.code.document import scalars
from afterguard.code.parse import Parsed
from afterguard.code.syntax import Expr, walk
from afterguard.model import Confidence, Finding, Severity
from afterguard.scan.check import CODE, CONFIG, Check, Context
from afterguard.scan.recognise import fold
from afterguard.scan.source_text import code_of

CHECK = Check(
    id="unbounded-agent-loop",
    title="An agent loop has no step limit",
    severity=Severity.medium,
    taxonomies=("LLM10:2025", "LLM06:2026", "ASI08:2026", "ASI10:2026", "AML.T0034.000", "CWE-835", "CWE-770"),
    why="The model decides when to stop. A confused or steered model keeps calling tools and spending tokens until somebody notices.",
    fix="Count steps and stop at a small maximum, with a time and cost budget for each request (max_iterations, recursion_limit, max_turns).",
    kinds=(*CODE, *CONFIG),
)
_LOOP = re.compile(
    r"^\s*(?:\w+:\s*)?(?:\}\s*)?(?:while\s*\(?\s*(?:True|true|1)\s*\)?\s*[:{]|while\s*\(\s*true\s*\)|for\s*\(\s*;\s*;\s*\)|for\s*\{\s*$)"
)
_BOUND = re.compile(
    r"max_|max[A-Z]|MAX|limit|budget|\bsteps?\b|iteration|\bturns?\b|\bcount|attempt|timeout|deadline|retries|\brounds?\b|remaining|ctx\.Done|time\.(?:time|monotonic)",
    re.IGNORECASE,
)
_WAITS = re.compile(
    r"\binput\s*\(|readline|receive_?(?:text|json|message)?\s*\(|\.get\s*\(\s*\)|rl\.question|window\.prompt|consume|\.recv|Scanner|ReadString|poll\(|xread|dequeue|subscribe|sleep\(3600|listen",
    re.IGNORECASE,
)
_TOKENS = re.compile(r"max_?\w{0,20}tokens?", re.IGNORECASE)
"""A limit on one reply is no limit on the loop."""
_KEYS = {
    "maxiterations",
    "maxsteps",
    "maxturns",
    "recursionlimit",
    "maxround",
    "maxrounds",
    "maxconsecutiveautoreply",
    "maxexecutiontime",
    "maxtoolroundtrips",
    "maxiter",
    "maxagentsteps",
    "maxactions",
}
_HUGE = 1000


def check(parsed: Parsed, context: Context) -> Iterator[Finding]:
    """Findings for loops and settings without a limit."""
    if parsed.module is not None:
        yield from _loops(parsed, context)
        yield from _settings(parsed, context)
    elif parsed.document is not None and context.has_ai:
        for root in parsed.document.roots:
            for path, node in scalars(root):
                if path and fold(path[-1]).replace("-", "") in _KEYS and _is_unbounded(node.kind, node.text):
                    yield _setting(parsed, context, node.line, path[-1], node.text, "")


def _loops(parsed: Parsed, context: Context) -> Iterator[Finding]:
    flow = context.flow(parsed)
    models = [seen for seen in flow.calls if seen.is_model or _is_reply(seen.receiver.atoms)]
    asks = sorted({seen.call.line for seen in flow.calls if seen.is_model} | set(_helper_lines(parsed, context)))
    if not models and not asks:
        return
    lines = context.lines(parsed)
    for number, text in enumerate(lines, start=1):
        if not _LOOP.match(code_of(text[:500])):
            continue
        end = _block_end(lines, number)
        body = [_TOKENS.sub("", code_of(row)) for row in lines[number:end]]
        if any(number < line <= end for line in asks) and not any(
            _BOUND.search(row[:2000]) or _WAITS.search(row[:2000]) for row in body
        ):
            message = "This loop runs a model again and again, and only the model decides when it ends."
            yield context.finding(CHECK, parsed, number, message, confidence=Confidence.medium, end_line=end)


def _is_reply(atoms: frozenset[object]) -> bool:
    return any(getattr(atom, "kind", "") == "model" for atom in atoms)


def _helper_lines(parsed: Parsed, context: Context) -> Iterator[int]:
    """Lines that call a function of this file which runs a model."""
    flow = context.flow(parsed)
    owners = {seen.function.name.rsplit(".", 1)[-1] for seen in flow.calls if seen.is_model and seen.function.name}
    for seen in flow.calls:
        if seen.call.text.rsplit(".", 1)[-1] in owners and "." not in seen.call.text.removeprefix("self.").removeprefix(
            "this."
        ):
            yield seen.call.line


def _block_end(lines: list[str], start: int) -> int:
    """The last line of the block opened at line `start`: by braces where there are any, else by indentation."""
    head = lines[start - 1]
    if "{" in head or (start < len(lines) and lines[start].strip() == "{"):
        depth = 0
        for number in range(start, min(len(lines), start + 2000) + 1):
            depth += lines[number - 1].count("{") - lines[number - 1].count("}")
            if depth <= 0 and number > start:
                return number
        return min(len(lines), start + 2000)
    indent = len(head) - len(head.lstrip())
    end = start
    for number in range(start + 1, min(len(lines), start + 2000) + 1):
        text = lines[number - 1]
        if text.strip() and len(text) - len(text.lstrip()) <= indent:
            break
        end = number
    return end


def _settings(parsed: Parsed, context: Context) -> Iterator[Finding]:
    flow = context.flow(parsed)
    if not flow.with_ai:
        return
    for seen in flow.calls:
        pairs = [(key, value) for one in (seen.call, *seen.call.parts) for key, value in one.fields]
        for _, field in seen.call.fields:
            pairs += [pair for one in walk(field) if one.kind == "map" for pair in one.fields]
        for key, value in pairs:
            generic = fold(key) == "maxiter" and "agent" not in seen.folded and "crew" not in seen.folded
            if fold(key) in _KEYS and not generic and _unbounded(value):
                yield _setting(parsed, context, value.line, key, value.text or "none", seen.function.name)


def _unbounded(value: Expr) -> bool:
    return (
        value.kind == "none"
        or value.text in ("Infinity", "Number.MAX_SAFE_INTEGER", "math.inf", "sys.maxsize", "float()")
        or _is_unbounded(value.kind, value.text)
    )


def _is_unbounded(kind: str, text: str) -> bool:
    if kind in ("null", "none"):
        return True
    bare = text.replace("_", "")
    return (
        kind == "number" and len(bare) < 20 and bare.lstrip("-").isdigit() and (int(bare) >= _HUGE or int(bare) == -1)
    )


def _setting(parsed: Parsed, context: Context, line: int, key: str, text: str, function: str) -> Finding:
    message = f"{key} is {text[:30] or 'empty'}, so nothing stops the agent."
    return context.finding(CHECK, parsed, line, message, confidence=Confidence.medium, function=function)
