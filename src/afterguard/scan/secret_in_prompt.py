"""Keys and passwords inside a prompt.

In: code, prompt files, configuration. Out: a finding where the secret stands or is put in. Everything in a prompt can be talked out
of the model, and it is stored by the provider and in logs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from afterguard.code.parse import Parsed
from afterguard.code.syntax import walk
from afterguard.model import Confidence, Finding, Severity
from afterguard.scan.check import CODE, CONFIG, Check, Context
from afterguard.scan.prompts import Prompt, prompts
from afterguard.scan.secrets_at import places

CHECK = Check(
    id="secret-in-prompt",
    title="A secret is part of a prompt",
    severity=Severity.high,
    taxonomies=("LLM07:2025", "LLM08:2026", "LLM02:2025", "LLM02:2026", "AML.T0056", "CWE-200", "CWE-798"),
    why="A prompt can be extracted by its users and is kept by the provider and in logs; a secret in it is published.",
    fix="Take the secret out of the prompt and revoke it. Let code that holds the secret do the privileged step, after its own check.",
    kinds=(*CODE, *CONFIG, "text"),
)
_NAMED = re.compile(
    r"(?:^|[_.])(?:api_?key|apikey|password|passwd|secret(?:_?key)?|access_?token|auth_?token|private_?key|client_?secret|db_?pass(?:word)?|credentials?)$|(?<=[a-z])(?:ApiKey|Password|Secret|AccessToken|SecretKey)$",
    re.IGNORECASE,
)
_SAID = re.compile(
    r"(?i)\b(?:password|passcode|passphrase|secret (?:code|key|word)|access code|admin (?:code|pin)|api key|pin code)\b[^.\n]{0,24}?(?:\bis\b|:|=)(?!//)\s*[\"'`]?([^\s\"'`.,;{}<>$]{4,60})"
)
_BLANK = re.compile(
    r"(?i)^(?:not|never|required|secret|confidential|hidden|private|correct|wrong|valid|invalid|expired|the|your|users?|only|always|sensitive|protected|stored|unknown|missing|needed|case|reset|a|an|provided|incorrect|set|used|{.*|\[.*|x+|\*+|none|null|redacted|string|str|optional)\b"
)


def check(parsed: Parsed, context: Context) -> Iterator[Finding]:
    """Findings for secrets in prompts."""
    seen: set[int] = set()
    for place in places(parsed, context):
        if place.in_prompt:
            seen.add(place.line)
            yield context.finding(CHECK, parsed, place.line, f"A prompt holds this: {place.title}.")
    for prompt in prompts(parsed, context):
        for line, what, sure in (*_said(prompt, context.lines(parsed)), *_put_in(prompt)):
            if line not in seen:
                seen.add(line)
                yield context.finding(CHECK, parsed, line, f"A prompt holds {what}.", confidence=sure)


def _said(prompt: Prompt, lines: list[str]) -> Iterator[tuple[int, str, Confidence]]:
    """A password told to the model in words."""
    for number in range(prompt.line, min(prompt.end_line, prompt.line + 2000, len(lines)) + 1):
        for found in _SAID.finditer(lines[number - 1][:4000]):
            word = found.group(1)
            strong = (
                any(c.isdigit() for c in word)
                or any(not c.isalnum() for c in word)
                or (word.isupper() and len(word) > 5)
            )
            if strong and not _BLANK.search(word) and found.group(0)[-len(word) - 1 :][:1] != "{":
                yield number, "a password in words", Confidence.medium


def _put_in(prompt: Prompt) -> Iterator[tuple[int, str, Confidence]]:
    """A variable that holds a secret, put into the text."""
    if prompt.expr is None or prompt.expr.kind != "join":
        return
    for one in walk(prompt.expr):
        if (
            one.kind == "name"
            and _NAMED.search(one.text)
            and "token" not in one.text.lower().replace("access_token", "")
        ):
            yield one.line, f"the value of {one.text.rsplit('.', 1)[-1]}", Confidence.high
        elif one.kind in ("call", "index") and one.text.endswith(("getenv", "environ.get", "os.environ")):
            key = next((part.text for part in walk(one) if part.kind == "text"), "")
            if _NAMED.search(key):
                yield one.line, f"the value of {key[:40]}", Confidence.high
