"""System prompts and prompt templates written in code -> prompt Assets, named after what holds them.

In: Facts. Out: Assets with the length and a hash of the text, never the text beyond the evidence line. A text counts where an AI
call takes it as system text or a template class makes it; a variable called prompt that asks a person something does not.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from afterguard.catalog import load
from afterguard.code.syntax import Expr, Function, argument
from afterguard.discover import signals
from afterguard.discover.facts import Facts
from afterguard.discover.reach import Reach
from afterguard.model import Asset, AssetKind, Certainty

_NAMED = re.compile(
    r"(?i)(system|sys|developer|agent|assistant|rag|qa|base|default|chat|llm|summar\w*|classif\w*|extract\w*)_?(prompt|message|instructions?)(_template)?s?$|(^|_)prompt_?template$|^prompt(_|$)\w*|_prompt$|instructions$"
)
_PERSON = re.compile(r"(?i)^(enter|type|press|please enter|are you sure|continue\?|[\w .]{0,30}[:?>]\s*$)")
_SAID_TO_A_MODEL = re.compile(
    r"(?i)\s*(?:#+ *)?(?:you are|you're|act as|your (?:task|job|role|goal) is|your responsibility is)\b[^.?!]{0,120}?"
    r"\b(?:assistant|expert|agent|ai|analyst|engineer|bot|helper|specialist|model|reviewer|writer|editor|planner|researcher|developer"
    r"|tutor|teacher|translator|advisor|professional|generat\w+|answer\w*|summari[sz]\w+|classif\w+|extract\w*|evaluat\w+|review\w*)\b"
)
_UNMISTAKABLE = {"system_prompt", "systemPrompt", "system_message", "systemMessage", "sys_prompt", "system_instruction", "systemInstruction"}  # fmt: skip
_CALLED_PROMPT = re.compile(r"(?i)(^|_)prompt$|[a-z]Prompt$")
LONG = 60
LEAST = 20


def find(facts: Facts, reach: Reach) -> Iterator[Asset]:
    """Prompts by role, by argument, by class, then by name beside AI code."""
    seen: set[tuple[int, str]] = set()
    for function, name, value in _places(facts):
        for one in facts.resolve(value, function.name):
            text = _text(one)
            if len(text) < LEAST or _PERSON.match(text[:60]) or (one.line, one.kind) in seen:
                continue
            seen.add((one.line, one.kind))
            shown = (
                _holder(facts, value, one, function)
                or name
                or "prompt-" + hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=4).hexdigest()
            )
            sure = Certainty.declared if one.kind == "text" else Certainty.inferred
            digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]
            reach.mark(function, one, AssetKind.prompt, shown)
            yield facts.asset(AssetKind.prompt, shown, one.line, sure, digest=digest, characters=str(len(text)))


def _text(expr: Expr) -> str:
    """Literal text of a literal or of something put together."""
    if expr.kind == "text":
        return expr.text
    if expr.kind == "join":
        return "".join(part.text for part in expr.parts if part.kind == "text")
    if expr.kind in ("call", "other", "list") and expr.parts:
        return _text(expr.parts[0]) if expr.kind != "list" else ""
    return ""


def _places(facts: Facts) -> Iterator[tuple[Function, str, Expr]]:
    yield from _in_messages(facts)
    yield from _in_calls(facts)
    yield from _in_annotations(facts)
    yield from _by_words(facts)
    yield from _by_name(facts)


def _in_messages(facts: Facts) -> Iterator[tuple[Function, str, Expr]]:
    """Literal messages with the role system."""
    for function, expr in facts.of_kind("map", "list"):
        if expr.kind == "map":
            fields = dict(expr.fields)
            role, content = fields.get("role") or fields.get("Role"), fields.get("content") or fields.get("Content")
            said = role.text.lower() if role is not None else ""
            if content is not None and (
                said in ("system", "developer")
                or said.endswith(("messagerolesystem", "role.system", "chatrole.system"))
            ):
                yield function, "", content
        elif (
            expr.kind == "list"
            and len(expr.parts) == 2
            and expr.parts[0].kind == "text"
            and expr.parts[0].text == "system"
            and facts.is_ai
        ):
            yield function, "", expr.parts[1]


def _in_calls(facts: Facts) -> Iterator[tuple[Function, str, Expr]]:
    """Arguments of AI calls that hold instructions, and prompt classes."""
    arguments = load("signals/calls")["prompt_arguments"]
    for function, call in facts.calls:
        full = facts.full(call.text, function.name)
        chain = full.endswith(signals.endings("model_chains"))
        if facts.product(full) is None and not chain:
            for name, said_to in call.fields:
                if name in _UNMISTAKABLE:
                    yield function, "", said_to
            continue
        given = {key for key, _ in call.fields}.union(
            *({key for key, _ in part.fields} for part in call.parts if part.kind == "map")
        )
        for name in arguments:
            value = argument(call, name) if name in given else None
            if value is not None:
                yield function, "", value
        tail = full.rstrip("()")
        if f".{tail}".endswith(signals.endings("prompt_classes")):
            value = (
                argument(call, "template")
                or argument(call, "content")
                or argument(call, "prompt")
                or (call.parts[0] if call.parts else None)
            )
            if value is not None and value.kind != "list":
                yield function, "", value


def _in_annotations(facts: Facts) -> Iterator[tuple[Function, str, Expr]]:
    for function in facts.module.functions:
        for one in function.decorators:
            if one.text.endswith((".SystemMessage", ".UserMessage", ".SystemPrompt")) and facts.product(one.text):
                value = argument(one, "value") or (one.parts[0] if one.parts else None)
                if value is not None:
                    yield (
                        function,
                        function.name.rpartition(".")[2],
                        value.parts[0] if value.kind == "list" and value.parts else value,
                    )


def _by_name(facts: Facts) -> Iterator[tuple[Function, str, Expr]]:
    """Long texts whose variable says that it is a prompt."""
    for (scope, target), values in facts.values.items():
        if _NAMED.search(target.rpartition(".")[2]) and (
            facts.is_ai or re.search(r"(?i)system_?prompt|prompt_?template", target)
        ):
            function = facts.functions.get(scope) or facts.module.functions[0]
            for value in values:
                if value.kind in ("text", "join") and len(_text(value)) >= 2 * LEAST:
                    yield function, target, value


def _by_words(facts: Facts) -> Iterator[tuple[Function, str, Expr]]:
    """Texts that speak to a model, whatever they are called; and constants called a prompt that are long enough for one."""
    inner: set[int] = set()
    for function, expr in facts.of_kind("join", "text"):
        if expr.kind == "join":
            inner.update(id(part) for part in expr.parts)
        if id(expr) not in inner:
            text = _text(expr)
            if len(text) >= LONG and _SAID_TO_A_MODEL.match(text):
                yield function, "", expr
    for (_, target), values in facts.values.items():
        if _CALLED_PROMPT.search(target.rpartition(".")[2]):
            for value in values:
                text = _text(value) if value.kind in ("text", "join") else ""
                if len(text) >= 2 * LONG and text.count(" ") >= 15:
                    yield facts.module.functions[0], target, value


def _holder(facts: Facts, value: Expr, found: Expr, function: Function) -> str:
    """The variable the text is assigned to, else the function it stands in."""
    if value.kind == "name":
        return value.text.rpartition(".")[2]
    held = facts.holders.get(id(found)) or facts.holders.get(id(value))
    if held:
        return held
    return function.name.rpartition(".")[2] if function.name and "@" not in function.name else ""
