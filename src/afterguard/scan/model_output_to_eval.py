"""Model output run as code: eval, exec, interpreters and expression engines fed with text that a model wrote.

In: a code file. Out: a finding at each such call. Values that passed a sanitiser, an allow-list or a number are left alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from afterguard.code.parse import Parsed
from afterguard.model import Finding, Severity
from afterguard.scan.check import CODE, Check, Context
from afterguard.scan.outputs import reaching

CHECK = Check(
    id="model-output-to-eval",
    title="Model output is run as code",
    severity=Severity.critical,
    taxonomies=("LLM05:2025", "LLM10:2026", "ASI05:2026", "AML.T0050", "CWE-95", "CWE-94"),
    why="Whoever can put words in front of the model can choose the code that this process runs.",
    fix="Do not run the reply. Parse it as data (JSON with a schema, ast.literal_eval for literals), or run it in a sandbox "
    "without network, credentials or mounts.",
    kinds=CODE,
)


def check(parsed: Parsed, context: Context) -> Iterator[Finding]:
    """Findings for code run from a reply."""
    yield from reaching(CHECK, "eval", parsed, context)
