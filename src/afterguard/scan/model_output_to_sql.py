"""Model output used as SQL text.

In: a code file. Out: a finding at each query whose text a model wrote or was pasted into. Values bound as parameters are left
alone; a read-only database role cannot be seen from here and has to be noted in a suppression.
"""

from __future__ import annotations

from collections.abc import Iterator

from afterguard.code.parse import Parsed
from afterguard.model import Finding, Severity
from afterguard.scan.check import CODE, Check, Context
from afterguard.scan.outputs import reaching

CHECK = Check(
    id="model-output-to-sql",
    title="Model output is used as SQL",
    severity=Severity.high,
    taxonomies=("LLM05:2025", "LLM10:2026", "ASI02:2026", "AML.T0053", "CWE-89"),
    why="Text the model wrote becomes part of the statement, so injected instructions read or change any row the role can reach.",
    fix="Bind values as parameters of a fixed statement. Where the model must write queries, use a read-only role limited to the "
    "needed views, with row and time limits, and check the statement against an allow-list of tables.",
    kinds=CODE,
)


def check(parsed: Parsed, context: Context) -> Iterator[Finding]:
    """Findings for statements taken from a reply."""
    yield from reaching(CHECK, "sql", parsed, context)
