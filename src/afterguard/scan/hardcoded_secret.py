"""Keys and passwords written into code, configuration and scripts.

In: any text file that is not prose. Out: a finding at the line of the key. Placeholders, values taken from the environment or a
vault and documented examples are left alone; keys inside prompts belong to secret-in-prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from afterguard.code.parse import Parsed
from afterguard.model import Confidence, Finding, Severity
from afterguard.scan.check import CODE, CONFIG, Check, Context
from afterguard.scan.secrets_at import places

CHECK = Check(
    id="hardcoded-secret",
    title="A key is written into the source",
    severity=Severity.high,
    taxonomies=("LLM02:2025", "LLM02:2026", "ASI03:2026", "AML.T0055", "AML.T0012", "CWE-798"),
    why="Everybody who can read the repository, an image or a backup can use the key, and it stays in the history after removal.",
    fix="Revoke the key at its issuer, take the new one from the environment or a secret store, and remove it from the history.",
    kinds=(*CODE, *CONFIG, "script", "manifest"),
)
_LOCKS = re.compile(r"(?:lock(?:\.json|\.yaml|file)?|\.sum|\.lock)$")
_TEST = re.compile(r"(?:^|/)(?:tests?|fixtures?|testdata|__tests__|spec|mocks?)/", re.IGNORECASE)


def check(parsed: Parsed, context: Context) -> Iterator[Finding]:
    """Findings for keys outside prompts."""
    if _LOCKS.search(parsed.source.path):
        return
    for place in places(parsed, context):
        if place.in_prompt:
            continue
        generic = place.shape in ("assigned-secret", "connection-string", "zhipu-key")
        sure = Confidence.medium if generic or _TEST.search(parsed.source.path) else Confidence.high
        article = "An" if place.title[:1] in "AEIOU" else "A"
        yield context.finding(CHECK, parsed, place.line, f"{article} {place.title} is written here.", confidence=sure)
