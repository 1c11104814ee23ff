"""Prompts kept as files: *.prompt, prompts/*, system_prompt.txt, templates with placeholders.

In: Parsed (text or YAML). Out: prompt assets. Two markers: where the file stands or what it is called, and how it reads:
an address to the model, roles, or placeholders for input. Documentation about prompts has neither.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from afterguard.code.document import holders
from afterguard.code.parse import Parsed
from afterguard.discover import settings, signals
from afterguard.discover.sheet import Sheet
from afterguard.model import Asset, AssetKind

_NAMED = re.compile(
    r"(?i)(\.prompt(\.(md|txt|ya?ml|yml|jinja2?|j2|tmpl|mustache|hbs))?$|\.prompty$|(^|[/_.-])(system|agent|assistant|user|llm|base|main|rag|qa"
    r"|summar\w*|extract\w*)[_-]?(prompts?|instructions?|message)[\w-]*\.(md|txt|jinja2?|j2|tmpl|ya?ml)$|[_-]prompt\.(md|txt|jinja2?|j2|tmpl|mustache|hbs)$)"
)
_FOLDER = re.compile(
    r"(?i)(^|/)(prompts?|prompt[_-]?templates?|system[_-]?prompts?|personas?|instructions)/([\w.-]+/){0,3}[\w.-]+$"
)
_SUFFIX = re.compile(r"(?i)\.(md|txt|jinja2?|j2|tmpl|mustache|hbs|prompt|prompty|mdx|xml)$")
_ADDRESS = re.compile(
    r"(?i)\b(you are (an?|the|my|our|now|acting|chatting|going|working|in)\b|you're an?\b|act as (an?|the)\b|your (task|job|role|goal|objective|purpose) is\b"
    r"|as an? (ai|assistant|expert|large language)|you (must|should|will|can) (not |never |always |only )?(answer|respond|reply|use|return|output|provide|follow)"
    r"|(answer|respond|reply) (the|with|in|only|to|using|as)\b|return (only|a|the) (json|valid)|do not (reveal|mention|make up|hallucinate|include)"
    r"|given the following|based on the (following|context|provided)|use the following (context|pieces)|think step by step"
    r"|du bist (ein|der|die)|vous êtes|tu es un|eres un|sei un|você é um|ты —|你是|あなたは)"
)
_PLACE = re.compile(
    r"\{\{\s*[\w.]+\s*(\|[^{}]{0,40})?\}\}|(?<![\w{$])\{[a-z_][\w.]{1,40}\}(?!\})|<<\w+>>|\$\{[a-z]\w{1,40}\}|<(context|document|question|input|user_input|instructions|example)s?>"
)
_ROLES = re.compile(
    r"(?im)^[ \t]*(#{1,6}[ \t]*|<\|?)?(system|user|assistant|human)(\|?>)?[ \t]*:?[ \t]*$|^[ \t]*-?[ \t]*role:[ \t]*(system|user|assistant|developer)|\{\{#(system|user)~?\}\}|<\|im_start\|>"
)
_KEY = re.compile(r"(?i)(prompt|instructions?|system|persona|preamble)")
_KEYS = re.compile(rb"(?i)prompt|instruction|system|persona|preamble")
_PROSE = re.compile(
    r"(?i)(^|/)(readme|changelog|contributing|license|index|code_of_conduct|security|_category_)[\w.-]*$|(^|/)(docs?|documentation|website|blog|content|tests?|__tests__|testdata)/"
)


def find(parsed: Parsed) -> Iterator[Asset]:
    """Prompt assets of a file that is a prompt; nothing for other files."""
    path = parsed.source.path
    document = parsed.document
    if document is not None and document.format in ("yaml", "json", "toml"):
        yield from _structured(parsed)
        return
    if parsed.source.kind not in ("text", "yaml") or not 20 <= len(parsed.source.data) <= 512 << 10:
        return
    if not may_be(path):
        return
    named = _NAMED.search(path) is not None
    text = parsed.source.data[: 64 << 10].decode("utf-8", "replace")
    marks = [pattern.search(text) for pattern in (_ADDRESS, _PLACE, _ROLES)]
    count = sum(mark is not None for mark in marks)
    if count == 0 or (
        not named and count == 1 and marks[0] is None and not path.lower().endswith((".jinja", ".jinja2", ".j2"))
    ):
        return
    first = min(mark.start() for mark in marks if mark is not None)
    line = text.count("\n", 0, first) + 1
    sheet = Sheet(path)
    placeholders = sorted({found[0] for found in _PLACE.finditer(text)})[:8]
    sheet.add(AssetKind.prompt, path, line, "prompt file", placeholders=" ".join(placeholders))
    if text.startswith("---"):
        head = text[3:].partition("\n---")[0]
        for found in re.finditer(r"(?m)^\s*(model|name|deployment)\s*:\s*([\w./:-]{2,80})\s*$", head):
            if signals.model(found[2]) is not None:
                settings.model(sheet, found[2], text.count("\n", 0, 3 + found.start(2)) + 1, "model", certain=True)
    yield from sheet.assets


def may_be(path: str) -> bool:
    """Whether a file stands or is called so that it may be a prompt: the first of the two markers."""
    if _NAMED.search(path):
        return True
    placed = _FOLDER.search(path) is not None and _SUFFIX.search(path) is not None
    return placed and _PROSE.search(path) is None


def _structured(parsed: Parsed) -> Iterator[Asset]:
    """Prompts in configuration: a key that says so with a text that addresses the model."""
    document, path = parsed.document, parsed.source.path
    if document is None or _PROSE.search(path) or _KEYS.search(parsed.source.data) is None:
        return
    sheet = Sheet(path)
    for root in document.roots[:50]:
        for number, (path_here, node) in enumerate(holders(root)):
            if number > 50_000 or len(sheet.assets) >= 200:
                break
            key_here = next((k for k in reversed(path_here) if not k.isdigit()), "")
            named = [(key.text, value) for key, value in node.fields] or [(key_here, item) for item in node.items]
            for key, value in named:
                if value.kind == "text" and len(value.text) >= 40 and _is_prompt(key, value.text):
                    name = ".".join(path_here if key == key_here else (*path_here, key))[:80]
                    sheet.add(AssetKind.prompt, f"{path}:{name}", value.line, key)
    yield from sheet.assets


def _is_prompt(key: str, text: str) -> bool:
    named = len(key) < 200 and _KEY.search(key) is not None and "description" not in key.lower()
    return named and _ADDRESS.search(text[:4000]) is not None
