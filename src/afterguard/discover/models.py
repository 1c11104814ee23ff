"""Model ids in code -> model and embedding_model Assets.

In: Facts. Out: Assets by the argument a call of an AI library or an unmistakable chain gives, by constants named after a model,
by JSON bodies of raw HTTP calls. An id that is read from the environment without a default is unresolved, not absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from afterguard.catalog import load
from afterguard.code.syntax import Expr, Function, argument, walk
from afterguard.discover import model_names, signals
from afterguard.discover.clients import provider_of
from afterguard.discover.facts import Facts, Words, last_part
from afterguard.discover.reach import Reach
from afterguard.model import Asset, AssetKind, Certainty, Edge

_NAMED = re.compile(
    r"(?i)(^|[._])(?:[a-z0-9_]*_)?(model|llm|engine|deployment|embedding|embedder)(_?(name|id|type|version|key))?s?$|model(Name|Id)?$|^[A-Z0-9_]*MODEL[A-Z0-9_]*$"
)
_CONSTANT = re.compile(
    r"(?:^|[./])(?:(?:ChatModel|Model|EmbeddingModel)_?)?((?:GPT|gpt|Gpt|Claude|CLAUDE|TextEmbedding|TEXT_EMBEDDING|Gemini|GEMINI|SmallEmbedding3|LargeEmbedding3|AdaEmbeddingV2|O1|O3|O4)[\w]*)$"
)
_VARIABLE = re.compile(r"(?i)(?:^|[_a-z])(?:model|name|id|version|deployment|engine|default|key)s?(?:_|$)")
"""CLAUDE_MODEL is a variable that holds a model; an SDK's constant is called like the model."""
_EMBEDDERS = re.compile(r"(?i)embed|SentenceTransformer|FlagModel|INSTRUCTOR")
_ENGINE = re.compile(r"(?i)(?:query|chat)_?engine(?:\(\))?\.a?(?:query|chat|stream_?chat)$")
"""A question put to an index or a chat over one, by the name every such framework gives it."""
_OBJECTS = {"llm", "chat_model", "embed_model", "model_kwargs"}
"""Slots that take a model as an object: what cannot be resolved there was named where the object was made."""
_TYPES = re.compile(r"[./]types[./]|(?:Chunk|Response|Delta|Usage|Message)(?:\(\))?$")
"""Shapes of replies, made in tests and adapters: their `model` says what answered, not what is asked."""
TABLE = 4
"""A list of more model ids than this is what a program knows about models, not what it uses."""


def find(facts: Facts, reach: Reach) -> Iterator[Asset]:
    """Models by calls, then by constants."""
    for function, call in facts.calls:
        full = facts.full(call.text, function.name)
        if _ENGINE.search(call.text):
            reach.runs.add(function.name)
        if not _is_ai(facts, full, call):
            continue
        reach_if_run(reach, function, full, facts)
        for asset in _of_call(facts, reach, function, call, full):
            reach.mark(function, call, asset.kind, asset.name)
            yield asset
    yield from _constants(facts, reach)
    yield from _bodies(facts, reach)


def runs_model(facts: Facts, full: str) -> bool:
    """Whether a resolved callee runs a model."""
    if full.endswith(signals.endings("model_chains")):
        return True
    signal = facts.product(full)
    if signal is None or signal.kind is AssetKind.vector_store or {"tracking", "ui"} & set(signal.roles):
        return False
    word = last_part(full)
    return word in signals.call_names("model_verbs") or (word[:1].islower() and word in ("generateText", "streamText"))


def reach_if_run(reach: Reach, function: Function, full: str, facts: Facts) -> None:
    """Note that a function runs a model."""
    if runs_model(facts, full):
        reach.runs.add(function.name)


def _is_ai(facts: Facts, full: str, call: Expr) -> bool:
    if facts.product(full) is not None:
        return True
    return full.endswith(signals.endings("model_chains"))


