"""Model output compiled as a template, where it can reach the objects of the process.

In: a code file. Out: a finding at each call that compiles text a model wrote. Output given to a fixed template as a value is left
alone, and so is a sandboxed environment.
"""

from __future__ import annotations

from collections.abc import Iterator

from afterguard.code.parse import Parsed
from afterguard.model import Finding, Severity
from afterguard.scan.check import CODE, Check, Context
from afterguard.scan.outputs import reaching

CHECK = Check(
    id="model-output-to-template",
    title="Model output is compiled as a template",
    severity=Severity.critical,
    taxonomies=("LLM05:2025", "LLM10:2026", "ASI05:2026", "AML.T0050", "CWE-1336", "CWE-94"),
    why="A template language can call functions: text that a model wrote and that is compiled as a template runs code on the server.",
    fix="Keep the template fixed and pass the output in as a value. If templates must be written by a model, render them in a sandboxed environment without globals.",
    kinds=CODE,
)


def check(parsed: Parsed, context: Context) -> Iterator[Finding]:
    """Findings for templates taken from a reply."""
    yield from reaching(CHECK, "template", parsed, context)
