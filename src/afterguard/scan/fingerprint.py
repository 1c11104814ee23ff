"""A finding's identity, so that a second run can tell new from unchanged although lines moved.

In: the findings of one file in order. Out: the same findings with `fingerprint` set, recipe "v1:": rule, path, enclosing
function, the line with its white space folded, and which of several equal ones it is. Line numbers take no part.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

import msgspec

from afterguard.code.syntax import Module
from afterguard.model import Finding

RECIPE = "v1:"
_SPACE = re.compile(r"\s+")


def sign(findings: Iterable[Finding], lines: list[str], module: Module | None) -> list[Finding]:
    """Findings sorted by line and rule, each with its fingerprint and its function in `attributes`."""
    ordered = sorted(findings, key=lambda one: (one.line, one.rule, one.message))
    seen: dict[tuple[str, ...], int] = {}
    out = []
    for one in ordered:
        function = one.attributes.get("function") or enclosing(module, one.line)
        text = lines[one.line - 1] if 0 < one.line <= len(lines) else ""
        key = (one.rule, one.path, function, _SPACE.sub(" ", text.strip())[:2000])
        seen[key] = seen.get(key, 0) + 1
        digest = hashlib.sha256("\0".join((*key, str(seen[key]))).encode("utf-8", "surrogatepass")).hexdigest()
        attributes = {**one.attributes, "function": function} if function else one.attributes
        out.append(msgspec.structs.replace(one, fingerprint=RECIPE + digest[:32], attributes=attributes))
    return out


def enclosing(module: Module | None, line: int) -> str:
    """The innermost function around a line, "" for the module itself."""
    if module is None:
        return ""
    around = [f for f in module.functions if f.name and f.line <= line <= max(f.line, f.end_line)]
    return min(around, key=lambda f: (f.end_line - f.line, -f.line)).name if around else ""
