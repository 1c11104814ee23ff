"""Model calls that let the reply grow as long as the model allows.

In: a code file. Out: a finding at each call of a chat or completion API that states no maximum. A call whose options come from
somewhere else is left alone when a limit stands anywhere near it. APIs that demand a limit are not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from afterguard.code.parse import Parsed
from afterguard.code.syntax import Expr, walk
from afterguard.model import Confidence, Finding, Severity
from afterguard.scan.check import CODE, Check, Context
from afterguard.scan.flow import Seen
from afterguard.scan.recognise import Tails, fold

CHECK = Check(
    id="missing-output-limit",
    title="A model call sets no output limit",
    severity=Severity.low,
    taxonomies=("LLM10:2025", "LLM06:2026", "AML.T0034.000", "CWE-770"),
    why="A prompt that asks for an endless answer costs the longest answer the model can give, every time.",
    fix="Set max_tokens (max_completion_tokens, max_output_tokens, num_predict) to what the feature needs.",
    kinds=CODE,
)
_APIS = Tails(
    [
        "chat.completions.create", "chat.completions.parse", "chat.completions.new", "responses.create", "responses.new",
        "chatcompletion.create", "chatcompletion.acreate", "openai.completion.create", "litellm.completion", "litellm.acompletion",
        "createchatcompletion", "createchatcompletionstream", "ai.generatetext", "ai.streamtext", "generatetext", "streamtext",
        "ollama.chat", "ollama.generate", "chat.complete", "generatecontent", "generatecontentstream",
    ]
)  # fmt: skip
LIMITS = {
    "maxtokens", "maxcompletiontokens", "maxoutputtokens", "maxnewtokens", "numpredict", "maxtokenstosample", "maxlength",
    "maxgenlen", "maxtoken",
}  # fmt: skip
_WORD = re.compile(r"max_?(?:output_?|completion_?|new_?)?tokens|num_?predict|max_?length", re.IGNORECASE)


def check(parsed: Parsed, context: Context) -> Iterator[Finding]:
    """Findings for calls without a maximum."""
    lines = context.lines(parsed)
    for seen in context.flow(parsed).calls:
        if not seen.is_model or not _APIS.match(seen.folded) or _is_limited(seen, lines):
            continue
        name = seen.call.text.rsplit("/", 1)[-1]
        message = f"{name} sets no limit on the length of the reply."
        yield context.finding(
            CHECK, parsed, seen.call.line, message, confidence=Confidence.medium, function=seen.function.name
        )


def _is_limited(seen: Seen, lines: list[str]) -> bool:
    if any(fold(key).rsplit(".", 1)[-1] in LIMITS for one in walk(seen.call) for key, _ in one.fields):
        return True
    low = min(seen.function.line, seen.call.line)
    near = lines[low - 1 : max(seen.function.end_line, seen.call.end_line, seen.call.line)]
    if seen.function.name and any(_WORD.search(text[:2000]) for text in near):
        return True
    return _is_indirect(seen.call) and any(_WORD.search(text[:2000]) for text in lines)


def _is_indirect(call: Expr) -> bool:
    """Options given as a variable or spread into the call."""
    if any(key in ("*", "**", "config", "generation_config", "options", "generationConfig") for key, _ in call.fields):
        return True
    return any(
        part.kind in ("name", "call", "other") or any(key == "*" for key, _ in part.fields) for part in call.parts
    )
