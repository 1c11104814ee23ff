"""Which files of an application name each other, told from their import lines without parsing them.

In: path and bytes of source files. Out: the names a file imports, and whether two files belong together. It is a cheap look before
a parse: a yes may be wrong, and costs one parse.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

IMPORTS = re.compile(
    rb"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import[ \t]+([\w \t,]+)|import[ \t]+([\w., \t]+))"
    rb"|(?:from|require\(|import\()[ \t]*['\"]([^'\"\n]{1,200})['\"]",
    re.M,
)
BY_FOLDER = (".java", ".kt", ".kts", ".go")
"""Languages in which files of one folder see each other without an import."""


def stem(path: str) -> str:
    """The name a file is imported by: helpers for app/helpers.py, tools for src/tools/index.ts and app/tools/__init__.py."""
    *folders, last = path.split("/")
    name = last.split(".")[0]
    return folders[-1] if name in ("__init__", "index", "mod") and folders else name


def imported(data: bytes) -> frozenset[str]:
    """Last parts of everything a file imports."""
    out: set[str] = set()
    for found in IMPORTS.finditer(data[: 1 << 20]):
        module, names, plain, quoted = (part.decode("ascii", "replace") if part else "" for part in found.groups())
        out.update(part.strip().split(".")[-1] for part in plain.split(",") if part.strip())
        out.update(part.split()[0] for part in names.split(",") if part.strip())
        if module:
            out.add(module.rsplit(".", 1)[-1])
        if quoted:
            out.add(stem(quoted))
    return frozenset(out - {""})


def belongs(path: str, data: bytes, stems: frozenset[str], wanted: frozenset[str], folders: Iterable[str]) -> bool:
    """Whether a file imports one of `stems`, is itself among the `wanted` imports, or shares a folder where that is enough."""
    if stem(path) in wanted or imported(data) & stems:
        return True
    return path.endswith(BY_FOLDER) and path.rpartition("/")[0] in folders
