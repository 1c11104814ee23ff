"""Switches that let an agent run code, load code or act without being asked.

In: code, agent configuration, command lines. Out: a finding at the switch. What counts as such a switch is data in
catalog/rules/switches; a switch that is off, or code run in a container, is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from afterguard import catalog
from afterguard.code.document import Node, walk
from afterguard.code.parse import Parsed
from afterguard.code.syntax import Expr, statements
from afterguard.code.syntax import walk as inside
from afterguard.model import Confidence, Finding, Severity
from afterguard.scan.check import CODE, CONFIG, Check, Context
from afterguard.scan.recognise import Tails, fold
from afterguard.scan.source_text import uncommented

CHECK = Check(
    id="dangerous-code-allowed",
    title="A switch allows dangerous code or unattended actions",
    severity=Severity.high,
    taxonomies=("LLM06:2025", "LLM03:2026", "ASI05:2026", "ASI02:2026", "AML.T0050", "AML.T0081", "CWE-94", "CWE-250"),
    why="The framework's own brake is off: what the model writes is run, loaded or carried out on this machine without a question.",
    fix="Turn the switch off; run generated code in a container without network or credentials, and keep approvals on.",
    kinds=(*CODE, *CONFIG, "script", "text"),
)


class Switches(NamedTuple):
    """catalog/rules/switches, compiled."""

    keys: dict[str, tuple[frozenset[str], str]]
    constructors: Tails
    flags: re.Pattern[str]
    says: dict[str, str]


@cache
def switches() -> Switches:
    """The list, once a process."""
    data: dict[str, Any] = catalog.load("rules/switches")
    keys = {
        fold(row["key"]).replace("-", ""): (frozenset(str(v).lower() for v in row["values"]), row["says"])
        for row in data["keys"]
    }
    says = {fold(row["name"]): row["says"] for row in data["constructors"]}
    flags = re.compile("|".join(f"(?:{row})" for row in data["flags"]))
    return Switches(keys, Tails(says), flags, says)


def check(parsed: Parsed, context: Context) -> Iterator[Finding]:
    """Findings for switches that are on."""
    if parsed.module is not None:
        yield from _in_code(parsed, context)
    elif parsed.document is not None:
        for root in parsed.document.roots:
            yield from _in_document(parsed, context, root)
    if parsed.source.kind == "text" or not switches().flags.search(context.text(parsed)):
        return
    for number, text in uncommented(parsed, context.lines(parsed)):
        found = switches().flags.search(text)
        if found:
            yield context.finding(
                CHECK, parsed, number, f"{found.group(0).strip()[:60]} removes the agent's approvals."
            )


def _in_code(parsed: Parsed, context: Context) -> Iterator[Finding]:
    assert parsed.module is not None
    known = switches()
    for seen in context.flow(parsed).calls:
        name = known.constructors.match(seen.folded)
        if name and ("." in seen.folded or "/" in seen.folded) and not _boxed(seen.call):
            message = f"{seen.call.text.rsplit('/', 1)[-1]} {known.says[name]}."
            yield context.finding(CHECK, parsed, seen.call.line, message, function=seen.function.name)
        for key, value in _pairs(seen.call):
            said = _on(key, value)
            if said:
                yield context.finding(CHECK, parsed, value.line, f"{key} {said}.", function=seen.function.name)
    for function, statement in statements(parsed.module):
        if statement.kind != "assign" or statement.value is None:
            continue
        for target in statement.targets:
            said = _on(target.rsplit(".", 1)[-1], statement.value)
            if said:
                yield context.finding(CHECK, parsed, statement.line, f"{target} {said}.", function=function.name)
        for one in inside(statement.value):
            for key, value in one.fields if one.kind == "map" else ():
                said = _on(key, value)
                if said:
                    yield context.finding(CHECK, parsed, value.line, f"{key} {said}.", function=function.name)


def _boxed(call: Expr) -> bool:
    return any(
        "sandbox" in key.lower() or "docker" in key.lower() for key, value in call.fields if value.text != "false"
    )


def _pairs(call: Expr) -> Iterator[tuple[str, Expr]]:
    for one in inside(call):
        if one is call or one.kind == "map":
            yield from one.fields


def _on(key: str, value: Expr) -> str:
    row = switches().keys.get(fold(key).replace("-", ""))
    if row is None:
        return ""
    wanted, says = row
    if value.kind in ("bool", "text", "none") and value.text.lower() in wanted:
        return says
    if value.kind == "list" and (
        ("*list" in wanted and value.parts) or any(part.text in wanted for part in value.parts)
    ):
        return says
    return ""


def _in_document(parsed: Parsed, context: Context, root: Node) -> Iterator[Finding]:
    for path, node in walk(root):
        row = switches().keys.get(fold(path[-1]).replace("-", "").rsplit(".", 1)[-1]) if path else None
        if row is None:
            continue
        wanted, says = row
        listed = node.kind == "list" and (
            ("*list" in wanted and node.items) or any(item.text in wanted for item in node.items)
        )
        if listed or (node.kind not in ("map", "list") and node.text.lower() in wanted):
            line = (
                node.items[0].line
                if node.kind == "list" and node.items and node.line < node.items[0].line - 1
                else node.line
            )
            yield context.finding(CHECK, parsed, line, f"{path[-1]} {says}.", confidence=Confidence.high)