def _of_call(facts: Facts, reach: Reach, function: Function, call: Expr, full: str) -> Iterator[Asset]:
    word = last_part(full)
    signal = facts.product(full)
    if signal is not None and signal.kind is AssetKind.vector_store and "embed" not in word.lower():
        return
    slots = [
        (name, value)
        for name in load("signals/calls")["model_arguments"]
        if (value := argument(call, name)) is not None
    ]
    if call.parts and not slots and _takes_first(facts, function, word, call):
        slots.append(("model", call.parts[0]))
    if word == "pipeline":
        slots = [slot for slot in slots if slot[0] == "model"] or [("model", part) for part in call.parts[1:2]]
    given = client_of(reach, function, call) or provider_of(facts, full)
    for name, value in slots:
        if value.kind == "call" and facts.product(facts.full(value.text, function.name)) is not None:
            continue
        for one in _ids(facts, value, function):
            asset = _asset(facts, one, call, given, name, word, full)
            if asset is not None:
                yield asset


def client_of(reach: Reach, function: Function, call: Expr) -> str:
    """The provider or server that the variable a call hangs on was made for, "" when unknown."""
    parts = call.text.split(".")
    for size in (2, 1):
        things = reach.through(".".join(parts[:size]), function.name) if len(parts) > size else set()
        names = {name for kind, name in things if kind in (AssetKind.provider, AssetKind.inference_server)}
        if len(names) == 1:
            return names.pop()
    return ""


def _takes_first(facts: Facts, function: Function, word: str, call: Expr) -> bool:
    if word not in signals.call_names("model_first"):
        return False
    first = call.parts[0]
    if first.kind == "text":
        return model_names.is_id(first.text) and (
            word not in ("run", "chat", "model", "embedding", "google") or _looks_like(first.text)
        )
    if word in ("modelName", "modelId", "ModelId", "deploymentName") and re.search(r"\.|^[A-Z][A-Z0-9_]+$", first.text):
        return first.kind == "name"
    if word in ("from_pretrained", "SentenceTransformer", "GenerativeModel", "LLM"):
        return first.kind in ("name", "call", "index", "other")
    return first.kind == "name" and signals.model(facts.literal(first, function.name)) is not None


def _looks_like(text: str) -> bool:
    return signals.model(text) is not None or "/" in text


def _ids(facts: Facts, value: Expr, function: Function) -> Iterator[Words]:
    """Ids a value can be; constants of an SDK (openai.GPT4o) are spelled out, unresolved ones named."""
    for one in facts.resolve(value, function.name):
        found = _CONSTANT.search(one.text) if one.kind == "name" else None
        if found and not _VARIABLE.search(found.group(1)):
            yield Words(spelled(found.group(1)), Certainty.inferred, one.line)
        elif one.kind in ("text", "name", "index", "call", "join", "other"):
            yield from facts.texts(one, function.name)


def spelled(constant: str) -> str:
    """`GPT4oMini` -> gpt-4o-mini, `Claude3_7SonnetLatest` -> claude-3-7-sonnet-latest, as the SDKs' constants stand for."""
    fixed = {
        "SmallEmbedding3": "text-embedding-3-small",
        "LargeEmbedding3": "text-embedding-3-large",
        "AdaEmbeddingV2": "text-embedding-ada-002",
    }
    if constant in fixed:
        return fixed[constant]
    text = re.sub(r"(?<=[a-z])(?=[A-Z0-9])|(?<=[0-9])(?=[A-Z])", "-", constant).replace("_", "-").lower()
    text = re.sub(r"^gpt-?", "gpt-", text)
    text = re.sub(r"gpt-3-5|gpt-3dot5", "gpt-3.5", text)
    text = re.sub(r"gpt-4-o\b", "gpt-4o", text)
    return re.sub(r"gpt-4-1\b", "gpt-4.1", text)


