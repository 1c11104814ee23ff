"""Model output used as a file path.

In: a code file. Out: a finding at each call that opens, writes or deletes a path that a model chose. Paths cut to their last
part, or checked to lie below a root folder, are left alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from afterguard.code.parse import Parsed
from afterguard.model import Finding, Severity
from afterguard.scan.check import CODE, Check, Context
from afterguard.scan.outputs import reaching

CHECK = Check(
    id="model-output-to-path",
    title="Model output names a file",
    severity=Severity.high,
    taxonomies=("LLM05:2025", "LLM10:2026", "ASI02:2026", "AML.T0053", "CWE-22", "CWE-73"),
    why="A path that a model writes can leave the folder it is meant for: other files are read, replaced or deleted.",
    fix="Resolve the path, check that it lies below the intended folder, and refuse anything else; or let the model choose an identifier and look the path up.",
    kinds=CODE,
)


def check(parsed: Parsed, context: Context) -> Iterator[Finding]:
    """Findings for paths taken from a reply."""
    yield from reaching(CHECK, "path", parsed, context)
