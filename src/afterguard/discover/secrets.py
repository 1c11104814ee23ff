"""Credentials of AI services that code refers to -> secret_reference Assets, by the variable's name, never by its value.

In: Facts. Out: Assets. A key written into the code is one too, under the name of the variable or parameter that holds it; the
value is masked in the evidence. Whether that is a finding is for scan.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from afterguard.code.syntax import Expr
from afterguard.discover import signals
from afterguard.discover.facts import Facts
from afterguard.discover.reach import Reach
from afterguard.model import Asset, AssetKind, Certainty, Edge

_KEY = re.compile(
    r"^(sk-(?:proj-|svcacct-|admin-|ant-|or-v1-|lf-)?[A-Za-z0-9_-]{16,}|hf_[A-Za-z0-9]{20,}|gsk_[A-Za-z0-9]{20,}|r8_[A-Za-z0-9]{20,}|xai-[A-Za-z0-9]{20,}"
    r"|AIza[A-Za-z0-9_-]{30,}|pplx-[A-Za-z0-9]{20,}|tvly-[A-Za-z0-9-]{16,}|csk-[A-Za-z0-9]{20,}|lsv2_[A-Za-z0-9_]{20,}|pcsk_[A-Za-z0-9_]{20,}|nvapi-[A-Za-z0-9_-]{20,}|fw_[A-Za-z0-9]{20,}|ABSK[A-Za-z0-9+/=]{20,})$"
)
_PLACEHOLDER = re.compile(
    r"(?i)your|xxx|\*\*\*|\.\.\.|<|>|example|placeholder|changeme|dummy|fake|test-?key|1234567890|abcdef|redacted"
)
_SECRET = re.compile(r"(?i)(api_?key|_key|token|secret|password)$")


def find(facts: Facts, reach: Reach) -> Iterator[Asset]:
    """References first, then keys in the open."""
    seen: set[tuple[str, int]] = set()
    for function, expr in facts.of_kind("name", "index", "call"):
        read = facts.variable(expr)
        name = read[0] if read else _setting(expr)
        if name:
            signal = signals.variable(name)
            known = signal is not None and signal.kind == "secret" and (not signal.weak or facts.is_ai)
            if known and signal is not None and (name, expr.line) not in seen:
                seen.add((name, expr.line))
                edges = [Edge("part_of", AssetKind.provider, signal.provider)] if signal.provider else []
                reach.mark(function, expr, AssetKind.secret_reference, name)
                yield facts.asset(
                    AssetKind.secret_reference, name, expr.line, Certainty.declared, edges, provider=signal.provider
                )
    yield from _written(facts)
    yield from _fields(facts)


_ATTRIBUTE = re.compile(r"(?i)(?:settings|config|cfg|secrets|env)\.[A-Za-z_]*(?:key|token)$")
_TABLE = re.compile(r"(?i)settings|config|cfg|secrets|userdata")
_FETCH = re.compile(
    r"(?i)(userdata\.get|get_secret(_value)?|getSecret|getpass|GetSecretValue|access_secret_version|dbutils\.secrets\.get)$"
)
_PLAIN = re.compile(r"[\w./-]{3,80}")


def _setting(expr: Expr) -> str:
    """A settings object read by name: settings.OPENAI_API_KEY, config["openai_api_key"], get_secret("OPENAI_API_KEY")."""
    text = expr.text
    if expr.kind == "name":
        return text.rpartition(".")[2] if text[-3:].lower() in ("key", "ken") and _ATTRIBUTE.search(text) else ""
    if expr.kind == "index":
        held = len(expr.parts) > 1 and expr.parts[1].kind == "text" and _TABLE.search(text)
        return expr.parts[1].text if held else ""
    if not expr.parts or not _FETCH.search(text):
        return ""
    named = (part.text for part in reversed(expr.parts) if part.kind == "text" and _PLAIN.fullmatch(part.text))
    return next(named, "").rpartition("/")[2]


def _written(facts: Facts) -> Iterator[Asset]:
    """Keys in the open, under the name they are given."""
    done: set[int] = set()
    for function in facts.module.functions:
        for statement in function.body:
            if statement.value is not None and statement.value.kind == "text" and statement.targets:
                yield from _one(facts, statement.targets[0], statement.value, done)
    for klass in facts.module.classes:
        for statement in klass.body:
            if statement.value is not None and statement.value.kind == "text" and statement.targets:
                yield from _one(facts, statement.targets[0], statement.value, done)
    for _, expr in facts.of_kind("call", "map", "list"):
        for key, value in expr.fields:
            if value.kind == "text":
                yield from _one(facts, key, value, done)
        for part in expr.parts:
            if part.kind == "text" and expr.kind in ("call", "list"):
                yield from _one(facts, expr.text.rpartition(".")[2] or "key", part, done)


def _one(facts: Facts, name: str, value: Expr, done: set[int]) -> Iterator[Asset]:
    text = value.text.removeprefix("Bearer ").strip()
    if value.line in done or len(text) > 300 or not _KEY.match(text) or _PLACEHOLDER.search(text):
        return
    done.add(value.line)
    yield facts.asset(
        AssetKind.secret_reference,
        name.rpartition(".")[2][:60] or "key",
        value.line,
        Certainty.declared,
        written="in the open",
    )


def _fields(facts: Facts) -> Iterator[Asset]:
    """Fields of a settings class: `openai_api_key: str` with or without a default."""
    for klass in facts.module.classes:
        if not any(re.search(r"Settings|Config", base) for base in klass.bases):
            continue
        for statement in klass.body:
            for target in statement.targets:
                signal = signals.variable(target)
                if signal is not None and signal.kind == "secret" and not signal.weak and _SECRET.search(target):
                    yield facts.asset(
                        AssetKind.secret_reference, target.upper(), statement.line, provider=signal.provider
                    )