def _asset(facts: Facts, one: Words, call: Expr, given: str, slot: str, word: str, full: str) -> Asset | None:
    embeds = bool(_EMBEDDERS.search(word) or _EMBEDDERS.search(slot) or ".embed" in full)
    line = one.line or call.line
    if one.certainty is Certainty.unresolved:
        if slot in _OBJECTS or _TYPES.search(full):
            return None
        kind = AssetKind.embedding_model if embeds else AssetKind.model
        return facts.asset(kind, one.text, call.line, Certainty.unresolved, provider=given)
    text = one.text.strip().removeprefix("models/")
    if not model_names.is_id(text) or text.startswith(("http://", "https://")) or (slot == "path"):
        return None
    signal = signals.model(text)
    if text.startswith(("./", "../", "/", "~/")) or re.search(
        r"\.(pkl|joblib|pt|pth|onnx|gguf|bin|h5|keras|safetensors)$", text
    ):
        return None
    prefix, rest = model_names.split(text)
    provider = prefix or given or (signal.provider if signal else "")
    kind = signal.kind if signal else model_names.kind_of(text)
    if embeds and "rerank" not in text.lower():
        kind = AssetKind.embedding_model
    edges = [Edge("part_of", AssetKind.provider, provider)] if provider else []
    return facts.asset(kind, text, line, one.certainty, edges, provider=provider, model=rest if prefix else "")


def _constants(facts: Facts, reach: Reach) -> Iterator[Asset]:
    """`MODEL = "gpt-4o"` and fields, parameters and map entries named after a model, when the value is of a known family."""
    done: set[tuple[str, int]] = set()
    for function, target, value in _named(facts):
        if value.kind == "list" and sum(part.kind == "text" for part in value.parts) > TABLE:
            continue
        for one in walk(value) if value.kind in ("list", "other", "index", "call") else (value,):
            if one.kind != "text" or (one.text, one.line) in done or len(one.text) > 200:
                continue
            signal = signals.model(one.text)
            if signal is None or not model_names.is_id(one.text):
                continue
            done.add((one.text, one.line))
            name = one.text.removeprefix("models/")
            provider = model_names.split(name)[0] or signal.provider
            kind = AssetKind.embedding_model if "embed" in target.lower() else signal.kind
            edges = [Edge("part_of", AssetKind.provider, provider)] if provider else []
            reach.mark(function, one, kind, name)
            yield facts.asset(kind, name, one.line, Certainty.inferred, edges, provider=provider)


def _named(facts: Facts) -> Iterator[tuple[Function, str, Expr]]:
    for (scope, target), values in facts.values.items():
        if _NAMED.search(target):
            function = facts.functions.get(scope) or facts.module.functions[0]
            for value in values:
                yield function, target, value
    for function, expr in facts.of_kind("map", "call"):
        if expr.fields:
            for key, value in expr.fields:
                if _NAMED.search(key) and (value.kind == "text" or facts.variable(value) is not None):
                    yield function, key, value


def _bodies(facts: Facts, reach: Reach) -> Iterator[Asset]:
    """A map with `model` beside `messages`, `prompt` or `input`: the body of a raw call, whatever the id is."""
    for function, expr in facts.of_kind("map"):
        keys = {key for key, _ in expr.fields}
        if "model" not in keys or not keys & {"messages", "prompt", "input", "contents", "max_tokens"}:
            continue
        reach.runs.add(function.name)
        value = dict(expr.fields)["model"]
        if value.kind == "call" and facts.product(facts.full(value.text, function.name)) is not None:
            continue
        for one in facts.texts(value, function.name):
            if (
                one.certainty is not Certainty.unresolved
                and signals.model(one.text) is None
                and "/" not in one.text
                and not facts.is_ai
            ):
                continue
            asset = _asset(facts, one, expr, "", "model", "", "")
            if asset is not None:
                reach.mark(function, expr, asset.kind, asset.name)
                yield asset
