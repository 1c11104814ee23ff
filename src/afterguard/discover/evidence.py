"""The words shown as evidence: one line, at most 120 characters, anything that could be a credential masked.

In: a line as read. Out: text that may stand in a report. Names of models, modules and variables stay readable.
"""

from __future__ import annotations

import re

from afterguard.detect.redact import visible

LIMIT = 120
_TOKEN = re.compile(r"[A-Za-z0-9_+/=~-]{16,}")
_NAMED = re.compile(
    r"""(?i)((?:api[_-]?key|apikey|secret|token|passw(?:or)?d|credential|auth\w*)["']?\s*(?:[:=]|:=|,)\s*["'])([^"'\s]{6,})(["'])"""
)
_PREFIXED = re.compile(
    r"\b(sk-|pk-|rk-|hf_|gsk_|r8_|xai-|AIza|AKIA|ASIA|fw_|pplx-|ABSK|tvly-|csk-|lsv2_|pcsk_|nvapi-|ghp_|gho_|github_pat_|xox[abp]-|eyJ)"
    r"[A-Za-z0-9_.\-]{6,}"
)
_USERINFO = re.compile(r"(://[^/\s:@]{0,64}:)([^@\s/]{1,200})@")


def excerpt(raw: bytes, limit: int = LIMIT) -> str:
    """The line as text, stripped, masked and cut."""
    text = visible(raw[:2000].decode("utf-8", "replace").strip())
    text = _USERINFO.sub(r"\1***@", text)
    text = _PREFIXED.sub(lambda found: found.group(1) + "***", text)
    text = _NAMED.sub(_quoted, text)
    text = _TOKEN.sub(_token, text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _quoted(found: re.Match[str]) -> str:
    value = found.group(2)
    if value.startswith(("$", "{", "<", "%")) or "***" in value or re.fullmatch(r"[A-Z_]+|[a-z_]+", value):
        return found.group(0)
    return found.group(1) + value[:2] + "***" + found.group(3)


def _token(found: re.Match[str]) -> str:
    """Mask what mixes letters and digits without the breaks that names have."""
    value = found.group()
    longest = max((len(part) for part in re.split(r"[-_/=+~]", value)), default=0)
    mixed = any(c.isdigit() for c in value) and any(c.isalpha() for c in value)
    return value[:4] + "***" if mixed and longest >= 16 else value
