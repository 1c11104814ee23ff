"""A source line as a report may show it: short, on one line, without secrets or addresses.

In: a line of a scanned file. Out: at most 200 characters, long random words and e-mail addresses cut to their first letters,
control characters gone. It errs on the side of hiding.
"""

from __future__ import annotations

import re

LIMIT = 200
_WORD = re.compile(r"[A-Za-z0-9_\-+/=]{16,}")
_ADDRESS = re.compile(r"\b([A-Za-z0-9._%+-]{1,64})@([A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+)")
_NUMBER = re.compile(r"\b\d(?:[ -]?\d){8,}\b")
_ASSIGNED = re.compile(
    r"(?i)((?:password|passwd|pwd|secret|token|api[_-]?key|apikey|credential)s?[\"']?\s*[:=]+\s*[\"']?)([^\s\"',;]{4,})"
)
_CONTROL = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f\ud800-\udfff]"
)


def shown(line: str) -> str:
    """The line as it may be shown."""
    text = _CONTROL.sub(" ", line[:2000]).strip()
    text = _ASSIGNED.sub(lambda m: m.group(0) if _is_code(m.group(2)) else f"{m.group(1)}{m.group(2)[:3]}…", text)
    text = _WORD.sub(_cut, text)
    text = _ADDRESS.sub(lambda m: f"{m.group(1)[:1]}…@{m.group(2)}", text)
    text = _NUMBER.sub(lambda m: f"{m.group(0)[:3]}…", text)
    return text if len(text) <= LIMIT else text[: LIMIT - 1] + "…"


def _is_code(word: str) -> bool:
    return any(mark in word for mark in "().[]{}$<") or word in ("None", "null", "true", "false", "True", "False")


def _cut(match: re.Match[str]) -> str:
    word = match.group(0)
    mixed = any(c.isdigit() for c in word) and any(c.isalpha() for c in word)
    dense = sum(c.isdigit() or c.isupper() for c in word) >= 5
    if mixed and dense and "/" not in word[:12]:
        return word[:6] + "…"
    return word
