"""Every outside vocabulary in one place, each id with its edition.

In: nothing. Out: constants and `describe`. OWASP LLM numbers moved between
2025 and 2026, so an id without edition is wrong.
"""

from __future__ import annotations

import re

OWASP_2025 = {
    "LLM01:2025": "Prompt Injection",
    "LLM02:2025": "Sensitive Information Disclosure",
    "LLM03:2025": "Supply Chain",
    "LLM04:2025": "Data and Model Poisoning",
    "LLM05:2025": "Improper Output Handling",
    "LLM06:2025": "Excessive Agency",
    "LLM07:2025": "System Prompt Leakage",
    "LLM08:2025": "Vector and Embedding Weaknesses",
    "LLM09:2025": "Misinformation",
    "LLM10:2025": "Unbounded Consumption",
}
OWASP_2026 = {
    "LLM01:2026": "Prompt Injection",
    "LLM02:2026": "Sensitive Information Disclosure",
    "LLM03:2026": "Excessive Agency",
    "LLM04:2026": "Supply Chain",
    "LLM05:2026": "Data and Model Poisoning",
    "LLM06:2026": "Unbounded Consumption",
    "LLM07:2026": "Misinformation",
    "LLM08:2026": "Hidden Context Exposure",
    "LLM09:2026": "Vector and Embedding Weaknesses",
    "LLM10:2026": "Improper Output Handling",
}
CROSSWALK_2025_2026 = {
    "LLM01:2025": "LLM01:2026",
    "LLM02:2025": "LLM02:2026",
    "LLM03:2025": "LLM04:2026",
    "LLM04:2025": "LLM05:2026",
    "LLM05:2025": "LLM10:2026",
    "LLM06:2025": "LLM03:2026",
    "LLM07:2025": "LLM08:2026",
    "LLM08:2025": "LLM09:2026",
    "LLM09:2025": "LLM07:2026",
    "LLM10:2025": "LLM06:2026",
}
ASI_2026 = {
    "ASI01:2026": "Agent Goal Hijack",
    "ASI02:2026": "Tool Misuse and Exploitation",
    "ASI03:2026": "Identity and Privilege Abuse",
    "ASI04:2026": "Agentic Supply Chain Vulnerabilities",
    "ASI05:2026": "Unexpected Code Execution",
    "ASI06:2026": "Memory and Context Poisoning",
    "ASI07:2026": "Insecure Inter-Agent Communication",
    "ASI08:2026": "Cascading Failures",
    "ASI09:2026": "Human-Agent Trust Exploitation",
    "ASI10:2026": "Rogue Agents",
}
ATLAS_EDITION = "ATLAS 5.6.0"
ATTACK = re.compile(r"T\d{4}(\.\d{3})?")
"""A technique of MITRE ATT&CK: what a SOC tags its own rules with. Its ids are never given anew, so they need no edition."""
ATLAS = re.compile(r"AML\.T\d{4}(\.\d{3})?")
_TAG = re.compile(r"(?:(?:attack|atlas|owasp|cwe|mitre)[._-])*(.+)")
_OWASP = re.compile(r"(LLM|ASI)(\d{2})(?:[:._-](20\d{2}))?")


def is_taxonomy(identifier: str) -> bool:
    """Whether an id is known with its edition: LLM01:2025, ASI02:2026, AML.T0051.001, CWE-1427, T1496.004."""
    if identifier in OWASP_2025 or identifier in OWASP_2026 or identifier in ASI_2026:
        return True
    if identifier.startswith("CWE-"):
        return identifier[4:].isdigit()
    return bool(ATLAS.fullmatch(identifier) or ATTACK.fullmatch(identifier))


def of_tag(tag: str) -> tuple[str, ...]:
    """The ids that a tag of a Sigma rule stands for: attack.t1496.004, atlas.aml.t0051, owasp.llm01.2025, cwe.1427; () for any other. A number of OWASP without its year counts where the years agree."""
    said = tag[:100].lower()
    rest = _TAG.fullmatch(said)
    bare = rest[1].upper() if rest else ""
    if bare.isdigit() and "cwe" in said:
        return (f"CWE-{bare}",)
    if bare.startswith("T") and said.startswith("atlas"):
        bare = "AML." + bare
    if found := _OWASP.fullmatch(bare):
        return _editions(found[1] + found[2], found[3] or "")
    return (bare,) if is_taxonomy(bare) else ()


def _editions(name: str, year: str) -> tuple[str, ...]:
    of = {**OWASP_2025, **OWASP_2026, **ASI_2026}
    known = [one for one in of if one.startswith(f"{name}:{year}")]
    return tuple(known) if len({of[one] for one in known}) == 1 else ()


def describe(identifier: str) -> str:
    """The id with its title and edition, for a person."""
    title = OWASP_2025.get(identifier) or OWASP_2026.get(identifier) or ASI_2026.get(identifier)
    if title:
        return f"{identifier} {title}"
    if identifier.startswith("AML."):
        return f"{identifier} ({ATLAS_EDITION})"
    if ATTACK.fullmatch(identifier):
        return f"{identifier} (ATT&CK)"
    return identifier
