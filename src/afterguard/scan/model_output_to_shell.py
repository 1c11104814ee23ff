"""Model output run by a shell, or naming the program that is started.

In: a code file. Out: a finding at each such call. A fixed program whose arguments are a list is left alone, and so is text that
was quoted for the shell or checked against an allow-list.
"""

from __future__ import annotations

from collections.abc import Iterator

from afterguard.code.parse import Parsed
from afterguard.model import Finding, Severity
from afterguard.scan.check import CODE, Check, Context
from afterguard.scan.outputs import reaching

CHECK = Check(
    id="model-output-to-shell",
    title="Model output is run as a shell command",
    severity=Severity.critical,
    taxonomies=("LLM05:2025", "LLM10:2026", "ASI05:2026", "AML.T0050", "CWE-78"),
    why="A poisoned document or a user can make the model write any command, and it runs with this process's rights.",
    fix="Let the model choose from a list of named actions, start a fixed program with a list of arguments and no shell, and ask a "
    "person before anything that changes state.",
    kinds=CODE,
)


def check(parsed: Parsed, context: Context) -> Iterator[Finding]:
    """Findings for commands taken from a reply."""
    yield from reaching(CHECK, "shell", parsed, context)
