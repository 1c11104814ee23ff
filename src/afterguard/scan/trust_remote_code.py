"""Code from a model repository trusted to run: trust_remote_code in code, configuration or a command line, auto_map in a config.

In: code, configuration, Dockerfiles. Out: a finding at the switch, or at the auto_map entry of a model's own configuration file.
A repository pinned to a full commit is still reported, at lower severity: the code is fixed, but somebody has to have read it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from afterguard.code.document import walk
from afterguard.code.parse import Parsed
from afterguard.code.syntax import Expr, calls, statements
from afterguard.code.syntax import walk as inside
from afterguard.model import Confidence, Finding, Severity
from afterguard.scan.check import CODE, CONFIG, Check, Context
from afterguard.scan.source_text import uncommented

CHECK = Check(
    id="trust-remote-code",
    title="Code from a model repository is trusted",
    severity=Severity.high,
    taxonomies=("LLM03:2025", "LLM04:2026", "ASI04:2026", "AML.T0010.003", "AML.T0011.000", "CWE-829", "CWE-94"),
    why="Whoever controls the model repository, now or later, runs code in this process when the model is loaded.",
    fix="Leave trust_remote_code off and use an architecture that the library ships. Where that is impossible, review the code, "
    "copy the repository to your own registry and pin the full commit.",
    kinds=(*CODE, *CONFIG, "script", "manifest"),
)
_FLAG = re.compile(r"--trust[-_]remote[-_]code\b(?![=\s]+(?:false|0|no)\b)", re.IGNORECASE)
_ENV = re.compile(r"\b(?:\w+_)?TRUST_REMOTE_CODE\s*[=:]\s*[\"']?(?:1|true|yes|on)\b", re.IGNORECASE)
_KEYS = {"trust_remote_code", "trust-remote-code", "trustremotecode", "hf_trust_remote_code", "trust_repo"}
_COMMIT = re.compile(r"^[0-9a-f]{40}$")


def check(parsed: Parsed, context: Context) -> Iterator[Finding]:
    """Findings for switches that trust a repository's code."""
    if not any(word in parsed.source.data.lower() for word in (b"remote", b"trust_repo", b"auto_map")):
        return
    if parsed.module is not None:
        yield from _in_code(parsed, context)
    elif parsed.document is not None:
        yield from _in_document(parsed, context)
    yield from _in_lines(parsed, context)


def _in_code(parsed: Parsed, context: Context) -> Iterator[Finding]:
    assert parsed.module is not None
    for function, call in calls(parsed.module):
        for key, value in _pairs(call):
            if key.lower() in _KEYS and value.kind == "bool" and value.text == "true":
                pinned = any(k in ("revision", "code_revision") and _COMMIT.match(v.text) for k, v in _pairs(call))
                name = call.text.rsplit(".", 2)[-2:] if "." in call.text else [call.text]
                message = f"{'.'.join(name)} is told to run code that comes with the model."
                severity = Severity.low if pinned else None
                yield context.finding(CHECK, parsed, value.line, message, function=function.name, severity=severity)
    for function, statement in statements(parsed.module):
        wanted = [target.rsplit(".", 1)[-1].strip("\"'[]").lower() for target in statement.targets]
        assigned = statement.value
        if statement.kind == "assign" and assigned is not None and assigned.kind == "bool" and assigned.text == "true":
            if any(target in _KEYS for target in wanted):
                yield context.finding(
                    CHECK, parsed, statement.line, "trust_remote_code is switched on.", function=function.name
                )
        elif statement.kind == "assign" and assigned is not None:
            for one in inside(assigned):
                for key, held in one.fields if one.kind == "map" else ():
                    if key.lower() in _KEYS and held.kind == "bool" and held.text == "true":
                        yield context.finding(
                            CHECK, parsed, held.line, "trust_remote_code is switched on.", function=function.name
                        )


def _pairs(call: Expr) -> Iterator[tuple[str, Expr]]:
    yield from call.fields
    for part in call.parts:
        for one in inside(part):
            if one.kind == "map":
                yield from one.fields
    for _, field in call.fields:
        if field.kind == "map":
            yield from field.fields


def _in_document(parsed: Parsed, context: Context) -> Iterator[Finding]:
    assert parsed.document is not None
    for root in parsed.document.roots:
        for path, node in walk(root):
            key = path[-1].lower() if path else ""
            if key in _KEYS and node.text.lower() in ("true", "1", "yes", "on"):
                yield context.finding(CHECK, parsed, node.line, f"{path[-1]} is switched on in configuration.")
            elif (
                key == "auto_map"
                and node.kind == "map"
                and node.fields
                and _is_model_config(parsed, root.string("model_type"))
            ):
                name, target = node.fields[0]
                other = "--" in target.text
                where = "another repository" if other else "a file of the repository"
                message = f"auto_map sends {name.text} to code in {where} ({target.text[:80]})."
                severity = Severity.high if other else Severity.medium
                yield context.finding(
                    CHECK, parsed, name.line, message, severity=severity, confidence=Confidence.medium
                )


def _is_model_config(parsed: Parsed, model_type: str) -> bool:
    name = parsed.source.path.rsplit("/", 1)[-1].lower()
    return bool(model_type) or name.endswith("config.json")


def _in_lines(parsed: Parsed, context: Context) -> Iterator[Finding]:
    for number, text in uncommented(parsed, context.lines(parsed)):
        if parsed.module is not None and not _FLAG.search(text):
            continue
        if _FLAG.search(text) or _ENV.search(text):
            yield context.finding(CHECK, parsed, number, "An inference server is started with trust in remote code.")
